//! Orders in FIFOs: those to a service, and those to the scanner.

use herm_engine::{ServiceId, StateName, Target, Want};
use herm_s6::control::{Order, ScanOrder};
use herm_s6::event;
use herm_sys::Signal;
use herm_wire::{Desired, Kind};
use rustix::fs::{Mode, OFlags};

use super::Face;
use crate::pid1::supervisor::Supervisor;

/// Read of one FIFO before others have their turn.
const READ_BYTES: usize = 4096;

impl Supervisor {
    /// Somebody has written to a service's control FIFO.
    pub(crate) fn service_ordered(&mut self, number: u64) {
        let Some(id) = self.scan_dir.as_ref().and_then(|s| s.by_number(number)) else {
            return;
        };
        let mut bytes = [0; READ_BYTES];
        let read = self
            .slot_mut(id)
            .map(|slot| rustix::io::read(&slot.control, &mut bytes));
        let Some(Ok(count)) = read else {
            return;
        };
        for letter in bytes.iter().take(count) {
            // What is no order is passed over, as s6 does.
            if let Some(order) = Order::from_letter(*letter) {
                self.follow(id, order);
            }
        }
    }

    fn follow(&mut self, id: ServiceId, order: Order) {
        match order {
            Order::Signal(number) => self.pass_on(id, number, Target::Main),
            Order::Pause { group } => self.pause(id, true, group),
            Order::Continue { group } => self.pause(id, false, group),
            Order::KillGroup => self.pass_on(id, Signal::KILL.number(), Target::Group),
            Order::Restart => {
                self.refresh(id);
                let signal = self.slot_mut(id).map(|slot| slot.definition.down_signal);
                self.pass_on(id, signal.unwrap_or(Signal::TERM.number()), Target::Main);
            }
            Order::Reload => {
                self.refresh(id);
                let signal = self.slot_mut(id).map(|slot| slot.definition.reload_signal);
                self.pass_on(id, signal.unwrap_or(Signal::HUP.number()), Target::Main);
            }
            Order::Down => self.want(id, Wanted::Down),
            Order::Up => self.want(id, Wanted::Up),
            Order::Once => self.want(id, Wanted::Once),
            Order::LetEnd => self.want(id, Wanted::LetEnd),
            Order::DownForGood => {
                self.mark_down(id, true);
                self.want(id, Wanted::Down);
            }
            Order::UpForGood => {
                self.mark_down(id, false);
                self.want(id, Wanted::Up);
            }
            Order::LetEndForGood => {
                self.mark_down(id, true);
                self.want(id, Wanted::LetEnd);
            }
            Order::Exit => {
                let face = self.slot_mut(id).map(|slot| {
                    slot.exiting = true;
                    slot.face
                });
                if let Some(face) = face {
                    self.end_if_told(id, face);
                }
            }
        }
    }

    /// Sends a signal, if there is a process to get it.
    fn pass_on(&mut self, id: ServiceId, number: u8, target: Target) {
        let is_up = |slot: &mut super::Slot| matches!(slot.face, Face::Up { .. });
        if self.slot_mut(id).is_some_and(is_up) {
            // It may have ended meanwhile, and then there is nothing to do.
            let _ = self.engine.signal(self.clock().now, id, number, target);
            self.drain();
        }
    }

    fn pause(&mut self, id: ServiceId, paused: bool, group: bool) {
        let Some(slot) = self.slot_mut(id) else {
            return;
        };
        if !matches!(slot.face, Face::Up { .. }) {
            return;
        }
        slot.status.paused = paused;
        let signal = if paused { Signal::STOP } else { Signal::CONT };
        let target = if group { Target::Group } else { Target::Main };
        self.pass_on(id, signal.number(), target);
        self.write_status(id);
    }

