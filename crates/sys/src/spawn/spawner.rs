//! Making children, and letting go of what they borrowed.
//!
//! # Safety
//!
//! `unsafe` for the clone itself. What makes it sound is ownership: an [`InFlight`] owns all the child reads (block,
//! plan, launch) and is taken apart only when [`InFlight::holds_memory`] is false or the child has been reaped; a spawner that is
//! dropped before leaks what is still in use.
#![expect(unsafe_code, reason = "clone with shared memory")]

use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering;

use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Pid, dumpable_behavior, set_dumpable_behavior, setpgid};

use super::block::{Block, NOT_PLACED, Report};
use super::child;
use super::failure::{LaunchFailure, SpawnError, Stage};
use super::launch::{Launch, Session};
use super::plan::{Ourselves, Plan, Sharing};
use super::witness::{Heard, Witness, Witnesses};
use crate::memfd::PidWord;
use crate::process;
use crate::raw::{CloneCall, clone_onto};
use crate::signals::{SignalSet, set_blocked};

/// Blocks kept for the next children; more are given back to the kernel.
const POOLED_BLOCKS_MAX: usize = 4;

/// Starts processes and follows each until it has executed its program. One per process: it decides whether our memory is
/// dumpable while children are under way.
#[derive(Debug)]
pub struct Spawner {
    null: Option<OwnedFd>,
    traits: KernelTraits,
    ours: Ourselves,
    pool: Vec<Block>,
    in_flight: Vec<InFlight>,
    witnesses: Witnesses,
    /// Have executed, and nobody asked yet.
    executed: Vec<Executed>,
    failed: Vec<(Pid, LaunchFailure)>,
    dumpable_before: Option<DumpableBehavior>,
}

/// What was probed once.
#[derive(Clone, Copy, Debug)]
pub(super) struct KernelTraits {
    /// `close_range` with `CLOSE_RANGE_UNSHARE` (Linux 5.9, and not refused by a seccomp filter).
    pub(super) close_range: bool,
    /// `fs.suid_dumpable` is 1: a process that changes its user could be traced by it at once.
    pub(super) exposes_changed_users: bool,
}

/// A child that has become its program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Executed {
    /// Its number.
    pub pid: Pid,
    /// Whether it is in the control group it was to have; false where none was asked for.
    pub placed: Result<bool, Errno>,
}

/// How far a child came.
#[cfg(test)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// It has not executed its program yet.
    Starting(Stage),
    /// It ended before it could; it is to be reaped.
    Failed(LaunchFailure),
    /// It has executed its program, or was reaped.
    Executed,
}

#[derive(Debug)]
struct InFlight {
    pid: Pid,
    block: Block,
    plan: Box<Plan>,
    launch: Launch,
    witness: Witness,
    /// The witness has seen its end.
    over: bool,
}

impl InFlight {
    fn report(&self) -> &Report {
        self.block.report()
    }

    /// Whether the child may still use any of this. With shared memory the kernel clears a word at the very end, which is
    /// seen sooner than the witness's event.
    fn holds_memory(&self) -> bool {
        let cleared = || self.report().holds_memory.load(Ordering::SeqCst) == 0;
        !(self.over || self.plan.sharing.memory && cleared())
    }

    /// The child has a descriptor table of its own: what we kept open for it can go. The plan has the numbers.
    fn detach(&mut self) {
        self.launch.fds.clear();
        self.witness.detach();
    }

    fn stage(&self) -> Stage {
        Stage::from_number(self.report().stage.load(Ordering::SeqCst))
    }

    fn failure(&self) -> Option<LaunchFailure> {
        let errno = self.report().errno.load(Ordering::SeqCst);
        (errno != 0).then(|| {
            LaunchFailure::new(
                self.stage(),
                Some(Errno::from_raw_os_error(errno)),
                &self.launch,
            )
        })
    }

    fn executed(&self) -> Executed {
        let placed = match self.report().placed.load(Ordering::SeqCst) {
            NOT_PLACED => Ok(false),
            0 => Ok(true),
            errno => Err(Errno::from_raw_os_error(errno)),
        };
        Executed {
            pid: self.pid,
            placed,
        }
    }

    /// What became of a child that has let go. One that vanished before its last stage was killed there.
    fn outcome(&self) -> Option<LaunchFailure> {
        let killed = || {
            (self.stage() != Stage::Exec)
                .then(|| LaunchFailure::new(self.stage(), None, &self.launch))
        };
        self.failure().or_else(killed)
    }
}

impl Spawner {
    /// Probes what the kernel can do, and who we are: our user and what signals do to us stay as they are from here on.
    pub fn new() -> Result<Self, Errno> {
        Self::with_traits(KernelTraits::probe())
    }

