//! Between the protocol's words and the engine's: one function per word, no decisions.

use std::time::Duration;

use super::services::Service;
use herm_engine::{
    Burst, Exit, FinishPolicy, Health, HealthStatus, Next, Probe as Rhythm, Readiness,
    RestartPolicy, RunEnd, Spec, StateName, Status, StopPolicy, Time, Want,
};
use herm_sys::signals::Signal;
use herm_wire::time::rfc3339;
use herm_wire::{Desired, Kind, LastExit, ReadinessSpec, ServiceSpec, ServiceView, State};

/// Between two readiness probes, where the spec says nothing.
const READINESS_INTERVAL: Duration = Duration::from_secs(1);
/// Between two health probes.
const HEALTH_INTERVAL: Duration = Duration::from_secs(30);
/// For one probe.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);
/// Failed health probes in a row that make a service unhealthy.
const HEALTH_FAILURES: u32 = 3;
/// No probe follows another, and no start a failed one, sooner than this, whatever a spec says: what
/// fails before a process exists would otherwise be tried again for ever within one turn of the loop.
const SOONEST: Duration = Duration::from_millis(10);
/// The span in which a configured burst of failures counts.
const BURST_WITHIN: Duration = Duration::from_secs(600);

/// PID 1's clocks at one instant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// Monotonic, over suspends too.
    pub(crate) now: Time,
    /// Milliseconds since 1970-01-01 UTC.
    pub(crate) unix_ms: i64,
}

impl Clock {
    /// The clocks now.
    pub(crate) fn read() -> Self {
        use rustix::time::{ClockId, clock_gettime};
        let mono = clock_gettime(ClockId::Boottime);
        let wall = clock_gettime(ClockId::Realtime);
        let seconds = u64::try_from(mono.tv_sec).unwrap_or(0);
        let nanos = u64::try_from(mono.tv_nsec).unwrap_or(0);
        Self {
            now: Time::from_nanos(seconds.saturating_mul(1_000_000_000).saturating_add(nanos)),
            unix_ms: wall
                .tv_sec
                .saturating_mul(1000)
                .saturating_add(wall.tv_nsec / 1_000_000),
        }
    }

    /// The wall clock's reading at a point of the monotonic one, as text.
    pub(crate) fn text(&self, at: Time) -> String {
        let ms = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        let offset = if at > self.now {
            ms(at.since(self.now))
        } else {
            -ms(self.now.since(at))
        };
        rfc3339(self.unix_ms.saturating_add(offset))
    }
}

/// The engine's part of a spec. A bad value is named.
pub(crate) fn engine_spec(spec: &ServiceSpec) -> Result<Spec, String> {
    let mut engine = Spec::new(spec.name.clone());
    if spec.oneshot {
        engine.kind = herm_engine::Kind::Oneshot;
    }
    engine.requires.clone_from(&spec.requires);
    engine.after.clone_from(&spec.after);
    engine.restart = restart_policy(spec);
    engine.readiness = readiness(&spec.readiness);
    engine.health = spec.health.as_ref().map(|health| Health {
        probe: Rhythm {
            interval: millis(health.interval_ms, HEALTH_INTERVAL).max(SOONEST),
            timeout: millis(health.timeout_ms, PROBE_TIMEOUT),
        },
        failures: health.threshold.unwrap_or(HEALTH_FAILURES).max(1),
        restart: true,
    });
    let default = StopPolicy::default();
    engine.stop = StopPolicy {
        signal: match &spec.stop.signal {
            None => default.signal,
            Some(name) => parse_signal(name)?.number(),
        },
        grace: millis(spec.stop.grace_ms, default.grace),
    };
    let finish = FinishPolicy::default();
    engine.finish = spec.finish.as_ref().map(|spec| FinishPolicy {
        timeout: millis(spec.timeout_ms, finish.timeout).max(SOONEST),
    });
    Ok(engine)
}

/// The engine's part of a service, in whichever format it came.
pub(crate) fn spec_of_service(service: &Service) -> Result<Spec, String> {
    let mut spec = engine_spec(&service.spec)?;
    let Some(scanned) = service.scanned.as_ref().filter(|scanned| !scanned.native) else {
        return Ok(spec);
    };
    spec.restart = RestartPolicy::s6();
    spec.stop.grace = scanned.kill_ms.map_or(Duration::MAX, Duration::from_millis);
    if let Readiness::Notification { timeout } = &mut spec.readiness {
        *timeout = scanned.start_ms.map(Duration::from_millis);
    }
    spec.finish = scanned.finish_ms.map(|millis| FinishPolicy {
        timeout: match millis {
            0 => Duration::MAX,
            millis => Duration::from_millis(millis),
        },
    });
    Ok(spec)
}

/// A signal by name or number.
pub(crate) fn parse_signal(name: &str) -> Result<Signal, String> {
    Signal::parse(name).ok_or_else(|| format!("{name:?} is no signal; say e.g. TERM, HUP or 10"))
}

