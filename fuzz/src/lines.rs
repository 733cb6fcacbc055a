//! Streams cut into lines, and the names of the files that lines end up in.

use herm_init::logproto::Forward;
use herm_wire::frame::{LineBuffer, LineTooLong};

// The log daemon's own modules, which only it can reach.
#[path = "../../crates/init/src/logd/frame.rs"]
#[expect(dead_code, reason = "the log daemon uses the rest")]
mod frame;
#[path = "../../crates/init/src/logd/stamp.rs"]
mod stamp;

/// Longest prefix a test's service gives a line.
const SERVICE: &str = "web";

/// The control socket's framing. First byte: the limit; second: how the rest is cut into reads.
/// However it is cut, the lines before the first that is too long come out, and that one doesn't.
pub fn wire(data: &[u8]) {
    let [limit, cut, stream @ ..] = data else {
        return;
    };
    let limit = usize::from(*limit);
    let mut buffer = LineBuffer::new(limit);
    let mut lines = Vec::new();
    let mut failure = None;
    for chunk in stream.chunks(usize::from(*cut) + 1) {
        buffer.push(chunk);
        failure = loop {
            match buffer.next_line() {
                Ok(Some(line)) => lines.push(line),
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        if failure.is_some() {
            break;
        }
    }
    let mut expected: Vec<&[u8]> = stream.split(|byte| *byte == b'\n').collect();
    let rest = expected.pop().unwrap_or_default();
    let too_long = expected.iter().position(|line| line.len() >= limit);
    expected.truncate(too_long.unwrap_or(expected.len()));
    assert_eq!(lines, expected);
    // Nothing read is nothing too long, whatever the limit.
    let endless = !stream.is_empty() && rest.len() >= limit;
    if too_long.is_some() || endless {
        assert_eq!(failure, Some(LineTooLong { limit }));
    } else {
        assert_eq!(failure, None);
        assert_eq!(buffer.has_partial_line(), !rest.is_empty());
    }
}

/// The log's framing. First byte: how the rest is cut. The log without its stamps is what was
/// written, and a line as JSON is one line with the same text.
pub fn framing(data: &[u8]) {
    let Some((cut, stream)) = data.split_first() else {
        return;
    };
    let stamp = stamp::Stamp::new(1_795_206_670_123_456);
    let mut log = Vec::new();
    let mut json = Vec::new();
    let mut pending = Vec::new();
    let mut count = 0;
    for chunk in stream.chunks(usize::from(*cut) + 1) {
        pending.extend_from_slice(chunk);
        let (whole, tail) = frame::split_whole(&pending);
        count += frame::append_stamped(&mut log, &stamp, whole);
        frame::append_forwarded(&mut json, Forward::Json, SERVICE, &stamp, whole);
        pending = tail.to_vec();
    }
    assert!(!pending.contains(&b'\n'));
    let mut unstamped = Vec::new();
    for line in log.split_inclusive(|byte| *byte == b'\n') {
        let body = line.strip_prefix(stamp.as_bytes());
        unstamped.extend_from_slice(body.expect("every line has a stamp"));
    }
    assert_eq!(count, frame::count(&unstamped));
    let lines = unstamped.split_inclusive(|byte| *byte == b'\n');
    let objects = json.split_inclusive(|byte| *byte == b'\n');
    assert_eq!(lines.clone().count(), objects.clone().count());
    for (line, object) in lines.zip(objects) {
        let object: serde_json::Value = serde_json::from_slice(object).unwrap();
        let text = String::from_utf8_lossy(&line[..line.len() - 1]);
        assert_eq!(object["line"], *text);
    }
    unstamped.extend_from_slice(&pending);
    assert_eq!(unstamped, stream);
}

/// Names in a log directory, which its agent can write to: only what the log daemon would write
/// is taken for a rotated file.
pub fn rotated_names(data: &[u8]) {
    if let Some(at) = stamp::parse_rotated_name(data) {
        assert_eq!(stamp::rotated_name(at).as_bytes(), data);
    }
}
