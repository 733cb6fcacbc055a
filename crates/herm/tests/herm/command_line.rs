//! What needs no supervisor: help, exit codes, names, archives, pages.

use std::fs;
use std::io::Read as _;
use std::process::Stdio;

use crate::support::TestHome;

#[test]
fn every_command_has_help_with_an_example() {
    let home = TestHome::new();
    for command in [
        "",
        "up",
        "profile",
        "profile create",
        "profile list",
        "profile show",
        "profile rename",
        "profile delete",
        "profile export",
        "profile import",
        "gateway",
        "gateway run",
        "gateway start",
        "gateway stop",
        "gateway restart",
        "gateway status",
        "gateway list",
        "gateway logs",
        "gateway install",
        "gateway uninstall",
        "status",
        "logs",
        "events",
        "why",
        "service",
        "service list",
        "service status",
        "service start",
        "service stop",
        "service restart",
        "service signal",
        "service wait",
        "service add",
        "service remove",
        "service env",
        "service reexec",
        "reconcile",
        "doctor",
        "shutdown",
        "completions",
        "man",
    ] {
        let mut args: Vec<&str> = command.split_whitespace().collect();
        args.push("--help");
        let help = home.ok(&args).stdout;
        assert!(help.contains("Examples:\n  herm"), "herm {command}: {help}");
        assert!(!help.contains('\x1b'), "herm {command}: colours in a pipe");
    }
}

#[test]
fn bad_names_are_usage_errors_and_leave_nothing_behind() {
    let home = TestHome::new();
    fs::create_dir(home.path()).unwrap();
    let long = "x".repeat(300);
    for name in [
        "../x",
        "-rf",
        "A B",
        "",
        "a/b",
        ".",
        "default",
        long.as_str(),
    ] {
        let outcome = home.run(&["profile", "create", name]);
        assert_eq!(outcome.code, Some(2), "{name:?}: {outcome:?}");
        assert!(outcome.stderr.starts_with("herm: "), "{outcome:?}");
        assert!(!outcome.stderr.contains("os error"), "{outcome:?}");
    }
    let profiles = fs::read_dir(home.path().join("profiles"));
    assert_eq!(profiles.map_or(0, Iterator::count), 0);
}

#[test]
fn a_name_is_trimmed_and_lower_cased_at_the_edge() {
    let home = TestHome::new();
    fs::create_dir(home.path()).unwrap();
    home.ok(&["profile", "create", " Writer "]);
    assert!(home.path().join("profiles/writer/SOUL.md").exists());
    let again = home.run(&["profile", "create", "writer"]);
    assert_eq!(again.code, Some(1), "{again:?}");
}

#[test]
fn an_unknown_profile_is_4_with_the_names_that_exist_and_the_nearest() {
    let home = TestHome::new();
    fs::create_dir(home.path()).unwrap();
    home.ok(&["profile", "create", "writer"]);
    for args in [
        &["-p", "wirter", "gateway", "start"][..],
        &["-p", "wirter", "gateway", "status"],
        &["profile", "show", "wirter"],
        &["profile", "delete", "-y", "wirter"],
        &["profile", "export", "wirter", "-o", "/nonexistent/x"],
        &["profile", "rename", "wirter", "x"],
    ] {
        let outcome = home.run(args);
        assert_eq!(outcome.code, Some(4), "{args:?}: {outcome:?}");
        assert!(
            outcome.stderr.contains("did you mean 'writer'"),
            "{args:?}: {outcome:?}"
        );
        assert!(
            outcome.stderr.contains("default, writer"),
            "{args:?}: {outcome:?}"
        );
    }
}

