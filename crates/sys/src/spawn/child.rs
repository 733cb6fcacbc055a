//! What runs between clone and exec.
//!
//! # Safety
//!
//! This code runs in a process that shares the parent's memory *and the parent's thread-local storage*, beside the
//! parent. So, in this file:
//!
//! * nothing of the C library or the standard library that could touch `errno`, locks, the allocator or thread-locals;
//!   only raw system calls;
//! * nothing that could panic: no indexing, no arithmetic that is checked in debug builds, no `unwrap`;
//! * no `Drop`, and no return: every path ends in `execve` or `exit_group`;
//! * memory is only read (the [`Plan`], which the parent keeps unchanged until the child has let go), but for the
//!   atomics of the report and of [`Move::parked`];
//! * no descriptor is touched before the table is the child's own.
#![expect(unsafe_code, reason = "raw system calls on behalf of a child")]

use std::ffi::c_char;
use std::ptr;
use std::sync::atomic::Ordering;

use super::dispositions::Action;
use super::failure::Stage;
use super::plan::{Move, Plan, SessionPlan};
use crate::raw::{Answer, syscall};

/// The default disposition.
const DEFAULT_ACTION: Action = [0; 4];
/// `SIG_BLOCK`, `SIG_UNBLOCK`, `SIG_SETMASK` of the kernel: the third.
const SET_MASK: usize = 2;

/// Carries out a plan; ends in the program, or in `exit_group`.
///
/// # Safety
///
/// `plan` points to a [`Plan`] whose pointers are valid, and both stay so until the kernel clears the report's
/// `holds_memory`. Called on a stack of its own, in a process of its own, with all signals blocked.
pub(super) unsafe extern "C" fn run(plan: *const Plan) -> ! {
    // SAFETY: the caller's promise; only read from here on.
    let plan = unsafe { &*plan };
    let (stage, errno) = match carry_out(plan) {
        Ok(never) => match never {},
        Err(failed) => failed,
    };
    // SAFETY: the report outlives us: it is part of the block the parent keeps.
    let report = unsafe { &*plan.report };
    report.stage.store(stage as i32, Ordering::SeqCst);
    report.errno.store(errno, Ordering::SeqCst);
    let not_found = matches!(stage, Stage::Exec) && matches!(errno, libc::ENOENT | libc::ENOTDIR);
    exit(if not_found { 127 } else { 126 })
}

enum Never {}

type Failed = (Stage, i32);

fn exit(code: usize) -> ! {
    loop {
        // SAFETY: ends this process only; it is no thread of the parent's.
        let _ = unsafe { syscall(libc::SYS_exit_group, [code, 0, 0, 0, 0, 0]) };
    }
}

/// A system call that takes numbers, or pointers the surrounding code vouches for.
fn call(number: libc::c_long, args: [usize; 6]) -> Answer {
    // SAFETY: each caller in this file passes numbers, null, or the address of something that outlives the call (a local, a
    // constant, or part of the plan). Descriptors are only touched after `own_table`.
    unsafe { syscall(number, args) }
}

#[expect(
    clippy::cast_sign_loss,
    reason = "descriptors and ids go to the kernel as register values, sign-extended as C does"
)]
const fn reg(value: i32) -> usize {
    value as isize as usize
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "32 bits fit in usize on the two architectures this is for"
)]
const fn ureg(value: u64) -> usize {
    value as usize
}

fn carry_out(plan: &Plan) -> Result<Never, Failed> {
    step(plan, Stage::OwnTable, own_table)?;
    step(plan, Stage::Cgroup, |plan| {
        enter_cgroup(plan);
        Ok(0)
    })?;
    step(plan, Stage::Session, make_session)?;
    step(plan, Stage::Terminal, take_terminal)?;
    step(plan, Stage::Descriptors, arrange_descriptors)?;
    step(plan, Stage::Limits, set_limits)?;
    step(plan, Stage::Capabilities, drop_bounds)?;
    step(plan, Stage::Groups, set_groups)?;
    step(plan, Stage::Group, set_group)?;
    step(plan, Stage::User, set_user)?;
    step(plan, Stage::Cwd, change_directory)?;
    step(plan, Stage::ParentDeath, ask_for_parent_death)?;
    step(plan, Stage::NoNewPrivs, bar_new_privileges)?;
    step(plan, Stage::Exec, reset_signals)?;
    Err((Stage::Exec, execute(plan)))
}

