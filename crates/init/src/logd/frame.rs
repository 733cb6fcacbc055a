//! Lines: where they end, and how they look in the kept copy and on stdout. Pure.
//!
//! A line is what ends with a newline. Bytes pass unchanged, whatever they are. What had no
//! newline (a run's last words, or a line longer than [`LINE_BYTES_MAX`]) gets one, after a mark
//! that says so.

use super::stamp::Stamp;
use crate::logproto::Forward;

/// A line that is longer is logged in pieces, each but the last with [`SPLIT_MARK`].
pub(crate) const LINE_BYTES_MAX: usize = 1024 * 1024;

/// What ends a line that its service never ended.
pub(crate) const NO_NEWLINE_MARK: &[u8] = b" [no newline]\n";

/// What ends a piece of a line that goes on in the next one.
pub(crate) const SPLIT_MARK: &[u8] = b" [line continues]\n";

/// Splits after the last newline: whole lines, and the beginning of the next one.
pub(crate) fn split_whole(data: &[u8]) -> (&[u8], &[u8]) {
    let end = memchr::memrchr(b'\n', data).map_or(0, |at| at + 1);
    data.split_at_checked(end).unwrap_or((data, &[]))
}

/// How many bytes the first line has, its newline included; `None` if it doesn't end here.
pub(crate) fn first_line(data: &[u8]) -> Option<usize> {
    memchr::memchr(b'\n', data).map(|at| at + 1)
}

/// How many newlines there are.
pub(crate) fn count(lines: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', lines).count() as u64
}

/// Appends each of `lines` (all of them whole) to `out` after the stamp, and says how many.
pub(crate) fn append_stamped(out: &mut Vec<u8>, stamp: &Stamp, lines: &[u8]) -> u64 {
    // Room for lines of a usual length, so that the vector seldom moves.
    out.reserve(lines.len() + lines.len() / 2);
    each_line(lines, |line| {
        out.extend_from_slice(stamp.as_bytes());
        out.extend_from_slice(line);
    })
}

/// Appends each of `lines` (all of them whole) to `out` in the form for stdout.
pub(crate) fn append_forwarded(
    out: &mut Vec<u8>,
    forward: Forward,
    service: &str,
    stamp: &Stamp,
    lines: &[u8],
) {
    match forward {
        Forward::None => {}
        Forward::Raw => out.extend_from_slice(lines),
        Forward::Prefix => {
            each_line(lines, |line| {
                out.extend_from_slice(service.as_bytes());
                out.extend_from_slice(b" | ");
                out.extend_from_slice(line);
            });
        }
        Forward::Json => {
            each_line(lines, |line| append_json(out, service, stamp, line));
        }
    }
}

fn append_json(out: &mut Vec<u8>, service: &str, stamp: &Stamp, line: &[u8]) {
    #[derive(serde::Serialize)]
    struct Object<'a> {
        time: &'a str,
        service: &'a str,
        line: &'a str,
    }
    let text = String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(line));
    let object = Object {
        time: std::str::from_utf8(stamp.time()).unwrap_or_default(),
        service,
        line: &text,
    };
    let before = out.len();
    if serde_json::to_writer(&mut *out, &object).is_ok() {
        out.push(b'\n');
    } else {
        out.truncate(before);
    }
}

/// Calls `each` with every line, its newline included, and says how many there were.
fn each_line(lines: &[u8], mut each: impl FnMut(&[u8])) -> u64 {
    // The search itself is in a crate that is optimised for speed; its iterator would be compiled
    // here, for size.
    let mut count = 0;
    let mut rest = lines;
    while let Some((line, after)) = first_line(rest).and_then(|end| rest.split_at_checked(end)) {
        each(line);
        rest = after;
        count += 1;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn forwarded(forward: Forward, lines: &[u8]) -> String {
        let mut out = Vec::new();
        append_forwarded(&mut out, forward, "web", &Stamp::new(0), lines);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_line_of_a_chunk_gets_the_same_stamp() {
        let mut out = Vec::new();
        assert_eq!(
            append_stamped(&mut out, &Stamp::new(0), b"one\n\ntwo\xff\n"),
            3
        );
        let stamp = "1970-01-01T00:00:00.000000Z ";
        let expected = [stamp, "one\n", stamp, "\n", stamp, "two"].concat();
        assert_eq!(out, [expected.as_bytes(), b"\xff\n"].concat());
    }

    #[test]
    fn stdout_gets_lines_raw_prefixed_or_as_json() {
        assert_eq!(forwarded(Forward::None, b"a\n"), "");
        assert_eq!(forwarded(Forward::Raw, b"a\nb\n"), "a\nb\n");
        assert_eq!(forwarded(Forward::Prefix, b"a\nb\n"), "web | a\nweb | b\n");
        assert_eq!(
            forwarded(Forward::Json, b"say \"hi\"\t\xff\n"),
            "{\"time\":\"1970-01-01T00:00:00.000000Z\",\"service\":\"web\",\
             \"line\":\"say \\\"hi\\\"\\t\u{fffd}\"}\n"
        );
    }

    proptest! {
        /// The law of the framing: however the stream is cut into chunks, the lines without
        /// their stamps are the stream.
        #[test]
        fn the_log_without_its_stamps_is_what_was_written_however_it_is_cut(
            stream in proptest::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..400),
            cuts in proptest::collection::vec(0usize..60, 0..30),
        ) {
            let mut out = Vec::new();
            let mut pending = Vec::new();
            let mut rest = &stream[..];
            for cut in cuts.into_iter().chain([usize::MAX]) {
                let (chunk, after) = rest.split_at(cut.min(rest.len()));
                rest = after;
                pending.extend_from_slice(chunk);
                let (whole, tail) = split_whole(&pending);
                prop_assert!(!tail.contains(&b'\n'));
                prop_assert_eq!(append_stamped(&mut out, &Stamp::new(0), whole), count(whole));
                pending = tail.to_vec();
            }
            let mut unstamped = Vec::new();
            let mut log = &out[..];
            while !log.is_empty() {
                prop_assert!(log.starts_with(Stamp::new(0).as_bytes()));
                let end = Stamp::BYTES + first_line(&log[Stamp::BYTES..]).unwrap();
                unstamped.extend_from_slice(&log[Stamp::BYTES..end]);
                log = &log[end..];
            }
            unstamped.extend_from_slice(&pending);
            prop_assert_eq!(unstamped, stream);
        }

        #[test]
        fn a_json_line_is_one_line_and_parses(line in proptest::collection::vec(any::<u8>(), 0..80)) {
            let mut line: Vec<u8> = line.into_iter().filter(|byte| *byte != b'\n').collect();
            line.push(b'\n');
            let text = forwarded(Forward::Json, &line);
            prop_assert_eq!(text.matches('\n').count(), 1);
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(value["line"].as_str().unwrap(), String::from_utf8_lossy(&line[..line.len() - 1]));
        }
    }
}
