//! What is reported about a service's runs, and what follows at once.
//!
//! Each function returns false if the report is no news: late, repeated, or about a run that is
//! not the current one. Nothing has changed then.

use super::phase::{Ended, FinishStage, Phase, Up};
use super::steps::Steps;
use super::watch::{Clock, Stage};
use super::{Outlet, Service};
use crate::model::{Action, Exit, ProbeId, RunEnd, RunId, SpawnFailure, StopCause, Target, signal};
use crate::time::Time;

impl Service {
    /// The program of `run` was executed. False if that is no news.
    pub(crate) fn spawned(&mut self, now: Time, run: RunId, pid: u32) -> bool {
        let now_up = Up { pid, since: now };
        match &mut self.phase {
            Phase::Spawning { run: current, .. } if *current == run => {
                let stage = Stage::begin(now, &self.spec);
                self.phase = Phase::Running {
                    run,
                    up: now_up,
                    stage,
                };
                true
            }
            Phase::Stopping {
                run: current,
                up: up @ None,
                ..
            } if *current == run => {
                *up = Some(now_up);
                true
            }
            Phase::Finishing {
                run: current,
                stage: stage @ FinishStage::Spawning,
                ..
            } if *current == run => {
                *stage = FinishStage::Running { pid };
                true
            }
            Phase::Down(_)
            | Phase::Waiting { .. }
            | Phase::Backoff { .. }
            | Phase::Parked { .. }
            | Phase::Failed { .. }
            | Phase::Done
            | Phase::Spawning { .. }
            | Phase::Running { .. }
            | Phase::Stopping { .. }
            | Phase::Draining { .. }
            | Phase::Finishing { .. } => false,
        }
    }

    /// The program of `run` was not executed. False if that can't be.
    pub(crate) fn spawn_failed(
        &mut self,
        now: Time,
        run: RunId,
        failure: SpawnFailure,
        out: &mut Outlet,
    ) -> bool {
        let stopped = match &self.phase {
            Phase::Spawning { run: current, .. } if *current == run => None,
            Phase::Stopping {
                run: current,
                up: None,
                cause,
                ..
            } if *current == run => Some(*cause),
            Phase::Finishing {
                ended,
                run: current,
                stage: FinishStage::Spawning,
                ..
            } if *current == run => {
                let ended = ended.clone();
                out.runs.remove(&run);
                self.settle(now, Some(RunEnd::Exited(ended.exit)), ended.fate);
                return true;
            }
            Phase::Down(_)
            | Phase::Waiting { .. }
            | Phase::Backoff { .. }
            | Phase::Parked { .. }
            | Phase::Failed { .. }
            | Phase::Done
            | Phase::Spawning { .. }
            | Phase::Running { .. }
            | Phase::Stopping { .. }
            | Phase::Draining { .. }
            | Phase::Finishing { .. } => return false,
        };
        let end = RunEnd::NotSpawned(failure);
        let fate = self.judge(now, run, None, &end, stopped, out);
        out.runs.remove(&run);
        self.settle(now, Some(end), fate);
        true
    }

    /// The process of `run` is gone. False if that is no news.
    pub(crate) fn exited(&mut self, now: Time, run: RunId, exit: Exit, out: &mut Outlet) -> bool {
        let grace = self.survivor_grace(&out.config);
        let fresh = Steps::kill((now + grace).min(out.graces_end.unwrap_or(Time::MAX)));
        let (up, stopped, steps) = match &mut self.phase {
            Phase::Spawning { run: current, .. } if *current == run => (None, None, fresh),
            Phase::Running {
                run: current, up, ..
            } if *current == run => (Some(*up), None, fresh),
            Phase::Stopping {
                run: current,
                up,
                cause,
                steps,
            } if *current == run => (*up, Some(*cause), steps.for_the_rest(fresh)),
            Phase::Finishing {
                ended,
                run: current,
                stage,
                steps,
            } if *current == run => {
                if *stage == FinishStage::Draining {
                    return false;
                }
                ended.heed_finish(exit);
                *stage = FinishStage::Draining;
                *steps = steps.for_the_rest(fresh);
                let steps = *steps;
                self.end_survivors(run, steps, out);
                return true;
            }
            Phase::Down(_)
            | Phase::Waiting { .. }
            | Phase::Backoff { .. }
            | Phase::Parked { .. }
            | Phase::Failed { .. }
            | Phase::Done
            | Phase::Spawning { .. }
            | Phase::Running { .. }
            | Phase::Stopping { .. }
            | Phase::Draining { .. }
            | Phase::Finishing { .. } => return false,
        };
        let end = RunEnd::Exited(exit);
        let fate = self.judge(now, run, up, &end, stopped, out);
        let pid = up.map_or(0, |up| up.pid);
        let ended = Ended {
            run,
            exit,
            pid,
            fate,
        };
        self.phase = Phase::Draining { ended, steps };
        self.end_survivors(run, steps, out);
        true
    }

