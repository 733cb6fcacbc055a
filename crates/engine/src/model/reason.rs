//! Why a service is in the state it is in: data first, a sentence second.

use alloc::string::String;
use core::fmt;
use core::time::Duration;

use super::exit::{Exit, RunEnd};

/// Why a service is in its state. `Display` gives the clause that follows "because".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Switched off by configuration.
    SwitchedOff,
    /// Never started since it was registered.
    NeverStarted,
    /// The operator stopped it.
    Stopped,
    /// Everything was shut down.
    ShutDown,
    /// It ran once, as asked, and ended so.
    RanOnce(RunEnd),
    /// It waits for a service it requires.
    WaitsFor {
        /// The service it waits for.
        name: String,
        /// What is the matter with that one.
        state: Blocker,
    },
    /// Its program is being executed.
    Executing,
    /// It runs and has not become ready yet.
    NotReadyYet,
    /// It is a oneshot whose work isn't done yet.
    AtWork,
    /// It runs and is ready.
    Ready,
    /// It runs, but its health checks fail.
    Unhealthy {
        /// Failures in a row.
        failures: u32,
    },
    /// Its work is done.
    Done,
    /// It is being stopped.
    Stopping(StopCause),
    /// Its main process ended; others of the run are still there.
    Survivors(RunEnd),
    /// Processes of it outlived KILL.
    Unkillable,
    /// Its finish script runs.
    Finishing(RunEnd),
    /// It failed and is tried again later.
    Failed {
        /// What the failure was.
        failure: Failure,
        /// Failures in a row.
        failures: u32,
    },
    /// It ended with an exit code that retrying doesn't cure.
    Permanent(Exit),
    /// Its finish script said not to start it again (exit 125).
    FinishSaidNo(RunEnd),
    /// It was woken and waits for the rest of its delay.
    Woken,
    /// It failed too often.
    TooManyFailures {
        /// The last one.
        failure: Failure,
        /// How many there were …
        failures: u32,
        /// … within this long.
        within: Duration,
    },
}

/// What is the matter with a required service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocker {
    /// There is no such service.
    Missing,
    /// It is down and not wanted up: somebody has to start it.
    Down,
    /// It is on its way, or between two tries.
    NotReady,
    /// It will not be tried again by itself.
    GaveUp,
}

/// Why a run is being stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StopCause {
    /// It did not become ready in time.
    NotReadyInTime,
    /// Its health checks failed.
    Unhealthy,
    /// A service it requires was stopped.
    Requirement,
    /// The operator ordered a restart.
    Restart,
    /// The operator wants it down.
    Operator,
    /// It is being unregistered.
    Removal,
    /// Everything is being shut down.
    Shutdown,
}

/// What counted as a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It ended, or could not be started.
    Ended(RunEnd),
    /// It asked to be restarted again and again without staying up.
    RestartLoop {
        /// Requests in a row.
        requests: u32,
    },
    /// It did not become ready in time and was stopped.
    NotReadyInTime,
    /// Its health checks failed and it was stopped.
    Unhealthy,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SwitchedOff => write!(f, "switched off by configuration"),
            Self::NeverStarted => write!(f, "not started yet"),
            Self::Stopped => write!(f, "stopped by an operator"),
            Self::ShutDown => write!(f, "everything was shut down"),
            Self::RanOnce(end) => write!(f, "ran once, as asked: {end}"),
            Self::WaitsFor { name, state } => write!(f, "waits for {name}, which {state}"),
            Self::Executing => write!(f, "its program is being executed"),
            Self::NotReadyYet => write!(f, "not ready yet"),
            Self::AtWork => write!(f, "its work is not done yet"),
            Self::Ready => write!(f, "ready"),
            Self::Unhealthy { failures } => {
                write!(f, "unhealthy: {failures} health checks in a row failed")
            }
            Self::Done => write!(f, "its work is done"),
            Self::Stopping(cause) => cause.fmt(f),
            Self::Survivors(end) => {
                write!(f, "{end}; whatever it left behind is being ended")
            }
            Self::Unkillable => {
                write!(f, "a process of it survives KILL (uninterruptible sleep)")
            }
            Self::Finishing(end) => write!(f, "{end}; its finish script runs"),
            Self::Failed {
                failure,
                failures: 1,
            } => failure.fmt(f),
            Self::Failed { failure, failures } => write!(f, "{failure}; {failures} in a row"),
            Self::Permanent(exit) => write!(f, "{exit}, which a restart doesn't cure"),
            Self::FinishSaidNo(end) => {
                write!(
                    f,
                    "{end}; its finish script said not to start it again (exit 125)"
                )
            }
            Self::Woken => write!(f, "its inputs changed; it waits for its turn"),
            Self::TooManyFailures {
                failure,
                failures,
                within,
            } => {
                write!(
                    f,
                    "{failure}; {failures} failures within {within:?}, the limit"
                )
            }
        }
    }
}

impl fmt::Display for Blocker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "is not registered",
            Self::Down => "is down",
            Self::NotReady => "is not ready",
            Self::GaveUp => "is not tried again by itself",
        })
    }
}

impl fmt::Display for StopCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotReadyInTime => "not ready in time, being stopped",
            Self::Unhealthy => "unhealthy, being stopped",
            Self::Requirement => "a service it requires was stopped",
            Self::Restart => "being restarted by an operator",
            Self::Operator => "being stopped by an operator",
            Self::Removal => "being unregistered",
            Self::Shutdown => "everything is being shut down",
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended(end) => end.fmt(f),
            Self::RestartLoop { requests } => {
                write!(
                    f,
                    "restart loop: it asked for a restart {requests} times in a row"
                )
            }
            Self::NotReadyInTime => write!(f, "it did not become ready in time"),
            Self::Unhealthy => write!(f, "its health checks failed"),
        }
    }
}
