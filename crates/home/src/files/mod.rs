//! Files of the home, reached by directory descriptors.
//!
//! The home is writable by agents that run arbitrary code (contract section 3), so what herm writes
//! and what it trusts is opened relative to a directory it holds, without following a symlink,
//! without blocking on a FIFO, and only if it is a regular file. [`Dir::read_input`] is the one
//! exception: files that people edit may be symlinks (Kubernetes mounts them so), and their content
//! is given no trust.
//!
//! [`Dir::write_atomic`] is the only way anything is written: temporary file, fsync, rename, fsync
//! of the directory. After a crash at any instruction the old content or the new one is there.

mod tree;
mod write;

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, RawDir, RenameFlags, SeekFrom};
use rustix::io::Errno;

use crate::error::HomeError;

/// Mode of files that may hold secrets or intent.
pub const PRIVATE: u32 = 0o600;
/// Mode of directories only the service user enters.
pub const PRIVATE_DIR: u32 = 0o700;

/// Bytes of names that are read at a time.
const LISTING: usize = 32 * 1024;

/// An open directory and the path it was opened by (for messages).
#[derive(Debug)]
pub struct Dir {
    fd: OwnedFd,
    path: PathBuf,
}

/// A file's bytes with the identity of the file they were read from.
#[derive(Debug)]
pub struct Content {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
    pub(crate) id: FileId,
}

/// Which file it is, and in which state: another one of the same name differs, and so does the
/// same one written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileId {
    dev: u64,
    ino: u64,
    size: i64,
    mtime: (i64, u64),
}

