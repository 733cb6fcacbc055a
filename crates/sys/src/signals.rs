//! Signals: their numbers and names, blocking them, reading them as events, sending them.
//!
//! # Safety
//!
//! `unsafe` because `rustix` has neither signal masks, `signalfd`, nor real-time signal numbers. The calls take plain
//! numbers, or a pointer to a local whose size is passed along.
#![expect(
    unsafe_code,
    reason = "sigset_t, signalfd and kill for any signal number"
)]

use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::process::Pid;

/// A signal number, `1..=64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signal(u8);

/// Names as `signal(7)` has them, without `SIG`.
const NAMES: [(&str, i32); 31] = [
    ("HUP", libc::SIGHUP),
    ("INT", libc::SIGINT),
    ("QUIT", libc::SIGQUIT),
    ("ILL", libc::SIGILL),
    ("TRAP", libc::SIGTRAP),
    ("ABRT", libc::SIGABRT),
    ("BUS", libc::SIGBUS),
    ("FPE", libc::SIGFPE),
    ("KILL", libc::SIGKILL),
    ("USR1", libc::SIGUSR1),
    ("SEGV", libc::SIGSEGV),
    ("USR2", libc::SIGUSR2),
    ("PIPE", libc::SIGPIPE),
    ("ALRM", libc::SIGALRM),
    ("TERM", libc::SIGTERM),
    ("STKFLT", libc::SIGSTKFLT),
    ("CHLD", libc::SIGCHLD),
    ("CONT", libc::SIGCONT),
    ("STOP", libc::SIGSTOP),
    ("TSTP", libc::SIGTSTP),
    ("TTIN", libc::SIGTTIN),
    ("TTOU", libc::SIGTTOU),
    ("URG", libc::SIGURG),
    ("XCPU", libc::SIGXCPU),
    ("XFSZ", libc::SIGXFSZ),
    ("VTALRM", libc::SIGVTALRM),
    ("PROF", libc::SIGPROF),
    ("WINCH", libc::SIGWINCH),
    ("IO", libc::SIGIO),
    ("PWR", libc::SIGPWR),
    ("SYS", libc::SIGSYS),
];

impl Signal {
    /// The highest signal number of the kernel.
    pub const MAX: u8 = 64;

    /// `SIGHUP`
    pub const HUP: Self = Self(1);
    /// `SIGINT`
    pub const INT: Self = Self(2);
    /// `SIGQUIT`
    pub const QUIT: Self = Self(3);
    /// `SIGABRT`
    pub const ABRT: Self = Self(6);
    /// `SIGKILL`
    pub const KILL: Self = Self(9);
    /// `SIGUSR1`
    pub const USR1: Self = Self(10);
    /// `SIGUSR2`
    pub const USR2: Self = Self(12);
    /// `SIGPIPE`
    pub const PIPE: Self = Self(13);
    /// `SIGALRM`
    pub const ALRM: Self = Self(14);
    /// `SIGTERM`
    pub const TERM: Self = Self(15);
    /// `SIGCHLD`
    pub const CHLD: Self = Self(17);
    /// `SIGCONT`
    pub const CONT: Self = Self(18);
    /// `SIGSTOP`
    pub const STOP: Self = Self(19);
    /// `SIGTSTP`
    pub const TSTP: Self = Self(20);
    /// `SIGTTIN`
    pub const TTIN: Self = Self(21);
    /// `SIGTTOU`
    pub const TTOU: Self = Self(22);
    /// `SIGWINCH`
    pub const WINCH: Self = Self(28);
    /// `SIGPWR`
    pub const PWR: Self = Self(30);

    /// The signal of this number, if the kernel has one.
    pub const fn new(number: u8) -> Option<Self> {
        if matches!(number, 1..=Self::MAX) {
            Some(Self(number))
        } else {
            None
        }
    }

