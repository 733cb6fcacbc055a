//! The built-in gateway: an OpenAI-compatible HTTP server for one profile.
//!
//! It lets herm do its job where no agent is installed. One process serves one profile: it
//! answers `GET /health`, `GET /v1/models` and `POST /v1/chat/completions` (with and without
//! streaming), puts the profile's `SOUL.md` before each conversation, relays it to the provider
//! in the profile's `config.yaml`, and keeps sessions in SQLite. To its supervisor it looks like
//! the agent's gateway: the same state files, an orderly drain on `SIGTERM`, exit 78 for a
//! configuration that can't work.
//!
//! Variables it reads, from the profile's `.env` first and then from the environment: the
//! provider's key and base URL (`OPENAI_API_KEY`, `OPENAI_BASE_URL` and their like, or what
//! `key_env` names), and `API_SERVER_KEY`, `API_SERVER_HOST`, `API_SERVER_PORT`,
//! `API_SERVER_MODEL_NAME`. What only one profile may have (`herm_home::unique`: the server's key
//! and port among it) a named profile takes from its `.env` alone. From the environment only:
//! `NOTIFY_SOCKET`, `HERM_NOTIFY_FD`, `SSL_CERT_FILE`, `SSL_CERT_DIR`, and `HTTPS_PROXY` and its
//! like.
//!
//! [`run`] is all there is to call. Inside, `config` reads, `server` answers, `relay` talks to
//! the provider, `sessions` remembers, `state` and `ownership` keep the agent's files, and `lifecycle` ties them together.
#![forbid(unsafe_code)]

mod auth;
mod completions;
mod config;
mod conversation;
mod error;
mod gate;
mod lifecycle;
mod log;
mod notify;
mod ownership;
mod relay;
mod server;
mod sessions;
mod state;
mod streaming;
mod tls;
mod transcript;

use std::time::Duration;

use herm_home::ProfilePaths;

/// The gateway ran and stopped in order.
pub const EXIT_OK: u8 = 0;
/// Something outside the configuration failed; trying again may help.
pub const EXIT_FAILED: u8 = 1;
/// The configuration can't work (`EX_CONFIG` of `sysexits.h`); a supervisor parks the service
/// until the configuration changes.
pub const EXIT_CONFIG: u8 = 78;

/// What the caller decides; everything else is in the profile's directory and the environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Whose gateway this is. The profile's directory must exist.
    pub profile: ProfilePaths,
    /// The port to serve on; `None` takes the profile's own setting, else 8642. 0 lets the
    /// kernel choose, and the chosen one is logged.
    pub port: Option<u16>,
    /// How long requests in flight may go on after a stop was asked for.
    pub drain_limit: Duration,
    /// The number of an inherited descriptor that gets a newline when requests are served;
    /// `None` takes it from `HERM_NOTIFY_FD`.
    pub notify_fd: Option<u32>,
}

impl Options {
    /// Options for a profile, with a drain limit that fits a container's stop budget of 8 s.
    pub fn new(profile: ProfilePaths) -> Self {
        Self {
            profile,
            port: None,
            drain_limit: Duration::from_secs(5),
            notify_fd: None,
        }
    }
}

/// Serves the profile until `SIGTERM` or `SIGINT`, and returns the process's exit code:
/// [`EXIT_OK`], [`EXIT_FAILED`] or [`EXIT_CONFIG`]. What went wrong is on standard error.
///
/// Blocks; builds its own runtime, so it must not be called from within another.
#[must_use]
pub fn run(options: &Options) -> u8 {
    lifecycle::run(options)
}
