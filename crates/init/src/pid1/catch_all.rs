//! The catch-all logger (`S6_LOGGING`): what everybody writes to the container's output goes through
//! a logger, which keeps it in `/run/uncaught-logs` and, with 1, copies it to where it would have gone.
//!
//! PID 1's own standard output and error become a pipe to it, so that everything that inherits them
//! or gets copies writes there. PID 1 keeps the read end: a logger that dies loses nothing.

use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, chown};
use std::path::Path;
use std::time::Duration;

use herm_engine::{Time, record_struct};
use herm_sys::Pid;
use herm_sys::spawn::Capabilities;

use super::identity;
use super::launch::{self, hand_over};
use super::output::Output;
use super::records::{inherit, keep};
use super::supervisor::{Helper, Supervisor};
use crate::environment::Environment;
use crate::s6_variables;

/// Where it keeps everything.
const DIRECTORY: &str = "/run/uncaught-logs";
/// Between two starts of a logger that dies.
const RESPAWN_DELAY: Duration = Duration::from_secs(1);

/// Where output would go without it, and the way through it.
#[derive(Debug)]
pub(crate) struct CatchAll {
    /// Read end of everybody's output.
    pipe: OwnedFd,
    stdout: OwnedFd,
    stderr: OwnedFd,
    pid: Option<Pid>,
    respawn_at: Option<Time>,
    /// It comes to its end, and is not started again.
    ending: bool,
}

/// What of it survives re-execution.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pipe: i32,
    stdout: i32,
    stderr: i32,
    pid: i32,
}

record_struct! {
    Record { pipe, stdout, stderr, pid }
}

impl CatchAll {
    /// Turns this process's output into the pipe, where that is asked for. Only a container's own init
    /// has a container's output.
    pub(crate) fn begin(environment: &Environment) -> io::Result<Option<Self>> {
        if !s6_variables::is_on(environment, "S6_LOGGING") || !herm_sys::process::is_pid1() {
            return Ok(None);
        }
        let copy = |fd: BorrowedFd<'_>| rustix::io::fcntl_dupfd_cloexec(fd, 3);
        let (stdout, stderr) = (
            copy(rustix::stdio::stdout())?,
            copy(rustix::stdio::stderr())?,
        );
        let (pipe, everybodys) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        rustix::stdio::dup2_stdout(&everybodys)?;
        rustix::stdio::dup2_stderr(&everybodys)?;
        [&pipe, &stdout, &stderr].into_iter().for_each(keep);
        Ok(Some(Self {
            pipe,
            stdout,
            stderr,
            pid: None,
            respawn_at: None,
            ending: false,
        }))
    }

    /// Goes on with one that came through re-execution.
    pub(crate) fn adopt(record: &Record) -> Option<Self> {
        let alive = |pid: &Pid| herm_sys::process::stat(*pid).is_ok();
        Some(Self {
            pipe: inherit(Some(record.pipe))?,
            stdout: inherit(Some(record.stdout))?,
            stderr: inherit(Some(record.stderr))?,
            pid: Pid::from_raw(record.pid).filter(alive),
            respawn_at: None,
            ending: false,
        })
    }

    /// Its record.
    pub(crate) fn record(&self) -> Record {
        Record {
            pipe: self.pipe.as_raw_fd(),
            stdout: self.stdout.as_raw_fd(),
            stderr: self.stderr.as_raw_fd(),
            pid: self.pid.map_or(0, Pid::as_raw_pid),
        }
    }

    /// The logger's process.
    pub(crate) fn pid(&self) -> Option<Pid> {
        self.pid
    }

    /// When a logger is started again.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.respawn_at
    }
}

/// The logger's command line. Of `S6_LOGGING_SCRIPT` only the stamps count, and not for the copy.
fn command(environment: &Environment) -> Vec<String> {
    let mut words: Vec<String> = ["s6-log", "-bp", "--"].map(str::to_owned).into();
    if s6_variables::number(environment, "S6_LOGGING") == Some(1) {
        words.push("1".to_owned());
    }
    let script = s6_variables::words(environment, "S6_LOGGING_SCRIPT");
    for stamp in ["t", "T"] {
        words.extend(script.iter().find(|word| *word == stamp).cloned());
    }
    words.push(DIRECTORY.to_owned());
    words
}

impl Supervisor {
    /// Starts the logger, in a directory of its own that what was there before gives way to.
    pub(crate) fn start_catch_all(&mut self) {
        if self.catch_all.is_none() {
            return;
        }
        let path = Path::new(DIRECTORY);
        let removed = std::fs::remove_dir_all(path);
        if removed.is_ok() || !path.exists() {
            self.run_catch_all(true);
        } else {
            self.output
                .warn(&format!("{DIRECTORY} is what it was before: {removed:?}"));
            self.run_catch_all(false);
        }
    }

