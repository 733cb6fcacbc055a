//! One engine, and a model of its processes that the tests move by hand.

use std::collections::BTreeMap;
use std::time::Duration;

use herm_engine::{
    Action, Config, Engine, Event, Exit, Globals, Reason, Record, Role, RunId, ServiceId,
    SpawnFailure, Spec, StateName, Status, Time, Want,
};

/// A run that is not over, as it really is.
#[derive(Debug)]
struct Live {
    name: String,
    executed: bool,
    main: bool,
}

/// The engine and what really lives.
pub(crate) struct Bench {
    pub(crate) engine: Engine,
    pub(crate) now: Time,
    live: BTreeMap<RunId, Live>,
    specs: BTreeMap<String, Spec>,
    next_pid: u32,
    /// Stands for every id where statuses of different engines are compared.
    some_id: ServiceId,
}

/// What can happen to a service's current run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fact {
    Executes,
    FailsToExecute,
    Announces,
    Ends(Exit),
    Empties,
}

/// What an operator can order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Up,
    Down,
    Once,
    LetEnd,
    Restart,
    Disable,
    Wake,
    Unregister,
    Register,
}

impl Bench {
    pub(crate) fn new(specs: &[Spec]) -> Self {
        let now = Time::ZERO + Duration::from_secs(1);
        let mut engine = Engine::new(Config::default(), 1);
        let ids: Vec<ServiceId> = specs
            .iter()
            .map(|spec| {
                engine
                    .register(now, spec.clone(), Want::Down)
                    .expect("a valid service")
            })
            .collect();
        let mut bench = Self {
            engine,
            now,
            some_id: ids[0],
            live: BTreeMap::new(),
            specs: specs
                .iter()
                .map(|spec| (spec.name.clone(), spec.clone()))
                .collect(),
            next_pid: 1,
        };
        bench.drain();
        bench
    }

    pub(crate) fn order(&mut self, name: &str, order: Order) {
        let now = self.now;
        let Some(id) = self.engine.find(name) else {
            if order == Order::Register {
                let spec = self.specs[name].clone();
                let registered = self.engine.register(now, spec, Want::Up);
                assert_eq!(registered.is_err(), self.engine.is_shutting_down());
                self.drain();
            }
            return;
        };
        let engine = &mut self.engine;
        let outcome = match order {
            Order::Up => engine.up(now, id),
            Order::Down => engine.down(now, id),
            Order::Once => engine.once(now, id),
            Order::LetEnd => engine.let_end(now, id),
            Order::Restart => engine.restart(now, id),
            Order::Disable => engine.disable(now, id),
            Order::Wake => engine.wake(now, id),
            Order::Unregister => engine.unregister(now, id),
            Order::Register => Ok(()),
        };
        // Refusals are part of the interface; that they change nothing is checked like all else.
        let _ = outcome;
        self.drain();
    }

    /// Lets something happen to a service's run, if it can.
    pub(crate) fn fact(&mut self, name: &str, fact: Fact) {
        let Some((run, live)) = self.live.iter_mut().find(|(_, live)| live.name == name) else {
            return;
        };
        let run = *run;
        let event = match fact {
            Fact::Executes if live.main && !live.executed => {
                live.executed = true;
                self.next_pid += 1;
                Event::Spawned {
                    run,
                    pid: self.next_pid,
                }
            }
            Fact::FailsToExecute if live.main && !live.executed => {
                self.live.remove(&run);
                let failure = SpawnFailure {
                    stage: "execute it".into(),
                    errno: 2,
                };
                Event::SpawnFailed { run, failure }
            }
            Fact::Announces if live.main && live.executed => Event::Ready { run },
            Fact::Ends(exit) if live.main => {
                live.main = false;
                Event::Exited { run, exit }
            }
            Fact::Empties if !live.main => {
                self.live.remove(&run);
                Event::Emptied { run }
            }
            _ => return,
        };
        self.hear(event);
    }

    /// Hands in an event as it is.
    pub(crate) fn hear(&mut self, event: Event) {
        self.engine.handle(self.now, event);
        self.drain();
    }

    /// Lets time pass up to the next deadline.
    pub(crate) fn wait(&mut self) {
        if let Some(next) = self.engine.next_deadline() {
            self.now = next;
            self.hear(Event::Tick);
        }
    }

    /// Lets time pass.
    pub(crate) fn pass(&mut self, span: Duration) {
        self.now = self.now + span;
        self.hear(Event::Tick);
    }

