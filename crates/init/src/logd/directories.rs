//! All log directories: who shares one, which have their files open, what they take together.

use std::time::Instant;

use herm_engine::{SortedMap, SortedSet};

use super::directory::{Directory, Now};
use super::rotation::victim;
use crate::logproto::{Limits, Target};

/// Directories that nobody logs to at the moment are remembered for the total cap up to this
/// many.
const DIRECTORIES_MAX: usize = 10_000;

#[derive(Debug)]
struct Entry {
    directory: Directory,
    /// Runs that log to it.
    users: u32,
}

/// What PID 1 should know, as pairs of a run and a number of lines.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Lines that no log has or tells of: where there are any, and once where there are none any
    /// more.
    pub(crate) owed: Vec<(u64, u64)>,
    /// Lines dropped for good since the last report.
    pub(crate) lost: Vec<(u64, u64)>,
}

/// All log directories.
#[derive(Debug)]
pub(crate) struct Directories {
    entries: SortedMap<u64, Box<Entry>>,
    /// The keys of the entries, in the order of their targets.
    by_target: Vec<u64>,
    /// Those with something to retry or to report.
    troubled: SortedSet<u64>,
    next_key: u64,
    clock: u64,
    open: usize,
    open_max: usize,
    bytes: u64,
    total_bytes: Option<u64>,
    /// There is no rotated file left that could be removed for the total cap.
    exhausted: bool,
}

impl Directories {
    /// None yet; at most `open_max` will have their files open.
    pub(crate) fn new(open_max: usize) -> Self {
        Self {
            entries: SortedMap::new(),
            by_target: Vec::new(),
            troubled: SortedSet::new(),
            next_key: 0,
            clock: 0,
            open: 0,
            open_max,
            bytes: 0,
            total_bytes: None,
            exhausted: false,
        }
    }

    /// Sets how many bytes all may take together.
    pub(crate) fn set_total(&mut self, total_bytes: Option<u64>) {
        self.total_bytes = total_bytes;
        self.exhausted = false;
        self.enforce_total();
    }

    /// A run begins to log to a directory, which gets its limits. Runs with the same target share
    /// one.
    pub(crate) fn join(&mut self, target: Target, limits: Limits, resumed: bool) -> u64 {
        let place = self.place_of(&target);
        if let Some(key) = place
            .ok()
            .and_then(|place| self.by_target.get(place).copied())
            && let Some(entry) = self.entries.get_mut(&key)
        {
            entry.users += 1;
            entry.directory.limits = limits;
            return key;
        }
        self.next_key += 1;
        let entry = Entry {
            directory: Directory::new(target, limits, resumed),
            users: 1,
        };
        let (Ok(place) | Err(place)) = place;
        self.by_target.insert(place, self.next_key);
        self.entries.insert(self.next_key, Box::new(entry));
        self.next_key
    }