impl Dir {
    /// Opens a directory by path; the last component may be a symlink (a home may be one).
    pub fn open(path: &Path) -> Result<Self, HomeError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty())
            .map_err(|e| HomeError::io("open", path, e))?;
        Ok(Self {
            fd,
            path: path.to_owned(),
        })
    }

    /// The path of an entry, for messages.
    pub fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Opens a directory inside this one; `None` if there is nothing of that name. A symlink or
    /// a file is an error.
    pub fn child(&self, name: &str) -> Result<Option<Self>, HomeError> {
        let path = self.path_of(name);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        match rustix::fs::openat(&self.fd, name, flags, Mode::empty()) {
            Ok(fd) => Ok(Some(Self { fd, path })),
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::LOOP | Errno::NOTDIR) => Err(self.wrong_kind(name, "a directory")),
            Err(e) => Err(HomeError::io("open", path, e)),
        }
    }

    /// Opens a directory inside this one, making it if it isn't there.
    pub fn ensure_child(&self, name: &str, mode: u32) -> Result<Self, HomeError> {
        match rustix::fs::mkdirat(&self.fd, name, Mode::from_raw_mode(mode)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(e) => return Err(HomeError::io("create", self.path_of(name), e)),
        }
        self.child(name)?.ok_or_else(|| {
            HomeError::io(
                "open",
                self.path_of(name),
                io::Error::from(io::ErrorKind::NotFound),
            )
        })
    }

    /// Makes a directory that must not exist yet, and opens it.
    pub fn create_child(&self, name: &str, mode: u32) -> Result<Self, HomeError> {
        rustix::fs::mkdirat(&self.fd, name, Mode::from_raw_mode(mode))
            .map_err(|e| HomeError::io("create", self.path_of(name), e))?;
        self.ensure_child(name, mode)
    }

    /// Reads a regular file of at most `limit` bytes; `None` if there is none. Symlinks are refused.
    pub fn read(&self, name: &str, limit: u64) -> Result<Option<Content>, HomeError> {
        self.read_with(name, limit, OFlags::NOFOLLOW)
    }

    /// Like [`Dir::read`], for files that people edit and that may be symlinks.
    pub fn read_input(&self, name: &str, limit: u64) -> Result<Option<Content>, HomeError> {
        self.read_with(name, limit, OFlags::empty())
    }

    fn read_with(
        &self,
        name: &str,
        limit: u64,
        extra: OFlags,
    ) -> Result<Option<Content>, HomeError> {
        let Some((fd, stat)) = self.open_regular(name, extra)? else {
            return Ok(None);
        };
        // With room for all of it and a little more, two reads do: the bytes, and their end.
        let expected = u64::try_from(stat.st_size).unwrap_or_default().min(limit);
        let mut bytes = Vec::with_capacity(usize::try_from(expected).unwrap_or_default() + 64);
        File::from(fd)
            .take(limit + 1)
            .read_to_end(&mut bytes)
            .map_err(|e| HomeError::io("read", self.path_of(name), e))?;
        if bytes.len() as u64 > limit {
            return Err(HomeError::TooLarge {
                path: self.path_of(name),
                limit,
            });
        }
        Ok(Some(Content {
            bytes,
            mode: stat.st_mode & 0o777,
            id: FileId::of(&stat),
        }))
    }

    /// Opens without blocking, and looks afterwards at what was opened.
    fn open_regular(
        &self,
        name: &str,
        extra: OFlags,
    ) -> Result<Option<(OwnedFd, rustix::fs::Stat)>, HomeError> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY | extra;
        let fd = match rustix::fs::openat(&self.fd, name, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP | Errno::NXIO) => return Err(self.wrong_kind(name, "a regular file")),
            Err(e) => return Err(HomeError::io("open", self.path_of(name), e)),
        };
        let stat =
            rustix::fs::fstat(&fd).map_err(|e| HomeError::io("stat", self.path_of(name), e))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(self.wrong_kind(name, "a regular file"));
        }
        Ok(Some((fd, stat)))
    }

    /// Removes a file (or the symlink of that name); `false` if there was none.
    pub fn remove(&self, name: &str) -> Result<bool, HomeError> {
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(e) => Err(HomeError::io("remove", self.path_of(name), e)),
        }
    }

    /// The size in bytes of a regular file; `None` if there is none.
    pub fn size(&self, name: &str) -> Option<u64> {
        let stat = rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        u64::try_from(stat.st_size).ok().filter(|_| regular)
    }

    /// Takes the lock of this name and waits for it; it is released when the value is dropped, and
    /// by the kernel when its holder dies.
    pub fn lock(&self, name: &str) -> Result<File, HomeError> {
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let failed = |e| HomeError::io("lock", self.path_of(name), e);
        let fd = rustix::fs::openat(&self.fd, name, flags, Mode::from_raw_mode(PRIVATE))
            .map_err(failed)?;
        match rustix::io::retry_on_intr(|| rustix::fs::flock(&fd, FlockOperation::LockExclusive)) {
            // Some network and FUSE file systems have no locks; there the keeper is alone anyway.
            Ok(()) | Err(Errno::NOSYS | Errno::NOTSUP | Errno::NOLCK | Errno::INVAL) => {}
            Err(e) => return Err(failed(e)),
        }
        Ok(File::from(fd))
    }

    /// Renames an entry, in place of whatever has the new name.
    pub fn rename_over(&self, from: &str, to: &str) -> Result<(), HomeError> {
        rustix::fs::renameat(&self.fd, from, &self.fd, to)
            .map_err(|e| HomeError::io("rename", self.path_of(from), e))
    }

    /// Renames an entry to a name that must be free, and makes that durable. `false`: it is taken.
    pub fn rename_to_free(&self, from: &str, to: &str) -> Result<bool, HomeError> {
        match self.rename_noreplace(from, to) {
            Ok(()) => {
                self.sync()
                    .map_err(|e| HomeError::io("sync", &self.path, e))?;
                Ok(true)
            }
            Err(Errno::EXIST | Errno::NOTEMPTY) => Ok(false),
            Err(e) => Err(HomeError::io("rename", self.path_of(from), e)),
        }
    }

    /// `RENAME_NOREPLACE`, or where the file system has none: a check and a rename.
    fn rename_noreplace(&self, from: &str, to: &str) -> Result<(), Errno> {
        match rustix::fs::renameat_with(&self.fd, from, &self.fd, to, RenameFlags::NOREPLACE) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::PERM) => {
                if self.exists(to) {
                    return Err(Errno::EXIST);
                }
                rustix::fs::renameat(&self.fd, from, &self.fd, to)
            }
            result => result,
        }
    }

    /// Whether an entry of any kind is there.
    pub fn exists(&self, name: &str) -> bool {
        rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// What kind an entry is, itself and not what it points to; `None` if there is none.
    pub fn kind(&self, name: &str) -> Option<FileType> {
        let stat = rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        Some(FileType::from_raw_mode(stat.st_mode))
    }

    /// The names in this directory, sorted; names that aren't UTF-8 are escaped and can't be opened.
    pub fn names(&self) -> Result<Vec<String>, HomeError> {
        let entries = self.entries()?;
        Ok(entries.into_iter().map(|(name, _)| name).collect())
    }

    /// The names as [`Dir::names`] has them, each with its kind where the file system says it with the
    /// name, and [`FileType::Unknown`] elsewhere.
    pub fn entries(&self) -> Result<Vec<(String, FileType)>, HomeError> {
        let failed = |e: Errno| HomeError::io("list", &self.path, e);
        let mut entries = Vec::new();
        // The place up to which was read is the descriptor's.
        rustix::fs::seek(&self.fd, SeekFrom::Start(0)).map_err(failed)?;
        let mut buffer = Vec::with_capacity(LISTING);
        let mut listing = RawDir::new(&self.fd, buffer.spare_capacity_mut());
        while let Some(entry) = listing.next() {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                let name = match std::str::from_utf8(name) {
                    Ok(name) => name.to_owned(),
                    Err(_) => name.escape_ascii().to_string(),
                };
                entries.push((name, entry.file_type()));
            }
        }
        entries.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(entries)
    }

    /// Makes what was renamed or created here durable.
    pub fn sync(&self) -> io::Result<()> {
        match rustix::fs::fsync(&self.fd) {
            // Some network and FUSE file systems have no fsync for directories.
            Ok(()) | Err(Errno::INVAL | Errno::NOTSUP | Errno::BADF) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// Which file an entry is now; `None` if there is none.
    pub(crate) fn id_of(&self, name: &str) -> Option<FileId> {
        let stat = rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        Some(FileId::of(&stat))
    }

    fn wrong_kind(&self, name: &str, expected: &'static str) -> HomeError {
        let found = match self.kind(name) {
            Some(FileType::Symlink) => "a symlink",
            Some(FileType::Directory) => "a directory",
            Some(FileType::RegularFile) => "a file",
            Some(FileType::Fifo) => "a named pipe",
            Some(FileType::Socket) => "a socket",
            Some(FileType::CharacterDevice | FileType::BlockDevice) => "a device",
            Some(FileType::Unknown) | None => "something else",
        };
        HomeError::WrongKind {
            path: self.path_of(name),
            found,
            expected,
        }
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl FileId {
    fn of(stat: &rustix::fs::Stat) -> Self {
        Self {
            dev: stat.st_dev,
            ino: stat.st_ino,
            size: stat.st_size,
            mtime: (stat.st_mtime, stat.st_mtime_nsec),
        }
    }
}