    /// Its number.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// Its name without `SIG`; real-time signals have none.
    pub fn name(self) -> Option<&'static str> {
        NAMES
            .iter()
            .find(|(_, number)| *number == i32::from(self.0))
            .map(|(name, _)| *name)
    }

    /// Reads `TERM`, `SIGTERM`, `term` or `15`.
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(number) = text.parse() {
            return Self::new(number);
        }
        let upper = text.to_ascii_uppercase();
        let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
        let (_, number) = NAMES.iter().find(|(name, _)| *name == bare)?;
        Self::new(u8::try_from(*number).ok()?)
    }
}

/// A set of signals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SignalSet(u64);

impl SignalSet {
    /// No signal.
    pub const EMPTY: Self = Self(0);
    /// Every signal; the kernel never blocks `KILL` and `STOP`.
    pub const ALL: Self = Self(u64::MAX);

    /// Every signal but those that a faulty instruction raises, which must end the process and not wait in a queue.
    pub fn all_but_faults() -> Self {
        let faults = [
            libc::SIGSEGV,
            libc::SIGBUS,
            libc::SIGILL,
            libc::SIGFPE,
            libc::SIGTRAP,
            libc::SIGSYS,
            libc::SIGABRT,
        ];
        let mask = faults
            .iter()
            .fold(0, |mask, number| mask | 1_u64 << (number - 1));
        Self(!mask)
    }

    /// This set with `signal` in it.
    #[must_use]
    pub const fn with(self, signal: Signal) -> Self {
        Self(self.0 | (1 << (signal.0 - 1)))
    }

    /// Whether `signal` is in it.
    pub const fn contains(self, signal: Signal) -> bool {
        self.0 & (1 << (signal.0 - 1)) != 0
    }
}

/// Changes the calling thread's signal mask, and returns the one before. All 64 signals, also those that the C library
/// reserves for itself and would leave out.
fn change_mask(how: i32, set: SignalSet) -> SignalSet {
    let mut before = 0_u64;
    // SAFETY: `rt_sigprocmask` reads and writes eight bytes, the size that is passed, at two locals. It can fail only on
    // a bad `how`, size or pointer.
    let _ = unsafe {
        crate::raw::syscall(
            libc::SYS_rt_sigprocmask,
            [
                usize::try_from(how).unwrap_or_default(),
                (&raw const set.0).addr(),
                (&raw mut before).addr(),
                size_of::<u64>(),
                0,
                0,
            ],
        )
    };
    SignalSet(before)
}

/// Makes `set` the thread's blocked signals; returns those that were.
pub fn set_blocked(set: SignalSet) -> SignalSet {
    change_mask(libc::SIG_SETMASK, set)
}

/// The thread's blocked signals.
pub fn blocked() -> SignalSet {
    change_mask(libc::SIG_BLOCK, SignalSet::EMPTY)
}

/// What a signal says beside its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Which signal.
    pub signal: Signal,
    /// Who sent it, for one sent by a process (as seen from our PID namespace; 0 from outside). For display only.
    pub sender_pid: u32,
    /// The sender's user.
    pub sender_uid: u32,
}

/// A descriptor that becomes readable when one of its signals is pending.
#[derive(Debug)]
pub struct SignalFd(OwnedFd);

impl SignalFd {
    /// Opens it, close-on-exec and non-blocking. The signals must be blocked, or their dispositions take them first.
    pub fn new(set: SignalSet) -> Result<Self, Errno> {
        let flags = usize::try_from(libc::SFD_CLOEXEC | libc::SFD_NONBLOCK).unwrap_or_default();
        // SAFETY: reads the eight bytes of a local; -1 asks for a new descriptor.
        let answer = unsafe {
            crate::raw::syscall(
                libc::SYS_signalfd4,
                [
                    usize::MAX,
                    (&raw const set.0).addr(),
                    size_of::<u64>(),
                    flags,
                    0,
                    0,
                ],
            )
        };
        let number = answer.map_err(Errno::from_raw_os_error)?;
        let number = i32::try_from(number).map_err(|_| Errno::BADF)?;
        // SAFETY: the kernel just made this descriptor for us; nobody else knows it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(number) }))
    }

