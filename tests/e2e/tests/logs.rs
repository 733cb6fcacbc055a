//! Chapter 6: logs. What a service writes is kept and forwarded, whole.

use herm_e2e::{Container, Image, wait_until};
use serde_json::json;

const HERMES: u32 = 10_000;
const LOG: &str = "/opt/data/logs/gateways/default";

fn idle() -> Container {
    let container = Container::of(&Image::herm_dev())
        .command(&["sleep", "infinity"])
        .run();
    container.wait_booted();
    container
}

fn logged(container: &Container, name: &str, script: &str) {
    let spec = json!({"name": name, "kind": "service", "argv": ["sh", "-c", script], "initial": "up",
                      "log": {"dir": format!("/opt/data/logs/{name}")}});
    let answer = container.control(HERMES, &json!({"op": "register", "spec": spec}));
    assert!(answer["ok"].is_object(), "{answer}");
}

#[test]
fn l60_a_line_reaches_the_services_file_and_the_containers_output() {
    let container = idle();
    let mut output = container.follow_all_logs();
    logged(
        &container,
        "talker",
        "echo both of them; exec sleep infinity",
    );
    output.wait_for("the forwarded line", |line| {
        line.contains("talker") && line.contains("both of them")
    });
    wait_until("the line is kept", || {
        container
            .sh("cat /opt/data/logs/talker/current")
            .stdout
            .contains("both of them")
    });
    let kept = container.sh("cat /opt/data/logs/talker/current");
    let line = kept
        .succeeds()
        .lines()
        .find(|line| line.contains("both"))
        .unwrap();
    assert!(
        line.starts_with("20") && line.contains('T'),
        "no ISO time: {line}"
    );
}

#[test]
fn the_main_programs_output_is_its_own() {
    let finished = Container::of(&Image::herm_dev())
        .command(&["sh", "-c", "echo exactly this; echo and that >&2"])
        .run_to_end();
    finished.succeeds();
    assert!(
        finished.stdout.lines().any(|line| line == "exactly this"),
        "{finished}"
    );
    assert!(
        finished.stderr.lines().any(|line| line == "and that"),
        "{finished}"
    );
}

#[test]
fn lines_survive_the_death_of_the_log_daemon() {
    let container = idle();
    logged(
        &container,
        "counter",
        "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo line $i; done; touch /tmp/counted; exec sleep infinity",
    );
    for _ in 0..5 {
        let pid = container.service_field("logd", "pid");
        container
            .exec_root(
                "the log daemon has a user of its own",
                &["sh", "-c", &format!("kill -9 {pid}")],
            )
            .succeeds();
        wait_until("it is replaced", || {
            container
                .service("logd")
                .is_some_and(|logd| logd["state"] == "running" && logd["pid"] != pid)
        });
    }
    wait_until("everything is written and kept", || {
        container
            .sh("test -e /tmp/counted && grep -q 'line 20000$' /opt/data/logs/counter/current")
            .is_success()
    });
    let missing = container
        .sh("cat $(ls -tr /opt/data/logs/counter/*) | sed -n 's/.* line //p' | sort -nu | wc -l");
    assert_eq!(missing.succeeds(), "20000");
}

#[test]
fn agents_can_neither_stop_nor_read_the_log_daemon() {
    let container = idle();
    let pid = container.service_field("logd", "pid").to_string();
    assert!(
        !container
            .exec(&["sh", "-c", &format!("kill -STOP {pid}")])
            .is_success()
    );
    assert!(
        !container
            .exec(&["sh", "-c", &format!("kill -9 {pid}")])
            .is_success()
    );
    assert!(
        !container
            .exec(&["cat", &format!("/proc/{pid}/environ")])
            .is_success()
    );
    assert!(
        !container
            .exec(&["ls", &format!("/proc/{pid}/fd")])
            .is_success()
    );
}

#[test]
fn l63_a_reader_of_the_containers_output_that_is_stuck_blocks_nothing() {
    let container = idle();
    logged(
        &container,
        "flood",
        "head -c 30000000 /dev/zero | tr '\\0' 'x' | fold -w 100; echo; echo the end; exec sleep infinity",
    );
    wait_until("the last line is kept", || {
        container
            .sh("grep -q 'the end' /opt/data/logs/flood/current")
            .is_success()
    });
    assert!(container.answers());
}

#[test]
fn l62_kept_logs_are_bounded() {
    let container = idle();
    logged(
        &container,
        "chatty",
        "head -c 30000000 /dev/zero | tr '\\0' 'y' | fold -w 100; echo; touch /tmp/said; exec sleep infinity",
    );
    wait_until("it has said everything", || {
        container.sh("test -e /tmp/said").is_success()
    });
    let bytes: u64 = container
        .sh("du -sb /opt/data/logs/chatty | cut -f1")
        .succeeds()
        .parse()
        .unwrap();
    assert!(bytes < 12_500_000, "{bytes} bytes are kept");
}

