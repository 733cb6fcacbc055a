//! File operations in directories that somebody hostile can write to.
//!
//! The home belongs to agents that run arbitrary code. Whoever acts there with more rights than
//! they have must not be led elsewhere: by a symbolic link in place of a file, a directory or a
//! parent, by a hard link to a file of somebody else's, by a FIFO that blocks whoever opens it,
//! and by none of these put there between a check and a use.
//!
//! So every operation starts at a [`Dir`], a directory that is held open, and
//! * resolves names beneath it without following any symbolic link (`openat2(2)` with
//!   `RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS`, or the equal walk where the kernel lacks it),
//! * opens files with `O_NOFOLLOW | O_NONBLOCK` and looks at the *opened* file's type and link
//!   count, never at a name's,
//! * changes owners and modes by descriptor.

mod change;
mod configured;
mod own;
mod resolve;
mod tree;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};

pub use change::{Owner, is_left_of};
pub use own::{Depth, Repair, Repaired};
pub use tree::{Entry, Visit};

/// A directory held open. Names are relative to it and can't leave it.
#[derive(Debug)]
pub struct Dir {
    fd: OwnedFd,
}

/// Whether something had to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// It is new.
    New,
    /// It was there.
    Existed,
}

impl Dir {
    /// Opens a directory by a path that is trusted, such as a configured one: links in it are
    /// followed.
    pub fn open_trusted(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self {
            fd: rustix::fs::open(path, flags, Mode::empty())?,
        })
    }

    /// Opens a directory beneath this one; `relative` may have several components.
    pub fn open_dir(&self, relative: impl AsRef<Path>) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        Ok(Self {
            fd: resolve::open_beneath(self.fd.as_fd(), relative.as_ref(), flags, Mode::empty())?,
        })
    }

    /// Another handle on the same directory.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            fd: self.fd.try_clone()?,
        })
    }

    /// Opens a regular file beneath this directory, for reading.
    ///
    /// # Errors
    /// Also where it is no regular file or has other hard links; see [`refuse_odd`].
    pub fn open_file(&self, relative: impl AsRef<Path>) -> io::Result<File> {
        self.open_with(relative.as_ref(), OFlags::RDONLY, Mode::empty())
    }

    /// Opens a regular file beneath this directory for appending, and creates it with `mode`
    /// where it is missing.
    pub fn append_file(&self, relative: impl AsRef<Path>, mode: u32) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE;
        self.open_with(relative.as_ref(), flags, Mode::from_raw_mode(mode))
    }

    fn open_with(&self, relative: &Path, flags: OFlags, mode: Mode) -> io::Result<File> {
        let flags = flags | OFlags::NONBLOCK;
        let fd = resolve::open_beneath(self.fd.as_fd(), relative, flags, mode)?;
        refuse_odd(&rustix::fs::fstat(&fd)?)?;
        Ok(File::from(fd))
    }

    /// The whole of a regular file of at most `limit` bytes.
    ///
    /// # Errors
    /// Also where it is longer, of kind [`io::ErrorKind::FileTooLarge`].
    pub fn read(&self, relative: impl AsRef<Path>, limit: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.open_file(relative)?
            .take(limit.saturating_add(1))
            .read_to_end(&mut bytes)?;
        if u64::try_from(bytes.len()).is_ok_and(|length| length > limit) {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(bytes)
    }

    /// As [`Dir::read`], `None` where there is no such file.
    pub fn read_if_present(
        &self,
        relative: impl AsRef<Path>,
        limit: u64,
    ) -> io::Result<Option<Vec<u8>>> {
        none_if_missing(self.read(relative, limit))
    }

    /// What a name is, itself and not what it may link to; `None` where there is nothing.
    pub fn stat(&self, name: impl AsRef<OsStr>) -> io::Result<Option<Stat>> {
        let name = plain_name(name.as_ref())?;
        none_if_missing(
            rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW).map_err(Into::into),
        )
    }

    /// What this directory is.
    pub fn stat_self(&self) -> io::Result<Stat> {
        Ok(rustix::fs::fstat(&self.fd)?)
    }

    /// Whether a name is there, whatever it is.
    pub fn has(&self, name: impl AsRef<OsStr>) -> io::Result<bool> {
        Ok(self.stat(name)?.is_some())
    }

    /// The names in this directory, in no order, without `.` and `..`.
    pub fn names(&self) -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.fd)? {
            let name = entry?.file_name().to_bytes().to_vec();
            if name != b"." && name != b".." {
                names.push(OsString::from_vec(name));
            }
        }
        Ok(names)
    }

    /// Makes a directory, unless one is there.
    ///
    /// # Errors
    /// Also where something else has the name.
    pub fn make_dir(&self, name: impl AsRef<OsStr>, mode: u32) -> io::Result<Made> {
        let name = plain_name(name.as_ref())?;
        match rustix::fs::mkdirat(&self.fd, name, Mode::from_raw_mode(mode)) {
            Ok(()) => Ok(Made::New),
            Err(rustix::io::Errno::EXIST) => match self.stat(name)? {
                Some(found) if file_type(&found) == FileType::Directory => Ok(Made::Existed),
                Some(_) | None => Err(io::ErrorKind::NotADirectory.into()),
            },
            Err(error) => Err(error.into()),
        }
    }

    /// Removes a name that is no directory; nothing there is fine.
    pub fn remove(&self, name: impl AsRef<OsStr>) -> io::Result<()> {
        let name = plain_name(name.as_ref())?;
        none_if_missing(rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()).map_err(Into::into))
            .map(|_| ())
    }

    /// Renames within this directory, over whatever has the new name.
    pub fn rename(&self, from: impl AsRef<OsStr>, to: impl AsRef<OsStr>) -> io::Result<()> {
        let (from, to) = (plain_name(from.as_ref())?, plain_name(to.as_ref())?);
        Ok(rustix::fs::renameat(&self.fd, from, &self.fd, to)?)
    }

    /// Makes renames and new names in this directory durable.
    pub fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.fd)?)
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<Dir> for OwnedFd {
    fn from(dir: Dir) -> Self {
        dir.fd
    }
}

impl From<OwnedFd> for Dir {
    /// A descriptor of an open directory.
    fn from(fd: OwnedFd) -> Self {
        Self { fd }
    }
}

/// The type of what was looked at.
pub fn file_type(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// Refuses what is no regular file (a FIFO, a device, a socket) and a file with other hard links,
/// which may be somebody else's under a planted name.
pub fn refuse_odd(stat: &Stat) -> io::Result<()> {
    if file_type(stat) != FileType::RegularFile {
        return Err(io::Error::other("it is not a regular file"));
    }
    if stat.st_nlink > 1 {
        return Err(has_other_links());
    }
    Ok(())
}

fn has_other_links() -> io::Error {
    io::Error::other("it has other hard links and may be another file in disguise")
}

/// A single component: no slash, not empty, not `.` or `..`.
fn plain_name(name: &OsStr) -> io::Result<&OsStr> {
    let bytes = name.as_encoded_bytes();
    if bytes.is_empty() || bytes == b"." || bytes == b".." || bytes.contains(&b'/') {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "a single file name is needed here",
        ));
    }
    Ok(name)
}

fn none_if_missing<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
