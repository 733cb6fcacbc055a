//! One service as it is at one instant.

use alloc::string::String;
use core::time::Duration;

use super::exit::LastExit;
use super::id::{RunId, ServiceId};
use super::reason::Reason;
use super::spec::{Kind, Want};
use crate::Time;

/// The states of printed data that the engine knows. (`served` and `remote` are the keeper's.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StateName {
    /// Switched off by configuration.
    Disabled,
    /// Not running, and not meant to.
    Down,
    /// On its way up: waiting for its turn, being executed, or not ready yet.
    Starting,
    /// Up and ready; or a oneshot that is done.
    Running,
    /// On its way down, or cleaning up after an end.
    Stopping,
    /// Waiting to be tried again after failures.
    Backoff,
    /// Not tried again until its inputs change or somebody starts it.
    Parked,
    /// Given up, by a configured limit.
    Failed,
}

impl StateName {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Disabled,
        Self::Down,
        Self::Starting,
        Self::Running,
        Self::Stopping,
        Self::Backoff,
        Self::Parked,
        Self::Failed,
    ];

    /// The word in printed data (contract: "Printed data has one shape").
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Down => "down",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Backoff => "backoff",
            Self::Parked => "parked",
            Self::Failed => "failed",
        }
    }
}

/// What is known of a service's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HealthStatus {
    /// No probe has ended yet in this run.
    Unknown,
    /// The last probe succeeded, or too few failed in a row.
    Healthy,
    /// At least as many probes in a row failed as the threshold says.
    Unhealthy {
        /// How many.
        failures: u32,
    },
}

/// What happens next without anyone's doing, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It is started.
    Start(Time),
    /// It is stopped, if it isn't ready by then.
    GiveUpStart(Time),
    /// The stop signal goes to the whole process group.
    SignalGroup(Time),
    /// Whatever of it still lives is killed.
    Kill(Time),
}

impl Next {
    /// When.
    pub const fn at(self) -> Time {
        match self {
            Self::Start(at) | Self::GiveUpStart(at) | Self::SignalGroup(at) | Self::Kill(at) => at,
        }
    }
}

/// One service at the instant of the engine's last input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The service.
    pub id: ServiceId,
    /// Its name.
    pub name: String,
    /// Whether its process stays or ends.
    pub kind: Kind,
    /// What is wanted of it.
    pub want: Want,
    /// Whether it is being unregistered.
    pub removing: bool,
    /// The state's name.
    pub state: StateName,
    /// Why it is in that state.
    pub reason: Reason,
    /// What happens next by itself.
    pub next: Option<Next>,
    /// Since when it is in that state.
    pub since: Time,
    /// The main run that is in progress or being cleaned up after.
    pub run: Option<RunId>,
    /// The process id of that run's process, while it lives.
    pub pid: Option<u32>,
    /// The finish script's process id, while it runs.
    pub finish_pid: Option<u32>,
    /// How long the main process has been up, while it lives.
    pub uptime: Option<Duration>,
    /// Whether it counts as up for those who require it: ready, or done.
    pub ready: bool,
    /// Its health; None if it isn't watched or doesn't run.
    pub health: Option<HealthStatus>,
    /// Starts by the engine that followed an end nobody ordered, since registration.
    pub restarts: u64,
    /// Failures in a row that the delay is counted from.
    pub failures: u32,
    /// The end of its last main process.
    pub last_exit: Option<LastExit>,
}