fn step(plan: &Plan, stage: Stage, act: fn(&Plan) -> Answer) -> Result<(), Failed> {
    // SAFETY: see `run`.
    let report = unsafe { &*plan.report };
    report.stage.store(stage as i32, Ordering::SeqCst);
    match act(plan) {
        Ok(_) => Ok(()),
        Err(errno) => Err((stage, errno)),
    }
}

/// Until here descriptor numbers mean the parent's, who may be closing them at this moment in another thread of control;
/// the parent keeps those we need open until it sees that this is done.
fn own_table(plan: &Plan) -> Answer {
    if !plan.sharing.descriptors {
        return Ok(0);
    }
    // Only what is below the first of these numbers gets copied.
    let unshare = 2; // CLOSE_RANGE_UNSHARE
    call(
        libc::SYS_close_range,
        [reg(plan.past_sources), 0xffff_ffff, unshare, 0, 0, 0],
    )?;
    let Some(witness) = plan.witness else {
        return Ok(0);
    };
    // The parent may close its descriptors of ours now. An empty pipe takes a byte without waiting.
    call(
        libc::SYS_write,
        [reg(witness), c"t".as_ptr().addr(), 1, 0, 0, 0],
    )
}

/// Never ends a start: what keeps it out of its group is told.
fn enter_cgroup(plan: &Plan) {
    if let Some((parent, name)) = plan.cgroup {
        let errno = make_cgroup(parent, name).err().unwrap_or(0);
        // SAFETY: see `run`.
        let report = unsafe { &*plan.report };
        report.placed.store(errno, Ordering::SeqCst);
    }
}

fn make_cgroup(parent: i32, name: *const c_char) -> Answer {
    let parent = reg(parent);
    call(libc::SYS_mkdirat, [parent, name.addr(), 0o755, 0, 0, 0])?;
    let entered = enter(parent, name);
    if entered.is_err() {
        let remove_dir = reg(libc::AT_REMOVEDIR);
        // An empty one would look as if we were in it and gone.
        let _ = call(
            libc::SYS_unlinkat,
            [parent, name.addr(), remove_dir, 0, 0, 0],
        );
    }
    entered
}

/// The two descriptors are closed at once, or as one that nobody asked for.
fn enter(parent: usize, name: *const c_char) -> Answer {
    let flags = reg(libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC);
    let dir = call(libc::SYS_openat, [parent, name.addr(), flags, 0, 0, 0])?;
    let flags = reg(libc::O_WRONLY | libc::O_CLOEXEC);
    let file = c"cgroup.procs".as_ptr().addr();
    let procs = call(libc::SYS_openat, [dir, file, flags, 0, 0, 0])?;
    // "0" is the writer itself.
    let entered = call(libc::SYS_write, [procs, c"0".as_ptr().addr(), 1, 0, 0, 0]);
    let _ = call(libc::SYS_close, [procs, 0, 0, 0, 0, 0]);
    let _ = call(libc::SYS_close, [dir, 0, 0, 0, 0, 0]);
    entered
}

fn make_session(plan: &Plan) -> Answer {
    match plan.session {
        SessionPlan::Inherit => Ok(0),
        SessionPlan::NewGroup { .. } => call(libc::SYS_setpgid, [0; 6]),
        SessionPlan::New { .. } => call(libc::SYS_setsid, [0; 6]),
    }
}

/// All signals are blocked, `SIGTTOU` among them: so a background group may take the foreground.
fn take_terminal(plan: &Plan) -> Answer {
    match plan.session {
        SessionPlan::New { terminal: Some(fd) } => call(
            libc::SYS_ioctl,
            [reg(fd), ureg(libc::TIOCSCTTY), 0, 0, 0, 0],
        ),
        SessionPlan::NewGroup {
            foreground_on: Some(fd),
        } => {
            let group = call(libc::SYS_getpid, [0; 6])?;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_possible_wrap,
                reason = "pids fit in 22 bits"
            )]
            let group = group as i32;
            call(
                libc::SYS_ioctl,
                [
                    reg(fd),
                    ureg(libc::TIOCSPGRP),
                    (&raw const group).addr(),
                    0,
                    0,
                    0,
                ],
            )
        }
        SessionPlan::Inherit | SessionPlan::NewGroup { .. } | SessionPlan::New { .. } => Ok(0),
    }
}

