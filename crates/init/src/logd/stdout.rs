//! The container's stdout and stderr, which other processes share.
//!
//! They can be anything: a pipe that the main program writes to as well, a terminal, a socket, a
//! file. They can be stuck: nobody reads, or somebody pressed Ctrl-S. `O_NONBLOCK` would be on
//! for the main program too, which may not expect it. A write after `poll` can still block,
//! because the room may be gone to another writer. So one thread does nothing but write to them
//! and is the only one that may block.
//!
//! Where the kernel can be asked not to block a single write (`RWF_NOWAIT`: pipes and sockets, as
//! Docker has them), lines are written at once while there is room, and the thread gets what is
//! left. It would cost two switches between threads for each chunk.
//!
//! The log daemon waits a moment for that thread with each chunk ([`PATIENCE`]), so that a log
//! daemon that is killed has handed on what it took from the pipes, and a reader that is only slow
//! slows the services down instead of losing lines. A reader that keeps it waiting longer is
//! stuck: until it has caught up nobody waits for it, lines queue up to [`QUEUE_BYTES_MAX`], and
//! the oldest are dropped and counted. The kept copy goes on all the while.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{FileType, fstat};
use rustix::io::{Errno, ReadWriteFlags, pwritev2, retry_on_intr, write};

use super::backlog::{Backlog, Chunk};
use super::frame;

/// A reader that keeps us waiting longer is stuck.
const PATIENCE: Duration = Duration::from_millis(250);

/// Bytes that wait for a stuck reader.
const QUEUE_BYTES_MAX: usize = 1024 * 1024;

/// What a pipe takes in one piece, without another writer's bytes in between (`PIPE_BUF`).
const ATOMIC_BYTES: usize = 4096;

/// The thread needs little.
const STACK_BYTES: usize = 64 * 1024;

/// Where lines go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    /// The services' lines.
    Out,
    /// What the log daemon itself has to say.
    Err,
}

#[derive(Debug)]
struct State {
    queue: Backlog<Stream>,
    writing: bool,
    stuck: bool,
    dropped: u64,
    untold: u64,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    queued: Condvar,
    written: Condvar,
}

impl Shared {
    /// A panic can't leave the state half changed, so a poisoned lock is as good as any.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hands lines to the thread that writes them.
#[derive(Debug)]
pub(crate) struct Forwarder {
    shared: Arc<Shared>,
    streams: Arc<Streams>,
}

/// Where each stream goes.
#[derive(Debug)]
struct Streams {
    out: OwnedFd,
    err: OwnedFd,
}

impl Streams {
    fn get(&self, stream: Stream) -> BorrowedFd<'_> {
        match stream {
            Stream::Out => self.out.as_fd(),
            Stream::Err => self.err.as_fd(),
        }
    }
}

impl Forwarder {
    /// Starts the thread. It ends with the process.
    pub(crate) fn start(out: OwnedFd, err: OwnedFd) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                queue: Backlog::new(QUEUE_BYTES_MAX),
                writing: false,
                stuck: false,
                dropped: 0,
                untold: 0,
            }),
            queued: Condvar::new(),
            written: Condvar::new(),
        });
        let streams = Arc::new(Streams { out, err });
        let theirs = (Arc::clone(&shared), Arc::clone(&streams));
        std::thread::Builder::new()
            .name("stdout".into())
            .stack_size(STACK_BYTES)
            .spawn(move || write_forever(&theirs.0, &theirs.1))?;
        Ok(Self { shared, streams })
    }

    /// Queues whole lines, and waits a moment until they are written.
    pub(crate) fn forward(&self, stream: Stream, lines: &[u8]) {
        if lines.is_empty() {
            return;
        }
        let mut state = self.shared.lock();
        let lines = if state.is_idle() {
            write_at_once(self.streams.get(stream), lines)
        } else {
            lines
        };
        if lines.is_empty() {
            return;
        }
        let chunk = Chunk {
            bytes: lines.to_vec(),
            lines: frame::count(lines),
            owner: stream,
        };
        let mut dropped = 0;
        state.queue.push(chunk, |oldest| dropped += oldest.lines);
        state.count_dropped(dropped);
        self.shared.queued.notify_one();
        if !state.stuck {
            let (mut state, waited) = self
                .shared
                .written
                .wait_timeout_while(state, PATIENCE, |state| !state.is_idle())
                .unwrap_or_else(PoisonError::into_inner);
            state.stuck = waited.timed_out() && !state.is_idle();
        }
    }

    /// Waits a moment for a reader that may have been stuck.
    pub(crate) fn finish(&self) {
        drop(
            self.shared
                .written
                .wait_timeout_while(self.shared.lock(), PATIENCE, |state| !state.is_idle()),
        );
    }

    /// Lines that were dropped.
    pub(crate) fn dropped(&self) -> u64 {
        self.shared.lock().dropped
    }
}

