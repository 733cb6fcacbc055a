//! Processes held by descriptor: a signal sent through one can't hit a later process that got the same number.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::signals::Signal;

/// A process, dead or alive. Its descriptor becomes readable when the process ends.
#[derive(Debug)]
pub struct Pidfd(OwnedFd);

impl Pidfd {
    /// Takes hold of a process (close-on-exec). `SRCH` if there is none; `NOSYS` before Linux 5.3.
    ///
    /// The number must still be that process's: a child not yet reaped, or one whose [`crate::process::Identity`] is
    /// checked *after* this.
    pub fn open(pid: Pid) -> Result<Self, Errno> {
        pidfd_open(pid, PidfdFlags::empty()).map(Self)
    }

    /// Signals it; `SRCH` if it has ended.
    pub fn signal(&self, signal: Signal) -> Result<(), Errno> {
        crate::signals::send_by_descriptor(self.as_fd(), signal)
    }
}

impl AsFd for Pidfd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    #[test]
    fn a_signal_by_descriptor_reaches_the_process_and_never_its_successor() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let held = Pidfd::open(Pid::from_child(&child)).unwrap();
        held.signal(Signal::TERM).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(15));
        assert_eq!(held.signal(Signal::TERM), Err(Errno::SRCH));
    }
}
