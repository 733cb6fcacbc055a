//! Chapter 3.7: the end. Order, budget, graces, and that nobody is left.
//!
//! What must not wait for a clock is shown with clocks that would be noticed: a budget of hours, or
//! an engine whose KILL would show in the exit code.

use herm_e2e::{Container, Image, Options, Volume, docker, wait_until};
use serde_json::{Value, json};

const HERMES: u32 = 10_000;

/// A main program with an exit code of its own, which no KILL could give.
const MAIN: &str = "trap 'exit 42' TERM; while :; do sleep 0.05; done";

fn herm() -> Options {
    Container::of(&Image::herm_dev())
        .env("HERM_LOG", "debug")
        .command(&["sh", "-c", MAIN])
}

/// Supervises a shell script as a service, with these fields of its specification.
fn service(container: &Container, name: &str, script: &str, more: &Value) {
    let mut spec = json!({"name": name, "kind": "service", "argv": ["bash", "-c", script], "initial": "up",
               "readiness": {"type": "notify", "fd": 3}});
    for (field, value) in more.as_object().unwrap() {
        spec[field] = value.clone();
    }
    let answer = container.control(HERMES, &json!({"op": "register", "spec": spec}));
    assert!(answer["ok"].is_object(), "{answer}");
    container
        .exec(&["herm", "service", "wait", name, "ready"])
        .succeeds();
}

/// `docker stop` with far more patience than any budget here: an engine's KILL shows as 137.
fn stop(container: &Container) -> i32 {
    docker(&["stop", "--time", "170", container.name()]).succeeds();
    container.wait()
}

/// A script that does this on TERM and waits for it.
fn on_term(action: &str) -> String {
    format!("trap '{action}' TERM; echo >&3; while :; do sleep 0.05; done")
}

fn contents(volume: &Volume, file: &str) -> String {
    let cat = Container::of(&Image::herm_dev())
        .volume(volume, "/opt/data")
        .flag("--entrypoint=cat")
        .command(&[&format!("/opt/data/{file}")])
        .run_to_end();
    cat.stdout
}

#[test]
fn dependents_stop_before_what_they_need() {
    let volume = Volume::new();
    let container = Container::booted(&herm().volume(&volume, "/opt/data"));
    for (name, needs) in [
        ("base", json!([])),
        ("middle", json!(["base"])),
        ("top", json!(["middle"])),
    ] {
        let script = on_term(&format!("echo {name} >> /opt/data/order; exit 0"));
        service(&container, name, &script, &json!({"requires": needs}));
    }
    assert_eq!(stop(&container), 42);
    assert_eq!(contents(&volume, "order"), "top\nmiddle\nbase\n");
    let logs = container.logs();
    let told: Vec<_> = ["top", "middle", "base"]
        .map(|name| logs.find(&format!("herm: {name}: SIGTERM")))
        .into();
    assert!(told.is_sorted() && told[0].is_some(), "{told:?} in {logs}");
    assert!(logs.contains("stopping everything within 8s"), "{logs}");
}

/// Supervisors that stop one service after the other take the sum of their times.
#[test]
fn l41_services_that_nothing_ties_stop_at_the_same_time() {
    let container = Container::booted(&herm().env("HERM_STOP_TIMEOUT", "9000"));
    // Each is gone only after it has seen that all others were asked too.
    for number in 1..=5 {
        let seen = "until [ $(ls /tmp/asked | wc -l) = 5 ]; do sleep 0.01; done";
        let script = on_term(&format!(
            "mkdir -p /tmp/asked; touch /tmp/asked/{number}; {seen}; exit 0"
        ));
        let stop = json!({"stop": {"grace_ms": 9_000_000}});
        service(&container, &format!("s{number}"), &script, &stop);
    }
    assert_eq!(stop(&container), 42);
    assert!(!container.logs().contains("killed by SIGKILL"));
}

