//! The boot's own traces in the home: the log with one line per profile and boot, and the sweep of
//! files that name processes of a machine that is gone.

use std::fmt;
use std::fs::File;
use std::io::Write;
use std::time::SystemTime;

use rustix::fs::{Mode, OFlags};

use crate::clock;
use crate::error::HomeError;
use crate::files::Dir;
use crate::layout::{AGENT_PID, AGENT_PROCESSES, HERM_DIR, Home, ProfilePaths};
use crate::markers::PLANNED_STOP;
use crate::owner::Owner;
use crate::restore::{Action, Decision};

/// Size in bytes at which the boot log is moved to `.1` before the next lines are added.
pub const ROTATE_AT: u64 = 256 * 1024;
const LOG: &str = "container-boot.log";
const OLD_LOG: &str = "container-boot.log.1";
/// Longest word of a foreign file that is printed in a line.
const MAX_WORD: usize = 64;

/// One profile's line: `profile=<name> prior_state=<state|None> action=<…>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootLine {
    profile: String,
    prior_state: String,
    action: Action,
}

impl BootLine {
    /// The line of a profile that was decided about.
    pub fn decided(profile: &str, decision: &Decision<'_>) -> Self {
        Self {
            profile: word(profile),
            prior_state: decision.prior_state.map_or_else(|| "None".to_owned(), word),
            action: decision.action,
        }
    }

    /// The line of a directory that can't be used.
    pub fn skipped(entry: &str) -> Self {
        Self {
            profile: word(entry),
            prior_state: "None".to_owned(),
            action: Action::Skipped,
        }
    }

    /// What happened.
    pub fn action(&self) -> Action {
        self.action
    }
}

impl fmt::Display for BootLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            profile,
            prior_state,
            action,
        } = self;
        write!(
            f,
            "profile={profile} prior_state={prior_state} action={}",
            action.as_str()
        )
    }
}

/// A word that stays one word of one line, whatever an agent wrote into its file or called a
/// directory.
fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_graphic() && c != '=' && c != '\\';
    let word: String = text
        .chars()
        .take(MAX_WORD.max(crate::name::MAX_LEN))
        .map(|c| {
            if plain(c) {
                c.to_string()
            } else {
                c.escape_unicode().to_string()
            }
        })
        .collect();
    if word.is_empty() {
        "''".to_owned()
    } else {
        word
    }
}

/// Adds the lines of a boot to the log, which is rotated first if it has grown past [`ROTATE_AT`].
pub fn append_log(home: &Home, now: SystemTime, lines: &[BootLine]) -> Result<(), HomeError> {
    let logs = Dir::open(home.root())?.ensure_child("logs", 0o755)?;
    if logs.size(LOG).is_some_and(|size| size >= ROTATE_AT) {
        logs.rename_over(LOG, OLD_LOG)?;
    }
    let time = clock::rfc3339(now);
    let text: Vec<String> = lines
        .iter()
        .map(|line| format!("{time} {line}\n"))
        .collect();
    let failed = |e: std::io::Error| HomeError::io("write", logs.path_of(LOG), e);
    let flags = OFlags::WRONLY
        | OFlags::APPEND
        | OFlags::CREATE
        | OFlags::CLOEXEC
        | OFlags::NOFOLLOW
        | OFlags::NONBLOCK;
    let fd = rustix::fs::openat(&logs, LOG, flags, Mode::from_raw_mode(0o644))
        .map_err(|e| failed(e.into()))?;
    File::from(fd)
        .write_all(text.concat().as_bytes())
        .map_err(failed)
}

