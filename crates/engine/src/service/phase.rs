//! What is so of one service: the states, each with the data it needs and no other.

use core::time::Duration;

use super::steps::Steps;
use super::tally::Fate;
use super::watch::{Clock, Stage};
use crate::model::{Exit, Failure, Next, RunEnd, RunId, StateName, StopCause};
use crate::time::Time;

/// The state of one service. The table of transitions heads the [service module](super).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nothing runs, and nothing will until somebody wants it.
    Down(DownWhy),
    /// Wanted; starts as soon as the services before it allow.
    Waiting {
        /// Whether the start will be a restart nobody ordered.
        automatic: bool,
        /// Whether it waits for something that is not on its way.
        stuck: bool,
    },
    /// Wanted; tried again later.
    Backoff { until: Time, why: BackoffWhy },
    /// Wanted, but not tried again until it is woken or started. A wake starts it no earlier than
    /// `wake_from`.
    Parked { why: ParkWhy, wake_from: Time },
    /// Wanted, but given up.
    Failed {
        failure: Failure,
        failures: u32,
        within: Duration,
    },
    /// A oneshot that has done its work.
    Done,
    /// A process was asked for; its program is not executed yet.
    Spawning { run: RunId, give_up_at: Time },
    /// The main process runs.
    Running { run: RunId, up: Up, stage: Stage },
    /// The main process is being stopped. `up` is None if its program was never executed.
    Stopping {
        run: RunId,
        up: Option<Up>,
        cause: StopCause,
        steps: Steps,
    },
    /// The main process is gone; the rest of its set is being ended.
    Draining { ended: Ended, steps: Steps },
    /// Nothing of the run lives; the finish script is at work.
    Finishing {
        ended: Ended,
        run: RunId,
        stage: FinishStage,
        steps: Steps,
    },
}

/// A process whose program was executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Up {
    pub(crate) pid: u32,
    pub(crate) since: Time,
}

/// A main run whose process is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) run: RunId,
    pub(crate) exit: Exit,
    /// What its process id was, or 0 if the engine never learned it.
    pub(crate) pid: u32,
    pub(crate) fate: Fate,
}

/// How a service came to be down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DownWhy {
    NeverStarted,
    Stopped,
    RanOnce(RunEnd),
    Shutdown,
}

/// What the next try is delayed for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BackoffWhy {
    Failed { failure: Failure, failures: u32 },
    Woken,
}

/// Who ruled out a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ParkWhy {
    Permanent(Exit),
    FinishSaidNo(RunEnd),
}

/// How far the finish script is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FinishStage {
    Spawning,
    Running {
        pid: u32,
    },
    /// Its process is gone; the rest of its set is being ended.
    Draining,
}

impl Phase {
    /// The word for it in printed data.
    pub(crate) const fn name(&self, disabled: bool) -> StateName {
        match self {
            Self::Down(_) if disabled => StateName::Disabled,
            Self::Down(_) => StateName::Down,
            Self::Waiting { .. } | Self::Spawning { .. } => StateName::Starting,
            Self::Backoff { .. } => StateName::Backoff,
            Self::Parked { .. } => StateName::Parked,
            Self::Failed { .. } => StateName::Failed,
            Self::Done => StateName::Running,
            Self::Running { stage, .. } => {
                if stage.is_ready() {
                    StateName::Running
                } else {
                    StateName::Starting
                }
            }
            Self::Stopping { .. } | Self::Draining { .. } | Self::Finishing { .. } => {
                StateName::Stopping
            }
        }
    }

    /// When the state changes by itself; `Time::MAX` if it doesn't.
    pub(crate) fn deadline(&self) -> Time {
        match self {
            Self::Down(_)
            | Self::Waiting { .. }
            | Self::Parked { .. }
            | Self::Failed { .. }
            | Self::Done => Time::MAX,
            Self::Backoff { until, .. } => *until,
            Self::Spawning { give_up_at, .. } => *give_up_at,
            Self::Running { stage, .. } => stage.deadline(),
            Self::Stopping { steps, .. }
            | Self::Draining { steps, .. }
            | Self::Finishing { steps, .. } => steps.deadline(),
        }
    }

    /// The part of the deadline an operator wants to know.
    pub(crate) fn next(&self) -> Option<Next> {
        let given_up = |at: Time| (at < Time::MAX).then_some(Next::GiveUpStart(at));
        match self {
            Self::Down(_)
            | Self::Waiting { .. }
            | Self::Parked { .. }
            | Self::Failed { .. }
            | Self::Done => None,
            Self::Backoff { until, .. } => Some(Next::Start(*until)),
            Self::Spawning { give_up_at, .. } => given_up(*give_up_at),
            Self::Running { stage, .. } => match stage {
                Stage::Working { give_up_at }
                | Stage::Notifying { give_up_at }
                | Stage::Probing { give_up_at, .. } => given_up(*give_up_at),
                Stage::Settling { .. } | Stage::Ready { .. } => None,
            },
            Self::Stopping { steps, .. }
            | Self::Draining { steps, .. }
            | Self::Finishing { steps, .. } => steps.next().filter(|next| next.at() < Time::MAX),
        }
    }

    /// Drops the wait for probes whose results nobody will bring any more: they are repeated.
    pub(crate) fn forget_probes(&mut self, now: Time) {
        if let Self::Running { stage, .. } = self
            && let Some(clock @ Clock::Waiting { .. }) = stage.clock_mut()
        {
            *clock = Clock::Due(now);
        }
    }

    /// Whether any process of the service may be alive.
    pub(crate) const fn is_active(&self) -> bool {
        match self {
            Self::Down(_)
            | Self::Waiting { .. }
            | Self::Backoff { .. }
            | Self::Parked { .. }
            | Self::Failed { .. }
            | Self::Done => false,
            Self::Spawning { .. }
            | Self::Running { .. }
            | Self::Stopping { .. }
            | Self::Draining { .. }
            | Self::Finishing { .. } => true,
        }
    }

    /// The main run in progress, or being cleaned up after.
    pub(crate) const fn main_run(&self) -> Option<RunId> {
        match self {
            Self::Spawning { run, .. } | Self::Running { run, .. } | Self::Stopping { run, .. } => {
                Some(*run)
            }
            Self::Draining { ended, .. } | Self::Finishing { ended, .. } => Some(ended.run),
            Self::Down(_)
            | Self::Waiting { .. }
            | Self::Backoff { .. }
            | Self::Parked { .. }
            | Self::Failed { .. }
            | Self::Done => None,
        }
    }

    /// The main process, while it lives.
    pub(crate) const fn up(&self) -> Option<Up> {
        match self {
            Self::Running { up, .. } => Some(*up),
            Self::Stopping { up, .. } => *up,
            Self::Down(_)
            | Self::Waiting { .. }
            | Self::Backoff { .. }
            | Self::Parked { .. }
            | Self::Failed { .. }
            | Self::Done
            | Self::Spawning { .. }
            | Self::Draining { .. }
            | Self::Finishing { .. } => None,
        }
    }
}
