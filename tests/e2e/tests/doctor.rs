//! `herm doctor` in containers: each thing that can be wrong with a container and its home is found,
//! and comes with what to do about it.

use herm_e2e::{Container, Finished, Image, Options, Volume, docker, wait_until};
use serde_json::Value;

const CHECKS: [&str; 17] = [
    "supervisor",
    "setup",
    "features",
    "clock",
    "home",
    "user",
    "disk",
    "settings",
    "profiles",
    "links",
    "ownership",
    "secrets",
    "lease",
    "services",
    "claims",
    "ports",
    "processes",
];

fn herm() -> Options {
    Container::of(&Image::herm_dev()).command(&["sleep", "infinity"])
}

fn booted(options: &Options) -> Container {
    let container = Container::booted(options);
    container.wait_states(&[("gateway-default", "down")]);
    container
}

/// The findings of a doctor's report. Every problem has a remedy, and the exit code says whether there
/// is one.
#[track_caller]
fn findings(report: &Finished) -> Vec<Value> {
    let json: Value = serde_json::from_str(&report.stdout).unwrap_or_else(|_| panic!("{report}"));
    let all = json["findings"].as_array().unwrap().clone();
    let problems: Vec<&Value> = all.iter().filter(|one| one["level"] == "problem").collect();
    for problem in &problems {
        let remedy = problem["remedy"].as_str().unwrap_or_default();
        assert!(!remedy.is_empty(), "no remedy: {problem}");
    }
    assert_eq!(json["problems"], problems.len(), "{report}");
    assert_eq!(
        report.code,
        Some(i32::from(!problems.is_empty())),
        "{report}"
    );
    all
}

fn look(container: &Container) -> Vec<Value> {
    findings(&container.exec(&["herm", "doctor", "--json"]))
}

/// The problem of this check in which all these words are found, in what is wrong or in the remedy.
#[track_caller]
fn assert_problem(findings: &[Value], check: &str, words: &[&str]) {
    let found = findings.iter().any(|finding| {
        let text = format!("{} {}", finding["found"], finding["remedy"]);
        let is_it = finding["check"] == check && finding["level"] == "problem";
        is_it && words.iter().all(|word| text.contains(word))
    });
    assert!(found, "{check} with {words:?} is missing: {findings:#?}");
}

#[test]
fn a_container_that_is_well_needs_nobody_and_every_check_says_so() {
    for (options, state) in [
        (herm(), "down"),
        (herm().command(&["gateway", "run"]), "running"),
    ] {
        let container = Container::booted(&options);
        container.wait_states(&[("gateway-default", state)]);
        let all = look(&container);
        for check in CHECKS {
            let found = all.iter().any(|finding| finding["check"] == check);
            assert!(found, "{check} says nothing: {all:#?}");
        }
        assert!(
            all.iter().all(|finding| finding["level"] != "problem"),
            "{all:#?}"
        );
        let words = container.exec(&["herm", "doctor"]);
        assert!(words.succeeds().ends_with("Nothing needs you."), "{words}");
    }
}

#[test]
fn who_may_not_write_the_home_and_what_root_left_in_it_are_found() {
    let container = booted(&herm());
    let stranger = container.exec_with(&["--user=4242:4242"], &["herm", "doctor", "--json"], b"");
    let all = findings(&stranger);
    assert_problem(&all, "user", &["uid 10000's", "uid 4242", "as that user"]);
    assert_problem(&all, "home", &["can't be written", "HERMES_UID"]);
    let left = ["mkdir -p /opt/data/sessions/deep && touch /opt/data/sessions/deep/roots"];
    let root = [&["sh", "-c"][..], &left].concat();
    container.exec_root("root leaves a file", &root).succeeds();
    let words = ["sessions/deep", "herm setup"];
    assert_problem(&look(&container), "ownership", &words);
    container
        .exec_root("as the remedy says", &["herm", "setup"])
        .succeeds();
    assert!(
        look(&container)
            .iter()
            .all(|finding| finding["level"] != "problem")
    );
}

#[test]
fn a_read_only_home_is_named_and_so_is_one_that_is_full() {
    let volume = Volume::new();
    drop(booted(&herm().volume(&volume, "/opt/data")));
    let mount = format!("--volume={}:/opt/data:ro", volume.name());
    let container = herm().flag(&mount).run();
    container.wait_booted();
    assert_problem(
        &look(&container),
        "home",
        &["read-only", "mount it read-write"],
    );
    let little = herm().flag("--tmpfs=/opt/data:size=8m,uid=10000,gid=10000");
    assert_problem(
        &look(&booted(&little)),
        "disk",
        &["MiB are free", "free some space"],
    );
}