/// Removes what names processes that are gone (L06): pid file, list of background processes,
/// planned-stop marker, and temporary files of a write that a crash cut short. A gateway that runs
/// outside supervision (`owner`) keeps its files. Returns what was removed.
pub fn sweep(
    profile: &ProfilePaths,
    owner: Option<&Owner>,
) -> Result<Vec<&'static str>, HomeError> {
    let dir = Dir::open(profile.dir())?;
    let there = dir.sweep_temps()?;
    if let Some(herm) = dir.child(HERM_DIR)? {
        herm.sweep_temps()?;
    }
    if owner.is_some() {
        return Ok(Vec::new());
    }
    let mut swept = Vec::new();
    for name in [AGENT_PID, AGENT_PROCESSES, PLANNED_STOP] {
        if there.iter().any(|known| known == name) && dir.remove(name)? {
            swept.push(name);
        }
    }
    Ok(swept)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::intent::Desired;
    use crate::name::ProfileName;

    fn decision(prior_state: Option<&str>) -> Decision<'_> {
        Decision {
            action: Action::Started,
            prior_state,
            desired: Desired::Running,
            make_record: false,
        }
    }

    fn home() -> (tempfile::TempDir, Home) {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path());
        (dir, home)
    }

    #[test]
    fn lines_have_the_form_operators_search_for() {
        let (_dir, home) = home();
        let lines = [
            BootLine::decided("default", &decision(Some("draining"))),
            BootLine::decided(
                "a",
                &Decision {
                    action: Action::Registered,
                    ..decision(None)
                },
            ),
            BootLine::skipped("profiles link"),
        ];
        append_log(&home, clock::from_unix(1_795_202_464).unwrap(), &lines).unwrap();
        assert_eq!(
            fs::read_to_string(home.boot_log()).unwrap(),
            "2026-11-20T19:21:04Z profile=default prior_state=draining action=started\n\
             2026-11-20T19:21:04Z profile=a prior_state=None action=registered\n\
             2026-11-20T19:21:04Z profile=profiles\\u{20}link prior_state=None action=skipped\n"
        );
    }

    #[test]
    fn an_agent_can_not_forge_a_line_with_its_state() {
        let forged = "x\n2026-01-01T00:00:00Z profile=b prior_state=running action=started";
        let line = BootLine::decided("a", &decision(Some(forged))).to_string();
        assert_eq!(line.lines().count(), 1);
        assert_eq!(line.split(' ').count(), 3);
        assert_eq!(line.matches("profile=").count(), 1);
    }

    #[test]
    fn the_log_is_rotated_when_it_has_grown_and_one_old_file_is_kept() {
        let (_dir, home) = home();
        let now = clock::from_unix(0).unwrap();
        let lines = [BootLine::decided("a", &decision(None))];
        append_log(&home, now, &lines).unwrap();
        let full = "x".repeat(usize::try_from(ROTATE_AT).unwrap());
        for _ in 0..2 {
            fs::write(home.boot_log(), &full).unwrap();
            append_log(&home, now, &lines).unwrap();
            assert_eq!(
                fs::read_to_string(home.boot_log()).unwrap().lines().count(),
                1
            );
            let old = home.boot_log().with_file_name(OLD_LOG);
            assert_eq!(fs::read_to_string(old).unwrap(), full);
        }
    }

    #[test]
    fn a_log_that_is_a_symlink_is_not_written_through() {
        let (dir, home) = home();
        fs::create_dir(dir.path().join("logs")).unwrap();
        fs::write(dir.path().join("victim"), "").unwrap();
        std::os::unix::fs::symlink("../victim", home.boot_log()).unwrap();
        let refused = append_log(
            &home,
            clock::from_unix(0).unwrap(),
            &[BootLine::skipped("x")],
        );
        assert!(refused.is_err());
        assert_eq!(fs::read(dir.path().join("victim")).unwrap(), b"");
    }

    #[test]
    fn l06_files_that_name_dead_processes_are_swept_before_start() {
        let (dir, home) = home();
        let profile = home.profile(&ProfileName::default_profile());
        for name in [
            AGENT_PID,
            AGENT_PROCESSES,
            PLANNED_STOP,
            ".x.herm-tmp-99999999-1",
            "keep",
        ] {
            fs::write(dir.path().join(name), "{}").unwrap();
        }
        assert_eq!(
            sweep(&profile, None).unwrap(),
            [AGENT_PID, AGENT_PROCESSES, PLANNED_STOP]
        );
        let left: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert_eq!(left, ["keep"]);
    }

    #[test]
    fn l12_a_gateway_that_runs_outside_supervision_keeps_its_pid_file() {
        let (dir, home) = home();
        let profile = home.profile(&ProfileName::default_profile());
        fs::write(dir.path().join(AGENT_PID), "{}").unwrap();
        let owner = Owner {
            pid: 7,
            start_time: 1,
            argv: Vec::new(),
        };
        assert!(sweep(&profile, Some(&owner)).unwrap().is_empty());
        assert!(dir.path().join(AGENT_PID).exists());
    }
}
