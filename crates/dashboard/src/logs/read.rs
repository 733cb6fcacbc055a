//! Reading a log directory: `current` and the files it was rotated into. Everything is bounded: a
//! page shows the end of a log however large it is, and a line of any length.

use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use herm_home::kept::{Held, Opened};

use super::{LogLine, ansi};

/// Most bytes of a line that are shown.
pub(crate) const MAX_LINE: usize = 16 * 1024;
/// Most lines of one answer.
pub(crate) const MAX_LINES: usize = 5000;
/// Most bytes of one answer.
const MAX_ANSWER: usize = 4 << 20;
/// Bytes read at once.
const CHUNK: usize = 64 * 1024;
/// Most bytes looked through for one answer.
const MAX_READ: u64 = 256 << 20;

/// Which lines are wanted.
#[derive(Debug, Default, Clone)]
pub(crate) struct Wanted {
    /// How many, at most; the newest.
    pub(crate) lines: usize,
    /// That contain this, whatever the case; empty: all.
    pub(crate) containing: String,
    /// That are not older (RFC 3339, or the beginning of one).
    pub(crate) since: Option<String>,
}

/// The newest lines that are wanted, oldest first.
pub(crate) fn tail(dir: &Path, wanted: &Wanted) -> io::Result<Vec<LogLine>> {
    let needle = wanted.containing.to_lowercase();
    let limit = wanted.lines.min(MAX_LINES);
    let mut kept: Vec<LogLine> = Vec::new();
    let mut bytes = 0;
    let mut budget = MAX_READ;
    'files: for file in Held::of(dir)?.into_files().into_iter().rev() {
        let mut lines = Backwards::new(file.read()?)?;
        while let Some(line) = lines.next_line(&mut budget)? {
            let line = parse(&line);
            if wanted
                .since
                .as_ref()
                .is_some_and(|since| !line.at.is_empty() && line.at < *since)
            {
                break 'files;
            }
            if !needle.is_empty() && !ansi::plain(&line.line).to_lowercase().contains(&needle) {
                continue;
            }
            bytes += line.line.len() + 64;
            if kept.len() >= limit || bytes > MAX_ANSWER {
                break 'files;
            }
            kept.push(line);
        }
    }
    kept.reverse();
    Ok(kept)
}

/// A line's bytes: its beginning, and how long it was.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct RawLine {
    pub(crate) head: Vec<u8>,
    pub(crate) length: u64,
}

/// The whole lines of a file, the last first, with a bounded memory whatever their length.
struct Backwards {
    file: Opened,
    /// Where the bytes in `buffer` begin in the file.
    start: u64,
    buffer: Vec<u8>,
    /// The end of a line whose beginning is not read yet: its first bytes so far, and its length.
    pending: RawLine,
    began: bool,
}

impl Backwards {
    fn new(mut file: Opened) -> io::Result<Self> {
        let start = file.seek(SeekFrom::End(0))?;
        Ok(Self {
            file,
            start,
            buffer: Vec::new(),
            pending: RawLine::default(),
            began: false,
        })
    }

    fn next_line(&mut self, budget: &mut u64) -> io::Result<Option<RawLine>> {
        loop {
            if let Some(at) = self.buffer.iter().rposition(|byte| *byte == b'\n') {
                let tail = self.buffer.split_off(at + 1);
                self.buffer.truncate(at);
                let whole = self.began;
                let line = self.prepend(&tail);
                // What follows the last newline is a line that is still being written.
                self.began = true;
                if whole {
                    return Ok(Some(line));
                }
                continue;
            }
            let rest = std::mem::take(&mut self.buffer);
            let joined = self.prepend(&rest);
            if self.start == 0 || *budget == 0 {
                let last = std::mem::take(&mut self.began);
                return Ok((last && joined.length > 0).then_some(joined));
            }
            self.pending = joined;
            self.read_before(budget)?;
        }
    }

    /// These bytes with what is pending behind them, cut to what is shown.
    fn prepend(&mut self, bytes: &[u8]) -> RawLine {
        let pending = std::mem::take(&mut self.pending);
        let mut head = bytes
            .get(..bytes.len().min(MAX_LINE))
            .unwrap_or_default()
            .to_vec();
        let room = MAX_LINE - head.len();
        head.extend_from_slice(
            pending
                .head
                .get(..pending.head.len().min(room))
                .unwrap_or_default(),
        );
        RawLine {
            head,
            length: pending.length + bytes.len() as u64,
        }
    }

