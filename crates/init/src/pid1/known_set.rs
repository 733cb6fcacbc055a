//! Which processes belong to a run besides its main one, and how they are ended.
//!
//! PID 1 (or a subreaper) inherits every orphan below it. So when a run's main process is gone,
//! whatever it left behind hangs below one of our own children that is nobody's main process; where
//! there is no such child, the set is empty, and that costs one small read of `/proc`. Otherwise a
//! process is the run's if its session or process group is, if it descends from one that is, or if
//! it carries the run's cookie (which a helper with the service's own uid looks for, see
//! [`super::cookies`]). What can't be attributed is left alone: it is listed, never guessed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::rc::Rc;

use herm_sys::pidfd::Pidfd;
use herm_sys::process::{self, Identity, Stat};
use herm_sys::signals::{self, Signal};
use herm_sys::{Errno, Pid};

use super::services::RunRecord;

/// The environment variable that marks every process of a run unless it takes care to lose it.
pub(crate) const COOKIE: &str = "HERM_RUN";

/// What is known of processes that neither session, group nor descent attributes.
#[derive(Debug, Default)]
pub(crate) struct Attributions {
    /// The run whose cookie it carries, or none; each process is asked about once.
    known: BTreeMap<(i32, u64), Option<u64>>,
}

impl Attributions {
    /// Remembers a helper's finding.
    pub(crate) fn learn(&mut self, identity: Identity, run: Option<u64>) {
        self.known.insert(key(identity), run);
    }

    /// Forgets a process that was reaped.
    pub(crate) fn forget(&mut self, pid: Pid) {
        let number = pid.as_raw_pid();
        let gone: Vec<_> = self
            .known
            .range((number, 0)..=(number, u64::MAX))
            .map(|(k, _)| *k)
            .collect();
        for key in gone {
            self.known.remove(&key);
        }
    }

    /// The processes that carry a run's cookie, as far as they were asked about.
    fn bearers(&self, run: u64) -> impl Iterator<Item = i32> {
        let theirs = self
            .known
            .iter()
            .filter(move |(_, found)| **found == Some(run));
        theirs.map(|((pid, _), _)| *pid)
    }

    fn is_known(&self, stat: &Stat) -> bool {
        self.known.contains_key(&key(stat.identity()))
    }
}

fn key(identity: Identity) -> (i32, u64) {
    (identity.pid.as_raw_pid(), identity.start_ticks)
}

/// Our children that are nobody's main process; `None` where the kernel doesn't list them.
pub(crate) fn strays(mains: &BTreeSet<i32>) -> Option<Vec<Pid>> {
    let me = rustix::process::getpid().as_raw_pid();
    let text = fs::read_to_string(format!("/proc/self/task/{me}/children")).ok()?;
    let numbers = text
        .split_ascii_whitespace()
        .filter_map(|n| n.parse::<i32>().ok());
    Some(
        numbers
            .filter(|n| !mains.contains(n))
            .filter_map(Pid::from_raw)
            .collect(),
    )
}

/// What was seen of the processes below us, until something happens.
#[derive(Debug, Default)]
pub(crate) struct Sight {
    nobody_strays: Option<bool>,
    census: Option<Rc<Census>>,
}

impl Sight {
    /// Something has happened: what was seen before may not be so any more.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Whether all of our children are in `ours`.
    pub(crate) fn nobody_strays(&mut self, ours: impl FnOnce() -> BTreeSet<i32>) -> bool {
        *self
            .nobody_strays
            .get_or_insert_with(|| strays(&ours()).is_some_and(|strays| strays.is_empty()))
    }

    /// Everyone below us.
    pub(crate) fn census(&mut self) -> Result<Rc<Census>, Errno> {
        if let Some(census) = &self.census {
            return Ok(Rc::clone(census));
        }
        let census = Rc::new(Census::take()?);
        self.census = Some(Rc::clone(&census));
        Ok(census)
    }
}

/// Every process below us, at one look.
#[derive(Debug)]
pub(crate) struct Census {
    /// Those below us that live, by number.
    processes: BTreeMap<i32, Stat>,
    /// Whose children are whose.
    children: BTreeMap<i32, Vec<i32>>,
    /// Who is in a session, and in a group.
    sessions: BTreeMap<i32, Vec<i32>>,
    groups: BTreeMap<i32, Vec<i32>>,
    me: Pid,
}

