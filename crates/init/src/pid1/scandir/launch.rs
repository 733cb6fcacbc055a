//! Starting `run` and `finish`.

use std::ffi::CString;
use std::os::fd::OwnedFd;

use herm_engine::{Exit, ServiceId};
use herm_s6::service_directory::Definition;
use herm_sys::spawn::{Launch, Program};
use herm_sys::{Errno, record_lock};
use herm_wire::ServiceSpec;
use rustix::fs::{Mode, OFlags, openat};

use super::entry::Refusal;
use crate::pid1::launch::hand_over;
use crate::pid1::supervisor::Supervisor;

/// A script finds itself under the first of these numbers that is free.
pub(super) const SCRIPT_AT: std::ops::Range<i32> = 100..110;

/// A script, and what it is told.
pub(crate) enum Script {
    /// The service.
    Run,
    /// What comes after it.
    Finish {
        /// How `run` ended.
        exit: Exit,
        /// Its process, and group.
        pid: u32,
    },
}

/// A step that failed, and the kernel's reason.
type Failed = (String, i32);

impl Supervisor {
    /// Whether a service is started from a service directory.
    /// Whether the service user may give it orders, whoever it runs as.
    pub(crate) fn is_shared(&self, id: ServiceId) -> bool {
        let scan = self.scan_dir.as_ref();
        scan.and_then(|scan| scan.slots.get(&id))
            .is_some_and(|slot| slot.shared)
    }

    pub(crate) fn is_scanned(&self, id: ServiceId) -> bool {
        let scanned = self.services.get(id).and_then(|s| s.scanned.as_ref());
        scanned.is_some_and(|scanned| !scanned.native)
    }

    /// Turns the launch of a service into that of its script, opened and checked now.
    pub(crate) fn aim_at_script(
        &mut self,
        id: ServiceId,
        script: &Script,
        launch: &mut Launch,
    ) -> Result<(), Failed> {
        if matches!(script, Script::Run) {
            self.refresh(id);
        }
        let failed = |what: &str| {
            let what = what.to_owned();
            move |refusal: Refusal| match refusal {
                Refusal::Io(error) => (what, error.raw_os_error().unwrap_or(0)),
                refusal => (format!("{what}: {refusal}"), 0),
            }
        };
        let entry = self
            .entry_of(id)
            .ok_or_else(|| ("find its service directory".to_owned(), 2))?;
        let service = self
            .services
            .get(id)
            .ok_or_else(|| ("find the service".to_owned(), 0))?;
        let (name, open) = match script {
            Script::Run => ("run", "open run"),
            Script::Finish { .. } => ("finish", "open finish"),
        };
        let owner = service.ids.uid;
        let now = entry
            .owner(Self::uid())
            .map_err(failed("trust its directory"))?;
        if now != owner {
            let text = format!("run as user {owner} what is user {now}'s by now; scan again");
            return Err((text, 0));
        }
        let file = entry.script(name, owner).map_err(failed(open))?;
        let slot = service
            .scanned
            .as_ref()
            .map(|scanned| scanned.slot.clone())
            .unwrap_or_default();
        launch.argv = words(script, &slot);
        launch.cwd = None;
        launch.cwd_at = Some(entry.dir.into());
        if let Script::Run = script {
            launch.new_pid_namespace = self.definition_of(id).new_pid_namespace;
            self.hold_lock(id, launch)?;
        }
        let taken = |number: i32| launch.fds.iter().any(|fd| fd.target == number);
        let script_at = SCRIPT_AT.into_iter().find(|number| !taken(*number));
        launch.program = Program::Descriptor { file, script_at };
        self.connect(id, launch)
    }

    fn definition_of(&self, id: ServiceId) -> Definition {
        let scan = self.scan_dir.as_ref();
        let slot = scan.and_then(|scan| scan.slots.get(&id));
        slot.map(|slot| slot.definition).unwrap_or_default()
    }