    fn read_before(&mut self, budget: &mut u64) -> io::Result<()> {
        let count = self.start.min(CHUNK as u64);
        self.start -= count;
        *budget = budget.saturating_sub(count);
        self.file.seek(SeekFrom::Start(self.start))?;
        self.buffer
            .resize(usize::try_from(count).unwrap_or(CHUNK), 0);
        match self.file.read_exact(&mut self.buffer) {
            // Somebody emptied it meanwhile.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                self.buffer.clear();
                self.start = 0;
                Ok(())
            }
            result => result,
        }
    }
}

/// A line in its parts.
pub(crate) fn parse(raw: &RawLine) -> LogLine {
    let text = String::from_utf8_lossy(&raw.head);
    let (at, rest) = text.split_once(' ').unwrap_or((&text, ""));
    let timed = at.len() >= 20 && at.ends_with('Z') && at.as_bytes().get(10) == Some(&b'T');
    let (at, line) = if timed {
        (at, rest)
    } else {
        ("", text.as_ref())
    };
    LogLine {
        at: at.to_owned(),
        line: line.to_owned(),
        cut_bytes: raw.length.saturating_sub(raw.head.len() as u64),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use herm_home::kept::CURRENT;

    use super::*;

    fn dir_with(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            fs::write(dir.path().join(name), bytes).unwrap();
        }
        dir
    }

    fn lines(dir: &Path, wanted: &Wanted) -> Vec<String> {
        tail(dir, wanted)
            .unwrap()
            .into_iter()
            .map(|line| line.line)
            .collect()
    }

    fn last(count: usize) -> Wanted {
        Wanted {
            lines: count,
            ..Wanted::default()
        }
    }

    #[test]
    fn the_last_lines_come_from_all_files_and_half_a_line_is_left_out() {
        let dir = dir_with(&[
            (
                "2026-11-20T20-00-02.000000Z.log",
                b"2026-11-20T20:00:01.000000Z one\nplain\n",
            ),
            (
                "current",
                b"2026-11-20T20:00:03.000000Z three\n2026-11-20T20:00:04.000000Z four\n2026-11-",
            ),
        ]);
        assert_eq!(lines(dir.path(), &last(3)), ["plain", "three", "four"]);
        assert_eq!(
            lines(dir.path(), &last(100)),
            ["one", "plain", "three", "four"]
        );
        assert!(lines(dir.path(), &last(0)).is_empty());
        assert!(lines(Path::new("/nonexistent"), &last(9)).is_empty());
    }

    #[test]
    fn compressed_files_read_like_the_others() {
        let dir = dir_with(&[
            ("2026-11-20T20-00-02.000000Z.log", b"one\ntwo\n"),
            ("2026-11-20T20-00-04.000000Z.log", b"three\n"),
            ("current", b"four\n"),
        ]);
        herm_home::kept::compress(dir.path()).unwrap();
        assert_eq!(lines(dir.path(), &last(9)), ["one", "two", "three", "four"]);
        assert_eq!(lines(dir.path(), &last(3)), ["two", "three", "four"]);
    }

    #[test]
    fn lines_are_chosen_by_text_and_time() {
        let dir = dir_with(&[(
            "current",
            b"2026-11-20T20:00:01.000000Z a \x1b[31mErr\x1b[0mor\n2026-11-20T20:00:02.000000Z b\n2026-11-20T20:00:03.000000Z c error\n",
        )]);
        let containing = Wanted {
            containing: "ERROR".into(),
            ..last(9)
        };
        assert_eq!(lines(dir.path(), &containing).len(), 2);
        let since = Wanted {
            since: Some("2026-11-20T20:00:02".into()),
            ..last(9)
        };
        assert_eq!(lines(dir.path(), &since), ["b", "c error"]);
    }

    #[test]
    fn a_line_of_ten_megabytes_is_shown_by_its_beginning() {
        let mut long = b"2026-11-20T20:00:01.000000Z begin ".to_vec();
        long.extend(std::iter::repeat_n(b'\x1b', 10_000_000));
        long.extend(b"\n2026-11-20T20:00:02.000000Z after\n");
        let dir = dir_with(&[("current", &long)]);
        let found = tail(dir.path(), &last(10)).unwrap();
        assert_eq!(found.len(), 2);
        assert!(found[0].line.starts_with("begin ") && found[0].line.len() <= MAX_LINE);
        assert_eq!(found[0].cut_bytes, 10_000_034 - MAX_LINE as u64);
        assert_eq!(found[1].line, "after");
    }

    #[test]
    fn only_regular_files_are_read() {
        let dir = dir_with(&[("secret", b"x\n")]);
        std::os::unix::fs::symlink(dir.path().join("secret"), dir.path().join(CURRENT)).unwrap();
        assert!(lines(dir.path(), &last(9)).is_empty());
    }
}
