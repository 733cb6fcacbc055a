//! `herm doctor`: what is wrong with this container and this home, and what to do about it.
//!
//! Each check looks at one thing, changes nothing and never ends the others. It is of use where no
//! supervisor answers too: then only what the home and this machine tell is checked.

mod container;
mod gateways;
mod home;
mod processes;

use herm_home::Discovery;
use herm_wire::{BootReport, ExitCode, ServiceView};
use serde::Serialize;

use super::services_of;
use crate::cli::Format;
use crate::client::Client;
use crate::context::Context;
use crate::failure::Outcome;
use crate::output::{Out, Tone};

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    /// Looked at, and as it should be.
    Ok,
    /// Good to know: what this container can't do, and what herm does instead.
    Note,
    /// Needs somebody.
    Problem,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Finding {
    /// The check.
    check: &'static str,
    level: Level,
    /// What was found.
    found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

/// What all checks look at, read once.
struct Patient<'a> {
    context: &'a Context,
    /// The home's profiles; `None` where it can't be looked at, which is a finding of its own.
    found: Option<Discovery>,
    supervised: Option<Supervised>,
}

/// What the supervisor told.
struct Supervised {
    client: Client,
    services: Vec<ServiceView>,
    boot: BootReport,
}

/// Findings as they are made.
#[derive(Debug, Default)]
struct Findings {
    check: &'static str,
    all: Vec<Finding>,
    /// Whether the check under way has found anything.
    any: bool,
}

impl Findings {
    fn add(&mut self, level: Level, finding: impl Into<String>, remedy: Option<String>) {
        self.any = true;
        self.all.push(Finding {
            check: self.check,
            level,
            found: finding.into(),
            remedy,
        });
    }

    /// Needs somebody, who is told what to do.
    fn problem(&mut self, finding: impl Into<String>, remedy: impl Into<String>) {
        self.add(Level::Problem, finding, Some(remedy.into()));
    }

    /// Good to know.
    fn note(&mut self, finding: impl Into<String>) {
        self.add(Level::Note, finding, None);
    }

    /// As it should be.
    fn ok(&mut self, finding: impl Into<String>) {
        self.add(Level::Ok, finding, None);
    }
}

/// A check, by its name.
type Check = (&'static str, fn(&mut Patient<'_>, &mut Findings));

const CHECKS: [Check; 17] = [
    ("supervisor", container::supervisor),
    ("setup", container::setup),
    ("features", container::features),
    ("clock", container::clock),
    ("home", home::writable),
    ("user", home::user),
    ("disk", home::disk),
    ("settings", home::settings),
    ("profiles", home::profiles),
    ("links", home::links),
    ("ownership", home::ownership),
    ("secrets", home::secrets),
    ("lease", home::lease),
    ("services", gateways::services),
    ("claims", gateways::duplicates),
    ("ports", gateways::ports),
    ("processes", processes::strays),
];

/// `herm doctor`.
pub(super) fn run(context: &Context, format: Format) -> Outcome<ExitCode> {
    let mut patient = Patient::look(context)?;
    let mut findings = Findings::default();
    for (name, check) in CHECKS {
        findings.check = name;
        findings.any = false;
        check(&mut patient, &mut findings);
        if !findings.any {
            findings.ok("nothing to complain of");
        }
    }
    let problems = findings
        .all
        .iter()
        .filter(|finding| finding.level == Level::Problem);
    let count = problems.count();
    print(&findings.all, count, format)?;
    Ok(if count == 0 {
        ExitCode::Done
    } else {
        ExitCode::Failed
    })
}

fn print(all: &[Finding], problems: usize, format: Format) -> Outcome {
    let mut out = Out::stdout();
    if format.json {
        out.json(&serde_json::json!({ "problems": problems, "findings": all }))?;
        return out.flush();
    }
    for finding in all {
        let (mark, tone) = match finding.level {
            Level::Ok => ("ok", Tone::Good),
            Level::Note => ("--", Tone::Dim),
            Level::Problem => ("!!", Tone::Bad),
        };
        let mark = out.paint(mark, tone);
        out.line(format!("{mark}  {:<11} {}", finding.check, finding.found))?;
        if let Some(remedy) = &finding.remedy {
            out.line(format!("                -> {remedy}"))?;
        }
    }
    out.line(match problems {
        0 => "\nNothing needs you.".to_owned(),
        1 => "\nOne problem.".to_owned(),
        count => format!("\n{count} problems."),
    })?;
    out.flush()
}

impl<'a> Patient<'a> {
    fn look(context: &'a Context) -> Outcome<Self> {
        let supervised = match context.open()? {
            Some(client) => Some(Supervised::ask(client)?),
            None => None,
        };
        Ok(Self {
            context,
            found: context.discover().ok(),
            supervised,
        })
    }

    fn services(&self) -> &[ServiceView] {
        self.supervised
            .as_ref()
            .map_or(&[], |supervised| &supervised.services)
    }
}

impl Supervised {
    fn ask(mut client: Client) -> Outcome<Self> {
        let (_, services) = services_of(&mut client)?;
        let boot = container::boot_report(&mut client)?;
        Ok(Self {
            client,
            services,
            boot,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_that_finds_nothing_says_so_and_a_problem_has_a_remedy() {
        let mut findings = Findings {
            check: "disk",
            ..Findings::default()
        };
        findings.problem("full", "free some space");
        assert!(findings.any);
        let found = &findings.all[0];
        assert_eq!(
            (found.level, found.remedy.as_deref()),
            (Level::Problem, Some("free some space"))
        );
        let json = serde_json::to_value(found).unwrap();
        assert_eq!(json["level"], "problem");
    }

    #[test]
    fn checks_have_names_of_their_own() {
        let names: std::collections::BTreeSet<&str> =
            CHECKS.iter().map(|(name, _)| *name).collect();
        assert_eq!(names.len(), CHECKS.len());
    }
}
