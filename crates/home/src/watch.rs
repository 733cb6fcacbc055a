//! Waiting for changes in directories: inotify, and where that is blind (file systems changed
//! from elsewhere: network, FUSE, shares of a host) a look every few seconds.

use std::collections::BTreeMap;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;

use crate::error::HomeError;

/// Between two looks where nobody tells of changes.
const BLIND_LOOK: Duration = Duration::from_secs(5);

/// `f_type` of file systems whose changes may be made by another machine (statfs(2)): NFS, FUSE
/// (virtiofs and the shares of desktop Dockers too), 9p, CIFS, SMB, SMB2, Ceph, AFS, vboxsf,
/// Lustre.
const BLIND: [u64; 10] = [
    0x6969,
    0x6573_5546,
    0x0102_1997,
    0xff53_4d42,
    0x517b,
    0xfe53_4d42,
    0x00c3_6400,
    0x5346_414f,
    0x786f_4256,
    0x0bd0_0bd0,
];

/// A change: the watched directory and the entry's name in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The directory, as it was given.
    pub dir: PathBuf,
    /// The entry; empty for the directory itself.
    pub name: String,
}

/// What woke a waiter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changes {
    /// These.
    Known(Vec<Change>),
    /// Some: the kernel's queue overflowed.
    Lost,
}

/// Directories under watch.
#[derive(Debug)]
pub struct Watch {
    inotify: OwnedFd,
    dirs: BTreeMap<i32, PathBuf>,
    blind: bool,
}

impl Watch {
    /// Watches nothing yet.
    pub fn new() -> Result<Self, HomeError> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)
            .map_err(HomeError::Unwatched)?;
        Ok(Self {
            inotify,
            dirs: BTreeMap::new(),
            blind: false,
        })
    }

    /// Watches a directory, from now on; what isn't there can't be watched and is no error. A
    /// directory that was removed and made again is a new one and has to be named again. Answers
    /// whether it was not watched before: then nothing tells what has happened in it so far.
    pub fn follow_dir(&mut self, dir: &Path) -> Result<bool, HomeError> {
        let flags = WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MODIFY
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO
            | WatchFlags::ONLYDIR;
        match inotify::add_watch(&self.inotify, dir, flags) {
            Ok(descriptor) => {
                let is_new = self.dirs.insert(descriptor, dir.to_owned()).is_none();
                self.blind |= is_new && is_blind(dir);
                Ok(is_new)
            }
            Err(Errno::NOENT | Errno::NOTDIR) => {
                // It may appear; until then somebody has to look.
                self.blind = true;
                Ok(false)
            }
            Err(Errno::NOSPC) => {
                self.blind = true;
                Ok(false)
            }
            Err(error) => Err(HomeError::io("watch", dir, error)),
        }
    }

    /// Watches for what is renamed in a directory, and nothing else. `false`: it is not there.
    pub fn follow_renames(&mut self, dir: &Path) -> Result<bool, HomeError> {
        let flags = WatchFlags::MOVED_TO | WatchFlags::ONLYDIR;
        match inotify::add_watch(&self.inotify, dir, flags) {
            Ok(descriptor) => {
                self.blind |= is_blind(dir);
                self.dirs.insert(descriptor, dir.to_owned());
                Ok(true)
            }
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
            Err(Errno::NOSPC) => {
                self.blind = true;
                Ok(true)
            }
            Err(error) => Err(HomeError::io("watch", dir, error)),
        }
    }

    /// How long a waiter may sleep without looking itself; `None`: for ever.
    pub fn patience(&self) -> Option<Duration> {
        self.blind.then_some(BLIND_LOOK)
    }

    /// Waits until something may have changed.
    pub fn wait(&mut self) -> Result<Changes, HomeError> {
        self.wait_for(self.patience())
    }

    /// As [`Watch::wait`], but no longer than this.
    pub fn wait_at_most(&mut self, limit: Duration) -> Result<Changes, HomeError> {
        self.wait_for(Some(limit))
    }

    fn wait_for(&mut self, limit: Option<Duration>) -> Result<Changes, HomeError> {
        let timeout = limit.and_then(|span| Timespec::try_from(span).ok());
        let mut fds = [PollFd::new(&self.inotify, PollFlags::IN)];
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(self.drain()),
            Err(error) => Err(HomeError::Unwatched(error)),
        }
    }

    /// What has changed since the last call.
    pub fn drain(&mut self) -> Changes {
        let mut buffer = [MaybeUninit::<u8>::uninit(); 8192];
        let mut reader = inotify::Reader::new(&self.inotify, &mut buffer);
        let mut changes = Vec::new();
        // EAGAIN: there is no more. Nothing else can come of a descriptor we own.
        while let Ok(event) = reader.next() {
            if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                return Changes::Lost;
            }
            if event.events().contains(ReadFlags::IGNORED) {
                self.dirs.remove(&event.wd());
                continue;
            }
            if let Some(dir) = self.dirs.get(&event.wd()) {
                let name = event
                    .file_name()
                    .map(|name| name.to_string_lossy().into_owned());
                changes.push(Change {
                    dir: dir.clone(),
                    name: name.unwrap_or_default(),
                });
            }
        }
        Changes::Known(changes)
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

/// Lets this time pass, where there is nothing to wait for.
pub(crate) fn rest(time: Duration) {
    // Cut short by a signal, it is looked at the sooner.
    let _ = poll(&mut [], Timespec::try_from(time).ok().as_ref());
}

/// Whether a directory's changes may be made elsewhere, where nobody tells of them.
#[expect(
    clippy::cast_sign_loss,
    reason = "f_type is a set of bits, signed on some machines"
)]
pub fn is_blind(dir: &Path) -> bool {
    rustix::fs::statfs(dir).is_ok_and(|fs| BLIND.contains(&(fs.f_type as u64 & 0xffff_ffff)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_told_with_their_place() {
        let dir = tempfile::tempdir().unwrap();
        let mut watch = Watch::new().unwrap();
        watch.follow_dir(dir.path()).unwrap();
        assert_eq!(watch.drain(), Changes::Known(vec![]));
        std::fs::write(dir.path().join("x"), "1").unwrap();
        let Changes::Known(changes) = watch.wait().unwrap() else {
            panic!("lost")
        };
        assert!(changes.contains(&Change {
            dir: dir.path().to_owned(),
            name: "x".into()
        }));
    }

    #[test]
    fn where_nobody_tells_one_has_to_look() {
        let mut watch = Watch::new().unwrap();
        assert_eq!(watch.patience(), None);
        watch.follow_dir(Path::new("/nonexistent/dir")).unwrap();
        assert_eq!(watch.patience(), Some(BLIND_LOOK));
    }
}