    /// The next pending signal, or `None`.
    pub fn read(&self) -> Result<Option<Received>, Errno> {
        let mut info = MaybeUninit::<libc::signalfd_siginfo>::zeroed();
        let size = size_of::<libc::signalfd_siginfo>();
        // SAFETY: the kernel writes at most `size` bytes into a local of that size.
        let got = unsafe { libc::read(self.0.as_raw_fd(), info.as_mut_ptr().cast(), size) };
        match usize::try_from(got) {
            Ok(n) if n == size => {}
            Ok(_) => return Ok(None),
            Err(_) => {
                return match last_errno() {
                    Errno::AGAIN | Errno::INTR => Ok(None),
                    errno => Err(errno),
                };
            }
        }
        // SAFETY: all bytes are initialised (by zeroing, then by the kernel) and every bit pattern is valid.
        let info = unsafe { info.assume_init() };
        let signal = u8::try_from(info.ssi_signo).ok().and_then(Signal::new);
        Ok(signal.map(|signal| Received {
            signal,
            sender_pid: info.ssi_pid,
            sender_uid: info.ssi_uid,
        }))
    }
}

impl AsFd for SignalFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The error of the C library call just made.
pub(crate) fn last_errno() -> Errno {
    std::io::Error::last_os_error()
        .raw_os_error()
        .map_or(Errno::IO, Errno::from_raw_os_error)
}

fn kill_raw(target: i32, signal: i32) -> Result<(), Errno> {
    // SAFETY: takes two numbers and touches no memory of ours.
    if unsafe { libc::kill(target, signal) } == 0 {
        Ok(())
    } else {
        Err(last_errno())
    }
}

/// Signals one process. Only a child not yet reaped, or ourselves, can be named safely by number; for others see
/// [`crate::pidfd`].
pub fn kill(pid: Pid, signal: Signal) -> Result<(), Errno> {
    kill_raw(pid.as_raw_pid(), i32::from(signal.0))
}

/// Signals the process a pidfd holds.
pub(crate) fn send_by_descriptor(process: BorrowedFd<'_>, signal: Signal) -> Result<(), Errno> {
    let fd = usize::try_from(process.as_raw_fd()).map_err(|_| Errno::BADF)?;
    // SAFETY: numbers, and a null pointer where no `siginfo_t` is given.
    let answer = unsafe {
        crate::raw::syscall(
            libc::SYS_pidfd_send_signal,
            [fd, usize::from(signal.0), 0, 0, 0, 0],
        )
    };
    answer.map(drop).map_err(Errno::from_raw_os_error)
}

/// Signals every process of a group.
pub fn kill_group(group: Pid, signal: Signal) -> Result<(), Errno> {
    // Group 1 as `-1` would mean everyone; group 0 (ours) can't be named by `Pid`.
    if group == Pid::INIT {
        return Err(Errno::INVAL);
    }
    kill_raw(-group.as_raw_pid(), i32::from(signal.0))
}

/// Whether a process or zombie of this number exists.
pub fn exists(pid: Pid) -> bool {
    kill_raw(pid.as_raw_pid(), 0) != Err(Errno::SRCH)
}

/// Whether a process of this group exists.
pub fn group_exists(group: Pid) -> bool {
    group != Pid::INIT && kill_raw(-group.as_raw_pid(), 0) != Err(Errno::SRCH)
}

/// Signals everyone in our PID namespace but ourselves (`kill(-1)`). `NOTUNIQ` unless we are its PID 1:
/// elsewhere this would reach processes that are none of ours.
pub fn kill_everyone(signal: Signal) -> Result<(), Errno> {
    if !crate::process::is_pid1() {
        return Err(Errno::NOTUNIQ);
    }
    kill_raw(-1, i32::from(signal.0))
}

