//! The supervisor as a pure state machine.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;

mod engine;
mod model;
mod record;
mod rng;
mod service;
mod sorted;
mod time;

pub use engine::{Config, Engine, Overbooked, RegisterError, VerbError};
pub use model::{
    Action, Blocker, Burst, Check, Event, Exit, Failure, FinishPolicy, Health, HealthStatus, Kind,
    LastExit, Next, Probe, ProbeId, Readiness, Reason, Requested, RestartPolicy, Role, RunEnd,
    RunId, ServiceId, SpawnFailure, Spec, StateName, Status, StopCause, StopPolicy, Target, Want,
    signal,
};
pub use record::{BadRecord, Globals, Record, codec};
pub use sorted::{SortedMap, SortedSet};
pub use time::Time;
