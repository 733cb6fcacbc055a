//! Counting failures, and what follows from an end: the restart policy.
//!
//! *Stable* is a property of one run: it was up, without interruption, for `stable_after`. Time
//! spent down or waiting proves nothing, and so never makes anything stable.

use alloc::collections::VecDeque;
use core::time::Duration;

use crate::model::{Exit, Failure, Kind, RestartPolicy, RunEnd, StopCause};
use crate::rng::Rng;
use crate::time::{Time, nanos};

/// `EX_TEMPFAIL`: the exit code by which a service asks to be restarted.
const EXIT_RESTART: u8 = 75;

/// What becomes of a service when nothing of its last run lives any more, if it is still wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// An operator wants a new run now, also of a service that was to run only once.
    Ordered,
    /// The end was ordered; a service wanted up is started again, and that is no restart.
    Held,
    /// It is started again at once.
    Restart,
    /// It is started again after a delay.
    Later {
        failure: Failure,
        failures: u32,
        delay: Duration,
    },
    /// It waits for other inputs; `delay` is the least time until a wake may start it.
    Park { exit: Exit, delay: Duration },
    /// Its finish script ruled a restart out.
    ParkByFinish,
    /// The burst limit is reached.
    GiveUp {
        failure: Failure,
        failures: u32,
        within: Duration,
    },
    /// It is a oneshot and has succeeded.
    Done,
}

/// A run that ended, as the policy looks at it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ending<'a> {
    pub(crate) end: &'a RunEnd,
    pub(crate) uptime: Duration,
    /// Why it was being stopped, if it was.
    pub(crate) stopped: Option<StopCause>,
    /// Whether an operator's signal explains the end.
    pub(crate) signalled: bool,
}

/// What a service's past runs have earned it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Failures in a row since the last stable run: the delay's exponent.
    pub(crate) failures: u32,
    /// Whether any run ever failed.
    pub(crate) ever_failed: bool,
    /// Requests to be restarted in a row, by runs too young to make them freely.
    pub(crate) requests: u32,
    /// The latest failures, as many as the burst limit needs to see.
    pub(crate) recent: VecDeque<Time>,
}

impl Tally {
    /// Forgets what counts towards delay and limits: an operator takes it from here.
    pub(crate) fn forgive(&mut self) {
        self.failures = 0;
        self.requests = 0;
        self.recent.clear();
    }

    /// Decides what follows from an end, and counts it.
    pub(crate) fn judge(
        &mut self,
        now: Time,
        kind: Kind,
        policy: &RestartPolicy,
        ending: Ending<'_>,
        rng: &mut Rng,
    ) -> Fate {
        if let Some(fate) = ordered(ending) {
            self.requests = 0;
            if ending.uptime >= policy.stable_after {
                self.failures = 0;
            }
            return fate;
        }
        let code = match ending.end {
            RunEnd::Exited(Exit::Code(code)) => Some(*code),
            RunEnd::Exited(Exit::Signal { signal: _, core: _ }) | RunEnd::NotSpawned(_) => None,
        };
        let failure = match (ending.stopped, code) {
            (Some(StopCause::NotReadyInTime), _) => Failure::NotReadyInTime,
            (Some(StopCause::Unhealthy), _) => Failure::Unhealthy,
            (_, Some(0)) if kind == Kind::Oneshot => {
                self.requests = 0;
                self.failures = 0;
                return Fate::Done;
            }
            (_, Some(code)) if policy.parks_on.contains(&code) => {
                let delay = self.count(now, policy, ending.uptime, rng);
                return Fate::Park {
                    exit: Exit::Code(code),
                    delay,
                };
            }
            (_, Some(EXIT_RESTART)) if kind == Kind::Longrun => {
                match self.request(policy, ending) {
                    Ok(fate) => return fate,
                    Err(failure) => failure,
                }
            }
            _ => {
                self.requests = 0;
                Failure::Ended(ending.end.clone())
            }
        };
        self.failed(now, policy, ending.uptime, failure, rng)
    }

    /// Exit 75: granted, or one too many and therefore a failure.
    fn request(&mut self, policy: &RestartPolicy, ending: Ending<'_>) -> Result<Fate, Failure> {
        let Some(requested) = policy.requested else {
            return Err(Failure::Ended(ending.end.clone()));
        };
        if ending.uptime >= policy.stable_after {
            self.failures = 0;
        }
        if ending.uptime >= requested.settled_after {
            self.requests = 0;
            return Ok(Fate::Restart);
        }
        self.requests = self.requests.saturating_add(1);
        if self.requests >= requested.limit {
            return Err(Failure::RestartLoop {
                requests: self.requests,
            });
        }
        Ok(Fate::Restart)
    }