    fn want(&mut self, id: ServiceId, wanted: Wanted) {
        if self.waits(id) {
            // The keeper is not there yet, and is told of it when it comes.
            let uid = self.services.get(id).map_or(0, |service| service.ids.uid);
            self.record_order(id, wanted.desired(), uid);
            return;
        }
        let switched_off = self
            .services
            .get(id)
            .is_some_and(|service| service.spec.disabled.is_some());
        if switched_off && wanted != Wanted::Down {
            let name = self.name_of(id);
            self.output
                .warn(&format!("{name} is switched off, and stays down"));
            return;
        }
        if wanted == Wanted::Down {
            self.refresh(id);
        }
        let now = self.clock().now;
        let again = wanted == Wanted::Down
            && self.engine.status(now, id).is_some_and(|status| {
                status.want == Want::Down && status.state == StateName::Stopping
            });
        let taken = match wanted {
            Wanted::Up => self.engine.up(now, id),
            Wanted::Once => self.engine.once(now, id),
            Wanted::LetEnd => self.engine.let_end(now, id),
            Wanted::Down => self.bring_down(id),
        };
        self.drain();
        if let Err(error) = taken {
            let name = self.name_of(id);
            self.output.warn(&format!("{name}: {error}"));
            return;
        }
        let logger = self
            .services
            .get(id)
            .and_then(|service| service.scanned.as_ref())
            .is_some_and(super::Scanned::is_logger);
        if again || logger && wanted == Wanted::Down {
            // Asked once more: its process is, too.
            let signal = self.slot_mut(id).map(|slot| slot.definition.down_signal);
            let signal = signal.unwrap_or(Signal::TERM.number());
            self.pass_on(id, signal, Target::Main);
            self.pass_on(id, Signal::CONT.number(), Target::Main);
        }
        let gateway = self
            .services
            .get(id)
            .filter(|service| service.spec.kind == Kind::Gateway);
        if let Some(uid) = gateway.map(|service| service.ids.uid) {
            self.record_order(id, wanted.desired(), uid);
        }
    }

    /// Makes or removes the file that says how the service is when its supervision begins.
    fn mark_down(&mut self, id: ServiceId, down: bool) {
        let Some(entry) = self.entry_of(id) else {
            return;
        };
        let owner = self.services.get(id).map(|service| service.ids.uid);
        if !owner.is_some_and(|owner| entry.is_open_to(owner)) {
            return;
        }
        let done = if down {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let mode = Mode::from_raw_mode(0o644);
            let made = rustix::fs::openat(&entry.dir, "down", flags | OFlags::NONBLOCK, mode);
            made.map(drop).map_err(std::io::Error::from)
        } else {
            entry.dir.remove("down")
        };
        if let Err(error) = done {
            let name = self.name_of(id);
            self.output
                .warn(&format!("{name}: cannot change its file down: {error}"));
        }
    }

    /// Ends the supervision of a service that was told to, once it is down. One that is still in
    /// the scan directory is found again at once.
    pub(super) fn end_if_told(&mut self, id: ServiceId, face: Face) {
        let Some(slot) = self.slot_mut(id) else {
            return;
        };
        if !slot.exiting || face != Face::Down {
            return;
        }
        slot.exiting = false;
        if !slot.active {
            self.let_go(id);
            return;
        }
        self.send_event(id, &[event::UNSUPERVISED, event::SUPERVISED]);
        let down = self.entry_of(id).is_some_and(|entry| entry.has("down"));
        self.want(id, if down { Wanted::Down } else { Wanted::Up });
    }

    /// Somebody has written to the scanner's FIFO. Whoever else than root can write there may have
    /// services looked for; to stop everything is root's.
    pub(crate) fn scanner_ordered(&mut self) {
        let Some(scan) = &self.scan_dir else {
            return;
        };
        let mut bytes = [0; READ_BYTES];
        let Ok(count) = rustix::io::read(&scan.control, &mut bytes) else {
            return;
        };
        let roots = scan.is_roots();
        let mut wanted = [false; 2];
        for letter in bytes.iter().take(count) {
            for order in ScanOrder::from_letter(*letter).into_iter().flatten() {
                match order {
                    ScanOrder::Scan => wanted[0] = true,
                    ScanOrder::Prune => wanted[1] = true,
                    ScanOrder::Reap => self.more_dead = true,
                    ScanOrder::Stop | ScanOrder::Abort if roots => self.begin_shutdown(None),
                    ScanOrder::Stop | ScanOrder::Abort => self.output.warn(
                        "the scanner was told to stop, by a FIFO that not only root can write; \
                         ignored: use herm shutdown",
                    ),
                }
            }
        }
        let [scan, prune] = wanted;
        // During the boot its end scans, with all there is by then.
        if scan && self.boot.is_over() {
            self.scan();
        }
        if prune {
            self.prune_for_a_while();
        }
    }
}

/// What somebody wants of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Up,
    Once,
    LetEnd,
    Down,
}

impl Wanted {
    /// What it means for the next boot.
    fn desired(self) -> Desired {
        match self {
            Self::Up => Desired::Up,
            Self::Once | Self::LetEnd | Self::Down => Desired::Down,
        }
    }
}
