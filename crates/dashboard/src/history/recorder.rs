//! Writing the history: a thread with a queue, so that a slow disk delays nobody.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use herm_home::files::{Dir, PRIVATE, PRIVATE_DIR};
use herm_home::layout::HERM_DIR;
use herm_wire::verdict::state_word;
use herm_wire::{BootReport, Desired, EventBody, ServiceView, State};
use rusqlite::{Connection, OpenFlags, params};

use super::{FILE, MAX_AGE_MS, MAX_BOOTS, MAX_MOMENTS, MAX_PAGES, REACH, TABLES, VERSION};
use crate::words::{now_ms, unix_ms};

/// Entries that wait to be written; beyond that they are dropped: a history with a gap is better
/// than a keeper that waits.
const QUEUE: usize = 4096;
/// How long entries are gathered into one transaction.
const GATHER: Duration = Duration::from_millis(250);
/// Between two tries to open a file that could not be opened.
const TRY_AGAIN: Duration = Duration::from_secs(60);
/// Entries after which what is too old is removed.
const PRUNE_EVERY: u64 = 500;
/// How long a writer waits for a reader.
const BUSY: Duration = Duration::from_secs(5);

/// Something to keep.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// Something happened to a service.
    Moment {
        /// When, in milliseconds since 1970.
        at_ms: i64,
        /// The run of the supervisor.
        instance: String,
        /// `state`, `exit`, `restart` or `order`.
        kind: &'static str,
        /// The service.
        service: String,
        /// The state it was in then.
        state: &'static str,
        /// Why, in words.
        words: String,
        /// Exit code, for an exit.
        code: Option<u8>,
        /// Signal, for an exit.
        signal: Option<u8>,
        /// What tells it from others, where it may be told twice.
        key: Option<String>,
    },
    /// The supervisor has come up.
    Boot {
        /// When, in milliseconds since 1970.
        at_ms: i64,
        /// The run of the supervisor.
        instance: String,
        /// The boot's report as JSON.
        report: String,
        /// What was restored, a line per profile.
        restored: String,
    },
}

/// What is kept together, or not at all.
#[derive(Debug, Default)]
struct Told {
    entries: Vec<Entry>,
    /// The event of which it tells: the run of the supervisor, and the event's number.
    event: Option<(String, u64)>,
}

/// The queue's end that takes entries.
#[derive(Debug, Clone)]
pub struct Recorder(SyncSender<Told>);

impl Recorder {
    /// Starts the writer for the home at this path. Nothing that goes wrong with it later is the
    /// caller's trouble; it is said on standard output once.
    pub fn start(home: &Path) -> Self {
        let (sender, receiver) = sync_channel(QUEUE);
        let home = home.to_path_buf();
        let spawned = thread::Builder::new()
            .name("history".into())
            .spawn(move || Writer::new(home).run(&receiver));
        if let Err(error) = spawned {
            println!("history: it is not kept: {error}");
        }
        Self(sender)
    }

    /// Keeps what an event means, where these services were known; and that the history reaches up to it.
    pub fn event(
        &self,
        (instance, seq): (&str, u64),
        known: &BTreeMap<String, ServiceView>,
        event: &EventBody,
    ) {
        self.keep(Told {
            entries: of_event(instance, known, event),
            event: Some((instance.to_owned(), seq)),
        });
    }

    /// Keeps a boot. Told again, it replaces what was told before, and keeps its time.
    pub fn boot(&self, instance: &str, report: &BootReport, restored: &[String]) {
        let boot = Entry::Boot {
            at_ms: now_ms(),
            instance: instance.to_owned(),
            report: serde_json::to_string(report).unwrap_or_else(|_| "{}".into()),
            restored: restored.join("\n"),
        };
        self.keep(Told {
            entries: vec![boot],
            event: None,
        });
    }

    /// Unless too many wait already.
    fn keep(&self, told: Told) {
        match self.0.try_send(told) {
            Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
        }
    }
}

