//! PID 1 replaces its program, on purpose and after a fault, and no child notices.

use herm_wire::{Desired, ErrorCode, Op, State};

use crate::world::{World, kill, lives, shell, sleeper};

/// The signal by which root has PID 1 fail (see `pid1::reexec`); procps' kill has no name for it.
const FAULT: &str = "60";

fn pids(world: &World) -> Vec<(String, Option<u32>)> {
    world
        .connect()
        .services()
        .into_iter()
        .map(|s| (s.name, s.pid))
        .collect()
}

fn populated() -> World {
    let world = World::with(&["/bin/sh", "-c", "exec sleep 3000"], &[]);
    let mut client = world.booted();
    for number in 0..5 {
        client.register(sleeper(&format!("s{number}"))).unwrap();
        client.start(&format!("s{number}")).unwrap();
    }
    let mut down = sleeper("down");
    down.initial = Desired::Down;
    client.register(down).unwrap();
    client.register(shell("parked", "exit 78")).unwrap();
    world.connect().until_state("parked", State::Parked);
    world
}

fn everything_goes_on(world: &World, before: &[(String, Option<u32>)], instance: &str) {
    let mut client = world.connect();
    assert_eq!(client.hello().instance, instance);
    assert_eq!(pids(world), before, "{}", world.said());
    assert_eq!(client.service("parked").state, State::Parked);
    assert_eq!(client.service("down").state, State::Down);
    // Supervision goes on too: an exit is seen, a stop is carried out, a start starts.
    let pid = client.service("s0").pid.unwrap();
    kill("KILL", pid);
    world.until("it is healed", || {
        client.service("s0").pid.filter(|now| *now != pid)
    });
    client.stop("s1").unwrap();
    client.start("down").unwrap();
    client.register(sleeper("new")).unwrap();
    client.start("new").unwrap();
}

#[test]
fn reexecution_on_purpose_touches_no_service() {
    let mut world = populated();
    let (before, instance) = (pids(&world), world.connect().hello().instance);
    world.connect().ask(Op::Reexec).unwrap();
    world.until_said("resumed with");
    everything_goes_on(&world, &before, &instance);
    world
        .connect()
        .ask(Op::Shutdown { exit_code: None })
        .unwrap();
    assert_eq!(world.wait().code(), Some(143), "{}", world.said());
    assert!(
        before
            .iter()
            .filter_map(|(_, pid)| *pid)
            .all(|pid| !lives(pid))
    );
}

#[test]
fn a_fault_in_herm_loses_no_child() {
    let world = populated();
    let (before, instance) = (pids(&world), world.connect().hello().instance);
    world.signal(FAULT);
    world.until_said("resumed with");
    everything_goes_on(&world, &before, &instance);
}

#[test]
fn an_exit_during_the_reexecution_is_seen_after_it() {
    let world = World::new();
    let mut client = world.booted();
    client.register(sleeper("a")).unwrap();
    let pid = client.start("a").unwrap().pid.unwrap();
    // Stopped, it can't see the exit before the fault.
    world.signal("STOP");
    kill("KILL", pid);
    world.signal(FAULT);
    world.signal("CONT");
    world.until_said("resumed with");
    let mut client = world.connect();
    let view = world.until("it is back", || {
        Some(client.service("a")).filter(|view| view.pid.is_some_and(|now| now != pid))
    });
    assert_eq!(view.last_exit.unwrap().signal, Some(9));
}

#[test]
fn the_third_fault_in_a_minute_ends_everything_in_order() {
    let mut world = World::new();
    let mut client = world.booted();
    client.register(sleeper("a")).unwrap();
    let pid = client.start("a").unwrap().pid.unwrap();
    for round in 1..=2 {
        world.signal(FAULT);
        world.until("it has resumed", || {
            (world.said().matches("resumed with").count() == round).then_some(())
        });
        assert_eq!(world.connect().service("a").pid, Some(pid));
    }
    world.signal(FAULT);
    assert_eq!(world.wait().code(), Some(70), "{}", world.said());
    assert!(!lives(pid));
    assert!(world.said().contains("three faults in a minute"));
}

