//! What an operator can order. All of it is defined in every state.

use core::fmt;

use super::Engine;
use crate::model::{Action, RunId, ServiceId, StopCause, Target, Want, signal};
use crate::service::Service;
use crate::service::phase::{BackoffWhy, DownWhy, Phase};
use crate::service::tally::Fate;
use crate::time::Time;

/// Why an order could not be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerbError {
    /// There is no such service.
    NoSuchService,
    /// It has no main process that could be signalled.
    NotRunning,
    /// It is being unregistered.
    BeingRemoved,
    /// Everything is being shut down.
    ShuttingDown,
}

impl fmt::Display for VerbError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSuchService => "there is no such service",
            Self::NotRunning => "it is not running",
            Self::BeingRemoved => "it is being unregistered",
            Self::ShuttingDown => "everything is being shut down",
        })
    }
}

impl core::error::Error for VerbError {}

impl Engine {
    /// Wants it up, and tries at once whatever it is waiting for: a delay, other inputs, nothing.
    /// Past failures are forgiven. If it is being stopped it is started again afterwards.
    pub fn up(&mut self, now: Time, id: ServiceId) -> Result<(), VerbError> {
        self.order_start(now, id, Want::Up)
    }

    /// Wants it to run until it ends by itself: starts it if it is down, and restarts it no more.
    pub fn once(&mut self, now: Time, id: ServiceId) -> Result<(), VerbError> {
        self.order_start(now, id, Want::Once)
    }

    /// Wants it to end by itself: as [`once`](Self::once), but nothing is started.
    pub fn let_end(&mut self, now: Time, id: ServiceId) -> Result<(), VerbError> {
        self.order(now, id, |service, _, _| {
            if matches!(
                service.phase,
                Phase::Spawning { .. } | Phase::Running { .. }
            ) {
                service.want = Want::Once;
            } else {
                service.want = Want::Down;
                service.rest();
            }
            None
        })
    }

    /// Wants it down, and stops it. What requires it is stopped too.
    pub fn down(&mut self, now: Time, id: ServiceId) -> Result<(), VerbError> {
        self.order_stop(now, id, Want::Down)
    }

    /// As [`down`](Self::down), but its state then reads `disabled`. Any order to start it
    /// switches it on again.
    pub fn disable(&mut self, now: Time, id: ServiceId) -> Result<(), VerbError> {
        self.order_stop(now, id, Want::Disabled)
    }

    /// Stops it if it runs, and starts it. What requires it is left alone.
    pub fn restart(&mut self, now: Time, id: ServiceId) -> Result<(), VerbError> {
        self.refuse_in_shutdown()?;
        self.order(now, id, |service, now, out| {
            if !(service.want == Want::Once && service.phase.is_active()) {
                service.want = Want::Up;
            }
            if matches!(
                service.phase,
                Phase::Spawning { .. } | Phase::Running { .. }
            ) {
                service.tally.forgive();
                service.stop(now, StopCause::Restart, None, out);
            } else {
                service.come_back(true);
            }
            None
        })
    }

    /// Takes it out of `parked`: its inputs have changed. It is started when the delay that its
    /// last failure earned is over. In any other state nothing changes.
    pub fn wake(&mut self, now: Time, id: ServiceId) -> Result<(), VerbError> {
        self.order(now, id, |service, _, _| {
            if let Phase::Parked { wake_from, .. } = service.phase {
                service.phase = Phase::Backoff {
                    until: wake_from,
                    why: BackoffWhy::Woken,
                };
            }
            None
        })
    }

    /// Sends a signal. If the process ends by it, or soon after, that is no failure.
    pub fn signal(
        &mut self,
        now: Time,
        id: ServiceId,
        number: u8,
        target: Target,
    ) -> Result<RunId, VerbError> {
        let mut sent = Err(VerbError::NotRunning);
        self.order(now, id, |service, now, out| {
            if let Phase::Spawning { run, .. }
            | Phase::Running { run, .. }
            | Phase::Stopping { run, .. } = service.phase
            {
                if !signal::is_harmless(number) {
                    service.signalled = Some((number, now));
                }
                let id = service.id;
                out.actions.push_back(Action::Signal {
                    id,
                    run,
                    target,
                    signal: number,
                    cont: false,
                });
                sent = Ok(run);
            }
            None
        })?;
        sent
    }

