//! What was said in each session, kept in SQLite under the profile.
//!
//! A session is a list of turns; a turn is what the client added and what the assistant replied,
//! written together once the reply is complete. Write-ahead logging with full synchronisation:
//! a turn that was answered survives `SIGKILL` and power loss. Everything is bounded, the oldest
//! goes first.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use herm_home::clock;
use rusqlite::{Connection, ErrorCode, Transaction, params};
use serde_json::Value;

use crate::conversation::role;
use crate::log;

/// The layout below. A file with a higher number was made by a newer herm.
const LAYOUT: i64 = 1;
const MAX_SESSIONS: i64 = 1000;
const MAX_TURNS: i64 = 200;
const MAX_SESSION_BYTES: i64 = 4 << 20;
/// Of one turn, images included; a larger one is not remembered.
const MAX_TURN_BYTES: usize = 2 << 20;
/// Of a session that goes with a new request (about 100,000 tokens); its last turn always does.
const MAX_HISTORY_BYTES: usize = 400_000;
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS sessions (
        id TEXT PRIMARY KEY,
        used_at INTEGER NOT NULL
    );
    CREATE INDEX IF NOT EXISTS sessions_by_use ON sessions (used_at);
    CREATE TABLE IF NOT EXISTS turns (
        id INTEGER PRIMARY KEY,
        session TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
        at INTEGER NOT NULL,
        messages TEXT NOT NULL
    );
    CREATE INDEX IF NOT EXISTS turns_by_session ON turns (session, id);
";

