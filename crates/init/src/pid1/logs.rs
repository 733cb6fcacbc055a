//! Driving the log daemon: who gets its log pipes, and what happens when it dies or stalls.
//!
//! PID 1 keeps the read end of every run's pipe until the log daemon has seen its end, so a dead
//! log daemon costs nothing but a pause: its successor gets every pipe again.

use std::collections::VecDeque;
use std::os::fd::{AsFd as _, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use herm_engine::{SortedMap, SortedSet, Time};
use herm_sys::Pid;
use herm_sys::signals::{self, Signal};
use herm_sys::spawn::{Launch, Program, Session};
use herm_wire::LogSpec;

use super::launch::hand_over;
use super::reactor::{Interest, Readiness, Source};
use super::records::{inherit, keep};
use super::supervisor::{Helper, Supervisor};
use crate::logproto::{
    self, Config, FromLogd, Identity, Limits, Open, Received, SendError, Target, ToLogd,
};

/// The log daemon's name among the services. The engine does not know it: PID 1 looks after it
/// itself, because every service's pipes depend on it.
pub(crate) const LOGD: &str = "logd";
/// A log daemon that doesn't drain for this long is replaced (contract section 6).
const DRAIN_WITHIN: Duration = Duration::from_secs(2);
/// After a service has written, its log is checked this much later.
const CHECK_AFTER: Duration = Duration::from_secs(1);
/// Between two starts of a log daemon that dies at once.
const RESPAWN_DELAY: Duration = Duration::from_secs(1);
/// A killed log daemon that isn't dead after this long is replaced all the same.
const REAPED_WITHIN: Duration = Duration::from_secs(1);

/// The log daemon that runs.
#[derive(Debug)]
struct Daemon {
    pid: Pid,
    socket: OwnedFd,
    since: Time,
    /// Waiting for room in the socket.
    blocked: bool,
}

/// The descriptor that goes with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beside {
    Nothing,
    /// The memfd that outlives log daemons.
    Hold,
    /// This run's pipe.
    Pipe(u64),
}

/// What the log of a run neither has nor tells of.
#[derive(Clone, Copy, Debug, Default)]
struct Owed {
    lines: u64,
    /// Those of them that are dropped for good, and are counted as such already.
    dropped: u64,
}

/// What PID 1 knows of logging.
#[derive(Debug, Default)]
pub(crate) struct Logs {
    daemon: Option<Daemon>,
    /// How many were started after the first.
    restarts: u64,
    /// When the next one is started, where none runs.
    respawn_at: Option<Time>,
    /// Keeps unfinished lines over the deaths of log daemons.
    hold: Option<OwnedFd>,
    queue: VecDeque<(ToLogd, Beside)>,
    /// Lines of a run that could not be kept so far.
    owed: SortedMap<u64, Owed>,
    /// Lines that were dropped for good, by service; since the last re-execution.
    dropped: SortedMap<String, u64>,
    /// Runs that wrote since the last check, and are to be watched again after it.
    wrote: SortedSet<u64>,
    check_at: Option<Time>,
    check: u64,
    drained_by: Option<Time>,
    /// When a killed daemon is given up: it sleeps in the kernel, and runs no further instruction.
    given_up_at: Option<Time>,
    /// The daemon was told to finish, and whether it has.
    finishing: Option<bool>,
    /// There was a daemon, which may have been killed writing a line.
    had_daemon: bool,
    /// A daemon was told of a run, and may still have something of it to write.
    had_run: bool,
}

