//! The first pass after a boot: what a restart brings back (contract sections 2 and 3).
//!
//! It happens once per run of the supervisor, not once per run of the keeper: a keeper that was
//! killed and started again finds the instance it knows and decides nothing anew.

use std::path::Path;
use std::time::SystemTime;

use herm_home::boot::{BootLine, append_log, sweep};
use herm_home::files::{Dir, PRIVATE, PRIVATE_DIR};
use herm_home::layout::HERM_DIR;
use herm_home::restore::{self, Action, AgentWords, BootFacts, Evidence, Found};
use herm_home::state::Loaded;
use herm_home::{Discovery, Home, HomeError, ProfileName, intent, owner, profile, state};

use super::facts::is_multiplexed;
use super::files::each;

/// In the home's `.herm`: the instance whose boot was decided.
const BOOTED: &str = "booted";

/// What the container's CMD asks for.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Asked<'a> {
    /// The profile whose gateway is to be supervised: where nothing is known of it, that is its
    /// order (L03).
    pub(crate) gateway_run: Option<&'a ProfileName>,
    /// The profile whose gateway is the main program. What its files say is that gateway's word on
    /// itself, and none on what is to be supervised.
    pub(crate) main: Option<&'a ProfileName>,
}

/// What the boot said.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Lines of the boot log, without their time.
    pub(crate) lines: Vec<String>,
    /// What went wrong besides.
    pub(crate) remarks: Vec<String>,
}

/// Whether this instance's boot was decided before.
pub(crate) fn is_over(home: &Home, instance: &str) -> bool {
    let read = || -> Result<bool, HomeError> {
        let Some(dir) = Dir::open(home.root())?.child(HERM_DIR)? else {
            return Ok(false);
        };
        let content = dir.read(BOOTED, 4096)?;
        Ok(content.is_some_and(|content| content.bytes == instance.as_bytes()))
    };
    read().unwrap_or(false)
}

/// Decides what each profile is to be, records what was inferred, sweeps what the last boot left,
/// and writes the log. One profile's trouble is its own.
pub(crate) fn run(home: &Home, found: &Discovery, instance: &str, asked: Asked<'_>) -> Report {
    let mut report = Report::default();
    let gateway_run = asked.gateway_run;
    let fresh_home = profile::is_fresh(home, found).unwrap_or(false);
    let bootstrap = std::env::var("HERMES_GATEWAY_BOOTSTRAP_STATE").ok();
    let facts = BootFacts {
        cmd_is_gateway_run: gateway_run.is_some(),
        bootstrap: bootstrap.as_deref(),
        fresh_home,
        multiplex: is_multiplexed(),
    };
    if let Err(error) = profile::sweep_unfinished(home) {
        report.remarks.push(error.to_string());
    }
    let decided = each(&found.profiles, |name| {
        let mut remarks = Vec::new();
        if asked.main == Some(name) {
            return (BootLine::skipped(name.as_str()), remarks);
        }
        let is_asked_for = gateway_run.map_or(name.is_default(), |asked| asked == name);
        let line = decide(home, (name, is_asked_for), &facts, &mut remarks);
        let line = line.unwrap_or_else(|error| {
            remarks.push(format!("{name}: {error}"));
            BootLine::skipped(name.as_str())
        });
        (line, remarks)
    });
    let mut lines = Vec::new();
    for (line, remarks) in decided {
        lines.push(line);
        report.remarks.extend(remarks);
    }
    for skipped in &found.skipped {
        report
            .remarks
            .push(format!("{}: {}", skipped.name, skipped.why));
        lines.push(BootLine::skipped(&skipped.name));
    }
    for name in &found.deleting {
        report.remarks.push(format!(
            "{name}: its deletion was interrupted; `herm profile delete -y {name}` finishes it"
        ));
    }
    if let Err(error) = append_log(home, SystemTime::now(), &lines) {
        report.remarks.push(error.to_string());
    }
    report.lines = lines.iter().map(ToString::to_string).collect();
    if let Err(error) = remember(home, instance) {
        report.remarks.push(error.to_string());
    }
    report
}

fn decide(
    home: &Home,
    (name, is_asked_for): (&ProfileName, bool),
    facts: &BootFacts<'_>,
    remarks: &mut Vec<String>,
) -> Result<BootLine, HomeError> {
    let paths = home.profile(name);
    let now = SystemTime::now();
    let foreign = owner::find(&paths, Path::new("/proc"))?;
    if let Err(error) = sweep(&paths, foreign.as_ref()) {
        // A read-only home keeps them. They decide nothing.
        remarks.push(format!("{name}: {error}"));
    }
    let record = intent::load(&paths, now)?;
    let agent = state::load(&paths, now)?;
    for aside in [&record.corrupt, &agent.corrupt].into_iter().flatten() {
        remarks.push(format!(
            "{name}: a corrupt file is kept as {}: {}",
            aside.kept_as, aside.why
        ));
    }
    let evidence = Evidence {
        is_default: is_asked_for,
        record: found(&record, |intent| intent.state),
        agent: found(&agent, |state| AgentWords {
            desired: state.desired_state(),
            gateway: state.gateway_state(),
        }),
    };
    let decision = restore::decide(&evidence, facts);
    if decision.make_record {
        let by = format!(
            "boot: the state was {}",
            decision.prior_state.unwrap_or("absent")
        );
        if let Err(error) = intent::record(&paths, decision.desired, &by, now) {
            // It runs all the same: what is lost is only that the next boot decides once more.
            remarks.push(format!("{name}: {error}"));
        }
    }
    debug_assert!(
        decision.action != Action::Skipped,
        "a readable profile is never skipped"
    );
    Ok(BootLine::decided(name.as_str(), &decision))
}