fn of_event(
    instance: &str,
    known: &BTreeMap<String, ServiceView>,
    event: &EventBody,
) -> Vec<Entry> {
    // What another instance runs that one keeps, in this same file.
    let is_ours = |view: &&ServiceView| view.state != State::Remote;
    let change = |new: &ServiceView| {
        let old = known.get(&new.name).filter(is_ours);
        Some(new)
            .filter(is_ours)
            .map(|new| changes(instance, old, new))
            .unwrap_or_default()
    };
    match event {
        EventBody::Snapshot(snapshot) => snapshot.services.iter().flat_map(change).collect(),
        EventBody::Changed { service } => change(service),
        EventBody::Removed { name, .. } => vec![Entry::Moment {
            at_ms: now_ms(),
            instance: instance.to_owned(),
            kind: "state",
            service: name.clone(),
            state: "removed",
            words: "unregistered".to_owned(),
            code: None,
            signal: None,
            key: None,
        }],
        _ => Vec::new(),
    }
}

/// What is worth keeping of a change.
fn changes(instance: &str, old: Option<&ServiceView>, new: &ServiceView) -> Vec<Entry> {
    let moment = |kind: &'static str, at: &str, words: String| Entry::Moment {
        at_ms: unix_ms(at).unwrap_or_else(now_ms),
        instance: instance.to_owned(),
        kind,
        service: new.name.clone(),
        state: state_word(new.state),
        words,
        code: None,
        signal: None,
        key: None,
    };
    let mut entries = Vec::new();
    if let Some(exit) = &new.last_exit
        && old.and_then(|old| old.last_exit.as_ref()) != Some(exit)
        && (exit.code.is_some() || exit.signal.is_some())
    {
        entries.push(Entry::Moment {
            at_ms: unix_ms(&exit.at).unwrap_or_else(now_ms),
            instance: instance.to_owned(),
            kind: "exit",
            service: new.name.clone(),
            state: state_word(new.state),
            words: format!("after {}", crate::words::span(exit.after_s)),
            code: exit.code,
            signal: exit.signal,
            key: Some(format!("{instance} {} {}", new.name, exit.at)),
        });
    }
    let Some(old) = old else {
        entries.push(moment("state", &new.since, new.reason.clone()));
        return entries;
    };
    if new.restarts > old.restarts {
        let now = herm_home::clock::rfc3339(SystemTime::now());
        entries.push(moment("restart", &now, new.reason.clone()));
    }
    if old.desired != new.desired {
        let words = match new.desired {
            Desired::Up => "wanted up",
            Desired::Down => "wanted down",
        };
        entries.push(moment("order", &new.since, words.to_owned()));
    }
    let unhealthy = |view: &ServiceView| view.health.as_deref() == Some("unhealthy");
    if old.state != new.state || unhealthy(old) != unhealthy(new) {
        let words = match &new.health {
            Some(health) if health != "healthy" => format!("{}; {health}", new.reason),
            _ => new.reason.clone(),
        };
        entries.push(moment("state", &new.since, words));
    }
    entries
}

struct Writer {
    home: PathBuf,
    written: u64,
    said: bool,
}

impl Writer {
    fn new(home: PathBuf) -> Self {
        Self {
            home,
            written: 0,
            said: false,
        }
    }

    fn run(&mut self, entries: &Receiver<Told>) {
        let mut connection = None;
        let mut retry_at: Option<Instant> = None;
        while let Ok(first) = entries.recv() {
            if retry_at.is_some_and(|at| Instant::now() < at) {
                // A history with a gap is better than one that fills the memory.
                continue;
            }
            let mut batch = vec![first];
            let until = Instant::now() + GATHER;
            loop {
                let left = until.saturating_duration_since(Instant::now());
                match entries.recv_timeout(left) {
                    Ok(entry) if batch.len() < QUEUE => batch.push(entry),
                    Ok(_) | Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                        break;
                    }
                }
            }
            if !self.home.join(HERM_DIR).join(FILE).exists() {
                // Deleted, or not made yet: begun anew.
                connection = None;
            }
            let outcome = match connection.take() {
                Some(open) => Ok(open),
                None => open(&self.home),
            };
            let outcome = outcome.and_then(|mut open| {
                self.write(&mut open, &batch)
                    .map_err(|error| error.to_string())?;
                Ok(open)
            });
            match outcome {
                Ok(open) => connection = Some(open),
                Err(why) => {
                    self.say(&why);
                    retry_at = Some(Instant::now() + TRY_AGAIN);
                }
            }
        }
    }

    fn say(&mut self, why: &str) {
        if !self.said {
            println!("history: it is not kept for now: {why}");
            self.said = true;
        }
    }

    fn write(&mut self, connection: &mut Connection, batch: &[Told]) -> rusqlite::Result<()> {
        let transaction = connection.transaction()?;
        let mut reach = BTreeMap::new();
        for told in batch {
            for entry in &told.entries {
                insert(&transaction, entry)?;
            }
            self.written += told.entries.len() as u64;
            if let Some((instance, seq)) = &told.event {
                reach.insert(instance, *seq);
            }
        }
        for (instance, seq) in reach {
            let seq = i64::try_from(seq).unwrap_or(i64::MAX);
            transaction.execute(
                "INSERT OR REPLACE INTO reach (instance, seq) VALUES (?1, ?2)",
                params![instance, seq],
            )?;
        }
        if self.written >= PRUNE_EVERY {
            self.written = 0;
            prune(&transaction, now_ms())?;
        }
        transaction.commit()
    }
}

