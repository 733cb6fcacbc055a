//! Start, stop and restart: what `herm gateway` and `herm service` have in common.
//!
//! Everything goes through the supervisor (L07). Before a gateway is stopped the agent's
//! planned-stop marker is written, *before the stop is asked for*: PID 1 sends TERM at once, and
//! an agent that gets TERM without a marker takes it for an accident. (For orders by other tools
//! the keeper writes it, as soon as it hears of them.)

use std::path::Path;
use std::time::SystemTime;

use herm_home::markers::{clear_planned_stop, write_planned_stop};
use herm_home::{Home, ProfileName};
use herm_wire::{Body, ExitCode, Kind, Op, ServiceView, VerbOptions};

use super::{logs, remote, service_of, services_of, with_names};
use crate::cli::{Format, Patience};
use crate::client::{Client, verb_options};
use crate::context::{Context, home_failure};
use crate::failure::{Failure, Outcome};
use crate::keeper;
use crate::output::{Out, cause, tone_of, word};

/// Lines of its log that a failed start is shown with.
const LAST_WORDS: usize = 10;

/// What is ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    /// Up from now on.
    Start,
    /// Down from now on.
    Stop,
    /// Down, then up.
    Restart,
}

impl Verb {
    fn op(self, name: String, options: VerbOptions) -> Op {
        match self {
            Self::Start => Op::Start { name, options },
            Self::Stop => Op::Stop { name, options },
            Self::Restart => Op::Restart { name, options },
        }
    }

    /// As another instance is asked for it.
    pub(super) fn for_owner(self) -> remote::Verb {
        match self {
            Self::Start => remote::Verb::Start,
            Self::Stop => remote::Verb::Stop,
            Self::Restart => remote::Verb::Restart,
        }
    }

    /// As in "can't start x".
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
        }
    }
}

/// Carries out a verb on services, given by service or profile name, and prints the results: one
/// object, or an array where `many`. All are under way at the same time.
pub(super) fn order(
    context: &Context,
    client: &mut Client,
    verb: Verb,
    names: &[String],
    many: bool,
    (patience, format): (Patience, Format),
) -> Outcome<ExitCode> {
    let (remote, names) = split(client, names)?;
    let (marked, untold) = if verb == Verb::Stop {
        announce_stops(context.home(), client, &names)?
    } else {
        (Vec::new(), Vec::new())
    };
    let options = verb_options(patience.no_wait, patience.timeout);
    let since = keeper::instant_text(SystemTime::now());
    let ops: Vec<Op> = names
        .iter()
        .map(|name| verb.op(name.clone(), options.clone()))
        .collect();
    let mut services = Vec::new();
    let mut worst = None;
    for (profile, owner) in remote {
        let asked = (verb.for_owner(), profile.as_str());
        match remote::order(context, &owner, asked, patience) {
            Ok(service) => services.push(service),
            Err(failure) => {
                worst = Some(worst.map_or(failure.code, |code| combined(code, failure.code)));
                eprintln!("herm: can't {} {profile}: {failure}", verb.word());
            }
        }
    }
    for (name, outcome) in names.iter().zip(client.ask_all(&ops)) {
        match outcome.and_then(taken) {
            Ok((service, recorded)) => {
                warn_if_unrecorded(name, recorded);
                services.push(service);
            }
            Err(failure) => {
                let failure = told(client, verb, name, failure, &since);
                worst = Some(worst.map_or(failure.code, |code| combined(code, failure.code)));
                eprintln!("herm: {failure}");
                retract(context.home(), &marked, name);
            }
        }
    }
    // Whoever may not order the stop need not hear what it would have lacked.
    if worst != Some(ExitCode::NotPermitted) {
        for warning in &untold {
            eprintln!("{warning}");
        }
    }
    print(&services, many, format)?;
    Ok(worst.unwrap_or(ExitCode::Done))
}

/// Profiles that another instance runs, with that instance.
type Remote = Vec<(String, String)>;

/// Which of these another instance runs, and the others.
fn split(client: &mut Client, names: &[String]) -> Outcome<(Remote, Vec<String>)> {
    let (_, services) = services_of(client)?;
    let mut remote = Vec::new();
    let mut here = Vec::new();
    for name in names {
        let service = services
            .iter()
            .find(|service| is_meant(service, std::slice::from_ref(name)));
        let elsewhere = service.and_then(|s| Some((s.profile.clone()?, s.owner.clone()?)));
        match elsewhere {
            Some(elsewhere) => remote.push(elsewhere),
            None => here.push(name.clone()),
        }
    }
    Ok((remote, here))
}

fn taken(body: Body) -> Outcome<(ServiceView, Option<bool>)> {
    let recorded = match &body {
        Body::Service { recorded, .. } => *recorded,
        _ => None,
    };
    Ok((service_of(body)?, recorded))
}

