//! What tools see: the status file, the events, the tally of deaths.

use std::time::SystemTime;

use herm_engine::{Exit, LastExit, RunEnd, ServiceId, StateName};
use herm_s6::status::Ended;
use herm_s6::tai::Tain;
use herm_s6::{death_tally, event};
use herm_sys::Errno;
use herm_sys::fs_at::{Dir, file_type};
use rustix::fs::{FileType, Mode, OFlags};

use super::{Face, ScanDir};
use crate::pid1::supervisor::Supervisor;

/// Of one service's listeners no more are told: each takes PID 1 some microseconds.
const LISTENERS_MAX: usize = 1000;

impl Face {
    fn of(status: &herm_engine::Status, says_ready: bool) -> Self {
        if let Some(pid) = status.pid {
            let ready = says_ready && status.ready;
            return Self::Up { pid, ready };
        }
        match status.finish_pid {
            Some(pid) => Self::Finishing { pid },
            None if status.state == StateName::Stopping => Self::Dying,
            None => Self::Down,
        }
    }
}

impl Supervisor {
    /// A service has changed: whoever reads its status or waits for an event learns of it.
    pub(crate) fn show(&mut self, id: ServiceId) {
        if self.slot_mut(id).is_none() {
            return;
        }
        let Some(status) = self.engine.status(self.clock().now, id) else {
            return;
        };
        let Some(slot) = self.slot_mut(id) else {
            return;
        };
        let face = Face::of(&status, slot.definition.notification_fd.is_some());
        let was = std::mem::replace(&mut slot.face, face);
        let given_up = matches!(status.state, StateName::Parked | StateName::Failed);
        let before = slot.status;
        slot.status.wanted_up = status.want.is_up() && !given_up;
        let mut letters = Vec::new();
        if was != face {
            let stamp = now();
            let died = matches!(was, Face::Up { .. }) && !is_same_life(was, face);
            if died {
                slot.status.paused = false;
                slot.status.changed = stamp;
                slot.status.ended = ended(status.last_exit.as_ref());
                let (deaths, limit) = (&mut slot.deaths, slot.definition.deaths);
                death_tally::push(deaths, stamp, slot.status.ended, limit);
            }
            slot.letters(was, face, &mut letters);
            slot.turn(was, face, stamp);
        }
        if slot.status != before || was != face {
            self.write_status(id);
        }
        if letters.contains(&event::DOWN) {
            self.write_deaths(id);
        }
        if !letters.is_empty() {
            self.send_event(id, &letters);
        }
        self.end_if_told(id, face);
    }

    /// Writes the status file.
    pub(super) fn write_status(&mut self, id: ServiceId) {
        let Some(slot) = self.slot_mut(id) else {
            return;
        };
        let bytes = slot.status.to_bytes();
        self.write_file(id, "status", &bytes);
    }

    fn write_deaths(&mut self, id: ServiceId) {
        let deaths = self.slot_mut(id).map(|slot| slot.deaths.clone());
        self.write_file(id, "death_tally", &deaths.unwrap_or_default());
    }

    fn write_file(&mut self, id: ServiceId, name: &str, bytes: &[u8]) {
        let written = self
            .state_dir(id, "supervise")
            .map(|dir| replace(&dir, name, bytes));
        if let Some(Err(error)) = written {
            let service = self.name_of(id);
            self.output
                .warn(&format!("{service}: its {name} is out of date: {error}"));
        }
    }

    pub(super) fn state_dir(&self, id: ServiceId, name: &str) -> Option<Dir> {
        let scanned = self.services.get(id)?.scanned.as_ref()?;
        let scan: &ScanDir = self.scan_dir.as_ref()?;
        let dir = scan.state.open_dir(&scanned.slot).ok()?;
        dir.open_dir(name).ok()
    }

    /// Tells whoever listens for events of a service.
    pub(super) fn send_event(&mut self, id: ServiceId, letters: &[u8]) {
        if let Some(dir) = self.state_dir(id, "event") {
            send(&dir, letters);
        }
    }

    /// A run has ended so: if it was a `finish`, it may have ruled out another start.
    pub(crate) fn note_finish(&mut self, run: u64, exit: Exit) {
        let Some(id) = self.service_of_run(run) else {
            return;
        };
        if let Some(slot) = self.slot_mut(id)
            && matches!(slot.face, Face::Dying | Face::Finishing { .. })
        {
            slot.vetoed = exit == Exit::Code(125);
        }
    }

