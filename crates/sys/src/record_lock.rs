//! Locks over a whole file, of the kind that `F_GETLK` shows (`fcntl_locking(2)`).
//!
//! # Safety
//! `fcntl` reads and writes one `struct flock`, which lives on our stack for the whole call.
#![allow(
    unsafe_code,
    reason = "rustix takes these locks but can't ask about them"
)]

use std::os::fd::{AsFd, AsRawFd};

use rustix::io::Errno;

/// Takes a write lock on behalf of the open file description, and says whether it was free. It lasts until the
/// description's last descriptor is closed: in all processes that inherited one, and across exec.
pub fn try_hold(file: impl AsFd) -> Result<bool, Errno> {
    let mut lock = whole_file(libc::F_WRLCK);
    match control(file, libc::F_OFD_SETLK, &mut lock) {
        Ok(()) => Ok(true),
        Err(Errno::AGAIN | Errno::ACCESS) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether anybody else holds a write lock: another process, or another open file description.
pub fn is_held(file: impl AsFd) -> Result<bool, Errno> {
    let mut lock = whole_file(libc::F_RDLCK);
    control(file, libc::F_GETLK, &mut lock)?;
    Ok(i32::from(lock.l_type) != libc::F_UNLCK)
}

fn whole_file(kind: i32) -> libc::flock {
    libc::flock {
        l_type: i16::try_from(kind).unwrap_or_default(),
        l_whence: i16::try_from(libc::SEEK_SET).unwrap_or_default(),
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

fn control(file: impl AsFd, command: i32, lock: &mut libc::flock) -> Result<(), Errno> {
    let fd = file.as_fd().as_raw_fd();
    // SAFETY: the descriptor is open, as it is borrowed, and the commands passed here take a pointer to a `flock`,
    // which `lock` is for the duration of the call.
    let result = unsafe { libc::fcntl(fd, command, std::ptr::from_mut(lock)) };
    if result == -1 {
        let error = std::io::Error::last_os_error().raw_os_error();
        return Err(Errno::from_raw_os_error(error.unwrap_or(libc::EIO)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::OpenOptions;

    #[test]
    fn a_lock_is_seen_by_others_until_its_file_is_closed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let open = || {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false);
            options.open(&path).unwrap()
        };
        let (holder, other) = (open(), open());
        assert!(!is_held(&other).unwrap());
        assert!(try_hold(&holder).unwrap());
        assert!(is_held(&other).unwrap());
        assert!(!try_hold(&other).unwrap());
        drop(holder);
        assert!(!is_held(&other).unwrap());
    }

    #[test]
    fn a_lock_on_one_name_is_seen_through_every_hard_link() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        let holder = std::fs::File::create(&one).unwrap();
        std::fs::hard_link(&one, &two).unwrap();
        assert!(try_hold(&holder).unwrap());
        assert!(is_held(std::fs::File::open(&two).unwrap()).unwrap());
    }
}
