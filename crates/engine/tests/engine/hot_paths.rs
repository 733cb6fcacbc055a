//! Paths whose instructions are counted (`cargo xtask counts`).

use std::time::Duration;

use herm_engine::{Action, Config, Engine, Event, Exit, RunId, Spec, Time, Want};
use herm_testkit::counted::counted;

/// A thousand services and the runs that are to be started.
struct World {
    engine: Engine,
    now: Time,
    starts: Vec<RunId>,
}

impl World {
    fn new() -> Self {
        let now = Time::ZERO + Duration::from_secs(1);
        let mut world = Self {
            engine: Engine::new(Config::default(), 1),
            now,
            starts: Vec::with_capacity(1000),
        };
        for number in 0..1000 {
            let spec = Spec::new(format!("svc-{number:05}"));
            world.engine.register(now, spec, Want::Up).unwrap();
            world.drain();
        }
        world
    }

    fn hear(&mut self, event: Event) {
        self.engine.handle(self.now, event);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(action) = self.engine.poll_action() {
            if let Action::Spawn { run, .. } = action {
                self.starts.push(run);
            }
        }
    }

    /// All that was to be started runs.
    fn run_all(&mut self) -> Vec<RunId> {
        let runs = std::mem::replace(&mut self.starts, Vec::with_capacity(1000));
        for (pid, run) in (2..).zip(&runs) {
            self.hear(Event::Spawned { run: *run, pid });
        }
        runs
    }
}

#[test]
fn a_thousand_services_that_crash_are_started_again() {
    let mut world = World::new();
    let runs = world.run_all();
    world.now = world.now + Duration::from_secs(60);
    world.hear(Event::Tick);
    counted(|| {
        for run in runs {
            let exit = Exit::Code(1);
            world.hear(Event::Exited { run, exit });
            world.hear(Event::Emptied { run });
        }
        world.run_all()
    });
    assert_eq!(world.engine.runs().len(), 1000);
}
