//! The boot ends well, however its steps and what others do meanwhile come one after another.

use std::fs::{File, OpenOptions};
use std::process::Command;

use herm_wire::State;

use crate::world::{World, sleeper};

/// Setup's process, once it is its program.
fn setup_of(world: &World) -> u32 {
    world.until("setup is under way", || {
        let children = format!("/proc/{0}/task/{0}/children", world.pid());
        let children = std::fs::read_to_string(children).ok()?;
        children.split_whitespace().find_map(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            let is_setup = line.starts_with(b"herm-setup\0");
            is_setup.then(|| pid.parse().ok())?
        })
    })
}

/// As a child has one that is started while setup is, until it has become its program; on a busy machine that took
/// longer than all of setup.
#[test]
fn a_copy_of_the_plans_pipe_that_outlives_setup_does_not_end_the_boot() {
    let dir = tempfile::tempdir().unwrap();
    let gate = dir.path().join("gate");
    assert!(
        Command::new("mkfifo")
            .arg(&gate)
            .status()
            .unwrap()
            .success()
    );
    let script = format!("exec \"$@\" 9<'{}'", gate.display());
    let before = ["/bin/sh", "-c", &script, "sh"];
    // Setup does nothing before this descriptor has ended.
    let world = World::through(&before, &[], &[("S6_WAIT_FOR_CLOSING_FD", "9")]);
    let gate = OpenOptions::new().write(true).open(&gate).unwrap();
    let mut client = world.connect();
    client.register(sleeper("early")).unwrap();
    let plan = format!("/proc/{}/fd/3", setup_of(&world));
    let copy = OpenOptions::new().write(true).open(plan).unwrap();
    drop::<File>(gate);
    assert!(world.booted().hello().booted);
    client.until_state("early", State::Running);
    assert!(!world.said().contains("setup ended"), "{}", world.said());
    drop(copy);
}
