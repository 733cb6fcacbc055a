//! Locks on open file descriptions (`fcntl(2)`, "Open file description locks").
//!
//! Such a lock belongs to the open file, not to a process: it goes when the last descriptor of it is closed, so the
//! kernel drops it when its holder dies. Another open file of the same inode can ask whether it is held.
//!
//! # Safety
//!
//! `fcntl` with these commands reads and writes one `struct flock`, which lives in this function's frame.
#![expect(unsafe_code, reason = "neither std nor rustix has these commands")]

use std::os::fd::{AsFd, AsRawFd};

use rustix::io::Errno;

/// Takes the write lock of the whole file; `false` if another open file holds one. The descriptor is open for writing.
pub fn try_lock(file: impl AsFd) -> Result<bool, Errno> {
    let mut lock = whole_file();
    match control(file, libc::F_OFD_SETLK, &mut lock) {
        Ok(()) => Ok(true),
        Err(Errno::AGAIN | Errno::ACCESS) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether another open file holds a lock on the file.
pub fn is_locked(file: impl AsFd) -> Result<bool, Errno> {
    let mut lock = whole_file();
    control(file, libc::F_OFD_GETLK, &mut lock)?;
    Ok(i32::from(lock.l_type) != libc::F_UNLCK)
}

fn control(file: impl AsFd, command: libc::c_int, lock: &mut libc::flock) -> Result<(), Errno> {
    let fd = file.as_fd().as_raw_fd();
    let lock: *mut libc::flock = lock;
    // SAFETY: `fd` is open for as long as `file` is borrowed, and both commands take a pointer to a `struct flock` that
    // they read and may write during the call only; `lock` points to one that nobody else uses meanwhile.
    let result = unsafe { libc::fcntl(fd, command, lock) };
    if result == -1 {
        let error = std::io::Error::last_os_error();
        return Err(Errno::from_io_error(&error).unwrap_or(Errno::INVAL));
    }
    Ok(())
}

/// A write lock from the file's first byte to its end, wherever that comes to lie; `l_pid` has to be 0.
fn whole_file() -> libc::flock {
    libc::flock {
        l_type: i16::try_from(libc::F_WRLCK).unwrap_or_default(),
        l_whence: i16::try_from(libc::SEEK_SET).unwrap_or_default(),
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn a_lock_is_seen_by_others_and_goes_with_its_last_descriptor() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let holder = File::create(&path).unwrap();
        let other = File::options().read(true).write(true).open(&path).unwrap();
        assert!(!is_locked(&other).unwrap());
        assert!(try_lock(&holder).unwrap());
        assert!(is_locked(&other).unwrap() && !is_locked(&holder).unwrap());
        assert!(!try_lock(&other).unwrap());
        let copy = holder.try_clone().unwrap();
        drop(holder);
        assert!(is_locked(&other).unwrap());
        drop(copy);
        assert!(!is_locked(&other).unwrap() && try_lock(&other).unwrap());
    }

    #[test]
    fn whoever_only_reads_can_ask() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(try_lock(file.as_file()).unwrap());
        assert!(is_locked(File::open(file.path()).unwrap()).unwrap());
    }
}