    /// Gives a service the lock it asks for (`lock-fd`). It is the open file's, so it lasts until the
    /// last process that has the descriptor is gone; none of those outlives its run.
    fn hold_lock(&self, id: ServiceId, launch: &mut Launch) -> Result<(), Failed> {
        let Some(target) = self.definition_of(id).lock_fd else {
            return Ok(());
        };
        let failed = |errno: Errno| ("hold its lock".to_owned(), errno.raw_os_error());
        let target = i32::try_from(target).map_err(|_| failed(Errno::BADF))?;
        if launch.fds.iter().any(|fd| fd.target == target) {
            let text = "lock-fd is the number of another descriptor that it has";
            return Err((text.to_owned(), 0));
        }
        let dir = self
            .state_dir(id, "supervise")
            .ok_or_else(|| failed(Errno::NOENT))?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o644);
        let file = openat(&dir, "service-lock", flags, mode).map_err(failed)?;
        if record_lock::try_hold(&file).map_err(failed)? {
            hand_over(launch, file, target);
            Ok(())
        } else {
            Err(("hold its lock: somebody else does".to_owned(), 0))
        }
    }

    /// Puts the pipe between a service and its logger in place.
    fn connect(&self, id: ServiceId, launch: &mut Launch) -> Result<(), Failed> {
        let Some(scan) = &self.scan_dir else {
            return Ok(());
        };
        let Some(scanned) = self.services.get(id).and_then(|s| s.scanned.as_ref()) else {
            return Ok(());
        };
        let pair = match scanned.slot.strip_suffix("/log") {
            Some(logged) => self.services.id_of(logged),
            None => Some(id),
        };
        let pipe = pair.and_then(|pair| scan.slots.get(&pair)?.pipe.as_ref());
        let Some((read, write)) = pipe else {
            return Ok(());
        };
        let copy = |fd: &OwnedFd| {
            fd.try_clone().map_err(|error| {
                let errno = error.raw_os_error().unwrap_or(0);
                ("duplicate the pipe of its log".to_owned(), errno)
            })
        };
        if scanned.is_logger() {
            hand_over(launch, copy(read)?, 0);
        } else {
            launch.fds.retain(|fd| fd.target != 1);
            hand_over(launch, copy(write)?, 1);
        }
        Ok(())
    }
}

impl Script {
    /// The command of a service that was registered with one.
    pub(crate) fn argv(&self, spec: &ServiceSpec) -> Vec<String> {
        match (self, &spec.finish) {
            (Self::Finish { exit, pid }, Some(finish)) => {
                let mut argv = finish.argv.clone();
                argv.extend(told(*exit, &spec.name, *pid));
                argv
            }
            (Self::Run | Self::Finish { .. }, _) => spec.argv.clone(),
        }
    }
}

/// What comes after it learns of a run: how it ended, whose it was, and its process.
fn told(exit: Exit, name: &str, pid: u32) -> [String; 4] {
    let (code, signal) = match exit {
        Exit::Code(code) => (u16::from(code), 0),
        Exit::Signal { signal, core: _ } => (256, signal),
    };
    [
        code.to_string(),
        signal.to_string(),
        name.to_owned(),
        pid.to_string(),
    ]
}

/// The words a script gets: its own name, and what s6 gives it.
fn words(script: &Script, slot: &str) -> Vec<CString> {
    let mut words = Vec::new();
    match script {
        Script::Run => words.extend(["./run".to_owned(), slot.to_owned()]),
        Script::Finish { exit, pid } => {
            words.push("./finish".to_owned());
            words.extend(told(*exit, slot, *pid));
        }
    }
    words
        .into_iter()
        .filter_map(|word| CString::new(word).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(script: &Script) -> String {
        let words: Vec<_> = words(script, "a/log")
            .into_iter()
            .filter_map(|word| word.into_string().ok())
            .collect();
        words.join(" ")
    }

    #[test]
    fn finish_learns_how_run_ended_and_who_it_was() {
        assert_eq!(text(&Script::Run), "./run a/log");
        let exit = Exit::Code(7);
        assert_eq!(
            text(&Script::Finish { exit, pid: 12 }),
            "./finish 7 0 a/log 12"
        );
        let exit = Exit::Signal {
            signal: 15,
            core: false,
        };
        assert_eq!(
            text(&Script::Finish { exit, pid: 116 }),
            "./finish 256 15 a/log 116"
        );
    }
}
