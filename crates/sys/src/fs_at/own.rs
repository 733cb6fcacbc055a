//! Giving trees to an owner: only what is wrong, on one mount, by as many threads as help.
//!
//! Every file needs one look, as a file given away deep under correct parents shows nowhere else. So
//! the look is made cheap: `getdents64` tells what needs none (links, devices, sockets), `statx` is
//! asked for no more than owner, type and mount, by name in a directory that is held open, and the
//! directories are spread over threads. A small tree never starts one.
//!
//! A change is made by descriptor, because between a look and a change by name the name can become
//! another file's. Only where nobody else can change names is the name as good: in a directory that is
//! root's alone. So a directory of a wrong user becomes root's first, then its files are given by name,
//! then it is given itself. See decision 0008.

use std::ffi::{CStr, CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::sync::{Arc, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};

use super::{Dir, Owner};
use look::Look;
use walk::{Entry, Others, Part, Shared, Target};

mod look;
mod walk;

/// A tree of fewer entries is not worth a thread.
const INLINE_ENTRIES_MAX: u64 = 4096;
/// More threads than this wait for each other, not for the disk.
const THREADS_MAX: usize = 16;
/// Fewer than this leave a disk idle that could look for several inodes at once.
const THREADS_MIN: usize = 4;
/// How directories are opened.
const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);

/// What becomes of a directory that [`Repair::take`] is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// It is none of ours; only a regular file of the name is.
    FilesOnly,
    /// It is given, and nothing in it.
    Itself,
    /// It is given with everything beneath it.
    Everything,
}

/// What a repair has found and done.
#[derive(Debug, Default)]
pub struct Repaired {
    /// Entries looked at.
    pub seen: u64,
    /// Entries that were, or in a dry run would be, given to the owner.
    pub given: u64,
    /// Entries that could not be given.
    pub refusals: u64,
    /// The name of the first of these, and why.
    pub refused: Option<(OsString, io::Error)>,
}

impl Repaired {
    fn refuse(&mut self, name: &CStr, error: impl Into<io::Error>) {
        self.refusals += 1;
        if self.refused.is_none() {
            let name = OsString::from_vec(name.to_bytes().to_vec());
            self.refused = Some((name, error.into()));
        }
    }

    fn add(&mut self, other: Self) {
        self.seen += other.seen;
        self.given += other.given;
        self.refusals += other.refusals;
        if self.refused.is_none() {
            self.refused = other.refused;
        }
    }
}

/// A repair of ownership under way. Dropped unfinished, its threads go on to the process's end.
#[derive(Debug)]
pub struct Repair {
    shared: Arc<Shared>,
    top: Arc<OwnedFd>,
    threads: Vec<JoinHandle<()>>,
}

impl Repair {
    /// A repair for `owner` of what [`Repair::take`] names in `dir`, on the mount that `dir` is on.
    /// In a dry run it only counts.
    pub fn of(dir: &Dir, owner: Owner, dry_run: bool) -> io::Result<Self> {
        // Opened anew: its lock is this repair's alone, and ends with it.
        let top = rustix::fs::openat(dir, c".", DIRECTORY, Mode::empty())?;
        let mount = Look::at(top.as_fd(), c"", AtFlags::EMPTY_PATH)?;
        let others = Others::of(&top);
        Ok(Self {
            shared: Arc::new(Shared::new(owner, dry_run, mount, others)),
            top: Arc::new(top),
            threads: Vec::new(),
        })
    }

    /// Gives the directory itself.
    pub fn take_top(&mut self) {
        let mut part = Part::default();
        part.done.seen = 1;
        match Look::at(self.top.as_fd(), c"", AtFlags::EMPTY_PATH) {
            Ok(look) => {
                let target = Target::open(self.top.as_fd(), c".");
                self.shared.give(&target, &look, &mut part);
            }
            Err(error) => part.done.refuse(c".", error),
        }
        self.shared.lock().take(part);
    }

    /// Takes a name in the directory: a regular file is given at once, a directory by
    /// [`Repair::run`] as far as `depth` says, anything else is left alone.
    pub fn take(&mut self, name: &OsStr, depth: Depth) {
        let Ok(name) = CString::new(name.as_bytes()) else {
            return;
        };
        let mut part = Part::default();
        let entry = Entry {
            dir: &self.top,
            stands_still: false,
            name: &name,
            kind: FileType::Unknown,
        };
        self.shared.visit(&entry, depth, &mut part);
        self.shared.lock().take(part);
    }

    /// Works until all is done or `until` has come; answers whether all is done. `tell` is called
    /// with what was done so far every `every`. A repair that is not done goes on by itself.
    pub fn run(
        &mut self,
        until: Option<Instant>,
        every: Duration,
        tell: &mut dyn FnMut(&Repaired),
    ) -> bool {
        if self.threads.is_empty() && self.shared.work(INLINE_ENTRIES_MAX) {
            return true;
        }
        self.start_threads();
        if self.threads.is_empty() {
            return self.shared.work(u64::MAX);
        }
        let mut tell_at = Instant::now() + every;
        let mut state = self.shared.lock();
        while !state.is_done() {
            let now = Instant::now();
            if until.is_some_and(|until| now >= until) {
                return false;
            }
            if now >= tell_at {
                tell_at = now + every;
                tell(&state.done);
            }
            let next = until.map_or(tell_at, |until| until.min(tell_at));
            let wait = next.saturating_duration_since(now);
            state.waiting += 1;
            let woken = self.shared.changed.wait_timeout(state, wait);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
            state.waiting -= 1;
        }
        true
    }

    fn start_threads(&mut self) {
        let cpus = rustix::thread::sched_getaffinity(None).map_or(1, |set| set.count());
        let wanted = usize::try_from(cpus)
            .unwrap_or(1)
            .clamp(THREADS_MIN, THREADS_MAX);
        while self.threads.len() < wanted {
            let shared = Arc::clone(&self.shared);
            let started = Builder::new().spawn(move || {
                shared.work(u64::MAX);
            });
            match started {
                Ok(thread) => self.threads.push(thread),
                Err(_) => return,
            }
        }
    }

    /// What was done. Waits for what is still under way.
    pub fn finish(mut self) -> Repaired {
        for thread in self.threads.drain(..) {
            // A thread that panicked has told so itself.
            let _ = thread.join();
        }
        self.shared.work(u64::MAX);
        std::mem::take(&mut self.shared.lock().done)
    }
}

#[cfg(test)]
mod tests;