fn insert(connection: &Connection, entry: &Entry) -> rusqlite::Result<()> {
    match entry {
        Entry::Moment {
            at_ms,
            instance,
            kind,
            service,
            state,
            words,
            code,
            signal,
            key,
        } => {
            connection
                .prepare_cached(
                    "INSERT OR IGNORE INTO moment
                     (at_ms, instance, kind, service, state, words, code, signal, key)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                )?
                .execute(params![
                    at_ms, instance, kind, service, state, words, code, signal, key
                ])?;
        }
        Entry::Boot {
            at_ms,
            instance,
            report,
            restored,
        } => {
            connection
                .prepare_cached(
                    "INSERT INTO boot (instance, at_ms, report, restored) VALUES (?1, ?2, ?3, ?4)
                     ON CONFLICT (instance) DO UPDATE SET report = excluded.report,
                     restored = CASE excluded.restored WHEN '' THEN restored ELSE excluded.restored END",
                )?
                .execute(params![instance, at_ms, report, restored])?;
        }
    }
    Ok(())
}

fn prune(connection: &Connection, now_ms: i64) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM moment WHERE at_ms < ?1", [now_ms - MAX_AGE_MS])?;
    connection.execute(
        "DELETE FROM moment WHERE id <= (SELECT max(id) FROM moment) - ?1",
        [MAX_MOMENTS],
    )?;
    connection.execute(
        "DELETE FROM boot WHERE instance NOT IN (SELECT instance FROM boot ORDER BY at_ms DESC LIMIT ?1)",
        [MAX_BOOTS],
    )?;
    connection.execute(
        "DELETE FROM reach WHERE rowid <= (SELECT max(rowid) FROM reach) - ?1",
        [MAX_BOOTS],
    )?;
    connection.execute_batch("PRAGMA incremental_vacuum")
}

/// Opens the home's history for writing, made private before SQLite has it. One that is no history
/// is set aside.
fn open(home: &Path) -> Result<Connection, String> {
    match try_open(home) {
        Ok(connection) => Ok(connection),
        Err(why) if why.is_foreign => {
            let dir = directory(home)?;
            dir.rename_over(FILE, &format!("{FILE}.corrupt"))
                .map_err(|e| e.to_string())?;
            try_open(home).map_err(|again| again.text)
        }
        Err(why) => Err(why.text),
    }
}

/// Why a file can't be used, and whether another one in its place could be.
struct Unusable {
    text: String,
    is_foreign: bool,
}

impl From<rusqlite::Error> for Unusable {
    fn from(error: rusqlite::Error) -> Self {
        let code = error.sqlite_error_code();
        let is_foreign = matches!(
            code,
            Some(rusqlite::ErrorCode::NotADatabase | rusqlite::ErrorCode::DatabaseCorrupt)
        );
        Self {
            text: error.to_string(),
            is_foreign,
        }
    }
}

impl From<String> for Unusable {
    fn from(text: String) -> Self {
        Self {
            text,
            is_foreign: false,
        }
    }
}

fn directory(home: &Path) -> Result<Dir, String> {
    let root = Dir::open(home).map_err(|error| error.to_string())?;
    root.ensure_child(HERM_DIR, PRIVATE_DIR)
        .map_err(|error| error.to_string())
}

