//! New lines of a log as they come. All who watch one log share one reader; while nobody watches
//! there is none. It looks at the file's size from time to time: inotify instances are few per user,
//! and gateways and the keeper need them more.

use std::collections::HashMap;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::broadcast;

use herm_home::kept::{CURRENT, Held, HeldFile, Opened};

use super::read::{MAX_LINE, RawLine, parse};
use super::{LogLine, show};

/// Between two looks at a log that is watched.
const INTERVAL: Duration = Duration::from_millis(400);
/// Chunks kept for a reader that is slower than they come.
const FEED_LENGTH: usize = 64;
/// Most bytes read of a log per look. What a log grows by beyond that is passed over, and said.
const MAX_BYTES_PER_LOOK: u64 = 512 * 1024;

/// What was written since the last look.
#[derive(Debug, Clone)]
pub(crate) struct Chunk {
    /// The lines, for the API.
    pub(crate) lines: Vec<LogLine>,
    /// The lines as HTML.
    pub(crate) html: String,
}

/// The logs that are watched.
#[derive(Debug, Default)]
pub(crate) struct Feeds {
    by_dir: Mutex<HashMap<PathBuf, broadcast::Sender<Arc<Chunk>>>>,
}

impl Feeds {
    /// What is written to this log from now on.
    pub(crate) fn watch(self: &Arc<Self>, dir: &Path) -> broadcast::Receiver<Arc<Chunk>> {
        let mut by_dir = self.by_dir.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = by_dir.get(dir) {
            return sender.subscribe();
        }
        let sender = broadcast::Sender::new(FEED_LENGTH);
        let receiver = sender.subscribe();
        by_dir.insert(dir.to_path_buf(), sender.clone());
        tokio::spawn(self.clone().follow(dir.to_path_buf(), sender));
        receiver
    }

    async fn follow(self: Arc<Self>, dir: PathBuf, sender: broadcast::Sender<Arc<Chunk>>) {
        let mut tail = Tail::at_end(&dir);
        loop {
            tokio::time::sleep(INTERVAL).await;
            {
                let mut by_dir = self.by_dir.lock().unwrap_or_else(PoisonError::into_inner);
                if sender.receiver_count() == 0 {
                    by_dir.remove(&dir);
                    return;
                }
            }
            let looked = tokio::task::spawn_blocking(move || {
                let lines = tail.look();
                (tail, lines)
            });
            let Ok((back, lines)) = looked.await else {
                return;
            };
            tail = back;
            if lines.is_empty() {
                continue;
            }
            let html = lines.iter().map(|line| show(line).into_string()).collect();
            let _ = sender.send(Arc::new(Chunk { lines, html }));
        }
    }
}

/// How far a log was read.
#[derive(Debug)]
struct Tail {
    dir: PathBuf,
    file: Option<Opened>,
    inode: u64,
    offset: u64,
    /// A line whose end has not come yet.
    pending: RawLine,
    /// The newest rotated file's name while this one is `current`.
    newest: String,
}

impl Tail {
    fn at_end(dir: &Path) -> Self {
        let mut tail = Self {
            dir: dir.to_path_buf(),
            file: None,
            inode: 0,
            offset: 0,
            pending: RawLine::default(),
            newest: String::new(),
        };
        // What can't be read now may be later.
        let held = Held::of(dir).unwrap_or_default();
        held.newest_rotated().clone_into(&mut tail.newest);
        if let Some(current) = held.current()
            && tail.turn_to(current).is_ok()
        {
            tail.offset = held.end();
        }
        tail
    }

    /// Reads this file from its beginning from now on.
    fn turn_to(&mut self, file: &HeldFile) -> io::Result<()> {
        self.inode = file.inode()?;
        self.file = Some(file.read()?);
        self.offset = 0;
        self.pending = RawLine::default();
        Ok(())
    }

    fn look(&mut self) -> Vec<LogLine> {
        let mut lines = Vec::new();
        self.read_on(&mut lines);
        let current = self.dir.join(CURRENT);
        let now = std::fs::symlink_metadata(current).map_or(0, |meta| meta.ino());
        if now != 0 && now != self.inode {
            // What can't be read is looked at again the next time.
            let _ = self.go_on(&mut lines);
        }
        lines
    }