impl State {
    fn is_idle(&self) -> bool {
        !self.writing && self.queue.is_empty()
    }

    fn count_dropped(&mut self, lines: u64) {
        self.dropped += lines;
        self.untold += lines;
    }

    /// The next thing to write. When all lines are written and some had been dropped, that is
    /// said.
    fn next(&mut self) -> Option<Chunk<Stream>> {
        self.queue.pop().or_else(|| {
            let untold = std::mem::take(&mut self.untold);
            (untold > 0).then(|| Chunk {
                bytes: format!(
                    "herm-logd: {untold} lines did not reach stdout, which nobody read; \
                     the kept logs have them\n"
                )
                .into_bytes(),
                lines: 0,
                owner: Stream::Err,
            })
        })
    }
}

fn write_forever(shared: &Shared, streams: &Streams) {
    loop {
        let mut state = shared.lock();
        state.writing = false;
        let chunk = loop {
            if let Some(chunk) = state.next() {
                break chunk;
            }
            state.stuck = false;
            shared.written.notify_all();
            state = shared
                .queued
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        };
        state.writing = true;
        drop(state);
        // A stream that is closed for good takes nothing, and nobody waits for it.
        if write_lines(streams.get(chunk.owner), &chunk.bytes).is_err() {
            shared.lock().dropped += chunk.lines;
        }
    }
}

/// Writes as much as takes no waiting, in pieces as [`write_lines`], and says what is left.
fn write_at_once<'a>(to: BorrowedFd<'_>, lines: &'a [u8]) -> &'a [u8] {
    let mut rest = lines;
    while !rest.is_empty() {
        let piece = [IoSlice::new(first_piece(rest))];
        let flags = ReadWriteFlags::NOWAIT;
        match retry_on_intr(|| pwritev2(to, &piece, u64::MAX, flags)) {
            Ok(n @ 1..) => rest = rest.get(n..).unwrap_or_default(),
            // Full, or it can't be asked not to block, or it has failed: the thread finds out.
            Ok(_) | Err(_) => break,
        }
    }
    rest
}

/// Writes lines in pieces that end with a line and that a pipe keeps together, as far as lines
/// are that short.
fn write_lines(to: BorrowedFd<'_>, lines: &[u8]) -> Result<(), Errno> {
    let shared = fstat(to).is_ok_and(|stat| {
        let kind = FileType::from_raw_mode(stat.st_mode);
        kind == FileType::Fifo || kind == FileType::CharacterDevice
    });
    let mut rest = lines;
    while !rest.is_empty() {
        let piece = if shared { first_piece(rest) } else { rest };
        write_all(to, piece)?;
        rest = rest.get(piece.len()..).unwrap_or_default();
    }
    Ok(())
}

fn first_piece(lines: &[u8]) -> &[u8] {
    let head = lines.get(..ATOMIC_BYTES).unwrap_or(lines);
    let (whole, _) = frame::split_whole(head);
    if whole.is_empty() {
        let end = frame::first_line(lines).unwrap_or(lines.len());
        lines.get(..end).unwrap_or(lines)
    } else {
        whole
    }
}

