//! One owner per gateway (L12): finding a gateway that runs for a profile outside supervision.
//!
//! The agent leaves `gateway.pid` with its pid and start time. A pid alone proves nothing (L06):
//! only a living process with the same start time that was called as a gateway is an owner.

use std::path::Path;

use crate::error::HomeError;
use crate::files::Dir;
use crate::layout::{AGENT_PID, ProfilePaths};
use crate::name::ProfileName;
use crate::process;

const MAX_BYTES: u64 = 64 * 1024;

/// A running gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Its process.
    pub pid: i32,
    /// Start time in clock ticks since boot.
    pub start_time: u64,
    /// What it was called with, for display.
    pub argv: Vec<String>,
}

/// What a pid file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PidRecord {
    /// The process.
    pub pid: i32,
    /// Its start time; files of old agents have none.
    pub start_time: Option<u64>,
}

impl PidRecord {
    /// Reads a `gateway.pid`: the agent's JSON, or a bare number.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let value: serde_json::Value = serde_json::from_slice(bytes).ok()?;
        let pid = value
            .get("pid")
            .or(Some(&value).filter(|value| value.is_number()))?
            .as_i64()?;
        let start_time = value.get("start_time").and_then(serde_json::Value::as_u64);
        Some(Self {
            pid: i32::try_from(pid).ok().filter(|pid| *pid > 0)?,
            start_time,
        })
    }
}

/// The living gateway that a profile's pid file names, if there is one; whether it is ours the
/// supervisor knows by its pid. `proc` is `/proc`.
pub fn find(profile: &ProfilePaths, proc: &Path) -> Result<Option<Owner>, HomeError> {
    let Some(content) = Dir::open(profile.dir())?.read(AGENT_PID, MAX_BYTES)? else {
        return Ok(None);
    };
    Ok(PidRecord::parse(&content.bytes).and_then(|record| living(record, proc)))
}

/// The profile whose gateway a process is by its command line, and that gateway; `None` where it is
/// no gateway. `proc` is `/proc`.
pub fn of_process(pid: i32, proc: &Path) -> Option<(ProfileName, Owner)> {
    let record = PidRecord {
        pid,
        start_time: None,
    };
    let owner = living(record, proc)?;
    let mut words = owner.argv.iter().map(String::as_str);
    let mut named = None;
    while let Some(word) = words.next() {
        match word {
            "-p" | "--profile" => named = words.next(),
            _ => named = word.strip_prefix("--profile=").or(named),
        }
    }
    let profile = match named {
        Some(name) => ProfileName::from_input(name).ok()?,
        None => ProfileName::default_profile(),
    };
    Some((profile, owner))
}

fn living(record: PidRecord, proc: &Path) -> Option<Owner> {
    let process = process::look(proc, record.pid)?;
    let same = record
        .start_time
        .is_none_or(|start| start == process.start_time);
    if process.zombie || !same || !is_gateway(&process.argv) {
        return None;
    }
    Some(Owner {
        pid: record.pid,
        start_time: process.start_time,
        argv: process.argv,
    })
}

/// Whether a command line is the container's own `/init gateway run`, alone or below the engine's init
/// (`docker-init -- /init …`): it supervises the gateway that its words ask for.
fn is_init(argv: &[String]) -> bool {
    let behind = argv.iter().skip_while(|word| *word != "--").nth(1);
    let mut programs = argv.first().into_iter().chain(behind);
    programs.any(|word| matches!(word.rsplit('/').next(), Some("init" | "herm-init")))
}

