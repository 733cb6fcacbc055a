//! Renders the state table from what the engine does, and compares it with the module's doc.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;
use core::time::Duration;

use super::phase::Phase;
use crate::model::{
    Burst, Event, Exit, FinishPolicy, Kind, Readiness, RunId, ServiceId, SpawnFailure, Spec, Want,
};
use crate::{Config, Engine, Time};

const STATES: [&str; 12] = [
    "Down",
    "Waiting",
    "Backoff",
    "Parked",
    "Failed",
    "Done",
    "Spawning",
    "Starting",
    "Running",
    "Stopping",
    "Draining",
    "Finishing",
];
const ORDERS: [&str; 7] = [
    "up",
    "once",
    "restart",
    "let_end",
    "down",
    "wake",
    "unregister",
];
const REPORTS: [&str; 6] = [
    "spawned", "no spawn", "ready", "exited", "emptied", "deadline",
];

/// An engine with one service, and what is needed to talk about it.
struct Stage {
    engine: Engine,
    id: ServiceId,
    now: Time,
}

impl Stage {
    fn new(spec: Spec, want: Want) -> Self {
        let mut engine = Engine::new(Config::default(), 0);
        let id = engine
            .register(Time::ZERO, spec, want)
            .expect("a valid service");
        Self {
            engine,
            id,
            now: Time::ZERO,
        }
    }

    /// A service that has come to be in this state.
    fn in_state(state: &str) -> Self {
        let readiness = Readiness::Notification {
            timeout: Some(Duration::from_secs(5)),
        };
        let spec = Spec {
            readiness,
            ..Spec::new("service")
        };
        let failed = ["spawned", "exited", "emptied"];
        let (spec, want, inputs): (_, _, &[&str]) = match state {
            "Down" => (spec, Want::Down, &[]),
            "Waiting" => (
                Spec {
                    requires: alloc::vec!["other".into()],
                    ..spec
                },
                Want::Up,
                &[],
            ),
            "Backoff" => (spec, Want::Up, &failed),
            "Parked" => (spec, Want::Up, &["spawned", "exited 78", "emptied"]),
            "Failed" => {
                let mut spec = spec;
                let within = Duration::from_secs(1);
                spec.restart.burst = Some(Burst {
                    failures: 1,
                    within,
                });
                (spec, Want::Up, &failed)
            }
            "Done" => {
                let spec = Spec {
                    kind: Kind::Oneshot,
                    ..spec
                };
                (spec, Want::Up, &["spawned", "exited 0", "emptied"])
            }
            "Spawning" => (spec, Want::Up, &[]),
            "Starting" => (spec, Want::Up, &["spawned"]),
            "Running" => (spec, Want::Up, &["spawned", "ready"]),
            "Stopping" => (spec, Want::Up, &["spawned", "ready", "down"]),
            "Draining" => (spec, Want::Up, &["spawned", "ready", "exited"]),
            "Finishing" => {
                let finish = Some(FinishPolicy::default());
                (Spec { finish, ..spec }, Want::Up, &failed)
            }
            other => panic!("no state is called {other}"),
        };
        let mut stage = Self::new(spec, want);
        for input in inputs {
            stage.input(input);
        }
        assert_eq!(stage.state(), state);
        stage
    }

    fn run(&self) -> Option<RunId> {
        self.engine.runs().first().map(|(_, run, _, _)| *run)
    }

    fn input(&mut self, input: &str) {
        let (engine, id, now) = (&mut self.engine, self.id, self.now);
        let order = match input {
            "up" => Some(engine.up(now, id)),
            "once" => Some(engine.once(now, id)),
            "restart" => Some(engine.restart(now, id)),
            "let_end" => Some(engine.let_end(now, id)),
            "down" => Some(engine.down(now, id)),
            "wake" => Some(engine.wake(now, id)),
            "unregister" => Some(engine.unregister(now, id)),
            _ => None,
        };
        if let Some(result) = order {
            return result.expect("orders are defined in every state");
        }
        if input == "deadline" {
            self.now = self.engine.next_deadline().unwrap_or(self.now);
            return self.engine.handle(self.now, Event::Tick);
        }
        let Some(run) = self.run() else { return };
        let event = match input {
            "spawned" => Event::Spawned { run, pid: 1 },
            "no spawn" => Event::SpawnFailed {
                run,
                failure: SpawnFailure {
                    stage: String::new(),
                    errno: 1,
                },
            },
            "ready" => Event::Ready { run },
            "exited" => Event::Exited {
                run,
                exit: Exit::Code(1),
            },
            "exited 0" => Event::Exited {
                run,
                exit: Exit::Code(0),
            },
            "exited 78" => Event::Exited {
                run,
                exit: Exit::Code(78),
            },
            "emptied" => Event::Emptied { run },
            other => panic!("no input is called {other}"),
        };
        self.engine.handle(self.now, event);
    }

    fn state(&self) -> &'static str {
        let Some(service) = self.engine.service(self.id) else {
            return "gone";
        };
        match &service.phase {
            Phase::Down(_) => "Down",
            Phase::Waiting { .. } => "Waiting",
            Phase::Backoff { .. } => "Backoff",
            Phase::Parked { .. } => "Parked",
            Phase::Failed { .. } => "Failed",
            Phase::Done => "Done",
            Phase::Spawning { .. } => "Spawning",
            Phase::Running { stage, .. } if stage.is_ready() => "Running",
            Phase::Running { .. } => "Starting",
            Phase::Stopping { .. } => "Stopping",
            Phase::Draining { .. } => "Draining",
            Phase::Finishing { .. } => "Finishing",
        }
    }
}

fn table(inputs: &[&str]) -> String {
    let mut text = format!("//! {:<10}", "");
    for input in inputs {
        write!(text, " {input:<10}").expect("a string");
    }
    text = format!("{}\n", text.trim_end());
    for state in STATES {
        let mut line = format!("//! {state:<10}");
        for input in inputs {
            let mut stage = Stage::in_state(state);
            stage.input(input);
            let next = stage.state();
            write!(line, " {:<10}", if next == state { "." } else { next }).expect("a string");
        }
        writeln!(text, "{}", line.trim_end()).expect("a string");
    }
    text
}

#[test]
fn the_state_table_in_the_doc_is_what_the_engine_does() {
    let rendered = format!(
        "//! ```text\n{}//!\n{}//! ```\n",
        table(&ORDERS),
        table(&REPORTS)
    );
    let doc = include_str!("mod.rs");
    assert!(
        doc.contains(&rendered),
        "the table in service/mod.rs should read:\n{rendered}"
    );
}

#[test]
fn every_state_is_in_the_table_with_the_name_it_is_shown_by() {
    let shown: BTreeMap<_, _> = STATES
        .map(|state| {
            let stage = Stage::in_state(state);
            (
                state,
                stage
                    .engine
                    .status(stage.now, stage.id)
                    .expect("a service")
                    .state
                    .as_str(),
            )
        })
        .into();
    let shown: Vec<_> = STATES.map(|state| shown[state]).into();
    assert_eq!(
        shown,
        [
            "down", "starting", "backoff", "parked", "failed", "running", "starting", "starting",
            "running", "stopping", "stopping", "stopping"
        ]
    );
}
