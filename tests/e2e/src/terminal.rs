//! A terminal that the test types into and reads from, as a person's hands and eyes would.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use crate::command::wait;
use crate::wait::HANG_GUARD;

/// Between two tugs at a window's corner.
const BETWEEN_TUGS: Duration = Duration::from_millis(500);

/// A pseudo-terminal (pty(7)) with a program on it. The program leads a session whose controlling
/// terminal it is; it is killed when this is dropped.
#[derive(Debug)]
pub struct Terminal {
    master: File,
    /// Held, so that the terminal outlives its program and shows how that left it.
    programs_side: OwnedFd,
    child: Child,
    command: String,
    arriving: Receiver<Vec<u8>>,
    /// What came and was not waited for yet.
    unread: String,
    /// All that came, for the message of a test that fails.
    seen: String,
}

impl Terminal {
    /// Starts a program on a terminal of 24 rows and 80 columns.
    #[track_caller]
    pub fn of(program: &Command) -> Self {
        let (master, terminal) = pair();
        let stdio = || Stdio::from(terminal.try_clone().expect("a descriptor is left"));
        // setsid(1) of util-linux makes the terminal the controlling one, which takes unsafe code
        // in a process of our own.
        let mut session = Command::new("setsid");
        session
            .args(["--ctty", "--wait"])
            .arg(program.get_program())
            .args(program.get_args())
            .stdin(stdio())
            .stdout(stdio())
            .stderr(stdio());
        let command = format!("{session:?}");
        let child = session
            .spawn()
            .unwrap_or_else(|error| panic!("could not start {command}: {error}"));
        let mut reader = master.try_clone().expect("a descriptor is left");
        let (sender, arriving) = channel();
        std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut chunk) {
                if sender.send(chunk[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            master,
            programs_side: terminal,
            child,
            command,
            arriving,
            unread: String::new(),
            seen: String::new(),
        }
    }

    /// Types these characters; `\x03` is Ctrl-C, `\r` the return key.
    #[track_caller]
    pub fn type_in(&mut self, keys: &str) {
        self.master
            .write_all(keys.as_bytes())
            .unwrap_or_else(|error| panic!("cannot type {keys:?}: {error}; {self}"));
    }

    /// Waits until this text has come since the last text waited for. What is typed comes too,
    /// where the terminal echoes it.
    #[track_caller]
    pub fn wait_for(&mut self, text: &str) {
        assert!(
            self.comes(text, HANG_GUARD),
            "{text:?} has not come; {self}"
        );
    }

    /// Gives the terminal another size, as dragging a window's corner does, until this text comes of
    /// it: `docker` is deaf to the first changes of a container that has just begun.
    #[track_caller]
    pub fn resize_until(&mut self, rows: u16, columns: u16, text: &str) {
        let deadline = Instant::now() + HANG_GUARD;
        loop {
            resize(&self.master, rows, columns + 1);
            resize(&self.master, rows, columns);
            if self.comes(text, BETWEEN_TUGS) {
                return;
            }
            assert!(Instant::now() < deadline, "{text:?} has not come; {self}");
        }
    }

    /// Whether this text has come, or comes meanwhile.
    fn comes(&mut self, text: &str, meanwhile: Duration) -> bool {
        let deadline = Instant::now() + meanwhile;
        loop {
            if let Some(at) = self.unread.find(text) {
                self.unread.drain(..at + text.len());
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(bytes) = self.arriving.recv_timeout(left) else {
                return false;
            };
            let new = String::from_utf8_lossy(&bytes);
            self.unread.push_str(&new);
            self.seen.push_str(&new);
        }
    }

    /// Whether it is as a shell expects it: it echoes, gathers lines, and Ctrl-C is a signal.
    #[track_caller]
    pub fn is_sane(&self) -> bool {
        let modes = tcgetattr(&self.programs_side)
            .unwrap_or_else(|error| panic!("no settings: {error}; {self}"))
            .local_modes;
        modes.contains(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG)
    }

    /// Waits for the program's end; its exit code.
    #[track_caller]
    pub fn exit_code(&mut self) -> Option<i32> {
        wait(&mut self.child, &self.command).code()
    }
}

impl std::fmt::Display for Terminal {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            out,
            "`{}` has shown:\n{}",
            self.command,
            self.seen.escape_debug()
        )
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The master's and the terminal's side.
fn pair() -> (File, OwnedFd) {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags).expect("a pseudo-terminal is to be had");
    grantpt(&master).expect("the terminal can be granted");
    unlockpt(&master).expect("the terminal can be unlocked");
    let name = ptsname(&master, Vec::new()).expect("the terminal has a name");
    let path = PathBuf::from(name.into_string().expect("its name is plain"));
    let terminal = rustix::fs::open(
        &path,
        rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    )
    .expect("the terminal can be opened");
    let master = File::from(master);
    resize(&master, 24, 80);
    (master, terminal)
}

fn resize(master: &File, rows: u16, columns: u16) {
    let size = Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(master, size).expect("the terminal takes a size");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_on_it_has_job_control_and_what_it_did_is_seen() {
        let mut terminal = Terminal::of(Command::new("bash").args(["--norc", "-i"]));
        terminal.type_in("sh -c 'echo sle''eping; exec sleep 1000'\r");
        terminal.wait_for("sleeping");
        terminal.type_in("\x03");
        terminal.wait_for("^C");
        terminal.type_in("echo co''de=$?\r");
        terminal.wait_for("code=130");
        terminal.type_in("stty raw; kill -9 $$\r");
        assert_eq!(terminal.exit_code(), None);
        assert!(!terminal.is_sane());
    }
}
