//! Whether all is well, as Docker and probes ask: by `herm health`, the image's HEALTHCHECK.

use herm_e2e::{Container, Image, Options, SERVICE_USER, docker, wait_until};
use serde_json::{Value, json};

const HERMES: u32 = 10_000;

fn herm() -> Options {
    // As often as it can be, for the test not to wait half a minute for each look.
    Container::of(&Image::herm_dev()).flag("--health-interval=1s")
}

/// The last thing that the health check said.
fn last_words(container: &Container) -> String {
    let log = container.inspect(".State.Health.Log");
    let last = log.as_array().and_then(|log| log.last());
    let words = last.and_then(|last| last["Output"].as_str());
    words.unwrap_or_default().to_owned()
}

fn wait_health(container: &Container, status: &str) {
    wait_until(&format!("Docker says {status}"), || {
        container.inspect(".State.Health.Status") == status
    });
}

#[test]
fn both_images_have_a_health_check_that_needs_no_other_program() {
    for image in [Image::herm_dev(), Image::hermes()] {
        let check = image.inspect(".Config.Healthcheck.Test");
        assert_eq!(check, json!(["CMD", "/usr/bin/herm", "health"]));
    }
}

#[test]
fn l70_docker_is_told_of_a_bot_that_is_dead_and_when_it_is_well_again() {
    let container = herm().flag("--health-start-period=1s").run();
    wait_health(&container, "healthy");
    assert_eq!(
        last_words(&container),
        "healthy: no gateway should be running\n"
    );
    // It runs, and its health check says that it does not serve.
    let spec = json!({"name": "bot", "kind": "service", "initial": "up",
        "argv": ["sleep", "infinity"],
        "health": {"probe": {"type": "command", "argv": ["test", "!", "-e", "/tmp/sick"]},
                   "interval_ms": 100, "threshold": 1},
        "restart": {"delay_ms": 600_000, "max_delay_ms": 600_000, "stable_ms": 600_000}});
    let answer = container.control(HERMES, &json!({"op": "register", "spec": spec}));
    assert!(answer["ok"].is_object(), "{answer}");
    container.sh("touch /tmp/sick").succeeds();
    wait_health(&container, "unhealthy");
    assert!(
        last_words(&container).contains("bot"),
        "{}",
        last_words(&container)
    );
    // The container is alive all the while: whatever restarts dead ones leaves it alone.
    container.exec(&["herm", "health", "--alive"]).succeeds();
    container.sh("rm /tmp/sick").succeeds();
    container
        .exec(&["herm", "service", "start", "bot"])
        .succeeds();
    wait_health(&container, "healthy");
}

#[test]
fn anybody_can_ask_for_health_in_any_container() {
    let container = herm()
        .flag("--read-only")
        .flag("--cap-drop=ALL")
        .flag("--tmpfs=/opt/data:uid=1234,mode=700")
        .flag("--user=1234:5678")
        .run();
    wait_health(&container, "healthy");
    for user in ["1234:5678", "0:0"] {
        let asked = container.exec_with(&["--user", user], &["herm", "health"], b"");
        assert!(asked.succeeds().starts_with("healthy: "), "{asked}");
    }
    let usual = herm().run();
    usual.wait_booted();
    for user in [SERVICE_USER, "0:0", "4321:4321"] {
        let asked = usual.exec_with(&["--user", user], &["herm", "health"], b"");
        assert!(asked.succeeds().starts_with("healthy: "), "{user}: {asked}");
    }
}

#[test]
fn a_gateway_that_is_parked_is_named_with_its_reason() {
    let container = herm().run();
    container.wait_booted();
    container
        .exec(&["herm", "profile", "create", "writer"])
        .succeeds();
    // What it is wanted for is impossible.
    container
        .sh("echo 'model: [' > /opt/data/profiles/writer/config.yaml")
        .succeeds();
    let start = container.exec(&["herm", "-p", "writer", "gateway", "start"]);
    assert!(!start.is_success(), "{start}");
    let health = container.exec(&["herm", "health", "--json"]);
    let found: Value = serde_json::from_str(health.exits(1)).unwrap();
    assert_eq!(found["missing"], json!(["writer"]));
    let verdict = found["verdict"].as_str().unwrap();
    assert!(
        verdict.starts_with("0 of 1 gateway running; writer parked: exit 78"),
        "{found}"
    );
    // Somebody who has stopped it knows, and misses nothing.
    container
        .exec(&["herm", "-p", "writer", "gateway", "stop"])
        .succeeds();
    container.exec(&["herm", "health"]).succeeds();
}

#[test]
fn without_a_supervisor_nothing_is_healthy() {
    let asked = docker(&[
        "run",
        "--rm",
        "--entrypoint=herm",
        Image::herm_dev().tag(),
        "health",
    ]);
    assert!(
        asked
            .exits(1)
            .starts_with("unhealthy: no supervisor answers"),
        "{asked}"
    );
    assert_eq!(asked.stderr, "");
}

/// The slot of a dashboard that can't serve is up again and again. Whoever looks at the slot sees a
/// service that runs; whoever asks it for a page does not.
#[test]
fn l90_a_dashboard_that_crash_loops_is_not_taken_for_one_that_serves() {
    let container = herm().env("HERMES_DASHBOARD", "1").run();
    container.wait_booted();
    container
        .exec(&["herm", "service", "stop", "dashboard"])
        .succeeds();
    // Something else has its port.
    let squat = "use IO::Socket::INET; my $s = IO::Socket::INET->new(LocalAddr => '127.0.0.1', \
                 LocalPort => 9119, Listen => 1) or die; sleep";
    let spec = json!({"name": "squatter", "kind": "service", "initial": "up",
        "argv": ["perl", "-e", squat],
        "readiness": {"type": "probe", "interval_ms": 100, "probe": {"type": "tcp", "address": "127.0.0.1:9119"}}});
    let answer = container.control(HERMES, &json!({"op": "register", "spec": spec}));
    assert!(answer["ok"].is_object(), "{answer}");
    container
        .exec(&["herm", "service", "wait", "squatter", "ready"])
        .succeeds();
    let start = container.exec(&["herm", "service", "start", "dashboard"]);
    assert!(!start.is_success(), "{start}");
    wait_until("it has failed more than once", || {
        container
            .service("dashboard")
            .is_some_and(|dashboard| dashboard["restarts"].as_u64() > Some(1))
    });
    let asked = container.exec(&["herm", "health"]);
    assert!(asked.exits(1).contains("dashboard"), "{asked}");
    let status = container.exec(&["herm", "status"]);
    let verdict = status
        .succeeds()
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned();
    assert!(verdict.contains("dashboard"), "{status}");
    container
        .exec(&["herm", "service", "stop", "squatter"])
        .succeeds();
    wait_until("it serves", || {
        container
            .http_get(9119, "/")
            .is_some_and(|page| page.status == 200 && page.body.contains("</html>"))
    });
    wait_until("and counts as ready", || {
        container.exec(&["herm", "health"]).is_success()
    });
}
