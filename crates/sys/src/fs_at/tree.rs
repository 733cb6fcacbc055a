//! Walking and removing whole trees by descriptor.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};

use rustix::fs::{AtFlags, FileType, Stat, StatxFlags};
use rustix::io::Errno;

use super::change::temporary_name;
use super::{Dir, file_type, plain_name};

/// Something found in a walk.
#[derive(Debug)]
pub struct Entry<'a> {
    /// The directory it is in.
    pub dir: &'a Dir,
    /// Its name there.
    pub name: &'a OsStr,
    /// What it is, itself and not what it may link to.
    pub stat: Stat,
}

/// What a walk does after an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visit {
    /// Goes on, into the entry where it is a directory.
    Enter,
    /// Goes on, past the entry.
    Skip,
}

/// Directories nested deeper than this are not entered: every level holds a descriptor open.
const MAX_DEPTH: usize = 128;
/// How often a removal starts over to get at what was too deep, or is being added to while it goes on.
const MAX_PASSES: usize = 1000;

/// Which mount something is on. Two binds of one file system differ only in the id, which kernels
/// before 5.8 don't tell.
#[derive(Clone, Copy, Debug)]
struct Mount {
    device: u64,
    id: Option<u64>,
}

impl Mount {
    fn of(dir: &Dir) -> io::Result<Self> {
        let device = dir.stat_self()?.st_dev;
        Ok(Self {
            device,
            id: mount_id(dir.as_fd(), OsStr::new("")),
        })
    }

    fn holds(self, dir: &Dir, name: &OsStr, stat: &Stat) -> bool {
        let other = || self.id.zip(mount_id(dir.as_fd(), name));
        stat.st_dev == self.device && other().is_none_or(|(ours, theirs)| ours == theirs)
    }
}

fn mount_id(dir: BorrowedFd<'_>, name: &OsStr) -> Option<u64> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::EMPTY_PATH;
    let found = rustix::fs::statx(dir, name, flags, StatxFlags::MNT_ID).ok()?;
    let told = StatxFlags::from_bits_retain(found.stx_mask).contains(StatxFlags::MNT_ID);
    told.then_some(found.stx_mnt_id)
}

impl Dir {
    /// Visits everything beneath this directory, parents first, on this mount only: what is mounted
    /// somewhere in it, a directory or a file, is the user's own and is left alone. No link is followed.
    ///
    /// What vanishes during the walk is passed over.
    pub fn walk(&self, visit: &mut dyn FnMut(&Entry<'_>) -> io::Result<Visit>) -> io::Result<()> {
        self.walk_on(Mount::of(self)?, 0, visit)
    }

    fn walk_on(
        &self,
        mount: Mount,
        depth: usize,
        visit: &mut dyn FnMut(&Entry<'_>) -> io::Result<Visit>,
    ) -> io::Result<()> {
        for name in self.names()? {
            let Some(stat) = self.stat(&name)? else {
                continue;
            };
            if !mount.holds(self, &name, &stat) {
                continue;
            }
            let entry = Entry {
                dir: self,
                name: &name,
                stat,
            };
            if visit(&entry)? == Visit::Skip || file_type(&stat) != FileType::Directory {
                continue;
            }
            if depth >= MAX_DEPTH {
                return Err(io::Error::other(format!(
                    "directories are nested deeper than {MAX_DEPTH} levels"
                )));
            }
            match self.open_dir(&name) {
                // The name may have become another directory meanwhile, but no mount point: nobody
                // who isn't trusted can mount.
                Ok(inner) => inner.walk_on(mount, depth + 1, visit)?,
                Err(error) if is_race(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Removes a name and, where it is a directory, everything beneath it. Links are removed, not
    /// followed. Nothing there is fine, so that an interrupted removal can be repeated.
    ///
    /// # Errors
    /// Also where something is mounted beneath it: that is the user's own, and is left as it is.
    pub fn remove_tree(&self, name: impl AsRef<OsStr>) -> io::Result<()> {
        let name = plain_name(name.as_ref())?;
        let Some(stat) = self.stat(name)? else {
            return Ok(());
        };
        if file_type(&stat) != FileType::Directory {
            return self.remove(name);
        }
        let mount = Mount::of(self)?;
        refuse_mount(mount, self, name, &stat)?;
        let root = self.open_dir(name)?;
        for _ in 0..MAX_PASSES {
            let names = root.names()?;
            if names.is_empty() {
                break;
            }
            for inner in names {
                root.remove_beneath(&inner, mount, &root, 1)?;
            }
        }
        self.remove_empty(name)
    }

    /// Removes what a name in this directory is. A directory too deep to be entered is moved up to
    /// `root`, where the next pass finds it: else whoever nests deeper than we have descriptors could
    /// make a tree that can't be removed.
    fn remove_beneath(
        &self,
        name: &OsStr,
        mount: Mount,
        root: &Dir,
        depth: usize,
    ) -> io::Result<()> {
        let Some(stat) = self.stat(name)? else {
            return Ok(());
        };
        refuse_mount(mount, self, name, &stat)?;
        if file_type(&stat) != FileType::Directory {
            return self.remove(name);
        }
        if depth >= MAX_DEPTH {
            let shallow = temporary_name(OsStr::new("deep"))?;
            return Ok(rustix::fs::renameat(self, name, root, &shallow)?);
        }
        let inner = self.open_dir(name)?;
        let names: Vec<OsString> = inner.names()?;
        for inner_name in &names {
            inner.remove_beneath(inner_name, mount, root, depth + 1)?;
        }
        self.remove_empty(name)
    }

    /// Removes an empty directory; nothing there is fine.
    ///
    /// # Errors
    /// Also where it is not empty, or no directory.
    pub fn remove_empty(&self, name: impl AsRef<OsStr>) -> io::Result<()> {
        let name = plain_name(name.as_ref())?;
        match rustix::fs::unlinkat(self.as_fd(), name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

fn refuse_mount(mount: Mount, dir: &Dir, name: &OsStr, stat: &Stat) -> io::Result<()> {
    if mount.holds(dir, name, stat) {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "something is mounted on {}; unmount it first",
        name.display()
    )))
}

/// The entry is gone, or a link or a file has taken its place since it was looked at.
fn is_race(error: &io::Error) -> bool {
    [Errno::NOENT, Errno::LOOP, Errno::NOTDIR]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}
