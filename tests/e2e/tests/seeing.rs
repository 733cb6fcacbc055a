//! What people see at a terminal: how things stand, what happened, what is said.

use herm_e2e::{Container, Image, wait_until};
use serde_json::Value;

const HISTORY: &str = "/opt/data/.herm/history.db";

/// One gateway that runs, one that was stopped, one that can't start.
fn home() -> Container {
    let container = Container::of(&Image::herm_dev()).run();
    container.wait_booted();
    for profile in ["alpha", "coder", "writer"] {
        container
            .exec(&["herm", "profile", "create", profile])
            .succeeds();
    }
    container
        .sh("echo 'model: [' > /opt/data/profiles/writer/config.yaml")
        .succeeds();
    container
        .sh("herm -p alpha gateway start && herm -p coder gateway start && herm -p coder gateway stop")
        .succeeds();
    let start = container.exec(&["herm", "-p", "writer", "gateway", "start"]);
    assert!(!start.is_success(), "{start}");
    container
}

#[test]
fn the_status_begins_with_the_answer_and_says_what_the_failed_one_said() {
    let container = home();
    let status = container.exec(&["herm", "status"]);
    let text = status.succeeds();
    let first = text.lines().next().unwrap_or_default();
    assert!(
        first.starts_with("1 of 2 gateways running; writer parked ")
            && first.contains(" ago: exit 78"),
        "{status}"
    );
    assert!(
        text.contains("last said: ") && text.contains("no valid YAML"),
        "{status}"
    );
    assert!(!text.contains('\x1b'), "no colours where nobody sees them");
}

fn moments(container: &Container, arguments: &[&str]) -> Vec<Value> {
    let all = [&["herm", "events", "--json"], arguments].concat();
    let events = container.exec(&all);
    let lines = events.succeeds().lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn what_happened_last_night_is_told_after_restarts_and_without_a_supervisor() {
    let container = home();
    let knows = |what: &str| {
        let told = container.exec(&["herm", "events", "--since", "1h", "writer"]);
        told.succeeds().contains(what)
    };
    assert!(knows("exit 78"), "what has just happened is in it");
    container.restart();
    container.wait_booted();
    wait_until("both boots are kept", || {
        let boots = moments(&container, &["--since", "1h"]);
        boots
            .iter()
            .filter(|moment| moment["kind"] == "boot")
            .count()
            == 2
    });
    let last = moments(&container, &["--since", "1h"]);
    let boot = last
        .iter()
        .rfind(|moment| moment["kind"] == "boot")
        .unwrap();
    assert!(
        boot["words"].as_str().unwrap().contains("started alpha"),
        "{boot}"
    );
    let exit = last
        .iter()
        .find(|moment| moment["kind"] == "exit" && moment["service"] == "gateway-writer");
    assert_eq!(exit.unwrap()["code"], 78);
    assert!(last.is_sorted_by_key(|moment| moment["at"].as_str().map(str::to_owned)));
    // The file alone has it: no supervisor is asked.
    let alone = container.exec(&[
        "env",
        "HERM_RUN_DIR=/nowhere",
        "herm",
        "events",
        "-n",
        "500",
        "writer",
    ]);
    assert!(alone.succeeds().contains("exit 78"), "{alone}");
    assert!(!alone.stdout.contains("alpha  "), "{alone}");
    // It may be deleted at any time.
    container.sh(&format!("rm {HISTORY}")).succeeds();
    container
        .exec(&["herm", "-p", "alpha", "gateway", "restart"])
        .succeeds();
    wait_until("a new one is begun", || {
        container
            .sh(&format!("test -s {HISTORY} && herm events alpha"))
            .stdout
            .contains("running")
    });
    let mode = container.sh(&format!("stat -c %a:%U {HISTORY}"));
    assert_eq!(mode.succeeds(), "600:hermes");
}

#[test]
fn events_go_on_after_what_is_kept() {
    let container = home();
    // What was ordered last has just happened.
    for verb in ["restart", "stop", "start"] {
        container
            .exec(&["herm", "-p", "alpha", "gateway", verb])
            .succeeds();
        let last = moments(&container, &["-n", "1", "alpha"]);
        let state = if verb == "stop" { "down" } else { "running" };
        assert_eq!(last[0]["state"], state, "after {verb}: {last:?}");
    }
    let mut follow =
        container.exec_follow(&["herm", "events", "-f", "--json", "--since", "1h", "alpha"]);
    let running = std::cell::Cell::new(0);
    follow.wait_for("what is kept, the last of it too", |line| {
        assert!(!line.contains("\"event\":"), "it is in the history: {line}");
        running.set(running.get() + usize::from(line.contains("\"state\":\"running\"")));
        running.get() >= 3
    });
    container
        .exec(&["herm", "-p", "coder", "gateway", "start"])
        .succeeds();
    container
        .exec(&["herm", "-p", "alpha", "gateway", "stop"])
        .succeeds();
    follow.wait_for("what happens", |line| {
        assert!(!line.contains("gateway-coder"), "{line}");
        line.contains("\"event\":\"changed\"") && line.contains("\"state\":\"down\"")
    });
}
