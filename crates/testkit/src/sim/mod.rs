//! The engine in a world made from a seed.
//!
//! An imaginary operator gives random orders, imaginary processes misbehave, reports come late,
//! twice, or long after their time, the clock jumps, and PID 1 re-executes itself, on purpose or
//! out of a panic. After every step the checkers look at what the engine says, what it
//! does and what is so. In the end either everything is shut down, or the world becomes a good one
//! and everything wanted has to come up.

mod chance;
mod checks;

use std::time::Duration;

use herm_engine::{
    Action, Config, Engine, Event, Globals, Record, Role, Spec, Target, Time, Want, signal,
};

use self::checks::Checks;
use crate::kernel::{Behaviour, Kernel, Noise};
use crate::rng::Rng;

/// Reports are late by at most this long.
const LATE_MAX: Duration = Duration::from_millis(200);
/// Orders an operator gives in one simulation.
const ORDERS: usize = 60;

/// Runs one simulation.
///
/// # Panics
/// If an invariant is broken; the seed is printed then.
pub fn run(seed: u64, talk: bool) {
    let _guard = Guard(seed);
    let mut world = World::new(seed, talk);
    for _ in 0..ORDERS {
        let pause = world.pause();
        world.pass(pause);
        world.order();
    }
    if world.rng.chance(50) {
        world.end_by_shutdown();
    } else {
        world.end_in_peace();
    }
}

/// Runs as many simulations as `HERM_SIM_COUNT` says (`count` without it), or the one of
/// `HERM_SIM_SEED`, which is told step by step.
///
/// # Panics
/// If an invariant is broken, or a variable is not a number.
pub fn run_many(count: u64) {
    let variable = |name: &str| {
        std::env::var(name)
            .ok()
            .map(|text| text.parse().expect(name))
    };
    if let Some(seed) = variable("HERM_SIM_SEED") {
        return run(seed, true);
    }
    for seed in 0..variable("HERM_SIM_COUNT").unwrap_or(count) {
        run(seed, false);
    }
}

/// Names the seed if the simulation panics.
struct Guard(u64);

impl Drop for Guard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "the simulation failed; HERM_SIM_SEED={} repeats it step by step",
                self.0
            );
        }
    }
}

struct World {
    now: Time,
    engine: Engine,
    kernel: Kernel,
    rng: Rng,
    checks: Checks,
    /// The descriptions of all services that are registered.
    specs: Vec<Spec>,
    /// Whether processes are good citizens from now on.
    peace: bool,
    talk: bool,
}

const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

impl World {
    fn new(seed: u64, talk: bool) -> Self {
        let mut rng = Rng::new(seed);
        let noise = Noise {
            late_by: if rng.chance(70) {
                LATE_MAX
            } else {
                Duration::ZERO
            },
            twice: rng.pick(&[0, 0, 10, 30]),
            empties_lost: rng.pick(&[0, 0, 20]),
        };
        let config = Config {
            exec_timeout: Duration::from_secs(20),
            ..Config::default()
        };
        let mut world = Self {
            now: Time::ZERO + Duration::from_secs(1000),
            engine: Engine::new(config, rng.number()),
            kernel: Kernel::new(rng.number(), noise),
            rng,
            checks: Checks::default(),
            specs: Vec::new(),
            peace: false,
            talk,
        };
        for name in NAMES.iter().take(1 + world.rng.below(NAMES.len())) {
            world.register(name);
        }
        world
    }

    fn say(&self, text: std::fmt::Arguments<'_>) {
        if self.talk {
            println!("{} {text}", self.now);
        }
    }

