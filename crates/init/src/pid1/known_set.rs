//! Which processes belong to a run besides its main one, and how they are ended.
//!
//! PID 1 (or a subreaper) inherits every orphan below it. So when a run's main process is gone,
//! whatever it left behind hangs below one of our own children that is nobody's main process; where
//! there is no such child, the set is empty, and that costs one small read of `/proc`. Otherwise a
//! process is the run's if its session or process group is, if it descends from one that is, or if
//! it carries the run's cookie (which a helper with the service's own uid looks for, see
//! [`super::cookies`]). What can't be attributed is left alone: it is listed, never guessed.

use std::collections::BTreeMap;
use std::fs;
use std::rc::Rc;

use herm_engine::SortedSet;
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
pub(crate) fn strays(mains: &SortedSet<i32>) -> Option<Vec<Pid>> {
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
    pub(crate) fn nobody_strays(&mut self, ours: impl FnOnce() -> SortedSet<i32>) -> bool {
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

/// A number that many share, and the place of one that has it: sorted, a table of who has what.
type Index = Vec<(i32, usize)>;

/// Every process below us, at one look.
#[derive(Debug)]
pub(crate) struct Census {
    /// All that were seen.
    seen: Vec<Stat>,
    /// Those below us that live, by number.
    living: Index,
    /// Everyone seen by the number of its parent.
    children: Index,
    /// The living by session, and by group.
    sessions: Index,
    groups: Index,
    me: Pid,
}

impl Census {
    /// Looks now.
    pub(crate) fn take() -> Result<Self, Errno> {
        Ok(Self::of(process::all()?, rustix::process::getpid()))
    }

    fn of(seen: Vec<Stat>, me: Pid) -> Self {
        let mut census = Self {
            seen,
            living: Index::new(),
            children: Index::new(),
            sessions: Index::new(),
            groups: Index::new(),
            me,
        };
        let everyone = census.seen.iter().enumerate();
        let parents = everyone.filter_map(|(place, stat)| Some((stat.parent?.as_raw_pid(), place)));
        census.children = sorted(parents.collect());
        let mut below = census.below(census.children_of(me.as_raw_pid()).collect());
        below.retain(|place| {
            census
                .seen
                .get(*place)
                .is_some_and(|stat| !stat.is_zombie())
        });
        let by = |key: fn(&Stat) -> i32| {
            let keyed = below
                .iter()
                .filter_map(|place| Some((key(census.seen.get(*place)?), *place)));
            sorted(keyed.collect())
        };
        let living = by(|stat| stat.pid.as_raw_pid());
        let sessions = by(|stat| stat.session);
        let groups = by(|stat| stat.group);
        Self {
            living,
            sessions,
            groups,
            ..census
        }
    }

    fn children_of(&self, pid: i32) -> impl Iterator<Item = usize> {
        having(&self.children, pid)
    }

    /// The places of these and of all that descend from them, each once.
    fn below(&self, roots: Vec<usize>) -> Vec<usize> {
        let mut is_known = vec![false; self.seen.len()];
        let mut found = Vec::new();
        let mut next = roots;
        while let Some(place) = next.pop() {
            let (Some(is_known), Some(stat)) = (is_known.get_mut(place), self.seen.get(place))
            else {
                continue;
            };
            if !std::mem::replace(is_known, true) {
                found.push(place);
                next.extend(self.children_of(stat.pid.as_raw_pid()));
            }
        }
        found
    }

    /// The run's living processes, its main one included.
    pub(crate) fn members(&self, run: &RunRecord, attributions: &Attributions) -> Vec<Identity> {
        let leader = i32::try_from(run.pid).unwrap_or(0);
        let together = having(&self.sessions, leader).chain(having(&self.groups, leader));
        let bearers = attributions
            .bearers(run.run)
            .flat_map(|pid| having(&self.living, pid));
        let found = self.below(together.chain(bearers).collect());
        let found = found
            .into_iter()
            .filter_map(|place| Some((self.seen.get(place)?.pid.as_raw_pid(), place)));
        let found = sorted(found.collect());
        let living = found
            .iter()
            .filter(|(pid, _)| having(&self.living, *pid).next().is_some());
        living
            .filter_map(|(_, place)| self.seen.get(*place))
            .map(Stat::identity)
            .collect()
    }

    fn living(&self) -> impl Iterator<Item = &Stat> {
        self.living
            .iter()
            .filter_map(|(_, place)| self.seen.get(*place))
    }

    /// Orphans below us that a helper should be asked about: adopted by us, nobody's main process,
    /// of no run's session or group, and not asked about before.
    pub(crate) fn unattributed<'a>(
        &'a self,
        mains: &'a SortedSet<i32>,
        attributions: &'a Attributions,
    ) -> impl Iterator<Item = Identity> + 'a {
        let adopted = |stat: &&Stat| {
            stat.parent == Some(self.me)
                && !mains.contains(&stat.pid.as_raw_pid())
                && !mains.contains(&stat.session)
                && !mains.contains(&stat.group)
                && !attributions.is_known(stat)
        };
        self.living().filter(adopted).map(Stat::identity)
    }

    /// Everyone below us.
    pub(crate) fn everyone(&self) -> impl Iterator<Item = Identity> {
        self.living().map(Stat::identity)
    }
}

fn sorted(mut index: Index) -> Index {
    index.sort_unstable();
    index
}

/// The places of those that have this number.
fn having(index: &Index, number: i32) -> impl Iterator<Item = usize> {
    let start = index.partition_point(|(of, _)| *of < number);
    let rest = index.iter().skip(start);
    rest.take_while(move |(of, _)| *of == number)
        .map(|(_, place)| *place)
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