/// Has the kernel drop a signal sent to us (`KILL` and `STOP` can't be: `INVAL`). Survives an exec, but no start through
/// [`crate::spawn`].
pub fn ignore(signal: Signal) -> Result<(), Errno> {
    set_disposition(signal, libc::SIG_IGN)
}

/// Whether the kernel is to drop a signal sent to us, as our starter wished (`nohup`). One that is blocked arrives all the
/// same.
pub fn is_ignored(signal: Signal) -> bool {
    let mut now = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: nothing is set, and the kernel writes one `sigaction` at the address, which outlives the call.
    let result =
        unsafe { libc::sigaction(i32::from(signal.0), std::ptr::null(), now.as_mut_ptr()) };
    // SAFETY: all zeroes are a `sigaction`: numbers, and a handler that is `SIG_DFL`.
    let now = unsafe { now.assume_init() };
    result == 0 && now.sa_sigaction == libc::SIG_IGN
}

/// Gives a signal its default effect again. Rust programs ignore `PIPE` from the start; applets that stand in for C programs
/// want the default.
pub fn restore_default(signal: Signal) -> Result<(), Errno> {
    set_disposition(signal, libc::SIG_DFL)
}

fn set_disposition(signal: Signal, disposition: libc::sighandler_t) -> Result<(), Errno> {
    // SAFETY: both callers pass a disposition that is no handler, so no code of ours can be interrupted by it.
    let before = unsafe { libc::signal(i32::from(signal.0), disposition) };
    if before == libc::SIG_ERR {
        Err(last_errno())
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::getpid;

    #[test]
    fn a_signal_is_ignored_as_long_as_somebody_wants_it_so() {
        let unused = Signal::parse("50").unwrap();
        assert!(!is_ignored(unused));
        ignore(unused).unwrap();
        assert!(is_ignored(unused));
        restore_default(unused).unwrap();
        assert!(!is_ignored(unused));
    }

    #[test]
    fn signals_are_named_with_or_without_sig_and_by_number() {
        assert_eq!(Signal::parse("TERM"), Some(Signal::TERM));
        assert_eq!(Signal::parse("sigterm"), Some(Signal::TERM));
        assert_eq!(Signal::parse("15"), Some(Signal::TERM));
        assert_eq!(Signal::parse("64").map(Signal::number), Some(64));
        for bad in ["0", "65", "", "SIG", "TERMX", "-9"] {
            assert_eq!(Signal::parse(bad), None, "{bad}");
        }
        for (name, number) in NAMES {
            assert_eq!(
                Signal::parse(name).map(|s| i32::from(s.number())),
                Some(number)
            );
        }
    }

    #[test]
    fn a_blocked_signal_arrives_on_the_descriptor() {
        let before = set_blocked(SignalSet::ALL);
        let signals = SignalFd::new(SignalSet::EMPTY.with(Signal::USR1)).unwrap();
        assert_eq!(signals.read().unwrap(), None);
        // To this thread, so that no other test's thread takes it.
        let process = getpid().as_raw_pid();
        let thread = rustix::thread::gettid().as_raw_pid();
        // SAFETY: numbers only.
        unsafe { libc::syscall(libc::SYS_tgkill, process, thread, libc::SIGUSR1) };
        let got = signals.read().unwrap().unwrap();
        assert_eq!(got.signal, Signal::USR1);
        assert_eq!(got.sender_pid, std::process::id());
        assert!(blocked().contains(Signal::USR1));
        set_blocked(before);
    }

    #[test]
    fn group_one_and_everyone_are_never_signalled_by_accident() {
        assert_eq!(kill_group(Pid::INIT, Signal::TERM), Err(Errno::INVAL));
        if !crate::process::is_pid1() {
            assert_eq!(kill_everyone(Signal::CONT), Err(Errno::NOTUNIQ));
        }
    }
}