    /// Replaces the engine by one restored from its records: nobody can tell.
    pub(crate) fn reexecute(&mut self) {
        let before = self.statuses();
        let engine = &self.engine;
        let services = engine.services().map(|id| {
            let record = engine.export(id).expect("a registered service");
            let read = Record::from_bytes(&record.to_bytes());
            assert_eq!(read.as_ref(), Ok(&record));
            (self.specs[record.name()].clone(), record)
        });
        let globals = engine.export_globals();
        assert_eq!(Globals::from_bytes(&globals.to_bytes()), Ok(globals));
        let services = services.collect();
        self.engine = Engine::restore(Config::default(), 2, self.now, globals, services)
            .expect("what was registered can be restored");
        assert_eq!(self.statuses(), before);
        self.drain();
    }

    /// The status of every service, by name: ids belong to one engine, the rest outlives it. (Of
    /// a shutdown the rest is planned anew.)
    fn statuses(&self) -> Vec<Status> {
        let known = |id| {
            self.engine
                .status(self.now, id)
                .expect("a registered service")
        };
        let statuses = self.engine.services().map(known);
        statuses
            .map(|status| Status {
                id: self.some_id,
                next: status.next.filter(|_| !self.engine.is_shutting_down()),
                ..status
            })
            .collect()
    }

    /// Carries out what the engine wants, and checks what must always be so.
    fn drain(&mut self) {
        while let Some(action) = self.engine.poll_action() {
            match action {
                Action::Spawn { id, run, role } => {
                    let name = self.engine.spec(id).expect("its service").name.clone();
                    let other = self.live.values().find(|live| live.name == name);
                    assert!(
                        other.is_none(),
                        "{role:?} of {name} starts while {other:?} lives"
                    );
                    let live = Live {
                        name,
                        executed: false,
                        main: true,
                    };
                    assert!(
                        self.live.insert(run, live).is_none(),
                        "{run} was started before"
                    );
                }
                Action::Signal { run, .. } | Action::Probe { run, .. } => {
                    assert!(self.live.contains_key(&run), "{action:?} is for nobody");
                }
                Action::Removed { .. } => {
                    let orphan = self
                        .live
                        .values()
                        .find(|live| self.engine.find(&live.name).is_none());
                    assert!(orphan.is_none(), "removed while {orphan:?} lives");
                }
                Action::Changed { .. }
                | Action::Overran { .. }
                | Action::Unkillable { .. }
                | Action::ShutdownDone { .. } => {}
            }
        }
        self.check();
    }

    fn check(&self) {
        let known: Vec<RunId> = self
            .engine
            .runs()
            .into_iter()
            .map(|(_, run, _, _)| run)
            .collect();
        let live: Vec<RunId> = self.live.keys().copied().collect();
        assert_eq!(known, live, "the engine knows other runs than there are");
        if let Some(next) = self.engine.next_deadline() {
            assert!(next > self.now, "something due at {next} was left undone");
        }
        for status in self.statuses() {
            let lives = self.live.values().any(|live| live.name == status.name);
            let wanted = status.want == Want::Up && !status.removing;
            let settled = match status.state {
                StateName::Down | StateName::Disabled => {
                    !lives && (!wanted || self.engine.is_shutting_down())
                }
                StateName::Backoff => !lives && wanted && status.next.is_some(),
                StateName::Parked | StateName::Failed => !lives && wanted,
                StateName::Running => lives || status.reason == Reason::Done,
                StateName::Starting => lives || matches!(status.reason, Reason::WaitsFor { .. }),
                StateName::Stopping => lives,
            };
            assert!(settled, "{status:?}, and something of it lives: {lives}");
        }
    }

    /// Everything goes well from now on: what is wanted is ready in the end, the rest is gone.
    pub(crate) fn ends_well(&mut self) {
        let names: Vec<String> = self.specs.keys().cloned().collect();
        for _ in 0..12 {
            for name in &names {
                self.fact(name, Fact::Executes);
                self.fact(name, Fact::Announces);
                let finishes = self.engine.runs().into_iter().any(|(id, _, role, _)| {
                    role != Role::Main
                        && self.engine.spec(id).is_some_and(|spec| spec.name == *name)
                });
                let stops = self
                    .statuses()
                    .into_iter()
                    .any(|status| status.name == *name && status.state == StateName::Stopping);
                if stops || finishes {
                    self.fact(name, Fact::Ends(Exit::Code(0)));
                    self.fact(name, Fact::Empties);
                }
            }
            self.pass(Duration::from_secs(7));
        }
        for status in self.statuses() {
            let fine = match (status.want, &status.reason) {
                (Want::Up, Reason::WaitsFor { name, .. }) => {
                    let before = self
                        .statuses()
                        .into_iter()
                        .find(|other| other.name == *name);
                    before.is_none_or(|before| !before.ready)
                }
                (Want::Up, Reason::Permanent(_)) | (Want::Once, Reason::WaitsFor { .. }) => true,
                (Want::Up, _) => status.ready,
                (Want::Once, _) => status.run.is_some(),
                (Want::Down | Want::Disabled, _) => status.run.is_none(),
            };
            assert!(fine, "in the end: {status:?}");
        }
    }
}