    /// Nothing of `run` lives any more. False if that is no news, or can't be.
    pub(crate) fn emptied(&mut self, now: Time, run: RunId, out: &mut Outlet) -> bool {
        match &self.phase {
            Phase::Draining { ended, .. } if ended.run == run => {
                let ended = ended.clone();
                out.runs.remove(&run);
                self.finish(now, ended, out);
                true
            }
            Phase::Finishing {
                ended,
                run: current,
                stage: FinishStage::Draining,
                ..
            } if *current == run => {
                let ended = ended.clone();
                out.runs.remove(&run);
                self.settle(now, Some(RunEnd::Exited(ended.exit)), ended.fate);
                true
            }
            Phase::Down(_)
            | Phase::Waiting { .. }
            | Phase::Backoff { .. }
            | Phase::Parked { .. }
            | Phase::Failed { .. }
            | Phase::Done
            | Phase::Spawning { .. }
            | Phase::Running { .. }
            | Phase::Stopping { .. }
            | Phase::Draining { .. }
            | Phase::Finishing { .. } => false,
        }
    }

    /// The run has announced that it is ready. False if that is no news.
    pub(crate) fn announced(&mut self, now: Time, run: RunId) -> bool {
        match &mut self.phase {
            Phase::Running {
                run: current,
                stage: stage @ Stage::Notifying { .. },
                ..
            } if *current == run => {
                *stage = Stage::ready(now, self.spec.health);
                true
            }
            Phase::Down(_)
            | Phase::Waiting { .. }
            | Phase::Backoff { .. }
            | Phase::Parked { .. }
            | Phase::Failed { .. }
            | Phase::Done
            | Phase::Spawning { .. }
            | Phase::Running { .. }
            | Phase::Stopping { .. }
            | Phase::Draining { .. }
            | Phase::Finishing { .. } => false,
        }
    }

    /// A probe ended. False if it is not the one awaited.
    pub(crate) fn probed(
        &mut self,
        now: Time,
        run: RunId,
        probe: ProbeId,
        ok: bool,
        out: &mut Outlet,
    ) -> bool {
        let Phase::Running {
            run: current,
            stage,
            ..
        } = &mut self.phase
        else {
            return false;
        };
        if *current != run {
            return false;
        }
        match stage {
            Stage::Probing {
                probe: policy,
                needed,
                successes,
                clock,
                ..
            } => {
                if !is_awaited(*clock, probe) {
                    return false;
                }
                *successes = if ok { successes.saturating_add(1) } else { 0 };
                *clock = Clock::Due(now + policy.interval);
                if *successes >= *needed {
                    *stage = Stage::ready(now, self.spec.health);
                }
            }
            Stage::Ready {
                health: Some(watch),
            } => {
                if !is_awaited(watch.clock, probe) {
                    return false;
                }
                if watch.count(now, ok) {
                    self.stop(now, StopCause::Unhealthy, None, out);
                }
            }
            Stage::Ready { health: None }
            | Stage::Settling { .. }
            | Stage::Notifying { .. }
            | Stage::Working { .. } => {
                return false;
            }
        }
        true
    }

    /// Asks the rest of a set to end; the driver answers at once if there is nobody.
    fn end_survivors(&self, run: RunId, steps: Steps, out: &mut Outlet) {
        let kill = steps.has_killed();
        out.actions.push_back(Action::Signal {
            id: self.id,
            run,
            target: Target::Set,
            signal: if kill { signal::KILL } else { signal::TERM },
            cont: !kill,
        });
    }
}

fn is_awaited(clock: Clock, probe: ProbeId) -> bool {
    matches!(clock, Clock::Waiting { probe: awaited, lost_at: _ } if awaited == probe)
}