fn write_all(to: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match write(to, bytes) {
            Ok(n) => bytes = bytes.get(n..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            // Somebody else made it non-blocking.
            Err(Errno::AGAIN) => {
                let _ = poll(&mut [PollFd::new(&to, PollFlags::OUT)], None);
            }
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::read;

    fn null() -> OwnedFd {
        std::fs::File::create("/dev/null").unwrap().into()
    }

    #[test]
    fn pieces_are_whole_lines_that_a_pipe_keeps_together() {
        let line = [vec![b'x'; 3000], vec![b'\n']].concat();
        assert_eq!(first_piece(&line.repeat(3)), line);
        assert_eq!(first_piece(b"a\nb\n"), b"a\nb\n");
        let long = [vec![b'x'; 9000], vec![b'\n']].concat();
        assert_eq!(first_piece(&long.repeat(2)), long);
    }

    #[test]
    fn what_a_pipe_has_room_for_is_written_at_once_and_the_rest_left_at_a_line_s_end() {
        let (read_end, write_end) = rustix::pipe::pipe().unwrap();
        let line = [vec![b'x'; 99], vec![b'\n']].concat();
        let lines = line.repeat(10_000);
        if write_at_once(write_end.as_fd(), &lines[..500]).len() == 500 {
            println!("skipped: this kernel's pipes don't know RWF_NOWAIT");
            return;
        }
        let rest = write_at_once(write_end.as_fd(), &lines);
        let written = lines.len() - rest.len();
        assert!(written > 0 && !rest.is_empty());
        assert_eq!(written % line.len(), 0);
        let mut got = vec![0u8; 500 + written];
        let mut have = 0;
        while have < got.len() {
            have += read(&read_end, &mut got[have..]).unwrap();
        }
        assert_eq!(got, line.repeat(5 + written / line.len()));
    }

    #[test]
    fn l63_a_stuck_reader_loses_the_oldest_lines_and_they_are_counted() {
        let (read_end, write_end) = rustix::pipe::pipe().unwrap();
        let (err_read, err_write) = rustix::pipe::pipe().unwrap();
        let forwarder = Forwarder::start(write_end, err_write).unwrap();
        let count = 40_000u64;
        for chunk in 0..count / 100 {
            let lines: Vec<u8> = (0..100)
                .flat_map(|n| format!("{:063}\n", chunk * 100 + n).into_bytes())
                .collect();
            forwarder.forward(Stream::Out, &lines);
        }
        let dropped = forwarder.dropped();
        assert!(dropped > 0 && dropped < count);
        let mut got = Vec::new();
        let mut block = vec![0u8; 65536];
        while (got.len() as u64) < (count - dropped) * 64 {
            let n = read(&read_end, &mut block).unwrap();
            got.extend_from_slice(&block[..n]);
        }
        let text = String::from_utf8(got).unwrap();
        assert!(text.ends_with(&format!("{:063}\n", count - 1)));
        assert!(text.lines().all(|line| line.len() == 63));
        let n = read(&err_read, &mut block).unwrap();
        assert!(String::from_utf8_lossy(&block[..n]).contains(&format!("{dropped} lines")));
    }

    #[test]
    fn l60_a_reader_that_is_only_slow_gets_every_line() {
        let (read_end, write_end) = rustix::pipe::pipe().unwrap();
        let forwarder = Forwarder::start(write_end, null()).unwrap();
        let reader = std::thread::spawn(move || {
            let (mut got, mut block) = (0usize, vec![0u8; 65536]);
            while let Ok(n @ 1..) = read(&read_end, &mut block) {
                got += n;
                if block[..n].ends_with(b"end\n") {
                    break;
                }
            }
            got
        });
        let lines = "x\n".repeat(10_000);
        for _ in 0..200 {
            forwarder.forward(Stream::Out, lines.as_bytes());
        }
        forwarder.forward(Stream::Out, b"end\n");
        assert_eq!(reader.join().unwrap(), 200 * 20_000 + 4);
        assert_eq!(forwarder.dropped(), 0);
    }

    #[test]
    fn a_closed_stdout_holds_nobody_up() {
        let (read_end, write_end) = rustix::pipe::pipe().unwrap();
        drop(read_end);
        let forwarder = Forwarder::start(write_end, null()).unwrap();
        forwarder.forward(Stream::Out, b"a\nb\n");
        forwarder.finish();
        assert_eq!(forwarder.dropped(), 2);
    }
}