/// Whether a command line is a gateway's: `… gateway [run|restart] …` of the agent or of herm, or
/// one of the agent's dedicated entry points. The container's first process has the CMD in its own
/// command line, and is none.
fn is_gateway(argv: &[String]) -> bool {
    if is_init(argv) {
        return false;
    }
    let ends = |suffix: &str| argv.iter().any(|word| word.ends_with(suffix));
    if ends("gateway/run.py") || ends("/hermes-gateway") {
        return true;
    }
    let mut words = argv.iter().map(String::as_str);
    while let Some(word) = words.next() {
        match word {
            // The profile may itself be called "gateway".
            "-p" | "--profile" => drop(words.next()),
            "gateway" => return matches!(words.next(), None | Some("run" | "restart")),
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;
    use crate::layout::Home;

    fn argv(words: &[&str]) -> Vec<String> {
        words.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn gateways_are_told_from_what_only_looks_like_one() {
        for yes in [
            &[
                "/venv/bin/python",
                "/venv/bin/hermes",
                "-p",
                "gateway",
                "gateway",
                "run",
            ][..],
            &["hermes", "gateway"],
            &[
                "python",
                "-m",
                "hermes_cli.main",
                "gateway",
                "run",
                "--replace",
            ],
            &["herm", "-p", "a", "gateway", "run", "--no-supervise"],
            &["hermes", "-p", "init", "gateway", "run"],
            &["python", "/x/gateway/run.py"],
        ] {
            assert!(is_gateway(&argv(yes)), "{yes:?}");
        }
        for no in [
            &["hermes", "gateway", "status"][..],
            &[
                "/sbin/docker-init",
                "--",
                "/init",
                "-p",
                "a",
                "gateway",
                "run",
            ],
            &["vim", "gateway.pid"],
            &["hermes", "-p", "gateway"],
            &["/init", "gateway", "run"],
            &["/usr/bin/herm-init", "-p", "a", "gateway", "run"],
            &[],
        ] {
            assert!(!is_gateway(&argv(no)), "{no:?}");
        }
    }

    struct World {
        _keep: tempfile::TempDir,
        profile: ProfilePaths,
        proc: std::path::PathBuf,
    }

    fn world(pid_file: &str, stat_start: u64) -> World {
        let keep = tempfile::tempdir().unwrap();
        let root = keep.path().join("home");
        let proc = keep.path().join("proc");
        fs::create_dir_all(&root).unwrap();
        fs::create_dir_all(proc.join("77")).unwrap();
        fs::write(root.join(AGENT_PID), pid_file).unwrap();
        let stat = format!("77 (python3) S 1 7 7 0 -1 0 1 0 0 0 0 0 0 0 20 0 1 0 {stat_start} 1 1");
        fs::write(proc.join("77/stat"), stat).unwrap();
        fs::write(proc.join("77/cmdline"), b"hermes\0gateway\0run\0").unwrap();
        let profile = Home::new(root).profile(&ProfileName::default_profile());
        World {
            _keep: keep,
            profile,
            proc,
        }
    }

    #[test]
    fn l12_a_gateway_started_by_hand_is_found_by_pid_and_start_time() {
        let world = world(
            r#"{"pid":77,"kind":"hermes-gateway","start_time":500}"#,
            500,
        );
        let owner = find(&world.profile, &world.proc).unwrap().unwrap();
        assert_eq!((owner.pid, owner.start_time), (77, 500));
    }

    #[test]
    fn l06_a_pid_that_belongs_to_another_process_now_is_nobody() {
        let world = world(
            r#"{"pid":77,"kind":"hermes-gateway","start_time":499}"#,
            500,
        );
        assert_eq!(find(&world.profile, &world.proc).unwrap(), None);
    }

    #[test]
    fn a_pid_file_of_an_old_agent_is_a_bare_number() {
        let world = world("77\n", 500);
        assert!(find(&world.profile, &world.proc).unwrap().is_some());
    }

    #[test]
    fn a_gateway_without_a_pid_file_is_known_by_its_command_line() {
        let world = world("", 500);
        let (profile, owner) = of_process(77, &world.proc).unwrap();
        assert!(profile.is_default() && owner.pid == 77);
        let cmdline = world.proc.join("77/cmdline");
        fs::write(&cmdline, b"herm\0-p\0writer\0gateway\0run\0").unwrap();
        let (profile, _) = of_process(77, &world.proc).unwrap();
        assert_eq!(profile.as_str(), "writer");
        fs::write(&cmdline, b"sleep\x00600\0").unwrap();
        assert_eq!(of_process(77, &world.proc), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            PidRecord::parse(&bytes);
        }
    }
}