fn try_open(home: &Path) -> Result<Connection, Unusable> {
    let dir = directory(home)?;
    if !dir.exists(FILE) {
        dir.write_atomic(FILE, b"", PRIVATE)
            .map_err(|error| error.to_string())?;
    }
    let home = home.canonicalize().map_err(|error| error.to_string())?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let connection = Connection::open_with_flags(home.join(HERM_DIR).join(FILE), flags)?;
    connection.busy_timeout(BUSY)?;
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables == 0 {
        connection.execute_batch("PRAGMA auto_vacuum = INCREMENTAL; BEGIN;")?;
        connection.execute_batch(TABLES)?;
        connection.execute_batch("COMMIT")?;
    } else if version != VERSION {
        return Err(Unusable {
            text: format!("it has layout {version}, this is for layout {VERSION}"),
            is_foreign: true,
        });
    }
    connection.execute_batch(REACH)?;
    // No write-ahead log: it needs shared memory, which network file systems lack. A lost last
    // transaction is no harm.
    connection.execute_batch(&format!(
        "PRAGMA journal_mode = TRUNCATE; PRAGMA synchronous = NORMAL; PRAGMA max_page_count = {MAX_PAGES};"
    ))?;
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use herm_home::Home;
    use herm_wire::{Kind, LastExit};

    use super::super::Reader;
    use super::*;

    fn running() -> ServiceView {
        let mut view = ServiceView::named("gateway-a", Kind::Gateway);
        view.since = "2026-11-20T20:00:00.000Z".into();
        view.state = State::Running;
        view
    }

    fn failed() -> ServiceView {
        let mut view = running();
        view.state = State::Backoff;
        view.reason = "exit 1".into();
        view.restarts = 1;
        view.last_exit = Some(LastExit {
            code: Some(1),
            signal: None,
            at: "2026-11-20T20:00:10.000Z".into(),
            after_s: 10.0,
        });
        view
    }

    fn kinds(entries: &[Entry]) -> Vec<&str> {
        let kind = |entry: &Entry| match entry {
            Entry::Moment { kind, .. } => *kind,
            Entry::Boot { .. } => "boot",
        };
        entries.iter().map(kind).collect()
    }

    #[test]
    fn a_change_is_kept_as_what_it_means_and_no_change_as_nothing() {
        assert_eq!(kinds(&changes("i", None, &running())), ["state"]);
        assert_eq!(
            kinds(&changes("i", Some(&running()), &failed())),
            ["exit", "restart", "state"]
        );
        assert!(changes("i", Some(&failed()), &failed()).is_empty());
        let mut healthy = running();
        healthy.health = Some("healthy".into());
        assert!(changes("i", Some(&running()), &healthy).is_empty());
    }

    fn write(home: &Path, entries: &[Entry]) {
        let told = Told {
            entries: entries.to_vec(),
            event: None,
        };
        write_told(home, &[told]);
    }

    fn write_told(home: &Path, told: &[Told]) {
        let mut connection = open(home).unwrap();
        Writer::new(home.to_path_buf())
            .write(&mut connection, told)
            .unwrap();
    }

    #[test]
    fn it_says_up_to_which_event_of_a_run_it_tells() {
        let dir = tempfile::tempdir().unwrap();
        let reach = |instance: &str| {
            let reader = Reader::open(&Home::new(dir.path())).unwrap().unwrap();
            reader.freeze(instance).unwrap()
        };
        let told = |seq| Told {
            entries: Vec::new(),
            event: Some(("i".to_owned(), seq)),
        };
        write_told(dir.path(), &[told(3), told(4)]);
        assert_eq!((reach("i"), reach("another")), (4, 0));
        write_told(dir.path(), &[told(7)]);
        assert_eq!(reach("i"), 7);
        let connection = open(dir.path()).unwrap();
        connection.execute_batch("DROP TABLE reach").unwrap();
        assert_eq!(reach("i"), 0, "of before it was told");
    }

    #[test]
    fn an_event_is_kept_as_what_it_means_for_the_services_that_were_known() {
        let known: BTreeMap<String, ServiceView> = [running()]
            .into_iter()
            .map(|view| (view.name.clone(), view))
            .collect();
        let changed = EventBody::Changed {
            service: Box::new(failed()),
        };
        let kept = of_event("i", &known, &changed);
        assert_eq!(kinds(&kept), ["exit", "restart", "state"]);
        let removed = EventBody::Removed {
            name: "gateway-a".into(),
            withdrawn: false,
        };
        assert_eq!(kinds(&of_event("i", &known, &removed)), ["state"]);
        assert!(of_event("i", &known, &EventBody::Booted).is_empty());
    }

    #[test]
    fn what_another_instance_runs_is_left_for_that_one_to_keep() {
        let mut elsewhere = running();
        elsewhere.state = State::Remote;
        let changed = |view: ServiceView| EventBody::Changed {
            service: Box::new(view),
        };
        let mut known = BTreeMap::new();
        assert!(of_event("i", &known, &changed(elsewhere.clone())).is_empty());
        known.insert(elsewhere.name.clone(), elsewhere);
        let taken_over = of_event("i", &known, &changed(running()));
        assert_eq!(kinds(&taken_over), ["state"]);
    }

    #[test]
    fn an_exit_that_is_told_twice_is_kept_once_and_the_file_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let entries = changes("i", Some(&running()), &failed());
        write(dir.path(), &entries);
        write(dir.path(), &entries);
        let reader = Reader::open(&Home::new(dir.path())).unwrap().unwrap();
        let exits = reader.moments(Some("gateway-a"), i64::MAX, 100).unwrap();
        assert_eq!(
            exits.iter().filter(|moment| moment.kind == "exit").count(),
            1
        );
        let mode = fs::metadata(dir.path().join(".herm/history.db"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn what_happened_since_a_time_is_told_in_order() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &changes("i", None, &running()));
        write(dir.path(), &changes("i", Some(&running()), &failed()));
        let reader = Reader::open(&Home::new(dir.path())).unwrap().unwrap();
        let all = reader.moments_since(0).unwrap();
        assert!(all.is_sorted_by_key(|moment| moment.at_ms) && all.len() == 4);
        assert_eq!(all[0].at, "2026-11-20T20:00:00.000Z");
        let later = reader.moments_since(all[0].at_ms + 1).unwrap();
        assert!(later.iter().all(|moment| moment.id != all[0].id));
    }

    #[test]
    fn what_a_killed_writer_left_half_done_is_taken_back_by_who_reads() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &changes("i", None, &running()));
        let connection = open(dir.path()).unwrap();
        connection
            .execute_batch("PRAGMA cache_size = 1; BEGIN")
            .unwrap();
        for _ in 0..500 {
            for entry in changes("i", None, &running()) {
                insert(&connection, &entry).unwrap();
            }
        }
        // What is on the disk now is what a kill would leave there.
        let killed = tempfile::tempdir().unwrap();
        fs::create_dir(killed.path().join(".herm")).unwrap();
        for file in [".herm/history.db", ".herm/history.db-journal"] {
            let bytes = fs::copy(dir.path().join(file), killed.path().join(file)).unwrap();
            assert!(bytes > 0, "{file}");
        }
        let reader = Reader::open(&Home::new(killed.path())).unwrap().unwrap();
        assert_eq!(reader.moments_since(0).unwrap().len(), 1);
    }

    #[test]
    fn a_file_that_is_no_history_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(".herm")).unwrap();
        fs::write(dir.path().join(".herm/history.db"), "x".repeat(5000)).unwrap();
        write(dir.path(), &changes("i", None, &running()));
        assert!(dir.path().join(".herm/history.db.corrupt").exists());
    }

    #[test]
    fn what_is_too_old_or_too_much_goes() {
        let dir = tempfile::tempdir().unwrap();
        let connection = open(dir.path()).unwrap();
        for at_ms in [0, now_ms()] {
            let mut entries = changes("i", None, &running());
            if let Some(Entry::Moment { at_ms: at, .. }) = entries.first_mut() {
                *at = at_ms;
            }
            for entry in &entries {
                insert(&connection, entry).unwrap();
            }
        }
        prune(&connection, now_ms()).unwrap();
        let left: i64 = connection
            .query_row("SELECT count(*) FROM moment", [], |row| row.get(0))
            .unwrap();
        assert_eq!(left, 1);
    }

    #[test]
    fn the_writer_begins_anew_when_the_file_is_deleted_under_it() {
        let dir = tempfile::tempdir().unwrap();
        let recorder = Recorder::start(dir.path());
        let home = Home::new(dir.path());
        for _ in 0..2 {
            let changed = EventBody::Changed {
                service: Box::new(running()),
            };
            recorder.event(("i", 1), &BTreeMap::new(), &changed);
            // Another thread and SQLite: there is no event to wait for.
            while Reader::open(&home)
                .ok()
                .flatten()
                .and_then(|reader| reader.moments(None, i64::MAX, 9).ok())
                .is_none_or(|moments| moments.is_empty())
            {
                thread::yield_now();
            }
            fs::remove_file(dir.path().join(".herm/history.db")).unwrap();
        }
    }
}