    /// Stops it and forgets it. [`Action::Removed`] follows when nothing of it lives; until then
    /// the name is taken. What requires it is stopped too.
    pub fn unregister(&mut self, now: Time, id: ServiceId) -> Result<(), VerbError> {
        self.order(now, id, |service, now, out| {
            service.removing = true;
            service.stop(now, StopCause::Removal, None, out);
            service.rest();
            Some(HoldDependents)
        })
    }

    fn order_start(&mut self, now: Time, id: ServiceId, want: Want) -> Result<(), VerbError> {
        self.refuse_in_shutdown()?;
        self.order(now, id, |service, _, _| {
            service.want = want;
            service.come_back(want == Want::Once);
            None
        })
    }

    fn order_stop(&mut self, now: Time, id: ServiceId, want: Want) -> Result<(), VerbError> {
        self.order(now, id, |service, now, out| {
            service.want = want;
            service.tally.forgive();
            service.stop(now, StopCause::Operator, None, out);
            service.rest();
            Some(HoldDependents)
        })
    }

    fn refuse_in_shutdown(&self) -> Result<(), VerbError> {
        if self.shutdown.is_some() {
            Err(VerbError::ShuttingDown)
        } else {
            Ok(())
        }
    }

    /// Carries out an order on one service, then lets its consequences happen.
    fn order(
        &mut self,
        now: Time,
        id: ServiceId,
        carry_out: impl FnOnce(
            &mut Service,
            Time,
            &mut crate::service::Outlet,
        ) -> Option<HoldDependents>,
    ) -> Result<(), VerbError> {
        if self.registry.get(id).is_none() {
            return Err(VerbError::NoSuchService);
        }
        let service = self
            .registry
            .at_mut(id.slot)
            .ok_or(VerbError::NoSuchService)?;
        if service.removing {
            return Err(VerbError::BeingRemoved);
        }
        let hold = carry_out(service, now, &mut self.out);
        let name = hold.map(|HoldDependents| service.spec.name.clone());
        if let Some(name) = name.filter(|_| self.shutdown.is_none()) {
            self.hold_dependents(now, &name);
        }
        self.mark_changed(id.slot);
        self.look_at(id.slot);
        self.converge(now);
        Ok(())
    }
}

/// Whoever requires the service is to be stopped as well.
struct HoldDependents;

impl Service {
    /// Ends every kind of waiting and whatever follows from an end in progress: it stays down.
    fn rest(&mut self) {
        match &mut self.phase {
            Phase::Waiting { .. }
            | Phase::Backoff { .. }
            | Phase::Parked { .. }
            | Phase::Failed { .. }
            | Phase::Done => self.phase = Phase::Down(DownWhy::Stopped),
            Phase::Draining { ended, .. } | Phase::Finishing { ended, .. } => {
                ended.fate = Fate::Held;
            }
            Phase::Down(_)
            | Phase::Spawning { .. }
            | Phase::Running { .. }
            | Phase::Stopping { .. } => {}
        }
    }

    /// Ends every kind of waiting and whatever follows from an end in progress: it is started as
    /// soon as nothing of it lives. `again`: also a oneshot that is done.
    fn come_back(&mut self, again: bool) {
        let waiting = Phase::Waiting {
            automatic: false,
            stuck: false,
        };
        match &mut self.phase {
            Phase::Down(_)
            | Phase::Waiting { .. }
            | Phase::Backoff { .. }
            | Phase::Parked { .. }
            | Phase::Failed { .. } => self.phase = waiting,
            Phase::Done if again => self.phase = waiting,
            Phase::Done | Phase::Spawning { .. } | Phase::Running { .. } => return,
            Phase::Draining { ended, .. } | Phase::Finishing { ended, .. } => {
                ended.fate = Fate::Ordered;
            }
            Phase::Stopping { cause, .. } => match cause {
                StopCause::NotReadyInTime
                | StopCause::Unhealthy
                | StopCause::Requirement
                | StopCause::Operator => *cause = StopCause::Restart,
                StopCause::Restart | StopCause::Removal | StopCause::Shutdown => {}
            },
        }
        self.tally.forgive();
    }
}
