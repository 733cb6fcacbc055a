//! What the driver tells the engine, and what the engine asks of the driver.

use core::time::Duration;

use super::exit::{Exit, SpawnFailure};
use super::id::{ProbeId, RunId, ServiceId};

/// Something that happened, as the driver saw it. Events about a run that is over, or that repeat
/// what is known, are dropped and counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The run's program has been executed; this is its process.
    Spawned {
        /// The run.
        run: RunId,
        /// Its process id.
        pid: u32,
    },
    /// The run's program was not executed, and no process of the run is left. This is the last
    /// event of the run: neither `Exited` nor `Emptied` follows.
    SpawnFailed {
        /// The run.
        run: RunId,
        /// Why.
        failure: SpawnFailure,
    },
    /// The run's process has ended and was reaped. Others of its set may still live.
    Exited {
        /// The run.
        run: RunId,
        /// How.
        exit: Exit,
    },
    /// No member of the run's known set lives any more. Counts only after `Exited`; it is owed in
    /// answer to every [`Target::Set`] signal that finds nobody, so a lost one is asked for again.
    Emptied {
        /// The run.
        run: RunId,
    },
    /// The run has announced that it is ready.
    Ready {
        /// The run.
        run: RunId,
    },
    /// A probe ended.
    ProbeDone {
        /// The run it was for.
        run: RunId,
        /// The probe.
        probe: ProbeId,
        /// Whether it succeeded.
        ok: bool,
    },
    /// Nothing but time has passed.
    Tick,
}

/// What a spawned process is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The service's main process.
    Main,
    /// Its finish script.
    Finish {
        /// The main run that ended.
        of: RunId,
        /// How it ended.
        exit: Exit,
        /// What its process id was, and so its process group.
        pid: u32,
    },
}

/// Whom a signal is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// The run's own process.
    Main,
    /// Its process group.
    Group,
    /// Its whole known set: cgroup, group, session, children, holders of its log pipe, bearers of
    /// its cookie. The driver finds them, names them, and reports `Emptied` when the main process
    /// is gone and none of them is left: at once if there are none.
    Set,
}

/// What a probe is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// To learn whether the service is ready.
    Readiness,
    /// To learn whether it is still healthy.
    Health,
}

/// Something the driver shall do. Actions are to be carried out in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start a process. Answered by `Spawned` or `SpawnFailed`.
    Spawn {
        /// The service.
        id: ServiceId,
        /// The new run.
        run: RunId,
        /// What the process is for.
        role: Role,
    },
    /// Send a signal to processes of a run.
    Signal {
        /// The service.
        id: ServiceId,
        /// The run, which may be one whose program is not executed yet.
        run: RunId,
        /// Whom.
        target: Target,
        /// The signal's number.
        signal: u8,
        /// Send CONT after it, so that a stopped process can act on it.
        cont: bool,
    },
    /// Probe the service, and report `ProbeDone`. When the run ends the result is moot.
    Probe {
        /// The service.
        id: ServiceId,
        /// The run.
        run: RunId,
        /// The probe, to be named in the report.
        probe: ProbeId,
        /// Which of the service's two checks.
        check: Check,
        /// Report failure if it takes longer.
        timeout: Duration,
    },
    /// The service's status is not what it was. At most once per service and input.
    Changed {
        /// The service.
        id: ServiceId,
    },
    /// Processes of this run have outlived their grace and are now being killed.
    Overran {
        /// The service.
        id: ServiceId,
        /// The run.
        run: RunId,
    },
    /// Processes of this run have outlived KILL by a second: they are in uninterruptible sleep.
    /// Killing goes on; in a shutdown nobody waits for them any longer.
    Unkillable {
        /// The service.
        id: ServiceId,
        /// The run.
        run: RunId,
    },
    /// The service is unregistered and nothing of it is left; its id is void.
    Removed {
        /// The service that was.
        id: ServiceId,
    },
    /// The shutdown is over: every service is down, or the budget is spent.
    ShutdownDone {
        /// How many services still had a process when the budget ended.
        left: u32,
    },
}
