//! What whoever may register services can't do to the supervisor, nor to root's services.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use herm_wire::{ErrorCode, Op, Probe, ReadinessSpec, State, WaitFor};

use crate::world::{Client, World, lives, shell, sleeper};

/// A user that every system has, with no files and no processes, and its number.
const USER: (&str, u32) = ("daemon", 1);

#[test]
fn a_probe_that_can_not_be_started_is_refused_and_a_hasty_one_leaves_time_for_others() {
    let world = World::new();
    let mut client = world.booted();
    let probed = |words: &[&str]| ReadinessSpec::Probe {
        probe: Probe::Command {
            argv: words.iter().map(|word| (*word).to_owned()).collect(),
        },
        interval_ms: Some(0),
    };
    for words in [&[][..], &[""], &["a\0b"]] {
        let mut spec = sleeper("bad");
        spec.readiness = probed(words);
        let error = client.register(spec).unwrap_err();
        assert_eq!(error.code, ErrorCode::BadConfig, "{words:?}");
    }
    let mut spec = sleeper("hasty");
    spec.readiness = probed(&["/nonexistent/probe"]);
    client.register(spec).unwrap();
    world.connect().until_state("hasty", State::Starting);
    client.hello();
}

#[test]
fn the_service_user_neither_wakes_nor_describes_a_service_of_roots() {
    if !rustix::process::geteuid().is_root() {
        // Without root there is no second user to be.
        return;
    }
    let world = World::with(&[], &[("HERM_USER", USER.0)]);
    let mut client = world.booted();
    client.register(shell("root-s", "exit 78")).unwrap();
    let parked = world.connect().until_state("root-s", State::Parked);
    let dir = world.dir.path();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(dir, open).unwrap();
    let copy = dir.join("client");
    std::fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    let status = Command::new(&copy)
        .args(["--exact", "privilege::as_the_service_user", "--nocapture"])
        .env("HERM_TEST_SOCKET", world.socket())
        .uid(USER.1)
        .gid(USER.1)
        .current_dir("/")
        .status()
        .unwrap();
    assert!(status.success());
    let now = client.service("root-s");
    assert_eq!(
        (now.state, now.reason, now.served_by, now.restarts),
        (parked.state, parked.reason, None, parked.restarts)
    );
}

#[test]
fn nobody_waits_for_what_can_not_be_a_name() {
    let world = World::new();
    let wait = Op::Wait {
        name: "x".repeat(60_000),
        until: WaitFor::Registered,
        timeout_ms: None,
    };
    let error = world.booted().ask(wait).unwrap_err();
    assert_eq!(error.code, ErrorCode::BadRequest);
}

#[test]
fn what_a_service_is_called_does_not_steer_the_terminal_of_who_looks() {
    let world = World::new();
    let mut client = world.booted();
    let mut spec = sleeper("a");
    spec.profile = Some("a\u{1b}[2Jb".to_owned());
    spec.disabled = Some("no\r\u{9b}K".to_owned());
    let view = client.register(spec).unwrap();
    assert_eq!(view.profile.as_deref(), Some("a [2Jb"));
    assert_eq!(view.reason, "no  K");
}

#[test]
fn l45_a_daemon_of_a_user_whose_group_has_another_number_is_found() {
    if !rustix::process::geteuid().is_root() {
        // Without root there is no second user to be.
        return;
    }
    let world = World::new();
    let mut client = world.booted();
    let open = |path: &std::path::Path, mode| {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(path, mode).unwrap();
    };
    let dir = world.dir.path().join("open");
    std::fs::create_dir(&dir).unwrap();
    open(world.dir.path(), 0o755);
    open(&dir, 0o777);
    let file = dir.join("daemon");
    let script = format!(
        "setsid sh -c 'sleep 1000 >/dev/null 2>&1 </dev/null & echo $! > {}' ; exec sleep 2000",
        file.display()
    );
    let mut spec = shell("a", &script);
    // Its uid is 5 and its gid 60 wherever Debian is.
    spec.user = Some("games".to_owned());
    client.register(spec).unwrap();
    client.start("a").unwrap();
    let daemon = world.until("the daemon is there", || {
        std::fs::read_to_string(&file).ok()?.trim().parse().ok()
    });
    assert!(lives(daemon));
    client.stop("a").unwrap();
    assert!(!lives(daemon), "{}", world.said());
}

/// The other half of the test of wakes and descriptions, as the service user.
#[test]
fn as_the_service_user() {
    let Ok(socket) = std::env::var("HERM_TEST_SOCKET") else {
        return;
    };
    let mut client = Client::new(std::os::unix::net::UnixStream::connect(socket).unwrap());
    client.ask(Op::AttachKeeper).unwrap();
    for op in [
        Op::Wake {
            name: "root-s".to_owned(),
            reason: "because".to_owned(),
        },
        Op::Annotate {
            name: "root-s".to_owned(),
            served_by: Some("mine".to_owned()),
            owner: None,
            port: None,
            note: Some("all is well".to_owned()),
        },
    ] {
        let error = client.ask(op.clone()).unwrap_err();
        assert_eq!(error.code, ErrorCode::NotPermitted, "{op:?}");
    }
}
