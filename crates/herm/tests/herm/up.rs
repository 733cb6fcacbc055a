//! `herm up` with the built-in gateway, as the README's first minutes go.

use std::fs;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{HANG_GUARD, TestHome, health, turn};

const ANSWERS: &str = "default answers at http://127.0.0.1:";

#[test]
fn the_whole_thing_in_the_foreground_and_the_same_again() {
    let home = TestHome::new();
    let mut up = home.up();
    assert!(
        up.line_with("home ")
            .contains(home.path().to_str().unwrap())
    );
    up.line_with(ANSWERS);
    let default = home.service("gateway-default");
    assert_eq!(health(default["port"].as_u64().unwrap()), 200);

    home.ok(&["profile", "create", "writer"]);
    assert_eq!(
        home.service("gateway-writer")["state"],
        "down",
        "creating is no order"
    );
    home.ok(&["-p", "writer", "gateway", "start"]);
    let writer = home.service("gateway-writer");
    assert_eq!(health(writer["port"].as_u64().unwrap()), 200);
    home.ok(&["profile", "create", "idle"]);
    home.ok(&["gateway", "stop"]);
    home.ok(&["reconcile"]);
    let marker = home.path().join(".gateway-planned-stop.json");
    assert!(!marker.exists(), "the stop is done");

    let second = home.run(&["up"]);
    assert_eq!(second.code, Some(1), "{second:?}");
    assert!(second.stderr.contains("supervised already"), "{second:?}");

    assert_eq!(up.ctrl_c(), Some(0));
    assert_eq!(home.run(&["status"]).code, Some(3));

    let mut up = home.up();
    up.line_with("writer answers at http://127.0.0.1:");
    assert_eq!(
        home.service("gateway-writer")["port"],
        writer["port"],
        "the port stays"
    );
    assert_eq!(
        home.service("gateway-default")["desired"],
        "down",
        "the stop holds"
    );
    assert_eq!(home.service("gateway-idle")["desired"], "down");
    up.ctrl_c();
}

#[test]
fn it_ends_with_its_terminal_unless_it_was_told_to_outlive_it() {
    let home = TestHome::new();
    let mut up = home.up();
    up.line_with(ANSWERS);
    assert_eq!(up.sent(Signal::HUP), Some(0));
    assert_eq!(home.run(&["status"]).code, Some(3));

    let mut up = home.up_under_nohup();
    up.line_with(ANSWERS);
    up.send(Signal::HUP);
    // Signals come before what a client asks, so an answer shows that it was passed over.
    home.ok(&["gateway", "stop"]);
    assert_eq!(up.ctrl_c(), Some(0));
}

#[test]
fn l01_power_loss_brings_back_what_was_wanted_whatever_the_gateway_wrote() {
    let home = TestHome::new();
    let mut up = home.up();
    up.line_with(ANSWERS);
    home.ok(&["profile", "create", "writer"]);
    home.ok(&["-p", "writer", "gateway", "start"]);
    home.ok(&["gateway", "stop"]);
    up.power_loss();
    let state = home.path().join("profiles/writer/gateway_state.json");
    fs::write(
        state,
        r#"{"gateway_state":"stopped","desired_state":"stopped"}"#,
    )
    .unwrap();

    let mut up = home.up();
    up.line_with("writer answers");
    assert_eq!(home.service("gateway-default")["desired"], "down");
    let log = fs::read_to_string(home.path().join("logs/container-boot.log")).unwrap();
    assert!(
        log.contains("profile=writer prior_state=running action=started"),
        "{log}"
    );
    assert!(
        log.contains("profile=default prior_state=stopped action=registered"),
        "{log}"
    );
    up.ctrl_c();
}

#[test]
fn l04_a_directory_made_by_hand_is_a_profile_at_once_and_no_more_when_it_goes() {
    let home = TestHome::new();
    let mut up = home.up();
    up.line_with(ANSWERS);
    let dir = home.path().join("profiles/hand");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("SOUL.md"), "I was made by hand.").unwrap();
    home.ok(&[
        "service",
        "wait",
        "gateway-hand",
        "registered",
        "--timeout",
        "60s",
    ]);
    home.ok(&["-p", "hand", "gateway", "start"]);
    home.ok(&["-p", "hand", "gateway", "stop"]);
    // What the keeper writes in it, it has written then.
    home.ok(&["reconcile"]);
    fs::remove_dir_all(&dir).unwrap();
    home.ok(&[
        "service",
        "wait",
        "gateway-hand",
        "gone",
        "--timeout",
        "60s",
    ]);
    up.ctrl_c();
}

