//! PID 1's own words on the container's stderr: `herm: …`, one line each. Its stdout is the main
//! program's, which may be a filter in somebody's pipe, and the services'.
//!
//! A reader that doesn't read must not stop PID 1, so nothing is written unless it can be written
//! now; lines that can't be are counted, and the count is told with the next line that can.

use std::io::IoSlice;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, ReadWriteFlags};

/// Longest line written; a pipe takes this much in one piece.
const LINE_BYTES_MAX: usize = 4096;

/// How much PID 1 says (`HERM_LOG`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// What needs a person.
    Error,
    /// What is degraded.
    Warn,
    /// Steps that did something. The default.
    Info,
    /// Everything.
    Debug,
}

impl Level {
    /// The level of this name.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "error" => Some(Self::Error),
            "warn" | "warning" => Some(Self::Warn),
            "info" => Some(Self::Info),
            "debug" | "trace" => Some(Self::Debug),
            _ => None,
        }
    }
}

/// The container's stderr, as PID 1 uses it.
#[derive(Debug)]
pub(crate) struct Output {
    level: Level,
    dropped: u64,
    /// A description of the same pipe or terminal for us alone, where there could be one: without
    /// waiting, which the one we share with the main program must not be set to.
    own: Option<OwnedFd>,
}

impl Output {
    /// Says lines up to this level.
    pub(crate) fn new(level: Level) -> Self {
        Self {
            level,
            dropped: 0,
            own: open_own(rustix::stdio::stderr()),
        }
    }

    /// What people must know.
    pub(crate) fn error(&mut self, text: &str) {
        self.say(Level::Error, text);
    }

    /// What is degraded, or was done in spite of something.
    pub(crate) fn warn(&mut self, text: &str) {
        self.say(Level::Warn, text);
    }

    /// A step that did something.
    pub(crate) fn info(&mut self, text: &str) {
        self.say(Level::Info, text);
    }

    /// What helps to find a fault in herm.
    pub(crate) fn debug(&mut self, text: &str) {
        self.say(Level::Debug, text);
    }

    fn say(&mut self, level: Level, text: &str) {
        if level > self.level {
            return;
        }
        if self.dropped > 0 {
            let note = line(
                "warning",
                &format!("{} lines could not be written", self.dropped),
            );
            if self.write_now(&note) {
                self.dropped = 0;
            }
        }
        let prefix = match level {
            Level::Error => "error",
            Level::Warn => "warning",
            Level::Info | Level::Debug => "",
        };
        if !self.write_now(&line(prefix, text)) {
            self.dropped += 1;
        }
    }

    fn write_now(&self, line: &[u8]) -> bool {
        match &self.own {
            Some(own) => rustix::io::write(own, line).is_ok(),
            None => write_now(rustix::stdio::stderr(), line),
        }
    }
}

/// Opens a pipe or a terminal anew, by its link in `/proc`, so that writes to it never wait. A file is
/// left alone (it would be written from its beginning, and doesn't wait), and so is a socket (it can't be
/// opened, and knows `RWF_NOWAIT`).
fn open_own(fd: BorrowedFd<'_>) -> Option<OwnedFd> {
    use rustix::fs::{FileType, Mode, OFlags, fstat, open};
    let kind = FileType::from_raw_mode(fstat(fd).ok()?.st_mode);
    if !matches!(kind, FileType::Fifo | FileType::CharacterDevice) {
        return None;
    }
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    open(path, flags, Mode::empty()).ok()
}

fn line(prefix: &str, text: &str) -> Vec<u8> {
    let mut line = String::from("herm: ");
    if !prefix.is_empty() {
        line.push_str(prefix);
        line.push_str(": ");
    }
    // Text may quote what a user chose; it must not be able to begin a line of its own.
    line.extend(text.chars().map(|c| if c.is_control() { ' ' } else { c }));
    let mut bytes = line.into_bytes();
    bytes.truncate(LINE_BYTES_MAX - 1);
    bytes.push(b'\n');
    bytes
}

/// Writes the line if that takes no waiting.
fn write_now(fd: BorrowedFd<'_>, line: &[u8]) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::OUT)];
    let no_wait = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    if poll(&mut fds, Some(&no_wait)) != Ok(1) {
        return false;
    }
    // Another writer of the same pipe may fill it between the poll and the write, hence NOWAIT; pipes of
    // kernels before 6.4 don't know the flag. Where such a pipe could not be opened anew either (without
    // /proc, or another user's), the poll has to do.
    match rustix::io::pwritev2(fd, &[IoSlice::new(line)], u64::MAX, ReadWriteFlags::NOWAIT) {
        Ok(_) => true,
        Err(Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS | Errno::SPIPE) => {
            rustix::io::write(fd, line).is_ok()
        }
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd as _;

    #[test]
    fn a_full_pipe_drops_lines_and_never_waits() {
        let (_reader, writer) = rustix::pipe::pipe().unwrap();
        let text = line("", &"x".repeat(1000));
        let mut written = 0;
        while write_now(writer.as_fd(), &text) {
            written += 1;
        }
        assert!(written > 0);
    }

    #[test]
    fn a_description_of_our_own_never_waits_and_leaves_the_shared_one_alone() {
        let (_reader, writer) = rustix::pipe::pipe().unwrap();
        let own = open_own(writer.as_fd()).unwrap();
        let text = [b'x'; 4096];
        let full = loop {
            if let Err(error) = rustix::io::write(&own, &text) {
                break error;
            }
        };
        assert_eq!(full, Errno::AGAIN);
        let flags = rustix::fs::fcntl_getfl(&writer).unwrap();
        assert!(!flags.contains(rustix::fs::OFlags::NONBLOCK));
        let file = tempfile::tempfile().unwrap();
        assert!(open_own(file.as_fd()).is_none());
    }

    #[test]
    fn a_quoted_name_cannot_begin_a_line() {
        assert_eq!(
            line("error", "bad\nherm: fine"),
            b"herm: error: bad herm: fine\n"
        );
    }
}