/// Why a session could not be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    #[error("{0}")]
    Database(#[from] rusqlite::Error),
    #[error("{0}")]
    File(#[from] io::Error),
    #[error("the database was made by a newer version of herm (layout {0})")]
    Newer(i64),
    #[error("a turn of {0} bytes is too large to be remembered")]
    TooLarge(usize),
    #[error("the work was abandoned")]
    Abandoned,
}

impl SessionError {
    fn is_corruption(&self) -> bool {
        matches!(
            self,
            Self::Database(rusqlite::Error::SqliteFailure(error, _))
                if matches!(error.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
        )
    }
}

/// The sessions of one profile. Opens its file at the first use.
#[derive(Debug, Clone)]
pub(crate) struct Sessions(Arc<Mutex<Store>>);

impl Sessions {
    /// The sessions in `sessions/herm.db` under `profile_dir`.
    pub(crate) fn new(profile_dir: &Path) -> Self {
        Self(Arc::new(Mutex::new(Store {
            file: profile_dir.join("sessions").join("herm.db"),
            connection: None,
        })))
    }

    /// The messages of a session, oldest first, as many whole turns as a request may carry.
    pub(crate) async fn history(&self, session: &str) -> Result<Vec<Value>, SessionError> {
        let session = session.to_owned();
        self.with(move |connection| history(connection, &session))
            .await
    }

    /// Adds a turn to a session, which begins with it if it is new.
    pub(crate) async fn append(
        &self,
        session: &str,
        messages: &[Value],
    ) -> Result<(), SessionError> {
        let session = session.to_owned();
        let messages = Value::from(messages).to_string();
        if messages.len() > MAX_TURN_BYTES {
            return Err(SessionError::TooLarge(messages.len()));
        }
        self.with(move |connection| append(connection, &session, &messages, SystemTime::now()))
            .await
    }

    /// Runs `work` where blocking is allowed; it ends even if nobody waits for it any more.
    async fn with<T, W>(&self, work: W) -> Result<T, SessionError>
    where
        T: Send + 'static,
        W: Fn(&mut Connection) -> Result<T, SessionError> + Send + 'static,
    {
        let store = self.0.clone();
        let task = tokio::task::spawn_blocking(move || {
            let mut store = store.lock().unwrap_or_else(PoisonError::into_inner);
            store.run(&work)
        });
        task.await.unwrap_or(Err(SessionError::Abandoned))
    }
}

/// A turn of a session that waits for its reply.
#[derive(Debug)]
pub(crate) struct Turn {
    sessions: Sessions,
    session: String,
    messages: Vec<Value>,
}

impl Turn {
    pub(crate) fn new(sessions: Sessions, session: String, messages: Vec<Value>) -> Self {
        Self {
            sessions,
            session,
            messages,
        }
    }

    pub(crate) fn session(&self) -> &str {
        &self.session
    }

    /// Writes the turn down. A reply that can't be remembered is still a reply.
    pub(crate) async fn end(mut self, reply: Value) {
        self.messages.push(reply);
        if let Err(error) = self.sessions.append(&self.session, &self.messages).await {
            log::warn(format_args!("a turn of a session was not kept: {error}"));
        }
    }
}

#[derive(Debug)]
struct Store {
    file: PathBuf,
    connection: Option<Connection>,
}

impl Store {
    /// Runs `work`, once more on a new file if the old one turns out to be corrupt.
    fn run<T>(
        &mut self,
        work: impl Fn(&mut Connection) -> Result<T, SessionError>,
    ) -> Result<T, SessionError> {
        let result = self.try_run(&work);
        match result {
            Err(error) if error.is_corruption() => {
                self.set_aside(&error, SystemTime::now())?;
                self.try_run(&work)
            }
            result => result,
        }
    }

    fn try_run<T>(
        &mut self,
        work: impl Fn(&mut Connection) -> Result<T, SessionError>,
    ) -> Result<T, SessionError> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            empty @ None => empty.insert(open(&self.file)?),
        };
        work(connection)
    }

    /// Keeps a corrupt database, with the files that belong to it, under another name.
    fn set_aside(&mut self, reason: &SessionError, now: SystemTime) -> io::Result<()> {
        self.connection = None;
        let suffix = format!(".corrupt-{}", clock::compact(now));
        for part in ["", "-wal", "-shm"] {
            let from = appended(&self.file, part);
            match std::fs::rename(&from, appended(&from, &suffix)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        log::warn(format_args!(
            "{} is corrupt ({reason}); it is kept with the suffix {suffix}, and sessions begin \
             anew",
            self.file.display()
        ));
        Ok(())
    }
}

fn appended(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn open(file: &Path) -> Result<Connection, SessionError> {
    if let Some(dir) = file.parent() {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)?;
    }
    // SQLite gives its companion files the mode of the first.
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(file)?;
    let connection = Connection::open(file)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // Answers with the mode it got, which is another where shared memory is not to be had.
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    let layout = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if layout > LAYOUT {
        return Err(SessionError::Newer(layout));
    }
    connection.execute_batch(SCHEMA)?;
    connection.pragma_update(None, "user_version", LAYOUT)?;
    Ok(connection)
}

fn history(connection: &mut Connection, session: &str) -> Result<Vec<Value>, SessionError> {
    let mut query = connection
        .prepare_cached("SELECT messages FROM turns WHERE session = ?1 ORDER BY id DESC")?;
    let mut rows = query.query([session])?;
    let mut turns: Vec<Vec<Value>> = Vec::new();
    let mut bytes = 0;
    while let Some(row) = rows.next()? {
        let text: String = row.get(0)?;
        bytes += text.len();
        if bytes > MAX_HISTORY_BYTES && !turns.is_empty() {
            break;
        }
        turns.push(serde_json::from_str(&text).unwrap_or_default());
    }
    // A tool's result must not come without the request for it, in a turn that was left out.
    let orphaned = |turn: &Vec<Value>| turn.first().and_then(role) == Some("tool");
    while turns.last().is_some_and(orphaned) {
        turns.pop();
    }
    Ok(turns.into_iter().rev().flatten().collect())
}

fn append(
    connection: &mut Connection,
    session: &str,
    messages: &str,
    now: SystemTime,
) -> Result<(), SessionError> {
    let at = clock::unix_seconds(now);
    let transaction = connection.transaction()?;
    transaction.execute(
        "INSERT INTO sessions (id, used_at) VALUES (?1, ?2)
         ON CONFLICT (id) DO UPDATE SET used_at = excluded.used_at",
        params![session, at],
    )?;
    transaction.execute(
        "INSERT INTO turns (session, at, messages) VALUES (?1, ?2, ?3)",
        params![session, at, messages],
    )?;
    forget_oldest(&transaction, session)?;
    transaction.commit()?;
    Ok(())
}

fn forget_oldest(transaction: &Transaction<'_>, session: &str) -> rusqlite::Result<()> {
    transaction.execute(
        "DELETE FROM turns WHERE id IN (
             SELECT id FROM (
                 SELECT id, row_number() OVER newest AS place,
                        sum(length(messages)) OVER newest AS bytes
                 FROM turns WHERE session = ?1
                 WINDOW newest AS (ORDER BY id DESC)
             ) WHERE place > ?2 OR bytes > ?3)",
        params![session, MAX_TURNS, MAX_SESSION_BYTES],
    )?;
    transaction.execute(
        "DELETE FROM sessions WHERE id IN (
             SELECT id FROM sessions ORDER BY used_at DESC, rowid DESC LIMIT -1 OFFSET ?1)",
        params![MAX_SESSIONS],
    )?;
    Ok(())
}

#[cfg(test)]
mod tests;