/// Every exit took three seconds: the whole grace was slept though nothing was left to end.
#[test]
fn l80_nothing_is_waited_for_but_processes() {
    let container = Container::booted(&herm().env("HERM_STOP_TIMEOUT", "9000"));
    for number in 1..=3 {
        let script = "echo >&3; exec sleep infinity";
        let stop = json!({"stop": {"grace_ms": 9_000_000}});
        service(&container, &format!("s{number}"), script, &stop);
    }
    assert_eq!(stop(&container), 42);
    let logs = container.logs();
    assert!(logs.contains("services are down after"), "{logs}");
    // Each wait of the end that ran to its own limit would have said so.
    for overrun in ["did not end", "not gone", "still lives", "has not written"] {
        assert!(!logs.contains(overrun), "{overrun:?} in {logs}");
    }
}

#[test]
fn a_service_that_ignores_term_is_killed_inside_the_budget_and_named() {
    let container = Container::booted(&herm().env("HERM_STOP_TIMEOUT", "2"));
    let hour = json!({"stop": {"grace_ms": 3_600_000}});
    service(&container, "stubborn", &on_term("echo never"), &hour);
    assert_eq!(stop(&container), 42);
    let logs = container.logs();
    assert!(
        logs.contains("stubborn: not gone within its grace"),
        "{logs}"
    );
}

#[test]
fn each_service_has_the_grace_it_asked_for() {
    let volume = Volume::new();
    let options = herm().env("HERM_STOP_TIMEOUT", "160");
    let container = Container::booted(&options.volume(&volume, "/opt/data"));
    // The patient one goes on when the hasty one has been killed, and needs its own grace for that.
    let hasty = json!({"stop": {"grace_ms": 100}});
    let pid = "echo $$ > /tmp/hasty.pid; ";
    service(
        &container,
        "hasty",
        &(pid.to_owned() + &on_term("sleep 1000; echo hasty >> /opt/data/done")),
        &hasty,
    );
    let patient = json!({"stop": {"grace_ms": 150_000}});
    let wait = "while kill -0 $(cat /tmp/hasty.pid) 2>/dev/null; do sleep 0.01; done";
    let script = on_term(&format!("{wait}; echo patient >> /opt/data/done; exit 0"));
    service(&container, "patient", &script, &patient);
    assert_eq!(stop(&container), 42);
    assert_eq!(contents(&volume, "done"), "patient\n");
}

/// A KILL during a drain corrupted databases: at first only the main process is asked.
#[test]
fn l40_term_goes_to_the_main_process_and_leaves_its_helpers_to_it() {
    let volume = Volume::new();
    let container = Container::booted(
        &herm()
            .volume(&volume, "/opt/data")
            .env("HERM_STOP_TIMEOUT", "170"),
    );
    let script = "sleep 1000 & helper=$!
        trap 'kill -0 $helper && echo helper lives >> /opt/data/drain; kill $helper; exit 0' TERM
        echo >&3; while :; do wait; done";
    service(
        &container,
        "drainer",
        script,
        &json!({"stop": {"grace_ms": 160_000}}),
    );
    assert_eq!(stop(&container), 42);
    assert_eq!(contents(&volume, "drain"), "helper lives\n");
}

