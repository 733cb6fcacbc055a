//! Chapter 8: the variables and directories of s6-overlay, each as its images use it.

use herm_e2e::{Container, wait_until};

use crate::dropin::{image, root};

/// A container with these variables, whose main program stays.
fn with(variables: &[(&str, &str)]) -> Container {
    options(variables).command(&["sleep", "1000"]).run()
}

fn options(variables: &[(&str, &str)]) -> herm_e2e::Options {
    variables
        .iter()
        .fold(Container::of(image()), |options, (name, value)| {
            options.env(name, value)
        })
}

fn order(logs: &str, texts: &[&str]) {
    let places = texts.iter().map(|text| {
        logs.find(text)
            .unwrap_or_else(|| panic!("no {text:?} in {logs}"))
    });
    assert!(places.is_sorted(), "{texts:?} in {logs}");
}

#[test]
fn owners_and_modes_are_mended_before_the_scripts_run() {
    let container = with(&[]);
    wait_until("the boot is over", || container.logs().contains("web up"));
    let stat = |path: &str| root(&container, &format!("stat -c '%U %a' {path}"));
    assert_eq!(stat("/srv/web"), "nobody 750");
    assert_eq!(stat("/srv/web/page"), "nobody 640");
    assert_eq!(stat("/srv/web/.hidden"), "root 644");
    let logs = container.logs();
    assert!(logs.contains("apply /etc/fix-attrs.d/10-web"), "{logs}");
    assert!(logs.contains("init sees nobody's page"), "{logs}");
    let container = with(&[("S6_FIX_ATTRS_HIDDEN", "1"), ("S6_VERBOSITY", "1")]);
    wait_until("the boot is over", || container.logs().contains("web up"));
    assert_eq!(
        root(&container, "stat -c '%U %a' /srv/web/.hidden"),
        "nobody 640"
    );
    assert!(!container.logs().contains("apply /etc/fix-attrs.d"));
}

#[test]
fn the_hook_comes_first_and_its_failure_counts_where_it_is_to() {
    let run = |variables: &[(&str, &str)]| options(variables).command(&["true"]).run_to_end();
    let hooked = run(&[("S6_STAGE2_HOOK", "echo hooked ; first")]);
    hooked.exits(0);
    order(
        &format!("{}{}", hooked.stdout, hooked.stderr),
        &["hooked ; first", "init sees"],
    );
    let seven = ("S6_STAGE2_HOOK", "/etc/s6-overlay/scripts/seven");
    run(&[seven]).exits(0);
    run(&[seven, ("S6_BEHAVIOUR_IF_STAGE2_FAILS", "2")]).exits(7);
}

#[test]
fn a_profile_has_scripts_of_its_own() {
    let done = options(&[("S6_RUNTIME_PROFILE", "other")])
        .command(&["true"])
        .run_to_end();
    let output = format!("{}{}", done.stdout, done.stderr);
    assert!(output.contains("the other profile sees hi"), "{output}");
    assert!(!output.contains("init sees"), "{output}");
}

#[test]
fn a_service_that_fails_ends_the_boot_only_where_it_is_to() {
    let failing = ("MAYBE", "3");
    let run = |variables: &[(&str, &str)]| {
        options(variables)
            .command(&["sh", "-c", "echo the main program ran; exit 4"])
            .run_to_end()
    };
    run(&[failing]).exits(4);
    let stopped = run(&[failing, ("S6_BEHAVIOUR_IF_STAGE2_FAILS", "2")]);
    stopped.exits(1);
    assert!(!stopped.stdout.contains("the main program ran"));
    let late = [("SLOW", "1"), ("S6_CMD_WAIT_FOR_SERVICES_MAXTIME", "300")];
    let done = run(&late);
    done.exits(4);
    // On a busy machine others are late, too.
    let names_it = |line: &str| line.contains("not up within") && line.contains("slow");
    assert!(done.stderr.lines().any(names_it), "{}", done.stderr);
    let [slow, limit] = late;
    run(&[slow, limit, ("S6_BEHAVIOUR_IF_STAGE2_FAILS", "2")]).exits(2);
}

#[test]
fn words_are_put_in_front_of_the_main_program() {
    let done = options(&[("S6_CMD_ARG0", "env EXTRA=yes")])
        .command(&["sh", "-c", "echo extra=$EXTRA"])
        .run_to_end();
    assert!(done.stdout.contains("extra=yes"), "{}", done.stdout);
}

#[test]
fn signals_are_the_main_programs_alone_where_it_is_to_receive_them() {
    let container = options(&[("S6_CMD_RECEIVE_SIGNALS", "1")])
        .command(&[
            "sh",
            "-c",
            "trap 'echo caught it' TERM; trap 'exit 5' USR1; echo set; while :; do sleep 1; done",
        ])
        .run();
    wait_until("the traps are set", || container.logs().contains("set\n"));
    container.kill("TERM");
    wait_until("it is caught", || container.logs().contains("caught it"));
    assert!(root(&container, "s6-rc -a list").contains("web"));
    container.kill("USR1");
    assert_eq!(container.wait(), 5);
}

