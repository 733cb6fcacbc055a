//! New lines as they come, through rotations, woken by inotify and where that is blind by a look
//! from time to time.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;

use herm_home::kept::CURRENT;

use super::read::parse;
use super::{LogLine, Source};
use crate::failure::{Failure, Outcome};
use crate::watch::Watch;

/// Follows several logs.
pub(super) struct Follower {
    tails: Vec<Tail>,
    watch: Watch,
}

/// One log: the file that is `current` and how far it was read.
struct Tail {
    source: Source,
    file: Option<File>,
    inode: u64,
    offset: u64,
    /// The beginning of a line whose end has not come yet.
    rest: Vec<u8>,
}

impl Follower {
    /// Begins at the end of what is written now.
    pub(super) fn new(sources: &[Source]) -> Outcome<Self> {
        let mut watch = Watch::new()?;
        let mut tails = Vec::new();
        for source in sources {
            watch.follow_dir(&source.dir)?;
            let mut tail = Tail {
                source: source.clone(),
                file: None,
                inode: 0,
                offset: 0,
                rest: Vec::new(),
            };
            tail.open()?;
            tail.offset = tail
                .file
                .as_ref()
                .and_then(|file| file.metadata().ok())
                .map_or(0, |meta| meta.len());
            tails.push(tail);
        }
        Ok(Self { tails, watch })
    }

    /// Where following begins in a source's `current`.
    pub(super) fn position(&self, source: &Source) -> Option<u64> {
        self.tails
            .iter()
            .find(|tail| tail.source == *source)
            .map(|tail| tail.offset)
    }

    /// The lines that have come since the last call, in the order of their times; doesn't wait.
    pub(super) fn take(&mut self) -> Outcome<Vec<LogLine>> {
        let mut lines = Vec::new();
        for tail in &mut self.tails {
            lines.extend(tail.read_on()?);
        }
        lines.sort_by(|a, b| a.at.cmp(&b.at));
        Ok(lines)
    }

    /// Hands on new lines until printing fails or the process is interrupted.
    pub(super) fn run(mut self, mut print: impl FnMut(&[LogLine]) -> Outcome) -> Outcome {
        loop {
            print(&self.take()?)?;
            for tail in &self.tails {
                self.watch.follow_dir(&tail.source.dir)?;
            }
            self.watch.wait()?;
        }
    }
}

impl Tail {
    fn open(&mut self) -> Outcome {
        let path = self.source.dir.join(CURRENT);
        self.file = File::open(&path).ok();
        self.offset = 0;
        let meta = self.file.as_ref().map(File::metadata).transpose();
        self.inode = meta
            .map_err(|error| Failure::file("read", &path, &error))?
            .map_or(0, |meta| meta.ino());
        Ok(())
    }

    fn read_on(&mut self) -> Outcome<Vec<LogLine>> {
        let mut lines = self.read_file()?;
        let now_current =
            std::fs::metadata(self.source.dir.join(CURRENT)).map_or(0, |meta| meta.ino());
        if now_current != 0 && now_current != self.inode {
            // Rotated: what was written to the old file after we read it comes first.
            lines.extend(self.read_file()?);
            self.rest.clear();
            self.open()?;
            lines.extend(self.read_file()?);
        }
        Ok(lines)
    }

    fn read_file(&mut self) -> Outcome<Vec<LogLine>> {
        let Some(file) = &mut self.file else {
            return Ok(Vec::new());
        };
        let length = file.metadata().map_or(0, |meta| meta.len());
        if length < self.offset {
            // Somebody emptied it.
            self.offset = 0;
            self.rest.clear();
        }
        let mut new = Vec::new();
        let read = file
            .seek(SeekFrom::Start(self.offset))
            .and_then(|_| file.read_to_end(&mut new));
        read.map_err(|error| Failure::file("read", &self.source.dir.join(CURRENT), &error))?;
        self.offset += new.len() as u64;
        self.rest.append(&mut new);
        let whole = self
            .rest
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |end| end + 1);
        let rest = self.rest.split_off(whole);
        let whole = std::mem::replace(&mut self.rest, rest);
        Ok(parse(&self.source.name, &whole))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn lines_are_followed_through_a_rotation_without_loss_or_repetition() {
        let dir = tempfile::tempdir().unwrap();
        let current = dir.path().join(CURRENT);
        fs::write(&current, "2026-11-20T20:00:01.000000Z old\n").unwrap();
        let source = Source {
            name: "w".into(),
            dir: dir.path().to_owned(),
        };
        let mut follower = Follower::new(std::slice::from_ref(&source)).unwrap();
        let append = |text: &str| {
            let mut file = File::options()
                .append(true)
                .create(true)
                .open(&current)
                .unwrap();
            std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
        };
        append("2026-11-20T20:00:02.000000Z two\n2026-11-20T20:00:03.0000");
        let tail = &mut follower.tails[0];
        let first: Vec<String> = tail
            .read_on()
            .unwrap()
            .into_iter()
            .map(|l| l.line)
            .collect();
        assert_eq!(first, ["two"]);
        append("00Z three\n");
        fs::rename(&current, dir.path().join("2026-11-20T20-00-03.000000Z.log")).unwrap();
        append("2026-11-20T20:00:04.000000Z four\n");
        let second: Vec<String> = tail
            .read_on()
            .unwrap()
            .into_iter()
            .map(|l| l.line)
            .collect();
        assert_eq!(second, ["three", "four"]);
        assert_eq!(tail.read_on().unwrap(), []);
    }
}
