//! A launch made ready for the child: everything it needs, laid out so that it neither allocates nor decides.

use std::ffi::{CString, c_char};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::atomic::AtomicI32;

use super::block::Report;
use super::dispositions::Altered;
use super::failure::SpawnError;
use super::launch::{Capabilities, Launch, Program, Session};
use crate::credentials::{self, Ids};

/// How much the child shares with us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sharing {
    /// Our memory, until it executes.
    pub(super) memory: bool,
    /// Our descriptor table, until its first system call.
    pub(super) descriptors: bool,
    /// Without `close_range(2)`: our highest descriptor, up to which the child closes one by one.
    pub(super) close_up_to: Option<RawFd>,
}

/// One descriptor's way into the child.
#[derive(Debug)]
pub(super) struct Move {
    pub(super) source: RawFd,
    pub(super) target: RawFd,
    /// Whether it is closed again by the exec.
    pub(super) cloexec: bool,
    /// Where the child parks it while sources and targets overlap.
    pub(super) parked: AtomicI32,
}

/// Ids as the kernel takes them.
#[derive(Debug, Default)]
pub(super) struct NewIds {
    pub(super) groups: Option<Vec<u32>>,
    pub(super) gid: Option<u32>,
    pub(super) uid: Option<u32>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum SessionPlan {
    Inherit,
    NewGroup { foreground_on: Option<RawFd> },
    New { terminal: Option<RawFd> },
}

#[derive(Clone, Copy, Debug)]
pub(super) struct LimitPlan {
    pub(super) resource: usize,
    pub(super) soft: u64,
    pub(super) hard: u64,
}

/// What the child reads. Pointers lead into the [`Launch`] it was made from, which the spawner keeps beside it.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) report: *const Report,
    pub(super) sharing: Sharing,
    pub(super) parent_pid: i32,
    /// Sorted by target, no target twice.
    pub(super) moves: Vec<Move>,
    /// Nothing at or above this number is a source.
    pub(super) past_sources: RawFd,
    /// Nothing at or above this number is a target.
    pub(super) past_targets: RawFd,
    /// Our number of the pipe's end that tells of it.
    pub(super) witness: Option<RawFd>,
    /// The group to make: in which directory, and its name.
    pub(super) cgroup: Option<(RawFd, *const c_char)>,
    pub(super) session: SessionPlan,
    pub(super) limits: Vec<LimitPlan>,
    pub(super) umask: Option<u32>,
    /// Signals to give their default effect.
    pub(super) altered: Altered,
    pub(super) ids: NewIds,
    pub(super) drop_capabilities: bool,
    pub(super) cwd: *const c_char,
    /// The working directory's descriptor in the child, where it is not a path.
    pub(super) cwd_at: Option<RawFd>,
    pub(super) parent_death: Option<u8>,
    pub(super) no_new_privs: bool,
    /// Null-terminated.
    pub(super) paths: Vec<*const c_char>,
    /// The executable's descriptor in the child, where there are no paths.
    pub(super) executable: Option<RawFd>,
    /// Null-terminated.
    pub(super) argv: Vec<*const c_char>,
    /// Null-terminated.
    pub(super) env: Vec<*const c_char>,
}

/// What of ourselves a child has to differ from. None of it changes while a spawner lives.
#[derive(Debug)]
pub(super) struct Ourselves {
    pid: i32,
    ids: Ids,
    may_set_groups: bool,
    altered: Altered,
}

impl Ourselves {
    pub(super) fn now() -> Self {
        Self {
            pid: rustix::process::getpid().as_raw_pid(),
            ids: credentials::ids(),
            may_set_groups: credentials::may_set_groups(),
            altered: Altered::now(),
        }
    }
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings
        .iter()
        .map(|s| s.as_ptr())
        .chain([ptr::null()])
        .collect()
}

