//! What is run after each run of a service, before the next.

use herm_wire::{FinishSpec, ServiceSpec, State};

use crate::world::{World, kill, lives, shell};

fn with_finish(spec: ServiceSpec, script: &str, timeout_ms: Option<u64>) -> ServiceSpec {
    let argv = ["/bin/sh", "-c", script, "finish"]
        .map(str::to_owned)
        .to_vec();
    ServiceSpec {
        finish: Some(FinishSpec { argv, timeout_ms }),
        ..spec
    }
}

#[test]
fn finish_is_told_how_the_run_ended_and_runs_before_the_next() {
    let world = World::new();
    let mut client = world.booted();
    let file = world.dir.path().join("told");
    let script = format!("echo \"$@\" >> {}", file.display());
    client
        .register(with_finish(shell("a", "exec sleep 1000"), &script, None))
        .unwrap();
    let pid = client.start("a").unwrap().pid.unwrap();
    kill("KILL", pid);
    let told = world.until("finish was told", || {
        std::fs::read_to_string(&file)
            .ok()
            .filter(|text| text.ends_with('\n'))
    });
    assert_eq!(told, format!("256 9 a {pid}\n"));
    client.start("a").unwrap();
    client.stop("a").unwrap();
    let told = std::fs::read_to_string(&file).unwrap();
    assert_eq!(told.lines().count(), 2, "{told}");
    assert!(
        told.lines().last().unwrap().starts_with("256 15 a "),
        "{told}"
    );
}

#[test]
fn a_finish_that_says_125_parks_the_service() {
    let world = World::new();
    let mut client = world.booted();
    client
        .register(with_finish(shell("a", "exit 3"), "exit 125", None))
        .unwrap();
    let view = world.connect().until_state("a", State::Parked);
    assert_eq!(view.last_exit.unwrap().code, Some(3));
}

#[test]
fn a_finish_that_takes_too_long_is_killed_with_what_it_started() {
    let world = World::new();
    let mut client = world.booted();
    let file = world.dir.path().join("child");
    let script = format!("sleep 1000 & echo $! > {}; wait", file.display());
    client
        .register(with_finish(
            shell("a", "exec sleep 1000"),
            &script,
            Some(200),
        ))
        .unwrap();
    client.start("a").unwrap();
    client.stop("a").unwrap();
    let child = std::fs::read_to_string(&file).unwrap();
    assert!(!lives(child.trim().parse().unwrap()), "{}", world.said());
}

#[test]
fn a_finish_goes_on_through_a_reexecution() {
    let world = World::new();
    let mut client = world.booted();
    let dir = world.dir.path().display().to_string();
    let script = format!(
        "echo > {dir}/began; while [ ! -e {dir}/go ]; do sleep 0.05; done; echo > {dir}/done"
    );
    let timeout = Some(60_000);
    client
        .register(with_finish(shell("a", "exec sleep 1000"), &script, timeout))
        .unwrap();
    let pid = client.start("a").unwrap().pid.unwrap();
    kill("KILL", pid);
    let exists = |name: &str| world.dir.path().join(name).exists().then_some(());
    world.until("finish runs", || exists("began"));
    kill("60", world.pid());
    world.until_said("resumed with");
    std::fs::write(world.dir.path().join("go"), "").unwrap();
    let again = world.until("the next run is there", || {
        world.connect().service("a").pid.filter(|now| *now != pid)
    });
    assert!(exists("done").is_some() && lives(again));
}