/// Without the cap two services would keep 11 files of 100,000 bytes each.
#[test]
fn l62_all_kept_logs_together_are_bounded() {
    let container = Container::of(&Image::herm_dev())
        .env("HERM_LOG_TOTAL", "500000")
        .env("HERM_LOG_MAX_BYTES", "100000")
        .command(&["sleep", "infinity"])
        .run();
    container.wait_booted();
    for name in ["chatty", "garrulous"] {
        let script =
            "seq -f '%.0f and so on, and so forth' 60000; echo the end; exec sleep infinity";
        logged(&container, name, script);
    }
    for name in ["chatty", "garrulous"] {
        wait_until("the last line is kept", || {
            container
                .sh(&format!("grep -q 'the end' /opt/data/logs/{name}/current"))
                .is_success()
        });
    }
    let bytes: u64 = container
        .sh("cat /opt/data/logs/chatty/* /opt/data/logs/garrulous/* | wc -c")
        .succeeds()
        .parse()
        .unwrap();
    assert!(bytes <= 500_000, "{bytes} bytes are kept");
}

#[test]
fn l62_rotated_logs_are_compressed_where_it_is_asked_for_and_read_all_the_same() {
    let container = Container::of(&Image::herm_dev())
        .env("HERM_LOG_COMPRESS", "true")
        .env("HERM_LOG_MAX_BYTES", "100000")
        .command(&["sleep", "infinity"])
        .run();
    container.wait_booted();
    let script = "seq -f 'line %.0f' 20000; echo the end; exec sleep infinity";
    logged(&container, "counter", script);
    wait_until("all but the last file are compressed", || {
        container
            .sh("cd /opt/data/logs/counter && grep -q 'the end' current && ls | grep -q '[.]gz$' && ! ls | grep -qv -e '[.]gz$' -e '^current$'")
            .is_success()
    });
    let kept = container.sh(
        "cd /opt/data/logs/counter && (zcat ./*.gz; cat current) | sed -n 's/.* line //p' | sort -nu | wc -l",
    );
    assert_eq!(kept.succeeds(), "20000");
    let shown = container.exec(&["herm", "logs", "-n", "30000", "counter"]);
    let shown = shown.succeeds();
    assert!(shown.lines().any(|line| line.ends_with(" line 1")));
    assert_eq!(
        shown.lines().filter(|line| line.contains(" line ")).count(),
        20_000
    );
}

#[test]
fn herm_logs_shows_a_gateways_lines() {
    let container = idle();
    container.exec(&["herm", "gateway", "start"]).succeeds();
    wait_until("something is kept", || {
        container.sh(&format!("test -s {LOG}/current")).is_success()
    });
    let last = container
        .sh(&format!("tail -1 {LOG}/current"))
        .succeeds()
        .split_once(' ')
        .unwrap()
        .1
        .to_owned();
    let shown = container.exec(&["herm", "logs", "-n", "5", "default"]);
    assert!(shown.succeeds().contains(&last), "{shown}");
}

#[test]
fn the_last_line_without_a_newline_is_kept_and_not_glued_to_the_next_run() {
    let container = idle();
    logged(&container, "torn", "printf unfinished; exit 1");
    wait_until("two runs have ended", || {
        container
            .sh("grep -c unfinished /opt/data/logs/torn/current")
            .stdout
            .trim()
            .parse::<u32>()
            .unwrap_or(0)
            >= 2
    });
    assert!(
        !container
            .sh("grep -q unfinishedunfinished /opt/data/logs/torn/current")
            .is_success()
    );
}

/// A small file system of its own fills up; nobody is blocked and the loss is counted.
#[test]
fn a_full_disk_blocks_no_service_and_the_loss_is_told_afterwards() {
    let container = Container::of(&Image::herm_dev())
        .flag("--tmpfs=/small:size=1m,mode=1777")
        .command(&["sleep", "infinity"])
        .run();
    container.wait_booted();
    container
        .sh("mkdir /small/log && head -c 900000 /dev/zero > /small/ballast")
        .succeeds();
    let spec = json!({"name": "writer", "kind": "service", "initial": "up", "log": {"dir": "/small/log"},
        "argv": ["sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' z | fold -w 100; echo; touch /tmp/through; while :; do echo tick; sleep 0.1; done"]});
    container.control(HERMES, &json!({"op": "register", "spec": spec}));
    wait_until("the writer got through", || {
        container.sh("test -e /tmp/through").is_success()
    });
    container.sh("rm /small/ballast").succeeds();
    wait_until("the loss is told", || {
        container
            .sh("grep -qi dropped /small/log/current")
            .is_success()
    });
    container.sh("grep -q tick /small/log/current").succeeds();
}
