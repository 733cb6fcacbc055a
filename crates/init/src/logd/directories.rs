//! All log directories: who shares one, which have their files open, what they take together.

use std::path::{Path, PathBuf};
use std::time::Instant;

use herm_engine::{SortedMap, SortedSet};

use super::directory::{Directory, Now};
use super::files::list_siblings;
use super::rotation::victim;
use crate::logproto::{Limits, Target};

/// Directories that nobody logs to at the moment are remembered for the total cap up to this
/// many.
const DIRECTORIES_MAX: usize = 10_000;

/// Files removed for the total cap before the services have their turn again.
const REMOVALS_PER_TURN: usize = 64;

#[derive(Debug)]
struct Entry {
    directory: Directory,
    /// Runs that log to it.
    users: u32,
}

impl Entry {
    /// Whether there is a file that could be removed for the total cap.
    fn can_give(&self) -> bool {
        self.directory.rotated_count() > 0 || (self.users == 0 && self.directory.bytes() > 0)
    }
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
    /// There is no file left that could be removed for the total cap.
    exhausted: bool,
    /// Where all directories are known, or will be: `looked_into` names the directories that hold
    /// them, `unseen` what is to be looked at.
    looked_into: Vec<PathBuf>,
    unseen: Vec<Target>,
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
            looked_into: Vec::new(),
            unseen: Vec::new(),
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
        self.look_around(&target);
        let place = self.place_of(&target);
        if let Some(key) = place
            .ok()
            .and_then(|place| self.by_target.get(place).copied())
            && let Some(entry) = self.entries.get_mut(&key)
        {
            if entry.users == 0 {
                entry.directory.begin(limits, resumed);
            } else {
                entry.directory.limits = limits;
            }
            entry.users += 1;
            return key;
        }
        let (Ok(place) | Err(place)) = place;
        self.insert(place, Directory::new(target, limits, resumed), 1)
    }

    fn insert(&mut self, place: usize, directory: Directory, users: u32) -> u64 {
        self.next_key += 1;
        self.by_target.insert(place, self.next_key);
        let entry = Entry { directory, users };
        self.entries.insert(self.next_key, Box::new(entry));
        self.next_key
    }

    /// What earlier log daemons left counts as well: of services that are down, or were deleted.
    /// In a home the directories beside a log directory are such.
    fn look_around(&mut self, target: &Target) {
        let is_in_home = target.base != Path::new("/");
        if self.total_bytes.is_some()
            && is_in_home
            && let Some(parent) = target.dir.parent().map(|dir| target.base.join(dir))
            && !self.looked_into.contains(&parent)
        {
            self.looked_into.push(parent);
            self.unseen.append(&mut list_siblings(target));
        }
    }

    /// Whether [`Directories::look_further`] has something to do.
    pub(crate) fn is_looking(&self) -> bool {
        !self.unseen.is_empty()
    }

    /// Looks at one more directory that was there before. A volume may be slow and have thousands,
    /// and the services don't wait for them.
    pub(crate) fn look_further(&mut self) {
        let Some(target) = self.unseen.pop() else {
            return;
        };
        let Err(place) = self.place_of(&target) else {
            return;
        };
        let mut directory = Directory::new(target, Limits::default(), false);
        directory.look();
        if directory.bytes() > 0 && self.entries.len() < DIRECTORIES_MAX {
            self.bytes += directory.bytes();
            self.exhausted = false;
            self.insert(place, directory, 0);
            self.enforce_total();
        }
    }

    /// A run has ended. The last one leaves the directory to whoever wants it.
    pub(crate) fn leave(&mut self, key: u64) {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.users = entry.users.saturating_sub(1);
            self.exhausted = false;
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
        for _ in 0..REMOVALS_PER_TURN {
            if self.bytes <= cap || self.exhausted {
                return;
            }
            let sizes = self
                .entries
                .iter()
                .map(|(key, entry)| (*key, entry.directory.bytes(), entry.can_give()));
            let largest = victim(cap, sizes).and_then(|key| self.entries.get_mut(&key));
            let Some(entry) = largest else {
                self.exhausted = true;
                return;
            };
            let before = entry.directory.bytes();
            // Its files may take less by now.
            entry.directory.look();
            let spared = before.saturating_sub(entry.directory.bytes());
            if self.bytes.saturating_sub(spared) > cap && entry.can_give() {
                entry.directory.remove_oldest();
            }
            self.bytes = (self.bytes + entry.directory.bytes()).saturating_sub(before);
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
