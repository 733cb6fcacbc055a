//! The processes of a service: all of them go, and nothing comes along.

use std::process::Command;

use herm_wire::{Op, State};

use crate::world::{World, kill, lives, shell, sleeper};

fn number_in(world: &World, file: &str) -> u32 {
    let path = world.dir.path().join(file);
    world.until(&format!("{file} is written"), || {
        std::fs::read_to_string(&path).ok()?.trim().parse().ok()
    })
}

#[test]
fn l86_background_children_go_down_with_their_service() {
    let world = World::new();
    let mut client = world.booted();
    let file = world.dir.path().join("child");
    let script = format!("sleep 1000 & echo $! > {}; exec sleep 2000", file.display());
    client.register(shell("a", &script)).unwrap();
    client.start("a").unwrap();
    let child = number_in(&world, "child");
    assert!(lives(child));
    client.stop("a").unwrap();
    assert!(!lives(child));
}

#[test]
fn l45_what_daemonised_away_is_found_by_its_cookie_and_ended_before_the_next_start() {
    let world = World::new();
    let mut client = world.booted();
    let file = world.dir.path().join("daemon");
    // A session and group of its own, an orphan at once, no descriptor of the service's.
    let script = format!(
        "setsid sh -c 'sleep 1000 >/dev/null 2>&1 </dev/null & echo $! > {}' ; exec sleep 2000",
        file.display()
    );
    client.register(shell("a", &script)).unwrap();
    client.start("a").unwrap();
    let first = number_in(&world, "daemon");
    assert!(lives(first));
    client.restart("a").unwrap();
    assert!(!lives(first), "{}", world.said());
    let second = world.until("the next one is there", || {
        Some(number_in(&world, "daemon")).filter(|pid| *pid != first)
    });
    client.stop("a").unwrap();
    assert!(!lives(second));
}

#[test]
fn l45_what_lost_its_cookie_too_is_found_by_the_log_pipe_it_holds() {
    let world = World::new();
    let mut client = world.booted();
    let file = world.dir.path().join("daemon");
    let script = format!(
        "env -i /usr/bin/setsid sh -c 'sleep 1000 & echo $! > {}' ; exec sleep 2000",
        file.display()
    );
    client.register(shell("a", &script)).unwrap();
    client.start("a").unwrap();
    let daemon = number_in(&world, "daemon");
    assert!(lives(daemon));
    client.stop("a").unwrap();
    assert!(!lives(daemon), "{}", world.said());
}

#[test]
fn l45_orphans_are_reaped_also_those_that_are_nobody_s() {
    let world = World::new();
    let mut client = world.booted();
    let script =
        "for i in 1 2 3 4 5 6 7 8 9 10; do sh -c 'true & true & true &'; done; exec sleep 1000";
    client.register(shell("a", script)).unwrap();
    client.start("a").unwrap();
    let zombies = || {
        let mut list = Command::new("ps");
        list.args(["--ppid", &world.pid().to_string(), "-o", "stat="]);
        let output = list.output().unwrap();
        String::from_utf8_lossy(&output.stdout)
            .lines()
            .filter(|l| l.starts_with('Z'))
            .count()
    };
    world.until("no zombie is left", || (zombies() == 0).then_some(()));
    assert_eq!(client.service("a").state, State::Running);
}

#[test]
fn l40_term_goes_to_the_main_process_first_and_kill_at_the_end_of_the_grace() {
    let world = World::new();
    let mut client = world.booted();
    let mut spec = shell("a", "trap '' TERM; while :; do sleep 0.1; done");
    spec.stop.grace_ms = Some(300);
    client.register(spec).unwrap();
    client.start("a").unwrap();
    let stopped = client.stop("a").unwrap();
    assert_eq!(stopped.last_exit.unwrap().signal, Some(9));
    assert_eq!(stopped.state, State::Down);
}

#[test]
fn a_child_has_the_descriptors_meant_for_it_and_no_others() {
    let world = World::new();
    let mut client = world.booted();
    client.register(sleeper("other")).unwrap();
    client.register(sleeper("a")).unwrap();
    let pid = client.start("a").unwrap().pid.unwrap();
    let list = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let mut numbers: Vec<_> = list
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    numbers.sort();
    assert_eq!(numbers, ["0", "1", "2"]);
}

