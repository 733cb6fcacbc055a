//! The engine: all services, time, and the one law by which a driver feeds it.

mod converge;
mod registry;
mod resume;
mod show;
mod shutdown;
mod timers;
mod verbs;

use alloc::collections::VecDeque;
use core::time::Duration;

pub use self::registry::RegisterError;
use self::registry::Registry;
pub use self::shutdown::Overbooked;
use self::shutdown::Shutdown;
use self::timers::Timers;
pub use self::verbs::VerbError;
use crate::model::{Action, Event, RunId, ServiceId, Spec, Want};
use crate::rng::Rng;
use crate::service::Outlet;
use crate::sorted::SortedMap;
use crate::time::Time;

/// The engine's own settings; what concerns one service is in its [`Spec`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// A process whose program isn't executed after this long is stopped, and tried again.
    pub exec_timeout: Duration,
    /// The grace of processes that a main process left behind, where its own grace has no end.
    pub survivor_grace: Duration,
    /// As many services as may be registered.
    pub services_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            exec_timeout: Duration::from_secs(60),
            survivor_grace: Duration::from_secs(10),
            services_max: 100_000,
        }
    }
}

/// The supervisor as a state machine: no clock, no system calls, no randomness of its own.
///
/// # The driving law
///
/// Give it one input: [`handle`](Self::handle), a verb, or a registration. Then carry out what
/// [`poll_action`](Self::poll_action) returns, in order, until it returns `None`. Then sleep until
/// something happens or [`next_deadline`](Self::next_deadline) comes, whichever is first; at a
/// deadline the input is [`Event::Tick`]. Every input carries the time, which never goes back.
#[derive(Debug)]
pub struct Engine {
    registry: Registry,
    timers: Timers,
    out: Outlet,
    /// Slots whose status has changed since the driver last drained the actions.
    changed: VecDeque<u32>,
    /// Slots to be looked at before the input is done with.
    queue: VecDeque<u32>,
    shutdown: Option<Shutdown>,
    stale_events: u64,
}

impl Engine {
    /// An engine without services. `seed` determines the jitter of delays.
    pub fn new(config: Config, seed: u64) -> Self {
        Self {
            registry: Registry::default(),
            timers: Timers::default(),
            out: Outlet {
                config,
                rng: Rng::new(seed),
                actions: VecDeque::new(),
                runs: SortedMap::new(),
                next_run: 1,
                graces_end: None,
            },
            changed: VecDeque::new(),
            queue: VecDeque::new(),
            shutdown: None,
            stale_events: 0,
        }
    }

    /// Registers a service. With [`Want::Up`] or [`Want::Once`] it starts as soon as the services
    /// before it allow.
    ///
    /// # Errors
    /// If the name is taken or empty, if it would close a circle, if there is no room, or in a
    /// shutdown. Nothing has changed then.
    pub fn register(
        &mut self,
        now: Time,
        spec: Spec,
        want: Want,
    ) -> Result<ServiceId, RegisterError> {
        if self.shutdown.is_some() {
            return Err(RegisterError::ShuttingDown);
        }
        self.admit(&spec)?;
        let id = self.registry.insert(now, spec, want);
        self.mark_changed(id.slot);
        self.look_at(id.slot);
        self.converge(now);
        Ok(id)
    }

    /// Whether a service of this description may be added.
    fn admit(&self, spec: &Spec) -> Result<(), RegisterError> {
        if spec.name.is_empty() {
            return Err(RegisterError::NoName);
        }
        if let Some(other) = self.registry.find(&spec.name) {
            return Err(if other.removing {
                RegisterError::BeingRemoved(other.id)
            } else {
                RegisterError::Exists(other.id)
            });
        }
        let max = self.out.config.services_max;
        if self.registry.len() >= max {
            return Err(RegisterError::Full { max });
        }
        self.registry
            .cycle(spec)
            .map_or(Ok(()), |path| Err(RegisterError::Cycle(path)))
    }

    /// Replaces a service's description. A process that runs is kept. Dependencies and the
    /// policies of stopping, restarting and finishing count from now on; kind and the rhythm of
    /// readiness and health from the next start.
    ///
    /// # Errors
    /// If there is no such service, it is being unregistered, the name differs, or a circle would
    /// be closed. Nothing has changed then.
    pub fn update(&mut self, now: Time, id: ServiceId, spec: Spec) -> Result<(), RegisterError> {
        let service = self.registry.get(id).ok_or(RegisterError::NoSuchService)?;
        if service.removing {
            return Err(RegisterError::BeingRemoved(id));
        }
        if service.spec.name != spec.name {
            return Err(RegisterError::OtherName);
        }
        if let Some(path) = self.registry.cycle(&spec) {
            return Err(RegisterError::Cycle(path));
        }
        self.registry.replace(id.slot, spec);
        self.mark_changed(id.slot);
        self.look_at(id.slot);
        self.converge(now);
        Ok(())
    }

    /// Takes note of an event, and of the time that has passed.
    ///
    /// The event comes before what is due at the same time: a report of readiness that arrives
    /// together with its timeout was in time.
    pub fn handle(&mut self, now: Time, event: Event) {
        let run = match &event {
            Event::Spawned { run, .. }
            | Event::SpawnFailed { run, .. }
            | Event::Exited { run, .. }
            | Event::Emptied { run }
            | Event::Ready { run }
            | Event::ProbeDone { run, .. } => Some(*run),
            Event::Tick => None,
        };
        if let Some(run) = run
            && !self.report(now, run, event)
        {
            self.stale_events = self.stale_events.wrapping_add(1);
        }
        self.converge(now);
    }

    /// Hands an event to the service its run belongs to. False if it is no news.
    fn report(&mut self, now: Time, run: RunId, event: Event) -> bool {
        let Some(slot) = self.out.runs.get(&run).copied() else {
            return false;
        };
        let Some(service) = self.registry.at_mut(slot) else {
            return false;
        };
        let out = &mut self.out;
        let news = match event {
            Event::Spawned { run, pid } => service.spawned(now, run, pid),
            Event::SpawnFailed { run, failure } => service.spawn_failed(now, run, failure, out),
            Event::Exited { run, exit } => service.exited(now, run, exit, out),
            Event::Emptied { run } => service.emptied(now, run, out),
            Event::Ready { run } => service.announced(now, run),
            Event::ProbeDone { run, probe, ok } => service.probed(now, run, probe, ok, out),
            Event::Tick => false,
        };
        if news {
            self.mark_changed(slot);
            self.look_at(slot);
        }
        news
    }

    /// The next thing for the driver to do. None: the input is done with.
    pub fn poll_action(&mut self) -> Option<Action> {
        if let Some(action) = self.out.actions.pop_front() {
            return Some(action);
        }
        while let Some(slot) = self.changed.pop_front() {
            if let Some(service) = self.registry.at_mut(slot)
                && core::mem::take(&mut service.changed)
            {
                return Some(Action::Changed { id: service.id });
            }
        }
        None
    }

    /// When the engine has to be called again, if nothing happens before.
    pub fn next_deadline(&self) -> Option<Time> {
        let shutdown = self.shutdown.as_ref().and_then(Shutdown::deadline);
        match (self.timers.first(), shutdown) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }

    /// How many events came too late or told nothing new.
    pub const fn stale_events(&self) -> u64 {
        self.stale_events
    }
}
