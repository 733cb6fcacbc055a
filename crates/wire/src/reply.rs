//! What PID 1 answers.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::view::ServiceView;

/// Kinds of errors a request can meet; each maps to an [`crate::ExitCode`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The request is malformed or makes no sense.
    BadRequest,
    /// No such service.
    NotFound,
    /// The peer's uid may not do this.
    NotPermitted,
    /// The spec is wrong: a bad value, a dependency cycle, an unknown user.
    BadConfig,
    /// The time allowed ran out; the order stands.
    TimedOut,
    /// Tried, and it failed: it did not start, or died at once.
    Failed,
    /// A later order won.
    Superseded,
    /// Something claimed is another's.
    Clash,
    /// No room: descriptors, connections, services.
    NoCapacity,
    /// The supervisor is stopping.
    ShuttingDown,
    /// A fault in herm.
    Internal,
}

/// Why a request was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ErrorBody {
    /// The kind.
    pub code: ErrorCode,
    /// What could not be done and why.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Who answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Hello {
    /// `herm`.
    pub program: String,
    /// herm's version.
    pub version: String,
    /// [`crate::PROTOCOL_VERSION`].
    pub protocol: u32,
    /// This run of the supervisor; another after every boot, the same after re-execution.
    pub instance: String,
    /// The supervisor's pid as itself sees it.
    pub pid: u32,
    /// The home it serves, where it serves one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home: Option<String>,
    /// Name of the service user, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Whether a keeper is attached.
    pub keeper: bool,
    /// Whether the boot is over: services and main program started.
    pub booted: bool,
}

/// A variable of a service's environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct EnvEntry {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// Where it came from.
    pub origin: String,
}

/// One thing this container can or can't do (contract section 10, capability report).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Feature {
    /// Its name, e.g. `cgroup-kill`.
    pub name: String,
    /// Whether it is there.
    pub available: bool,
    /// What herm does without it, or what it found.
    pub detail: String,
}

/// One step of the boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct BootStep {
    /// Its name.
    pub name: String,
    /// When it began, in microseconds after PID 1's start.
    pub start_us: u64,
    /// How long it took, in microseconds.
    pub took_us: u64,
    /// What went wrong, where something did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// How the boot went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct BootReport {
    /// The steps in order.
    pub steps: Vec<BootStep>,
    /// What this container can do.
    pub features: Vec<Feature>,
    /// Warnings for people: stop graces over budget, degraded features.
    pub warnings: Vec<String>,
}

/// The payload of a successful reply.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Body {
    /// Done; nothing to say.
    Done,
    /// To [`crate::Op::Hello`].
    Hello(Hello),
    /// To [`crate::Op::Status`].
    Services {
        /// This run of the supervisor.
        instance: String,
        /// Every service, sorted by name.
        services: Vec<ServiceView>,
    },
    /// To [`crate::Op::Service`], `wait` and the verbs: the service as it is now.
    Service {
        /// The service.
        service: Box<ServiceView>,
        /// For an order on a gateway: whether it is recorded in the home.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        recorded: Option<bool>,
    },
    /// To [`crate::Op::Env`].
    Env {
        /// Sorted by name.
        entries: Vec<EnvEntry>,
        /// Names of the container's variables that it does not get.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        withheld: Vec<String>,
    },
    /// To [`crate::Op::Boot`].
    Boot(BootReport),
}

/// One reply line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Reply {
    /// The request's id; 0 where the request could not be read.
    pub id: u64,
    /// The payload, where it succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ok: Option<Body>,
    /// The error, where it didn't.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub err: Option<ErrorBody>,
}

impl Reply {
    /// A success.
    pub fn ok(id: u64, body: Body) -> Self {
        Self {
            id,
            ok: Some(body),
            err: None,
        }
    }

    /// A failure.
    pub fn err(id: u64, error: ErrorBody) -> Self {
        Self {
            id,
            ok: None,
            err: Some(error),
        }
    }
}