/// Parks every source above all targets, so that no target overwrites a source still needed; then puts each in place, and
/// closes everything else.
fn arrange_descriptors(plan: &Plan) -> Answer {
    for entry in &plan.moves {
        let args = [
            reg(entry.source),
            reg(libc::F_DUPFD_CLOEXEC),
            reg(plan.past_targets),
            0,
            0,
            0,
        ];
        let parked = call(libc::SYS_fcntl, args)?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_possible_wrap,
            reason = "descriptors are ints"
        )]
        entry.parked.store(parked as i32, Ordering::Relaxed);
    }
    let mut highest = plan.sharing.close_up_to.unwrap_or(0);
    for entry in &plan.moves {
        let parked = entry.parked.load(Ordering::Relaxed);
        let flags = if entry.cloexec { libc::O_CLOEXEC } else { 0 };
        call(
            libc::SYS_dup3,
            [reg(parked), reg(entry.target), reg(flags), 0, 0, 0],
        )?;
        highest = if parked > highest { parked } else { highest };
    }
    close_gaps(plan, &plan.moves, highest)
}

/// Closes what no move put in place. The moves are sorted by target.
fn close_gaps(plan: &Plan, moves: &[Move], highest: i32) -> Answer {
    let mut next = 0;
    for entry in moves {
        if entry.target > next {
            close_range(plan, next, entry.target.wrapping_sub(1))?;
        }
        next = entry.target.wrapping_add(1);
    }
    if plan.sharing.close_up_to.is_none() {
        return call(libc::SYS_close_range, [reg(next), 0xffff_ffff, 0, 0, 0, 0]);
    }
    close_range(plan, next, highest)
}

fn close_range(plan: &Plan, first: i32, last: i32) -> Answer {
    if plan.sharing.close_up_to.is_none() {
        return call(libc::SYS_close_range, [reg(first), reg(last), 0, 0, 0, 0]);
    }
    let mut fd = first;
    while fd <= last {
        // Most were never open.
        let _ = call(libc::SYS_close, [reg(fd), 0, 0, 0, 0, 0]);
        fd = fd.wrapping_add(1);
    }
    Ok(0)
}

fn set_limits(plan: &Plan) -> Answer {
    for limit in &plan.limits {
        let pair = [limit.soft, limit.hard];
        call(
            libc::SYS_prlimit64,
            [0, limit.resource, pair.as_ptr().addr(), 0, 0, 0],
        )?;
    }
    if let Some(umask) = plan.umask {
        call(libc::SYS_umask, [umask as usize, 0, 0, 0, 0, 0])?;
    }
    Ok(0)
}

/// While still privileged: no capability shall come back by executing a file that has some, nor stay as an ambient one.
fn drop_bounds(plan: &Plan) -> Answer {
    if !plan.drop_capabilities {
        return Ok(0);
    }
    let mut capability = 0;
    while capability < 64 {
        let dropped = call(
            libc::SYS_prctl,
            [reg(libc::PR_CAPBSET_DROP), capability, 0, 0, 0, 0],
        );
        if dropped.is_err() {
            // EINVAL: past the last one. EPERM: we may drop none, the others neither.
            break;
        }
        capability = capability.wrapping_add(1);
    }
    let clear = reg(libc::PR_CAP_AMBIENT_CLEAR_ALL);
    call(
        libc::SYS_prctl,
        [reg(libc::PR_CAP_AMBIENT), clear, 0, 0, 0, 0],
    )
}

fn set_groups(plan: &Plan) -> Answer {
    let Some(groups) = &plan.ids.groups else {
        return Ok(0);
    };
    call(
        libc::SYS_setgroups,
        [groups.len(), groups.as_ptr().addr(), 0, 0, 0, 0],
    )
}

fn set_group(plan: &Plan) -> Answer {
    let Some(gid) = plan.ids.gid else {
        return Ok(0);
    };
    let gid = gid as usize;
    call(libc::SYS_setresgid, [gid, gid, gid, 0, 0, 0])
}

