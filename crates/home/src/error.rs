//! What can go wrong with a home, typed: the thing, the cause and the next step.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::archive::ArchiveError;
use crate::name::NameError;

/// A failure of an operation on a home.
#[derive(Debug, Error)]
pub enum HomeError {
    /// The given word is no profile name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// No such profile in this home.
    #[error("there is no profile '{name}'{}; {}", did_you_mean(nearest.as_deref()), known_profiles(known))]
    NoSuchProfile {
        /// The name asked for.
        name: String,
        /// An existing name that looks like it.
        nearest: Option<String>,
        /// All names that exist.
        known: Vec<String>,
    },
    /// The profile to be made exists already.
    #[error("profile '{name}' exists already: choose another name, or delete it first")]
    Exists {
        /// The name.
        name: String,
    },
    /// Options that exclude each other, or an operation that makes no sense on this profile.
    #[error("{0}")]
    Usage(String),
    /// An archive that is none, or one that can't be trusted.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A path that has to be an ordinary file or directory is something else.
    #[error("{} is {found}, not {expected}: move it away", path.display())]
    WrongKind {
        /// The path.
        path: PathBuf,
        /// What it is.
        found: &'static str,
        /// What it has to be.
        expected: &'static str,
    },
    /// A file is larger than anything that can be meant.
    #[error("{} has more than {limit} bytes: move it away", path.display())]
    TooLarge {
        /// The path.
        path: PathBuf,
        /// The limit in bytes.
        limit: u64,
    },
    /// Nobody tells of changes to files.
    #[error("can't watch files: {0} (fs.inotify.max_user_instances on the host may be too small)")]
    Unwatched(rustix::io::Errno),
    /// The operating system refused.
    #[error("can't {action} {}: {source}{}", path.display(), io_hint(source))]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

impl HomeError {
    pub(crate) fn io(
        action: &'static str,
        path: impl AsRef<Path>,
        source: impl Into<io::Error>,
    ) -> Self {
        Self::Io {
            action,
            path: path.as_ref().to_owned(),
            source: source.into(),
        }
    }

    /// Whether the home takes no such write at all, now: it is full, read-only or another user's.
    /// What else goes wrong may go right the next time.
    pub fn is_refusal(&self) -> bool {
        let refusals = [
            io::ErrorKind::PermissionDenied,
            io::ErrorKind::QuotaExceeded,
            io::ErrorKind::ReadOnlyFilesystem,
            io::ErrorKind::StorageFull,
        ];
        matches!(self, Self::Io { source, .. } if refusals.contains(&source.kind()))
    }

    /// The exit code of contract section 4 that this failure means.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Name(_) | Self::Usage(_) => 2,
            Self::NoSuchProfile { .. } => 4,
            Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => 5,
            Self::Exists { .. }
            | Self::Archive(_)
            | Self::WrongKind { .. }
            | Self::TooLarge { .. }
            | Self::Unwatched(_)
            | Self::Io { .. } => 1,
        }
    }
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest
        .map(|name| format!(" (did you mean '{name}'?)"))
        .unwrap_or_default()
}

fn known_profiles(known: &[String]) -> String {
    format!("profiles here: {}", known.join(", "))
}

fn io_hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::PermissionDenied => " (run as the user who owns the home)",
        io::ErrorKind::StorageFull => " (free some space)",
        io::ErrorKind::ReadOnlyFilesystem => " (mount the home read-write)",
        _ => "",
    }
}