/// An order that is carried out but not in the home will not survive a restart: say so.
fn warn_if_unrecorded(name: &str, recorded: Option<bool>) {
    if recorded == Some(false) {
        eprintln!(
            "herm: {name}: the order is carried out, but the home has no record of it yet: it may not \
             survive a restart\n  `herm doctor` says what is wrong with the home, or that no keeper runs"
        );
    }
}

/// Two failures of one kind keep it; of two kinds only "failed" can be said.
fn combined(a: ExitCode, b: ExitCode) -> ExitCode {
    if a == b { a } else { ExitCode::Failed }
}

/// Writes the planned-stop marker of every running gateway among `names`; returns whose, and what
/// to say of those it could not be written for.
fn announce_stops(
    home: &Home,
    client: &mut Client,
    names: &[String],
) -> Outcome<(Vec<ProfileName>, Vec<String>)> {
    let (_, services) = services_of(client)?;
    let mut marked = Vec::new();
    let mut untold = Vec::new();
    for service in services.iter().filter(|service| is_meant(service, names)) {
        let profile = service
            .profile
            .as_deref()
            .and_then(|name| ProfileName::parse(name).ok());
        let pid = service.pid.and_then(|pid| i32::try_from(pid).ok());
        if let (Kind::Gateway, Some(profile), Some(pid)) = (service.kind, profile, pid) {
            let written = write_planned_stop(
                &home.profile(&profile),
                pid,
                SystemTime::now(),
                Path::new("/proc"),
            );
            match written {
                Ok(()) => marked.push(profile),
                // The stop itself matters more than how the agent takes it.
                Err(error) => untold.push(format!(
                    "herm: {profile}: the agent isn't told that its stop is planned: {error}"
                )),
            }
        }
    }
    Ok((marked, untold))
}

fn is_meant(service: &ServiceView, names: &[String]) -> bool {
    names
        .iter()
        .any(|name| *name == service.name || Some(name) == service.profile.as_ref())
}

/// A stop that was refused was not meant after all.
fn retract(home: &Home, marked: &[ProfileName], name: &str) {
    let profile = marked
        .iter()
        .find(|profile| profile.as_str() == name || profile.service() == name);
    if let Some(Err(error)) = profile.map(|profile| clear_planned_stop(&home.profile(profile))) {
        eprintln!("herm: {name}: {}", home_failure(error));
    }
}

/// The failure with the service's last words since it was ordered, where it was started and died.
fn told(client: &mut Client, verb: Verb, name: &str, failure: Failure, since: &str) -> Failure {
    let called = name.strip_prefix("gateway-").unwrap_or(name);
    let said = failure.message.strip_prefix(&format!("{name}: "));
    let why = cause(said.unwrap_or(&failure.message));
    let mut told = Failure {
        message: format!("can't {} {called}: {why}", verb.word()),
        ..failure
    };
    if told.code == ExitCode::NotFound {
        return with_names(client, name, told);
    }
    if told.code != ExitCode::Failed || verb == Verb::Stop {
        return told;
    }
    let service = client
        .ask(&Op::Service {
            name: name.to_owned(),
        })
        .and_then(service_of);
    let Ok(service) = service else { return told };
    let lines = service
        .log_dir
        .as_deref()
        .map(|dir| logs::last_lines(Path::new(dir), LAST_WORDS, since.trim_end_matches('Z')));
    for line in lines.unwrap_or_default() {
        told.message.push_str("\n  | ");
        told.message.push_str(&line);
    }
    if told.hint.is_none() {
        told.hint = Some(format!("`herm why {called}` says what happens next"));
    }
    told
}

/// Prints services an order was for: one object, or an array where `many`.
pub(super) fn print(services: &[ServiceView], many: bool, format: Format) -> Outcome {
    let mut out = Out::stdout();
    match (format.json, many, services) {
        (true, true, _) => out.json(&services)?,
        (true, false, [service, ..]) => out.json(service)?,
        (true, false, []) => {}
        (false, ..) => {
            for service in services {
                let line = result_line(&out, service);
                out.line(line)?;
            }
        }
    }
    out.flush()
}

/// `writer: running (pid 12, port 9321)`.
fn result_line(out: &Out, service: &ServiceView) -> String {
    let name = service.profile.as_deref().unwrap_or(&service.name);
    let state = out.paint(word(service.state), tone_of(service.state));
    let facts: Vec<String> = [
        service.pid.map(|pid| format!("pid {pid}")),
        service
            .port
            .filter(|_| service.pid.is_some())
            .map(|port| format!("port {port}")),
        Some(cause(&service.reason)).filter(|reason| !reason.is_empty() && service.pid.is_none()),
    ]
    .into_iter()
    .flatten()
    .collect();
    if facts.is_empty() {
        format!("{name}: {state}")
    } else {
        format!("{name}: {state} ({})", facts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_of_different_kinds_are_just_failures() {
        assert_eq!(
            combined(ExitCode::TimedOut, ExitCode::TimedOut),
            ExitCode::TimedOut
        );
        assert_eq!(
            combined(ExitCode::TimedOut, ExitCode::NotFound),
            ExitCode::Failed
        );
    }
}