    pub(super) fn with_traits(traits: KernelTraits) -> Result<Self, Errno> {
        let null = open(c"/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).ok();
        Ok(Self {
            null,
            traits,
            ours: Ourselves::now(),
            pool: Vec::new(),
            in_flight: Vec::new(),
            witnesses: Witnesses::new()?,
            executed: Vec::new(),
            failed: Vec::new(),
            dumpable_before: None,
        })
    }

    /// Readable when [`Self::settle`] has something to do: a child has its own descriptor table, has executed, or failed.
    pub fn events(&self) -> BorrowedFd<'_> {
        self.witnesses.as_fd()
    }

    /// Starts a process, and doesn't wait for it: its pid is valid on return, its program may not have been executed
    /// yet. If `record` is given, the kernel writes the pid there before the child runs its first instruction.
    ///
    /// The child must be reaped through [`crate::reap`], and [`Self::reaped`] told so.
    pub fn spawn(
        &mut self,
        launch: Launch,
        record: Option<&PidWord<'_>>,
    ) -> Result<Pid, SpawnError> {
        self.settle();
        let block = self.take_block()?;
        let null = self.null.as_ref().map(AsRawFd::as_raw_fd);
        let witness = self.witnesses.open().map_err(SpawnError::Descriptors)?;
        let own = [null, witness.writer()];
        let plan = Plan::new(&launch, &self.ours, own, self.sharing(), block.report());
        let mut plan = plan.inspect_err(|_| self.witnesses.close(&witness))?;
        if plan.changes_user() && self.traits.exposes_changed_users {
            plan.sharing = Sharing {
                memory: false,
                descriptors: false,
                close_up_to: plan.sharing.close_up_to,
            };
        }
        let plan = Box::new(plan);
        if plan.changes_user() && plan.sharing.memory {
            self.forbid_dumps();
        }
        let mut in_flight = InFlight {
            pid: Pid::INIT,
            block,
            plan,
            launch,
            witness,
            over: false,
        };
        let cloned = clone_child(&in_flight, record);
        match cloned {
            Ok(pid) => {
                in_flight.pid = pid;
                if matches!(in_flight.launch.session, Session::NewGroup { .. }) {
                    // Both sides do it, so that it is done for whichever comes first. Refused once it has executed.
                    let _ = setpgid(Some(pid), Some(pid));
                }
                if !in_flight.plan.sharing.descriptors {
                    in_flight.detach();
                }
                self.in_flight.push(in_flight);
                Ok(pid)
            }
            Err(errno) => {
                self.let_go(in_flight);
                self.allow_dumps();
                Err(SpawnError::Clone(errno))
            }
        }
    }

    /// How far this child came. Looks, and never waits.
    #[cfg(test)]
    pub(super) fn progress(&mut self, pid: Pid) -> Progress {
        self.settle();
        if let Some((_, failure)) = self.failed.iter().find(|(failed, _)| *failed == pid) {
            return Progress::Failed(failure.clone());
        }
        let found = self.in_flight.iter().find(|child| child.pid == pid);
        found.map_or(Progress::Executed, |child| match child.failure() {
            Some(failure) => Progress::Failed(failure),
            None => Progress::Starting(child.stage()),
        })
    }

    /// The children that have executed their programs since this was asked last, but for those that were reaped.
    pub fn take_executed(&mut self) -> Vec<Executed> {
        self.settle();
        mem::take(&mut self.executed)
    }

    /// To be told of every child that was reaped. Says why it never became its program, if so.
    pub fn reaped(&mut self, pid: Pid) -> Option<LaunchFailure> {
        let mut failure = None;
        if let Some(index) = self.failed.iter().position(|(failed, _)| *failed == pid) {
            failure = Some(self.failed.swap_remove(index).1);
        }
        if let Some(index) = self.in_flight.iter().position(|child| child.pid == pid) {
            let child = self.in_flight.swap_remove(index);
            failure = failure.or_else(|| child.outcome());
            self.let_go(child);
        }
        self.executed.retain(|executed| executed.pid != pid);
        self.settle();
        failure
    }

    /// How many children have not let go yet.
    pub fn under_way(&self) -> usize {
        self.in_flight.len()
    }

    /// Takes back what children no longer need: at once the descriptors of those that have their own table, and everything of
    /// those that have executed.
    pub fn settle(&mut self) {
        if self.in_flight.is_empty() {
            return;
        }
        self.listen();
        let mut index = 0;
        while let Some(child) = self.in_flight.get_mut(index) {
            if child.stage() > Stage::OwnTable {
                child.detach();
            }
            if child.holds_memory() {
                index += 1;
                continue;
            }
            let child = self.in_flight.swap_remove(index);
            if let Some(failure) = child.outcome() {
                self.failed.push((child.pid, failure));
            } else {
                set_oom_score(&child);
                self.executed.push(child.executed());
            }
            self.let_go(child);
        }
        self.allow_dumps();
    }

    fn listen(&mut self) {
        for heard in self.witnesses.listen() {
            let (Heard::OwnTable(number) | Heard::LetGo(number)) = heard;
            let mut children = self.in_flight.iter_mut();
            let Some(child) = children.find(|child| child.witness.number() == number) else {
                continue;
            };
            child.detach();
            child.over = matches!(heard, Heard::LetGo(_));
        }
    }

