//! Real processes, started in every way the kernel may leave open: with everything shared, with a descriptor table of their
//! own (no `close_range`), and with a copy of the memory (`fs.suid_dumpable` is 1).

mod attack;
mod descriptors;
mod events;
mod failures;
mod settings;

use std::ffi::{CStr, CString};
use std::io::{PipeReader, Read};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::process::Pid;

use super::spawner::KernelTraits;
use super::{Handover, Launch, LaunchFailure, Program, Progress, Spawner};
use crate::pidfd::Pidfd;
use crate::poll::{Interest, Poller, Token};
use crate::reap::{self, Exit};

/// After this long a test is stuck, not slow.
const STUCK: Duration = Duration::from_secs(120);
/// A user that no file on a test machine belongs to.
const NOBODY_HERE: u32 = 61_234;

fn every_way() -> impl Iterator<Item = (&'static str, Spawner)> {
    [
        ("all shared", true, false),
        ("own descriptor table", false, false),
        ("own memory for other users", true, true),
        ("nothing shared for other users", false, true),
    ]
    .into_iter()
    .map(|(way, close_range, exposes_changed_users)| {
        (
            way,
            Spawner::with_traits(KernelTraits {
                close_range,
                exposes_changed_users,
            })
            .unwrap(),
        )
    })
}

fn shell(script: &str) -> Launch {
    let argv = vec![
        c"sh".to_owned(),
        c"-c".to_owned(),
        CString::new(script).unwrap(),
    ];
    let mut launch = Launch::new(Program::Paths(vec![c"/bin/sh".into()]), argv);
    launch.env = vec![c"PATH=/usr/bin:/bin".into()];
    launch
}

fn program(path: &CStr) -> Launch {
    Launch::new(Program::Paths(vec![path.into()]), vec![path.into()])
}

/// Waits for a child's end with a guard against waiting for ever.
fn end_of(spawner: &mut Spawner, pid: Pid) -> (Exit, Option<LaunchFailure>) {
    let process = Pidfd::open(pid).unwrap();
    let mut poller = Poller::new().unwrap();
    poller
        .add(&process, Token::new(0, 0), Interest::READ)
        .unwrap();
    let stuck = Instant::now() + STUCK;
    let mut ready = Vec::new();
    while ready.is_empty() {
        // A signal that another test's thread has blocked may end a wait early.
        let left = stuck.saturating_duration_since(Instant::now());
        assert!(
            !left.is_zero(),
            "process {pid:?} is stuck, {:?}",
            spawner.progress(pid)
        );
        poller.wait(Some(left), &mut ready).unwrap();
    }
    (reap::wait_for(pid).unwrap(), spawner.reaped(pid))
}

fn run(spawner: &mut Spawner, launch: Launch) -> (Exit, Option<LaunchFailure>) {
    let pid = spawner.spawn(launch, None).unwrap();
    end_of(spawner, pid)
}

fn pipe_to(launch: &mut Launch, target: i32) -> PipeReader {
    let (reader, writer) = std::io::pipe().unwrap();
    launch.fds.push(Handover {
        source: OwnedFd::from(writer),
        target,
    });
    reader
}

/// What it writes to its standard output.
fn output_of(spawner: &mut Spawner, mut launch: Launch) -> String {
    let mut reader = pipe_to(&mut launch, 1);
    let pid = spawner.spawn(launch, None).unwrap();
    until_executed(spawner, pid);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(end_of(spawner, pid), (Exit::Code(0), None));
    text
}

fn until_executed(spawner: &mut Spawner, pid: Pid) {
    loop {
        match spawner.progress(pid) {
            Progress::Starting(_) => std::thread::yield_now(),
            Progress::Executed => return,
            Progress::Failed(failure) => panic!("{failure}"),
        }
    }
}

/// Whether this test can become other users; says so if not.
fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root() && crate::credentials::may_set_groups();
    if !root {
        eprintln!("skipped: needs root, to become another user");
    }
    root
}
