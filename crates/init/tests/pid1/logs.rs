//! Logging as PID 1 drives it: the log daemon may die or stall, and no line is lost.

use std::path::Path;

use herm_wire::Op;

use crate::world::{World, kill, shell};

fn logd(world: &World) -> u32 {
    world.until("the log daemon runs", || {
        let pids =
            std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", world.pid())).ok()?;
        pids.split_whitespace()
            .filter_map(|pid| pid.parse().ok())
            .find(|pid: &u32| {
                let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                line.starts_with(b"herm-logd")
            })
    })
}

fn kept(dir: &Path) -> Vec<u64> {
    let mut numbers = Vec::new();
    let entries = std::fs::read_dir(dir)
        .map(Iterator::collect::<Vec<_>>)
        .unwrap_or_default();
    for entry in entries.into_iter().flatten() {
        let text = std::fs::read(entry.path()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let number = |line: &str| line.rsplit_once("line ")?.1.trim().parse::<u64>().ok();
        numbers.extend(text.lines().filter_map(number));
    }
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

fn counting(world: &World, lines: u64) -> herm_wire::ServiceSpec {
    let script = format!(
        "i=0; while [ $i -lt {lines} ]; do echo line $i; i=$((i+1)); done; exec sleep 1000"
    );
    let mut spec = shell("count", &script);
    spec.log.dir = Some(world.dir.path().join("log").display().to_string());
    spec
}

#[test]
fn l60_output_is_kept_and_forwarded_with_its_service_s_name() {
    let world = World::new();
    world.booted().register(counting(&world, 10)).unwrap();
    world.until_said("count | line 9");
    let dir = world.dir.path().join("log");
    world.until("all is kept", || (kept(&dir).len() == 10).then_some(()));
}

#[test]
fn a_log_daemon_that_is_killed_again_and_again_loses_no_line() {
    let world = World::new();
    let mut client = world.booted();
    let first = logd(&world);
    client.register(counting(&world, 200_000)).unwrap();
    kill("KILL", first);
    for _ in 0..3 {
        let pid = world.until("another one runs", || {
            Some(logd(&world)).filter(|pid| *pid != first)
        });
        kill("KILL", pid);
        world.until("it is gone", || (!crate::world::lives(pid)).then_some(()));
    }
    let dir = world.dir.path().join("log");
    world.until("all is kept", || {
        (kept(&dir).len() == 200_000).then_some(())
    });
}

#[test]
fn a_log_daemon_that_is_stopped_is_replaced() {
    let world = World::new();
    let mut client = world.booted();
    let first = logd(&world);
    kill("STOP", first);
    client.register(counting(&world, 1000)).unwrap();
    let dir = world.dir.path().join("log");
    world.until("all is kept", || (kept(&dir).len() == 1000).then_some(()));
    assert_ne!(logd(&world), first);
}

#[test]
fn what_was_written_just_before_the_end_is_kept() {
    let mut world = World::new();
    let mut client = world.booted();
    let script = "trap 'i=0; while [ $i -lt 500 ]; do echo line $i; i=$((i+1)); done; exit 0' TERM
        while :; do sleep 0.05; done";
    let mut spec = shell("last", script);
    let dir = world.dir.path().join("log");
    spec.log.dir = Some(dir.display().to_string());
    client.register(spec).unwrap();
    client.start("last").unwrap();
    client.ask(Op::Shutdown { exit_code: None }).unwrap();
    assert_eq!(world.wait().code(), Some(0));
    assert_eq!(kept(&dir).len(), 500);
}
