//! What chance decides: which services there are, and how their processes behave.

use std::time::Duration;

use herm_engine::{
    Burst, Exit, FinishPolicy, Health, Kind, Probe, Readiness, Requested, RestartPolicy, ServiceId,
    Spec, StopPolicy, signal,
};

use super::{NAMES, World};
use crate::kernel::Behaviour;

impl World {
    pub(super) fn spec(&mut self, name: &str) -> Spec {
        let rng = &mut self.rng;
        let mut others = |percent: u32| -> Vec<String> {
            let chosen = NAMES.iter().filter(|_| rng.chance(percent));
            chosen.map(|name| String::from(*name)).collect()
        };
        let (requires, after) = (others(10), others(10));
        let mut spec = Spec {
            requires,
            after,
            ..Spec::new(name)
        };
        let rng = &mut self.rng;
        if rng.chance(20) {
            spec.kind = Kind::Oneshot;
        }
        spec.restart = RestartPolicy {
            burst: rng.chance(15).then_some(Burst {
                failures: 3,
                within: Duration::from_secs(30),
            }),
            requested: rng.chance(70).then_some(Requested {
                settled_after: Duration::from_secs(10),
                limit: 3,
            }),
            ..if rng.chance(80) {
                RestartPolicy::default()
            } else {
                RestartPolicy::s6()
            }
        };
        let probe = Probe {
            interval: Duration::from_secs(2),
            timeout: Duration::from_secs(1),
        };
        let timeout = rng.chance(60).then_some(Duration::from_secs(7));
        spec.readiness = match rng.below(5) {
            0 | 1 => Readiness::Immediate,
            2 => Readiness::After(Duration::from_secs(1)),
            3 => Readiness::Notification { timeout },
            _ => Readiness::Probe {
                probe,
                successes: 2,
                timeout,
            },
        };
        spec.health = rng.chance(20).then_some(Health {
            probe,
            failures: 2,
            restart: rng.chance(70),
        });
        spec.stop = StopPolicy {
            signal: signal::TERM,
            grace: rng.millis(0, 10_000),
        };
        spec.finish = rng.chance(20).then(|| FinishPolicy {
            timeout: rng.millis(0, 5_000),
        });
        spec
    }

    pub(super) fn main_behaviour(&mut self, id: ServiceId) -> Behaviour {
        let oneshot = self
            .engine
            .spec(id)
            .is_some_and(|spec| spec.kind == Kind::Oneshot);
        if self.peace {
            let ends = oneshot.then_some((Duration::from_secs(1), Exit::Code(0)));
            return Behaviour {
                ends,
                ..Behaviour::default()
            };
        }
        let rng = &mut self.rng;
        let mut behaviour = Behaviour {
            exec_after: (!rng.chance(3)).then(|| rng.millis(0, 20)),
            exec_fails: rng.chance(8),
            ready_after: (!rng.chance(20)).then(|| rng.millis(0, 9_000)),
            probes: rng.pick(&[Some(true), Some(true), Some(false), None]),
            ..Behaviour::default()
        };
        if rng.chance(60) {
            let code = rng.pick(&[0, 0, 1, 1, 1, 75, 78, 125]);
            let exit = if rng.chance(80) {
                Exit::Code(code)
            } else {
                Exit::Signal {
                    signal: 11,
                    core: true,
                }
            };
            let lives = match rng.below(3) {
                0 => rng.millis(0, 100),
                1 => rng.millis(0, 15_000),
                _ => rng.millis(0, 200_000),
            };
            behaviour.ends = Some((lives, exit));
        }
        let killed = Exit::Signal {
            signal: signal::TERM,
            core: false,
        };
        behaviour.term = match rng.below(4) {
            0 => None,
            1 => Some((rng.millis(0, 12_000), Exit::Code(0))),
            _ => Some((rng.millis(0, 50), killed)),
        };
        if rng.chance(4) {
            behaviour.unkillable_for = rng.millis(0, 30_000);
        }
        for _ in 0..rng.pick(&[0, 0, 0, 1, 3]) {
            behaviour
                .survivors
                .push(rng.chance(50).then(|| rng.millis(0, 3_000)));
        }
        behaviour
    }

    pub(super) fn finish_behaviour(&mut self, id: ServiceId) -> Behaviour {
        let code = self.rng.pick(&[0, 0, 0, 1, 125]);
        let mut behaviour = self.main_behaviour(id);
        behaviour.ends = Some((self.rng.millis(0, 1_000), Exit::Code(code)));
        if self.peace {
            behaviour.ends = Some((Duration::ZERO, Exit::Code(0)));
        } else if self.rng.chance(10) {
            behaviour.ends = None;
        }
        behaviour
    }
}