fn restart_policy(spec: &ServiceSpec) -> RestartPolicy {
    let default = RestartPolicy::default();
    let restart = &spec.restart;
    let delay_min = millis(restart.delay_ms, default.delay_min).max(SOONEST);
    RestartPolicy {
        stable_after: millis(restart.stable_ms, default.stable_after).max(SOONEST),
        delay_min,
        delay_max: millis(restart.max_delay_ms, default.delay_max).max(delay_min),
        burst: restart.burst.map(|failures| Burst {
            failures,
            within: BURST_WITHIN,
        }),
        ..default
    }
}

fn readiness(spec: &ReadinessSpec) -> Readiness {
    match spec {
        ReadinessSpec::None => Readiness::Immediate,
        ReadinessSpec::Notify { .. } | ReadinessSpec::SdNotify => {
            Readiness::Notification { timeout: None }
        }
        ReadinessSpec::Probe { interval_ms, .. } => Readiness::Probe {
            probe: Rhythm {
                interval: millis(*interval_ms, READINESS_INTERVAL).max(SOONEST),
                timeout: PROBE_TIMEOUT,
            },
            successes: 1,
            timeout: None,
        },
    }
}

fn millis(value: Option<u64>, default: Duration) -> Duration {
    value.map_or(default, Duration::from_millis)
}

/// The kernel's exit as the engine's.
pub(crate) fn exit(exit: herm_sys::reap::Exit) -> Exit {
    match exit {
        herm_sys::reap::Exit::Code(code) => Exit::Code(code),
        herm_sys::reap::Exit::Signal { signal, core } => Exit::Signal {
            signal: signal.number(),
            core,
        },
    }
}

/// Puts what the engine knows into a service's printed form.
pub(crate) fn fill_view(view: &mut ServiceView, status: &Status, clock: &Clock) {
    view.desired = match status.want {
        // What ends by itself is not wanted up; the main program is, for as long as it lasts.
        Want::Once if view.kind != Kind::Main => Desired::Down,
        want => desired(want),
    };
    view.state = state(status.state);
    view.reason = status.reason.to_string();
    view.next = status.next.map(|next| next_text(next, clock));
    view.pid = status.pid;
    view.since = clock.text(status.since);
    view.uptime_s = status.uptime.map_or(0.0, |uptime| uptime.as_secs_f64());
    view.restarts = status.restarts;
    view.ready = status.ready;
    view.health = match status.health {
        None | Some(HealthStatus::Unknown) => None,
        Some(HealthStatus::Healthy) => Some("healthy".to_owned()),
        Some(HealthStatus::Unhealthy { .. }) => Some("unhealthy".to_owned()),
    };
    view.last_exit = status.last_exit.as_ref().map(|last| {
        let (code, signal) = match &last.end {
            RunEnd::Exited(Exit::Code(code)) => (Some(*code), None),
            RunEnd::Exited(Exit::Signal { signal, .. }) => (None, Some(*signal)),
            RunEnd::NotSpawned(_) => (None, None),
        };
        LastExit {
            code,
            signal,
            at: clock.text(last.at),
            after_s: last.after.as_secs_f64(),
        }
    });
}

fn next_text(next: Next, clock: &Clock) -> String {
    let at = clock.text(next.at());
    match next {
        Next::Start(_) => format!("it is started at {at}"),
        Next::GiveUpStart(_) => format!("it is stopped at {at} unless it is ready by then"),
        Next::SignalGroup(_) => format!("its whole process group is signalled at {at}"),
        Next::Kill(_) => format!("what is left of it is killed at {at}"),
    }
}

/// What printed data calls desired.
pub(crate) fn desired(want: Want) -> Desired {
    match want {
        Want::Up | Want::Once => Desired::Up,
        Want::Down | Want::Disabled => Desired::Down,
    }
}

fn state(state: StateName) -> State {
    match state {
        StateName::Disabled => State::Disabled,
        StateName::Down => State::Down,
        StateName::Starting => State::Starting,
        StateName::Running => State::Running,
        StateName::Stopping => State::Stopping,
        StateName::Backoff => State::Backoff,
        StateName::Parked => State::Parked,
        StateName::Failed => State::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_spec_makes_anything_be_tried_again_within_the_same_turn() {
        let spec: ServiceSpec = serde_json::from_str(
            r#"{"name": "a", "kind": "service", "argv": ["/bin/true"], "initial": "up",
                "readiness": {"type": "probe", "interval_ms": 0,
                              "probe": {"type": "tcp", "address": "x"}},
                "health": {"interval_ms": 0, "probe": {"type": "tcp", "address": "x"}},
                "restart": {"stable_ms": 0, "delay_ms": 0, "max_delay_ms": 0}}"#,
        )
        .unwrap();
        let engine = engine_spec(&spec).unwrap();
        let Readiness::Probe { probe, .. } = engine.readiness else {
            panic!("{:?}", engine.readiness);
        };
        let health = engine.health.unwrap();
        let restart = engine.restart;
        for span in [probe.interval, health.probe.interval] {
            assert!(!span.is_zero());
        }
        for span in [restart.stable_after, restart.delay_min, restart.delay_max] {
            assert!(!span.is_zero());
        }
    }
}
