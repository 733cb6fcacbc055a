//! One service's log directory: `current` and the files rotated out of it.
//!
//! The directory lies in a home that its user may rearrange at any time. So everything below the
//! trusted base is opened relative to a descriptor, without following links, and must be what it
//! should be: a directory, a regular file. Anything else is refused by name, and the lines wait in
//! a small backlog of which the oldest are dropped and counted, as they do when the disk is full.
//! Whoever may write to the directory may of course destroy the log in it; they can't make the
//! log daemon write elsewhere, nor stop it.
//!
//! A lock (`flock` on the directory itself, which leaves no file behind) makes sure that no
//! second log daemon rotates the same files.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use herm_engine::SortedMap;
use rustix::fs::{fstat, ftruncate};
use rustix::io::{Errno, write};

use super::backlog::{Backlog, Chunk};
use super::files::{
    CURRENT, current_bytes, end_last_line, find_directory, first_stamp, list_rotated, lock,
    open_current, open_directory, remove_current, remove_rotated, rename_to_new, words,
};
use super::frame;
use super::rotation::{Fit, Rotated, fit, next_rotation, surplus};
use super::stamp::{Micros, Stamp, rotated_name};
use crate::logproto::{Limits, Target};

/// Lines that wait for a directory to become writable again.
const BACKLOG_BYTES_MAX: usize = 64 * 1024;

/// A failed directory is tried again after this long, and then after twice as long each time.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// How often a file in use is looked at: somebody may have removed or emptied it.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// The time, as the clock on the wall has it and as deadlines need it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    /// For lines and names.
    pub(crate) wall: Micros,
    /// For deadlines.
    pub(crate) steady: Instant,
}

/// The descriptors of a directory in use.
#[derive(Debug)]
struct Open {
    dir: OwnedFd,
    current: OwnedFd,
    bytes: u64,
    since: Micros,
    checked: Instant,
}

/// Why nothing is written, and when that is tried again.
#[derive(Debug)]
struct Failure {
    reason: String,
    retry_at: Instant,
    pause: Duration,
}

/// A log directory.
#[derive(Debug)]
pub(crate) struct Directory {
    target: Target,
    /// The limits of the run that was opened last.
    pub(crate) limits: Limits,
    /// A half-written last line is still in a pipe, for a log daemon was killed writing it.
    resumed: bool,
    open: Option<Open>,
    rotated: VecDeque<Rotated>,
    last_bytes: u64,
    failure: Option<Failure>,
    backlog: Backlog<u64>,
    /// Lines per run that the log neither has nor tells of, those in the backlog included.
    owed: SortedMap<u64, u64>,
    /// Lines dropped for good since the log last told of any.
    lost: u64,
    /// Lines dropped for good per run, until somebody asks.
    news: SortedMap<u64, u64>,
    /// When it was last written to, for who chooses which files to close.
    pub(crate) used: u64,
}

impl Directory {
    /// A directory, which the first lines will open.
    pub(crate) fn new(target: Target, limits: Limits, resumed: bool) -> Self {
        Self {
            target,
            limits,
            resumed,
            open: None,
            rotated: VecDeque::new(),
            last_bytes: 0,
            failure: None,
            backlog: Backlog::new(BACKLOG_BYTES_MAX),
            owed: SortedMap::new(),
            lost: 0,
            news: SortedMap::new(),
            used: 0,
        }
    }

    /// A run begins to log to it, after a while without any where nothing is open.
    pub(crate) fn begin(&mut self, limits: Limits, resumed: bool) {
        self.limits = limits;
        if self.open.is_none() {
            self.resumed = resumed;
        }
    }

    /// Looks at what lies there. The keeper compresses rotated files and anybody may remove them,
    /// so what is known of them is only a memory.
    pub(crate) fn look(&mut self) {
        let found;
        let dir = if let Some(open) = &self.open {
            &open.dir
        } else if let Some(dir) = find_directory(&self.target) {
            found = dir;
            self.last_bytes = current_bytes(&found);
            &found
        } else {
            self.last_bytes = 0;
            self.rotated.clear();
            return;
        };
        if let Ok(rotated) = list_rotated(dir) {
            self.rotated = rotated;
        }
    }

    /// Writes whole, stamped lines of a run, or keeps them for later. Never fails: what can't be
    /// written is dropped and counted in the end. Says what went wrong the first time it does.
    pub(crate) fn append(&mut self, run: u64, lines: &[u8], now: Now) -> Option<String> {
        let rest = if self.failure.is_none() {
            match self.write(lines, now) {
                Ok(()) => return None,
                Err((written, reason)) => {
                    let rest = lines.get(written..).unwrap_or_default();
                    let problem = self.fail(reason, now);
                    self.wait(run, rest);
                    return problem;
                }
            }
        } else {
            lines
        };
        self.wait(run, rest);
        self.retry(now)
    }

