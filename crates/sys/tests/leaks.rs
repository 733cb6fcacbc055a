//! Starting many processes leaves nothing behind. The only test of its program, so that nobody else opens or maps anything.

use std::ffi::CStr;
use std::fs::{read_dir, read_to_string};

use herm_sys::Pid;
use herm_sys::reap::{self, Exit};
use herm_sys::spawn::{Handover, Launch, Program, Spawner};

fn count() -> (usize, usize) {
    let descriptors = read_dir("/proc/self/fd").unwrap().count();
    let mappings = read_to_string("/proc/self/maps").unwrap().lines().count();
    (descriptors, mappings)
}

fn launch(path: &CStr) -> Launch {
    let mut launch = Launch::new(Program::Paths(vec![path.into()]), vec![path.into()]);
    let (_, writer) = std::io::pipe().unwrap();
    launch.fds.push(Handover {
        source: writer.into(),
        target: 1,
    });
    launch
}

/// Collects children as PID 1 does: whoever is dead, told to the spawner, until none is left.
fn reap_all(spawner: &mut Spawner, expected: usize) -> Vec<(Pid, Exit)> {
    let mut dead = Vec::new();
    while dead.len() < expected {
        let Some((pid, exit)) = reap::peek_dead().unwrap() else {
            std::thread::yield_now();
            continue;
        };
        assert_eq!(
            reap::reap(pid).unwrap(),
            Some(exit),
            "what was shown is what is collected"
        );
        let failed = spawner.reaped(pid).is_some();
        assert_eq!(failed, exit != Exit::Code(0));
        dead.push((pid, exit));
    }
    assert!(!reap::has_children());
    assert_eq!(reap::reap_next().unwrap(), None);
    dead
}

#[test]
fn a_thousand_starts_leave_no_memory_descriptor_or_zombie() {
    let mut spawner = Spawner::new().unwrap();
    let some = |spawner: &mut Spawner, n: usize| {
        for i in 0..n {
            let path = if i % 10 == 9 {
                c"/nonexistent"
            } else {
                c"/bin/true"
            };
            spawner.spawn(launch(path), None).unwrap();
        }
        reap_all(spawner, n)
    };
    // The pools fill, and the allocator finds its size.
    some(&mut spawner, 100);
    let before = count();
    for _ in 0..10 {
        let dead = some(&mut spawner, 100);
        assert_eq!(
            dead.iter()
                .filter(|(_, exit)| *exit == Exit::Code(127))
                .count(),
            10
        );
        assert_eq!(spawner.under_way(), 0);
    }
    assert_eq!(count(), before);
}