fn found<'a, T, U>(loaded: &'a Loaded<T>, read: impl Fn(&'a T) -> U) -> Found<U> {
    match (&loaded.value, &loaded.corrupt) {
        (Some(value), _) => Found::Good(read(value)),
        (None, Some(_)) => Found::Corrupt,
        (None, None) => Found::Absent,
    }
}

fn remember(home: &Home, instance: &str) -> Result<(), HomeError> {
    let dir = Dir::open(home.root())?.ensure_child(HERM_DIR, PRIVATE_DIR)?;
    dir.write_atomic(BOOTED, instance.as_bytes(), PRIVATE)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use herm_home::{Desired, discover};

    use super::*;

    fn home() -> (tempfile::TempDir, Home) {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path());
        (dir, home)
    }

    fn profile_with(home: &Home, name: &str, state: Option<&str>) {
        let dir = home.root().join("profiles").join(name);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("SOUL.md"), "x").unwrap();
        if let Some(state) = state {
            fs::write(dir.join("gateway_state.json"), state).unwrap();
        }
    }

    fn boot(home: &Home, gateway_run: bool) -> Report {
        let default = ProfileName::default_profile();
        run(
            home,
            &discover(home).unwrap(),
            "i1",
            Asked {
                gateway_run: gateway_run.then_some(&default),
                main: None,
            },
        )
    }

    fn intent_of(home: &Home, name: &str) -> Option<Desired> {
        let name = ProfileName::parse(name).unwrap();
        intent::peek(&home.profile(&name))
            .unwrap()
            .map(|intent| intent.state)
    }

    #[test]
    fn l02_substates_of_running_come_back_and_are_recorded() {
        let (_dir, home) = home();
        profile_with(&home, "a", Some(r#"{"gateway_state":"draining"}"#));
        profile_with(&home, "b", Some(r#"{"gateway_state":"startup_failed"}"#));
        let report = boot(&home, false);
        assert_eq!(
            report.lines,
            [
                "profile=default prior_state=None action=registered",
                "profile=a prior_state=draining action=started",
                "profile=b prior_state=startup_failed action=registered",
            ]
        );
        assert_eq!(intent_of(&home, "a"), Some(Desired::Running));
        assert_eq!(intent_of(&home, "b"), None);
    }

    #[test]
    fn l03_gateway_run_on_a_home_without_state_means_running() {
        let (_dir, home) = home();
        let report = boot(&home, true);
        assert_eq!(
            report.lines,
            ["profile=default prior_state=running action=started"]
        );
        assert_eq!(intent_of(&home, "default"), Some(Desired::Running));
    }

    #[test]
    fn the_profile_that_the_main_program_serves_is_left_to_it() {
        let (_dir, home) = home();
        profile_with(&home, "a", Some(r#"{"gateway_state":"running"}"#));
        let pid_file = home.root().join("profiles/a/gateway.pid");
        fs::write(&pid_file, "1").unwrap();
        let asked = Asked {
            main: Some(&ProfileName::parse("a").unwrap()),
            ..Asked::default()
        };
        let report = run(&home, &discover(&home).unwrap(), "i1", asked);
        let line = "profile=a prior_state=None action=skipped".to_owned();
        assert!(report.lines.contains(&line), "{:?}", report.lines);
        assert_eq!(intent_of(&home, "a"), None);
        assert!(pid_file.exists());
    }

    #[test]
    fn l05_a_corrupt_state_file_is_kept_and_reported_and_harms_no_other_profile() {
        let (_dir, home) = home();
        profile_with(&home, "a", Some(r#"{"gateway_state": "runn"#));
        profile_with(&home, "b", Some(r#"{"gateway_state":"running"}"#));
        let report = boot(&home, false);
        assert!(
            report
                .lines
                .contains(&"profile=a prior_state=None action=registered".to_owned())
        );
        assert!(
            report
                .lines
                .contains(&"profile=b prior_state=running action=started".to_owned())
        );
        assert!(
            report
                .remarks
                .iter()
                .any(|r| r.contains("gateway_state.json.corrupt-")),
            "{:?}",
            report.remarks
        );
    }

    #[test]
    fn l06_files_that_name_processes_of_the_last_boot_are_swept() {
        let (_dir, home) = home();
        profile_with(&home, "a", None);
        let dir = home.root().join("profiles/a");
        for name in ["gateway.pid", "processes.json"] {
            fs::write(dir.join(name), format!("{}", std::process::id())).unwrap();
        }
        boot(&home, false);
        assert!(!dir.join("gateway.pid").exists() && !dir.join("processes.json").exists());
    }

    #[test]
    fn l55_default_is_always_there_and_a_boot_is_decided_once() {
        let (_dir, home) = home();
        assert!(!is_over(&home, "i1"));
        let report = boot(&home, false);
        assert!(report.lines[0].starts_with("profile=default "));
        assert!(is_over(&home, "i1"));
        assert!(!is_over(&home, "i2"));
        let log = fs::read_to_string(home.boot_log()).unwrap();
        assert!(
            log.trim_end()
                .ends_with("profile=default prior_state=None action=registered")
        );
    }
}