impl Plan {
    pub(super) fn new(
        launch: &Launch,
        ours: &Ourselves,
        [null, witness]: [Option<RawFd>; 2],
        sharing: Sharing,
        report: *const Report,
    ) -> Result<Self, SpawnError> {
        if launch.argv.is_empty() {
            return Err(SpawnError::Invalid("no argv[0] is given"));
        }
        let mut moves = handovers(launch, null)?;
        let executable = add_executable(launch, &mut moves)?;
        let cwd_at = add_directory(launch, &mut moves);
        moves.extend(witness.map(|source| closed_by_exec(source, beyond(&moves))));
        moves.sort_unstable_by_key(|m| m.target);
        if moves
            .windows(2)
            .any(|pair| matches!(pair, [a, b] if a.target == b.target))
        {
            return Err(SpawnError::Invalid(
                "two descriptors are given the same number",
            ));
        }
        let session = session_plan(&launch.session);
        let cgroup = launch.cgroup.as_ref();
        let cgroup = cgroup.map(|place| (place.parent().as_raw_fd(), place.name().as_ptr()));
        let used = moves
            .iter()
            .map(|m| m.source)
            .chain(session_fd(session))
            .chain(cgroup.map(|(dir, _)| dir));
        let paths = match &launch.program {
            Program::Paths(paths) if paths.is_empty() => {
                return Err(SpawnError::Invalid("no program is given"));
            }
            Program::Paths(paths) => pointers(paths),
            Program::Descriptor { .. } => vec![ptr::null()],
        };
        Ok(Self {
            report,
            sharing,
            parent_pid: ours.pid,
            past_sources: used.max().map_or(0, |fd| fd.saturating_add(1)),
            past_targets: moves
                .iter()
                .map(|m| m.target)
                .max()
                .map_or(0, |fd| fd.saturating_add(1)),
            moves,
            witness,
            cgroup,
            session,
            limits: launch.limits.iter().map(limit_plan).collect(),
            umask: launch.umask,
            altered: ours.altered,
            ids: new_ids(launch, &ours.ids, ours.may_set_groups),
            drop_capabilities: launch.capabilities == Capabilities::DropAll,
            cwd: launch.cwd.as_ref().map_or(ptr::null(), |cwd| cwd.as_ptr()),
            cwd_at,
            parent_death: launch.parent_death.map(crate::signals::Signal::number),
            no_new_privs: launch.no_new_privs,
            paths,
            executable,
            argv: pointers(&launch.argv),
            env: pointers(&launch.env),
        })
    }

    /// Whether the child becomes another user before it executes.
    pub(super) fn changes_user(&self) -> bool {
        self.ids.uid.is_some() || self.ids.gid.is_some()
    }
}

fn raw(fd: Option<&OwnedFd>) -> Option<RawFd> {
    fd.map(AsRawFd::as_raw_fd)
}

fn handovers(launch: &Launch, null: Option<RawFd>) -> Result<Vec<Move>, SpawnError> {
    if launch.fds.iter().any(|fd| fd.target < 0) {
        return Err(SpawnError::Invalid(
            "a descriptor is given a negative number",
        ));
    }
    let given = launch.fds.iter().map(|fd| Move {
        source: fd.source.as_raw_fd(),
        target: fd.target,
        cloexec: false,
        parked: AtomicI32::new(-1),
    });
    let missing = (0..3).filter(|n| launch.fds.iter().all(|fd| fd.target != *n));
    let nulls = missing.filter_map(|target| {
        null.map(|source| Move {
            source,
            target,
            cloexec: false,
            parked: AtomicI32::new(-1),
        })
    });
    Ok(given.chain(nulls).collect())
}

/// Gives the executable's descriptor a number: the one a script needs, else the first beyond the others, closed by exec.
fn add_executable(launch: &Launch, moves: &mut Vec<Move>) -> Result<Option<RawFd>, SpawnError> {
    let Program::Descriptor { file, script_at } = &launch.program else {
        return Ok(None);
    };
    let target = script_at.unwrap_or_else(|| beyond(moves));
    if target < 0 {
        return Err(SpawnError::Invalid(
            "the script's descriptor is given a negative number",
        ));
    }
    moves.push(Move {
        cloexec: script_at.is_none(),
        ..closed_by_exec(file.as_raw_fd(), target)
    });
    Ok(Some(target))
}

/// The first number beyond all targets, and beyond the three standard ones.
fn beyond(moves: &[Move]) -> RawFd {
    let highest = moves.iter().map(|m| m.target).max();
    highest.map_or(3, |fd| fd.saturating_add(1))
}

fn closed_by_exec(source: RawFd, target: RawFd) -> Move {
    Move {
        source,
        target,
        cloexec: true,
        parked: AtomicI32::new(-1),
    }
}

