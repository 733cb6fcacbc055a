//! Who the log daemon is, and who can touch it. As root only.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use herm_init::logproto::{Identity, Target};

use crate::world::{Logd, World, unstamped};

const IDENTITY: Identity = Identity {
    uid: 64_001,
    gid: 64_002,
    fs_uid: 64_003,
    fs_gid: 64_004,
};

/// A log daemon with an identity of its own, in a home of the service user's.
fn started(world: &World) -> Option<Logd> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can start a log daemon as somebody else");
        return None;
    }
    chown(
        world.home.path(),
        Some(IDENTITY.fs_uid),
        Some(IDENTITY.fs_gid),
    )
    .unwrap();
    let mut logd = world.start_with(Stdio::null(), Some(IDENTITY));
    logd.flush();
    Some(logd)
}

fn as_agent(program: &str, args: &[&str]) -> bool {
    Command::new(program)
        .args(args)
        .uid(IDENTITY.fs_uid)
        .gid(IDENTITY.fs_gid)
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .unwrap()
        .success()
}

#[test]
fn it_is_a_user_of_its_own_that_writes_files_as_the_service_user() {
    let world = World::new();
    let Some(mut logd) = started(&world) else {
        return;
    };
    let status = fs::read_to_string(format!("/proc/{}/status", logd.pid())).unwrap();
    let field = |name: &str| -> Vec<String> {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().skip(1).map(str::to_owned).collect()
    };
    assert_eq!(field("Uid:"), ["64001", "64001", "64001", "64003"]);
    assert_eq!(field("Gid:"), ["64002", "64002", "64002", "64004"]);
    assert_eq!(field("Groups:"), ["64002"]);
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
        assert_eq!(field(set), ["0000000000000000"], "{set}");
    }
    let mut run = world.run(1, "web");
    logd.open(&run);
    run.write(b"x\n");
    run.end();
    logd.eof(1);
    let directory = fs::metadata(world.directory("web")).unwrap();
    let current = fs::metadata(world.directory("web").join("current")).unwrap();
    assert_eq!((current.uid(), current.gid()), (64_003, 64_004));
    assert_eq!(current.permissions().mode() & 0o7777, 0o640);
    assert_eq!(directory.permissions().mode() & 0o7777, 0o750);
}

#[test]
fn where_it_can_not_become_another_user_it_logs_all_the_same() {
    let world = World::new();
    let mut identity = IDENTITY;
    // No id can have this number; and a log daemon that isn't root can become nobody else.
    identity.uid = u32::MAX;
    identity.gid = u32::MAX;
    let mut logd = world.start_with(Stdio::null(), Some(identity));
    assert!(logd.problem().contains("goes on as it is"));
    let mut run = world.run(1, "web");
    logd.open(&run);
    run.write(b"x\n");
    run.end();
    logd.eof(1);
    assert_eq!(world.lines("web"), ["x"]);
}

#[test]
fn agents_can_neither_signal_nor_look_into_it() {
    let world = World::new();
    let Some(mut logd) = started(&world) else {
        return;
    };
    let pid = logd.pid().to_string();
    for signal in ["-STOP", "-KILL", "-TERM"] {
        assert!(!as_agent("kill", &[signal, &pid]), "{signal} was allowed");
    }
    for file in ["mem", "environ", "fd", "maps"] {
        let path = format!("/proc/{pid}/{file}");
        assert!(!as_agent(
            "sh",
            &[
                "-c",
                &format!("test -d {path} && ls {path} || head -c 1 {path}")
            ]
        ));
    }
    logd.flush();
}

#[test]
fn signals_that_end_other_processes_do_not_end_it() {
    let world = World::new();
    let mut logd = world.start();
    logd.flush();
    let pid = logd.pid().to_string();
    for signal in ["-TERM", "-INT", "-HUP", "-QUIT", "-TSTP", "-PIPE", "-USR1"] {
        assert!(
            Command::new("kill")
                .args([signal, &pid])
                .status()
                .unwrap()
                .success()
        );
    }
    logd.flush();
    logd.finish();
}

#[test]
fn logs_of_roots_services_are_out_of_the_agents_reach() {
    let world = World::new();
    let area = tempfile::tempdir().unwrap();
    fs::set_permissions(area.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let Some(mut logd) = started(&world) else {
        return;
    };
    let base = area.path().join("log");
    fs::create_dir(&base).unwrap();
    chown(&base, Some(0), Some(IDENTITY.gid)).unwrap();
    fs::set_permissions(&base, fs::Permissions::from_mode(0o2770)).unwrap();
    let mut run = world.run(1, "sshd");
    let dir = "sshd".into();
    run.open.target = Some(Target {
        base: base.clone(),
        dir,
    });
    logd.open(&run);
    run.write(b"secret\n");
    run.end();
    assert_eq!(logd.eof(1), (7, 0));
    let current = base.join("sshd/current");
    let kept = fs::read_to_string(&current).unwrap();
    assert_eq!(unstamped(kept.trim_end()), "secret");
    let path = current.to_str().unwrap();
    assert!(!as_agent("cat", &[path]));
    assert!(!as_agent("sh", &["-c", &format!("echo forged >> {path}")]));
    assert_eq!(fs::read_to_string(&current).unwrap(), kept);
}