    /// When [`Directory::retry`] should be called although no line came.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let failure = self.failure.as_ref()?;
        (!self.backlog.is_empty() || self.lost > 0).then_some(failure.retry_at)
    }

    /// Tries a failed directory again if it is time. Says what is wrong if that is news.
    pub(crate) fn retry(&mut self, now: Now) -> Option<String> {
        if now.steady < self.failure.as_ref()?.retry_at {
            return None;
        }
        self.retry_now(now)
    }

    /// Tries a failed directory again.
    pub(crate) fn retry_now(&mut self, now: Now) -> Option<String> {
        let reason = self.failure.as_ref()?.reason.clone();
        if self.lost > 0 {
            let mut notice = Vec::new();
            let text = format!("herm: {} lines were dropped: {reason}\n", self.lost);
            frame::append_stamped(&mut notice, &Stamp::new(now.wall), text.as_bytes());
            if let Err((_, reason)) = self.write(&notice, now) {
                return self.fail(reason, now);
            }
            self.lost = 0;
        }
        while let Some(mut chunk) = self.backlog.pop() {
            if let Err((written, reason)) = self.write(&chunk.bytes, now) {
                chunk.bytes.drain(..written.min(chunk.bytes.len()));
                chunk.lines = frame::count(&chunk.bytes);
                self.backlog.unpop(chunk);
                return self.fail(reason, now);
            }
            if let Some(owed) = self.owed.get_mut(&chunk.owner) {
                *owed = owed.saturating_sub(chunk.lines);
            }
        }
        self.failure = None;
        for owed in self.owed.values_mut() {
            *owed = 0;
        }
        None
    }

    /// Counts lines that an earlier log daemon dropped as if this one had.
    pub(crate) fn inherit_dropped(&mut self, run: u64, lines: u64, now: Now) {
        if lines > 0 {
            self.lost += lines;
            *self.owed.get_or_default(run) += lines;
            let reason = "the log daemon was replaced before it could write them".to_owned();
            self.failure.get_or_insert(Failure {
                reason,
                retry_at: now.steady,
                pause: RETRY_MIN,
            });
        }
    }

    /// Lines per run that the log neither has nor tells of. One that is zero is told once.
    pub(crate) fn report_owed(&mut self) -> Vec<(u64, u64)> {
        let all = self.owed.iter().map(|(run, n)| (*run, *n)).collect();
        self.owed.retain(|_, n| *n > 0);
        all
    }

    /// Lines dropped for good per run since the last call.
    pub(crate) fn take_lost(&mut self) -> SortedMap<u64, u64> {
        std::mem::take(&mut self.news)
    }

    /// Begins a new file now.
    pub(crate) fn rotate_now(&mut self, now: Now) -> Option<String> {
        let result = self.ensure_open(now).and_then(|()| {
            if self.bytes_current() > 0 {
                self.rotate(now)
            } else {
                Ok(())
            }
        });
        result.err().and_then(|reason| self.fail(reason, now))
    }

    /// Where it is.
    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// Bytes that the files take together, as far as known.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes_current() + self.rotated.iter().map(|file| file.bytes).sum::<u64>()
    }

    /// How many rotated files there are, as far as known.
    pub(crate) fn rotated_count(&self) -> usize {
        self.rotated.len()
    }

    /// Removes the oldest file: of a directory in use a rotated one, else `current` at last.
    pub(crate) fn remove_oldest(&mut self) {
        let file = self.rotated.pop_front();
        if let (Some(open), Some(file)) = (&self.open, file) {
            remove_rotated(&open.dir, file.at);
        } else if self.open.is_none() {
            let dir = find_directory(&self.target);
            match (file, dir) {
                (Some(file), Some(dir)) => remove_rotated(&dir, file.at),
                (None, dir) => {
                    dir.as_ref().map(remove_current);
                    self.last_bytes = 0;
                }
                (Some(_), None) => {}
            }
        }
    }

    /// Closes the files until the next line.
    pub(crate) fn close(&mut self) {
        if let Some(open) = self.open.take() {
            self.last_bytes = open.bytes;
        }
    }

    /// Whether files are open.
    pub(crate) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Whether lines wait.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.backlog.is_empty() || self.lost > 0
    }

    /// Whether there is anything to retry or to report.
    pub(crate) fn is_troubled(&self) -> bool {
        self.is_waiting() || !self.owed.is_empty() || !self.news.is_empty()
    }

    fn bytes_current(&self) -> u64 {
        self.open
            .as_ref()
            .map_or(self.last_bytes, |open| open.bytes)
    }

    fn wait(&mut self, run: u64, lines: &[u8]) {
        if lines.is_empty() {
            return;
        }
        let count = frame::count(lines);
        *self.owed.get_or_default(run) += count;
        let chunk = Chunk {
            bytes: lines.to_vec(),
            lines: count,
            owner: run,
        };
        let (lost, news) = (&mut self.lost, &mut self.news);
        self.backlog.push(chunk, |oldest| {
            *lost += oldest.lines;
            *news.get_or_default(oldest.owner) += oldest.lines;
        });
    }

    fn fail(&mut self, reason: String, now: Now) -> Option<String> {
        self.close();
        let (is_news, pause) = match &self.failure {
            Some(failure) => (failure.reason != reason, (failure.pause * 2).min(RETRY_MAX)),
            None => (true, RETRY_MIN),
        };
        let path = self.target.base.join(&self.target.dir);
        let text = format!(
            "{}: {reason}; its lines wait, and the oldest are dropped and counted",
            path.display()
        );
        self.failure = Some(Failure {
            reason,
            retry_at: now.steady + pause,
            pause,
        });
        is_news.then_some(text)
    }

    /// Writes lines, rotating where they don't fit. An error says how many bytes (whole lines)
    /// were written before it.
    fn write(&mut self, lines: &[u8], now: Now) -> Result<(), (usize, String)> {
        let mut written = 0;
        while let Some(rest) = lines.get(written..).filter(|rest| !rest.is_empty()) {
            self.ensure_open(now).map_err(|reason| (written, reason))?;
            let Some(open) = &mut self.open else {
                break;
            };
            if open.bytes == 0 {
                open.since = now.wall;
            }
            match fit(rest, open.bytes, open.since, &self.limits, now.wall) {
                Fit::Rotate => self.rotate(now).map_err(|reason| (written, reason))?,
                Fit::Write(n) => {
                    let part = rest.get(..n).unwrap_or(rest);
                    let result = write_lines(open, part);
                    written += *result.as_ref().unwrap_or_else(|(done, _)| done);
                    result.map_err(|(_, errno)| (written, words(errno)))?;
                }
            }
        }
        Ok(())
    }

    fn ensure_open(&mut self, now: Now) -> Result<(), String> {
        if let Some(open) = &mut self.open {
            if now.steady.saturating_duration_since(open.checked) < CHECK_EVERY {
                return Ok(());
            }
            open.checked = now.steady;
            let stat = fstat(&open.current).map_err(words)?;
            if stat.st_nlink > 0 {
                open.bytes = u64::try_from(stat.st_size).unwrap_or(0);
                return Ok(());
            }
            self.close();
        }
        let dir = open_directory(&self.target)?;
        lock(&dir)?;
        self.rotated = list_rotated(&dir)?;
        let current = open_current(&dir)?;
        let bytes = end_last_line(&current, self.resumed).map_err(words)?;
        self.resumed = false;
        self.open = Some(Open {
            since: first_stamp(&current).unwrap_or(now.wall),
            dir,
            current,
            bytes,
            checked: now.steady,
        });
        Ok(())
    }

    fn rotate(&mut self, now: Now) -> Result<(), String> {
        let Some(open) = &self.open else {
            return Ok(());
        };
        let mut at = next_rotation(self.rotated.back().map(|file| file.at), now.wall);
        let done = loop {
            match rename_to_new(&open.dir, &rotated_name(at)) {
                Err(Errno::EXIST) => at += 1,
                done => break done,
            }
        };
        match done {
            Ok(()) => match list_rotated(&open.dir) {
                Ok(rotated) => self.rotated = rotated,
                Err(_) => self.rotated.push_back(Rotated {
                    at,
                    bytes: open.bytes,
                }),
            },
            // Somebody removed it: the lines are gone, and a new file is what is needed.
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(format!("can't rename {CURRENT}: {}", words(errno))),
        }
        let current = open_current(&open.dir)?;
        if let Some(open) = &mut self.open {
            open.current = current;
            open.bytes = 0;
        }
        for _ in 0..surplus(&self.rotated, 0, &self.limits, now.wall) {
            self.remove_oldest();
        }
        Ok(())
    }
}

/// Writes whole lines, and never leaves half of one. An error says how many bytes are there.
fn write_lines(open: &mut Open, lines: &[u8]) -> Result<usize, (usize, Errno)> {
    let mut done = 0;
    while let Some(rest) = lines.get(done..).filter(|rest| !rest.is_empty()) {
        let errno = match write(&open.current, rest) {
            Ok(0) => Errno::NOSPC,
            Ok(n) => {
                done += n;
                open.bytes += n as u64;
                continue;
            }
            Err(Errno::INTR) => continue,
            Err(errno) => errno,
        };
        let whole = frame::split_whole(lines.get(..done).unwrap_or_default())
            .0
            .len();
        let half = (done - whole) as u64;
        if half > 0 {
            open.bytes = open.bytes.saturating_sub(half);
            // If this fails too, the next opening ends the half line with a mark.
            let _ = ftruncate(&open.current, open.bytes);
        }
        return Err((whole, errno));
    }
    Ok(done)
}
