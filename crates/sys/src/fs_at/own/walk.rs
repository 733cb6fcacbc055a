//! The walk: directories as jobs that threads share, and what is done with each entry.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use rustix::fs::{AtFlags, FileType, FlockOperation, Gid, Mode, OFlags, RawDir, Uid};
use rustix::io::Errno;

use super::super::has_other_links;
use super::look::Look;
use super::{DIRECTORY, Depth, Owner, Repaired};

/// What one `getdents64` call may fill.
const NAMES_BYTES: usize = 32 * 1024;
/// A directory with this many entries in one call is shared with another thread.
const SHARE_FROM: usize = 256;

/// What all threads of a repair share.
#[derive(Debug)]
pub(super) struct Shared {
    owner: Owner,
    dry_run: bool,
    mount: Look,
    others: Others,
    state: Mutex<State>,
    pub(super) changed: Condvar,
}

#[derive(Debug)]
pub(super) struct State {
    todo: Vec<Job>,
    /// Jobs that are being done, and may bring others.
    busy: usize,
    /// Threads that wait for a change. To wake nobody would be a system call all the same.
    pub(super) waiting: usize,
    pub(super) done: Repaired,
}

impl State {
    pub(super) fn is_done(&self) -> bool {
        self.todo.is_empty() && self.busy == 0
    }

    pub(super) fn take(&mut self, mut part: Part) {
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
    Read(Arc<Reading>),
}

/// A directory whose names are read, by one thread or several.
#[derive(Debug)]
struct Reading {
    dir: Arc<OwnedFd>,
    name: CString,
    /// What it was before it was made root's alone; it is given when all its names are read.
    held: Option<Look>,
}

impl Reading {
    fn of(dir: OwnedFd, name: CString, held: Option<Look>) -> Self {
        let dir = Arc::new(dir);
        Self { dir, name, held }
    }
}

/// Whether another repair of the same tree is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Others {
    /// None is: this one has the lock.
    None,
    /// One is, or somebody says so. It may rely on names that stand still, so no directory is
    /// given before it has done so.
    Busy,
    /// Nobody can say on this file system, so nobody relies on names.
    Unknown,
}

impl Others {
    pub(super) fn of(top: &OwnedFd) -> Self {
        match rustix::fs::flock(top, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Self::None,
            Err(Errno::WOULDBLOCK) => Self::Busy,
            Err(_) => Self::Unknown,
        }
    }
}

/// What a job brings.
#[derive(Debug, Default)]
pub(super) struct Part {
    todo: Vec<Job>,
    pub(super) done: Repaired,
    /// The last file was wrong, so the next one is likely to be, too.
    expect_wrong: bool,
}

pub(super) struct Entry<'a> {
    pub(super) dir: &'a Arc<OwnedFd>,
    /// Nobody but root can change the directory's names.
    pub(super) stands_still: bool,
    pub(super) name: &'a CStr,
    pub(super) kind: FileType,
}

/// What is to be given: an open file or directory, or a name in a directory that stands still.
pub(super) struct Target<'a> {
    at: BorrowedFd<'a>,
    path: &'a CStr,
    flags: AtFlags,
    /// What it is called where something is told about it.
    name: &'a CStr,
}

impl<'a> Target<'a> {
    pub(super) fn open(at: BorrowedFd<'a>, name: &'a CStr) -> Self {
        Self {
            at,
            path: c"",
            flags: AtFlags::EMPTY_PATH,
            name,
        }
    }
}

