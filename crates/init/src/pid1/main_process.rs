//! The container's CMD: it has the container's stdin, stdout, stderr and terminal, gets the
//! container's signals, and its exit code is the container's.

use std::os::fd::BorrowedFd;

use herm_sys::reap::{Change, Which};
use herm_sys::signals::{self, Signal};
use herm_sys::spawn::{Launch, Session};
use herm_sys::tty::SavedSettings;
use herm_sys::{Errno, Pid, tty};
use herm_wire::Kind;

use super::driver::raw_pid;
use super::launch::hand_over;
use super::supervisor::Supervisor;
use crate::s6_variables;

/// The main program's name as a service.
pub(crate) const NAME: &str = "main";

/// Gives a launch the container's standard descriptors, and its terminal where it has one.
///
/// With `docker run -t` PID 1 led the terminal's session and has given it up
/// ([`release_terminal`]); the main program's own session takes it. Below another init (`--init`, `herm up`) the session is
/// somebody else's; the main program then is a foreground process group in it. Either way Ctrl-C
/// and job control are the kernel's business, not ours. With `outputs_too` the terminal is its output,
/// also where ours goes elsewhere.
pub(crate) fn give_terminal(launch: &mut Launch, outputs_too: bool) -> Result<(), Errno> {
    let stdin = rustix::stdio::stdin();
    let standard = if outputs_too && tty::is_terminal(stdin) {
        [stdin; 3]
    } else {
        [stdin, rustix::stdio::stdout(), rustix::stdio::stderr()]
    };
    for (target, fd) in (0_i32..).zip(standard) {
        hand_over(launch, copy(fd)?, target);
    }
    if !tty::is_terminal(stdin) {
        return Ok(());
    }
    launch.session = if tty::is_ours(stdin) {
        Session::NewGroup {
            foreground_on: Some(copy(stdin)?),
        }
    } else {
        Session::New {
            terminal: Some(copy(stdin)?),
        }
    };
    Ok(())
}

/// The terminal as it was before the main program had it, put back when this is dropped: a program
/// that dies in raw mode must not leave its user there.
#[derive(Debug)]
pub(crate) struct BorrowedTerminal {
    settings: Option<SavedSettings>,
}

impl BorrowedTerminal {
    /// Takes a note of it; of nothing where standard input is no terminal.
    pub(crate) fn note() -> Self {
        let settings = SavedSettings::take(rustix::stdio::stdin()).ok();
        Self { settings }
    }
}

impl Drop for BorrowedTerminal {
    fn drop(&mut self) {
        let stdin = rustix::stdio::stdin();
        if self.settings.is_some() && tty::is_ours(stdin) {
            // Whoever waits for us reads from it next. It may be gone with its user, and a group of
            // another PID namespace has no number here.
            let own = herm_sys::process::stat(rustix::process::getpid());
            let group = own.ok().and_then(|own| Pid::from_raw(own.group));
            let _ = group.map(|group| tty::set_foreground(stdin, group));
        }
    }
}

/// Gives up the terminal that we lead the session of, for the main program's session to take.
/// Before there is any child: one on its way to its program would be hung up on with us.
pub(crate) fn release_terminal() {
    let stdin = rustix::stdio::stdin();
    if own_session() == Some(rustix::process::getpid()) && tty::is_terminal(stdin) {
        // Where it is refused, the main program becomes a foreground group of our session.
        let _ = tty::give_up(stdin);
    }
}

/// Our session's leader, where it has a number in our PID namespace.
fn own_session() -> Option<Pid> {
    let stat = herm_sys::process::stat(rustix::process::getpid());
    stat.ok().and_then(|stat| Pid::from_raw(stat.session))
}

fn copy(fd: BorrowedFd<'_>) -> Result<std::os::fd::OwnedFd, Errno> {
    rustix::io::fcntl_dupfd_cloexec(fd, 3)
}

/// Takes the terminal back where no main program will: its Ctrl-C is ours then.
pub(crate) fn keep_terminal() {
    let stdin = rustix::stdio::stdin();
    if tty::is_terminal(stdin) {
        // Refused where another session has it, whose init passes Ctrl-C on.
        let _ = tty::take(stdin);
    }
}

