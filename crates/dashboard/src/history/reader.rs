//! Reading the history.

use std::collections::BTreeMap;

use herm_home::Home;
use herm_home::layout::HERM_DIR;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Row, params};
use serde::Serialize;

use super::{FILE, MAX_BOOTS, VERSION};

/// Most moments of one answer.
const MAX_ANSWER: usize = 1000;
/// Most changes a timeline is made of.
const MAX_SPELLS: i64 = 5000;

/// The history of a home, open for reading.
#[derive(Debug)]
pub struct Reader(Connection);

/// Something that happened to a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Moment {
    /// Its number; later ones are larger.
    pub id: i64,
    /// When (RFC 3339).
    pub at: String,
    /// The same in milliseconds since 1970.
    pub at_ms: i64,
    /// The run of the supervisor.
    pub instance: String,
    /// `state`, `exit`, `restart` or `order`.
    pub kind: String,
    /// The service.
    pub service: String,
    /// The state it was in then.
    pub state: String,
    /// Why, in words.
    pub words: String,
    /// Exit code, for an exit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<u8>,
    /// Signal, for an exit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<u8>,
}

/// A time in one state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spell {
    /// Since when, in milliseconds since 1970.
    pub from_ms: i64,
    /// The state's word.
    pub state: String,
    /// Why, in words.
    pub words: String,
}

/// A boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boot {
    /// The run of the supervisor.
    pub instance: String,
    /// When the keeper first told of it, in milliseconds since 1970.
    pub at_ms: i64,
    /// Its report as JSON.
    pub report: String,
    /// What was restored, a line per profile.
    pub restored: String,
}

impl Reader {
    /// Opens it; `None` where no history is kept (yet).
    pub fn open(home: &Home) -> rusqlite::Result<Option<Self>> {
        let Ok(root) = home.root().canonicalize() else {
            return Ok(None);
        };
        let path = root.join(HERM_DIR).join(FILE);
        if !path.is_file() {
            return Ok(None);
        }
        // A writer that was killed leaves half a transaction, which the next to come has to take back: so it
        // may be written to, where it can be, and nothing that is asked does so.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(std::time::Duration::from_secs(2))?;
        connection.execute_batch("PRAGMA query_only = ON")?;
        let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        Ok((version == VERSION).then_some(Self(connection)))
    }

    /// The newest moments before a number, newest first; of one service, or of all.
    pub fn moments(
        &self,
        service: Option<&str>,
        before: i64,
        limit: usize,
    ) -> rusqlite::Result<Vec<Moment>> {
        let limit = i64::try_from(limit.min(MAX_ANSWER)).unwrap_or(0);
        let mut statement = self.0.prepare(
            "SELECT id, at_ms, instance, kind, service, state, words, code, signal FROM moment
             WHERE (?1 IS NULL OR service = ?1) AND id < ?2 ORDER BY id DESC LIMIT ?3",
        )?;
        let rows = statement.query_map(params![service, before, limit], moment)?;
        rows.collect()
    }

    /// Freezes it: what is asked from now on is of one moment, and nobody can write meanwhile. Answers
    /// which event of a run of the supervisor is the last it tells of then; 0 where none is known.
    pub fn freeze(&self, instance: &str) -> rusqlite::Result<u64> {
        self.0.execute_batch("BEGIN")?;
        if !self.0.table_exists(None, "reach")? {
            return Ok(0);
        }
        let found = self.0.query_row(
            "SELECT seq FROM reach WHERE instance = ?1",
            [instance],
            |row| row.get(0),
        );
        let seq: Option<i64> = found.optional()?;
        Ok(seq.and_then(|seq| u64::try_from(seq).ok()).unwrap_or(0))
    }

    /// The moments since a time, oldest first.
    pub fn moments_since(&self, since_ms: i64) -> rusqlite::Result<Vec<Moment>> {
        let mut statement = self.0.prepare(
            "SELECT id, at_ms, instance, kind, service, state, words, code, signal FROM moment
             WHERE at_ms >= ?1 ORDER BY at_ms, id",
        )?;
        let rows = statement.query_map([since_ms], moment)?;
        rows.collect()
    }

    /// The states of a service since a time, oldest first; the one it was in then comes first.
    pub fn spells(&self, service: &str, since_ms: i64) -> rusqlite::Result<Vec<Spell>> {
        let mut statement = self.0.prepare(
            "SELECT at_ms, state, words FROM moment
             WHERE service = ?1 AND kind = 'state' AND at_ms >= coalesce(
                 (SELECT max(at_ms) FROM moment
                  WHERE service = ?1 AND kind = 'state' AND at_ms <= ?2), ?2)
             ORDER BY at_ms, id LIMIT ?3",
        )?;
        let rows = statement.query_map(params![service, since_ms, MAX_SPELLS], |row| {
            Ok(Spell {
                from_ms: row.get(0)?,
                state: row.get(1)?,
                words: row.get(2)?,
            })
        })?;
        rows.collect()
    }

    /// How often each service was started again since a time.
    pub fn restarts_since(&self, since_ms: i64) -> rusqlite::Result<BTreeMap<String, u64>> {
        let mut statement = self.0.prepare(
            "SELECT service, count(*) FROM moment WHERE kind = 'restart' AND at_ms >= ?1
             GROUP BY service",
        )?;
        let rows = statement.query_map([since_ms], |row| {
            let count: i64 = row.get(1)?;
            Ok((row.get(0)?, u64::try_from(count).unwrap_or(0)))
        })?;
        rows.collect()
    }

    /// The boots, newest first.
    pub fn boots(&self) -> rusqlite::Result<Vec<Boot>> {
        let mut statement = self.0.prepare(
            "SELECT instance, at_ms, report, restored FROM boot ORDER BY at_ms DESC LIMIT ?1",
        )?;
        let rows = statement.query_map([MAX_BOOTS], |row| {
            Ok(Boot {
                instance: row.get(0)?,
                at_ms: row.get(1)?,
                report: row.get(2)?,
                restored: row.get(3)?,
            })
        })?;
        rows.collect()
    }
}

fn moment(row: &Row<'_>) -> rusqlite::Result<Moment> {
    let at_ms = row.get(1)?;
    Ok(Moment {
        id: row.get(0)?,
        at: herm_wire::time::rfc3339(at_ms),
        at_ms,
        instance: row.get(2)?,
        kind: row.get(3)?,
        service: row.get(4)?,
        state: row.get(5)?,
        words: row.get(6)?,
        code: row.get(7)?,
        signal: row.get(8)?,
    })
}
