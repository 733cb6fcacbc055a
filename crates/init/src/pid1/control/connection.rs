//! One client: its bytes in, its bytes out, and who it is.
//!
//! Nothing here waits. Input is bounded by the protocol's line length, output by
//! [`OUTPUT_LIMIT_BYTES`]: a client that asks and doesn't read loses its connection, and PID 1
//! neither waits for it nor grows with it.

use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use herm_wire::frame::{LineBuffer, LineTooLong, MAX_REQUEST_BYTES};

use super::authority::Peer;

/// Nothing more is queued for a client that has this much unread. One message may exceed it: a
/// snapshot of many services is larger, and is queued when nothing else is.
pub(crate) const OUTPUT_LIMIT_BYTES: usize = 4 * 1024 * 1024;

/// Requests are not read from a client that has this much unread.
const BACKPRESSURE_BYTES: usize = 256 * 1024;

/// Bytes read at once, so that one client can't keep the loop.
const READ_BYTES: usize = 16 * 1024;

/// What a client's connection is used for, besides requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Role {
    /// It gets events.
    pub(crate) subscriber: bool,
    /// It is the keeper's.
    pub(crate) keeper: bool,
}

/// What a read found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// Bytes, or nothing for now.
    Open,
    /// The peer will send nothing more.
    Ended,
}

/// One connected client.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: UnixStream,
    /// Who connected, as the kernel saw it at that moment.
    pub(crate) peer: Peer,
    /// What it is used for.
    pub(crate) role: Role,
    input: LineBuffer,
    output: Vec<u8>,
    /// Bytes of `output` that are written already.
    written: usize,
    /// It is dropped once its output is written.
    pub(crate) closing: bool,
}

impl Connection {
    /// A client on a non-blocking stream.
    pub(crate) fn new(stream: UnixStream, peer: Peer) -> Self {
        Self {
            stream,
            peer,
            role: Role::default(),
            input: LineBuffer::new(MAX_REQUEST_BYTES),
            output: Vec::new(),
            written: 0,
            closing: false,
        }
    }

    /// The socket.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// Reads what has arrived, once.
    pub(crate) fn fill(&mut self) -> io::Result<Input> {
        let mut chunk = [0_u8; READ_BYTES];
        match self.stream.read(&mut chunk) {
            Ok(0) => Ok(Input::Ended),
            Ok(count) => {
                self.input.push(chunk.get(..count).unwrap_or_default());
                Ok(Input::Open)
            }
            Err(error) if would_wait(&error) => Ok(Input::Open),
            Err(error) => Err(error),
        }
    }

    /// The next whole request line, unless the client has to read answers first.
    pub(crate) fn next_line(&mut self) -> Result<Option<Vec<u8>>, LineTooLong> {
        if self.is_backlogged() || self.closing {
            return Ok(None);
        }
        self.input.next_line()
    }

    /// Whether the client must read before more of its requests are looked at.
    pub(crate) fn is_backlogged(&self) -> bool {
        self.pending() > BACKPRESSURE_BYTES
    }

    /// Whether there is something to write.
    pub(crate) fn wants_write(&self) -> bool {
        self.pending() > 0
    }

    /// Queues a message; `false` where the client is too slow and must be dropped.
    #[must_use]
    pub(crate) fn queue(&mut self, message: &[u8]) -> bool {
        if self.pending() > OUTPUT_LIMIT_BYTES {
            return false;
        }
        self.output.extend_from_slice(message);
        true
    }

    /// Writes what the socket takes.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        while let Some(rest) = self.output.get(self.written..)
            && !rest.is_empty()
        {
            match self.stream.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.written += count,
                Err(error) if would_wait(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        self.output = Vec::new();
        self.written = 0;
        Ok(())
    }

    /// Bytes that the client has not read.
    pub(crate) fn pending(&self) -> usize {
        self.output.len().saturating_sub(self.written)
    }
}

fn would_wait(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection() -> (Connection, UnixStream) {
        let (here, there) = UnixStream::pair().unwrap();
        here.set_nonblocking(true).unwrap();
        (Connection::new(here, Peer::of_uid(1000)), there)
    }

    #[test]
    fn a_client_that_never_reads_is_given_up_and_not_waited_for() {
        let (mut connection, _there) = connection();
        let message = vec![b'x'; 64 * 1024];
        let mut queued = 0;
        while connection.queue(&message) {
            connection.flush().unwrap();
            queued += message.len();
        }
        assert!(queued >= OUTPUT_LIMIT_BYTES);
        assert!(queued < 2 * OUTPUT_LIMIT_BYTES);
    }

    #[test]
    fn requests_of_a_client_that_does_not_read_are_left_unread() {
        let (mut connection, mut there) = connection();
        there.write_all(b"one\n").unwrap();
        assert_eq!(connection.fill().unwrap(), Input::Open);
        assert!(connection.queue(&vec![b'x'; 2 * BACKPRESSURE_BYTES]));
        assert_eq!(connection.next_line(), Ok(None));
    }

    #[test]
    fn a_line_without_an_end_is_refused() {
        let (mut connection, mut there) = connection();
        let writer = std::thread::spawn(move || there.write_all(&vec![b'x'; 10 * 1024 * 1024]));
        let refused = loop {
            connection.fill().unwrap();
            if let Err(error) = connection.next_line() {
                break error;
            }
        };
        assert_eq!(refused.limit, MAX_REQUEST_BYTES);
        drop(connection);
        assert!(writer.join().unwrap().is_err());
    }
}