    /// A run has ended. The last one leaves the directory to whoever wants it.
    pub(crate) fn leave(&mut self, key: u64) {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.users = entry.users.saturating_sub(1);
        }
        self.tidy(key);
    }

    /// [`Directory::append`].
    pub(crate) fn append(&mut self, key: u64, run: u64, lines: &[u8], now: Now) -> Option<String> {
        self.with(key, |directory| directory.append(run, lines, now))
    }

    /// [`Directory::rotate_now`].
    pub(crate) fn rotate(&mut self, key: u64, now: Now) -> Option<String> {
        self.with(key, |directory| directory.rotate_now(now))
    }

    /// [`Directory::inherit_dropped`].
    pub(crate) fn inherit_dropped(&mut self, key: u64, run: u64, lines: u64, now: Now) {
        self.with(key, |directory| {
            directory.inherit_dropped(run, lines, now);
            None
        });
    }

    /// The next moment at which a failed directory should be tried again.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.troubled
            .iter()
            .filter_map(|key| self.entries.get(key)?.directory.deadline())
            .min()
    }

    /// Tries failed directories again: those whose time has come, or all.
    pub(crate) fn retry(&mut self, all: bool, now: Now) -> Vec<String> {
        let troubled: Vec<u64> = self.troubled.iter().copied().collect();
        let mut problems = Vec::new();
        for key in troubled {
            problems.extend(self.with(key, |directory| {
                if all {
                    directory.retry_now(now)
                } else {
                    directory.retry(now)
                }
            }));
        }
        problems
    }

    /// Whether there is anything to report.
    pub(crate) fn is_troubled(&self) -> bool {
        !self.troubled.is_empty()
    }

    /// What there is to report, per run.
    pub(crate) fn report(&mut self) -> Report {
        let mut report = Report::default();
        for key in std::mem::take(&mut self.troubled) {
            let Some(entry) = self.entries.get_mut(&key) else {
                continue;
            };
            report.lost.extend(entry.directory.take_lost());
            report.owed.extend(entry.directory.report_owed());
            if entry.directory.is_troubled() {
                self.troubled.insert(key);
            }
            self.tidy(key);
        }
        report
    }

    /// Does something with a directory, and sees to it that not too many have their files open
    /// and that the total stays under its cap.
    fn with(
        &mut self,
        key: u64,
        act: impl FnOnce(&mut Directory) -> Option<String>,
    ) -> Option<String> {
        let is_closed = !self.entries.get(&key)?.directory.is_open();
        if is_closed && self.open >= self.open_max {
            self.close_least_used();
        }
        let directory = &mut self.entries.get_mut(&key)?.directory;
        self.clock += 1;
        directory.used = self.clock;
        let (bytes, rotated) = (directory.bytes(), directory.rotated_count());
        let problem = act(directory);
        let is_open = directory.is_open();
        self.bytes = (self.bytes + directory.bytes()).saturating_sub(bytes);
        self.exhausted &= directory.rotated_count() <= rotated;
        if directory.is_troubled() {
            self.troubled.insert(key);
        }
        self.count_open(!is_closed, is_open);
        self.enforce_total();
        problem
    }

    fn enforce_total(&mut self) {
        let cap = self.total_bytes.unwrap_or(u64::MAX);
        while self.bytes > cap && !self.exhausted {
            let sizes = self.entries.iter().map(|(key, entry)| {
                let directory = &entry.directory;
                (*key, directory.bytes(), directory.rotated_count() > 0)
            });
            let largest = victim(cap, sizes).and_then(|key| self.entries.get_mut(&key));
            let Some(directory) = largest.map(|entry| &mut entry.directory) else {
                self.exhausted = true;
                return;
            };
            let before = directory.bytes();
            directory.remove_oldest();
            self.bytes = (self.bytes + directory.bytes()).saturating_sub(before);
        }
    }

    fn close_least_used(&mut self) {
        let open = self
            .entries
            .values_mut()
            .filter(|entry| entry.directory.is_open());
        if let Some(entry) = open.min_by_key(|entry| entry.directory.used) {
            entry.directory.close();
            self.open = self.open.saturating_sub(1);
        }
    }

    /// Closes a directory that nobody uses, and forgets it unless its size counts or there is
    /// something to report.
    fn tidy(&mut self, key: u64) {
        let Some(entry) = self.entries.get_mut(&key) else {
            return;
        };
        if entry.users > 0 || entry.directory.is_troubled() {
            return;
        }
        let was_open = entry.directory.is_open();
        entry.directory.close();
        self.count_open(was_open, false);
        if (self.total_bytes.is_none() || self.entries.len() > DIRECTORIES_MAX)
            && let Some(entry) = self.entries.remove(&key)
        {
            self.bytes = self.bytes.saturating_sub(entry.directory.bytes());
            self.by_target.retain(|other| *other != key);
        }
    }

    /// Where a target is in the order of targets, or would be.
    fn place_of(&self, target: &Target) -> Result<usize, usize> {
        self.by_target.binary_search_by(|key| {
            let known = self.entries.get(key).map(|entry| entry.directory.target());
            known.cmp(&Some(target))
        })
    }

    fn count_open(&mut self, was: bool, is: bool) {
        self.open = (self.open + usize::from(is)).saturating_sub(usize::from(was));
    }
}