#[test]
fn l10_a_failed_start_shows_its_last_words_parks_and_wakes_on_other_inputs() {
    let home = TestHome::new();
    let mut up = home.up();
    up.line_with(ANSWERS);
    home.ok(&["profile", "create", "writer"]);
    let dotenv = home.path().join("profiles/writer/.env");
    fs::write(&dotenv, "API_SERVER_PORT=nonsense\n").unwrap();
    let failed = home.run(&["-p", "writer", "gateway", "start"]);
    assert_eq!(failed.code, Some(1), "{failed:?}");
    assert!(failed.stderr.contains("exit 78"), "{failed:?}");
    let why = home.ok(&["why", "writer"]).stdout;
    assert!(why.starts_with("writer is parked: "), "{why}");
    let last_line = why.lines().nth(1).unwrap_or_default();
    assert!(last_line.contains("API_SERVER_PORT"), "{why}");
    fs::write(&dotenv, "\n").unwrap();
    home.ok(&["service", "wait", "writer", "ready", "--timeout", "10s"]);
    up.ctrl_c();
}

#[test]
fn l07_all_goes_through_the_supervisor_and_nothing_comes_back() {
    let home = TestHome::new();
    let mut up = home.up();
    up.line_with(ANSWERS);
    home.ok(&["profile", "create", "writer"]);
    let started = home.json(&["gateway", "start", "--all", "--json"]);
    assert_eq!(started.as_array().unwrap().len(), 2);
    let stopped = home.json(&["gateway", "stop", "--all", "--json"]);
    for service in stopped.as_array().unwrap() {
        assert_eq!(service["state"], "down", "{service}");
    }
    home.ok(&["reconcile"]);
    let services = home.json(&["gateway", "list", "--json"]);
    for service in services.as_array().unwrap() {
        assert_eq!(service["state"], "down", "{service}");
    }
    up.ctrl_c();
}

#[test]
fn an_order_holds_however_fast_the_next_one_comes() {
    let home = TestHome::new();
    let mut up = home.up();
    up.line_with(ANSWERS);
    home.ok(&["profile", "create", "writer"]);
    for _ in 0..10 {
        home.ok(&["-p", "writer", "gateway", "start"]);
        assert_eq!(home.service("gateway-writer")["state"], "running");
        home.ok(&["-p", "writer", "gateway", "stop"]);
        assert_eq!(home.service("gateway-writer")["state"], "down");
    }
    up.ctrl_c();
}

#[test]
fn settings_nobody_can_read_are_told_to_whoever_asks_for_a_pass() {
    let home = TestHome::new();
    let mut up = home.up();
    up.line_with(ANSWERS);
    fs::write(home.path().join("herm.toml"), "[gateway]\nx = 1\n").unwrap();
    let reconcile = home.run(&["reconcile"]);
    assert_eq!(reconcile.code, Some(78), "{reconcile:?}");
    assert!(reconcile.stderr.contains("gateway.x"), "{reconcile:?}");
    fs::remove_file(home.path().join("herm.toml")).unwrap();
    home.ok(&["reconcile"]);
    up.ctrl_c();
}

#[test]
fn a_service_that_is_added_and_does_not_start_is_a_failure() {
    let home = TestHome::new();
    let mut up = home.up();
    up.line_with(ANSWERS);
    let added = home.run(&["service", "add", "bad", "--start", "--", "/nonexistent"]);
    assert_eq!(added.code, Some(1), "{added:?}");
    assert!(added.stderr.contains("can't start bad"), "{added:?}");
    assert!(!added.stderr.contains("os error"), "{added:?}");
    let unknown = home.run(&["why", "badd"]);
    assert_eq!(unknown.code, Some(4), "{unknown:?}");
    assert!(
        unknown.stderr.contains("did you mean \"bad\""),
        "{unknown:?}"
    );
    assert!(!added.stdout.contains("supervised"), "{added:?}");
    home.ok(&[
        "service",
        "add",
        "good",
        "--start",
        "--",
        "/bin/sleep",
        "600",
    ]);
    assert_eq!(home.service("good")["state"], "running");
    up.ctrl_c();
}