    /// Lets time pass, and everything happen that belongs into it.
    fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            let next = [self.kernel.next(), self.engine.next_deadline()]
                .into_iter()
                .flatten()
                .min();
            let Some(next) = next.filter(|next| *next <= end) else {
                break;
            };
            self.now = self.now.max(next);
            if !self.peace && self.rng.chance(2) {
                self.jump();
            }
            self.step();
        }
        self.now = self.now.max(end);
    }

    /// The machine sleeps: time passes and nothing happens in it.
    fn jump(&mut self) {
        let span = self.rng.pick(&[500, 5_000, 70_000, 3_600_000]);
        let span = Duration::from_millis(span);
        self.say(format_args!("-- the clock jumps by {span:?}"));
        self.now = self.now + span;
        self.checks.excuse(span);
    }

    /// Hands in whatever has happened by now, in random order with the passing of time.
    fn step(&mut self) {
        if self.rng.chance(5) {
            self.kernel.stale_report(self.now);
        }
        for event in self.kernel.advance(self.now) {
            self.say(format_args!("   {event:?}"));
            self.engine.handle(self.now, event);
            self.drain();
            if self.rng.chance(1) {
                self.reexecute(false);
            }
        }
        self.engine.handle(self.now, Event::Tick);
        self.drain();
    }

    /// Carries out all actions, unless PID 1 panics over them.
    fn drain(&mut self) {
        let panics = !self.peace && self.rng.chance(1);
        let mut carried_out = 0;
        while let Some(action) = self.engine.poll_action() {
            if panics && self.rng.chance(30) {
                self.say(format_args!("-- panic before {action:?}"));
                return self.reexecute(true);
            }
            carried_out += 1;
            assert!(carried_out < 10_000, "the engine asks for ever more");
            self.carry_out(&action);
        }
        self.checks
            .after_input(self.now, &self.engine, &self.kernel);
    }

    fn carry_out(&mut self, action: &Action) {
        if !matches!(action, Action::Changed { .. }) {
            self.say(format_args!("=> {action:?}"));
        }
        let behaviour = match action {
            Action::Spawn {
                role: Role::Main,
                run: _,
                id,
            } => self.main_behaviour(*id),
            Action::Spawn {
                role: Role::Finish { .. },
                id,
                run: _,
            } => self.finish_behaviour(*id),
            _ => Behaviour::default(),
        };
        self.checks
            .before_action(self.now, action, &self.engine, &self.kernel, &self.specs);
        let owner = match action {
            Action::Spawn { id, .. } => self.engine.spec(*id).expect("its service").name.clone(),
            _ => String::new(),
        };
        self.kernel.perform(self.now, action, || (owner, behaviour));
        if let Action::Removed { .. } = action {
            let engine = &self.engine;
            self.specs.retain(|spec| engine.find(&spec.name).is_some());
        }
    }

    /// PID 1 is replaced: by itself, or after a panic, when actions and reports are lost.
    fn reexecute(&mut self, panicked: bool) {
        self.say(format_args!("-- re-executes"));
        let records = self.engine.services().map(|id| {
            let bytes = self.engine.export(id).expect("a service").to_bytes();
            let record = Record::from_bytes(&bytes).expect("what was written can be read");
            let spec = self.specs.iter().find(|spec| spec.name == record.name());
            (spec.expect("a known service").clone(), record)
        });
        let records: Vec<_> = records.collect();
        let globals = Globals::from_bytes(&self.engine.export_globals().to_bytes());
        let seed = self.rng.number();
        let config = Config {
            exec_timeout: Duration::from_secs(20),
            ..Config::default()
        };
        let globals = globals.expect("what was written can be read");
        let old = self
            .engine
            .services()
            .map(|id| self.engine.status(self.now, id));
        let old: Vec<_> = old.map(|status| status.expect("a service")).collect();
        self.engine = Engine::restore(config, seed, self.now, globals, records)
            .expect("what was registered can be restored");
        Checks::restored(self.now, &old, &self.engine);
        let engine = &self.engine;
        self.specs.retain(|spec| engine.find(&spec.name).is_some());
        if panicked || self.rng.chance(50) {
            self.kernel.lose_reports();
            for (_, run, _, _) in self.engine.runs() {
                self.kernel.find_out(self.now, run);
            }
        } else {
            for (_, run, _, _) in self.engine.runs() {
                if !self.kernel.processes.contains_key(&run) {
                    self.kernel.find_out(self.now, run);
                }
            }
        }
        self.drain();
    }

    fn register(&mut self, name: &str) {
        let spec = self.spec(name);
        let want = self
            .rng
            .pick(&[Want::Up, Want::Up, Want::Once, Want::Down, Want::Disabled]);
        self.say(format_args!("register {want:?} {spec:?}"));
        if self.engine.register(self.now, spec.clone(), want).is_ok() {
            self.specs.push(spec);
            self.checks
                .ordered(self.now, name, want != Want::Up && want != Want::Once);
        }
        self.drain();
    }

    /// A random order of the operator's.
    fn order(&mut self) {
        let name = self.rng.pick(&NAMES);
        let now = self.now;
        let Some(id) = self.engine.find(name) else {
            return self.register(name);
        };
        if self.rng.chance(2) {
            return self.reexecute(false);
        }
        let verb = self.rng.below(12);
        self.say(format_args!("order {verb} {name}"));
        let engine = &mut self.engine;
        let (result, down) = match verb {
            0..=2 => (engine.up(now, id), Some(false)),
            3 | 4 => (engine.down(now, id), Some(true)),
            5 => (engine.restart(now, id), Some(false)),
            6 => (engine.once(now, id), Some(false)),
            7 => (engine.let_end(now, id), None),
            8 => (engine.wake(now, id), None),
            9 => {
                let number = self
                    .rng
                    .pick(&[signal::TERM, signal::KILL, signal::HUP, 18]);
                (
                    engine.signal(now, id, number, Target::Main).map(|_| ()),
                    None,
                )
            }
            10 if self.rng.chance(50) => (engine.disable(now, id), Some(true)),
            10 => (engine.unregister(now, id), Some(true)),
            _ => {
                self.update(name);
                (Ok(()), None)
            }
        };
        if let (Ok(()), Some(down)) = (result, down) {
            self.checks.ordered(now, name, down);
        }
        self.drain();
    }

    fn update(&mut self, name: &str) {
        let spec = self.spec(name);
        let Some(id) = self.engine.find(name) else {
            return;
        };
        if self.engine.update(self.now, id, spec.clone()).is_ok() {
            let old = self
                .specs
                .iter_mut()
                .find(|old| old.name == name)
                .expect("a known service");
            self.checks.updated(name, old);
            *old = spec;
        }
    }

    fn pause(&mut self) -> Duration {
        match self.rng.below(4) {
            0 => Duration::ZERO,
            1 => self.rng.millis(0, 300),
            2 => self.rng.millis(0, 5_000),
            _ => self.rng.millis(0, 90_000),
        }
    }

    fn end_by_shutdown(&mut self) {
        let budget = self.rng.millis(500, 20_000);
        self.say(format_args!("shutdown within {budget:?}"));
        self.checks
            .shutdown(self.now, budget, &self.engine, &self.kernel);
        self.engine.shutdown(self.now, budget);
        self.drain();
        for _ in 0..self.rng.below(5) {
            let pause = self.rng.millis(0, 2_000);
            self.pass(pause);
            self.order();
        }
        self.pass(Duration::from_secs(30));
        self.checks.shutdown_is_done();
    }

    fn end_in_peace(&mut self) {
        self.say(format_args!("-- peace"));
        self.peace = true;
        self.kernel.noise = Noise::NONE;
        self.kernel.end_all(self.now);
        self.pass(Duration::from_secs(300));
        self.checks.at_rest(self.now, &self.engine, &self.kernel);
    }
}
