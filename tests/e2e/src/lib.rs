//! A harness for tests that run herm in real containers.
//!
//! Everything goes through the `docker` command, as a user's hands would. What a test makes has a
//! name of its own, so that tests run beside each other, and is removed when the test ends; what a
//! killed run left behind is removed by the next one. A container whose test fails shows its logs
//! and herm's own status first.
//!
//! `docker exec` is the unprivileged user's unless a test says why it needs root.
//!
//! ```no_run
//! use herm_e2e::{Container, Image, Volume, wait_until};
//!
//! let home = Volume::new();
//! let container = Container::of(&Image::herm_dev()).volume(&home, "/opt/data").run();
//! container.exec(&["herm", "profile", "create", "writer"]).succeeds();
//! container.restart();
//! wait_until("the profile is listed again", || {
//!     container.exec(&["herm", "profile", "list"]).stdout.contains("writer")
//! });
//! ```
#![forbid(unsafe_code)]
#![expect(
    clippy::missing_panics_doc,
    reason = "a panic is how a test fails: every function here may"
)]

mod command;
mod container;
mod control;
mod dashboard;
mod follow;
mod home;
mod host_dir;
mod http;
mod image;
mod leftovers;
mod terminal;
mod tmux;
mod volume;
mod wait;

pub use command::{Finished, docker, run, run_with_input};
pub use container::{Container, Options};
pub use dashboard::{Dashboard, tool};
pub use follow::Lines;
pub use home::API_KEY;
pub use host_dir::HostDir;
pub use http::Response;
pub use image::Image;
pub use terminal::Terminal;
pub use tmux::Tmux;
pub use volume::Volume;
pub use wait::{HANG_GUARD, wait_until};

use std::path::{Path, PathBuf};

/// The uid and gid of the image's service user, as `docker exec --user` takes them.
pub const SERVICE_USER: &str = "10000:10000";

/// The repository's root.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
