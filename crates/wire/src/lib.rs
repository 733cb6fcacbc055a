//! The control protocol and the printed data of herm.
//!
//! Everything that crosses a process boundary in herm is defined here and nowhere else: what a
//! client may ask PID 1 ([`Request`], [`Op`]), what it answers ([`Reply`]), what it tells
//! subscribers ([`Event`]), what is registered ([`ServiceSpec`]) and the one shape in which a
//! service is printed by every tool ([`ServiceView`], contract section 4).
//!
//! The transport is a Unix stream socket carrying newline-delimited JSON, one message a line
//! ([`frame`]). The crate does no I/O and reads no clock.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod event;
pub mod exit_code;
mod flat;
pub mod frame;
pub mod name;
mod near;
pub mod reply;
pub mod request;
pub mod spec;
pub mod time;
pub mod variables;
pub mod verdict;
pub mod version;
pub mod view;

pub use event::{Event, EventBody, Order, Snapshot};
pub use exit_code::ExitCode;
pub use name::{NameError, ServiceName};
pub use near::nearest;
pub use reply::{
    Body, BootReport, BootStep, EnvEntry, ErrorBody, ErrorCode, Feature, Hello, Reply,
};
pub use request::{Op, Request, VerbOptions, WaitFor};
pub use spec::{
    EnvVar, FinishSpec, HealthSpec, LogSpec, Probe, ReadinessSpec, RestartSpec, ServiceSpec,
    StopSpec,
};
pub use verdict::verdict;
pub use version::PROTOCOL_VERSION;
pub use view::{Desired, Kind, LastExit, ServiceView, State};
