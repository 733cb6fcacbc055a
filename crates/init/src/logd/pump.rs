//! From a run's pipe to its log: look, write, and only then take.
//!
//! `tee(2)` shows what is in a pipe without taking it. The whole lines of it are stamped, written
//! to the log and handed to stdout; then they are spliced away. Killed anywhere, the log daemon
//! leaves in the pipe (of which PID 1 keeps a read end) all that isn't in the log: its successor
//! repeats a chunk at most. The beginning of a line stays in the pipe while there is more to read
//! behind it, and moves to the [`Hold`](super::hold::Hold) when there isn't or the pipe may be small,
//! so that a pipe is always empty in the end, whatever its size, and level-triggered epoll is enough.
//!
//! What can't be teed (it is no pipe, or a seccomp profile forbids it) is read first and written
//! then. A kill loses the whole lines of that chunk.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags, open};
use rustix::io::{Errno, read, retry_on_intr};
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice, tee};

use super::directories::Directories;
use super::directory::Now;
use super::frame;
use super::hold::Hold;
use super::outbox::Outbox;
use super::stamp::Stamp;
use super::stdout::{Forwarder, Stream};
use crate::logproto::{Forward, FromLogd, Stats};

/// What is moved at once: a pipe's usual size.
const CHUNK_BYTES: usize = 64 * 1024;

/// A chunk of this size may have filled its pipe: pipes shrink to two pages for users who have many.
const SMALL_PIPE_BYTES: usize = 8 * 1024;

/// A run whose output is being logged.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) id: u64,
    pub(crate) service: String,
    pub(crate) pipe: OwnedFd,
    pub(crate) directory: Option<u64>,
    pub(crate) forward: Forward,
    pub(crate) stats: Stats,
    /// Its pipe can't be teed.
    pub(crate) unteeable: bool,
}

/// Where lines go.
pub(crate) struct Sinks {
    pub(crate) hold: Hold,
    pub(crate) directories: Directories,
    pub(crate) forwarder: Forwarder,
    pub(crate) outbox: Outbox,
}

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// There may be more to read.
    More,
    /// Nothing to read now.
    Idle,
    /// All writers are gone and everything is read.
    End,
}

enum Fetched {
    /// So many bytes are in the input buffer.
    Bytes {
        length: usize,
        /// And in the pipe as well.
        in_pipe: bool,
    },
    Nothing,
    End,
}

/// The buffers, one set for all runs.
pub(crate) struct Pump {
    scratch: (OwnedFd, OwnedFd),
    null: Option<OwnedFd>,
    input: Vec<u8>,
    stamped: Vec<u8>,
    forwarded: Vec<u8>,
}

impl Pump {
    /// Opens what it needs, which is best done before privileges go: small pipes are for
    /// unprivileged users who have many.
    pub(crate) fn new() -> Result<Self, Errno> {
        let scratch = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // A smaller one costs speed only.
        let _ = fcntl_setpipe_size(&scratch.1, CHUNK_BYTES);
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        Ok(Self {
            scratch,
            null: open("/dev/null", flags, Mode::empty()).ok(),
            input: vec![0; CHUNK_BYTES],
            stamped: Vec::new(),
            forwarded: Vec::new(),
        })
    }

    /// Logs one chunk of the run's output.
    pub(crate) fn step(&mut self, run: &mut Run, sinks: &mut Sinks, now: Now) -> Progress {
        let (length, in_pipe) = match self.fetch(run) {
            Fetched::Bytes { length, in_pipe } => (length, in_pipe),
            Fetched::Nothing => return Progress::Idle,
            Fetched::End => return Progress::End,
        };
        let input = std::mem::take(&mut self.input);
        let chunk = input.get(..length).unwrap_or_default();
        let progress = self.log(run, sinks, chunk, in_pipe, now);
        self.input = input;
        progress
    }

    /// Logs what the run holds: a line that will have no end, or one that a log daemon was killed
    /// writing.
    pub(crate) fn end_line(&mut self, run: &mut Run, sinks: &mut Sinks, now: Now) {
        let held = sinks.hold.get(run.id);
        if held.is_empty() {
            return;
        }
        let line = if held.ends_with(b"\n") {
            held.to_vec()
        } else {
            [held, frame::NO_NEWLINE_MARK].concat()
        };
        self.emit(run, &Stamp::new(now.wall), &line);
        self.write(run, sinks, now);
        sinks.hold.release(run.id);
    }

