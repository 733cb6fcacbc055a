//! Descriptors by number, for commands that are told numbers: what a shell does with `>&` and `<`.
//!
//! # Safety
//!
//! `unsafe` because a number may be a descriptor that an object of this process owns, and closing or replacing it would pull
//! it away from under that object. These functions are for a single-threaded command on its way to become another program:
//! it holds no descriptor but its standard ones, and those given as arguments here.
#![expect(unsafe_code, reason = "descriptors by number")]

use std::os::fd::{IntoRawFd as _, OwnedFd};

use rustix::io::Errno;

use crate::signals::last_errno;

fn checked(answer: i32) -> Result<i32, Errno> {
    if answer < 0 {
        Err(last_errno())
    } else {
        Ok(answer)
    }
}

/// Makes `to` another number of what `from` is, inheritable. The same number is `INVAL`, as there is nothing to do.
pub fn copy(to: i32, from: i32) -> Result<(), Errno> {
    // SAFETY: numbers only; see the module's note on who owns them.
    checked(unsafe { libc::dup3(from, to, 0) }).map(drop)
}

/// Gives what `from` is the number `to`, inheritable, and closes `from`.
pub fn move_to(to: i32, from: i32) -> Result<(), Errno> {
    if to == from {
        // SAFETY: numbers only.
        return checked(unsafe { libc::fcntl(from, libc::F_SETFD, 0) }).map(drop);
    }
    copy(to, from)?;
    close(from);
    Ok(())
}

/// Gives an open file the number `to`, inheritable.
pub fn give(to: i32, file: OwnedFd) -> Result<(), Errno> {
    move_to(to, file.into_raw_fd())
}

/// Closes a number; one that isn't open is fine.
pub fn close(number: i32) {
    // SAFETY: a number; see the module's note on who owns it.
    unsafe { libc::close(number) };
}

/// The lowest free number from `least` on for what `from` is, inheritable.
pub fn copy_from(from: i32, least: i32) -> Result<i32, Errno> {
    // SAFETY: numbers only.
    checked(unsafe { libc::fcntl(from, libc::F_DUPFD, least) })
}

/// Whether a number is a terminal; one that isn't open is none.
pub fn is_terminal(number: i32) -> bool {
    // SAFETY: a number.
    unsafe { libc::isatty(number) == 1 }
}

/// Where descriptors that are kept for long have their numbers.
const KEPT_FROM: i32 = 1024;

/// Gives a descriptor that is kept for long a high number, so that the low ones stay for those that children are given. A
/// child has to copy and to close all numbers up to the highest of its own: with ten thousand below it that would take longer
/// than all the rest of its start. Where there are no such numbers it stays where it is.
pub fn out_of_the_way(fd: OwnedFd) -> OwnedFd {
    rustix::io::fcntl_dupfd_cloexec(&fd, KEPT_FROM).unwrap_or(fd)
}

/// Sets or clears whether operations on a number may block.
pub fn set_blocking(number: i32, blocking: bool) -> Result<(), Errno> {
    // SAFETY: numbers only.
    let flags = checked(unsafe { libc::fcntl(number, libc::F_GETFL) })?;
    let flags = if blocking {
        flags & !libc::O_NONBLOCK
    } else {
        flags | libc::O_NONBLOCK
    };
    // SAFETY: numbers only.
    checked(unsafe { libc::fcntl(number, libc::F_SETFL, flags) }).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::os::fd::AsRawFd as _;

    #[test]
    fn a_descriptor_moves_and_what_was_there_is_closed() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let number = copy_from(writer.as_raw_fd(), 100).unwrap();
        assert!(number >= 100);
        let (second_reader, second_writer) = std::io::pipe().unwrap();
        give(number, second_writer.into()).unwrap();
        drop(writer);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "", "the only other write end was replaced");
        close(number);
        close(number);
        let mut second_reader = second_reader;
        second_reader.read_to_string(&mut text).unwrap();
        assert_eq!(copy(number, number), Err(Errno::INVAL));
        assert_eq!(move_to(number, -1), Err(Errno::BADF));
    }

    #[test]
    fn what_is_kept_for_long_leaves_the_low_numbers_free() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let low = reader.as_raw_fd();
        let kept = out_of_the_way(reader.into());
        let room = crate::rlimit::get(crate::rlimit::Resource::OpenFiles).soft;
        if room.is_none_or(|limit| limit > 2048) {
            assert!(kept.as_raw_fd() >= KEPT_FROM && kept.as_raw_fd() != low);
        }
        let flags = rustix::io::fcntl_getfd(&kept).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        writer.write_all(b"x").unwrap();
        assert_eq!(rustix::io::read(&kept, &mut [0; 2]).unwrap(), 1);
    }

    #[test]
    fn a_number_can_be_made_not_to_block() {
        let (mut reader, mut writer) = std::io::pipe().unwrap();
        set_blocking(reader.as_raw_fd(), false).unwrap();
        let error = reader.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
        set_blocking(reader.as_raw_fd(), true).unwrap();
        writer.write_all(b"x").unwrap();
        assert_eq!(reader.read(&mut [0]).unwrap(), 1);
    }
}