impl Census {
    /// Looks now.
    pub(crate) fn take() -> Result<Self, Errno> {
        Ok(Self::of(process::all()?, rustix::process::getpid()))
    }

    fn of(all: Vec<Stat>, me: Pid) -> Self {
        let mut census = Self {
            processes: BTreeMap::new(),
            children: BTreeMap::new(),
            sessions: BTreeMap::new(),
            groups: BTreeMap::new(),
            me,
        };
        let mut seen: BTreeMap<i32, Stat> = BTreeMap::new();
        for stat in all {
            let pid = stat.pid.as_raw_pid();
            if let Some(parent) = stat.parent {
                census
                    .children
                    .entry(parent.as_raw_pid())
                    .or_default()
                    .push(pid);
            }
            seen.insert(pid, stat);
        }
        for pid in census.below(&[me.as_raw_pid()]) {
            let Some(stat) = seen.remove(&pid).filter(|stat| !stat.is_zombie()) else {
                continue;
            };
            census.sessions.entry(stat.session).or_default().push(pid);
            census.groups.entry(stat.group).or_default().push(pid);
            census.processes.insert(pid, stat);
        }
        census
    }

    /// All that descend from these, without them unless one descends from another.
    fn below(&self, roots: &[i32]) -> Vec<i32> {
        let mut found = BTreeSet::new();
        let mut next = roots.to_vec();
        while let Some(pid) = next.pop() {
            for child in self.children.get(&pid).into_iter().flatten() {
                if found.insert(*child) {
                    next.push(*child);
                }
            }
        }
        found.into_iter().collect()
    }

    /// The run's living processes, its main one included.
    pub(crate) fn members(&self, run: &RunRecord, attributions: &Attributions) -> Vec<Identity> {
        let leader = i32::try_from(run.pid).unwrap_or(0);
        let together = [&self.sessions, &self.groups].into_iter();
        let together = together.filter_map(|by| by.get(&leader)).flatten().copied();
        let mut roots: Vec<i32> = together.chain(attributions.bearers(run.run)).collect();
        let below = self.below(&roots);
        roots.extend(below);
        let members: BTreeSet<i32> = roots.into_iter().collect();
        let living = members.iter().filter_map(|pid| self.processes.get(pid));
        living.map(Stat::identity).collect()
    }

    /// Orphans below us that a helper should be asked about: adopted by us, nobody's main process,
    /// of no run's session or group, and not asked about before.
    pub(crate) fn unattributed<'a>(
        &'a self,
        mains: &'a BTreeSet<i32>,
        attributions: &'a Attributions,
    ) -> impl Iterator<Item = Identity> + 'a {
        let adopted = |stat: &&Stat| {
            stat.parent == Some(self.me)
                && !mains.contains(&stat.pid.as_raw_pid())
                && !mains.contains(&stat.session)
                && !mains.contains(&stat.group)
                && !attributions.is_known(stat)
        };
        self.processes.values().filter(adopted).map(Stat::identity)
    }

    /// Everyone below us.
    pub(crate) fn everyone(&self) -> impl Iterator<Item = Identity> {
        self.processes.values().map(Stat::identity)
    }
}

/// Signals a process if it is still the one that was looked at and (for anyone's but root's runs)
/// belongs to the run's user.
pub(crate) fn signal_member(
    member: Identity,
    uid: Option<u32>,
    signal: Signal,
) -> Result<(), Errno> {
    let handle = match Pidfd::open(member.pid) {
        Ok(handle) => Some(handle),
        Err(Errno::SRCH) => return Ok(()),
        Err(_) => None,
    };
    if !member.is_alive() {
        return Ok(());
    }
    if let Some(uid) = uid
        && !process::users(member.pid)?
            .iter()
            .take(3)
            .all(|id| *id == uid)
    {
        return Err(Errno::PERM);
    }
    let sent = match handle {
        Some(handle) => handle.signal(signal),
        None => signals::kill(member.pid, signal),
    };
    match sent {
        Err(Errno::SRCH) => Ok(()),
        other => other,
    }
}
