//! Orders, and what status says of them.

use herm_wire::{Body, Desired, ErrorCode, Op, ReadinessSpec, State, WaitFor};

use crate::world::{World, kill, lives, service_of, shell, sleeper, waiting};

#[test]
fn start_stop_and_restart_are_answered_when_they_are_done() {
    let world = World::new();
    let mut client = world.booted();
    let mut spec = sleeper("a");
    spec.initial = Desired::Down;
    assert_eq!(client.register(spec).unwrap().state, State::Down);
    let first = client.start("a").unwrap();
    assert_eq!(first.state, State::Running);
    assert!(lives(first.pid.unwrap()));
    let second = client.restart("a").unwrap();
    assert_ne!(second.pid, first.pid);
    assert!(!lives(first.pid.unwrap()));
    let stopped = client.stop("a").unwrap();
    assert_eq!((stopped.state, stopped.pid), (State::Down, None));
    assert!(!lives(second.pid.unwrap()));
}

#[test]
fn l13_a_start_that_dies_at_once_fails_with_its_exit_and_then_backs_off() {
    let world = World::new();
    let mut client = world.booted();
    let mut spec = shell("a", "exit 3");
    spec.initial = Desired::Down;
    client.register(spec).unwrap();
    let error = client.start("a").unwrap_err();
    assert_eq!(error.code, ErrorCode::Failed);
    assert!(error.message.contains("exit 3"), "{error:?}");
    let view = world.connect().until_state("a", State::Backoff);
    assert_eq!(view.last_exit.unwrap().code, Some(3));
    assert!(view.next.is_some());
}

#[test]
fn l10_exit_78_parks_and_a_wake_or_a_start_tries_again() {
    let world = World::new();
    let mut client = world.booted();
    client.register(shell("a", "exit 78")).unwrap();
    let parked = world.connect().until_state("a", State::Parked);
    assert!(parked.reason.contains("78"), "{}", parked.reason);
    assert_eq!(parked.next, None);
    let wake = Op::Wake {
        name: "a".to_owned(),
        reason: ".env changed".to_owned(),
    };
    client.ask(wake).unwrap();
    assert_ne!(client.service("a").state, State::Parked);
    assert_eq!(client.start("a").unwrap_err().code, ErrorCode::Failed);
}

#[test]
fn a_program_that_does_not_exist_is_named() {
    let world = World::new();
    let mut client = world.booted();
    let mut spec = sleeper("a");
    spec.argv = vec!["/no/such/program".to_owned()];
    spec.initial = Desired::Down;
    client.register(spec).unwrap();
    let error = client.start("a").unwrap_err();
    assert!(error.message.contains("/no/such/program"), "{error:?}");
}

#[test]
fn readiness_by_descriptor_and_by_datagram_is_waited_for() {
    let world = World::new();
    let mut client = world.booted();
    let mut newline = shell("n", "read go < gate; echo >&5; exec sleep 1000");
    newline.readiness = ReadinessSpec::Notify { fd: 5 };
    newline.cwd = Some(world.dir.path().display().to_string());
    let gate = world.dir.path().join("gate");
    assert!(
        std::process::Command::new("mkfifo")
            .arg(&gate)
            .status()
            .unwrap()
            .success()
    );
    client.register(newline).unwrap();
    let mut waiter = world.connect();
    waiter.send(Op::Wait {
        name: "n".to_owned(),
        until: WaitFor::Ready,
        timeout_ms: None,
    });
    client
        .ask(Op::Wait {
            name: "n".to_owned(),
            until: WaitFor::Up,
            timeout_ms: None,
        })
        .unwrap();
    assert_eq!(client.service("n").state, State::Starting);
    std::fs::write(&gate, "go\n").unwrap();
    assert!(service_of(waiter.receive().ok.unwrap()).ready);
    assert_eq!(client.service("n").state, State::Running);
}

#[test]
fn l08_a_restart_outlives_whoever_asked_for_it() {
    let world = World::new();
    let mut client = world.booted();
    client
        .register(shell("a", "trap '' HUP; exec sleep 1000"))
        .unwrap();
    let before = client.start("a").unwrap().pid.unwrap();
    let mut asker = world.connect();
    asker.send(Op::Restart {
        name: "a".to_owned(),
        options: waiting(),
    });
    drop(asker);
    let after = world.until("another process runs", || {
        world
            .connect()
            .service("a")
            .pid
            .filter(|pid| *pid != before)
    });
    assert!(!lives(before));
    assert!(lives(after));
}

#[test]
fn an_exit_by_an_operator_s_signal_is_no_failure() {
    let world = World::new();
    let mut client = world.booted();
    client.register(sleeper("a")).unwrap();
    let before = client.start("a").unwrap().pid.unwrap();
    client
        .ask(Op::Signal {
            name: "a".to_owned(),
            signal: "TERM".to_owned(),
        })
        .unwrap();
    let after = world.until("another process runs", || {
        world
            .connect()
            .service("a")
            .pid
            .filter(|pid| *pid != before)
    });
    assert!(lives(after));
}