/// Gives the working directory's descriptor the first number beyond the others; the exec closes it.
fn add_directory(launch: &Launch, moves: &mut Vec<Move>) -> Option<RawFd> {
    let source = launch.cwd_at.as_ref()?.as_raw_fd();
    let target = beyond(moves);
    moves.push(closed_by_exec(source, target));
    Some(target)
}

fn session_plan(session: &Session) -> SessionPlan {
    match session {
        Session::Inherit => SessionPlan::Inherit,
        Session::NewGroup { foreground_on } => SessionPlan::NewGroup {
            foreground_on: raw(foreground_on.as_ref()),
        },
        Session::New { terminal } => SessionPlan::New {
            terminal: raw(terminal.as_ref()),
        },
    }
}

fn session_fd(session: SessionPlan) -> Option<RawFd> {
    match session {
        SessionPlan::Inherit => None,
        SessionPlan::NewGroup { foreground_on: fd } | SessionPlan::New { terminal: fd } => fd,
    }
}

fn limit_plan((resource, limit): &(crate::rlimit::Resource, crate::rlimit::Limit)) -> LimitPlan {
    LimitPlan {
        resource: resource.number(),
        // RLIM64_INFINITY
        soft: limit.soft.unwrap_or(u64::MAX),
        hard: limit.hard.unwrap_or(u64::MAX),
    }
}

/// What has to be set, given what we have: what we are already is left alone, so that nothing is asked of a kernel that
/// would refuse it (L28). Groups that differ are set only if they can be; they must be when the user changes.
fn new_ids(launch: &Launch, ours: &Ids, may_set_groups: bool) -> NewIds {
    let Some(identity) = &launch.identity else {
        return NewIds::default();
    };
    let uid = (ours.uids != [identity.uid; 3]).then_some(identity.uid);
    let gid = (ours.gids != [identity.gid; 3]).then_some(identity.gid);
    let groups_differ = {
        let sorted = |groups: &[u32]| {
            let mut groups = groups.to_vec();
            groups.sort_unstable();
            groups.dedup();
            groups
        };
        sorted(&identity.groups) != sorted(&ours.groups)
    };
    let must = uid.is_some() || gid.is_some();
    let groups = (groups_differ && (must || may_set_groups)).then(|| identity.groups.clone());
    NewIds { groups, gid, uid }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spawn::Identity;

    fn launch_as(uid: u32, gid: u32, groups: &[u32]) -> Launch {
        let mut launch = Launch::new(
            Program::Paths(vec![c"/bin/true".into()]),
            vec![c"true".into()],
        );
        launch.identity = Some(Identity {
            uid,
            gid,
            groups: groups.to_vec(),
        });
        launch
    }

    #[test]
    fn l28_dropping_to_the_ids_we_have_is_nothing() {
        let ours = Ids {
            uids: [1234; 3],
            gids: [5678; 3],
            groups: vec![5678, 7],
        };
        let same = new_ids(&launch_as(1234, 5678, &[7, 5678]), &ours, false);
        assert!(same.uid.is_none() && same.gid.is_none() && same.groups.is_none());
        let fewer = new_ids(&launch_as(1234, 5678, &[5678]), &ours, false);
        assert!(
            fewer.groups.is_none(),
            "without CAP_SETGID there is no asking"
        );
        let fewer = new_ids(&launch_as(1234, 5678, &[5678]), &ours, true);
        assert_eq!(fewer.groups, Some(vec![5678]));
    }

    #[test]
    fn another_user_gets_all_of_its_ids() {
        let ours = Ids {
            uids: [0; 3],
            gids: [0; 3],
            groups: vec![0, 1],
        };
        let other = new_ids(&launch_as(10000, 10000, &[]), &ours, true);
        assert_eq!(
            (other.uid, other.gid, other.groups),
            (Some(10000), Some(10000), Some(vec![]))
        );
        let saved = Ids {
            uids: [10000, 10000, 0],
            gids: [10000; 3],
            groups: vec![],
        };
        assert_eq!(
            new_ids(&launch_as(10000, 10000, &[]), &saved, true).uid,
            Some(10000),
            "a saved uid counts"
        );
    }
}
