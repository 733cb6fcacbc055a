//! Framing: newline-delimited JSON with a bound.

use alloc::vec::Vec;

/// Largest request PID 1 reads, in bytes with its newline. Anything longer ends the connection.
pub const MAX_REQUEST_BYTES: usize = 64 * 1024;

/// Largest message a client accepts: a snapshot of 10,000 services fits.
pub const MAX_REPLY_BYTES: usize = 64 * 1024 * 1024;

/// Cuts a byte stream into lines of a bounded length.
#[derive(Debug)]
pub struct LineBuffer {
    bytes: Vec<u8>,
    /// Bytes before this index are known to hold no newline.
    scanned: usize,
    limit: usize,
}

/// A peer sent more than the limit without a newline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineTooLong {
    /// The limit in bytes.
    pub limit: usize,
}

impl LineBuffer {
    /// An empty buffer that accepts lines of up to `limit` bytes, newline included.
    pub const fn new(limit: usize) -> Self {
        Self {
            bytes: Vec::new(),
            scanned: 0,
            limit,
        }
    }

    /// Adds what was read from the peer.
    pub fn push(&mut self, chunk: &[u8]) {
        self.bytes.extend_from_slice(chunk);
    }

    /// The next whole line without its newline, if one has arrived.
    pub fn next_line(&mut self) -> Result<Option<Vec<u8>>, LineTooLong> {
        let unscanned = self.bytes.get(self.scanned..).unwrap_or_default();
        let Some(found) = unscanned.iter().position(|byte| *byte == b'\n') else {
            self.scanned = self.bytes.len();
            return if self.bytes.len() >= self.limit {
                Err(LineTooLong { limit: self.limit })
            } else {
                Ok(None)
            };
        };
        let end = self.scanned + found;
        if end >= self.limit {
            return Err(LineTooLong { limit: self.limit });
        }
        let rest = self.bytes.split_off(end + 1);
        let mut line = core::mem::replace(&mut self.bytes, rest);
        line.pop();
        self.scanned = 0;
        Ok(Some(line))
    }

    /// True where the peer left in the middle of a line.
    pub fn has_partial_line(&self) -> bool {
        !self.bytes.is_empty()
    }
}

/// One message as a line, newline included.
///
/// # Errors
/// Where a value cannot be written as JSON; none of this crate's types can cause it.
pub fn encode<T: serde::Serialize>(message: &T) -> Result<Vec<u8>, serde_json::Error> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    Ok(line)
}

/// The message in a line.
///
/// # Errors
/// Where the line is not the JSON of a `T`.
pub fn decode<T: serde::de::DeserializeOwned>(line: &[u8]) -> Result<T, serde_json::Error> {
    serde_json::from_slice(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn lines_come_out_whole_however_the_bytes_arrive() {
        let stream = b"one\ntwo\n\nthree\n";
        for cut in 0..stream.len() {
            let mut buffer = LineBuffer::new(64);
            let mut lines = Vec::new();
            for chunk in [&stream[..cut], &stream[cut..]] {
                buffer.push(chunk);
                while let Some(line) = buffer.next_line().unwrap() {
                    lines.push(line);
                }
            }
            let expected = vec![b"one".to_vec(), b"two".to_vec(), vec![], b"three".to_vec()];
            assert_eq!(lines, expected, "cut at {cut}");
            assert!(!buffer.has_partial_line());
        }
    }

    #[test]
    fn a_line_at_the_limit_passes_and_one_past_it_is_refused() {
        let mut buffer = LineBuffer::new(4);
        buffer.push(b"abc\n");
        assert_eq!(buffer.next_line(), Ok(Some(b"abc".to_vec())));
        buffer.push(b"abcd\n");
        assert_eq!(buffer.next_line(), Err(LineTooLong { limit: 4 }));
    }

    #[test]
    fn an_endless_line_is_refused_before_its_newline() {
        let mut buffer = LineBuffer::new(4);
        buffer.push(b"abcdefgh");
        assert_eq!(buffer.next_line(), Err(LineTooLong { limit: 4 }));
    }
}