    /// What comes after a death is read when it comes.
    pub(crate) fn refresh_before_end(&mut self, run: u64) {
        let Some(id) = self.service_of_run(run) else {
            return;
        };
        if self
            .slot_mut(id)
            .is_some_and(|slot| matches!(slot.face, Face::Up { .. }))
        {
            self.refresh(id);
        }
    }

    fn service_of_run(&self, run: u64) -> Option<ServiceId> {
        self.scan_dir.as_ref()?;
        let name = &self.runs.get(&run)?.record.service;
        self.services.id_of(name)
    }
}

impl super::Slot {
    /// The events of a change, oldest first.
    fn letters(&mut self, was: Face, is: Face, letters: &mut Vec<u8>) {
        if matches!(was, Face::Up { .. }) && !is_same_life(was, is) {
            letters.push(event::DOWN);
        }
        let was_up = matches!(was, Face::Up { .. }) && is_same_life(was, is);
        let settled = matches!(is, Face::Down | Face::Up { .. });
        if settled && was != Face::Down && !was_up {
            if std::mem::take(&mut self.vetoed) {
                letters.push(event::ONCE_DOWN);
            }
            letters.push(event::REALLY_DOWN);
        }
        if let Face::Up { ready, .. } = is {
            if !was_up {
                letters.push(event::UP);
            }
            if ready && !matches!(was, Face::Up { ready: true, .. }) {
                letters.push(event::READY);
            }
        }
    }

    /// The status after a change.
    fn turn(&mut self, was: Face, is: Face, stamp: Tain) {
        let status = &mut self.status;
        status.finishing = matches!(is, Face::Dying | Face::Finishing { .. });
        status.pid = match is {
            Face::Up { pid, .. } | Face::Finishing { pid } => pid.into(),
            Face::Down | Face::Dying => 0,
        };
        status.ready = matches!(is, Face::Down | Face::Up { ready: true, .. });
        if status.ready {
            status.ready_since = stamp;
        }
        if matches!(is, Face::Up { .. }) && !is_same_life(was, is) {
            status.changed = stamp;
        }
    }
}

fn is_same_life(was: Face, is: Face) -> bool {
    matches!((was, is), (Face::Up { pid: a, .. }, Face::Up { pid: b, .. }) if a == b)
}

fn ended(last: Option<&LastExit>) -> Ended {
    match last.map(|last| &last.end) {
        Some(RunEnd::Exited(Exit::Code(code))) => Ended::Exited(*code),
        Some(RunEnd::Exited(Exit::Signal { signal, .. })) => Ended::Killed(*signal),
        Some(RunEnd::NotSpawned(_)) | None => Ended::Exited(0),
    }
}

/// This instant, as the system's clock has it.
pub(super) fn now() -> Tain {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Tain::from_unix(since.unwrap_or_default())
}

/// Replaces a small file as a whole; nothing here outlives the machine, so nothing is synced.
fn replace(dir: &Dir, name: &str, bytes: &[u8]) -> Result<(), Errno> {
    let new = format!("{name}.new");
    let flags =
        OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(dir, &new, flags, Mode::from_raw_mode(0o644))?;
    if rustix::io::write(&file, bytes)? != bytes.len() {
        return Err(Errno::NOSPC);
    }
    rustix::fs::renameat(dir, &new, dir, name)
}

/// Writes to every listener's FIFO, and removes those that nobody reads any more. Nothing but a
/// FIFO of a single name is written to: another name of it may be anybody's.
fn send(dir: &Dir, letters: &[u8]) {
    let Ok(entries) = rustix::fs::Dir::read_from(dir) else {
        return;
    };
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    for entry in entries.take(LISTENERS_MAX).flatten() {
        let name = entry.file_name();
        if !event::is_listener(name.to_bytes()) {
            continue;
        }
        let told = rustix::fs::openat(dir, name, flags, Mode::empty()).and_then(|fifo| {
            let stat = rustix::fs::fstat(&fifo)?;
            if file_type(&stat) == FileType::Fifo && stat.st_nlink == 1 {
                rustix::io::write(&fifo, letters)?;
            }
            Ok(())
        });
        if let Err(Errno::NXIO | Errno::PIPE) = told {
            // Its reader is gone; so is what it left.
            let _ = rustix::fs::unlinkat(dir, name, rustix::fs::AtFlags::empty());
        }
    }
}
