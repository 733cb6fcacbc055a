//! Becoming another program: ourselves again, or a newer self.
//!
//! # Safety
//!
//! `unsafe` for `execve` and `execveat`, which `rustix` keeps out of its safe interface. Both read null-terminated arrays of
//! C strings that live through the call.
#![expect(unsafe_code, reason = "execve")]

use std::ffi::{CStr, CString, c_char};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use rustix::fs::{Mode, OFlags, open};
use rustix::io::{Errno, FdFlags, fcntl_getfd, fcntl_setfd};

use crate::signals::last_errno;

/// What to become.
#[derive(Clone, Copy, Debug)]
pub enum Image<'a> {
    /// The program at this path.
    Path(&'a CStr),
    /// This open file; no script.
    File(BorrowedFd<'a>),
}

/// Our own program, as it was when we started: also if its file was replaced or removed since.
pub fn own_image() -> Result<OwnedFd, Errno> {
    open(
        c"/proc/self/exe",
        OFlags::PATH | OFlags::CLOEXEC,
        Mode::empty(),
    )
}

/// Replaces this process by another program, which keeps our pid, children, signal mask and pending signals, and exactly the
/// descriptors in `keep` under their numbers (with whatever else was inheritable before). Returns only if that failed, with
/// those descriptors as they were.
pub fn replace(
    image: Image<'_>,
    argv: &[CString],
    env: &[CString],
    keep: &[BorrowedFd<'_>],
) -> Errno {
    let before: Vec<(BorrowedFd<'_>, FdFlags)> = keep
        .iter()
        .filter_map(|fd| fcntl_getfd(fd).ok().map(|flags| (*fd, flags)))
        .collect();
    let kept = before.len() == keep.len()
        && before
            .iter()
            .all(|(fd, flags)| fcntl_setfd(fd, flags.difference(FdFlags::CLOEXEC)).is_ok());
    let errno = if kept {
        execute(image, argv, env)
    } else {
        Errno::BADF
    };
    for (fd, flags) in before {
        // Nothing better can be done about one that can't be set back.
        let _ = fcntl_setfd(fd, flags);
    }
    errno
}

fn execute(image: Image<'_>, argv: &[CString], env: &[CString]) -> Errno {
    let argv = pointers(argv);
    let env = pointers(env);
    match image {
        // SAFETY: a C string and two null-terminated arrays of them, all borrowed for longer than the call.
        Image::Path(path) => unsafe {
            libc::execve(path.as_ptr(), argv.as_ptr(), env.as_ptr());
        },
        Image::File(file) => {
            let fd = file.as_raw_fd();
            // SAFETY: as above; the empty path means the descriptor itself.
            unsafe {
                libc::syscall(
                    libc::SYS_execveat,
                    fd,
                    c"".as_ptr(),
                    argv.as_ptr(),
                    env.as_ptr(),
                    libc::AT_EMPTY_PATH,
                );
            }
        }
    }
    last_errno()
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings
        .iter()
        .map(|s| s.as_ptr())
        .chain([ptr::null()])
        .collect()
}

/// Lets nothing but the standard descriptors through the next exec, whatever was kept for another one of ours.
pub fn keep_only_standard() {
    let open = std::fs::read_dir("/proc/self/fd").into_iter().flatten();
    let numbers: Vec<i32> = open
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    for number in numbers.into_iter().filter(|fd| *fd > libc::STDERR_FILENO) {
        // SAFETY: only its flag is set; a number that isn't open any more is answered with `EBADF`.
        let fd = unsafe { BorrowedFd::borrow_raw(number) };
        let _ = fcntl_setfd(fd, FdFlags::CLOEXEC);
    }
}

/// Takes over a descriptor we were started with, by its agreed number; `None` if there is none. To be called before
/// threads are made.
///
/// What was inherited is told from what this process opened itself by the close-on-exec flag: the exec would have closed
/// the one, and herm opens nothing without it. Taking sets it, so nobody gets a number twice, and no child gets it unasked.
/// Standard input, output and error belong to the standard library and can't be taken.
pub fn take_inherited(number: i32) -> Option<OwnedFd> {
    if number <= libc::STDERR_FILENO {
        return None;
    }
    // SAFETY: only looked at; a number that isn't open is answered with `EBADF`.
    let fd = unsafe { BorrowedFd::borrow_raw(number) };
    let flags = fcntl_getfd(fd).ok()?;
    if flags.contains(FdFlags::CLOEXEC) {
        return None;
    }
    fcntl_setfd(fd, flags | FdFlags::CLOEXEC).ok()?;
    // SAFETY: open, and without an owner in this process: see above.
    Some(unsafe { OwnedFd::from_raw_fd(number) })
}

/// The size of a page of memory.
pub(crate) fn page_bytes() -> u64 {
    // SAFETY: asks for a constant.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(size).unwrap_or(4096)
}

/// Clock ticks per second, the unit of [`crate::process::Stat`]'s times.
pub fn ticks_per_second() -> u64 {
    // SAFETY: asks for a constant.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    u64::try_from(ticks).unwrap_or(100)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::{AsFd, IntoRawFd};

    #[test]
    fn an_inherited_descriptor_is_taken_once_and_no_other() {
        let (reader, writer) = std::io::pipe().unwrap();
        assert!(
            take_inherited(reader.as_raw_fd()).is_none(),
            "we opened this one ourselves"
        );
        // As an exec would leave it: open, inheritable, and nobody's.
        let inherited = rustix::io::dup(&writer).unwrap();
        let number = inherited.into_raw_fd();
        let taken = take_inherited(number).unwrap();
        assert!(fcntl_getfd(&taken).unwrap().contains(FdFlags::CLOEXEC));
        assert!(take_inherited(number).is_none());
        assert!(take_inherited(1).is_none());
        assert!(take_inherited(-1).is_none());
        assert!(take_inherited(1_000_000).is_none());
    }

    #[test]
    fn a_failed_exec_leaves_the_descriptors_as_they_were() {
        let (reader, _writer) = std::io::pipe().unwrap();
        let errno = replace(
            Image::Path(c"/nonexistent"),
            &[c"x".into()],
            &[],
            &[reader.as_fd()],
        );
        assert_eq!(errno, Errno::NOENT);
        assert!(fcntl_getfd(&reader).unwrap().contains(FdFlags::CLOEXEC));
    }
}
