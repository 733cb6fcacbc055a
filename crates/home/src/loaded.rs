//! Files that someone else may have spoilt: read, or set aside under another name and reported.

use std::time::SystemTime;

use serde_json::Value;
use thiserror::Error;

use crate::clock;
use crate::error::HomeError;
use crate::files::Dir;
use crate::restore::Found;

/// Spoilt files that are kept of each name; the oldest go first.
const KEPT: usize = 10;

/// Why a file can't be understood.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Corrupt {
    /// Nothing in it (a full disk, or power lost before the agent's own fsync).
    #[error("it is empty")]
    Empty,
    /// Not JSON.
    #[error("it is no JSON (line {line}, column {column})")]
    NotJson {
        /// Line of the first error.
        line: usize,
        /// Column of the first error.
        column: usize,
    },
    /// JSON of another shape.
    #[error("{0}")]
    Shape(&'static str),
}

/// A file that was looked for: its value if it was good, and where it went if it was corrupt.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded<T> {
    /// The value; `None` if there was no file or a corrupt one.
    pub value: Option<T>,
    /// What was wrong and the name the file is now kept under, for the report.
    pub corrupt: Option<SetAside>,
}

/// A corrupt file that was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAside {
    /// Its new name, in the same directory.
    pub kept_as: String,
    /// What was wrong with it.
    pub why: Corrupt,
}

impl<T> Loaded<T> {
    /// What the file had to say, for the decision at boot.
    pub fn found<'a, U>(&'a self, says: impl FnOnce(&'a T) -> U) -> Found<U> {
        match (&self.value, &self.corrupt) {
            (Some(value), _) => Found::Good(says(value)),
            (None, Some(_)) => Found::Corrupt,
            (None, None) => Found::Absent,
        }
    }
}

pub(crate) fn parse_json(bytes: &[u8]) -> Result<Value, Corrupt> {
    if bytes.trim_ascii().is_empty() {
        return Err(Corrupt::Empty);
    }
    serde_json::from_slice(bytes).map_err(|e| Corrupt::NotJson {
        line: e.line(),
        column: e.column(),
    })
}

/// Reads and parses a file; one that can't be parsed, is too large, or is no regular file at all is
/// set aside as `<name>.corrupt-<time>` and counts as absent.
pub(crate) fn load_or_set_aside<T>(
    dir: &Dir,
    name: &str,
    limit: u64,
    now: SystemTime,
    parse: impl Fn(&[u8]) -> Result<T, Corrupt>,
) -> Result<Loaded<T>, HomeError> {
    loop {
        let absent = Loaded {
            value: None,
            corrupt: None,
        };
        let Some(seen) = dir.id_of(name) else {
            return Ok(absent);
        };
        let (seen, why) = match dir.read(name, limit) {
            Ok(None) => return Ok(absent),
            Ok(Some(content)) => match parse(&content.bytes) {
                Ok(value) => {
                    return Ok(Loaded {
                        value: Some(value),
                        corrupt: None,
                    });
                }
                Err(why) => (content.id, why),
            },
            Err(HomeError::WrongKind { .. }) => (seen, Corrupt::Shape("it is no regular file")),
            Err(HomeError::TooLarge { .. }) => (seen, Corrupt::Shape("it is far too large")),
            Err(e) => return Err(e),
        };
        let suffix = format!(".corrupt-{}", clock::compact(now));
        if let Some(kept_as) = dir.set_aside(name, seen, &suffix)? {
            forget_old(dir, name)?;
            return Ok(Loaded {
                value: None,
                corrupt: Some(SetAside { kept_as, why }),
            });
        }
        // It was replaced while we looked: look again.
    }
}

/// Removes the oldest of the spoilt files; their names sort by time.
fn forget_old(dir: &Dir, name: &str) -> Result<(), HomeError> {
    let mut kept = dir.names()?;
    kept.retain(|kept| {
        kept.strip_prefix(name)
            .is_some_and(|rest| rest.starts_with(".corrupt-"))
    });
    for old in kept.iter().rev().skip(KEPT) {
        // What isn't a file was put there by hand, and stays.
        if dir.size(old).is_some() {
            dir.remove(old)?;
        }
    }
    Ok(())
}
