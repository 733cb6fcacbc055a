//! The words the engine and its driver talk in: plain data, no behaviour of the machine.

mod event;
mod exit;
mod id;
mod reason;
mod spec;
mod status;

pub use event::{Action, Check, Event, Role, Target};
pub use exit::{Exit, LastExit, RunEnd, SpawnFailure};
pub use id::{ProbeId, RunId, ServiceId};
pub use reason::{Blocker, Failure, Reason, StopCause};
pub use spec::{
    Burst, FinishPolicy, Health, Kind, Probe, Readiness, Requested, RestartPolicy, Spec,
    StopPolicy, Want, signal,
};
pub use status::{HealthStatus, Next, StateName, Status};
