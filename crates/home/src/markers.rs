//! The agent's planned-stop marker: the note that tells a gateway that the TERM it gets is meant.
//!
//! Without it the agent takes a TERM for an accident: it exits 1 and writes `running` (0.19.0).
//! The marker names one process by pid and start time and is void after 60 s. A gateway that sees
//! itself named in one also stops without any signal, so it is written right before TERM and for
//! an operator's stop only, never for a container's.

use std::path::Path;
use std::time::SystemTime;

use serde_json::{Value, json};

use crate::clock;
use crate::error::HomeError;
use crate::files::{Dir, PRIVATE};
use crate::layout::ProfilePaths;
use crate::process;

/// The marker's file, in the profile's directory.
pub const PLANNED_STOP: &str = ".gateway-planned-stop.json";
const MAX_BYTES: u64 = 64 * 1024;

/// Writes the marker for a process; `proc` is `/proc`.
pub fn write_planned_stop(
    profile: &ProfilePaths,
    target: i32,
    now: SystemTime,
    proc: &Path,
) -> Result<(), HomeError> {
    let marker = json!({
        "target_pid": target,
        "target_start_time": process::look(proc, target).map(|process| process.start_time),
        "stopper_pid": std::process::id(),
        "written_at": iso_with_offset(now),
    });
    Dir::open(profile.dir())?.write_atomic(PLANNED_STOP, marker.to_string().as_bytes(), PRIVATE)
}

/// The process a marker names, if there is a marker.
pub fn planned_stop_target(profile: &ProfilePaths) -> Result<Option<i32>, HomeError> {
    let Some(content) = Dir::open(profile.dir())?.read(PLANNED_STOP, MAX_BYTES)? else {
        return Ok(None);
    };
    let target = serde_json::from_slice::<Value>(&content.bytes)
        .ok()
        .and_then(|marker| marker.get("target_pid")?.as_i64());
    Ok(target.and_then(|pid| i32::try_from(pid).ok()))
}

/// Removes a marker whose process has ended without consuming it; `false` if there was none. `proc`
/// is `/proc`.
pub fn clear_spent_planned_stop(profile: &ProfilePaths, proc: &Path) -> Result<bool, HomeError> {
    let Some(target) = planned_stop_target(profile)? else {
        return Ok(false);
    };
    if process::look(proc, target).is_some_and(|process| !process.zombie) {
        return Ok(false);
    }
    clear_planned_stop(profile)
}

/// Removes a marker nobody consumed; `false` if there was none.
pub fn clear_planned_stop(profile: &ProfilePaths) -> Result<bool, HomeError> {
    Dir::open(profile.dir())?.remove(PLANNED_STOP)
}

/// The agent reads the time with Python's `fromisoformat`, which before 3.11 knew no `Z`.
fn iso_with_offset(at: SystemTime) -> String {
    clock::rfc3339(at).replace('Z', "+00:00")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Home;
    use crate::name::ProfileName;

    #[test]
    fn the_marker_names_the_process_as_the_agent_will_check_it() {
        let dir = tempfile::tempdir().unwrap();
        let profile = Home::new(dir.path()).profile(&ProfileName::default_profile());
        let me = i32::try_from(std::process::id()).unwrap();
        let proc = Path::new("/proc");
        write_planned_stop(&profile, me, clock::from_unix(1_795_202_464).unwrap(), proc).unwrap();

        let bytes = std::fs::read(dir.path().join(PLANNED_STOP)).unwrap();
        let marker: Value = serde_json::from_slice(&bytes).unwrap();
        let start = process::look(proc, me).unwrap().start_time;
        assert_eq!(marker["target_pid"], json!(me));
        assert_eq!(marker["target_start_time"], json!(start));
        assert_eq!(marker["written_at"], json!("2026-11-20T19:21:04+00:00"));

        assert_eq!(planned_stop_target(&profile).unwrap(), Some(me));
        assert!(!clear_spent_planned_stop(&profile, proc).unwrap());
        assert!(clear_spent_planned_stop(&profile, Path::new("/nonexistent")).unwrap());
        write_planned_stop(&profile, me, clock::from_unix(0).unwrap(), proc).unwrap();
        assert!(clear_planned_stop(&profile).unwrap());
        assert!(!clear_planned_stop(&profile).unwrap());
        assert_eq!(planned_stop_target(&profile).unwrap(), None);
    }
}
