//! What happened, kept through restarts: states, exits, orders and boots in a small SQLite file in
//! the home. The keeper writes it, because it is there when no dashboard is; the dashboard reads it.
//!
//! It is a convenience and never in the way: it is written by a thread of its own, bounded in size
//! and age, and may be deleted at any time. One that can't be read is set aside.

mod reader;
mod recorder;

pub use reader::{Boot, Moment, Reader, Spell};
pub use recorder::{Entry, Recorder};

/// The file's name in the home's `.herm`.
pub(crate) const FILE: &str = "history.db";
/// Most moments kept; the oldest go first.
pub(crate) const MAX_MOMENTS: i64 = 50_000;
/// Most boots kept.
pub(crate) const MAX_BOOTS: i64 = 100;
/// Longest time a moment is kept, in milliseconds: 90 days.
pub(crate) const MAX_AGE_MS: i64 = 90 * 24 * 3600 * 1000;
/// Largest file, in pages of 4 KiB: 32 MiB.
pub(crate) const MAX_PAGES: i64 = 8192;

/// The layout, by number; another one is another program's, and is begun anew.
pub(crate) const VERSION: i64 = 1;

/// The tables. `key` makes an exit that is told twice one.
pub(crate) const TABLES: &str = "
CREATE TABLE moment (
    id INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    instance TEXT NOT NULL,
    kind TEXT NOT NULL,
    service TEXT NOT NULL,
    state TEXT NOT NULL,
    words TEXT NOT NULL,
    code INTEGER,
    signal INTEGER,
    key TEXT UNIQUE
);
CREATE INDEX moment_by_service ON moment (service, at_ms);
CREATE INDEX moment_by_time ON moment (at_ms);
CREATE TABLE boot (
    instance TEXT PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    report TEXT NOT NULL,
    restored TEXT NOT NULL
);
PRAGMA user_version = 1;
";

/// How far each run of the supervisor is kept: the number of the last of its events that is. A file
/// of before it was told has none.
pub(crate) const REACH: &str = "
CREATE TABLE IF NOT EXISTS reach (
    instance TEXT PRIMARY KEY,
    seq INTEGER NOT NULL
);
";
