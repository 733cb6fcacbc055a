//! Running a program to its end, and what came of it.

use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::Instant;

use crate::wait::{HANG_GUARD, POLL};

/// A program that has ended.
#[derive(Debug, Clone)]
pub struct Finished {
    /// The command line, for messages.
    pub command: String,
    /// The exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Standard output, with what is no UTF-8 replaced.
    pub stdout: String,
    /// Standard error, likewise.
    pub stderr: String,
}

impl Finished {
    /// Fails the test unless the exit code is 0; gives standard output without its last newlines.
    #[track_caller]
    pub fn succeeds(&self) -> &str {
        self.exits(0)
    }

    /// Fails the test unless the exit code is this one; gives standard output without its last newlines.
    #[track_caller]
    pub fn exits(&self, code: i32) -> &str {
        assert!(self.code == Some(code), "expected exit code {code}: {self}");
        self.stdout.trim_end_matches('\n')
    }

    /// Fails the test unless the program succeeded and printed JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        let text = self.succeeds();
        match serde_json::from_str(text) {
            Ok(value) => value,
            Err(error) => panic!("no JSON ({error}): {self}"),
        }
    }

    /// True if the exit code is 0.
    pub fn is_success(&self) -> bool {
        self.code == Some(0)
    }
}

impl std::fmt::Display for Finished {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(out, "`{}` ended with {:?}", self.command, self.code)?;
        writeln!(out, "--- stdout\n{}", self.stdout)?;
        write!(out, "--- stderr\n{}", self.stderr)
    }
}

/// Runs `docker` with these arguments to its end.
#[track_caller]
pub fn docker(args: &[&str]) -> Finished {
    run(Command::new("docker").args(args))
}

/// Runs a command to its end without input; one that takes longer than [`HANG_GUARD`] fails the test.
#[track_caller]
pub fn run(command: &mut Command) -> Finished {
    run_with_input(command, b"")
}

/// As [`run`], with these bytes as standard input.
#[track_caller]
pub fn run_with_input(command: &mut Command, input: &[u8]) -> Finished {
    let shown = shown(command);
    let spawned = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = spawned.unwrap_or_else(|error| panic!("could not start `{shown}`: {error}"));
    // Each pipe has a thread, so that neither side waits for the other with a full pipe.
    let writer = child.stdin.take().map(|mut pipe| {
        let input = input.to_vec();
        // A program may end without reading its input.
        std::thread::spawn(move || drop(pipe.write_all(&input)))
    });
    let stdout = child.stdout.take().map(read_all);
    let stderr = child.stderr.take().map(read_all);
    let status = wait(&mut child, &shown);
    drop(writer.map(JoinHandle::join));
    Finished {
        command: shown,
        code: status.code(),
        stdout: text(stdout),
        stderr: text(stderr),
    }
}

#[track_caller]
pub(crate) fn wait(child: &mut Child, shown: &str) -> ExitStatus {
    let start = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return status,
            Ok(None) if start.elapsed() > HANG_GUARD => {
                drop(child.kill());
                panic!("`{shown}` did not end within {HANG_GUARD:?}");
            }
            Ok(None) => std::thread::sleep(POLL),
            Err(error) => panic!("could not wait for `{shown}`: {error}"),
        }
    }
}

fn read_all(mut pipe: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read before an error is what the test gets to see.
        drop(pipe.read_to_end(&mut bytes));
        bytes
    })
}

fn text(reader: Option<JoinHandle<Vec<u8>>>) -> String {
    let bytes = reader
        .and_then(|thread| thread.join().ok())
        .unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn shown(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(
        command
            .get_args()
            .map(|arg| arg.to_string_lossy().into_owned()),
    );
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_and_exit_code_of_a_command_are_kept_apart() {
        let finished = run(Command::new("sh").args(["-c", "echo out; echo err >&2; exit 3"]));
        assert_eq!(finished.exits(3), "out");
        assert_eq!(finished.stderr, "err\n");
    }

    #[test]
    fn input_reaches_the_command() {
        let finished = run_with_input(Command::new("cat").arg("-"), b"line\n");
        assert_eq!(finished.succeeds(), "line");
    }

    #[test]
    fn a_command_that_ends_without_reading_its_input_is_no_failure() {
        run_with_input(&mut Command::new("true"), &vec![b'x'; 1 << 20]).succeeds();
    }
}