impl Logs {
    /// When something has to be done, if nothing happens before.
    pub(crate) fn deadline(&self) -> Option<Time> {
        [
            self.respawn_at,
            self.check_at,
            self.drained_by,
            self.given_up_at,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Whether the daemon has logged all it was told to before its end, or there is none.
    pub(crate) fn is_finished(&self) -> bool {
        // Its process is left to whoever outlives us only where nobody does: with a PID namespace's
        // init all of it ends.
        let is_done = self.finishing == Some(true) && herm_sys::process::is_pid1();
        self.daemon.is_none() || is_done
    }

    /// The daemon's process and socket, by number.
    pub(crate) fn daemon_fds(&self) -> Option<(i32, i32)> {
        let daemon = self.daemon.as_ref()?;
        Some((daemon.pid.as_raw_pid(), daemon.socket.as_raw_fd()))
    }

    /// The memfd that outlives daemons, by number.
    pub(crate) fn hold_fd(&self) -> Option<i32> {
        self.hold.as_ref().map(AsRawFd::as_raw_fd)
    }

    /// Since when the daemon runs, if one does.
    pub(crate) fn since(&self) -> Option<Time> {
        self.daemon.as_ref().map(|daemon| daemon.since)
    }

    /// Lines of a service that were dropped for good.
    pub(crate) fn dropped_of(&self, service: &str) -> u64 {
        self.dropped.get(service).copied().unwrap_or(0)
    }

    /// A service is gone, and what was counted of it.
    pub(crate) fn forget_dropped_of(&mut self, service: &str) {
        self.dropped.remove(service);
    }

    /// How many daemons were started after the first one.
    pub(crate) fn restarts(&self) -> u64 {
        self.restarts
    }

    /// Whether one was started, and it or the next one is to run.
    pub(crate) fn is_wanted(&self) -> bool {
        self.daemon.is_some() || self.respawn_at.is_some()
    }

    /// The daemon's process.
    pub(crate) fn pid(&self) -> Option<Pid> {
        self.daemon.as_ref().map(|daemon| daemon.pid)
    }
}

impl Supervisor {
    /// Starts the log daemon.
    pub(crate) fn start_logd(&mut self) {
        self.logs.respawn_at = None;
        if let Err(why) = self.try_start_logd() {
            self.output.error(&format!(
                "cannot start the log daemon: {why}; it is tried again"
            ));
            self.logs.respawn_at = Some(self.clock().now + RESPAWN_DELAY);
        }
    }

    fn try_start_logd(&mut self) -> Result<(), String> {
        let (ours, theirs) = logproto::pair().map_err(|error| error.to_string())?;
        let plan = &self.boot.plan;
        let identity = match (&plan.log_user, Self::uid()) {
            (Some(own), 0) => {
                let files = plan.service_user.as_ref().unwrap_or(own);
                Some(Identity {
                    uid: own.uid,
                    gid: own.gid,
                    fs_uid: files.uid,
                    fs_gid: files.gid,
                })
            }
            _ => None,
        };
        let arguments = logproto::arguments(identity);
        let mut launch = self.own_program(&arguments)?;
        // It stays root no longer, and has no use for what root's processes are told.
        launch.env.clear();
        launch.session = Session::New { terminal: None };
        launch.cwd = Some(c"/".into());
        hand_over(&mut launch, theirs, 0);
        if self.logs.hold.is_none() {
            let flags = rustix::fs::MemfdFlags::CLOEXEC;
            self.logs.hold = rustix::fs::memfd_create("herm-log-hold", flags).ok();
            if let Some(hold) = &self.logs.hold {
                keep(hold);
            }
        }
        give_stdout(&mut launch)?;
        self.reactor
            .add(&ours, Source::Logd, Interest::Read)
            .map_err(|error| error.to_string())?;
        keep(&ours);
        let pid = self.spawn_helper(launch, Helper::Logd)?;
        let resumed = std::mem::replace(&mut self.logs.had_daemon, true);
        self.logs.daemon = Some(Daemon {
            pid,
            socket: ours,
            since: self.clock().now,
            blocked: false,
        });
        self.hand_over_logs(resumed);
        self.record_globals();
        Ok(())
    }

    /// Goes on with the daemon that came through re-execution, or starts one.
    pub(crate) fn adopt_logd(&mut self, daemon: Option<(i32, i32)>, hold: Option<i32>) {
        self.logs.hold = inherit(hold);
        (self.logs.had_daemon, self.logs.had_run) = (true, true);
        let adopted = daemon.and_then(|(pid, socket)| {
            let socket = inherit(Some(socket))?;
            let pid = Pid::from_raw(pid).filter(|pid| herm_sys::process::stat(*pid).is_ok())?;
            self.reactor
                .add(&socket, Source::Logd, Interest::Both)
                .ok()?;
            Some(Daemon {
                pid,
                socket,
                since: self.clock().now,
                blocked: true,
            })
        });
        match adopted {
            Some(daemon) => {
                self.helpers.insert(daemon.pid.as_raw_pid(), Helper::Logd);
                self.logs.daemon = Some(daemon);
                // It is told of every run again: of some it may not have been told before.
                self.hand_over_logs(true);
            }
            None if self.boot.is_over() => self.start_logd(),
            None => {}
        }
    }

    /// Tells a new daemon everything: the settings, and every pipe that has not ended. `resumed`:
    /// another one may have been reading them.
    fn hand_over_logs(&mut self, resumed: bool) {
        self.logs.queue.clear();
        self.logs.drained_by = None;
        let config = Config {
            total_bytes: Some(self.settings.log_total),
        };
        if self.logs.hold.is_some() {
            self.logs.queue.push_back((ToLogd::Hold, Beside::Hold));
        }
        self.logs
            .queue
            .push_back((ToLogd::Config(config), Beside::Nothing));
        let open: Vec<u64> = self
            .runs
            .iter()
            .filter(|(_, run)| run.log.is_some())
            .map(|(run, _)| *run)
            .collect();
        for run in open {
            self.queue_open(run, resumed);
        }
        self.send_to_logd();
    }

    /// Gives a new run's pipe to the daemon.
    pub(crate) fn open_log(&mut self, run: u64) {
        let Some(log) = self.runs.get(&run).and_then(|run| run.log.as_ref()) else {
            return;
        };
        if let Err(error) = self
            .reactor
            .add(log, Source::LogPipe(run), Interest::ReadOnce)
        {
            self.output
                .warn(&format!("cannot watch a log pipe: {error}"));
        }
        self.queue_open(run, false);
        self.send_to_logd();
    }

    fn queue_open(&mut self, number: u64, resumed: bool) {
        let Some(run) = self.runs.get(&number) else {
            return;
        };
        self.logs.had_run = true;
        let owed = self.logs.owed.get(&number).copied().unwrap_or_default();
        if resumed && owed.lines > owed.dropped {
            // They went with the daemon that had them.
            *self.logs.dropped.get_or_default(run.record.service.clone()) +=
                owed.lines - owed.dropped;
            let all = Owed {
                dropped: owed.lines,
                ..owed
            };
            self.logs.owed.insert(number, all);
        }
        let log = &run.record.log;
        let open = Open {
            run: number,
            service: run.record.service.clone(),
            target: target(log, self.settings.home.as_deref()),
            limits: limits(log),
            forward: self.settings.forward,
            resumed,
            dropped: owed.lines,
        };
        self.logs
            .queue
            .push_back((ToLogd::Open(Box::new(open)), Beside::Pipe(number)));
    }

    fn send_to_logd(&mut self) {
        while let Some((message, beside)) = self.logs.queue.front() {
            let Some(daemon) = &mut self.logs.daemon else {
                return;
            };
            let fd = match beside {
                Beside::Nothing => None,
                Beside::Hold => self.logs.hold.as_ref(),
                Beside::Pipe(run) => self.runs.get(run).and_then(|run| run.log.as_ref()),
            };
            let sent = if *beside != Beside::Nothing && fd.is_none() {
                // The run's pipe has ended meanwhile.
                Ok(())
            } else {
                logproto::send(daemon.socket.as_fd(), message, fd.map(|fd| fd.as_fd()))
            };
            match sent {
                Ok(()) => {}
                Err(SendError::Full) => {
                    daemon.blocked = true;
                    // It fails only where the socket is not watched, and then the daemon is ending.
                    let _ = self
                        .reactor
                        .change(&daemon.socket, Source::Logd, Interest::Both);
                    return;
                }
                Err(SendError::Closed) => return,
                Err(error) => self.output.error(&format!("log daemon: {error}")),
            }
            self.logs.queue.pop_front();
        }
        if let Some(daemon) = &mut self.logs.daemon
            && std::mem::take(&mut daemon.blocked)
        {
            let _ = self
                .reactor
                .change(&daemon.socket, Source::Logd, Interest::Read);
        }
    }

    /// The daemon answers, or can be told more.
    pub(crate) fn logd_ready(&mut self, ready: Readiness) {
        if ready.writable {
            self.send_to_logd();
        }
        loop {
            let Some(daemon) = &self.logs.daemon else {
                return;
            };
            match logproto::receive::<FromLogd>(daemon.socket.as_fd()) {
                Ok(Received::Message(message, _)) => self.heard_from_logd(message),
                Ok(Received::Malformed(why)) => {
                    self.output
                        .warn(&format!("log daemon: a message makes no sense: {why}"));
                }
                Ok(Received::Empty) => return,
                Ok(Received::Closed) | Err(_) => {
                    // Its end is told by its death; until then there is nothing to hear.
                    self.reactor.remove(daemon.socket.as_fd());
                    return;
                }
            }
        }
    }

    fn heard_from_logd(&mut self, message: FromLogd) {
        match message {
            FromLogd::Eof { run, .. } => self.log_ended(run),
            FromLogd::Flushed { token } if token == self.logs.check => {
                self.logs.drained_by = None;
                for run in std::mem::take(&mut self.logs.wrote) {
                    if let Some(log) = self.runs.get(&run).and_then(|run| run.log.as_ref()) {
                        let source = Source::LogPipe(run);
                        // It fails only where the pipe is no longer watched.
                        let _ = self.reactor.change(log, source, Interest::ReadOnce);
                    }
                }
            }
            FromLogd::Ready | FromLogd::Alive | FromLogd::Stats(_) | FromLogd::Flushed { .. } => {}
            FromLogd::Dropped { run, lines, lost } => self.lines_dropped(run, lines, lost),
            FromLogd::Problem { run, text } => {
                let name = run
                    .and_then(|run| self.runs.get(&run))
                    .map(|run| &run.record.service);
                let about = name.map_or_else(String::new, |name| format!("{name}: "));
                self.output.warn(&format!("{about}{text}"));
            }
            FromLogd::Finished => self.logs.finishing = Some(true),
        }
    }

    fn lines_dropped(&mut self, number: u64, lines: u64, lost: u64) {
        let before = self.logs.owed.get(&number).copied().unwrap_or_default();
        let dropped = before.dropped.saturating_add(lost).min(lines);
        self.logs.owed.insert(number, Owed { lines, dropped });
        if lost > 0
            && let Some(run) = self.runs.get(&number)
        {
            let service = run.record.service.clone();
            *self.logs.dropped.get_or_default(service) += lost;
        }
    }

    /// Every writer of a run's pipe has let go, and all of it is logged.
    fn log_ended(&mut self, number: u64) {
        self.logs.owed.remove(&number);
        self.logs.wrote.remove(&number);
        let Some(run) = self.runs.get_mut(&number) else {
            return;
        };
        if let Some(log) = run.log.take() {
            self.reactor.remove(&log);
        }
        if run.record.exited && !run.draining {
            self.runs.remove(&number);
        }
        self.record_run(number);
    }

    /// A service has written: the daemon has a second to begin, and then two to drain.
    pub(crate) fn log_written(&mut self, run: u64) {
        self.logs.wrote.insert(run);
        if self.logs.check_at.is_none() && self.logs.drained_by.is_none() {
            self.logs.check_at = Some(self.clock().now + CHECK_AFTER);
        }
    }

    /// Does what is due.
    pub(crate) fn drive_logs(&mut self, now: Time) {
        let due = |at: Option<Time>| at.is_some_and(|at| at <= now);
        if due(self.logs.respawn_at) {
            self.start_logd();
        }
        if due(self.logs.check_at) {
            self.logs.check_at = None;
            if self.logs.daemon.is_some() {
                self.logs.check += 1;
                let token = self.logs.check;
                self.logs
                    .queue
                    .push_back((ToLogd::Flush { token }, Beside::Nothing));
                self.logs.drained_by = Some(now + DRAIN_WITHIN);
                self.send_to_logd();
            }
        }
        if due(self.logs.drained_by) {
            self.logs.drained_by = None;
            if let Some(pid) = self.logs.pid() {
                self.output
                    .warn("the log daemon has not drained for 2 s; it is replaced");
                // It may be dead already; then it is reaped in a moment.
                let _ = signals::kill(pid, Signal::KILL);
                self.logs.given_up_at = Some(now + REAPED_WITHIN);
            }
        }
        if due(self.logs.given_up_at) {
            self.logd_ended("killed, and asleep in the kernel");
        }
    }

    /// The log daemon has ended; nobody else reads the pipes now.
    pub(crate) fn logd_ended(&mut self, why: &str) {
        let Some(daemon) = self.logs.daemon.take() else {
            return;
        };
        // Given up, it is an orphan like any other when it dies at last.
        self.helpers.remove(&daemon.pid.as_raw_pid());
        self.reactor.remove(&daemon.socket);
        self.logs.given_up_at = None;
        if self.logs.finishing.is_some() {
            self.logs.finishing = Some(true);
            return;
        }
        self.output.warn(&format!(
            "the log daemon ended ({why}); another takes its place"
        ));
        self.logs.restarts += 1;
        // Everyone who wrote is watched again by the check that follows the new one's start.
        self.logs.check_at = Some(self.clock().now + CHECK_AFTER);
        if self.clock().now.since(daemon.since) >= RESPAWN_DELAY {
            self.start_logd();
        } else {
            self.logs.respawn_at = Some(self.clock().now + RESPAWN_DELAY);
        }
    }

    /// Tells the daemon to log what there is and to end. One that never had a run has nothing to
    /// write, and may not even have come up yet: nobody waits for it.
    pub(crate) fn finish_logs(&mut self) {
        if self.logs.finishing.is_none() {
            self.logs.finishing = Some(self.logs.daemon.is_none() || !self.logs.had_run);
            self.logs.respawn_at = None;
            self.logs.queue.push_back((ToLogd::Finish, Beside::Nothing));
            self.send_to_logd();
        }
    }

    /// A launch of this very program under another name.
    pub(crate) fn own_program(&self, argv: &[String]) -> Result<Launch, String> {
        let file = self
            .boot
            .image
            .try_clone()
            .map_err(|error| error.to_string())?;
        let program = Program::Descriptor {
            file,
            script_at: None,
        };
        let c_string = |text: &String| std::ffi::CString::new(text.as_str());
        let argv = argv.iter().map(c_string).collect::<Result<Vec<_>, _>>();
        let mut launch = Launch::new(program, argv.map_err(|error| error.to_string())?);
        let variable = |(name, value): (&std::ffi::OsStr, &std::ffi::OsStr)| {
            let bytes = [name.as_encoded_bytes(), b"=", value.as_encoded_bytes()].concat();
            std::ffi::CString::new(bytes).ok()
        };
        launch.env = self.environment.for_root().filter_map(variable).collect();
        Ok(launch)
    }
}

/// Gives a launch the container's own stdout and stderr.
pub(crate) fn give_stdout(launch: &mut Launch) -> Result<(), String> {
    let copy = |fd: std::os::fd::BorrowedFd<'_>| {
        fd.try_clone_to_owned().map_err(|error| error.to_string())
    };
    hand_over(launch, copy(rustix::stdio::stdout())?, 1);
    hand_over(launch, copy(rustix::stdio::stderr())?, 2);
    Ok(())
}

/// Where a kept copy goes: below the home where it is in the home, because only the home itself
/// may be trusted to be what it is called.
fn target(log: &LogSpec, home: Option<&Path>) -> Option<Target> {
    let dir = Path::new(log.dir.as_deref()?);
    let split = |base: &Path| {
        let below = dir.strip_prefix(base).ok()?;
        Some(Target {
            base: PathBuf::from(base),
            dir: below.to_path_buf(),
        })
    };
    home.and_then(split).or_else(|| split(Path::new("/")))
}

fn limits(log: &LogSpec) -> Limits {
    let default = Limits::default();
    Limits {
        file_bytes: log.max_bytes.unwrap_or(default.file_bytes),
        files: log.max_files.unwrap_or(default.files),
        file_age_s: log.max_age_s,
        keep_age_s: log.max_age_s,
        ..default
    }
}