    fn log(
        &mut self,
        run: &mut Run,
        sinks: &mut Sinks,
        chunk: &[u8],
        in_pipe: bool,
        now: Now,
    ) -> Progress {
        let stamp = Stamp::new(now.wall);
        let mut rest = chunk;
        let holds = !sinks.hold.get(run.id).is_empty();
        if holds || frame::first_line(chunk).is_none() {
            let room = frame::LINE_BYTES_MAX.saturating_sub(sinks.hold.get(run.id).len());
            let length = frame::first_line(chunk)
                .unwrap_or(chunk.len())
                .min(room.max(1));
            let Some((part, after)) = chunk.split_at_checked(length) else {
                return Progress::Idle;
            };
            if self.hold(run, sinks, part, in_pipe) < length {
                // Somebody else reads this pipe: it is theirs to lose.
                return Progress::Idle;
            }
            rest = after;
            let held = sinks.hold.get(run.id);
            if held.ends_with(b"\n") {
                let line = held.to_vec();
                self.emit(run, &stamp, &line);
            } else if held.len() >= frame::LINE_BYTES_MAX || sinks.hold.is_full() {
                let line = [held, frame::SPLIT_MARK].concat();
                self.emit(run, &stamp, &line);
            } else {
                return Progress::Idle;
            }
        }
        let (whole, tail) = frame::split_whole(rest);
        self.emit(run, &stamp, whole);
        self.write(run, sinks, now);
        sinks.hold.release(run.id);
        if in_pipe {
            let consumed = self.consume(run, whole.len());
            run.stats.bytes += consumed as u64;
            if chunk.len() <= SMALL_PIPE_BYTES && consumed == whole.len() && !tail.is_empty() {
                // Left behind, it would take half of a small pipe from the writer.
                self.hold(run, sinks, tail, in_pipe);
            }
        } else {
            run.stats.bytes += rest.len() as u64;
            if !tail.is_empty() {
                sinks.hold.put(run.id, tail);
            }
        }
        Progress::More
    }

    fn fetch(&mut self, run: &mut Run) -> Fetched {
        if !run.unteeable {
            let (from, to) = &self.scratch;
            let shown = retry_on_intr(|| tee(&run.pipe, to, CHUNK_BYTES, SpliceFlags::NONBLOCK));
            match shown {
                Ok(0) => return Fetched::End,
                Ok(length) => {
                    let length = read_exactly(from, &mut self.input, length);
                    return Fetched::Bytes {
                        length,
                        in_pipe: true,
                    };
                }
                Err(Errno::AGAIN) => return Fetched::Nothing,
                Err(_) => run.unteeable = true,
            }
        }
        match retry_on_intr(|| read(&run.pipe, &mut self.input)) {
            Ok(0) => Fetched::End,
            Ok(length) => Fetched::Bytes {
                length,
                in_pipe: false,
            },
            Err(Errno::AGAIN) => Fetched::Nothing,
            Err(_) => Fetched::End,
        }
    }

    /// Moves the beginning of a line, or its end, to the hold. Says how much was moved.
    fn hold(&self, run: &mut Run, sinks: &mut Sinks, part: &[u8], in_pipe: bool) -> usize {
        let moved = if in_pipe {
            let pipe = run.pipe.as_fd();
            match sinks.hold.take(run.id, pipe, part) {
                Some(moved) => moved,
                None => self.consume(run, part.len()),
            }
        } else {
            sinks.hold.put(run.id, part);
            part.len()
        };
        run.stats.bytes += moved as u64;
        moved
    }

    /// Takes what was written out of the pipe, and says how much that was.
    fn consume(&self, run: &Run, length: usize) -> usize {
        let mut taken = 0;
        while taken < length {
            let left = length - taken;
            let result = match &self.null {
                Some(null) => {
                    let flags = SpliceFlags::NONBLOCK;
                    splice(&run.pipe, None, null, None, left, flags).or_else(|errno| match errno {
                        Errno::INVAL | Errno::PERM | Errno::NOSYS => discard(&run.pipe, left),
                        errno => Err(errno),
                    })
                }
                None => discard(&run.pipe, left),
            };
            match result {
                Ok(n @ 1..) => taken += n,
                Err(Errno::INTR) => {}
                Ok(_) | Err(_) => break,
            }
        }
        taken
    }

    fn emit(&mut self, run: &mut Run, stamp: &Stamp, lines: &[u8]) {
        run.stats.lines += if run.directory.is_some() {
            frame::append_stamped(&mut self.stamped, stamp, lines)
        } else {
            frame::count(lines)
        };
        frame::append_forwarded(&mut self.forwarded, run.forward, &run.service, stamp, lines);
    }

    fn write(&mut self, run: &Run, sinks: &mut Sinks, now: Now) {
        if let Some(key) = run.directory {
            let problem = sinks.directories.append(key, run.id, &self.stamped, now);
            tell(sinks, Some(run.id), problem);
        }
        sinks.forwarder.forward(Stream::Out, &self.forwarded);
        self.stamped.clear();
        self.forwarded.clear();
        // One endless line must not leave its memory behind.
        self.stamped.shrink_to(4 * CHUNK_BYTES);
        self.forwarded.shrink_to(4 * CHUNK_BYTES);
    }
}

/// Tells PID 1 of a problem, and whoever reads the container's stderr.
pub(crate) fn tell(sinks: &mut Sinks, run: Option<u64>, problem: Option<String>) {
    let Some(text) = problem else {
        return;
    };
    let line = format!("herm-logd: {text}\n");
    sinks.forwarder.forward(Stream::Err, line.as_bytes());
    sinks.outbox.push(FromLogd::problem(run, &text));
}

/// Reads what is known to be there.
fn read_exactly(from: &OwnedFd, to: &mut [u8], length: usize) -> usize {
    let mut done = 0;
    while let Some(rest) = to.get_mut(done..length).filter(|rest| !rest.is_empty()) {
        match retry_on_intr(|| read(from, &mut *rest)) {
            Ok(n @ 1..) => done += n,
            Ok(_) | Err(_) => break,
        }
    }
    done
}

fn discard(pipe: &OwnedFd, length: usize) -> Result<usize, Errno> {
    let mut block = [0u8; 4096];
    let length = length.min(block.len());
    read(pipe, block.get_mut(..length).unwrap_or_default())
}

#[cfg(test)]
mod hot_paths;
