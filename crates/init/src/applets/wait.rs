//! Waiting for services: a FIFO in each one's `event` directory, and what is written there.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use herm_s6::event;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, Mode, OFlags};

use super::complain::{fatal, refused};
use super::options::{BadOption, Options};
use super::service::{now, read_status};

/// Time is over.
const TIMED_OUT: u8 = 99;

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Goal {
    up: bool,
    /// Ready where up, fully down where down.
    fully: bool,
    /// First it has to be fully down.
    again: bool,
}

impl Goal {
    /// The goal of a letter, as every waiting command has it.
    pub(super) fn of_letter(letter: u8) -> Option<Self> {
        let goal = |up, fully, again| Some(Self { up, fully, again });
        match letter {
            b'u' => goal(true, false, false),
            b'U' => goal(true, true, false),
            b'd' => goal(false, false, false),
            b'D' => goal(false, true, false),
            b'r' => goal(true, false, true),
            b'R' => goal(true, true, true),
            _ => None,
        }
    }

    /// The goal of a word that is a letter.
    pub(super) fn of_word(word: &OsStr) -> Option<Self> {
        match word.as_bytes() {
            [letter] => Self::of_letter(*letter),
            _ => None,
        }
    }

    /// Whether it is for the service to say so.
    pub(super) fn is_ready(self) -> bool {
        self.up && self.fully
    }

    /// The same, for a service that may never say that it is ready.
    pub(super) fn without_readiness(mut self, silent: impl FnOnce() -> bool) -> Self {
        if self.is_ready() && silent() {
            self.fully = false;
        }
        self
    }
}

/// When waiting is given up.
pub(super) struct Deadline(Option<Instant>);

impl Deadline {
    /// After so many milliseconds; 0: never.
    pub(super) fn after(millis: u32) -> Self {
        let span = Duration::from_millis(millis.into());
        Self((millis > 0).then(|| Instant::now() + span))
    }

    fn left(&self) -> Option<Duration> {
        self.0
            .map(|at| at.saturating_duration_since(Instant::now()))
    }
}

/// How a service was when last heard of.
#[derive(Clone, Copy)]
struct Seen {
    up: bool,
    /// Ready where up, fully down where down.
    fully: bool,
}

/// One service that is listened to.
pub(super) struct Watch {
    fifo: PathBuf,
    reads: OwnedFd,
    /// Held so that there is never an end to read.
    _writes: OwnedFd,
    seen: Seen,
    failed: bool,
    /// It was fully down since the wait began.
    was_down: bool,
}

impl Watch {
    /// Begins to listen, then looks at the status: nothing can happen unseen in between.
    pub(super) fn begin(dir: &Path) -> io::Result<Self> {
        let events = dir.join("event");
        let mut random = [0; 6];
        let _ = rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::NONBLOCK);
        let name = event::listener_name(now(), random);
        let hidden = events.join(OsStr::from_bytes(&[b".", &name[..]].concat()));
        let fifo = events.join(OsStr::from_bytes(&name));
        let here = rustix::fs::CWD;
        rustix::fs::mknodat(here, &hidden, FileType::Fifo, Mode::from_raw_mode(0o600), 0)?;
        // The supervisor may be another user, who is let in by the group or by everyone's bits.
        rustix::fs::chmod(&hidden, Mode::from_raw_mode(0o622))?;
        let flags = OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened =
            rustix::fs::open(&hidden, flags | OFlags::RDONLY, Mode::empty()).and_then(|reads| {
                let writes = rustix::fs::open(&hidden, flags | OFlags::WRONLY, Mode::empty())?;
                rustix::fs::rename(&hidden, &fifo)?;
                Ok((reads, writes))
            });
        let (reads, writes) = opened.inspect_err(|_| {
            let _ = std::fs::remove_file(&hidden);
        })?;
        let mut watch = Self {
            fifo,
            reads,
            _writes: writes,
            seen: Seen {
                up: false,
                fully: false,
            },
            failed: false,
            was_down: false,
        };
        let status =
            read_status(dir)?.ok_or_else(|| io::Error::other("its status is no status of s6's"))?;
        watch.seen = Seen {
            up: status.is_up(),
            fully: status.ready,
        };
        watch.was_down = !watch.seen.up && watch.seen.fully;
        Ok(watch)
    }

    /// Takes what was written.
    fn take(&mut self, goal: Goal) {
        let mut bytes = [0; 256];
        while let Ok(count @ 1..) = rustix::io::read(&self.reads, &mut bytes) {
            for letter in bytes.iter().take(count) {
                self.happened(*letter, goal);
                if self.is_over(goal) {
                    return;
                }
            }
        }
    }

    fn happened(&mut self, letter: u8, goal: Goal) {
        let (up, fully) = match letter {
            event::UP => (true, false),
            event::READY => (true, true),
            event::DOWN => (false, false),
            event::REALLY_DOWN => (false, true),
            event::ONCE_DOWN => {
                self.failed |= goal.up;
                return;
            }
            event::UNSUPERVISED => {
                self.failed = true;
                return;
            }
            _ => return,
        };
        self.seen = Seen { up, fully };
        self.was_down |= letter == event::REALLY_DOWN;
    }

    fn is_reached(&self, goal: Goal) -> bool {
        self.seen.up == goal.up
            && (!goal.fully || self.seen.fully)
            && (!goal.again || self.was_down)
    }

    fn is_over(&self, goal: Goal) -> bool {
        self.failed || self.is_reached(goal)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.fifo);
    }
}

