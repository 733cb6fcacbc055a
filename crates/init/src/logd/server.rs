//! The log daemon's loop: PID 1's messages, the runs' pipes, one epoll, no timers while all
//! is well.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use herm_engine::SortedMap;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, ioctl_fionbio, ioctl_fionread};

use super::directory::Now;
use super::hold::Hold;
use super::pump::{Progress, Pump, Run, Sinks, tell};
use crate::logproto::{FromLogd, Open, PROBLEM_BYTES_MAX, Received, Stats, ToLogd, receive};

/// The control socket's number in epoll; runs count from 1.
const CONTROL: u64 = 0;

/// Chunks taken from one run before the others have their turn.
const CHUNKS_PER_TURN: usize = 4;

/// Messages taken before the runs have their turn.
const MESSAGES_PER_TURN: usize = 64;

const EVENTS_PER_WAIT: usize = 128;

/// PID 1 is listened to at least this often, and told that a long task goes on.
const LISTEN_EVERY: Duration = Duration::from_millis(250);

/// Losses are reported no more often than this while they go on.
const REPORT_EVERY: Duration = Duration::from_millis(100);

/// How long the last messages may wait for PID 1 to read them.
const LAST_WORDS: Timespec = Timespec {
    tv_sec: 1,
    tv_nsec: 0,
};

/// The log daemon.
pub(crate) struct Server {
    control: OwnedFd,
    control_open: bool,
    control_wants_out: bool,
    epoll: OwnedFd,
    runs: SortedMap<u64, Box<Run>>,
    /// Number in epoll by PID 1's number.
    keys: SortedMap<u64, u64>,
    next_key: u64,
    pump: Pump,
    sinks: Sinks,
    reported: Instant,
}

