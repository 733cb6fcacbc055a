//! Following the output of a running program line by line, without polling it.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;

use crate::wait::HANG_GUARD;

/// The lines of a program that runs beside the test; it is killed when this is dropped.
#[derive(Debug)]
pub struct Lines {
    child: Child,
    arriving: Receiver<String>,
    /// Every line taken so far, for the message of a test that fails.
    seen: Vec<String>,
}

impl Lines {
    /// Starts a command; the lines of its standard output and error arrive as they are written.
    #[track_caller]
    pub fn of(command: &mut Command) -> Self {
        let spawned = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child =
            spawned.unwrap_or_else(|error| panic!("could not start {command:?}: {error}"));
        let (sender, arriving) = channel();
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        drop(stdout.map(|pipe| forward(pipe, sender.clone())));
        drop(stderr.map(|pipe| forward(pipe, sender)));
        Self {
            child,
            arriving,
            seen: Vec::new(),
        }
    }

    /// Waits for a line that satisfies `wanted` and gives it; earlier lines are taken and kept for
    /// messages only. The end of the program, or [`HANG_GUARD`], fails the test.
    #[track_caller]
    pub fn wait_for(&mut self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + HANG_GUARD;
        loop {
            match self
                .arriving
                .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if wanted(&line) {
                        return line;
                    }
                }
                Err(error) => panic!(
                    "no line came that is {what} ({error}); there were:\n{}",
                    self.seen.join("\n")
                ),
            }
        }
    }

    /// The process, for signals.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

fn forward(pipe: impl Read + Send + 'static, to: Sender<String>) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
            if to
                .send(String::from_utf8_lossy(&line).into_owned())
                .is_err()
            {
                return;
            }
        }
    })
}

impl Drop for Lines {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_given_as_soon_as_it_is_written() {
        let mut lines = Lines::of(Command::new("sh").args([
            "-c",
            "echo one; echo two; exec cat /dev/zero | head -c0; read x",
        ]));
        assert_eq!(lines.wait_for("two", |line| line == "two"), "two");
    }

    #[test]
    #[should_panic(expected = "one")]
    fn the_end_of_the_program_fails_the_wait_and_shows_what_came() {
        Lines::of(Command::new("echo").arg("one")).wait_for("two", |line| line == "two");
    }
}
