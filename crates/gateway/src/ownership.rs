//! One gateway per profile: `gateway.lock` and `gateway.pid`, as the agent keeps them.
//!
//! The lock is what the agent takes for the truth about "is one running": the process itself
//! holds it, so it can't go stale. The pid file is for those who look.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use herm_home::files::{Dir, PRIVATE};
use herm_home::layout::AGENT_PID;
use herm_home::owner::PidRecord;
use herm_home::{HomeError, ProfilePaths, markers, process};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde_json::{Map, Value, json};

use crate::log;

const LOCK_FILE: &str = "gateway.lock";
/// The `kind` the agent's tools look for.
const KIND: &str = "hermes-gateway";

/// This process as the agent's files name one.
pub(crate) fn identity() -> Map<String, Value> {
    let argv: Vec<String> = std::env::args_os()
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    let start_time = process::look(Path::new("/proc"), own_pid()).map(|own| own.start_time);
    Map::from_iter([
        ("kind".to_owned(), json!(KIND)),
        ("pid".to_owned(), json!(own_pid())),
        ("argv".to_owned(), json!(argv)),
        ("start_time".to_owned(), json!(start_time)),
    ])
}

fn own_pid() -> i32 {
    std::process::id().cast_signed()
}

/// This process is the profile's gateway. Dropping it removes `gateway.pid` and unlocks.
#[derive(Debug)]
pub(crate) struct Ownership {
    _lock: Option<File>,
    profile: ProfilePaths,
}

/// The lock is held by another process.
#[derive(Debug, thiserror::Error)]
#[error(
    "another gateway{} already runs for this profile (it holds {}); stop it first",
    .holder.map_or_else(String::new, |pid| format!(" (pid {pid})")),
    .lock.display()
)]
pub(crate) struct Owned {
    holder: Option<i32>,
    lock: PathBuf,
}

impl Ownership {
    /// Makes this process the profile's gateway, or says who is.
    pub(crate) fn take(profile: &ProfilePaths) -> Result<Self, Owned> {
        let lock = lock(&profile.dir().join(LOCK_FILE))?;
        let record = Value::Object(identity()).to_string();
        let written = Dir::open(profile.dir())
            .and_then(|dir| dir.write_atomic(AGENT_PID, record.as_bytes(), PRIVATE));
        if let Err(error) = written {
            log::warn(error);
        }
        Ok(Self {
            _lock: lock,
            profile: profile.clone(),
        })
    }

    /// Removes an operator's planned-stop marker that names this process: it is being obeyed.
    pub(crate) fn consume_planned_stop(&self) {
        if let Ok(Some(target)) = markers::planned_stop_target(&self.profile)
            && target == own_pid()
        {
            report(markers::clear_planned_stop(&self.profile));
        }
    }
}

impl Drop for Ownership {
    fn drop(&mut self) {
        report(Dir::open(self.profile.dir()).and_then(|dir| dir.remove(AGENT_PID)));
    }
}

fn report(result: Result<bool, HomeError>) {
    if let Err(error) = result {
        log::warn(error);
    }
}

/// `None` where the file system can't lock or write: there the supervisor alone makes sure that
/// a profile has one gateway.
fn lock(path: &Path) -> Result<Option<File>, Owned> {
    let cannot = |error: &dyn std::fmt::Display| {
        log::warn(format_args!("{} can't be locked: {error}", path.display()));
        Ok(None)
    };
    let opened = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(PRIVATE)
        .open(path);
    let mut file = match opened {
        Ok(file) => file,
        Err(error) => return cannot(&error),
    };
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => {
            return Err(Owned {
                holder: holder(&mut file),
                lock: path.to_owned(),
            });
        }
        Err(error) => return cannot(&error),
    }
    let record = Value::Object(identity()).to_string();
    let written = file
        .set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| file.write_all(record.as_bytes()));
    if let Err(error) = written {
        log::warn(format_args!("{} was not written: {error}", path.display()));
    }
    Ok(Some(file))
}

fn holder(lock: &mut File) -> Option<i32> {
    let mut record = Vec::new();
    lock.take(4096).read_to_end(&mut record).ok()?;
    PidRecord::parse(&record).map(|record| record.pid)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use herm_home::{Home, ProfileName};

    use super::*;

    #[test]
    fn l12_a_second_gateway_of_a_profile_is_refused_and_the_first_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let profile = Home::new(dir.path()).profile(&ProfileName::default_profile());
        let first = Ownership::take(&profile).unwrap();
        assert!(dir.path().join(AGENT_PID).exists());
        let refused = Ownership::take(&profile).unwrap_err().to_string();
        assert!(refused.contains(&own_pid().to_string()), "{refused}");
        drop(first);
        assert!(!dir.path().join(AGENT_PID).exists());
        Ownership::take(&profile).unwrap();
    }

    #[test]
    fn only_a_planned_stop_that_names_us_is_consumed() {
        let dir = tempfile::tempdir().unwrap();
        let profile = Home::new(dir.path()).profile(&ProfileName::default_profile());
        let ownership = Ownership::take(&profile).unwrap();
        let plan = |pid| {
            let proc = Path::new("/proc");
            markers::write_planned_stop(&profile, pid, SystemTime::now(), proc).unwrap();
        };
        plan(1);
        ownership.consume_planned_stop();
        assert_eq!(markers::planned_stop_target(&profile).unwrap(), Some(1));
        plan(own_pid());
        ownership.consume_planned_stop();
        assert_eq!(markers::planned_stop_target(&profile).unwrap(), None);
    }
}
