//! The formats of the s6 family, parsed and written as bytes.
//!
//! Everything here is a pure function between bytes and values: it opens nothing, reads no clock
//! and starts nothing, so that PID 1, the applets and the tests share one reading of each format.
//! The formats are those of s6 2.11 to 2.15 as their manual pages describe them
//! (<https://skarnet.org/software/s6/>) and as the programs were seen to behave.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod control;
pub mod death_tally;
pub mod event;
pub mod execline;
pub mod fix_attrs;
pub mod glob;
pub mod log;
pub mod number;
pub mod rc;
pub mod service_directory;
pub mod status;
pub mod tai;