/// In the host's pid namespace nothing dies with the container's first process: whoever is left
/// when herm ends is left on the host.
#[test]
fn l86_whoever_forks_away_or_respawns_is_gone_with_the_rest() {
    let options = herm().flag("--pid=host").env("HERM_STOP_TIMEOUT", "3");
    let container = Container::booted(&options);
    let marked = |number: u32| format!("exec -a herm-e2e-{}-{number} sleep 1000", container.name());
    let away = format!(
        "(setsid bash -c '{}' </dev/null >/dev/null 2>&1 3>&- & ) ; echo >&3; exec sleep 1000",
        marked(1)
    );
    service(&container, "away", &away, &json!({}));
    let hidden = format!(
        "(setsid env -i bash -c '{}' </dev/null >/dev/null 2>&1 3>&- & ) ; echo >&3; exec sleep 1000",
        marked(2)
    );
    service(&container, "hidden", &hidden, &json!({}));
    let respawning = format!(
        "trap '' TERM; echo >&3; while :; do ({}) & wait -n; done",
        marked(3)
    );
    let short = json!({"stop": {"grace_ms": 500}});
    service(&container, "respawning", &respawning, &short);
    let script = "trap '' TERM; echo >&3; while :; do sleep 0.001 & done";
    service(&container, "bomb", script, &short);
    let left = || {
        let look = Container::of(&Image::herm_dev())
            .flag("--pid=host")
            .flag("--entrypoint=sh")
            .command(&[
                "-c",
                "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n'",
            ])
            .run_to_end();
        let name = format!("herm-e2e-{}-", container.name());
        look.stdout
            .lines()
            .filter(|line| line.starts_with(&name))
            .count()
    };
    wait_until("all three run", || left() >= 3);
    assert_eq!(stop(&container), 42);
    assert_eq!(left(), 0);
}

#[test]
fn the_main_programs_end_stops_everything_and_its_code_counts() {
    let volume = Volume::new();
    let main = "until [ -e /tmp/go ]; do sleep 0.01; done; exit 33";
    let options = herm()
        .volume(&volume, "/opt/data")
        .command(&["sh", "-c", main]);
    let container = Container::booted(&options);
    let script = on_term("echo told >> /opt/data/told; exit 5");
    service(&container, "s", &script, &json!({}));
    container.sh("touch /tmp/go").succeeds();
    assert_eq!(container.wait(), 33);
    assert_eq!(contents(&volume, "told"), "told\n");
}

#[test]
fn a_main_program_that_ignores_term_is_killed_inside_the_budget() {
    let script = "trap '' TERM; while :; do sleep 1000; done";
    let options = herm()
        .env("HERM_STOP_TIMEOUT", "2")
        .command(&["sh", "-c", script]);
    let container = Container::booted(&options);
    // By herm: an engine's KILL would come after its own patience only.
    assert_eq!(stop(&container), 137);
    let logs = container.logs();
    assert!(logs.contains("main: not gone within its grace"), "{logs}");
}

#[test]
fn a_stop_in_the_middle_of_the_boot_ends_it() {
    let hook = "mkdir -p /etc/cont-init.d; printf '#!/bin/sh\\necho in the hook; sleep 1000\\n' \
                > /etc/cont-init.d/10-slow; chmod 755 /etc/cont-init.d/10-slow; exec /init true";
    let container = Container::of(&Image::herm_dev())
        .flag("--entrypoint=sh")
        .command(&["-c", hook])
        .run();
    container
        .follow_all_logs()
        .wait_for("the hook's", |line| line == "in the hook");
    assert_eq!(stop(&container), 0);
}

#[test]
fn a_second_signal_changes_nothing_about_the_end() {
    let volume = Volume::new();
    let container = Container::booted(
        &herm()
            .volume(&volume, "/opt/data")
            .env("HERM_STOP_TIMEOUT", "160"),
    );
    let slow = "until [ -e /tmp/go ]; do sleep 0.01; done; echo slow >> /opt/data/done; exit 0";
    service(
        &container,
        "slow",
        &on_term(slow),
        &json!({"stop": {"grace_ms": 150_000}}),
    );
    container.kill("TERM");
    wait_until("the main program has gone", || {
        container.service_field("main", "state") != "running"
    });
    container.kill("TERM");
    container.kill("INT");
    container.sh("touch /tmp/go").succeeds();
    assert_eq!(container.wait(), 42);
    assert_eq!(contents(&volume, "done"), "slow\n");
}

#[test]
fn herm_shutdown_gives_the_code_it_is_asked_for() {
    let container = Container::booted(&herm());
    let asked = container.exec_root(
        "the container's end is root's to ask for",
        &["herm", "shutdown", "--exit-code", "9"],
    );
    assert!(asked.is_success() || asked.code == Some(137), "{asked}");
    assert_eq!(container.wait(), 9);
}
