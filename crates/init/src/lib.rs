//! PID 1, the log daemon and setup.
//!
//! One binary with many names: [`multicall`] dispatches by `argv[0]`.
#![forbid(unsafe_code)]

mod applets;
mod drop_in;
pub mod environment;
pub mod herm_toml;
pub mod logd;
pub mod logproto;
pub mod main_program;
mod multicall;
pub mod pid1;
mod s6_variables;
mod search_path;
pub mod setup;

pub use multicall::multicall;
