//! What a service is registered with.
//!
//! A spec is data: it never passes through a shell. Durations are whole milliseconds, so that
//! no value depends on how a float is printed. Absent settings mean herm's defaults.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::view::{Desired, Kind};

/// A variable of a service's own environment and where it came from (`herm service env`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct EnvVar {
    /// Its value.
    pub value: String,
    /// Who set it, e.g. `profile writer: .env`, `herm`.
    pub origin: String,
}

/// A way to find out from outside whether a service serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Probe {
    /// A TCP connection to `host:port` is accepted.
    Tcp {
        /// Host and port, e.g. `127.0.0.1:9200`.
        address: String,
    },
    /// A GET of the URL answers 2xx.
    Http {
        /// An `http://` URL.
        url: String,
    },
    /// The command exits 0. It runs as the service's user.
    Command {
        /// Program and arguments.
        argv: Vec<String>,
    },
}

/// How a service says that it serves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ReadinessSpec {
    /// It doesn't; running is ready.
    #[default]
    None,
    /// A newline on this descriptor (s6's protocol, `s6.md` section 1.4).
    Notify {
        /// The descriptor's number in the service.
        fd: u32,
    },
    /// `READY=1` on the datagram socket named by `NOTIFY_SOCKET` (`sd_notify(3)`).
    SdNotify,
    /// A probe succeeds.
    Probe {
        /// What is tried.
        probe: Probe,
        /// Between two tries; default 1,000 ms.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        interval_ms: Option<u64>,
    },
}

/// A check of a running service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct HealthSpec {
    /// What is tried.
    pub probe: Probe,
    /// Between two tries; default 30,000 ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval_ms: Option<u64>,
    /// One try may take this long; default 5,000 ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Failures in a row that make it unhealthy and restart it; default 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<u32>,
}

/// The restart policy's numbers (contract section 5); absent ones are herm's defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct RestartSpec {
    /// A run up for this long is stable; default 60,000 ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stable_ms: Option<u64>,
    /// First delay; default 1,000 ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_ms: Option<u64>,
    /// Longest delay; default 60,000 ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_delay_ms: Option<u64>,
    /// Failures in a row after which it is given up; default never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<u32>,
}

/// What is run after each run of a service, before the next: to clean up, or to say by exit 125 that
/// another start is no use. It gets as arguments, after its own, the exit code (256 where a signal ended the
/// run), the signal's number or 0, the service's name, and the process id that was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FinishSpec {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Killed after this long; default 5,000 ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

/// How a service is stopped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct StopSpec {
    /// Signal name that asks it to stop, e.g. `TERM` (the default).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// From the signal to KILL; default 10,000 ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grace_ms: Option<u64>,
}

/// Where a service's output is kept (contract section 6); absent numbers are herm's defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct LogSpec {
    /// Absolute directory of `current` and its rotated files; absent: forwarded only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dir: Option<String>,
    /// Size at which `current` is rotated; default 1,000,000 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u64>,
    /// Rotated files kept; default 10.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_files: Option<u32>,
    /// Rotated files older than this are removed; default never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age_s: Option<u64>,
}

/// Everything PID 1 needs to supervise a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ServiceSpec {
    /// Its name; see [`crate::ServiceName`].
    pub name: String,
    /// What it is. Unprivileged peers may register gateways and services.
    pub kind: Kind,
    /// The profile it serves, for gateways.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Program and arguments; a program without a slash is looked up on the service's `PATH`.
    pub argv: Vec<String>,
    /// Its own variables, over the container's environment.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, EnvVar>,
    /// Variables of the container's environment it does not get.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unset_env: Vec<String>,
    /// Working directory; default `/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// The user to run as. Only root may name another than itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Runs once to its end instead of staying.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub oneshot: bool,
    /// Services that must be ready (or done) before it starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<String>,
    /// Services that start before it where they start at all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<String>,
    /// How it says that it serves.
    #[serde(default)]
    pub readiness: ReadinessSpec,
    /// How it is checked while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthSpec>,
    /// When it is started again.
    #[serde(default)]
    pub restart: RestartSpec,
    /// How it is stopped.
    #[serde(default)]
    pub stop: StopSpec,
    /// What is run after each of its runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish: Option<FinishSpec>,
    /// Where its output is kept.
    #[serde(default)]
    pub log: LogSpec,
    /// The port it will serve on, where the registrar knows; shown in status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Whether it is started on registration. Registering is no order: an existing service keeps
    /// the state it is in.
    pub initial: Desired,
    /// Why it is switched off, where it is; it then reads `disabled` and can't be started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<String>,
}
