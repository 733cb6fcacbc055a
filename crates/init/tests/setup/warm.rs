//! A warm boot does no work that it doesn't need.

use std::fs;

use crate::world::{World, calls, is_root};

/// System calls that setup may make for a home of ten profiles in which all is well.
const CALLS_MAX: usize = 1_000;

#[test]
fn a_warm_setup_makes_few_system_calls_and_starts_no_process() {
    if !is_root() {
        return;
    }
    let world = World::new(10);
    let first = world.setup(&[]);
    assert!(first.status.success(), "{first:?}");
    let log = world.path("trace");
    let warm = world.setup(&["strace", "-f", "-o", log.to_str().unwrap()]);
    assert!(warm.status.success(), "{warm:?}");
    let trace = fs::read_to_string(&log).unwrap();
    let made = calls(&trace);
    assert!(made.len() < CALLS_MAX, "{} system calls", made.len());
    println!("a warm setup makes {} system calls", made.len());
    // strace's own execution of setup is the one.
    assert_eq!(made.iter().filter(|call| **call == "execve").count(), 1);
    // A call that another thread's interrupted has a second line, without its arguments.
    let began = trace.lines().filter(|line| !line.contains(" resumed>"));
    let forks = began.filter(|line| {
        line.contains("fork(") || (line.contains("clone") && !line.contains("CLONE_THREAD"))
    });
    assert_eq!(forks.collect::<Vec<_>>(), Vec::<&str>::new());
}