    fn run_catch_all(&mut self, is_new: bool) {
        match self.try_catch_all(is_new) {
            Ok(pid) => {
                if let Some(logger) = &mut self.catch_all {
                    logger.pid = Some(pid);
                    logger.respawn_at = None;
                }
                self.record_globals();
            }
            Err(why) => {
                let at = self.clock().now + RESPAWN_DELAY;
                if let Some(logger) = &mut self.catch_all {
                    logger.respawn_at = Some(at);
                }
                self.output
                    .warn(&format!("cannot start the catch-all logger: {why}"));
            }
        }
    }

    fn try_catch_all(&mut self, is_new: bool) -> Result<Pid, String> {
        let text = |error: io::Error| error.to_string();
        let user = self.environment.get_nonempty("S6_CATCHALL_USER");
        let ids = match user.filter(|_| Self::uid() == 0) {
            Some(user) => identity::named(user)?,
            None => identity::own(),
        };
        if is_new {
            DirBuilder::new()
                .mode(0o750)
                .create(DIRECTORY)
                .map_err(text)?;
            chown(DIRECTORY, Some(ids.uid), Some(ids.gid)).map_err(text)?;
            // Giving it away has cleared what it inherits its group by.
            let open = Permissions::from_mode(0o2750);
            std::fs::set_permissions(DIRECTORY, open).map_err(text)?;
        }
        let mut launch = self.own_program(&command(&self.environment))?;
        launch.env.clear();
        launch.cwd = Some(c"/".into());
        if ids.uid != Self::uid() {
            launch.identity = Some(launch::identity(&ids));
            launch.capabilities = Capabilities::DropAll;
            launch.no_new_privs = true;
        }
        let logger = self.catch_all.as_ref().ok_or("there is none")?;
        for (fd, target) in [(&logger.pipe, 0), (&logger.stdout, 1), (&logger.stderr, 2)] {
            hand_over(&mut launch, fd.try_clone().map_err(text)?, target);
        }
        self.spawn_helper(launch, Helper::CatchAll)
    }

    /// Goes on with the logger of the program before this one.
    pub(crate) fn adopt_catch_all(&mut self, record: Option<&Record>) {
        self.catch_all = record.and_then(CatchAll::adopt);
        match self.catch_all.as_ref().map(CatchAll::pid) {
            Some(Some(pid)) => {
                self.helpers.insert(pid.as_raw_pid(), Helper::CatchAll);
            }
            Some(None) => self.run_catch_all(false),
            None => {}
        }
    }

    /// The logger has ended: another one goes on where it was.
    pub(crate) fn catch_all_ended(&mut self, why: &str) {
        let at = self.clock().now + RESPAWN_DELAY;
        let Some(logger) = &mut self.catch_all else {
            return;
        };
        logger.pid = None;
        if !logger.ending {
            logger.respawn_at = Some(at);
            self.output.warn(&format!(
                "the catch-all logger ended ({why}); another follows"
            ));
        }
    }

    /// Starts another one, if it is time.
    pub(crate) fn revive_catch_all(&mut self, now: Time) {
        let due = self.catch_all.as_ref().and_then(CatchAll::deadline);
        if due.is_some_and(|at| at <= now) {
            self.run_catch_all(false);
        }
    }

    /// Nobody writes any more: with our own ends of the pipe the logger comes to the end of it.
    pub(crate) fn finish_catch_all(&mut self) {
        let Some(logger) = &mut self.catch_all else {
            return;
        };
        logger.ending = true;
        logger.respawn_at = None;
        let back = rustix::stdio::dup2_stdout(&logger.stdout)
            .and_then(|()| rustix::stdio::dup2_stderr(&logger.stderr));
        self.output = Output::new(self.settings.level);
        if let Err(error) = back {
            self.output
                .warn(&format!("the container's output is not back: {error}"));
        }
    }

    /// Whether it has written everything.
    pub(crate) fn is_catch_all_finished(&self) -> bool {
        self.catch_all
            .as_ref()
            .is_none_or(|logger| logger.pid.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logger_copies_only_where_it_is_asked_to_and_stamps_only_what_it_keeps() {
        let line = |variables: &[(&str, &str)]| {
            let variables = variables.iter().map(|(n, v)| ((*n).into(), (*v).into()));
            command(&Environment::from_variables(variables)).join(" ")
        };
        assert_eq!(
            line(&[("S6_LOGGING", "1"), ("S6_LOGGING_SCRIPT", "n3 T s5000 t")]),
            "s6-log -bp -- 1 t T /run/uncaught-logs"
        );
        assert_eq!(
            line(&[("S6_LOGGING", "2")]),
            "s6-log -bp -- /run/uncaught-logs"
        );
    }
}