#[test]
fn halt_ends_a_container_whose_main_program_receives_the_signals() {
    let container = options(&[("S6_CMD_RECEIVE_SIGNALS", "1")])
        .command(&["sleep", "1000"])
        .run();
    wait_until("the boot is over", || container.logs().contains("web up"));
    root(
        &container,
        "echo 9 > /run/s6-linux-init-container-results/exitcode; halt",
    );
    assert_eq!(container.wait(), 9);
}

#[test]
fn graces_of_services_and_main_program_are_their_own() {
    // With the whole budget the test would never end.
    let container = options(&[
        ("DEAF", "1"),
        ("HERM_STOP_TIMEOUT", "3600"),
        ("S6_SERVICES_GRACETIME", "200"),
        ("S6_KILL_GRACETIME", "200"),
    ])
    .command(&[
        "sh",
        "-c",
        "trap '' TERM; echo main is up; while :; do sleep 1; done",
    ])
    .flag("--stop-timeout=600")
    .run();
    wait_until("both are up", || {
        let logs = container.logs();
        logs.contains("deaf is up") && logs.lines().any(|line| line == "main is up")
    });
    container.kill("TERM");
    assert_eq!(container.wait(), 137);
    let logs = container.logs();
    assert!(logs.contains("deaf: not gone within its grace"), "{logs}");
}

#[test]
fn the_catch_all_logger_keeps_what_everybody_writes() {
    let kept = "cat /run/uncaught-logs/current";
    let container = options(&[
        ("S6_LOGGING", "1"),
        ("S6_CATCHALL_USER", "nobody"),
        ("S6_LOGGING_SCRIPT", "n3 t"),
    ])
    .command(&["sh", "-c", "echo main was here; exec sleep 1000"])
    .run();
    wait_until("it is kept", || {
        let kept = root(&container, kept);
        kept.contains(" main was here") && kept.contains("web up") && kept.contains("init sees")
    });
    let text = root(&container, kept);
    assert!(text.lines().all(|line| line.starts_with('@')), "{text}");
    assert!(container.logs().contains("\nmain was here\n"));
    assert_eq!(
        root(&container, "stat -c '%U %a' /run/uncaught-logs"),
        "nobody 2750"
    );
    let container = options(&[("S6_LOGGING", "2")])
        .command(&["sh", "-c", "echo main was here; exec sleep 1000"])
        .run();
    wait_until("it is kept", || {
        root(&container, kept).contains("main was here")
    });
    assert_eq!(container.logs().trim(), "");
    // Whoever kills it loses nothing.
    root(
        &container,
        "for p in /proc/[0-9]*; do grep -qz '^s6-log' $p/cmdline && kill -9 ${p#/proc/}; done",
    );
    root(&container, "echo after its death > /proc/1/fd/1");
    wait_until("another one goes on", || {
        root(&container, kept).contains("after its death")
    });
    root(
        &container,
        "echo 6 > /run/s6-linux-init-container-results/exitcode; halt",
    );
    assert_eq!(container.wait(), 6);
}

#[test]
fn the_main_programs_output_is_its_terminals_where_it_is_asked_for() {
    let on_a_terminal = |variables: &[(&str, &str)]| {
        // Cut in two where they are told to the shell: the boot prints the command line.
        let line = "test -t 1 && echo on a termin''al; echo main was he''re; read line; exit 3";
        options(variables)
            .command(&["sh", "-c", line])
            .run_in_terminal()
    };
    let (_container, mut terminal) =
        on_a_terminal(&[("S6_LOGGING", "2"), ("S6_CMD_USE_TERMINAL", "1")]);
    terminal.wait_for("on a terminal");
    terminal.wait_for("main was here");
    terminal.type_in("\r");
    assert_eq!(terminal.exit_code(), Some(3));
    // Without it the logger has it all.
    let (container, mut terminal) = on_a_terminal(&[("S6_LOGGING", "2")]);
    wait_until("it is kept", || {
        root(&container, "cat /run/uncaught-logs/current").contains("main was here")
    });
    assert!(!root(&container, "cat /run/uncaught-logs/current").contains("on a terminal"));
    terminal.type_in("\r");
    assert_eq!(terminal.exit_code(), Some(3));
}

#[test]
fn a_script_of_the_end_that_hangs_has_the_time_that_its_variable_says() {
    // With the whole budget the test would never end.
    let container = options(&[
        ("HERM_STOP_TIMEOUT", "3600"),
        ("S6_KILL_FINISH_MAXTIME", "200"),
        ("S6_SYNC_DISKS", "1"),
    ])
    .command(&[
        "sh",
        "-c",
        "trap 'exit 4' TERM; while :; do sleep 0.1; done",
    ])
    .flag("--stop-timeout=600")
    .run();
    wait_until("the boot is over", || container.logs().contains("web up"));
    root(
        &container,
        "printf '#!/bin/sh\\nexec sleep 3600\\n' >/etc/cont-finish.d/00-hangs; chmod +x /etc/cont-finish.d/00-hangs",
    );
    container.kill("TERM");
    assert_eq!(container.wait(), 4);
    let logs = container.logs();
    assert!(
        logs.contains("00-hangs was not done within 200ms, and is killed"),
        "{logs}"
    );
}
