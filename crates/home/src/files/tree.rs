//! What copying, packing and unpacking a tree needs of a directory.

use std::fs::File;
use std::io;

use rustix::fs::{Mode, OFlags};

use super::{Dir, PRIVATE, PRIVATE_DIR};
use crate::error::HomeError;

/// A regular file open for reading, with what fstat said of it.
#[derive(Debug)]
pub(crate) struct OpenFile {
    pub(crate) file: File,
    pub(crate) mode: u32,
    pub(crate) size: u64,
    /// Last change, in seconds since 1970.
    pub(crate) mtime: u64,
}

impl Dir {
    /// Opens a regular file for reading, whatever its size; `None` if there is none.
    pub(crate) fn open_file(&self, name: &str) -> Result<Option<OpenFile>, HomeError> {
        let Some((fd, stat)) = self.open_regular(name, OFlags::NOFOLLOW)? else {
            return Ok(None);
        };
        Ok(Some(OpenFile {
            file: File::from(fd),
            mode: stat.st_mode & 0o777,
            size: u64::try_from(stat.st_size).unwrap_or_default(),
            mtime: u64::try_from(stat.st_mtime).unwrap_or_default(),
        }))
    }

    /// Creates a file that must not exist yet, and fills it. Not durable until
    /// [`Dir::sync_all`].
    pub(crate) fn create_file(
        &self,
        name: &str,
        mode: u32,
        write: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> Result<(), HomeError> {
        let failed = |e: io::Error| HomeError::io("create", self.path_of(name), e);
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let fd = rustix::fs::openat(&self.fd, name, flags, Mode::from_raw_mode(PRIVATE))
            .map_err(|e| failed(e.into()))?;
        let mut file = File::from(fd);
        write(&mut file).map_err(failed)?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(mode & 0o777)).map_err(|e| failed(e.into()))
    }

    /// Makes a symlink, which is not followed.
    pub(crate) fn symlink(&self, name: &str, target: &str) -> Result<(), HomeError> {
        rustix::fs::symlinkat(target, &self.fd, name)
            .map_err(|e| HomeError::io("create", self.path_of(name), e))
    }

    /// Where a symlink points; `None` if it is none or its target is no UTF-8.
    pub(crate) fn link_target(&self, name: &str) -> Option<String> {
        rustix::fs::readlinkat(&self.fd, name, Vec::new())
            .ok()?
            .into_string()
            .ok()
    }

    /// The directory at a relative path below this one, made where it isn't there.
    pub(crate) fn descend(&self, path: &str) -> Result<Self, HomeError> {
        let mut dir = self.ensure_child(".", PRIVATE_DIR)?;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            dir = dir.ensure_child(name, 0o755)?;
        }
        Ok(dir)
    }

    /// The directory that holds the entry at a relative path, and the entry's name in it.
    pub(crate) fn descend_to_parent<'a>(
        &self,
        path: &'a str,
    ) -> Result<(Self, &'a str), HomeError> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        Ok((self.descend(parent)?, name))
    }

    /// This directory's permission bits.
    pub(crate) fn mode(&self) -> Result<u32, HomeError> {
        let stat = rustix::fs::fstat(&self.fd).map_err(|e| HomeError::io("stat", &self.path, e))?;
        Ok(stat.st_mode & 0o777)
    }

    /// Sets this directory's permission bits.
    pub(crate) fn set_mode(&self, mode: u32) -> Result<(), HomeError> {
        rustix::fs::fchmod(&self.fd, Mode::from_raw_mode(mode & 0o777))
            .map_err(|e| HomeError::io("change the mode of", &self.path, e))
    }

    /// Makes everything on this file system durable; for whole trees, where a sync of each file
    /// would cost more.
    pub(crate) fn sync_all(&self) -> Result<(), HomeError> {
        rustix::fs::syncfs(&self.fd).map_err(|e| HomeError::io("sync", &self.path, e))
    }
}