#[test]
fn l11_a_stable_service_that_is_killed_is_back_at_once() {
    let world = World::new();
    let mut client = world.booted();
    let mut spec = sleeper("a");
    spec.restart.stable_ms = Some(100);
    client.register(spec).unwrap();
    let mut pid = client.start("a").unwrap().pid.unwrap();
    for round in 1..=3 {
        kill("KILL", pid);
        pid = world.until("it is back", || {
            client
                .service("a")
                .pid
                .filter(|now| *now != pid && lives(*now))
        });
        assert_eq!(client.service("a").restarts, round);
        client.start("a").unwrap();
    }
}

#[test]
fn a_later_order_is_told_to_the_earlier_caller() {
    let world = World::new();
    let mut client = world.booted();
    let mut spec = shell("a", "trap '' TERM; echo >&5; while :; do sleep 1; done");
    spec.readiness = ReadinessSpec::Notify { fd: 5 };
    spec.stop.grace_ms = Some(2000);
    client.register(spec).unwrap();
    client
        .ask(Op::Wait {
            name: "a".to_owned(),
            until: WaitFor::Ready,
            timeout_ms: None,
        })
        .unwrap();
    let mut earlier = world.connect();
    earlier.send(Op::Stop {
        name: "a".to_owned(),
        options: waiting(),
    });
    world.connect().until_state("a", State::Stopping);
    let started = client.start("a").unwrap();
    assert_eq!(started.state, State::Running);
    let told = earlier.receive().err.unwrap();
    assert_eq!(told.code, ErrorCode::Superseded);
}

#[test]
fn a_wait_that_takes_too_long_says_how_things_stand() {
    let world = World::new();
    let mut client = world.booted();
    let mut spec = sleeper("a");
    spec.initial = Desired::Down;
    client.register(spec).unwrap();
    let wait = Op::Wait {
        name: "a".to_owned(),
        until: WaitFor::Up,
        timeout_ms: Some(20),
    };
    let error = client.ask(wait).unwrap_err();
    assert_eq!(error.code, ErrorCode::TimedOut);
    assert!(error.message.contains("down"), "{error:?}");
}

#[test]
fn notifications_without_end_do_not_wake_the_supervisor_without_end() {
    let world = World::new();
    let mut client = world.booted();
    let mut ready = shell(
        "ready",
        "trap '' PIPE; while echo; do :; done >&3 2>/dev/null; exec sleep 1000",
    );
    ready.readiness = ReadinessSpec::Notify { fd: 3 };
    client.register(ready).unwrap();
    client.start("ready").unwrap();
    // Nobody reads what comes after the first line: the writer is told, and goes on with something else.
    world.until("the writer is told", || {
        let pid = client.service("ready").pid?;
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        (name.trim() == "sleep").then_some(())
    });
    let mut never = shell(
        "never",
        "trap '' PIPE; while printf x; do :; done >&3 2>/dev/null; exec sleep 1000",
    );
    never.readiness = ReadinessSpec::Notify { fd: 3 };
    client.register(never).unwrap();
    world.until_said("never: notifies without end");
    assert!(!client.service("never").ready);
}

#[test]
fn a_grace_that_can_not_fit_the_budget_is_told_by_name() {
    let world = World::with(&[], &[("HERM_STOP_TIMEOUT", "3")]);
    let mut client = world.booted();
    let mut slow = sleeper("slow");
    slow.stop.grace_ms = Some(60_000);
    client.register(slow).unwrap();
    client.register(sleeper("quick")).unwrap();
    world.until_said("slow wants 60s to stop, and the budget leaves it 3s");
    assert!(!world.said().contains("quick wants"));
}

#[test]
fn who_is_still_stopping_is_told_by_name_at_half_of_the_budget() {
    let mut world = World::with(&[], &[("HERM_STOP_TIMEOUT", "1")]);
    let mut client = world.booted();
    client
        .register(shell(
            "stubborn",
            "trap '' TERM; while :; do sleep 0.05; done",
        ))
        .unwrap();
    client.register(sleeper("obedient")).unwrap();
    client.start("stubborn").unwrap();
    client.start("obedient").unwrap();
    world.signal("TERM");
    world.wait();
    assert!(
        world.said().contains("still stopping: 1 (stubborn)"),
        "{}",
        world.said()
    );
}

#[test]
fn the_capability_report_names_what_there_is_and_what_is_done_without_the_rest() {
    let world = World::new();
    let mut client = world.booted();
    let Body::Boot(report) = client.ask(Op::Boot).unwrap() else {
        panic!("no report");
    };
    let names: Vec<&str> = report.features.iter().map(|f| f.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "root",
            "pid1",
            "capabilities",
            "other-users",
            "no-new-privileges",
            "cgroups",
            "capacity",
            "state-in-memory",
            "writable"
        ]
    );
    let pid1 = &report.features[1];
    assert!(!pid1.available, "a test is no container");
    for feature in report
        .features
        .iter()
        .filter(|f| !f.available && f.name != "no-new-privileges")
    {
        world.until_said(&format!("not here: {}: ", feature.name));
    }
}