impl Server {
    /// A log daemon that listens to PID 1 on `control`.
    pub(crate) fn new(control: OwnedFd, pump: Pump, sinks: Sinks) -> Result<Self, Errno> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(
            &epoll,
            &control,
            EventData::new_u64(CONTROL),
            EventFlags::IN,
        )?;
        Ok(Self {
            control,
            control_open: true,
            control_wants_out: false,
            epoll,
            runs: SortedMap::new(),
            keys: SortedMap::new(),
            next_key: CONTROL,
            pump,
            sinks,
            reported: Instant::now(),
        })
    }

    /// Logs until PID 1 says that it is over, or is gone and every run has ended. `shortcoming` is
    /// what PID 1 should know from the start.
    pub(crate) fn run(mut self, shortcoming: Option<String>) -> Result<(), Errno> {
        self.sinks.outbox.push(FromLogd::Ready);
        tell(&mut self.sinks, None, shortcoming);
        let mut events = Vec::with_capacity(EVENTS_PER_WAIT);
        while self.control_open || !self.runs.is_empty() {
            self.flush_outbox();
            events.clear();
            let timeout = self.timeout();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), timeout.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
            let ready: Vec<u64> = events.iter().map(|event| event.data.u64()).collect();
            if ready.contains(&CONTROL) && self.obey() {
                self.finish();
                return Ok(());
            }
            if self.take_turns(&ready) {
                self.finish();
                return Ok(());
            }
            self.sinks.directories.look_further();
            self.retry(false);
            self.report_in_time();
        }
        self.finish();
        Ok(())
    }

    /// Logs some of what the ready runs have written. `true`: PID 1 says that it is over.
    fn take_turns(&mut self, ready: &[u64]) -> bool {
        let mut listened = Instant::now();
        for key in ready {
            self.drain(*key, u64::MAX, CHUNKS_PER_TURN);
            // PID 1 may be asking whether we hang, while it is only a disk that is slow.
            if listened.elapsed() >= LISTEN_EVERY {
                if self.obey() {
                    return true;
                }
                self.flush_outbox();
                listened = Instant::now();
            }
        }
        false
    }

    fn timeout(&self) -> Option<Timespec> {
        if self.sinks.directories.is_looking() {
            return Some(Timespec::default());
        }
        let deadline = self.sinks.directories.deadline()?;
        let left = deadline.saturating_duration_since(Instant::now());
        // Rounded up, so that the deadline has passed at the wake-up.
        Timespec::try_from(left + Duration::from_millis(1)).ok()
    }

    /// Takes PID 1's messages. `true`: it says that it is over.
    fn obey(&mut self) -> bool {
        for _ in 0..MESSAGES_PER_TURN {
            if !self.control_open {
                return false;
            }
            match receive::<ToLogd>(self.control.as_fd()) {
                Ok(Received::Message(ToLogd::Finish, _)) => return true,
                Ok(Received::Message(message, fd)) => self.handle(message, fd),
                Ok(Received::Malformed(reason)) => {
                    let text = format!("ignoring a message of PID 1: {reason}");
                    tell(&mut self.sinks, None, Some(text));
                }
                Ok(Received::Empty) => return false,
                Ok(Received::Closed) | Err(_) => {
                    // The services go on without PID 1, and so do their logs.
                    self.control_open = false;
                    let _ = epoll::delete(&self.epoll, &self.control);
                }
            }
        }
        false
    }

    fn handle(&mut self, message: ToLogd, fd: Option<OwnedFd>) {
        match message {
            // Later it would replace what is held by now.
            ToLogd::Hold if self.runs.is_empty() => self.sinks.hold = Hold::adopt(fd),
            ToLogd::Config(config) => self.sinks.directories.set_total(config.total_bytes),
            ToLogd::Open(open) => {
                let run = open.run;
                if let Err(text) = self.open(*open, fd) {
                    tell(&mut self.sinks, Some(run), Some(text));
                }
            }
            ToLogd::Forget { run } => self.forget(run),
            ToLogd::Rotate { run } => {
                let directory = self.find(run).and_then(|run| run.directory);
                if let Some(key) = directory {
                    let problem = self.sinks.directories.rotate(key, now());
                    tell(&mut self.sinks, Some(run), problem);
                }
            }
            ToLogd::Flush { token } => {
                self.drain_all();
                self.retry(true);
                self.report();
                self.sinks.outbox.push(FromLogd::Flushed { token });
            }
            ToLogd::Stats { run } => {
                self.report();
                let stdout_dropped = self.sinks.forwarder.dropped();
                if let Some(run) = self.find(run) {
                    let stats = Stats {
                        stdout_dropped,
                        ..run.stats
                    };
                    self.sinks.outbox.push(FromLogd::Stats(stats));
                }
            }
            // The caller's.
            ToLogd::Finish | ToLogd::Hold => {}
        }
    }

    fn open(&mut self, open: Open, fd: Option<OwnedFd>) -> Result<(), String> {
        let pipe = fd.ok_or("a run without a pipe can't be logged")?;
        if let Some(key) = self.keys.get(&open.run).copied() {
            self.remove(key);
        }
        let failed = |errno: Errno| format!("the run's pipe can't be watched: {errno}");
        ioctl_fionbio(&pipe, true).map_err(failed)?;
        let key = self.next_key + 1;
        epoll::add(&self.epoll, &pipe, EventData::new_u64(key), EventFlags::IN).map_err(failed)?;
        self.next_key = key;
        let directories = &mut self.sinks.directories;
        let directory = open
            .target
            .map(|target| directories.join(target, open.limits, open.resumed));
        if let Some(directory) = directory {
            directories.inherit_dropped(directory, open.run, open.dropped, now());
        }
        self.keys.insert(open.run, key);
        let mut run = Run {
            id: open.run,
            service: open.service,
            pipe,
            directory,
            forward: open.forward,
            stats: Stats {
                run: open.run,
                ..Stats::default()
            },
            unteeable: false,
        };
        if self.sinks.hold.get(run.id).ends_with(b"\n") {
            self.pump.end_line(&mut run, &mut self.sinks, now());
        }
        self.runs.insert(key, Box::new(run));
        Ok(())
    }

    /// Logs what a run has written, at most until `bytes` are read in all and in at most `steps`
    /// chunks. A run that has ended is closed, and PID 1 told.
    fn drain(&mut self, key: u64, bytes: u64, steps: usize) {
        let Some(run) = self.runs.get_mut(&key) else {
            return;
        };
        for _ in 0..steps {
            if run.stats.bytes >= bytes {
                return;
            }
            match self.pump.step(run, &mut self.sinks, now()) {
                Progress::More => {}
                Progress::Idle => return,
                Progress::End => {
                    self.pump.end_line(run, &mut self.sinks, now());
                    let id = run.id;
                    self.report();
                    let stats = self.find(id).map(|run| run.stats).unwrap_or_default();
                    self.remove(key);
                    self.sinks.outbox.push(FromLogd::Eof {
                        run: id,
                        bytes: stats.bytes,
                        dropped: stats.dropped,
                    });
                    return;
                }
            }
        }
    }

    /// Logs what is in the pipes now; what is written meanwhile can wait.
    fn drain_all(&mut self) {
        let keys: Vec<u64> = self.runs.keys().copied().collect();
        let mut told = Instant::now();
        for key in keys {
            self.drain_present(key);
            if told.elapsed() >= LISTEN_EVERY {
                self.sinks.outbox.push(FromLogd::Alive);
                self.flush_outbox();
                told = Instant::now();
            }
        }
    }

    fn drain_present(&mut self, key: u64) {
        let Some(run) = self.runs.get(&key) else {
            return;
        };
        let present = ioctl_fionread(&run.pipe).unwrap_or(0);
        let until = run.stats.bytes.saturating_add(present);
        self.drain(key, until, usize::MAX);
    }

    fn forget(&mut self, run: u64) {
        // A line may be left of it even if this log daemon never saw it.
        if let Some(key) = self.keys.get(&run).copied() {
            self.drain_present(key);
            if let Some(run) = self.runs.get_mut(&key) {
                self.pump.end_line(run, &mut self.sinks, now());
            }
            self.report();
            self.remove(key);
        }
        self.sinks.hold.release(run);
    }

    fn remove(&mut self, key: u64) {
        let Some(run) = self.runs.remove(&key) else {
            return;
        };
        self.keys.remove(&run.id);
        // Closing is not enough: PID 1 has the same pipe end, and epoll watches that.
        let _ = epoll::delete(&self.epoll, &run.pipe);
        if let Some(directory) = run.directory {
            self.sinks.directories.leave(directory);
        }
    }

    fn retry(&mut self, all: bool) {
        if self.sinks.directories.is_troubled() {
            for problem in self.sinks.directories.retry(all, now()) {
                tell(&mut self.sinks, None, Some(problem));
            }
        }
    }

    /// Tells PID 1 what is missing from the logs.
    fn report(&mut self) {
        if !self.sinks.directories.is_troubled() {
            return;
        }
        let report = self.sinks.directories.report();
        for (run, lines) in &report.lost {
            if let Some(run) = self.keys.get(run).and_then(|key| self.runs.get_mut(key)) {
                run.stats.dropped += lines;
            }
        }
        for (run, lines) in report.owed {
            let lost = report.lost.iter().filter(|(of, _)| *of == run);
            let lost = lost.map(|(_, lines)| lines).sum();
            let message = FromLogd::Dropped { run, lines, lost };
            self.sinks.outbox.push(message);
        }
        self.reported = Instant::now();
    }

    /// Tells it often enough for a successor to know what it has to answer for, and seldom enough
    /// for a full disk not to keep PID 1 busy.
    fn report_in_time(&mut self) {
        if self.reported.elapsed() >= REPORT_EVERY {
            self.report();
        }
    }

    fn find(&self, run: u64) -> Option<&Run> {
        self.runs.get(self.keys.get(&run)?).map(Box::as_ref)
    }

    fn flush_outbox(&mut self) {
        let wants_out = self.control_open && self.sinks.outbox.flush(self.control.as_fd());
        if wants_out != self.control_wants_out {
            self.control_wants_out = wants_out;
            let flags = if wants_out {
                EventFlags::IN | EventFlags::OUT
            } else {
                EventFlags::IN
            };
            let data = EventData::new_u64(CONTROL);
            let _ = epoll::modify(&self.epoll, &self.control, data, flags);
        }
    }

    /// Writes all that can be written, and says so.
    fn finish(&mut self) {
        self.drain_all();
        for run in self.runs.values_mut() {
            self.pump.end_line(run, &mut self.sinks, now());
        }
        self.retry(true);
        self.report();
        self.sinks.forwarder.finish();
        self.sinks.outbox.push(FromLogd::Finished);
        while self.sinks.outbox.flush(self.control.as_fd()) {
            let writable = &mut [PollFd::new(&self.control, PollFlags::OUT)];
            if !matches!(poll(writable, Some(&LAST_WORDS)), Ok(1..)) {
                break;
            }
        }
    }
}

impl FromLogd {
    /// A problem, in as many words as a message may have.
    pub(crate) fn problem(run: Option<u64>, text: &str) -> Self {
        let mut text = text.to_owned();
        while text.len() > PROBLEM_BYTES_MAX {
            text.pop();
        }
        Self::Problem { run, text }
    }
}

fn now() -> Now {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH);
    Now {
        wall: wall.map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(0)),
        steady: Instant::now(),
    }
}