impl Shared {
    pub(super) fn new(owner: Owner, dry_run: bool, mount: Look, others: Others) -> Self {
        let state = State {
            todo: Vec::new(),
            busy: 0,
            waiting: 0,
            done: Repaired::default(),
        };
        Self {
            owner,
            dry_run,
            mount,
            others,
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does jobs until there are none, or `enough` entries were seen; answers whether all is done.
    pub(super) fn work(&self, enough: u64) -> bool {
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
        let reading = match job {
            Job::Read(reading) => Some(reading),
            Job::Enter { parent, name, deep } => {
                self.enter(&parent, name, deep, &mut part).map(Arc::new)
            }
        };
        if let Some(reading) = reading {
            self.read(&reading, names, &mut part);
            self.let_go(reading, &mut part);
        }
        part
    }

    /// Opens a directory and gives it, or holds it where it is to be given after its files; `None` where
    /// it is none any more, another's mount, or not `deep`.
    fn enter(
        &self,
        parent: &OwnedFd,
        name: CString,
        deep: bool,
        part: &mut Part,
    ) -> Option<Reading> {
        let flags = DIRECTORY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let opened = rustix::fs::openat(parent, &name, flags, Mode::empty())
            .and_then(|dir| Ok((Look::at(dir.as_fd(), c"", AtFlags::EMPTY_PATH)?, dir)));
        let (look, dir) = match opened {
            Ok(opened) => opened,
            Err(error) => return part.refuse_unless_gone(&name, error),
        };
        if !look.is_on(&self.mount) {
            return None;
        }
        part.done.seen += 1;
        let held = if look.belongs_to(self.owner) || !deep {
            None
        } else if self.others == Others::Busy {
            let why = "another repair of the same tree is under way and will give it";
            part.done.refuse(&name, io::Error::other(why));
            return Some(Reading::of(dir, name, None));
        } else {
            self.hold(&dir, &look).then_some(look)
        };
        if held.is_none() {
            self.give(&Target::open(dir.as_fd(), &name), &look, part);
        }
        deep.then(|| Reading::of(dir, name, held))
    }

    /// Makes a wrong directory root's alone, where that takes nothing from the owner-to-be.
    pub(super) fn hold(&self, dir: &OwnedFd, look: &Look) -> bool {
        let can_rely = self.others == Others::None && !self.dry_run;
        if !can_rely || look.uid == self.owner.uid || look.others_write() {
            return false;
        }
        let is_roots =
            look.uid == 0 || rustix::fs::fchown(dir, Some(Uid::ROOT), None::<Gid>).is_ok();
        // Its old owner may have opened it to others just before.
        is_roots
            && Look::at(dir.as_fd(), c"", AtFlags::EMPTY_PATH).is_ok_and(|look| look.stands_still())
    }

    /// Gives a directory that was held, when the last of its readers lets go of it.
    fn let_go(&self, reading: Arc<Reading>, part: &mut Part) {
        if let Some(Reading { dir, name, held }) = Arc::into_inner(reading)
            && let Some(look) = held
        {
            self.give(&Target::open(dir.as_fd(), &name), &look, part);
        }
    }

    /// Looks at what one `getdents64` call tells of a directory, and leaves the rest of it as a job.
    fn read(&self, reading: &Arc<Reading>, names: &mut Vec<u8>, part: &mut Part) {
        let mut entries = RawDir::new(&*reading.dir, names.spare_capacity_mut());
        let mut count = 0;
        while let Some(entry) = entries.next() {
            let Ok(entry) = entry else {
                let unreadable = io::Error::other("a directory's names can't be read");
                return part.done.refuse(&reading.name, unreadable);
            };
            let (name, kind) = (entry.file_name(), entry.file_type());
            if name != c"." && name != c".." {
                let found = Entry {
                    dir: &reading.dir,
                    stands_still: reading.held.is_some(),
                    name,
                    kind,
                };
                self.visit(&found, Depth::Everything, part);
            }
            count += 1;
            if count == SHARE_FROM {
                part.todo.push(Job::Read(Arc::clone(reading)));
                self.share(std::mem::take(part));
            }
            if entries.is_buffer_empty() {
                if count < SHARE_FROM {
                    part.todo.push(Job::Read(Arc::clone(reading)));
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

    pub(super) fn visit(&self, entry: &Entry<'_>, depth: Depth, part: &mut Part) {
        let Entry { dir, name, .. } = *entry;
        let mut kind = entry.kind;
        let mut look = None;
        let is_in_vain = part.expect_wrong && !entry.stands_still;
        if kind == FileType::Unknown || (kind == FileType::RegularFile && !is_in_vain) {
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
                part.expect_wrong = match look {
                    Some(look) if look.belongs_to(self.owner) => false,
                    Some(look) if entry.stands_still => self.give_name(dir, name, &look, part),
                    _ => self.give_file(dir, name, part),
                };
            }
            _ => {}
        }
    }

    /// Gives a file by its name, which nobody can have made another's since the look.
    fn give_name(&self, dir: &OwnedFd, name: &CStr, look: &Look, part: &mut Part) -> bool {
        let target = Target {
            at: dir.as_fd(),
            path: name,
            flags: AtFlags::SYMLINK_NOFOLLOW,
            name,
        };
        look.is_on(&self.mount) && self.give(&target, look, part)
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
        self.give(&Target::open(file.as_fd(), name), &look, part)
    }

    /// Changes the owner where it is wrong; answers whether it was.
    pub(super) fn give(&self, target: &Target<'_>, look: &Look, part: &mut Part) -> bool {
        if look.belongs_to(self.owner) {
            return false;
        }
        if look.kind == FileType::RegularFile && look.links > 1 {
            part.done.refuse(target.name, has_other_links());
            return true;
        }
        let (uid, gid) = self.owner.ids();
        let given = if self.dry_run {
            Ok(())
        } else {
            rustix::fs::chownat(target.at, target.path, uid, gid, target.flags)
        };
        match given {
            Ok(()) => part.done.given += 1,
            Err(error) => part.done.refuse(target.name, error),
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
