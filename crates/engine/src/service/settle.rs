//! What becomes of a service when a run is over.

use super::phase::{BackoffWhy, DownWhy, Ended, FinishStage, ParkWhy, Phase, Up};
use super::steps::Steps;
use super::tally::{Ending, Fate};
use super::{Outlet, Service};
use crate::model::{Action, Exit, LastExit, Role, RunEnd, RunId, StopCause, Want};
use crate::time::Time;

/// The exit code by which a finish script rules out a restart (s6).
const FINISH_PERMANENT: u8 = 125;

impl Service {
    /// Runs the finish script, if there is one and time for it.
    pub(super) fn finish(&mut self, now: Time, ended: Ended, out: &mut Outlet) {
        let graces_end = out.graces_end.unwrap_or(Time::MAX);
        let policy = self.spec.finish.filter(|_| now < graces_end);
        let Some(policy) = policy else {
            return self.settle(now, Some(RunEnd::Exited(ended.exit)), ended.fate);
        };
        let run = out.new_run(self.id);
        let role = Role::Finish {
            of: ended.run,
            exit: ended.exit,
            pid: ended.pid,
        };
        out.actions.push_back(Action::Spawn {
            id: self.id,
            run,
            role,
        });
        let steps = Steps::kill((now + policy.timeout).min(graces_end));
        self.phase = Phase::Finishing {
            ended,
            run,
            stage: FinishStage::Spawning,
            steps,
        };
    }

    pub(super) fn judge(
        &mut self,
        now: Time,
        run: RunId,
        up: Option<Up>,
        end: &RunEnd,
        stopped: Option<StopCause>,
        out: &mut Outlet,
    ) -> Fate {
        let uptime = up.map_or(core::time::Duration::ZERO, |up| now.since(up.since));
        let signalled = self.signalled.take().is_some_and(|(sent, at)| match end {
            RunEnd::Exited(Exit::Signal { signal, core: _ }) if *signal == sent => true,
            RunEnd::Exited(_) => now.since(at) <= self.survivor_grace(&out.config),
            RunEnd::NotSpawned(_) => false,
        });
        self.last_exit = Some(LastExit {
            run,
            end: end.clone(),
            at: now,
            after: uptime,
        });
        let ending = Ending {
            end,
            uptime,
            stopped,
            signalled,
        };
        self.tally.judge(
            now,
            self.spec.kind,
            &self.spec.restart,
            ending,
            &mut out.rng,
        )
    }

    /// Nothing lives any more: goes where what is wanted and what was earned lead.
    pub(crate) fn settle(&mut self, now: Time, end: Option<RunEnd>, fate: Fate) {
        let ran_once =
            |end: Option<RunEnd>| Phase::Down(end.map_or(DownWhy::Stopped, DownWhy::RanOnce));
        if self.removing {
            self.phase = Phase::Down(DownWhy::Stopped);
            return;
        }
        self.phase = match self.want {
            Want::Down => match (&self.phase, &fate) {
                // It was let end, not stopped.
                (Phase::Stopping { .. }, _) | (_, Fate::Held) => Phase::Down(DownWhy::Stopped),
                _ => ran_once(end),
            },
            Want::Disabled => Phase::Down(DownWhy::Stopped),
            Want::Once if fate == Fate::Ordered => Phase::Waiting {
                automatic: false,
                stuck: false,
            },
            Want::Once => {
                self.want = Want::Down;
                ran_once(end)
            }
            Want::Up => wanted_up(now, end, fate),
        };
    }
}

/// Where a fate leads a service that is wanted up.
fn wanted_up(now: Time, end: Option<RunEnd>, fate: Fate) -> Phase {
    match fate {
        Fate::Ordered | Fate::Held => Phase::Waiting {
            automatic: false,
            stuck: false,
        },
        Fate::Restart => Phase::Waiting {
            automatic: true,
            stuck: false,
        },
        Fate::Later {
            failure,
            failures,
            delay,
        } => Phase::Backoff {
            until: now + delay,
            why: BackoffWhy::Failed { failure, failures },
        },
        Fate::Park { exit, delay } => Phase::Parked {
            why: ParkWhy::Permanent(exit),
            wake_from: now + delay,
        },
        Fate::ParkByFinish => {
            let end = end.unwrap_or(RunEnd::Exited(Exit::Code(0)));
            Phase::Parked {
                why: ParkWhy::FinishSaidNo(end),
                wake_from: now,
            }
        }
        Fate::GiveUp {
            failure,
            failures,
            within,
        } => Phase::Failed {
            failure,
            failures,
            within,
        },
        Fate::Done => Phase::Done,
    }
}

impl Ended {
    /// Its finish script has ended so. A veto holds against restarts, not against an operator.
    pub(super) fn heed_finish(&mut self, exit: Exit) {
        if exit == Exit::Code(FINISH_PERMANENT) && self.fate != Fate::Ordered {
            self.fate = Fate::ParkByFinish;
        }
    }
}
