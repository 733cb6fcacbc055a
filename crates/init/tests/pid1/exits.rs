//! The main program: its exit code is ours, its signals are forwarded, its end is the end.

use std::os::unix::process::ExitStatusExt as _;

use herm_wire::Op;

use crate::world::{World, lives, shell, sleeper};

#[test]
fn l43_every_exit_code_of_the_main_program_is_the_container_s() {
    for code in 0..=255_u32 {
        let script = format!("exit {code}");
        let mut world = World::with(&["/bin/sh", "-c", &script], &[("HERM_LOG", "warn")]);
        assert_eq!(
            world.wait().code(),
            Some(i32::try_from(code).unwrap()),
            "{}",
            world.said()
        );
    }
}

#[test]
fn l43_every_signal_that_kills_the_main_program_shows_as_128_and_its_number() {
    for signal in [1, 2, 3, 4, 6, 8, 9, 10, 11, 12, 13, 14, 15, 24, 31, 34, 64] {
        let script = format!("ulimit -c 0; kill -{signal} $$");
        let mut world = World::with(&["/bin/sh", "-c", &script], &[]);
        assert_eq!(world.wait().code(), Some(128 + signal), "{}", world.said());
    }
}

#[test]
fn l85_signals_reach_the_main_program() {
    for (signal, code) in [
        ("HUP", 11),
        ("QUIT", 13),
        ("USR1", 14),
        ("USR2", 15),
        ("WINCH", 16),
        ("TERM", 12),
    ] {
        let script = "trap 'exit 11' HUP; trap 'exit 12' TERM; trap 'exit 13' QUIT
            trap 'exit 14' USR1; trap 'exit 15' USR2; trap 'exit 16' WINCH
            echo ar''med; while :; do sleep 0.05; done";
        let mut world = World::with(&["/bin/bash", "-c", script], &[]);
        world.until_said("armed");
        world.signal(signal);
        assert_eq!(
            world.wait().code(),
            Some(code),
            "{signal}: {}",
            world.said()
        );
    }
}

#[test]
fn without_a_main_program_term_ends_it_with_0_and_nothing_is_left() {
    let mut world = World::new();
    let mut client = world.booted();
    client.register(sleeper("a")).unwrap();
    client
        .register(shell("b", "trap '' TERM; sleep 1000 & exec sleep 2000"))
        .unwrap();
    let a = client.start("a").unwrap().pid.unwrap();
    let b = client.start("b").unwrap().pid.unwrap();
    world.signal("TERM");
    let status = world.wait();
    assert_eq!(
        (status.code(), status.signal()),
        (Some(0), None),
        "{}",
        world.said()
    );
    assert!(!lives(a) && !lives(b));
}

#[test]
fn l41_what_stops_at_once_is_not_waited_for() {
    let mut world = World::with(&[], &[("HERM_STOP_TIMEOUT", "3600")]);
    let mut client = world.booted();
    for number in 0..10 {
        client.register(sleeper(&format!("s{number}"))).unwrap();
    }
    // With a budget of an hour and graces of 10 s, only events can end this before the test hangs.
    client
        .ask(Op::Shutdown {
            exit_code: Some(42),
        })
        .unwrap();
    assert_eq!(world.wait().code(), Some(42));
}

#[test]
fn a_main_program_that_can_t_be_run_ends_as_a_shell_would_end_it() {
    for (program, code) in [("/no/such/program", 127), ("/etc/passwd", 126)] {
        let mut world = World::with(&[program], &[]);
        assert_eq!(world.wait().code(), Some(code), "{}", world.said());
        assert!(world.said().contains(program));
    }
}

#[test]
fn l88_a_dead_supervisor_s_socket_is_swept_and_a_living_one_s_is_not() {
    let world = World::new();
    let mut client = world.booted();
    let dir = world.dir.path().display().to_string();
    let second = std::process::Command::new(env!("CARGO_BIN_EXE_herm-init"))
        .args(["--runtime-dir", &dir])
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&second.stderr).contains("another herm supervisor"));
    assert_eq!(client.hello().pid, world.pid());
    drop(client);

    let dead = tempfile::Builder::new().prefix("h").tempdir().unwrap();
    drop(std::os::unix::net::UnixListener::bind(dead.path().join("control.sock")).unwrap());
    std::fs::write(dead.path().join("notify.1"), "").unwrap();
    let third = std::process::Command::new(env!("CARGO_BIN_EXE_herm-init"))
        .args([
            "--runtime-dir",
            &dead.path().display().to_string(),
            "--",
            "/bin/sh",
            "-c",
            "exit 5",
        ])
        .env_remove("HERMES_HOME")
        .output()
        .unwrap();
    assert_eq!(third.status.code(), Some(5));
    assert!(!dead.path().join("notify.1").exists());
}

/// PID 1 of a PID namespace of its own, where the machine lets us make one.
fn as_pid1(script: &str) -> Option<std::process::Output> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let dir = tempfile::Builder::new().prefix("h").tempdir().unwrap();
    let output = std::process::Command::new("unshare")
        .args([
            "--pid",
            "--fork",
            "--mount-proc",
            env!("CARGO_BIN_EXE_herm-init"),
        ])
        .args(["--runtime-dir", &dir.path().display().to_string()])
        .args(["--", "/bin/sh", "-c", script])
        .env_remove("HERMES_HOME")
        .stdin(std::process::Stdio::null())
        .output()
        .ok()?;
    Some(output)
}

#[test]
fn l43_as_pid_1_the_exit_code_is_the_main_program_s_and_signals_have_their_defaults() {
    let script = "grep -E 'Sig(Blk|Ign)' /proc/self/status; (setsid sleep 1000 &); exit 7";
    let Some(output) = as_pid1(script) else {
        // Without root no namespace can be made.
        return;
    };
    let said = String::from_utf8_lossy(&output.stdout);
    // herm's own words are not the main program's.
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(7), "{said}{told}");
    assert!(told.contains("as PID 1"), "{told}");
    for line in ["SigBlk:\t0000000000000000", "SigIgn:\t0000000000000000"] {
        assert!(said.contains(line), "{said}");
    }
}

#[test]
fn nothing_begins_before_the_descriptor_that_is_waited_for_is_closed() {
    let place = tempfile::tempdir().unwrap();
    let fifo = place.path().join("fifo");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status();
    assert!(made.unwrap().success());
    let open = |read| {
        let mut options = std::fs::OpenOptions::new();
        options.read(read).write(true).open(&fifo).unwrap()
    };
    // A reader of our own, so that neither side waits for the other.
    let (reader, writer) = (open(true), open(false));
    let inherit = format!("exec \"$@\" 7<{}", fifo.display());
    let world = World::through(
        &["/bin/sh", "-c", &inherit, "sh"],
        &["/bin/sh", "-c", "echo main runs; exec sleep 1000"],
        &[("S6_WAIT_FOR_CLOSING_FD", "7")],
    );
    let mut client = world.connect();
    assert!(client.services().iter().all(|one| one.name != "main"));
    assert!(!world.said().contains("main runs"));
    drop((reader, writer));
    world.until_said("main runs");
}