#[test]
fn a_user_who_stops_every_new_process_stops_nobody_else() {
    let world = World::new();
    let mut client = world.booted();
    client.register(sleeper("a")).unwrap();
    let pid = client.start("a").unwrap().pid.unwrap();
    kill("STOP", pid);
    for round in 0..20 {
        let name = format!("s{round}");
        let view = client.register(sleeper(&name)).unwrap();
        if let Some(pid) = view.pid {
            kill("STOP", pid);
        }
        client.hello();
    }
    let mut spec = sleeper("quick");
    spec.stop.grace_ms = Some(200);
    client.register(spec).unwrap();
    client.start("quick").unwrap();
    client.stop("quick").unwrap();
}

#[test]
fn a_service_knows_its_run_and_env_explains_every_variable() {
    let world = World::with(&[], &[("FROM_CONTAINER", "yes"), ("GONE", "x")]);
    let mut client = world.booted();
    let file = world.dir.path().join("env");
    let mut spec = shell(
        "a",
        &format!(
            "env > {0}.tmp && mv {0}.tmp {0}; exec sleep 1000",
            file.display()
        ),
    );
    let own = herm_wire::EnvVar {
        value: "mine".to_owned(),
        origin: "test".to_owned(),
    };
    spec.env.insert("OWN".to_owned(), own);
    spec.unset_env = vec!["GONE".to_owned()];
    client.register(spec).unwrap();
    let text = world.until("the environment is written", || {
        std::fs::read_to_string(&file).ok()
    });
    for line in ["FROM_CONTAINER=yes", "OWN=mine"] {
        assert!(text.lines().any(|l| l == line), "{text}");
    }
    assert!(!text.contains("GONE="));
    assert!(text.contains("HERM_RUN="));
    let herm_wire::Body::Env { entries, withheld } = client
        .ask(Op::Env {
            name: "a".to_owned(),
        })
        .unwrap()
    else {
        panic!("no environment");
    };
    let origin = |name: &str| {
        entries
            .iter()
            .find(|e| e.name == name)
            .map(|e| e.origin.as_str())
    };
    assert_eq!(origin("OWN"), Some("test"));
    assert_eq!(origin("FROM_CONTAINER"), Some("container"));
    assert_eq!(origin("GONE"), None);
    assert_eq!(withheld, ["GONE"]);
}

#[test]
fn a_thousand_services_go_down_by_term_within_the_budget() {
    let mut world = World::with(&[], &[("HERM_LOG", "info")]);
    let mut client = world.booted();
    for number in 0..1000 {
        client.register(sleeper(&format!("s{number}"))).unwrap();
    }
    client.ask(Op::Shutdown { exit_code: None }).unwrap();
    assert_eq!(world.wait().code(), Some(0));
    // Each by the first signal: nobody had to be killed.
    assert!(
        !world.said().contains("not gone within its grace"),
        "{}",
        world.said()
    );
}

#[test]
fn l45_thousands_of_orphans_at_once_are_reaped_and_clients_answered_meanwhile() {
    let world = World::with(&[], &[("HERM_LOG", "info")]);
    let mut client = world.booted();
    // Each round leaves 500 children of a parent that is gone: zombies, but for us.
    let script = "for i in 1 2 3 4 5 6; do
        sh -c 'i=0; while [ $i -lt 500 ]; do : & i=$((i+1)); done'; done
        exec sleep 1000";
    client.register(shell("a", script)).unwrap();
    let done = || {
        let line = std::fs::read(format!("/proc/{}/comm", client.service("a").pid?)).ok()?;
        line.starts_with(b"sleep").then_some(())
    };
    world.until("all orphans were made", done);
    let list = || {
        let path = format!("/proc/{0}/task/{0}/children", world.pid());
        std::fs::read_to_string(path)
            .unwrap()
            .split_whitespace()
            .count()
    };
    // The service and the log daemon are what is left.
    world.until("all are reaped", || (list() <= 2).then_some(()));
}