#[test]
fn ports_that_are_taken_or_wanted_twice_are_found_before_anything_is_started() {
    let container = booted(&herm());
    for name in ["a", "b"] {
        container
            .exec(&["herm", "profile", "create", name])
            .succeeds();
        let set = format!("printf 'API_SERVER_PORT=9777\\n' > /opt/data/profiles/{name}/.env");
        container.sh(&format!("umask 077; {set}")).succeeds();
    }
    let listen = "use IO::Socket::INET; my $s = IO::Socket::INET->new(LocalAddr => '127.0.0.1:9777', Listen => 1) \
                  or die; open my $up, '>', '/tmp/listens'; sleep";
    let listen = [
        "exec",
        "--detach",
        "--user=hermes",
        container.name(),
        "perl",
        "-e",
        listen,
    ];
    docker(&listen).succeeds();
    wait_until("somebody listens", || {
        container.sh("test -e /tmp/listens").is_success()
    });
    let all = look(&container);
    let both = [
        "'a' and 'b' need port 9777",
        "API_SERVER_PORT",
        "another one",
    ];
    assert_problem(&all, "claims", &both);
    assert_problem(&all, "ports", &["port 9777 of a", "perl", "another port"]);
}

#[test]
fn a_gateway_that_nobody_supervises_and_a_process_that_is_nobodys_are_found() {
    let container = booted(&herm());
    let name = container.name();
    let gateway = ["herm", "gateway", "run", "--no-supervise"];
    let detached = ["exec", "--detach", "--user=hermes", name];
    docker(&[&detached[..], &gateway].concat()).succeeds();
    let orphan = ["sh", "-c", "setsid sleep 54321 & true"];
    docker(&[&detached[..], &orphan].concat()).succeeds();
    wait_until("both run", || {
        let runs = |command| !container.processes(command).is_empty();
        runs("herm gateway run --no-supervise") && runs("sleep 54321")
    });
    wait_until("the gateway says who it is", || {
        container.sh("test -s /opt/data/gateway.pid").is_success()
    });
    let all = look(&container);
    assert_problem(&all, "processes", &["outside supervision", "gateway start"]);
    assert_problem(
        &all,
        "processes",
        &["sleep 54321", "belongs to no service", "kill "],
    );
    container.exec(&["herm", "gateway", "start"]).succeeds();
    let taken_over = look(&container);
    let stray = |finding: &Value| finding["found"].to_string().contains("outside supervision");
    assert!(!taken_over.iter().any(stray), "{taken_over:#?}");
}

#[test]
fn links_where_none_belong_open_secrets_and_a_clock_that_is_behind_are_found() {
    let container = booted(&herm());
    container
        .exec(&["herm", "profile", "create", "a"])
        .succeeds();
    let script = "cd /opt/data && rmdir profiles/a/plans && ln -s /tmp profiles/a/plans && \
                  ln -s /tmp profiles/elsewhere && echo X=1 > profiles/a/.env && \
                  chmod 644 profiles/a/.env && touch -d '+2 hours' logs/container-boot.log";
    container.sh(script).succeeds();
    let all = look(&container);
    assert_problem(
        &all,
        "links",
        &["profiles/a/plans is a symlink", "itself there"],
    );
    assert_problem(&all, "profiles", &["elsewhere is skipped"]);
    assert_problem(&all, "secrets", &["profiles/a/.env", "chmod 600"]);
    assert_problem(&all, "clock", &["the home was written to at", "NTP"]);
}

#[test]
fn what_failed_at_the_boot_or_is_parked_and_a_misspelt_setting_are_found() {
    let hook = "mkdir -p /etc/cont-init.d; printf '#!/bin/sh\\nexit 3\\n' > /etc/cont-init.d/10-bad; \
                chmod 755 /etc/cont-init.d/10-bad; exec /init sleep infinity";
    let options = herm().flag("--entrypoint=sh").command(&["-c", hook]);
    let container = booted(&options);
    container
        .sh("printf '[restart]\\nmax_dealy = 1\\n' > /opt/data/herm.toml")
        .succeeds();
    let spec =
        r#"{"name": "bad", "kind": "service", "argv": ["sh", "-c", "exit 78"], "initial": "up"}"#;
    let add = ["herm", "service", "add", "--file", "-"];
    container.exec_with_input(&add, spec.as_bytes());
    container.wait_states(&[("bad", "parked")]);
    let all = look(&container);
    assert_problem(
        &all,
        "setup",
        &["10-bad", "exit 3", "restart the container"],
    );
    assert_problem(&all, "settings", &["max_dealy", "restart.max_delay"]);
    assert_problem(&all, "services", &["bad", "78", "herm logs bad"]);
}
