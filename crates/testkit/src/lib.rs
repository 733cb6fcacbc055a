//! Test tools; never shipped.
//!
//! * [`counted`](mod@counted): marks a hot path whose instructions are counted.
//! * [`kernel`]: processes that exist only as data: they exit early, ignore TERM, leave survivors,
//!   hang before their exec, and their reports come late, twice or not at all.
//! * [`scenario`]: a small language for tests of the engine: a timeline in, a trace out.
//! * [`sim`]: the engine in a seeded world with virtual time, with checkers of the design's
//!   invariants after every step.
#![forbid(unsafe_code)]

pub mod counted;
pub mod kernel;
pub mod rng;
pub mod scenario;
pub mod sim;
