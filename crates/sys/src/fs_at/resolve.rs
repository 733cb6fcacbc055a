//! Opening beneath a directory without following a link.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// Set once the kernel (before 5.6) or a seccomp profile has refused `openat2`.
static NO_OPENAT2: AtomicBool = AtomicBool::new(false);

/// Opens `relative` beneath `dir`, following no link anywhere in it.
pub(super) fn open_beneath(
    dir: BorrowedFd<'_>,
    relative: &Path,
    flags: OFlags,
    mode: Mode,
) -> io::Result<OwnedFd> {
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    if !NO_OPENAT2.load(Ordering::Relaxed) {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        match rustix::fs::openat2(dir, relative, flags, mode, resolve) {
            // EPERM is also an ordinary refusal; the walk then says the same again.
            Err(Errno::NOSYS | Errno::PERM) => {}
            // A rename elsewhere raced with the resolution; the walk needs no luck.
            Err(Errno::AGAIN) => return walk(dir, relative, flags, mode),
            result => return Ok(result?),
        }
        if probe_is_refused(dir) {
            NO_OPENAT2.store(true, Ordering::Relaxed);
        }
    }
    walk(dir, relative, flags, mode)
}

fn probe_is_refused(dir: BorrowedFd<'_>) -> bool {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    rustix::fs::openat2(dir, ".", flags, Mode::empty(), ResolveFlags::BENEATH).is_err()
}

/// The same by one `openat` per component, each refusing a link.
pub(super) fn walk(
    dir: BorrowedFd<'_>,
    relative: &Path,
    flags: OFlags,
    mode: Mode,
) -> io::Result<OwnedFd> {
    let mut names: Vec<&OsStr> = Vec::new();
    for component in relative.components() {
        match component {
            Component::Normal(name) => names.push(name),
            Component::CurDir => {}
            // As openat2 answers under RESOLVE_BENEATH.
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                return Err(Errno::XDEV.into());
            }
        }
    }
    let Some((last, parents)) = names.split_last() else {
        return Ok(rustix::fs::openat(dir, ".", flags, mode)?);
    };
    let mut at: Option<OwnedFd> = None;
    for name in parents {
        let parent = at.as_ref().map_or(dir, AsFd::as_fd);
        let step = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        at = Some(rustix::fs::openat(parent, *name, step, Mode::empty())?);
    }
    let parent = at.as_ref().map_or(dir, AsFd::as_fd);
    Ok(rustix::fs::openat(parent, *last, flags, mode)?)
}
