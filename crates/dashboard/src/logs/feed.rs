//! New lines of a log as they come. All who watch one log share one reader; while nobody watches
//! there is none. It looks at the file's size from time to time: inotify instances are few per user,
//! and gateways and the keeper need them more.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::broadcast;

use herm_home::kept::{CURRENT, open};

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
    path: PathBuf,
    file: Option<File>,
    inode: u64,
    offset: u64,
    /// A line whose end has not come yet.
    pending: RawLine,
}

impl Tail {
    fn at_end(dir: &Path) -> Self {
        let mut tail = Self {
            path: dir.join(CURRENT),
            file: None,
            inode: 0,
            offset: 0,
            pending: RawLine::default(),
        };
        tail.open();
        let length = tail.file.as_ref().and_then(|file| file.metadata().ok());
        tail.offset = length.map_or(0, |meta| meta.len());
        tail
    }

    fn open(&mut self) {
        self.file = open(&self.path).ok().flatten();
        let meta = self.file.as_ref().and_then(|file| file.metadata().ok());
        self.inode = meta.map_or(0, |meta| meta.ino());
        self.offset = 0;
    }

    fn look(&mut self) -> Vec<LogLine> {
        let mut lines = Vec::new();
        self.read_on(&mut lines);
        let now = std::fs::symlink_metadata(&self.path).map_or(0, |meta| meta.ino());
        if now != 0 && now != self.inode {
            // Rotated: what was written to the old file after we read it came first.
            self.read_on(&mut lines);
            self.pending = RawLine::default();
            self.open();
            self.read_on(&mut lines);
        }
        lines
    }

    fn read_on(&mut self, lines: &mut Vec<LogLine>) {
        let Some(file) = &mut self.file else { return };
        let length = file.metadata().map_or(0, |meta| meta.len());
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
    use std::fs;
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
        fs::rename(&current, dir.path().join("x.log")).unwrap();
        append(&current, b"four\n");
        assert_eq!(texts(&tail.look()), ["three", "four"]);
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