    /// It was rotated, once or more often: what was written to the old file after we read it comes
    /// first, and then what began after it.
    fn go_on(&mut self, lines: &mut Vec<LogLine>) -> io::Result<()> {
        let held = Held::of(&self.dir)?;
        let newest = held.newest_rotated().to_owned();
        self.read_on(lines);
        for file in held.after(self.file.as_mut(), &self.newest)? {
            self.turn_to(&file)?;
            self.read_on(lines);
        }
        self.newest = newest;
        Ok(())
    }

    fn read_on(&mut self, lines: &mut Vec<LogLine>) {
        let Some(file) = &mut self.file else { return };
        let length = file.length().unwrap_or(0);
        if length < self.offset {
            // Somebody emptied it.
            self.offset = 0;
            self.pending = RawLine::default();
        }
        if length - self.offset > MAX_BYTES_PER_LOOK {
            let skipped = length - self.offset - MAX_BYTES_PER_LOOK;
            self.offset += skipped;
            self.pending = RawLine::default();
            lines.push(LogLine {
                at: String::new(),
                line: format!(
                    "… {} passed over: the log grows too fast to be shown",
                    crate::words::bytes(skipped)
                ),
                cut_bytes: 0,
            });
        }
        let mut new = Vec::new();
        if file.seek(SeekFrom::Start(self.offset)).is_err()
            || file.take(MAX_BYTES_PER_LOOK).read_to_end(&mut new).is_err()
        {
            return;
        }
        self.offset += new.len() as u64;
        let mut pieces = new.split(|byte| *byte == b'\n').peekable();
        while let Some(piece) = pieces.next() {
            let room = MAX_LINE.saturating_sub(self.pending.head.len());
            self.pending
                .head
                .extend_from_slice(piece.get(..piece.len().min(room)).unwrap_or_default());
            self.pending.length += piece.len() as u64;
            if pieces.peek().is_some() {
                lines.push(parse(&std::mem::take(&mut self.pending)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io::Write as _;

    use super::*;

    fn append(path: &Path, bytes: &[u8]) {
        let mut file = File::options()
            .append(true)
            .create(true)
            .open(path)
            .unwrap();
        file.write_all(bytes).unwrap();
    }

    fn texts(lines: &[LogLine]) -> Vec<&str> {
        lines.iter().map(|line| line.line.as_str()).collect()
    }

    #[test]
    fn new_lines_are_followed_through_a_rotation() {
        let dir = tempfile::tempdir().unwrap();
        let current = dir.path().join(CURRENT);
        append(&current, b"old\n");
        let mut tail = Tail::at_end(dir.path());
        append(&current, b"two\nthr");
        assert_eq!(texts(&tail.look()), ["two"]);
        append(&current, b"ee\n");
        fs::rename(&current, dir.path().join("1.log")).unwrap();
        append(&current, b"four\n");
        assert_eq!(texts(&tail.look()), ["three", "four"]);
        append(&current, b"five\n");
        fs::rename(&current, dir.path().join("2.log")).unwrap();
        append(&current, b"six\n");
        fs::rename(&current, dir.path().join("3.log")).unwrap();
        append(&current, b"seven\n");
        assert_eq!(texts(&tail.look()), ["five", "six", "seven"]);
        assert!(tail.look().is_empty());
    }

    #[test]
    fn what_comes_too_fast_is_passed_over_and_said() {
        let dir = tempfile::tempdir().unwrap();
        let current = dir.path().join(CURRENT);
        append(&current, b"");
        let mut tail = Tail::at_end(dir.path());
        append(&current, &vec![b'x'; 3_000_000]);
        append(&current, b"\nlast\n");
        let lines = tail.look();
        assert!(lines[0].line.contains("passed over"));
        assert!(lines.iter().all(|line| line.line.len() <= MAX_LINE));
        assert_eq!(lines.last().unwrap().line, "last");
    }
}
