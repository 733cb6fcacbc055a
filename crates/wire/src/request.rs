//! What a client may ask. How it is read is in [`crate::flat`].

use alloc::string::String;
use serde::{Deserialize, Serialize};

use crate::spec::ServiceSpec;

/// One request line: `{"v":1,"id":7,"op":"start","name":"gateway-a",…}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Request {
    /// [`crate::PROTOCOL_VERSION`].
    pub v: u32,
    /// Chosen by the client, repeated in the reply.
    pub id: u64,
    /// What is asked.
    #[serde(flatten)]
    pub op: Op,
}

/// How a verb is carried out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct VerbOptions {
    /// Answer when the result is known, not when the order is taken.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub wait: bool,
    /// Longest wait in milliseconds; absent: as long as the service itself may need.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Not an operator's order: the keeper brings about what was ordered before.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub reconcile: bool,
}

/// What [`Op::Wait`] waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum WaitFor {
    /// It runs.
    Up,
    /// It runs and is ready.
    Ready,
    /// None of its processes lives.
    Down,
    /// It is registered.
    Registered,
    /// It is not registered.
    Gone,
}

/// The operations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Op {
    /// Who answers here. Anyone.
    Hello,
    /// Every service. Anyone, unless configured otherwise.
    Status,
    /// One service, by service or profile name.
    Service {
        /// Service name, else profile name.
        name: String,
    },
    /// Turns the connection into a stream of [`crate::Event`]s, a snapshot first.
    Subscribe,
    /// Wants it up.
    Start {
        /// Service name, else profile name.
        name: String,
        /// How.
        #[serde(default, flatten)]
        options: VerbOptions,
    },
    /// Wants it down.
    Stop {
        /// Service name, else profile name.
        name: String,
        /// How.
        #[serde(default, flatten)]
        options: VerbOptions,
    },
    /// Stops it if it runs, then starts it, as one transaction; the asker may die meanwhile.
    Restart {
        /// Service name, else profile name.
        name: String,
        /// How.
        #[serde(default, flatten)]
        options: VerbOptions,
    },
    /// Runs it once; it is not started again after its exit.
    Once {
        /// Service name, else profile name.
        name: String,
        /// How.
        #[serde(default, flatten)]
        options: VerbOptions,
    },
    /// Sends a signal to its main process. An exit it causes is no failure.
    Signal {
        /// Service name, else profile name.
        name: String,
        /// Signal name or number, with or without `SIG`.
        signal: String,
    },
    /// Waits for a condition.
    Wait {
        /// Service name, else profile name.
        name: String,
        /// The condition.
        until: WaitFor,
        /// Longest wait in milliseconds; absent: for ever.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timeout_ms: Option<u64>,
    },
    /// Supervises a new service, or replaces the spec of an existing one.
    Register {
        /// What to supervise.
        spec: alloc::boxed::Box<ServiceSpec>,
    },
    /// Stops it and forgets it; answered when its last process is gone.
    Unregister {
        /// Service name.
        name: String,
    },
    /// Its environment, each variable with its origin.
    Env {
        /// Service name, else profile name.
        name: String,
    },
    /// How this boot went: steps, capabilities, what is degraded.
    Boot,
    /// Asks the keeper to look at the whole home now; answered when it has.
    Reconcile {
        /// Longest wait in milliseconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timeout_ms: Option<u64>,
    },
    /// Makes this connection the keeper's. Service user or root.
    AttachKeeper,
    /// Keeper: the order is recorded durably.
    AckOrder {
        /// Service name.
        name: String,
        /// The order's number.
        seq: u64,
    },
    /// Keeper: the pass asked for is done.
    AckReconcile {
        /// The request's number.
        seq: u64,
        /// What went wrong in it, where something did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// Keeper: a parked service's inputs have other content; it may be tried again.
    Wake {
        /// Service name.
        name: String,
        /// What changed, for people.
        reason: String,
    },
    /// Keeper: what only the home tells about a gateway.
    Annotate {
        /// Service name.
        name: String,
        /// The profile whose gateway serves this one.
        #[serde(default)]
        served_by: Option<String>,
        /// The instance that runs it, where that is another one.
        #[serde(default)]
        owner: Option<String>,
        /// The port it serves on.
        #[serde(default)]
        port: Option<u16>,
        /// A remark for `herm why`, e.g. who holds its port.
        #[serde(default)]
        note: Option<String>,
    },
    /// Stops everything and exits. Root, or whoever runs the supervisor.
    Shutdown {
        /// The exit code; absent: the main program's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exit_code: Option<u8>,
    },
    /// Replaces PID 1's program by the installed one without touching a service. Root, or whoever
    /// runs the supervisor.
    Reexec,
}
