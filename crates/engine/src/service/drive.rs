//! What orders and time do to one service.
//!
//! Every function takes the state apart, puts the next one in its place and pushes actions; none
//! looks at another service. The engine calls them, and afterwards looks at what has changed.

use super::phase::Phase;
use super::steps::Steps;
use super::watch::{Clock, Stage, Watch};
use super::{Outlet, Service};
use crate::model::{Action, Check, Probe, Role, RunId, StopCause, Target};
use crate::time::Time;

impl Service {
    /// Asks for the main process. The engine has made sure that it is its turn.
    pub(crate) fn start(&mut self, now: Time, out: &mut Outlet) {
        let Phase::Waiting {
            automatic,
            stuck: _,
        } = self.phase
        else {
            return;
        };
        if automatic {
            self.restarts = self.restarts.saturating_add(1);
        }
        self.signalled = None;
        let run = out.new_run(self.id);
        self.phase = Phase::Spawning {
            run,
            give_up_at: now + out.config.exec_timeout,
        };
        out.actions.push_back(Action::Spawn {
            id: self.id,
            run,
            role: Role::Main,
        });
    }

    /// Starts to stop the main process, or gives a stop in progress a stronger cause, and
    /// less time if the policy has become stricter. `kill_by` is where a shutdown cuts the grace.
    pub(crate) fn stop(
        &mut self,
        now: Time,
        why: StopCause,
        kill_by: Option<Time>,
        out: &mut Outlet,
    ) {
        let grace = self.spec.stop.grace;
        let finish = self.spec.finish.map_or(grace, |finish| finish.timeout);
        let by = |span| (now + span).min(kill_by.unwrap_or(Time::MAX));
        let (run, up) = match &mut self.phase {
            Phase::Spawning { run, give_up_at: _ } => (*run, None),
            Phase::Running { run, up, stage: _ } => (*run, Some(*up)),
            Phase::Stopping { cause, steps, .. } => {
                *cause = why.max(*cause);
                steps.hasten(now, by(grace));
                return;
            }
            Phase::Draining { steps, .. } => return steps.hasten(now, by(grace)),
            Phase::Finishing { steps, .. } => return steps.hasten(now, by(finish)),
            Phase::Down(_)
            | Phase::Waiting { .. }
            | Phase::Backoff { .. }
            | Phase::Parked { .. }
            | Phase::Failed { .. }
            | Phase::Done => return,
        };
        let steps = Steps::ask(now, by(grace));
        self.phase = Phase::Stopping {
            run,
            up,
            cause: why,
            steps,
        };
        out.actions.push_back(Action::Signal {
            id: self.id,
            run,
            target: Target::Main,
            signal: self.spec.stop.signal,
            cont: true,
        });
    }

    /// Does what is due. One step per call; the caller repeats while something is due.
    pub(crate) fn elapse(&mut self, now: Time, out: &mut Outlet) {
        let id = self.id;
        let stop_signal = self.spec.stop.signal;
        match &mut self.phase {
            Phase::Backoff { .. } => {
                self.phase = Phase::Waiting {
                    automatic: true,
                    stuck: false,
                };
            }
            Phase::Spawning { .. } => self.stop(now, StopCause::NotReadyInTime, None, out),
            Phase::Running { .. } => self.watch(now, out),
            Phase::Stopping { run, steps, .. } | Phase::Finishing { run, steps, .. } => {
                let taken = steps.advance(now, id, *run, stop_signal);
                out.actions.extend(taken.into_iter().flatten().flatten());
            }
            Phase::Draining { ended, steps } => {
                let taken = steps.advance(now, id, ended.run, stop_signal);
                out.actions.extend(taken.into_iter().flatten().flatten());
            }
            Phase::Down(_)
            | Phase::Waiting { .. }
            | Phase::Parked { .. }
            | Phase::Failed { .. }
            | Phase::Done => {}
        }
    }

    /// What is due while the main process runs: readiness and health.
    fn watch(&mut self, now: Time, out: &mut Outlet) {
        let Phase::Running { run, stage, .. } = &mut self.phase else {
            return;
        };
        let run = *run;
        match stage {
            Stage::Settling { .. } => *stage = Stage::ready(now, self.spec.health),
            Stage::Notifying { .. } | Stage::Working { .. } => {
                self.stop(now, StopCause::NotReadyInTime, None, out);
            }
            Stage::Probing { give_up_at, .. } if *give_up_at <= now => {
                self.stop(now, StopCause::NotReadyInTime, None, out);
            }
            Stage::Probing {
                probe: policy,
                clock,
                ..
            } => {
                let policy = *policy;
                match *clock {
                    Clock::Due(_) => self.probe(now, run, Check::Readiness, policy, out),
                    Clock::Waiting { probe, .. } => {
                        self.probed(now, run, probe, false, out);
                    }
                }
            }
            Stage::Ready {
                health: Some(Watch { policy, clock, .. }),
            } => {
                let policy = policy.probe;
                match *clock {
                    Clock::Due(_) => self.probe(now, run, Check::Health, policy, out),
                    Clock::Waiting { probe, .. } => {
                        self.probed(now, run, probe, false, out);
                    }
                }
            }
            Stage::Ready { health: None } => {}
        }
    }

    fn probe(&mut self, now: Time, run: RunId, check: Check, policy: Probe, out: &mut Outlet) {
        let probe = self.new_probe();
        let launched = Clock::launched(now, probe, policy);
        if let Phase::Running { stage, .. } = &mut self.phase {
            match stage {
                Stage::Probing { clock, .. } => *clock = launched,
                Stage::Ready {
                    health: Some(watch),
                } => watch.clock = launched,
                Stage::Ready { health: None }
                | Stage::Settling { .. }
                | Stage::Notifying { .. }
                | Stage::Working { .. } => return,
            }
        }
        let timeout = policy.timeout;
        out.actions.push_back(Action::Probe {
            id: self.id,
            run,
            probe,
            check,
            timeout,
        });
    }
}
