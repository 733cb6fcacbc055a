//! How runs end, as typed values taken from the wait status.

use alloc::string::String;
use core::fmt;
use core::time::Duration;

use super::id::RunId;
use super::spec::signal;
use crate::Time;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Exit {
    /// It returned this code.
    Code(u8),
    /// It was killed by this signal.
    Signal {
        /// The signal's number.
        signal: u8,
        /// Whether the kernel wrote a core dump.
        core: bool,
    },
}

impl Exit {
    /// Whether this is exit code 0.
    pub const fn is_success(self) -> bool {
        matches!(self, Self::Code(0))
    }

    /// The one number shells and container engines use: the code, or 128 + the signal.
    pub const fn shell_code(self) -> u8 {
        match self {
            Self::Code(code) => code,
            Self::Signal { signal, core: _ } => 128_u8.saturating_add(signal),
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Code(code) => write!(f, "exit {code}"),
            Self::Signal {
                signal: number,
                core,
            } => {
                match signal::name(number) {
                    Some(name) => write!(f, "killed by SIG{name}")?,
                    None => write!(f, "killed by signal {number}")?,
                }
                if core {
                    write!(f, " (core dumped)")
                } else {
                    Ok(())
                }
            }
        }
    }
}

/// Why a process could not be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpawnFailure {
    /// What was being done, as a phrase: "chdir to /opt/data", "execute /usr/bin/hermes".
    pub stage: String,
    /// The errno it failed with.
    pub errno: i32,
}

/// How a run ended: as a process, or before it became one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunEnd {
    /// The process ended.
    Exited(Exit),
    /// The program was never executed.
    NotSpawned(SpawnFailure),
}

impl fmt::Display for RunEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(exit) => exit.fmt(f),
            Self::NotSpawned(failure) => {
                write!(f, "could not {} (errno {})", failure.stage, failure.errno)
            }
        }
    }
}

/// The end of a service's last main process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastExit {
    /// Which run it was.
    pub run: RunId,
    /// How it ended.
    pub end: RunEnd,
    /// When the engine was told.
    pub at: Time,
    /// How long the run had lasted.
    pub after: Duration,
}