/// From here on the new user may signal us. The memory, which is the parent's too, was marked not dumpable before the
/// clone; the change of user can set it to `fs.suid_dumpable` (2 on some hosts, which lets a core be written), so it is
/// marked again.
fn set_user(plan: &Plan) -> Answer {
    if let Some(uid) = plan.ids.uid {
        let uid = uid as usize;
        call(libc::SYS_setresuid, [uid, uid, uid, 0, 0, 0])?;
    }
    if plan.changes_user() {
        call(libc::SYS_prctl, [reg(libc::PR_SET_DUMPABLE), 0, 0, 0, 0, 0])?;
    }
    if plan.drop_capabilities {
        // struct __user_cap_header_struct (version 3, this process) and twice three empty sets.
        let header = [0x2008_0522_u32, 0];
        let none = [0_u32; 6];
        call(
            libc::SYS_capset,
            [header.as_ptr().addr(), none.as_ptr().addr(), 0, 0, 0, 0],
        )?;
    }
    Ok(0)
}

fn change_directory(plan: &Plan) -> Answer {
    if let Some(fd) = plan.cwd_at {
        return call(libc::SYS_fchdir, [reg(fd), 0, 0, 0, 0, 0]);
    }
    if plan.cwd.is_null() {
        return Ok(0);
    }
    call(libc::SYS_chdir, [plan.cwd.addr(), 0, 0, 0, 0, 0])
}

/// After the change of user, which clears it. A parent that died before is noticed by its pid.
fn ask_for_parent_death(plan: &Plan) -> Answer {
    let Some(signal) = plan.parent_death else {
        return Ok(0);
    };
    call(
        libc::SYS_prctl,
        [reg(libc::PR_SET_PDEATHSIG), signal as usize, 0, 0, 0, 0],
    )?;
    if call(libc::SYS_getppid, [0; 6])? == reg(plan.parent_pid) {
        Ok(0)
    } else {
        Err(libc::ESRCH)
    }
}

fn bar_new_privileges(plan: &Plan) -> Answer {
    if !plan.no_new_privs {
        return Ok(0);
    }
    call(
        libc::SYS_prctl,
        [reg(libc::PR_SET_NO_NEW_PRIVS), 1, 0, 0, 0, 0],
    )
}

/// Default dispositions first: a handler of the parent's would run in the parent's memory. Ignored signals (Rust ignores
/// `SIGPIPE`) would survive the exec.
fn reset_signals(plan: &Plan) -> Answer {
    let mut left = plan.altered;
    while let Some((signal, rest)) = left.next() {
        let args = [
            signal,
            DEFAULT_ACTION.as_ptr().addr(),
            0,
            size_of::<u64>(),
            0,
            0,
        ];
        let _ = call(libc::SYS_rt_sigaction, args);
        left = rest;
    }
    let none = 0_u64;
    call(
        libc::SYS_rt_sigprocmask,
        [
            SET_MASK,
            (&raw const none).addr(),
            0,
            size_of::<u64>(),
            0,
            0,
        ],
    )
}

/// Returns only the reason why nothing could be executed.
fn execute(plan: &Plan) -> i32 {
    let (arguments, environment) = (plan.argv.as_ptr().addr(), plan.env.as_ptr().addr());
    if let Some(fd) = plan.executable {
        let empty = c"".as_ptr().addr();
        let args = [
            reg(fd),
            empty,
            arguments,
            environment,
            reg(libc::AT_EMPTY_PATH),
            0,
        ];
        return call(libc::SYS_execveat, args).err().unwrap_or(libc::EIO);
    }
    let mut denied = false;
    let mut last = libc::ENOENT;
    for path in &plan.paths {
        let path: *const c_char = *path;
        if ptr::eq(path, ptr::null()) {
            break;
        }
        match call(
            libc::SYS_execve,
            [path.addr(), arguments, environment, 0, 0, 0],
        ) {
            Err(libc::EACCES) => denied = true,
            // An entry of PATH that is no place to look in is passed over, as `execvp` does.
            Err(
                errno @ (libc::ENOENT
                | libc::ENOTDIR
                | libc::ESTALE
                | libc::ENODEV
                | libc::ETIMEDOUT),
            ) => last = errno,
            Err(errno) => return errno,
            Ok(_) => return libc::EIO,
        }
    }
    if denied { libc::EACCES } else { last }
}