#[test]
fn without_a_supervisor_status_says_so_and_orders_are_recorded() {
    let home = TestHome::new();
    fs::create_dir(home.path()).unwrap();
    home.ok(&["profile", "create", "writer"]);
    for args in [
        &["status"][..],
        &["gateway", "status"],
        &["gateway", "list"],
    ] {
        let outcome = home.run(args);
        assert_eq!(outcome.code, Some(3), "{args:?}: {outcome:?}");
        assert!(
            outcome.stderr.contains("herm up"),
            "the next step: {outcome:?}"
        );
    }
    assert_eq!(home.run(&["status", "--json"]).code, Some(3));
    let started = home.run(&["-p", "writer", "gateway", "start"]);
    assert_eq!(started.code, Some(3), "nothing runs now: {started:?}");
    let record = home.path().join("profiles/writer/.herm/desired.json");
    assert!(fs::read_to_string(&record).unwrap().contains("\"running\""));
    home.ok(&["-p", "writer", "gateway", "stop"]);
    assert!(fs::read_to_string(&record).unwrap().contains("\"stopped\""));
}

#[test]
fn usage_errors_are_2() {
    let home = TestHome::new();
    for args in [
        &["nonsense"][..],
        &["profile"],
        &["gateway", "start", "--timeout", "soon"],
        &["gateway", "start", "--no-wait", "--timeout", "3"],
        &["profile", "create", "a", "--clone", "--no-skills"],
        &["logs", "--since", "whenever"],
        &["service", "add", "x"],
    ] {
        let outcome = home.run(args);
        assert_eq!(outcome.code, Some(2), "{args:?}: {outcome:?}");
    }
}

#[test]
fn an_unknown_setting_is_bad_configuration_and_names_the_nearest() {
    let home = TestHome::new();
    fs::create_dir(home.path()).unwrap();
    fs::write(home.path().join("herm.toml"), "[gateway]\ncomand = ['x']\n").unwrap();
    let outcome = home.run(&["gateway", "run", "--no-supervise"]);
    assert_eq!(outcome.code, Some(78), "{outcome:?}");
    assert!(outcome.stderr.contains("'gateway.command'"), "{outcome:?}");
}

#[test]
fn a_profile_travels_in_an_archive_without_its_secrets() {
    let home = TestHome::new();
    fs::create_dir(home.path()).unwrap();
    home.ok(&["profile", "create", "writer", "--description", "writes"]);
    fs::write(
        home.path().join("profiles/writer/.env"),
        "TELEGRAM_BOT_TOKEN=secret\n",
    )
    .unwrap();
    let archive = home.path().join("w.tar.gz");
    let archive = archive.to_str().unwrap();
    home.ok(&["profile", "export", "writer", "-o", archive]);
    home.ok(&["profile", "import", archive, "--name", "copy"]);
    let shown = home.json(&["profile", "show", "copy", "--json"]);
    assert_eq!(shown["description"], "writes");
    assert_eq!(shown["tokens"], serde_json::json!([]));

    let bytes = fs::read(archive).unwrap();
    fs::write(archive, &bytes[..bytes.len() / 2]).unwrap();
    let half = home.run(&["profile", "import", archive, "--name", "half"]);
    assert_eq!(half.code, Some(1), "{half:?}");
    assert!(!home.path().join("profiles/half").exists());
}

