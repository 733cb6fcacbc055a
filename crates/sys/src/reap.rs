//! Collecting dead children, and what they died of.
//!
//! # Safety
//!
//! `unsafe` because `rustix` doesn't say *which* child `waitid` found, and because `siginfo_t` is a C union.
#![expect(unsafe_code, reason = "waitid of any child")]

use std::fmt;
use std::mem::MaybeUninit;

use rustix::io::Errno;
use rustix::process::Pid;

use crate::signals::{Signal, last_errno};

/// How a process ended. Never a shell's mixture of both: `128 + n` is made where it is printed ([`Exit::shell_code`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exit {
    /// It called `exit` with this code.
    Code(u8),
    /// A signal killed it.
    Signal {
        /// Which one.
        signal: Signal,
        /// Whether a core was dumped.
        core: bool,
    },
}

impl Exit {
    /// The code as shells and Docker show it: 128 + n for signal n.
    pub fn shell_code(self) -> u8 {
        match self {
            Self::Code(code) => code,
            Self::Signal { signal, .. } => 128 + signal.number(),
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit {code}"),
            Self::Signal { signal, core } => {
                match signal.name() {
                    Some(name) => write!(f, "killed by SIG{name}")?,
                    None => write!(f, "killed by signal {}", signal.number())?,
                }
                if *core {
                    f.write_str(" (core dumped)")
                } else {
                    Ok(())
                }
            }
        }
    }
}

/// What happened to a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It ended.
    Exited(Exit),
    /// A signal stopped it.
    Stopped(Signal),
    /// It runs again.
    Continued,
}

/// Which children to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Any child.
    Any,
    /// This one.
    One(Pid),
}

fn waitid(which: Which, options: i32) -> Result<Option<(Pid, Change)>, Errno> {
    let (kind, id) = match which {
        Which::Any => (libc::P_ALL, 0),
        Which::One(pid) => (libc::P_PID, pid.as_raw_pid().cast_unsigned()),
    };
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    loop {
        // SAFETY: the kernel writes one `siginfo_t` into a local of that type.
        if unsafe { libc::waitid(kind, id, info.as_mut_ptr(), options) } == 0 {
            break;
        }
        match last_errno() {
            Errno::INTR => {}
            // No children at all is no error to whoever collects them.
            Errno::CHILD => return Ok(None),
            errno => return Err(errno),
        }
    }
    // SAFETY: zeroed, then written by the kernel; every bit pattern of its integers is valid.
    let info = unsafe { info.assume_init() };
    // SAFETY: `waitid` fills the SIGCHLD member of the union, or leaves it zero when nothing had happened.
    let (pid, status) = (unsafe { info.si_pid() }, unsafe { info.si_status() });
    let Some(pid) = Pid::from_raw(pid) else {
        return Ok(None);
    };
    Ok(decode(info.si_code, status).map(|change| (pid, change)))
}

fn decode(code: i32, status: i32) -> Option<Change> {
    let signal = || u8::try_from(status).ok().and_then(Signal::new);
    Some(match code {
        // Only the low byte of an exit code survives the kernel.
        libc::CLD_EXITED => Change::Exited(Exit::Code(u8::try_from(status & 0xff).ok()?)),
        libc::CLD_KILLED => Change::Exited(Exit::Signal {
            signal: signal()?,
            core: false,
        }),
        libc::CLD_DUMPED => Change::Exited(Exit::Signal {
            signal: signal()?,
            core: true,
        }),
        libc::CLD_STOPPED | libc::CLD_TRAPPED => Change::Stopped(signal()?),
        libc::CLD_CONTINUED => Change::Continued,
        _ => return None,
    })
}

/// Shows the next dead child without collecting it: it stays a zombie, and its pid stays taken, so that its end can be
/// put on record before it is forgotten. Never waits.
pub fn peek_dead() -> Result<Option<(Pid, Exit)>, Errno> {
    let found = waitid(Which::Any, libc::WEXITED | libc::WNOHANG | libc::WNOWAIT)?;
    Ok(found.and_then(only_exits))
}

/// Collects the next dead child. Never waits; `None` when no child is dead.
pub fn reap_next() -> Result<Option<(Pid, Exit)>, Errno> {
    let found = waitid(Which::Any, libc::WEXITED | libc::WNOHANG)?;
    Ok(found.and_then(only_exits))
}

/// Collects this child if it is dead. Never waits.
pub fn reap(pid: Pid) -> Result<Option<Exit>, Errno> {
    let found = waitid(Which::One(pid), libc::WEXITED | libc::WNOHANG)?;
    Ok(found.and_then(only_exits).map(|(_, exit)| exit))
}

/// Whether this child is stopped or runs on since it was last asked, without collecting it if it is dead. Never waits.
pub fn job_change(which: Which) -> Result<Option<(Pid, Change)>, Errno> {
    waitid(which, libc::WSTOPPED | libc::WCONTINUED | libc::WNOHANG)
}

/// Waits until this child ends, and collects it. Not for PID 1's loop.
pub fn wait_for(pid: Pid) -> Result<Exit, Errno> {
    waitid(Which::One(pid), libc::WEXITED)?
        .and_then(only_exits)
        .map(|(_, exit)| exit)
        .ok_or(Errno::CHILD)
}

fn only_exits((pid, change): (Pid, Change)) -> Option<(Pid, Exit)> {
    match change {
        Change::Exited(exit) => Some((pid, exit)),
        Change::Stopped(_) | Change::Continued => None,
    }
}

/// Whether we have any child, dead or alive.
pub fn has_children() -> bool {
    // SAFETY: with WNOWAIT and a null pointer the call only looks.
    unsafe {
        libc::waitid(
            libc::P_ALL,
            0,
            std::ptr::null_mut(),
            libc::WEXITED | libc::WNOHANG | libc::WNOWAIT,
        ) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exits_read_as_people_say_them() {
        assert_eq!(Exit::Code(78).to_string(), "exit 78");
        let killed = Exit::Signal {
            signal: Signal::KILL,
            core: false,
        };
        assert_eq!(killed.to_string(), "killed by SIGKILL");
        assert_eq!(killed.shell_code(), 137);
        let dumped = Exit::Signal {
            signal: Signal::ABRT,
            core: true,
        };
        assert_eq!(dumped.to_string(), "killed by SIGABRT (core dumped)");
        let real_time = Exit::Signal {
            signal: Signal::new(64).unwrap(),
            core: false,
        };
        assert_eq!(real_time.to_string(), "killed by signal 64");
        assert_eq!(real_time.shell_code(), 192);
    }
}