#[test]
fn a_binary_that_can_t_take_over_is_refused_and_nothing_changes() {
    let dir = tempfile::tempdir().unwrap();
    let binary = dir.path().join("herm-init");
    std::fs::copy(env!("CARGO_BIN_EXE_herm-init"), &binary).unwrap();
    let world = World::of_binary(&binary, &[], &[], &[]);
    let mut client = world.booted();
    client.register(sleeper("a")).unwrap();
    let pid = client.start("a").unwrap().pid;
    let other = dir.path().join("other");
    std::fs::write(&other, "#!/bin/sh\nexit 1\n").unwrap();
    std::fs::set_permissions(&other, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::rename(&other, &binary).unwrap();
    let error = client.ask(Op::Reexec).unwrap_err();
    assert_eq!(error.code, ErrorCode::Failed);
    assert_eq!(client.service("a").pid, pid);

    let good = dir.path().join("good");
    std::fs::copy(env!("CARGO_BIN_EXE_herm-init"), &good).unwrap();
    std::fs::rename(&good, &binary).unwrap();
    client.ask(Op::Reexec).unwrap();
    world.until_said("resumed with");
    assert_eq!(world.connect().service("a").pid, pid);
}

#[test]
fn a_fault_under_load_restarts_no_service_and_the_clients_go_on() {
    let world = World::new();
    let mut client = world.booted();
    for number in 0..10 {
        client
            .register(sleeper(&format!("steady{number}")))
            .unwrap();
        client.start(&format!("steady{number}")).unwrap();
    }
    let steady = |client: &mut crate::world::Client| -> Vec<_> {
        let services = client.services().into_iter();
        services
            .filter(|s| s.name.starts_with("steady"))
            .map(|s| (s.name, s.pid))
            .collect()
    };
    let before = steady(&mut client);
    std::thread::scope(|scope| {
        for number in 0..20 {
            let world = &world;
            scope.spawn(move || {
                let name = format!("busy{number}");
                for _ in 0..5 {
                    // A connection may be cut by the fault; a client comes again.
                    let order = |op: Op| {
                        world.until("an order is carried out", || {
                            let stream = std::os::unix::net::UnixStream::connect(world.socket());
                            crate::world::Client::new(stream.ok()?).try_ask(op.clone())
                        })
                    };
                    order(Op::Register {
                        spec: Box::new(sleeper(&name)),
                    });
                    order(Op::Stop {
                        name: name.clone(),
                        options: crate::world::waiting(),
                    });
                }
            });
        }
        world.signal(FAULT);
    });
    world.until_said("resumed with");
    let mut client = world.connect();
    assert_eq!(steady(&mut client), before, "{}", world.said());
    let busy = client
        .services()
        .into_iter()
        .filter(|s| s.name.starts_with("busy"));
    assert!(busy.into_iter().all(|s| s.state == State::Down));
}

#[test]
fn a_fault_during_the_boot_ends_in_one_whole_boot() {
    for _ in 0..5 {
        let file = tempfile::NamedTempFile::new().unwrap();
        let script = format!("echo started >> {}; exec sleep 3000", file.path().display());
        let world = World::with(&["/bin/sh", "-c", &script], &[]);
        // It answers from the first moments on, long before setup is over.
        let mut client = world.connect();
        client.hello();
        kill(FAULT, world.pid());
        world.until_said("resumed with");
        world.booted().until_state("main", State::Running);
        let started = world.until("the main program has started", || {
            let text = std::fs::read_to_string(file.path()).unwrap();
            (!text.is_empty()).then_some(text)
        });
        assert_eq!(started, "started\n", "once: {}", world.said());
    }
}

#[test]
fn without_its_journal_nothing_is_resumed_and_nothing_is_started() {
    let dir = tempfile::tempdir().unwrap();
    let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_herm-init"));
    let refused = program
        .args(["--resume", "99"])
        .env("HERM_RUN_DIR", dir.path())
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(70));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("descriptor 99 is not open"), "{said}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);

    // A descriptor that is something else is no journal.
    let mut shell = std::process::Command::new("/bin/sh");
    let script = format!(
        "exec {} --resume 9 9</dev/null",
        env!("CARGO_BIN_EXE_herm-init")
    );
    let refused = shell.args(["-c", &script]).output().unwrap();
    assert_eq!(refused.status.code(), Some(70), "{refused:?}");
}
