//! Readiness and health of a run: the clocks of probes and what their results add up to.

use core::time::Duration;

use crate::model::{Health, HealthStatus, Kind, Probe, ProbeId, Readiness, Spec};
use crate::time::Time;

/// A probe whose result is this late after its timeout is taken for failed.
const PROBE_LOST_AFTER: Duration = Duration::from_secs(1);

/// The rhythm of one check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clock {
    /// The next probe starts then.
    Due(Time),
    /// One is under way; without a result by then it has failed.
    Waiting { probe: ProbeId, lost_at: Time },
}

impl Clock {
    pub(crate) const fn deadline(self) -> Time {
        match self {
            Self::Due(at) => at,
            Self::Waiting { probe: _, lost_at } => lost_at,
        }
    }

    pub(crate) fn launched(now: Time, probe: ProbeId, policy: Probe) -> Self {
        Self::Waiting {
            probe,
            lost_at: now + policy.timeout + PROBE_LOST_AFTER,
        }
    }
}

/// How far a running process is on its way to being ready, and what is watched until then and
/// after. The policies are those the run was started under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Ready at this time if it still lives.
    Settling { ready_at: Time },
    /// Its own announcement is awaited.
    Notifying { give_up_at: Time },
    /// A oneshot at work: it is up when it has ended well, and not before.
    Working { give_up_at: Time },
    /// Probes decide.
    Probing {
        probe: Probe,
        needed: u32,
        successes: u32,
        clock: Clock,
        give_up_at: Time,
    },
    /// It is ready.
    Ready { health: Option<Watch> },
}

/// The health of a ready service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Watch {
    pub(crate) policy: Health,
    pub(crate) clock: Clock,
    pub(crate) failures: u32,
    /// Whether any probe has ended.
    pub(crate) known: bool,
}

impl Stage {
    /// Where a run begins whose program was executed now.
    pub(crate) fn begin(now: Time, spec: &Spec) -> Self {
        let until = |timeout: Option<Duration>| timeout.map_or(Time::MAX, |limit| now + limit);
        if spec.kind == Kind::Oneshot {
            return Self::Working {
                give_up_at: until(spec.readiness.timeout()),
            };
        }
        match spec.readiness {
            Readiness::Immediate => Self::ready(now, spec.health),
            Readiness::After(settle) => Self::Settling {
                ready_at: now + settle,
            },
            Readiness::Notification { timeout } => Self::Notifying {
                give_up_at: until(timeout),
            },
            Readiness::Probe {
                probe,
                successes,
                timeout,
            } => Self::Probing {
                probe,
                needed: successes.max(1),
                successes: 0,
                clock: Clock::Due(now),
                give_up_at: until(timeout),
            },
        }
    }

    pub(crate) fn ready(now: Time, health: Option<Health>) -> Self {
        let watch = |policy: Health| Watch {
            policy,
            clock: Clock::Due(now + policy.probe.interval),
            failures: 0,
            known: false,
        };
        Self::Ready {
            health: health.map(watch),
        }
    }

    pub(crate) const fn is_ready(&self) -> bool {
        match self {
            Self::Ready { health: _ } => true,
            Self::Settling { .. }
            | Self::Notifying { .. }
            | Self::Working { .. }
            | Self::Probing { .. } => false,
        }
    }

    pub(crate) const fn clock_mut(&mut self) -> Option<&mut Clock> {
        match self {
            Self::Probing { clock, .. } => Some(clock),
            Self::Ready {
                health: Some(watch),
            } => Some(&mut watch.clock),
            Self::Ready { health: None }
            | Self::Settling { .. }
            | Self::Notifying { .. }
            | Self::Working { .. } => None,
        }
    }

    pub(crate) fn deadline(&self) -> Time {
        match self {
            Self::Settling { ready_at } => *ready_at,
            Self::Notifying { give_up_at } | Self::Working { give_up_at } => *give_up_at,
            Self::Probing {
                clock, give_up_at, ..
            } => clock.deadline().min(*give_up_at),
            Self::Ready { health } => health
                .as_ref()
                .map_or(Time::MAX, |watch| watch.clock.deadline()),
        }
    }
}

impl Watch {
    /// Counts a result; true if it makes the service one that has to be restarted.
    pub(crate) fn count(&mut self, now: Time, ok: bool) -> bool {
        self.known = true;
        self.failures = if ok {
            0
        } else {
            self.failures.saturating_add(1)
        };
        self.clock = Clock::Due(now + self.policy.probe.interval);
        self.policy.restart && self.failures >= self.policy.failures.max(1)
    }

    pub(crate) fn status(&self) -> HealthStatus {
        if !self.known {
            HealthStatus::Unknown
        } else if self.failures >= self.policy.failures.max(1) {
            HealthStatus::Unhealthy {
                failures: self.failures,
            }
        } else {
            HealthStatus::Healthy
        }
    }
}