#[test]
fn deleting_asks_and_can_be_repeated() {
    let home = TestHome::new();
    fs::create_dir(home.path()).unwrap();
    home.ok(&["profile", "create", "writer"]);
    let asked = home.run(&["profile", "delete", "writer"]);
    assert_eq!(asked.code, Some(2), "there is nobody to ask: {asked:?}");
    let interrupted = home.path().join("profiles/writer/.herm");
    fs::create_dir_all(&interrupted).unwrap();
    fs::write(interrupted.join("deleting"), "2026-11-20T20:00:00Z").unwrap();
    home.ok(&["profile", "delete", "-y", "writer"]);
    assert!(!home.path().join("profiles/writer").exists());
    assert_eq!(
        home.run(&["profile", "delete", "-y", "default"]).code,
        Some(2)
    );
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let home = TestHome::new();
    let mut child = home
        .command(&["completions", "zsh"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let mut said = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert_eq!(said, "");
}

#[test]
fn completions_and_pages_name_every_family() {
    let home = TestHome::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = home.ok(&["completions", shell]).stdout;
        assert!(
            script.contains("profile") && script.contains("reconcile"),
            "{shell}"
        );
    }
    let dir = home.path().join("man");
    home.ok(&["man", "--dir", dir.to_str().unwrap()]);
    assert!(dir.join("herm-gateway-start.1").exists());
}

#[test]
fn called_hermes_it_answers_the_agents_words_and_only_them() {
    let home = TestHome::new();
    fs::create_dir(home.path()).unwrap();
    let hermes = home.path().join("hermes");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_herm"), &hermes).unwrap();
    let run = |args: &[&str]| {
        let mut command = std::process::Command::new(&hermes);
        command
            .env("HERMES_HOME", home.path())
            .args(args)
            .output()
            .unwrap()
    };
    assert_eq!(run(&["profile", "create", "writer"]).status.code(), Some(0));
    assert_eq!(
        run(&["-p", "writer", "gateway", "status"]).status.code(),
        Some(3)
    );
    assert_eq!(run(&["status"]).status.code(), Some(2));
}

#[test]
fn the_doctor_finds_what_is_wrong_where_nobody_supervises_and_names_the_remedy() {
    let home = TestHome::new();
    fs::create_dir_all(home.path()).unwrap();
    home.ok(&["profile", "create", "a"]);
    home.ok(&["profile", "create", "b"]);
    let well = home.json(&["doctor", "--json"]);
    assert_eq!(well["problems"], 0, "{well}");
    for name in ["a", "b"] {
        let dotenv = home.path().join(format!("profiles/{name}/.env"));
        fs::write(
            &dotenv,
            "DISCORD_BOT_TOKEN=very-secret\nAPI_SERVER_PORT=9999\n",
        )
        .unwrap();
    }
    let config = home.path().join("profiles/a/config.yaml");
    fs::write(&config, "model: [\n").unwrap();
    fs::remove_dir_all(home.path().join("profiles/b/plans")).unwrap();
    std::os::unix::fs::symlink("/tmp", home.path().join("profiles/b/plans")).unwrap();
    std::os::unix::fs::symlink("/tmp", home.path().join("profiles/c")).unwrap();
    fs::write(home.path().join("herm.toml"), "[restart]\nmax_dealy = 1\n").unwrap();
    let outcome = home.run(&["doctor", "--json"]);
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    assert!(!outcome.stdout.contains("very-secret"), "{outcome:?}");
    let report: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    let findings = report["findings"].as_array().unwrap();
    let problems: Vec<&serde_json::Value> = findings
        .iter()
        .filter(|finding| finding["level"] == "problem")
        .collect();
    for (check, word) in [
        ("settings", "restart.max_delay"),
        ("profiles", "config.yaml"),
        ("profiles", "c is skipped"),
        ("links", "profiles/b/plans"),
        ("secrets", "profiles/a/.env"),
    ] {
        let found = |problem: &&&serde_json::Value| {
            problem["check"] == check && problem["found"].as_str().unwrap().contains(word)
        };
        let problem = problems.iter().find(found);
        let problem = problem.unwrap_or_else(|| panic!("no {check}: {word} in {report:#}"));
        assert!(
            problem["remedy"]
                .as_str()
                .is_some_and(|remedy| !remedy.is_empty())
        );
    }
    assert_eq!(report["problems"], problems.len());
    fs::remove_file(home.path().join("herm.toml")).unwrap();
    let words = home.run(&["doctor"]);
    assert!(
        words
            .stdout
            .contains("'a' and 'b' need the same DISCORD_BOT_TOKEN"),
        "{words:?}"
    );
    assert!(
        words.stdout.contains("'a' and 'b' need port 9999"),
        "{words:?}"
    );
}
