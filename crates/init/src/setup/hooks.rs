//! The image's own boot scripts: `/etc/cont-init.d` (contract section 3.3, `s6.md` section 6.2).

use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use herm_sys::Pid;
use herm_sys::pidfd::Pidfd;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use herm_engine::SortedMap;

/// A script that did not succeed.
#[derive(Debug, thiserror::Error)]
pub(super) enum HookError {
    /// It could not be started.
    #[error("{} can't be run: {source}; it must be executable and start with #!", script.display())]
    NotRun {
        /// The script.
        script: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It ended with a failure.
    #[error("{} failed: {outcome}", script.display())]
    Failed {
        /// The script.
        script: PathBuf,
        /// `exit 3` or `killed by signal 9`.
        outcome: String,
    },
}

/// The scripts of a hook directory in the order they run: by the bytes of their names, dot files
/// left out. A missing directory has none.
pub(super) fn scripts(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = SortedMap::new();
    for entry in entries {
        let entry = entry?;
        let name: OsString = entry.file_name();
        if !name.as_encoded_bytes().starts_with(b".") && !entry.path().is_dir() {
            found.insert(name, entry.path());
        }
    }
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// Runs one script to its end, or for `limit`, with the given environment, `cmd` as JSON in
/// `HERM_CMD`.
pub(super) fn run(
    script: &Path,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    cmd: &[String],
    limit: Option<Duration>,
) -> Result<(), HookError> {
    let not_run = |source| HookError::NotRun {
        script: script.to_owned(),
        source,
    };
    let mut child = Command::new(script)
        .env_clear()
        .envs(environment)
        .env("HERM_CMD", serde_json::Value::from(cmd).to_string())
        .spawn()
        .map_err(not_run)?;
    let overran = limit.filter(|limit| !ends_within(&child, *limit));
    if let Some(limit) = overran {
        // Not waited for yet, so it is still this child, dead or alive.
        let _ = child.kill();
        let _ = child.wait();
        return Err(HookError::Failed {
            script: script.to_owned(),
            outcome: format!("not done after {} s (HERM_SETUP_TIMEOUT)", limit.as_secs()),
        });
    }
    let status = child.wait().map_err(not_run)?;
    if status.success() {
        return Ok(());
    }
    Err(HookError::Failed {
        script: script.to_owned(),
        outcome: describe(status),
    })
}

/// Waits for a child's end, at most for `limit`. A kernel that can't tell (before 5.3) has no limit.
fn ends_within(child: &Child, limit: Duration) -> bool {
    let Ok(held) = Pidfd::open(Pid::from_child(child)) else {
        return true;
    };
    let began = Instant::now();
    loop {
        let left = limit.saturating_sub(began.elapsed());
        let Ok(timeout) = Timespec::try_from(left) else {
            return true;
        };
        match poll(&mut [PollFd::new(&held, PollFlags::IN)], Some(&timeout)) {
            Ok(0) => return false,
            Err(Errno::INTR) => {}
            Ok(_) | Err(_) => return true,
        }
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => status.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    fn write_script(dir: &Path, name: &str, body: &str) -> PathBuf {
        let path = dir.join(name);
        fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn scripts_run_in_the_order_of_their_bytes_without_hidden_ones() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["02-b", "015-a", ".hidden", "01-c"] {
            write_script(dir.path(), name, "");
        }
        let names: Vec<_> = scripts(dir.path())
            .unwrap()
            .into_iter()
            .map(|path| path.file_name().unwrap().to_owned())
            .collect();
        assert_eq!(names, ["01-c", "015-a", "02-b"]);
        assert!(scripts(&dir.path().join("absent")).unwrap().is_empty());
    }

    #[test]
    fn l52_a_script_sees_the_cmd_and_the_environment() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        let script = write_script(
            dir.path(),
            "01",
            &format!("printf '%s|%s' \"$HERM_CMD\" \"$FOO\" > {}", out.display()),
        );
        let cmd = ["chat".to_owned(), "-q".to_owned(), "it's \"x\"".to_owned()];
        run(&script, [("FOO".into(), "bar".into())], &cmd, None).unwrap();
        assert_eq!(
            fs::read_to_string(out).unwrap(),
            r#"["chat","-q","it's \"x\""]|bar"#
        );
    }

    #[test]
    fn a_failing_script_is_named_with_its_exit() {
        let dir = tempfile::tempdir().unwrap();
        let script = write_script(dir.path(), "01-bad", "exit 3");
        let message = run(&script, [], &[], None).unwrap_err().to_string();
        assert!(
            message.contains("01-bad") && message.contains("exit 3"),
            "{message}"
        );
    }

    #[test]
    fn l51_a_script_that_hangs_is_ended_and_named_where_there_is_a_limit() {
        let dir = tempfile::tempdir().unwrap();
        let script = write_script(dir.path(), "01-hangs", "exec sleep 1000");
        let limit = Some(Duration::from_millis(1));
        let message = run(&script, [], &[], limit).unwrap_err().to_string();
        assert!(
            message.contains("01-hangs") && message.contains("HERM_SETUP_TIMEOUT"),
            "{message}"
        );
        let quick = write_script(dir.path(), "02", "");
        run(&quick, [], &[], Some(Duration::from_secs(3600))).unwrap();
    }
}
