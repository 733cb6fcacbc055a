//! Profiles as archives: gzip-compressed tar with one top-level directory, the agent's own format.
//!
//! Secrets (`.env`, `auth.json`), runtime files and links never leave in one. What comes in is
//! foreign: it is unpacked out of sight, within limits, and published only when it was complete
//! and every entry harmless.

mod export;
mod import;

use thiserror::Error;

pub use export::{Exported, export};
pub use import::{Imported, Limits, import};

/// Why an archive was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ArchiveError {
    /// Not gzip, not tar, cut short, or damaged.
    #[error("the archive is damaged or incomplete ({0}): export or copy it again")]
    Damaged(String),
    /// A path that leads out of the profile, or that no file system should see.
    #[error("the archive holds the path {0:?}, which leads out of the profile: it is not imported")]
    Path(String),
    /// A link, a device or a pipe.
    #[error("the archive holds {what} at {path:?}; only files and directories are imported")]
    Kind {
        /// What it is.
        what: &'static str,
        /// Where.
        path: String,
    },
    /// The same path twice.
    #[error("the archive holds {0:?} twice: it is not imported")]
    Duplicate(String),
    /// More than one top-level directory, or a file beside it.
    #[error(
        "the archive has {0:?} beside its top-level directory; a profile's archive has one directory"
    )]
    SeveralRoots(String),
    /// No `SOUL.md` in the top-level directory.
    #[error("the archive is no profile: its top-level directory has no SOUL.md")]
    NoProfile,
    /// Larger than the limits allow.
    #[error("the archive unpacks to more than {limit} {unit}: it is not imported")]
    TooLarge {
        /// The limit.
        limit: u64,
        /// Of what.
        unit: &'static str,
    },
}
