//! One connection: requests out, replies and events in, both as lines.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use herm_wire::frame::{LineBuffer, MAX_REPLY_BYTES, MAX_REQUEST_BYTES, decode, encode};
use herm_wire::{Op, PROTOCOL_VERSION, Reply, Request};

/// Bytes read at once.
const CHUNK_BYTES: usize = 16 * 1024;

/// A connected stream and what of the peer's next line has arrived.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: UnixStream,
    lines: LineBuffer,
    last_id: u64,
}

impl Connection {
    /// Connects.
    pub(crate) fn open(socket: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        Ok(Self {
            stream,
            lines: LineBuffer::new(MAX_REPLY_BYTES),
            last_id: 0,
        })
    }

    /// Sends a request and returns the id its reply will carry.
    pub(crate) fn send(&mut self, op: Op) -> io::Result<u64> {
        self.last_id += 1;
        let request = Request {
            v: PROTOCOL_VERSION,
            id: self.last_id,
            op,
        };
        let line = encode(&request).map_err(io::Error::other)?;
        if line.len() > MAX_REQUEST_BYTES {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "the request has {} bytes, the limit is {MAX_REQUEST_BYTES}",
                    line.len()
                ),
            ));
        }
        self.stream.write_all(&line)?;
        Ok(self.last_id)
    }

    /// The reply to the request `id`; replies to earlier ones (given up by the caller) are passed
    /// over. Id 0 is the supervisor's word on a line it could not read, so it answers any request.
    pub(crate) fn receive(&mut self, id: u64, patience: Option<Duration>) -> io::Result<Reply> {
        let deadline = patience.map(|limit| Instant::now() + limit);
        loop {
            let line = self.next_line(deadline)?;
            let reply: Reply = decode(&line).map_err(not_ours)?;
            if reply.id == id || reply.id == 0 {
                return Ok(reply);
            }
        }
    }

    /// The next reply, whichever request it answers.
    pub(crate) fn receive_any(&mut self) -> io::Result<Reply> {
        let line = self.next_line(None)?;
        decode(&line).map_err(not_ours)
    }

    /// The next line from the peer, waiting for it until `deadline`.
    pub(crate) fn next_line(&mut self, deadline: Option<Instant>) -> io::Result<Vec<u8>> {
        loop {
            if let Some(line) = self.buffered_line()? {
                return Ok(line);
            }
            self.stream.set_read_timeout(time_left(deadline)?)?;
            self.fill()?;
        }
    }

    /// A line that has already arrived whole.
    pub(crate) fn buffered_line(&mut self) -> io::Result<Option<Vec<u8>>> {
        self.lines.next_line().map_err(|error| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("a line of over {} bytes", error.limit),
            )
        })
    }

    /// Reads once from the peer. An end of stream is [`io::ErrorKind::UnexpectedEof`].
    pub(crate) fn fill(&mut self) -> io::Result<()> {
        let mut chunk = [0; CHUNK_BYTES];
        let count = match self.stream.read(&mut chunk) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            Err(error) => return Err(error),
        };
        self.lines.push(chunk.get(..count).unwrap_or_default());
        Ok(())
    }

    /// The stream, to wait for it along with other descriptors.
    pub(crate) fn stream(&self) -> &UnixStream {
        &self.stream
    }
}

fn time_left(deadline: Option<Instant>) -> io::Result<Option<Duration>> {
    let Some(deadline) = deadline else {
        return Ok(None);
    };
    match deadline.checked_duration_since(Instant::now()) {
        Some(left) if !left.is_zero() => Ok(Some(left)),
        _ => Err(io::ErrorKind::TimedOut.into()),
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "it is the last user of the error, in map_err"
)]
fn not_ours(error: serde_json::Error) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("what listens there does not speak herm's protocol ({error})"),
    )
}