impl Supervisor {
    /// A signal to PID 1 that is not about children.
    pub(crate) fn signalled(&mut self, signal: Signal, sender: u32) {
        let name = signal.name().unwrap_or("a signal");
        self.output.debug(&format!("SIG{name} arrived"));
        if Some(signal) == super::reexec::panic_signal() {
            super::reexec::panic_on_purpose();
        } else if self.is_for_main(signal, sender) {
            self.forward(signal);
        } else if self.run_signal_script(signal) {
            self.output.debug("a script of the scanner's takes it");
        } else if self.is_the_end(signal) && self.shutdown.is_none() {
            let budget = self.settings.stop_budget;
            let line = format!("SIG{name}: stopping everything within {budget:?}");
            self.output.info(&line);
            self.main_stop = signal;
            self.begin_shutdown(None);
        } else {
            self.forward(signal);
        }
    }

    /// Whether a signal stops everything: also the end of the terminal that `herm up` is in the foreground of, unless
    /// that was to be outlived (`nohup`).
    fn is_the_end(&self, signal: Signal) -> bool {
        signal == Signal::TERM
            || signal == Signal::INT
            || (signal == Signal::HUP
                && self.environment.get_nonempty("HERM_UP").is_some()
                && !signals::is_ignored(signal))
    }

    /// Whether a signal from outside is the main program's alone (`S6_CMD_RECEIVE_SIGNALS`). What a
    /// process in here sends, as `halt` does, is meant for us.
    fn is_for_main(&self, signal: Signal, sender: u32) -> bool {
        let passed = matches!(
            signal,
            Signal::TERM
                | Signal::QUIT
                | Signal::INT
                | Signal::USR1
                | Signal::USR2
                | Signal::PWR
                | Signal::WINCH
        );
        passed
            && sender == 0
            && self.shutdown.is_none()
            && s6_variables::is_on(&self.environment, "S6_CMD_RECEIVE_SIGNALS")
            && self.main_pid().is_some()
    }

    fn forward(&self, signal: Signal) {
        if let Some(pid) = self.main_pid() {
            // It may be gone already, and is reaped next.
            let _ = signals::kill(pid, signal);
        }
    }

    /// What asks this service's main process to stop: the main program is sent what we were sent,
    /// an interrupt as an interrupt.
    pub(crate) fn stop_signal(&self, name: &str, signal: Signal) -> Signal {
        if signal == Signal::TERM && self.shutdown.is_some() && self.is_main(name) {
            self.main_stop
        } else {
            signal
        }
    }

    /// The order of a shutdown, as it comes about.
    pub(crate) fn tell_order(&mut self, name: &str, signal: Signal) {
        let signal = signal.name().unwrap_or("its stop signal");
        self.output.info(&format!("{name}: SIG{signal}"));
    }

    /// Continues the main program where Ctrl-Z has stopped it below another init (`--init`): in
    /// the session of that init nobody could. In a session of its own it can't be stopped so.
    pub(crate) fn keep_main_going(&self) {
        if !tty::is_ours(rustix::stdio::stdin()) {
            return;
        }
        let Some(pid) = self.main_pid() else {
            return;
        };
        let changed = herm_sys::reap::job_change(Which::One(pid));
        if let Ok(Some((_, Change::Stopped(Signal::TSTP)))) = changed {
            // Whoever has gone meanwhile needs no waking.
            let _ = signals::kill_group(pid, Signal::CONT);
        }
    }

    fn main_pid(&self) -> Option<Pid> {
        let main = self.runs.values().find(|run| {
            !run.record.exited && run.record.service == NAME && self.is_main(&run.record.service)
        });
        main.and_then(|run| raw_pid(run.record.pid))
    }

    fn is_main(&self, name: &str) -> bool {
        let service = self
            .services
            .id_of(name)
            .and_then(|id| self.services.get(id));
        service.is_some_and(|service| service.spec.kind == Kind::Main)
    }
}