/// Waits for all of them, or for any; the exit code.
pub(super) fn wait_all(
    command: &str,
    mut watches: Vec<Watch>,
    goal: Goal,
    any: bool,
    deadline: &Deadline,
) -> u8 {
    loop {
        let reached = |watch: &&Watch| watch.is_reached(goal);
        let over = watches.iter().all(|watch| watch.is_over(goal));
        if over || any && watches.iter().any(|watch| reached(&watch)) {
            let failed = watches
                .iter()
                .filter(|watch| !watch.is_reached(goal))
                .count();
            let good = any && failed < watches.len();
            return if good {
                0
            } else {
                u8::try_from(failed).unwrap_or(u8::MAX)
            };
        }
        let left = deadline.left();
        if left.is_some_and(|left| left.is_zero()) {
            return fatal(command, &"timed out", TIMED_OUT);
        }
        if let Err(error) = wait_for_any(&watches, left) {
            return refused(command, &"wait", &io::Error::from(error));
        }
        for watch in &mut watches {
            if !watch.is_over(goal) {
                watch.take(goal);
            }
        }
    }
}

fn wait_for_any(watches: &[Watch], left: Option<Duration>) -> Result<(), rustix::io::Errno> {
    let mut fds: Vec<PollFd<'_>> = watches
        .iter()
        .map(|watch| PollFd::new(&watch.reads, PollFlags::IN))
        .collect();
    let left = left.map(|left| Timespec {
        tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: left.subsec_nanos().into(),
    });
    match poll(&mut fds, left.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The options of the commands that wait.
pub(super) struct Asked {
    pub(super) goal: Goal,
    pub(super) any: bool,
    pub(super) deadline: Deadline,
}

/// Reads them.
pub(super) fn read_options(options: &mut Options<'_>) -> Result<Asked, BadOption> {
    let (mut letter, mut any, mut timeout) = (b'u', false, 0);
    while let Some(option) = options.next(b"uUdDrRaot")? {
        match option {
            b'a' => any = false,
            b'o' => any = true,
            b't' => timeout = options.number()?,
            goal => letter = goal,
        }
    }
    Ok(Asked {
        goal: Goal::of_letter(letter).ok_or(BadOption)?,
        any,
        deadline: Deadline::after(timeout),
    })
}

/// Begins to listen to all of these directories.
pub(super) fn watch_all(command: &str, dirs: &[OsString]) -> Result<Vec<Watch>, u8> {
    let begin = |dir: &OsString| {
        let dir = Path::new(dir);
        Watch::begin(dir)
            .map_err(|error| refused(command, &format_args!("wait for {}", dir.display()), &error))
    };
    dirs.iter().map(begin).collect()
}
