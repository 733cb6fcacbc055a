//! Changing files and their attributes: atomically, and by descriptor.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{FileType, Gid, Mode, OFlags, Uid};

use super::{Dir, file_type, plain_name, refuse_odd, resolve};

/// Who shall own a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

impl Owner {
    /// This process's own user and group.
    pub fn own() -> Self {
        Self {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
        }
    }

    pub(super) fn ids(self) -> (Option<Uid>, Option<Gid>) {
        (Some(Uid::from_raw(self.uid)), Some(Gid::from_raw(self.gid)))
    }
}

impl Dir {
    /// Replaces (or creates) a file as a whole and durably: readers see the old content or the
    /// new, also after a crash at any instant. A link in its place is replaced, not followed.
    pub fn write_atomic(
        &self,
        name: impl AsRef<OsStr>,
        contents: &[u8],
        mode: u32,
        owner: Option<Owner>,
    ) -> io::Result<()> {
        let name = plain_name(name.as_ref())?;
        let temporary = temporary_name(name)?;
        let written = self
            .write_new(&temporary, contents, mode, owner)
            .and_then(|()| self.rename(&temporary, name));
        if written.is_err() {
            // The failure that matters is the one above.
            let _ = self.remove(&temporary);
        }
        written?;
        self.sync()
    }

    fn write_new(
        &self,
        name: &OsStr,
        contents: &[u8],
        mode: u32,
        owner: Option<Owner>,
    ) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        // Nobody else may open it before it has its owner and mode.
        let private = Mode::RUSR | Mode::WUSR;
        let fd = resolve::open_beneath(self.as_fd(), name.as_ref(), flags, private)?;
        let mut file = File::from(fd);
        file.write_all(contents)?;
        if let Some(owner) = owner {
            let (uid, gid) = owner.ids();
            rustix::fs::fchown(&file, uid, gid)?;
        }
        rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))?;
        file.sync_all()
    }

    /// Gives a regular file or a directory to `owner`. Answers whether anything had to change.
    ///
    /// # Errors
    /// Also where the name is a link or anything else, or a file with other hard links.
    pub fn set_owner(&self, name: impl AsRef<OsStr>, owner: Owner) -> io::Result<bool> {
        let fd = self.open_to_change(name.as_ref())?;
        set_owner_of(&fd, owner)
    }

    /// Gives this directory to `owner`. Answers whether anything had to change.
    pub fn set_own_owner(&self, owner: Owner) -> io::Result<bool> {
        set_owner_of(self, owner)
    }

    /// Sets the permission bits of a regular file or a directory. Answers whether anything had to
    /// change.
    ///
    /// # Errors
    /// As [`Dir::set_owner`].
    pub fn set_mode(&self, name: impl AsRef<OsStr>, mode: u32) -> io::Result<bool> {
        let fd = self.open_to_change(name.as_ref())?;
        let now = rustix::fs::fstat(&fd)?.st_mode & 0o7777;
        if now == mode {
            return Ok(false);
        }
        rustix::fs::fchmod(&fd, Mode::from_raw_mode(mode))?;
        Ok(true)
    }

    /// Opens what a name is for a change of its attributes, and makes sure it is what it seems.
    fn open_to_change(&self, name: &OsStr) -> io::Result<OwnedFd> {
        let name = plain_name(name)?;
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        let fd = resolve::open_beneath(self.as_fd(), name.as_ref(), flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&fd)?;
        if file_type(&stat) != FileType::Directory {
            refuse_odd(&stat)?;
        }
        Ok(fd)
    }
}

fn set_owner_of(fd: impl AsFd, owner: Owner) -> io::Result<bool> {
    let stat = rustix::fs::fstat(&fd)?;
    if stat.st_uid == owner.uid && stat.st_gid == owner.gid {
        return Ok(false);
    }
    let (uid, gid) = owner.ids();
    rustix::fs::fchown(fd, uid, gid)?;
    Ok(true)
}

/// Whether `found` is what [`Dir::write_atomic`] of `name` leaves behind when it is killed.
pub fn is_left_of(found: &OsStr, name: &str) -> bool {
    let random = found
        .as_encoded_bytes()
        .strip_prefix(b".")
        .and_then(|rest| rest.strip_prefix(name.as_bytes()))
        .and_then(|rest| rest.strip_prefix(b"."))
        .and_then(|rest| rest.strip_suffix(b".tmp"));
    random.is_some_and(|random| random.len() == 16 && random.iter().all(u8::is_ascii_hexdigit))
}

/// A hidden name beside `name` that nobody can have taken beforehand.
pub(super) fn temporary_name(name: &OsStr) -> io::Result<OsString> {
    let mut random = [0_u8; 8];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
    let mut temporary = OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{:016x}.tmp", u64::from_ne_bytes(random)));
    Ok(temporary)
}
