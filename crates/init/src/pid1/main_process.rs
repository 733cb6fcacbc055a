//! The container's CMD: it has the container's stdin, stdout, stderr and terminal, gets the
//! container's signals, and its exit code is the container's.

use std::os::fd::BorrowedFd;

use herm_sys::signals::{self, Signal};
use herm_sys::spawn::{Launch, Session};
use herm_sys::{Errno, Pid, tty};
use herm_wire::Kind;

use super::driver::raw_pid;
use super::launch::hand_over;
use super::supervisor::Supervisor;

/// The main program's name as a service.
pub(crate) const NAME: &str = "main";

/// Gives a launch the container's standard descriptors, and its terminal where it has one.
///
/// With `docker run -t` PID 1 led the terminal's session and has given it up
/// ([`release_terminal`]); the main program's own session takes it. Below another init (`--init`, `herm up`) the session is
/// somebody else's; the main program then is a foreground process group in it. Either way Ctrl-C
/// and job control are the kernel's business, not ours.
pub(crate) fn give_terminal(launch: &mut Launch) -> Result<(), Errno> {
    let standard = [
        rustix::stdio::stdin(),
        rustix::stdio::stdout(),
        rustix::stdio::stderr(),
    ];
    for (target, fd) in (0_i32..).zip(standard) {
        hand_over(launch, copy(fd)?, target);
    }
    let stdin = rustix::stdio::stdin();
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

impl Supervisor {
    /// A signal to PID 1 that is not about children.
    pub(crate) fn signalled(&mut self, signal: Signal) {
        let name = signal.name().unwrap_or("a signal");
        self.output.debug(&format!("SIG{name} arrived"));
        if Some(signal) == super::reexec::panic_signal() {
            super::reexec::panic_on_purpose();
        } else if signal == Signal::TERM || signal == Signal::INT {
            if signal == Signal::INT {
                self.forward(signal);
            }
            self.output.info(&format!("SIG{name}: stopping everything"));
            self.begin_shutdown(None);
        } else {
            self.forward(signal);
        }
    }

    fn forward(&self, signal: Signal) {
        let main = self.runs.values().find(|run| {
            !run.record.exited && run.record.service == NAME && self.is_main(&run.record.service)
        });
        if let Some(pid) = main.and_then(|run| raw_pid(run.record.pid)) {
            // It may be gone already, and is reaped next.
            let _ = signals::kill(pid, signal);
        }
    }

    fn is_main(&self, name: &str) -> bool {
        let service = self
            .services
            .id_of(name)
            .and_then(|id| self.services.get(id));
        service.is_some_and(|service| service.spec.kind == Kind::Main)
    }
}