    fn failed(
        &mut self,
        now: Time,
        policy: &RestartPolicy,
        uptime: Duration,
        failure: Failure,
        rng: &mut Rng,
    ) -> Fate {
        // Who asked in a loop has had its free restarts.
        if matches!(failure, Failure::RestartLoop { requests: _ }) {
            self.ever_failed = true;
        }
        let delay = self.count(now, policy, uptime, rng);
        if let Some(burst) = policy.burst {
            let limit = usize::try_from(burst.failures).unwrap_or(usize::MAX);
            let in_window = self
                .recent
                .iter()
                .filter(|at| now.since(**at) <= burst.within)
                .count();
            if in_window >= limit {
                let failures = burst.failures;
                return Fate::GiveUp {
                    failure,
                    failures,
                    within: burst.within,
                };
            }
        }
        if delay.is_zero() {
            return Fate::Restart;
        }
        Fate::Later {
            failure,
            failures: self.failures,
            delay,
        }
    }

    /// Counts a failure and returns the delay it earns.
    fn count(
        &mut self,
        now: Time,
        policy: &RestartPolicy,
        uptime: Duration,
        rng: &mut Rng,
    ) -> Duration {
        self.remember(now, policy);
        let first = !self.ever_failed;
        self.ever_failed = true;
        if uptime >= policy.stable_after || (first && uptime >= policy.first_failure_after) {
            self.failures = 0;
            return Duration::ZERO;
        }
        self.failures = self.failures.saturating_add(1);
        delay(policy, self.failures, rng)
    }

    fn remember(&mut self, now: Time, policy: &RestartPolicy) {
        let Some(burst) = policy.burst else { return };
        let limit = usize::try_from(burst.failures)
            .unwrap_or(usize::MAX)
            .min(BURST_FAILURES_MAX);
        self.recent.push_back(now);
        while self.recent.len() > limit.max(1) {
            self.recent.pop_front();
        }
    }
}

/// As many failures as a burst limit may look back on.
const BURST_FAILURES_MAX: usize = 4096;

/// The fate of a run whose end somebody ordered.
fn ordered(ending: Ending<'_>) -> Option<Fate> {
    match ending.stopped {
        Some(StopCause::Restart) => Some(Fate::Ordered),
        Some(
            StopCause::Operator | StopCause::Requirement | StopCause::Removal | StopCause::Shutdown,
        ) => Some(Fate::Held),
        Some(StopCause::NotReadyInTime | StopCause::Unhealthy) => None,
        None => ending.signalled.then_some(Fate::Held),
    }
}

/// The delay after the `failures`-th failure in a row (from 1): doubling, varied, capped.
fn delay(policy: &RestartPolicy, failures: u32, rng: &mut Rng) -> Duration {
    let cap = nanos(policy.delay_max);
    let doublings = failures.saturating_sub(1).min(63);
    let plain = nanos(policy.delay_min)
        .saturating_mul(1 << doublings)
        .min(cap);
    let percent = u32::from(policy.jitter_percent.min(100));
    // Thousandths of the plain delay, from 1000 - 10 * percent to 1000 + 10 * percent.
    let thousandths = u128::from(1000 - 10 * percent + rng.up_to(20 * percent));
    let varied = u128::from(plain) * thousandths / 1000;
    Duration::from_nanos(u64::try_from(varied).unwrap_or(u64::MAX).min(cap))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failing(tally: &mut Tally, at: u64, uptime: u64) -> Fate {
        let end = RunEnd::Exited(Exit::Code(1));
        let ending = Ending {
            end: &end,
            uptime: Duration::from_millis(uptime),
            stopped: None,
            signalled: false,
        };
        let policy = RestartPolicy {
            jitter_percent: 0,
            ..RestartPolicy::default()
        };
        let now = Time::ZERO + Duration::from_millis(at);
        tally.judge(now, Kind::Longrun, &policy, ending, &mut Rng::new(1))
    }

    fn seconds(fate: &Fate) -> u64 {
        match fate {
            Fate::Restart => 0,
            Fate::Later { delay, .. } => delay.as_secs(),
            other => panic!("no delay in {other:?}"),
        }
    }

    #[test]
    fn delays_double_up_to_the_cap() {
        let mut tally = Tally::default();
        let delays: alloc::vec::Vec<_> = (0..9)
            .map(|_| seconds(&failing(&mut tally, 0, 10)))
            .collect();
        assert_eq!(delays, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    }

    #[test]
    fn a_first_failure_ever_is_forgiven_after_a_second_of_life() {
        let mut tally = Tally::default();
        let delays = [1000, 1000, 1000].map(|uptime| seconds(&failing(&mut tally, 0, uptime)));
        assert_eq!(delays, [0, 1, 2]);
    }

    #[test]
    fn jitter_stays_within_its_percentage_and_the_cap() {
        let policy = RestartPolicy {
            jitter_percent: 25,
            ..RestartPolicy::default()
        };
        let mut rng = Rng::new(7);
        let mut seen = alloc::collections::BTreeSet::new();
        for failures in [3, 7, 40] {
            for _ in 0..1000 {
                let varied = delay(&policy, failures, &mut rng);
                let plain = if failures == 3 { 4.0 } else { 60.0 };
                assert!(varied.as_secs_f64() >= plain * 0.75);
                assert!(varied.as_secs_f64() <= (plain * 1.25).min(60.0));
                seen.insert(varied);
            }
        }
        assert!(seen.len() > 100, "the delay varies");
    }
}
