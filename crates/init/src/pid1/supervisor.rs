//! PID 1 as one value: the engine, what it is fed from, and what carries out its actions.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;

use herm_engine::{Config, Engine, Event, SortedMap, SortedSet};
use herm_sys::rlimit::Limit;
use herm_sys::signals::{Signal, SignalFd};
use herm_sys::spawn::Spawner;

use super::boot::Boot;
use super::catch_all::CatchAll;
use super::cgroups::Cgroups;
use super::control::feed::Feed;
use super::control::server::Server;
use super::control::waiters::Waiters;
use super::convert::Clock;
use super::cookies::Cookies;
use super::known_set::{Attributions, Sight};
use super::logs::Logs;
use super::output::Output;
use super::probes::Probes;
use super::reactor::{Interest, Reactor, Source};
use super::records::Records;
use super::reexec::Reexec;
use super::scandir::ScanDir;
use super::services::{RunRecord, Services};
use super::settings::{Options, Settings};
use super::shutdown::Shutdown;
use crate::environment::Environment;

/// A run and the descriptors that belong to it.
#[derive(Debug)]
pub(crate) struct Run {
    /// What survives re-execution.
    pub(crate) record: RunRecord,
    /// PID 1's read end of its log pipe, until the log daemon has seen its end.
    pub(crate) log: Option<OwnedFd>,
    /// The read end of its notification pipe, or its datagram socket.
    pub(crate) notify: Option<OwnedFd>,
    /// How often it has notified us.
    pub(crate) notified: u32,
    /// The engine waits for its last process to go.
    pub(crate) draining: bool,
}

/// What a child of PID 1 is, besides services.
#[derive(Debug)]
pub(crate) enum Helper {
    /// The one-shot setup.
    Setup,
    /// Brings the agent's skills into the home.
    Skills,
    /// The log daemon.
    Logd,
    /// A readiness or health probe.
    Probe,
    /// Looks for cookies.
    Cookies,
    /// Tries the state on the binary that is to take over.
    CheckState,
    /// Runs the image's scripts at the end.
    Finish,
    /// Keeps what goes to the container's output.
    CatchAll,
    /// The scanner's script for a signal.
    SignalScript,
}

/// Everything.
#[derive(Debug)]
pub(crate) struct Supervisor {
    pub(crate) options: Options,
    pub(crate) settings: Settings,
    pub(crate) environment: Environment,
    /// This run of the supervisor.
    pub(crate) instance: String,
    pub(crate) output: Output,
    pub(crate) reactor: Reactor,
    pub(crate) signals: SignalFd,
    pub(crate) open_files: Option<Limit>,
    pub(crate) engine: Engine,
    /// What the engine is still to be told.
    pub(crate) events: VecDeque<Event>,
    pub(crate) services: Services,
    pub(crate) runs: SortedMap<u64, Box<Run>>,
    /// Which run a main process belongs to.
    pub(crate) mains: SortedMap<i32, u64>,
    pub(crate) helpers: SortedMap<i32, Helper>,
    pub(crate) spawner: Spawner,
    pub(crate) server: Server,
    pub(crate) waiters: Waiters,
    pub(crate) feed: Feed,
    pub(crate) logs: Logs,
    pub(crate) probes: Probes,
    pub(crate) cookies: Cookies,
    pub(crate) attributions: Attributions,
    pub(crate) sight: Sight,
    /// Where control groups can be made.
    pub(crate) cgroups: Option<Cgroups>,
    pub(crate) records: Records,
    /// Services in s6 format, where there is a place for them.
    pub(crate) scan_dir: Option<Box<ScanDir>>,
    /// What everybody writes goes through it, where that is wanted.
    pub(crate) catch_all: Option<CatchAll>,
    pub(crate) boot: Boot,
    pub(crate) shutdown: Option<Shutdown>,
    /// What a shutdown asks the main program to stop with.
    pub(crate) main_stop: Signal,
    pub(crate) reexec: Reexec,
    /// Clients with requests that were not looked at yet, because others had to have their turn.
    pub(crate) again: SortedSet<u64>,
    /// Services that changed since subscribers were last told.
    pub(crate) changed: SortedSet<herm_engine::ServiceId>,
    /// Looks at the processes below us are due for draining runs.
    pub(crate) recount: bool,
    /// Dead children are left for the next turn.
    pub(crate) more_dead: bool,
}

/// What PID 1 is before it is a supervisor.
pub(crate) struct Foundation {
    pub(crate) signals: SignalFd,
    pub(crate) reactor: Reactor,
    pub(crate) listener: UnixListener,
    pub(crate) boot: Boot,
}

/// The engine's settings.
pub(crate) fn engine_config() -> Config {
    Config::default()
}

/// A number that differs from boot to boot, for the engine's jitter.
pub(crate) fn seed() -> u64 {
    let mut bytes = [0_u8; 8];
    // Without entropy yet (a machine's first second) the jitter is the clock's.
    match rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::NONBLOCK) {
        Ok(8) => u64::from_ne_bytes(bytes),
        Ok(_) | Err(_) => Clock::read().now.as_nanos(),
    }
}

impl Supervisor {
    /// Puts everything together.
    pub(crate) fn assemble(
        options: Options,
        settings: Settings,
        environment: Environment,
        foundation: Foundation,
        engine: Engine,
        records: Records,
    ) -> Result<Self, String> {
        let Foundation {
            signals,
            reactor,
            listener,
            boot,
        } = foundation;
        let server = Server::new(listener, &reactor)
            .map_err(|error| format!("cannot serve the control socket: {error}"))?;
        let output = Output::new(settings.level);
        let cgroups = Cgroups::detect(&reactor);
        let spawner =
            Spawner::new().map_err(|error| format!("cannot follow children's starts: {error}"))?;
        reactor
            .add(spawner.events(), Source::Spawner, Interest::Read)
            .map_err(|error| format!("cannot wait for children's starts: {error}"))?;
        Ok(Self {
            options,
            settings,
            environment,
            instance: format!("{:016x}", seed()),
            output,
            reactor,
            signals,
            open_files: None,
            engine,
            events: VecDeque::new(),
            services: Services::default(),
            runs: SortedMap::new(),
            mains: SortedMap::new(),
            helpers: SortedMap::new(),
            spawner,
            server,
            waiters: Waiters::default(),
            feed: Feed::default(),
            logs: Logs::default(),
            probes: Probes::default(),
            cookies: Cookies::default(),
            attributions: Attributions::default(),
            sight: Sight::default(),
            cgroups,
            records,
            scan_dir: None,
            catch_all: None,
            boot,
            shutdown: None,
            main_stop: Signal::TERM,
            reexec: Reexec::default(),
            again: SortedSet::new(),
            changed: SortedSet::new(),
            recount: false,
            more_dead: false,
        })
    }

    /// The clocks now.
    #[expect(clippy::unused_self, reason = "reads as what it is: PID 1's clock")]
    pub(crate) fn clock(&self) -> Clock {
        Clock::read()
    }

    /// Our children that are not what a run left behind.
    pub(crate) fn expected_children(&self) -> SortedSet<i32> {
        self.mains
            .keys()
            .chain(self.helpers.keys())
            .copied()
            .collect()
    }

    /// The uid PID 1 runs as.
    pub(crate) fn uid() -> u32 {
        rustix::process::getuid().as_raw()
    }
}
