//! PID 1: processes, and nothing but processes (design, "PID 1 does one thing").
//!
//! [`boot`] brings it up, [`event_loop`] runs it, [`driver`] carries out what the engine decides,
//! [`control`] answers clients, [`shutdown`] ends it, [`reexec`] replaces its program and
//! [`resume`] goes on in the new one.

mod boot;
mod boot_wait;
mod catch_all;
mod cgroups;
mod control;
mod convert;
pub(crate) mod cookies;
mod draining;
mod driver;
mod event_loop;
mod identity;
mod journal;
mod known_set;
mod launch;
mod listen;
mod logs;
mod main_process;
mod notify;
mod output;
mod own;
mod probes;
mod reactor;
mod records;
pub(crate) mod reexec;
mod report;
mod resume;
mod scandir;
mod services;
mod settings;
mod shutdown;
mod start;
mod supervisor;
mod views;

pub use settings::{Options, check_settings};
pub(crate) use start::{go_on, main};