    fn let_go(&mut self, child: InFlight) {
        self.witnesses.close(&child.witness);
        self.give_back(child.block);
    }

    fn sharing(&self) -> Sharing {
        if self.traits.close_range {
            return Sharing {
                memory: true,
                descriptors: true,
                close_up_to: None,
            };
        }
        Sharing {
            memory: true,
            descriptors: false,
            close_up_to: Some(process::highest_descriptor()),
        }
    }

    fn take_block(&mut self) -> Result<Block, SpawnError> {
        let block = match self.pool.pop() {
            Some(block) => block,
            None => Block::new().map_err(SpawnError::Memory)?,
        };
        block.reset();
        Ok(block)
    }

    fn give_back(&mut self, block: Block) {
        if self.pool.len() < POOLED_BLOCKS_MAX {
            self.pool.push(block);
        }
    }

    /// A child is about to become another user while it shares our memory.
    fn forbid_dumps(&mut self) {
        if self.dumpable_before.is_none() {
            self.dumpable_before = dumpable_behavior().ok();
        }
        // Can't fail for this value.
        let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    }

    /// Once no such child is left: root's tools look into `/proc/1` (containers log by `/proc/1/fd/1`), which what is not
    /// dumpable hides even from root without `CAP_SYS_PTRACE`.
    fn allow_dumps(&mut self) {
        let is_hidden = |child: &InFlight| child.plan.sharing.memory && child.plan.changes_user();
        if self.dumpable_before.is_none() || self.in_flight.iter().any(is_hidden) {
            return;
        }
        if let Some(before) = self.dumpable_before.take() {
            // "Readable by root" can't be set again by hand; not dumpable is the closest.
            let _ = set_dumpable_behavior(before);
        }
    }
}

impl Drop for Spawner {
    fn drop(&mut self) {
        self.settle();
        // What a child still reads must outlive us.
        mem::forget(mem::take(&mut self.in_flight));
        mem::forget(self.null.take());
    }
}

fn clone_child(child: &InFlight, record: Option<&PidWord<'_>>) -> Result<Pid, Errno> {
    let sharing = child.plan.sharing;
    let mut flags = libc::SIGCHLD | libc::CLONE_PARENT_SETTID;
    if sharing.memory {
        flags |= libc::CLONE_VM | libc::CLONE_CHILD_CLEARTID;
    }
    if sharing.descriptors {
        flags |= libc::CLONE_FILES;
    }
    if child.launch.new_pid_namespace {
        flags |= libc::CLONE_NEWPID;
    }
    let mut spare = 0_i32;
    let call = CloneCall {
        flags: usize::try_from(flags).map_err(|_| Errno::INVAL)?,
        stack_top: child.block.stack_top(),
        parent_tid: record.map_or(&raw mut spare, PidWord::as_ptr),
        child_tid: child.report().holds_memory.as_ptr(),
        entry: child::run,
        argument: &raw const *child.plan,
    };
    // No handler may run in the child: it would run on our memory.
    let mask = set_blocked(SignalSet::ALL);
    // SAFETY: the stack and the report belong to `child.block`, which the spawner keeps until the child has let go, as it does
    // the plan and the launch its pointers lead to (both on the heap, so that moving `InFlight` doesn't move them). The pid's
    // word is a local or a `PidWord`, valid during the call, which is when the kernel writes it. `child::run` keeps the rules
    // for shared memory.
    let answer = unsafe { clone_onto(&call) };
    set_blocked(mask);
    let pid = answer.map_err(Errno::from_raw_os_error)?;
    i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .ok_or(Errno::SRCH)
}

/// Best effort: lowering it is refused without privileges, and nobody should fail to start for it.
fn set_oom_score(child: &InFlight) {
    let Some(score) = child.launch.oom_score_adj else {
        return;
    };
    let path = format!("/proc/{}/oom_score_adj", child.pid.as_raw_pid());
    if let Ok(file) = open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()) {
        let _ = rustix::io::write(file, score.to_string().as_bytes());
    }
}

impl KernelTraits {
    fn probe() -> Self {
        Self {
            close_range: has_close_range(),
            exposes_changed_users: exposes_changed_users(),
        }
    }
}

/// Asks with a range that is invalid on purpose. EINVAL comes from a kernel that has the call, older ones and filters say
/// ENOSYS or EPERM. Nothing is closed or unshared.
fn has_close_range() -> bool {
    // SAFETY: takes numbers; the range is invalid on purpose, so that nothing can be closed.
    let answer = unsafe { crate::raw::syscall(libc::SYS_close_range, [1, 0, 2, 0, 0, 0]) };
    answer == Err(libc::EINVAL)
}

fn exposes_changed_users() -> bool {
    // A kernel without the setting has the default, 0.
    process::read_small(c"/proc/sys/fs/suid_dumpable").is_ok_and(|text| text.first() == Some(&b'1'))
}
