//! Reading a log backwards: newest file first, until there is enough.

use std::io::{self, Read as _};

use herm_home::kept::{Held, HeldFile};

use super::{LogLine, Source};
use crate::failure::{Failure, Outcome};

/// The last `count` lines (all, where `None`) that are not older than `since`.
pub(super) fn tail(
    source: &Source,
    count: Option<usize>,
    since: Option<&str>,
) -> Outcome<Vec<LogLine>> {
    tail_of(source, hold(source)?, count, since)
}

/// The files of a log as they are now.
pub(super) fn hold(source: &Source) -> Outcome<Held> {
    Held::of(&source.dir).map_err(|error| unreadable(source, &error))
}

/// The last lines of what is held.
pub(super) fn tail_of(
    source: &Source,
    held: Held,
    count: Option<usize>,
    since: Option<&str>,
) -> Outcome<Vec<LogLine>> {
    let mut kept: Vec<Vec<LogLine>> = Vec::new();
    let mut total = 0;
    let end = held.end();
    for file in held.into_files().into_iter().rev() {
        let limit = if file.is_current() { end } else { u64::MAX };
        let bytes = read(&file, limit).map_err(|error| unreadable(source, &error))?;
        let mut lines = parse(&source.name, &bytes);
        let all_young =
            since.is_none_or(|since| lines.first().is_none_or(|line| line.at.as_str() >= since));
        if let Some(since) = since {
            lines.retain(|line| line.at.as_str() >= since);
        }
        total += lines.len();
        kept.push(lines);
        if !all_young || count.is_some_and(|count| total >= count) {
            break;
        }
    }
    let lines: Vec<LogLine> = kept.into_iter().rev().flatten().collect();
    let surplus = count.map_or(0, |count| lines.len().saturating_sub(count));
    Ok(lines.into_iter().skip(surplus).collect())
}

fn read(file: &HeldFile, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.read()?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

pub(super) fn unreadable(source: &Source, error: &io::Error) -> Failure {
    Failure::file("read the log in", &source.dir, error)
}

/// The whole lines of some bytes of a log.
pub(super) fn parse(name: &str, bytes: &[u8]) -> Vec<LogLine> {
    let text = String::from_utf8_lossy(bytes);
    let whole = text
        .rfind('\n')
        .map_or("", |end| text.get(..end).unwrap_or_default());
    if whole.is_empty() {
        return Vec::new();
    }
    whole
        .split('\n')
        .map(|line| parse_line(name, line))
        .collect()
}

/// A line without a time (of a log from elsewhere) keeps its text and sorts first.
fn parse_line(name: &str, line: &str) -> LogLine {
    let (at, rest) = line.split_once(' ').unwrap_or((line, ""));
    let timed = at.len() >= 20 && at.ends_with('Z') && at.as_bytes().get(10) == Some(&b'T');
    let (at, rest) = if timed { (at, rest) } else { ("", line) };
    LogLine {
        service: name.to_owned(),
        at: at.to_owned(),
        line: rest.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn log() -> (tempfile::TempDir, Source) {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, lines: &[u8]| {
            let line = |n: &u8| format!("2026-11-20T20:00:{n:02}.000000Z line {n}");
            let text = lines.iter().map(line).collect::<Vec<_>>().join(
                "
",
            ) + "
";
            fs::write(dir.path().join(name), text).unwrap();
        };
        put("2026-11-20T20-00-02.000000Z.log", &[1, 2]);
        put("2026-11-20T20-00-04.000000Z.log", &[3, 4]);
        put("current", &[5, 6]);
        let source = Source {
            name: "w".into(),
            dir: dir.path().to_owned(),
        };
        (dir, source)
    }

    fn numbers(lines: &[LogLine]) -> Vec<&str> {
        lines.iter().map(|line| line.line.as_str()).collect()
    }

    #[test]
    fn the_last_lines_are_taken_across_rotated_files() {
        let (_dir, source) = log();
        let lines = tail(&source, Some(3), None).unwrap();
        assert_eq!(numbers(&lines), ["line 4", "line 5", "line 6"]);
        assert_eq!(tail(&source, None, None).unwrap().len(), 6);
        assert_eq!(tail(&source, Some(0), None).unwrap(), []);
    }

    #[test]
    fn compressed_files_read_like_the_others() {
        let (dir, source) = log();
        let before = tail(&source, None, None).unwrap();
        assert_eq!(herm_home::kept::compress(dir.path()).unwrap(), 2);
        assert_eq!(tail(&source, None, None).unwrap(), before);
        assert_eq!(numbers(&tail(&source, Some(3), None).unwrap())[0], "line 4");
    }

    #[test]
    fn older_lines_than_asked_for_are_left_out() {
        let (_dir, source) = log();
        let lines = tail(&source, None, Some("2026-11-20T20:00:04")).unwrap();
        assert_eq!(numbers(&lines), ["line 4", "line 5", "line 6"]);
    }

    #[test]
    fn a_missing_directory_is_an_empty_log() {
        let source = Source {
            name: "w".into(),
            dir: "/nonexistent/log".into(),
        };
        assert_eq!(tail(&source, None, None).unwrap(), []);
    }

    #[test]
    fn half_a_line_is_not_shown_and_a_line_without_a_time_is() {
        let lines = parse(
            "w",
            b"plain words\n2026-11-20T20:00:01.000000Z whole\n2026-11-20T20:0",
        );
        assert_eq!(numbers(&lines), ["plain words", "whole"]);
        assert_eq!(lines[0].at, "");
    }
}
