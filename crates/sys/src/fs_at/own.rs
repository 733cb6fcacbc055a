//! Giving trees to an owner: only what is wrong, on one mount, by as many threads as help.
//!
//! Every file needs one look, as a file given away deep under correct parents shows nowhere else. So
//! the look is made cheap: `getdents64` tells what needs none (links, devices, sockets), `statx` is
//! asked for no more than owner, type and mount, by name in a directory that is held open, and the
//! directories are spread over threads. A small tree never starts one. See decision 0008.

use std::ffi::{CStr, CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, StatxFlags};
use rustix::io::Errno;

use super::{Dir, Owner};

/// A tree of fewer entries is not worth a thread.
const INLINE_ENTRIES_MAX: u64 = 4096;
/// More threads than this wait for each other, not for the disk.
const THREADS_MAX: usize = 16;
/// Fewer than this leave a disk idle that could look for several inodes at once.
const THREADS_MIN: usize = 4;
/// What one `getdents64` call may fill.
const NAMES_BYTES: usize = 32 * 1024;
/// A directory with this many entries in one call is shared with another thread.
const SHARE_FROM: usize = 256;

/// Set once the kernel (before 4.11) or a seccomp profile has refused `statx`.
static NO_STATX: AtomicBool = AtomicBool::new(false);

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
        let mount = Look::at(dir.as_fd(), c"", AtFlags::EMPTY_PATH)?;
        let state = State {
            todo: Vec::new(),
            busy: 0,
            waiting: 0,
            done: Repaired::default(),
        };
        Ok(Self {
            shared: Arc::new(Shared {
                owner,
                dry_run,
                mount,
                state: Mutex::new(state),
                changed: Condvar::new(),
            }),
            top: Arc::new(dir.as_fd().try_clone_to_owned()?),
            threads: Vec::new(),
        })
    }

    /// Gives the directory itself.
    pub fn take_top(&mut self) {
        let mut part = Part::default();
        part.done.seen = 1;
        match Look::at(self.top.as_fd(), c"", AtFlags::EMPTY_PATH) {
            Ok(look) => {
                self.shared.give(self.top.as_fd(), c".", &look, &mut part);
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

/// What all threads of a repair share.
#[derive(Debug)]
struct Shared {
    owner: Owner,
    dry_run: bool,
    mount: Look,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    todo: Vec<Job>,
    /// Jobs that are being done, and may bring others.
    busy: usize,
    /// Threads that wait for a change. To wake nobody would be a system call all the same.
    waiting: usize,
    done: Repaired,
}

impl State {
    fn is_done(&self) -> bool {
        self.todo.is_empty() && self.busy == 0
    }

    fn take(&mut self, mut part: Part) {
        self.todo.append(&mut part.todo);
        self.done.add(part.done);
    }
}

/// Something to do. It is taken from the end, so that few directories are open at any time.
#[derive(Debug)]
enum Job {
    /// Give a directory, and go on in it where `deep`.
    Enter {
        parent: Arc<OwnedFd>,
        name: CString,
        deep: bool,
    },
    /// Go on reading a directory, whose position its readers share.
    Read(Arc<OwnedFd>),
}

/// What a job brings.
#[derive(Debug, Default)]
struct Part {
    todo: Vec<Job>,
    done: Repaired,
    /// The last file was wrong, so the next one is likely to be, too.
    expect_wrong: bool,
}

struct Entry<'a> {
    dir: &'a Arc<OwnedFd>,
    name: &'a CStr,
    kind: FileType,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does jobs until there are none, or `enough` entries were seen; answers whether all is done.
    fn work(&self, enough: u64) -> bool {
        let mut names: Vec<u8> = Vec::with_capacity(NAMES_BYTES);
        let mut state = self.lock();
        loop {
            if state.done.seen >= enough {
                return state.is_done();
            }
            let Some(job) = state.todo.pop() else {
                if state.busy == 0 {
                    self.wake(&state);
                    return true;
                }
                state.waiting += 1;
                let woken = self.changed.wait(state);
                state = woken.unwrap_or_else(PoisonError::into_inner);
                state.waiting -= 1;
                continue;
            };
            state.busy += 1;
            drop(state);
            let part = self.perform(job, &mut names);
            state = self.lock();
            state.busy -= 1;
            state.take(part);
            self.wake(&state);
        }
    }

    fn wake(&self, state: &State) {
        if state.waiting > 0 {
            self.changed.notify_all();
        }
    }

    fn perform(&self, job: Job, names: &mut Vec<u8>) -> Part {
        let mut part = Part::default();
        let dir = match job {
            Job::Read(dir) => dir,
            Job::Enter { parent, name, deep } => match self.enter(&parent, &name, &mut part) {
                Some(dir) if deep => Arc::new(dir),
                _ => return part,
            },
        };
        self.read(&dir, names, &mut part);
        part
    }

    /// Opens a directory and gives it; `None` where it is none any more, or another's mount.
    fn enter(&self, parent: &OwnedFd, name: &CStr, part: &mut Part) -> Option<OwnedFd> {
        let flags = OFlags::RDONLY
            | OFlags::DIRECTORY
            | OFlags::NOFOLLOW
            | OFlags::NONBLOCK
            | OFlags::CLOEXEC;
        let dir = match rustix::fs::openat(parent, name, flags, Mode::empty()) {
            Ok(dir) => dir,
            Err(error) => return part.refuse_unless_gone(name, error),
        };
        let look = match Look::at(dir.as_fd(), c"", AtFlags::EMPTY_PATH) {
            Ok(look) => look,
            Err(error) => return part.refuse_unless_gone(name, error),
        };
        if !look.is_on(&self.mount) {
            return None;
        }
        part.done.seen += 1;
        self.give(dir.as_fd(), name, &look, part);
        Some(dir)
    }

    /// Looks at what one `getdents64` call tells of a directory, and leaves the rest of it as a job.
    fn read(&self, dir: &Arc<OwnedFd>, names: &mut Vec<u8>, part: &mut Part) {
        let mut entries = RawDir::new(dir, names.spare_capacity_mut());
        let mut count = 0;
        while let Some(entry) = entries.next() {
            let Ok(entry) = entry else {
                let unreadable = io::Error::other("a directory's names can't be read");
                return part.done.refuse(c".", unreadable);
            };
            let (name, kind) = (entry.file_name(), entry.file_type());
            if name != c"." && name != c".." {
                let found = Entry { dir, name, kind };
                self.visit(&found, Depth::Everything, part);
            }
            count += 1;
            if count == SHARE_FROM {
                part.todo.push(Job::Read(Arc::clone(dir)));
                self.share(std::mem::take(part));
            }
            if entries.is_buffer_empty() {
                if count < SHARE_FROM {
                    part.todo.push(Job::Read(Arc::clone(dir)));
                }
                return;
            }
        }
    }

    /// Lets others have the jobs that a part of the work brought.
    fn share(&self, part: Part) {
        let mut state = self.lock();
        state.take(part);
        self.wake(&state);
    }

    fn visit(&self, entry: &Entry<'_>, depth: Depth, part: &mut Part) {
        let Entry { dir, name, kind } = *entry;
        let mut kind = kind;
        let mut look = None;
        if kind == FileType::Unknown || (kind == FileType::RegularFile && !part.expect_wrong) {
            match Look::at(dir.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(found) => {
                    kind = found.kind;
                    look = Some(found);
                }
                Err(error) => {
                    part.refuse_unless_gone::<()>(name, error);
                    return;
                }
            }
        }
        match kind {
            FileType::Directory if depth != Depth::FilesOnly => part.todo.push(Job::Enter {
                parent: Arc::clone(dir),
                name: name.to_owned(),
                deep: depth == Depth::Everything,
            }),
            FileType::RegularFile => {
                part.done.seen += 1;
                let is_right = look.is_some_and(|look| look.belongs_to(self.owner));
                part.expect_wrong = !is_right && self.give_file(dir, name, part);
            }
            _ => {}
        }
    }

    /// Gives a file whose owner is or may be wrong; answers whether it was. It is opened, whatever
    /// it was when it was looked at, without a word to a device or a waiting reader (`O_PATH`).
    fn give_file(&self, dir: &OwnedFd, name: &CStr, part: &mut Part) -> bool {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(dir, name, flags, Mode::empty())
            .and_then(|file| Ok((Look::at(file.as_fd(), c"", AtFlags::EMPTY_PATH)?, file)));
        let (look, file) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                part.refuse_unless_gone::<()>(name, error);
                return false;
            }
        };
        if look.kind != FileType::RegularFile || !look.is_on(&self.mount) {
            return false;
        }
        self.give(file.as_fd(), name, &look, part)
    }

    /// Changes the owner by descriptor where it is wrong; answers whether it was.
    fn give(&self, fd: BorrowedFd<'_>, name: &CStr, look: &Look, part: &mut Part) -> bool {
        if look.belongs_to(self.owner) {
            return false;
        }
        if look.kind == FileType::RegularFile && look.links > 1 {
            part.done.refuse(name, super::has_other_links());
            return true;
        }
        let (uid, gid) = self.owner.ids();
        let given = if self.dry_run {
            Ok(())
        } else {
            rustix::fs::chownat(fd, c"", uid, gid, AtFlags::EMPTY_PATH)
        };
        match given {
            Ok(()) => part.done.given += 1,
            Err(error) => part.done.refuse(name, error),
        }
        true
    }
}

