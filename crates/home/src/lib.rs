//! The home of many profiles (contract sections 2 and 10): where things lie, which profiles
//! exist, what the operator wants of each, what the agent says of itself, and who holds which
//! port and token.
//!
//! Everything here is synchronous and knows no supervisor. Decisions ([`restore`], [`claims`]) and
//! parsers of foreign bytes ([`state`], [`dotenv`], [`intent`]) are pure; the rest is the file
//! system, reached by directory descriptors that follow no symlink ([`files`]).
#![forbid(unsafe_code)]

pub mod archive;
pub mod boot;
pub mod claims;
pub mod clock;
pub mod config;
pub mod discover;
pub mod dotenv;
pub mod drift;
pub mod error;
pub mod files;
pub mod handover;
pub mod inputs;
pub mod intent;
pub mod kept;
pub mod layout;
pub mod lease;
pub mod loaded;
pub mod markers;
pub mod name;
pub mod owner;
pub mod ports;
pub mod process;
pub mod profile;
pub mod restore;
mod runtime;
pub mod secret;
pub mod served;
pub mod settings;
pub mod skills;
mod staging;
pub mod state;
mod tree;
pub mod unique;
pub mod watch;
pub mod withdrawn;

pub use discover::{Discovery, Skipped, discover};
pub use error::HomeError;
pub use intent::{Desired, Intent};
pub use layout::{Home, ProfilePaths};
pub use name::{NameError, ProfileName};
pub use secret::Secret;