#[test]
fn l14_a_port_that_another_profile_holds_is_refused_and_the_holder_is_named() {
    let home = TestHome::new();
    let mut up = home.up();
    up.line_with(ANSWERS);
    let port = home.service("gateway-default")["port"].as_u64().unwrap();
    home.ok(&["profile", "create", "writer"]);
    let dotenv = home.path().join("profiles/writer/.env");
    fs::write(dotenv, format!("API_SERVER_PORT={port}\n")).unwrap();
    let refused = home.run(&["-p", "writer", "gateway", "start"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(
        refused.stderr.contains("which profile 'default' holds"),
        "{refused:?}"
    );
    assert_eq!(home.service("gateway-default")["state"], "running");
    up.ctrl_c();
}

#[test]
fn a_renamed_profile_keeps_running_and_a_deleted_one_is_gone() {
    let home = TestHome::new();
    let mut up = home.up();
    up.line_with(ANSWERS);
    home.ok(&["profile", "create", "writer"]);
    home.ok(&["-p", "writer", "gateway", "start"]);
    home.ok(&["profile", "rename", "writer", "author"]);
    home.ok(&["service", "wait", "author", "ready", "--timeout", "60s"]);
    assert!(home.service("gateway-writer").is_null());
    home.ok(&["profile", "delete", "-y", "author"]);
    assert!(home.service("gateway-author").is_null());
    assert!(!home.path().join("profiles/author").exists());
    up.ctrl_c();
}

#[test]
fn a_renaming_that_is_killed_at_any_moment_leaves_the_gateway_running_under_one_name() {
    let home = TestHome::new();
    let mut up = home.up();
    up.line_with(ANSWERS);
    home.ok(&["profile", "create", "a"]);
    home.ok(&["-p", "a", "gateway", "start"]);
    let there = || {
        let names = ["a", "b"].map(|name| home.path().join("profiles").join(name).exists());
        match names {
            [true, false] => ("a", "b"),
            [false, true] => ("b", "a"),
            other => panic!("{other:?}"),
        }
    };
    for moment in 0..8 {
        let (from, to) = there();
        let mut renaming = home
            .command(&["profile", "rename", from, to])
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(moment * 12));
        renaming.kill().unwrap();
        renaming.wait().unwrap();
        home.ok(&["reconcile"]);
        let (name, gone) = there();
        // What PID 1 was asked before may end after the keeper's look; it hears of that, and looks again.
        for (name, state) in [(name, "registered"), (gone, "gone")] {
            let gateway = format!("gateway-{name}");
            home.ok(&["service", "wait", &gateway, state, "--timeout", "60s"]);
        }
        home.ok(&["service", "wait", name, "ready", "--timeout", "60s"]);
        let service = home.service(&format!("gateway-{name}"));
        assert_eq!(service["desired"], "up", "{service}");
        assert!(home.service(&format!("gateway-{gone}")).is_null());
        assert!(
            !home
                .path()
                .join("profiles")
                .join(name)
                .join(".herm/renaming.json")
                .exists()
        );
        let logs = home.path().join("logs/gateways");
        assert!(logs.join(name).exists() && !logs.join(gone).exists());
    }
    up.ctrl_c();
}

#[test]
fn an_automatic_port_that_was_taken_meanwhile_is_chosen_anew_and_then_stays() {
    let home = TestHome::new();
    let mut up = home.up();
    up.line_with(ANSWERS);
    home.ok(&["profile", "create", "writer"]);
    let start = |profile: &str| {
        home.ok(&["-p", profile, "gateway", "start"]);
        let service = home.service(&format!("gateway-{profile}"));
        let port = service["port"].as_u64().unwrap();
        assert_eq!(health(port), 200, "{service}");
        port
    };
    let first = start("writer");
    home.ok(&["-p", "writer", "gateway", "stop"]);

    // Another profile asks for it by name.
    home.ok(&["profile", "create", "other"]);
    let dotenv = home.path().join("profiles/other/.env");
    fs::write(dotenv, format!("API_SERVER_PORT={first}\n")).unwrap();
    assert_eq!(start("other"), first);
    let second = start("writer");
    assert_ne!(second, first);
    home.ok(&["-p", "writer", "gateway", "restart"]);
    assert_eq!(
        home.service("gateway-writer")["port"].as_u64(),
        Some(second)
    );

    // A program that is none of ours listens there, when it starts and when all comes up again.
    home.ok(&["-p", "writer", "gateway", "stop"]);
    let listener = |port: u64| TcpListener::bind(("127.0.0.1", u16::try_from(port).unwrap()));
    let _taken = listener(second).unwrap();
    let third = start("writer");
    assert!(third != second && third != first);
    up.ctrl_c();
    let _taken = listener(third).unwrap();
    let mut up = home.up();
    up.line_with("writer answers at http://127.0.0.1:");
    let fourth = home.service("gateway-writer")["port"].as_u64().unwrap();
    assert_ne!(fourth, third);
    assert_eq!(health(fourth), 200);
    up.ctrl_c();
}

#[test]
fn rotated_logs_are_compressed_where_that_is_asked_for_and_read_like_the_others() {
    let home = TestHome::new();
    fs::create_dir(home.path()).unwrap();
    let script = "for n in $(seq 400); do echo line $n; done; exec sleep 1000";
    let settings = format!(
        "[gateway]\ncommand = ['/bin/sh', '-c', '{script}']\n\
         [log]\ncompress = true\nmax_bytes = 4096\nmax_files = 20\n"
    );
    fs::write(home.path().join("herm.toml"), settings).unwrap();
    let up = home.up();
    let log = home.path().join("logs/gateways/default");
    let rotated = || -> Vec<bool> {
        let names = fs::read_dir(&log).into_iter().flatten();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let rotated = names.filter(|name| name != "current" && !name.starts_with('.'));
        rotated.map(|name| name.ends_with(".log.gz")).collect()
    };
    let began = Instant::now();
    let is_written =
        || fs::read_to_string(log.join("current")).is_ok_and(|text| text.ends_with("line 400\n"));
    // Nobody is told of a log that was compressed: it is only there.
    while !is_written() || rotated().len() < 3 || rotated().contains(&false) {
        assert!(began.elapsed() < HANG_GUARD, "{:?}", rotated());
        std::thread::sleep(Duration::from_millis(20));
    }
    let lines = home.ok(&["logs", "-n", "1000", "default"]).stdout;
    let shown: Vec<&str> = lines
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(_, text)| text)
        .collect();
    let written: Vec<String> = (1..=400).map(|n| format!("line {n}")).collect();
    assert_eq!(shown, written);
    up.ctrl_c();
}