impl Part {
    /// What is gone, or something else by now, needs no word.
    fn refuse_unless_gone<T>(&mut self, name: &CStr, error: Errno) -> Option<T> {
        if ![Errno::NOENT, Errno::LOOP, Errno::NOTDIR].contains(&error) {
            self.done.refuse(name, error);
        }
        None
    }
}

/// What matters of an inode here.
#[derive(Clone, Copy, Debug)]
struct Look {
    kind: FileType,
    uid: u32,
    gid: u32,
    links: u64,
    device: (u32, u32),
    /// Kernels before 5.8 don't tell. Two binds of one file system differ only in it, and parts of
    /// one overlay only in the device.
    mount: Option<u64>,
}

impl Look {
    fn at(dir: BorrowedFd<'_>, name: &CStr, flags: AtFlags) -> Result<Self, Errno> {
        if !NO_STATX.load(Ordering::Relaxed) {
            let flags = flags | AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC;
            let wanted = StatxFlags::TYPE
                | StatxFlags::UID
                | StatxFlags::GID
                | StatxFlags::NLINK
                | StatxFlags::MNT_ID;
            match rustix::fs::statx(dir, name, flags, wanted) {
                Ok(found) => {
                    let told = StatxFlags::from_bits_retain(found.stx_mask);
                    return Ok(Self {
                        kind: FileType::from_raw_mode(found.stx_mode.into()),
                        uid: found.stx_uid,
                        gid: found.stx_gid,
                        links: found.stx_nlink.into(),
                        device: (found.stx_dev_major, found.stx_dev_minor),
                        mount: told
                            .contains(StatxFlags::MNT_ID)
                            .then_some(found.stx_mnt_id),
                    });
                }
                Err(Errno::NOSYS | Errno::PERM) => NO_STATX.store(true, Ordering::Relaxed),
                Err(error) => return Err(error),
            }
        }
        Self::at_without_statx(dir, name, flags)
    }

    fn at_without_statx(dir: BorrowedFd<'_>, name: &CStr, flags: AtFlags) -> Result<Self, Errno> {
        let found = rustix::fs::statat(dir, name, flags)?;
        let device = found.st_dev;
        Ok(Self {
            kind: FileType::from_raw_mode(found.st_mode),
            uid: found.st_uid,
            gid: found.st_gid,
            links: found.st_nlink,
            device: (rustix::fs::major(device), rustix::fs::minor(device)),
            mount: None,
        })
    }

    fn belongs_to(&self, owner: Owner) -> bool {
        self.uid == owner.uid && self.gid == owner.gid
    }

    fn is_on(&self, mount: &Self) -> bool {
        match self.mount.zip(mount.mount) {
            Some((ours, theirs)) => ours == theirs,
            None => self.device == mount.device,
        }
    }
}

#[cfg(test)]
mod tests;
