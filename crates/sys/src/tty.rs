//! Terminals: whose they are, and putting them back as they were.
//!
//! # Safety
//!
//! `unsafe` for `TIOCNOTTY`, which `rustix` lacks and which takes no argument, and for `TIOCGPGRP`, whose answer `rustix`
//! asserts to be above 0 although it is 0 for a group in another pid namespace; it writes one `pid_t`.
#![expect(unsafe_code, reason = "TIOCNOTTY and TIOCGPGRP")]

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::process::Pid;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr, tcsetpgrp};

use crate::signals::{Signal, SignalSet, blocked, last_errno, set_blocked};

/// Whether it is a terminal.
pub fn is_terminal(fd: impl AsFd) -> bool {
    rustix::termios::isatty(fd)
}

/// Whether it is the controlling terminal of *our* session, so that a child's process group can be put in its foreground.
///
/// Only the kernel can say: the session's leader may live outside our pid namespace (`docker exec`, `unshare --pid`,
/// `setns(2)`), where `getsid` and `TIOCGSID` both answer 0, which is nobody's number (`pid_namespaces(7)`). Asking the
/// terminal for its foreground group is refused with `ENOTTY` unless the terminal is our own (`ioctl_tty(2)`, `TIOCGPGRP`).
pub fn is_ours(fd: impl AsFd) -> bool {
    foreground_number(fd).is_ok()
}

/// Which process group has the terminal; `None` if it is gone, none of ours, or in another pid namespace.
pub fn foreground(fd: impl AsFd) -> Option<Pid> {
    foreground_number(fd).ok().and_then(Pid::from_raw)
}

/// `TIOCGPGRP` as the kernel answers it, 0 included, which `rustix` asserts can't be.
fn foreground_number(fd: impl AsFd) -> Result<libc::pid_t, Errno> {
    let mut group: libc::pid_t = 0;
    // SAFETY: the kernel writes one `pid_t` at the address, which outlives the call.
    let result = unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), libc::TIOCGPGRP, &raw mut group) };
    if result == 0 {
        Ok(group)
    } else {
        Err(last_errno())
    }
}

/// Gives the terminal to a process group of our session. Works from the background too, where the kernel would stop us
/// (`SIGTTOU`) if that signal weren't blocked meanwhile.
pub fn set_foreground(fd: impl AsFd, group: Pid) -> Result<(), Errno> {
    let before = blocked();
    set_blocked(before.with(Signal::TTOU));
    let done = tcsetpgrp(fd, group);
    set_blocked(before);
    done
}

/// Our session gives up its controlling terminal, so that a child's new session can take it (`Session::New`).
///
/// If we lead the session, the kernel sends `SIGHUP` and `SIGCONT` to its foreground group, which we may be in: both are
/// blocked meanwhile, and taken back.
pub fn give_up(fd: impl AsFd) -> Result<(), Errno> {
    let sent = SignalSet::EMPTY.with(Signal::HUP).with(Signal::CONT);
    let before = blocked();
    set_blocked(before.with(Signal::HUP).with(Signal::CONT));
    // SAFETY: no argument is read or written.
    let result = unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), libc::TIOCNOTTY) };
    let done = if result == 0 {
        Ok(())
    } else {
        Err(last_errno())
    };
    if done.is_ok() {
        let taken = crate::signals::SignalFd::new(sent).and_then(|signals| {
            while signals.read()?.is_some() {}
            Ok(())
        });
        set_blocked(before);
        return taken;
    }
    set_blocked(before);
    done
}

/// Takes it (back) for our session, of which we are the leader, with our process group in its foreground.
pub fn take(fd: impl AsFd) -> Result<(), Errno> {
    rustix::process::ioctl_tiocsctty(fd)
}

/// A terminal's settings, put back when this is dropped: a main program that dies in raw mode must not leave its user there.
#[derive(Debug)]
pub struct SavedSettings {
    terminal: OwnedFd,
    settings: Termios,
}

impl SavedSettings {
    /// Takes a note of them. `NOTTY` if it is no terminal.
    pub fn take(fd: impl AsFd) -> Result<Self, Errno> {
        let terminal = rustix::io::fcntl_dupfd_cloexec(fd, 3)?;
        let settings = tcgetattr(&terminal)?;
        Ok(Self { terminal, settings })
    }

    /// Puts them back now.
    pub fn restore(&self) -> Result<(), Errno> {
        let before = blocked();
        set_blocked(before.with(Signal::TTOU));
        let done = tcsetattr(&self.terminal, OptionalActions::Now, &self.settings);
        set_blocked(before);
        done
    }
}

impl Drop for SavedSettings {
    fn drop(&mut self) {
        // The terminal may have gone meanwhile; then there is nobody to put it back for.
        let _ = self.restore();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use rustix::termios::LocalModes;

    fn pty() -> (OwnedFd, OwnedFd) {
        let master =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let flags =
            rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC;
        let slave = rustix::fs::open(&name, flags, rustix::fs::Mode::empty()).unwrap();
        (master, slave)
    }

    #[test]
    fn settings_are_put_back_when_the_note_is_dropped() {
        let (_master, terminal) = pty();
        assert!(is_terminal(&terminal));
        let original = tcgetattr(&terminal).unwrap().local_modes;
        let note = SavedSettings::take(&terminal).unwrap();
        let mut raw = tcgetattr(&terminal).unwrap();
        raw.make_raw();
        tcsetattr(&terminal, OptionalActions::Now, &raw).unwrap();
        assert!(
            !tcgetattr(&terminal)
                .unwrap()
                .local_modes
                .contains(LocalModes::ECHO)
        );
        drop(note);
        assert_eq!(tcgetattr(&terminal).unwrap().local_modes, original);
    }

    #[test]
    fn what_controls_nobody_is_not_ours() {
        let (_master, terminal) = pty();
        assert!(!is_ours(&terminal));
        assert_eq!(foreground(&terminal), None);
        let (reader, _writer) = std::io::pipe().unwrap();
        assert!(!is_terminal(&reader));
        assert_eq!(SavedSettings::take(&reader).err(), Some(Errno::NOTTY));
    }
}