#[test]
fn logs_and_environment_are_told_with_their_origin() {
    let home = TestHome::new();
    let mut up = home.up_with("HERMES_DASHBOARD_BASIC_AUTH_PASSWORD", "correct horse");
    up.line_with(ANSWERS);
    let log = home.ok(&["logs", "default", "-n", "50"]).stdout;
    assert!(log.contains("listening on 127.0.0.1:"), "{log}");
    let entries = home.json(&["service", "env", "default", "--json"]);
    let of = |name: &str| {
        entries
            .as_array()
            .unwrap()
            .iter()
            .find(|e| e["name"] == name)
            .cloned()
            .unwrap()
    };
    assert_eq!(of("HERMES_HOME")["value"], home.path().to_str().unwrap());
    assert_eq!(of("HERMES_HOME")["origin"], "herm: gateway launch");
    assert_eq!(of("PATH")["origin"], "container");
    let kept = of("HERMES_DASHBOARD_BASIC_AUTH_PASSWORD");
    assert_eq!(
        (&kept["value"], &kept["origin"]),
        (
            &Value::Null,
            &"container; the dashboard's login is not given to gateways".into()
        )
    );
    let pid = home.service("gateway-default")["pid"].as_u64().unwrap();
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap();
    assert!(!String::from_utf8_lossy(&environment).contains("correct horse"));
    up.ctrl_c();
}

#[test]
fn l12_a_gateway_started_elsewhere_is_reported_and_taken_over_on_start() {
    let home = TestHome::new();
    fs::create_dir(home.path()).unwrap();
    home.ok(&["profile", "create", "writer"]);
    let recorded = home.run(&["-p", "writer", "gateway", "start"]);
    assert_eq!(recorded.code, Some(3), "{recorded:?}");
    let turn = turn();
    let mut elsewhere = home.gateway_in_the_foreground("writer");

    let mut up = home.up_in(turn);
    up.line_with("outside supervision");
    let writer = home.service("gateway-writer");
    assert_eq!(writer["desired"], "down", "it is not fought with: {writer}");
    let why = home.ok(&["why", "writer"]).stdout;
    assert!(why.contains(&format!("pid {}", elsewhere.id())), "{why}");

    home.ok(&["-p", "writer", "gateway", "start"]);
    elsewhere.wait().unwrap();
    let writer = home.service("gateway-writer");
    assert_eq!(writer["state"], "running");
    assert_eq!(health(writer["port"].as_u64().unwrap()), 200);
    up.ctrl_c();
}

