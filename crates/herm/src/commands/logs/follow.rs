//! New lines as they come, through rotations, woken by inotify and where that is blind by a look
//! from time to time.

use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;

use herm_home::kept::{CURRENT, Held, HeldFile, Opened};
use herm_home::watch::Watch;

use super::read::{hold, parse, unreadable};
use super::{LogLine, Source};
use crate::context::home_failure;
use crate::failure::Outcome;

/// Follows several logs.
pub(super) struct Follower {
    tails: Vec<Tail>,
    watch: Watch,
}

/// One log: the file that is `current` and how far it was read.
struct Tail {
    source: Source,
    file: Option<Opened>,
    inode: u64,
    offset: u64,
    /// The beginning of a line whose end has not come yet.
    rest: Vec<u8>,
    /// The newest rotated file's name while this one is `current`.
    newest: String,
}

impl Follower {
    /// Follows nothing yet.
    pub(super) fn new() -> Outcome<Self> {
        Ok(Self {
            tails: Vec::new(),
            watch: Watch::new().map_err(home_failure)?,
        })
    }

    /// Begins to follow a log; what it is now, whose end is where following begins.
    pub(super) fn add(&mut self, source: &Source) -> Outcome<Held> {
        // Before it is looked at, so that of what comes later one is told.
        self.follow_dir(source)?;
        let held = hold(source)?;
        let mut tail = Tail::new(source);
        held.newest_rotated().clone_into(&mut tail.newest);
        if let Some(current) = held.current() {
            tail.turn_to(current)
                .map_err(|error| unreadable(source, &error))?;
            tail.offset = held.end();
        }
        self.tails.push(tail);
        Ok(held)
    }

    fn follow_dir(&mut self, source: &Source) -> Outcome {
        let followed = self.watch.follow_dir(&source.dir);
        followed.map(drop).map_err(home_failure)
    }

    /// The lines that have come since the last call, in the order of their times; doesn't wait.
    pub(super) fn take(&mut self) -> Outcome<Vec<LogLine>> {
        let mut lines = Vec::new();
        for tail in &mut self.tails {
            let new = tail.read_on();
            lines.extend(new.map_err(|error| unreadable(&tail.source, &error))?);
        }
        lines.sort_by(|a, b| a.at.cmp(&b.at));
        Ok(lines)
    }

    /// Hands on new lines until printing fails or the process is interrupted.
    pub(super) fn run(mut self, mut print: impl FnMut(&[LogLine]) -> Outcome) -> Outcome {
        loop {
            print(&self.take()?)?;
            let sources: Vec<Source> = self.tails.iter().map(|tail| tail.source.clone()).collect();
            for source in &sources {
                self.follow_dir(source)?;
            }
            self.watch.wait().map_err(home_failure)?;
        }
    }
}

impl Tail {
    fn new(source: &Source) -> Self {
        Self {
            source: source.clone(),
            file: None,
            inode: 0,
            offset: 0,
            rest: Vec::new(),
            newest: String::new(),
        }
    }

    /// Reads this file from its beginning from now on.
    fn turn_to(&mut self, file: &HeldFile) -> io::Result<()> {
        self.inode = file.inode()?;
        self.file = Some(file.read()?);
        self.offset = 0;
        self.rest.clear();
        Ok(())
    }

    fn read_on(&mut self) -> io::Result<Vec<LogLine>> {
        let mut lines = self.read_file()?;
        let now_current =
            std::fs::metadata(self.source.dir.join(CURRENT)).map_or(0, |meta| meta.ino());
        if now_current != 0 && now_current != self.inode {
            // Rotated, once or more often: what was written to the old file after we read it comes
            // first, and then what began after it.
            let held = Held::of(&self.source.dir)?;
            let newest = held.newest_rotated().to_owned();
            lines.extend(self.read_file()?);
            for file in held.after(self.file.as_mut(), &self.newest)? {
                self.turn_to(&file)?;
                lines.extend(self.read_file()?);
            }
            self.newest = newest;
        }
        Ok(lines)
    }

    fn read_file(&mut self) -> io::Result<Vec<LogLine>> {
        let Some(file) = &mut self.file else {
            return Ok(Vec::new());
        };
        if file.length()? < self.offset {
            // Somebody emptied it.
            self.offset = 0;
            self.rest.clear();
        }
        let mut new = Vec::new();
        file.seek(SeekFrom::Start(self.offset))?;
        file.read_to_end(&mut new)?;
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
    use std::fs::{self, File};
    use std::io::Write as _;

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
        let mut follower = Follower::new().unwrap();
        follower.add(&source).unwrap();
        let append = |text: &str| {
            let mut file = File::options()
                .append(true)
                .create(true)
                .open(&current)
                .unwrap();
            file.write_all(text.as_bytes()).unwrap();
        };
        let rotate = |second: u8| {
            let name = format!("2026-11-20T20-00-{second:02}.000000Z.log");
            fs::rename(&current, dir.path().join(name)).unwrap();
        };
        let mut new = || {
            let lines = follower.take().unwrap();
            lines
                .into_iter()
                .map(|line| line.line)
                .collect::<Vec<String>>()
        };
        append("2026-11-20T20:00:02.000000Z two\n2026-11-20T20:00:03.0000");
        assert_eq!(new(), ["two"]);
        append("00Z three\n");
        rotate(3);
        append("2026-11-20T20:00:04.000000Z four\n");
        assert_eq!(new(), ["three", "four"]);
        assert!(new().is_empty());
        append("2026-11-20T20:00:05.000000Z five\n");
        rotate(5);
        append("2026-11-20T20:00:06.000000Z six\n");
        rotate(6);
        append("2026-11-20T20:00:07.000000Z seven\n");
        herm_home::kept::compress(dir.path()).unwrap();
        assert_eq!(
            new(),
            ["five", "six", "seven"],
            "it was rotated twice and compressed between two looks"
        );
    }

    #[test]
    fn following_begins_where_what_is_shown_ends_and_that_is_between_two_lines() {
        let dir = tempfile::tempdir().unwrap();
        let current = dir.path().join(CURRENT);
        let half = "2026-11-20T20:00:01.000000Z one\n2026-11-20T20:00:02.000000Z tw";
        fs::write(&current, half).unwrap();
        let source = Source {
            name: "w".into(),
            dir: dir.path().to_owned(),
        };
        let mut follower = Follower::new().unwrap();
        let held = follower.add(&source).unwrap();
        fs::write(
            &current,
            format!("{half}o\n2026-11-20T20:00:03.000000Z three\n"),
        )
        .unwrap();
        let texts = |lines: Vec<LogLine>| {
            lines
                .into_iter()
                .map(|line| line.line)
                .collect::<Vec<String>>()
        };
        let shown = super::super::read::tail_of(&source, held, None, None).unwrap();
        assert_eq!(texts(shown), ["one"]);
        assert_eq!(texts(follower.take().unwrap()), ["two", "three"]);
    }
}
