//! The one shape in which a service is printed (contract section 4): `--json`, REST, events.

use alloc::string::String;
use serde::{Deserialize, Serialize};

/// What a service is to the people who look at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Serves one profile of the home.
    Gateway,
    /// Anything else an image or an operator supervises.
    Service,
    /// The container's CMD.
    Main,
    /// A part of herm itself: the log daemon, the keeper, the dashboard.
    Helper,
}

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Desired {
    /// It should run.
    Up,
    /// It should not run.
    Down,
}

/// What is so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Switched off by configuration; not a failure.
    Disabled,
    /// Not running, and not wanted, or waiting for what it requires.
    Down,
    /// Started, not ready yet.
    Starting,
    /// Running, and ready where it can say so.
    Running,
    /// Asked to stop; some of its processes still live.
    Stopping,
    /// Failed; will be tried again at a known time.
    Backoff,
    /// Ended with a permanent failure; waits for other inputs or an operator.
    Parked,
    /// Given up by configuration (restart burst), or a start that can't be made.
    Failed,
    /// Its profile is served by another profile's gateway.
    Served,
    /// Its profile is run by another instance of herm.
    Remote,
}

/// How the last run ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LastExit {
    /// Exit code, where the process exited by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<u8>,
    /// Signal number, where a signal ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<u8>,
    /// When it ended (RFC 3339).
    pub at: String,
    /// How long it had run, in seconds.
    pub after_s: f64,
}

/// A service as every tool prints it. Fields are only ever added.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ServiceView {
    /// The service's name, e.g. `gateway-writer`.
    pub name: String,
    /// The profile it serves, for gateways.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// What it is.
    pub kind: Kind,
    /// What was asked for.
    pub desired: Desired,
    /// What is so.
    pub state: State,
    /// Why it is so, as half a sentence: `exit 78`, `ready`, `waiting for db`.
    pub reason: String,
    /// What happens next and when, where something will by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// Process id of the main process as PID 1 sees it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Since when it has been in this state (RFC 3339).
    pub since: String,
    /// How long the current run has been up, in seconds; 0 where none is.
    pub uptime_s: f64,
    /// How often it was started again after an exit nobody asked for.
    pub restarts: u64,
    /// How the last run ended, where one has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_exit: Option<LastExit>,
    /// Whether it is ready; a service that can't say so is ready when it runs.
    pub ready: bool,
    /// `healthy` or `unhealthy`, where a health check is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<String>,
    /// The port it serves on, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The profile whose gateway serves this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served_by: Option<String>,
    /// The instance that runs it, where that is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Resident memory of its processes, where it was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Share of one core in percent since its start, where it was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_percent: Option<f64>,
    /// Directory of its kept log, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_dir: Option<String>,
    /// Lines of it that its kept log could not take and that are lost, since the supervisor started or
    /// replaced itself; left out where there are none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub log_dropped_lines: u64,
    /// Uid it runs as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Services that must be ready (or done) before it starts.
    #[serde(default, skip_serializing_if = "alloc::vec::Vec::is_empty")]
    pub requires: alloc::vec::Vec<String>,
    /// Services that start before it where they start at all.
    #[serde(default, skip_serializing_if = "alloc::vec::Vec::is_empty")]
    pub after: alloc::vec::Vec<String>,
    /// Processes of an earlier run that still live, where there are any.
    #[serde(default, skip_serializing_if = "alloc::vec::Vec::is_empty")]
    pub survivors: alloc::vec::Vec<u32>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl ServiceView {
    /// A service of which nothing is known but its name and kind: down, and not wanted.
    pub fn named(name: &str, kind: Kind) -> Self {
        Self {
            name: String::from(name),
            profile: None,
            kind,
            desired: Desired::Down,
            state: State::Down,
            reason: String::new(),
            next: None,
            pid: None,
            since: String::new(),
            uptime_s: 0.0,
            restarts: 0,
            last_exit: None,
            ready: false,
            health: None,
            port: None,
            served_by: None,
            owner: None,
            memory_bytes: None,
            cpu_percent: None,
            log_dir: None,
            log_dropped_lines: 0,
            uid: None,
            requires: alloc::vec::Vec::new(),
            after: alloc::vec::Vec::new(),
            survivors: alloc::vec::Vec::new(),
        }
    }
}