#[test]
fn l25_root_acts_as_the_user_who_owns_the_home() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can act as somebody else");
        return;
    }
    let home = TestHome::of_user(12_345);
    let mut up = home.up_as(12_345);
    up.line_with(ANSWERS);
    home.ok(&["profile", "create", "writer"]);
    home.ok(&["-p", "writer", "gateway", "start"]);
    home.ok(&["-p", "writer", "gateway", "stop"]);
    assert_eq!(home.files_not_of(12_345), Vec::<std::path::PathBuf>::new());
    let archive = tempfile::tempdir().unwrap();
    let file = archive.path().join("w.tar.gz");
    home.ok(&["profile", "export", "writer", "-o", file.to_str().unwrap()]);
    let owner = std::os::unix::fs::MetadataExt::uid(&fs::metadata(&file).unwrap());
    assert_eq!(owner, 0, "what root named for output is root's");
    home.ok(&["--as-root", "profile", "create", "roots"]);
    assert!(!home.files_not_of(12_345).is_empty());
    up.ctrl_c();
}

#[test]
fn l25_root_runs_no_program_that_the_homes_user_chose() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can act as somebody else");
        return;
    }
    let home = TestHome::of_user(12_345);
    let settings = "[gateway]\ncommand = [\"/bin/sh\", \"-c\", \"id -u\"]\n";
    fs::write(home.path().join("herm.toml"), settings).unwrap();
    let ran = home.ok(&["gateway", "run", "--no-supervise"]);
    assert_eq!(ran.stdout.trim(), "12345");
    let secret = tempfile::tempdir().unwrap();
    let secret = secret.path().join("secret");
    fs::write(&secret, "root's").unwrap();
    let link = home.path().join("out.tar.gz");
    std::os::unix::fs::symlink(&secret, &link).unwrap();
    let refused = home.run(&["profile", "export", "default", "-o", link.to_str().unwrap()]);
    assert_ne!(refused.code, Some(0), "{refused:?}");
    assert_eq!(fs::read_to_string(&secret).unwrap(), "root's");
}

#[test]
fn a_new_supervisor_and_a_new_keeper_go_on_where_the_old_ones_were() {
    let home = TestHome::new();
    let mut up = home.up();
    up.line_with(ANSWERS);
    home.ok(&["profile", "create", "writer"]);
    let before = home.service("gateway-default");
    home.ok(&["service", "reexec"]);
    home.ok(&["reconcile"]);
    assert_eq!(
        home.service("gateway-default")["pid"],
        before["pid"],
        "no service is restarted"
    );
    home.ok(&["-p", "writer", "gateway", "start"]);
    home.ok(&["service", "signal", "keeper", "KILL"]);
    home.ok(&["reconcile"]);
    home.ok(&["gateway", "stop"]);
    let record = fs::read_to_string(home.path().join(".herm/desired.json")).unwrap();
    assert!(record.contains("\"stopped\""), "{record}");
    assert_eq!(home.service("gateway-writer")["state"], "running");
    up.ctrl_c();
}

#[test]
fn l05_corrupt_files_are_set_aside_and_harm_nobody_else() {
    let home = TestHome::new();
    fs::create_dir(home.path()).unwrap();
    for name in ["broken", "writer"] {
        home.ok(&["profile", "create", name]);
        home.run(&["-p", name, "gateway", "start"]);
    }
    fs::write(
        home.path().join("profiles/broken/.herm/desired.json"),
        "{\"state\": \"runn",
    )
    .unwrap();
    fs::write(home.path().join("profiles/broken/config.yaml"), "a: [").unwrap();
    let mut up = home.up();
    up.line_with("desired.json.corrupt-");
    up.line_with("writer answers");
    assert_eq!(home.service("gateway-broken")["desired"], "down");
    home.ok(&["profile", "create", "another"]);
    up.ctrl_c();
}
