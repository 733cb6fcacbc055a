//! Full disks, directories that are attacks, readers that don't read, messages that are none.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use herm_init::logproto::{Forward, FromLogd, ToLogd};
use rustix::pipe::pipe;

use crate::world::{World, write_all};

/// A file system of its own, small enough to be filled.
struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    /// `None`, said on stderr, where we may not mount.
    fn mount(at: &'a Path) -> Option<Self> {
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=512k", "herm-test"])
            .arg(at)
            .stderr(Stdio::null())
            .status();
        if !status.is_ok_and(|status| status.success()) {
            eprintln!("skipped: a small file system can't be mounted here");
            return None;
        }
        Some(Self(at))
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[test]
fn l63_a_full_disk_blocks_no_service_and_the_log_tells_what_it_cost() {
    let world = World::new();
    let disk = world.home.path().join("logs");
    fs::create_dir(&disk).unwrap();
    let Some(_disk) = SmallDisk::mount(&disk) else {
        return;
    };
    fs::write(disk.join("filler"), vec![0; 300 * 1024]).unwrap();
    let mut logd = world.start();
    let mut run = world.run(1, "web");
    run.open.limits.file_bytes = 100_000_000;
    logd.open(&run);
    let count = 20_000;
    for n in 0..count {
        run.write(format!("line {n:08} {}\n", "x".repeat(100)).as_bytes());
    }
    logd.flush();
    assert!(logd.problem().contains("No space left on device"));
    assert!(logd.owed(1).unwrap() > 0);
    fs::remove_file(disk.join("filler")).unwrap();
    logd.flush();
    assert_eq!(logd.owed(1), Some(0));
    run.write(b"and on\n");
    run.end();
    let (_, dropped) = logd.eof(1);
    let lines = world.lines("web");
    let notices: Vec<&String> = lines.iter().filter(|l| l.starts_with("herm: ")).collect();
    assert_eq!(
        notices,
        [&format!(
            "herm: {dropped} lines were dropped: No space left on device"
        )]
    );
    // The oldest of those that waited are what was dropped.
    let newest = format!("line {:08}", count - 1);
    assert!(lines[lines.len() - 2].starts_with(&newest));
    assert_eq!(lines.last().unwrap(), "and on");
    assert_eq!(lines.len() as u64 - 2 + dropped, count);
    assert_eq!(logd.lost(1), dropped, "each was reported once");
}

/// What a service writes while its directory is `broken`, and then is not.
fn drains_and_recovers(broken: impl Fn(&Path), mended: impl Fn(&Path), complaint: &str) {
    let world = World::new();
    broken(&world.home.path().join("logs"));
    let mut logd = world.start();
    let mut run = world.run(1, "web");
    logd.open(&run);
    // More than a pipe holds: a log daemon that doesn't drain would stop us here.
    run.write("early\n".repeat(50_000).as_bytes());
    let problem = logd.problem();
    assert!(problem.contains(complaint), "{problem}");
    let mut other = world.run(2, "other");
    other.open.target = None;
    logd.open(&other);
    other.write(b"not affected\n");
    other.end();
    assert_eq!(logd.eof(2), (13, 0));
    mended(&world.home.path().join("logs"));
    logd.flush();
    run.write(b"late\n");
    run.end();
    let (bytes, dropped) = logd.eof(1);
    assert_eq!(bytes, 300_005);
    let lines = world.lines("web");
    assert!(lines[0].starts_with(&format!("herm: {dropped} lines were dropped")));
    assert_eq!(lines.len() as u64 - 2 + dropped, 50_000);
    assert_eq!(lines.last().unwrap(), "late");
}

#[test]
fn a_directory_that_can_not_be_made_costs_lines_and_nothing_else() {
    drains_and_recovers(
        |logs| fs::write(logs, "a file").unwrap(),
        |logs| fs::remove_file(logs).unwrap(),
        "no directory",
    );
}

#[test]
fn a_directory_that_is_a_link_is_refused() {
    let elsewhere = tempfile::tempdir().unwrap();
    let target = elsewhere.path().to_owned();
    drains_and_recovers(
        |logs| {
            fs::create_dir(logs).unwrap();
            symlink(&target, logs.join("web")).unwrap();
        },
        |logs| fs::remove_file(logs.join("web")).unwrap(),
        "web is no directory",
    );
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
}

#[test]
fn a_current_that_is_a_link_is_refused() {
    let elsewhere = tempfile::tempdir().unwrap();
    let victim = elsewhere.path().join("victim");
    fs::write(&victim, "precious").unwrap();
    drains_and_recovers(
        |logs| {
            fs::create_dir_all(logs.join("web")).unwrap();
            symlink(&victim, logs.join("web/current")).unwrap();
        },
        |logs| fs::remove_file(logs.join("web/current")).unwrap(),
        "no regular file",
    );
    assert_eq!(fs::read_to_string(victim).unwrap(), "precious");
}

#[test]
fn a_current_that_is_a_fifo_or_a_directory_is_refused() {
    drains_and_recovers(
        |logs| {
            fs::create_dir_all(logs.join("web")).unwrap();
            let mkfifo = Command::new("mkfifo")
                .arg(logs.join("web/current"))
                .status();
            assert!(mkfifo.unwrap().success());
        },
        |logs| fs::remove_file(logs.join("web/current")).unwrap(),
        "no regular file",
    );
    drains_and_recovers(
        |logs| fs::create_dir_all(logs.join("web/current")).unwrap(),
        |logs| fs::remove_dir(logs.join("web/current")).unwrap(),
        "no regular file",
    );
}

#[test]
fn a_path_out_of_its_base_is_refused() {
    let world = World::new();
    let mut logd = world.start();
    let run_in = |dir: &str| {
        let mut run = world.run(1, "web");
        run.open.target.as_mut().unwrap().dir = dir.into();
        run
    };
    for dir in ["../outside", "/tmp/outside", "a/../../b"] {
        let run = run_in(dir);
        logd.open(&run);
        run.write(b"x\n");
        assert!(logd.problem().contains("not below its base"));
    }
}

#[test]
fn l61_a_second_logger_on_the_same_directory_is_refused_and_takes_over_later() {
    let world = World::new();
    let mut first = world.start();
    let ours = world.run(1, "web");
    first.open(&ours);
    ours.write(b"first\n");
    first.flush();
    let mut second = world.start();
    let mut theirs = world.run(2, "web");
    second.open(&theirs);
    theirs.write(b"second\n");
    assert!(second.problem().contains("another log daemon writes there"));
    assert_eq!(world.lines("web"), ["first"]);
    first.finish();
    second.flush();
    theirs.end();
    assert_eq!(second.eof(2), (7, 0));
    assert_eq!(world.lines("web"), ["first", "second"]);
}

#[test]
fn l63_a_stuck_reader_of_stdout_blocks_nothing() {
    let world = World::new();
    // Nobody ever reads it.
    let (_out, their_out) = pipe().unwrap();
    let mut logd = world.start_with(Stdio::from(their_out), None);
    let mut run = world.run(1, "web");
    run.open.forward = Forward::Raw;
    logd.open(&run);
    let line = format!("{}\n", "x".repeat(99));
    for _ in 0..50 {
        run.write(line.repeat(1000).as_bytes());
    }
    logd.flush();
    logd.send(&ToLogd::Stats { run: 1 }, None);
    let stats = logd.wait_for(|message| match message {
        FromLogd::Stats(stats) => Some(*stats),
        _ => None,
    });
    assert!(stats.stdout_dropped > 0);
    run.end();
    assert_eq!(logd.eof(1), (5_000_000, 0));
    assert_eq!(world.all_lines("web").len(), 50_000);
    logd.finish();
}

#[test]
fn stdout_keeps_its_flags_for_whoever_shares_it() {
    let world = World::new();
    let (out, their_out) = pipe().unwrap();
    let shared = their_out.try_clone().unwrap();
    let mut logd = world.start_with(Stdio::from(their_out), None);
    let mut run = world.run(1, "web");
    run.open.forward = Forward::Raw;
    logd.open(&run);
    run.write(b"x\n");
    run.end();
    logd.eof(1);
    let flags = rustix::fs::fcntl_getfl(&shared).unwrap();
    assert!(!flags.contains(rustix::fs::OFlags::NONBLOCK));
    drop(out);
}

#[test]
fn messages_that_are_none_are_reported_and_the_rest_goes_on() {
    let world = World::new();
    let mut logd = world.start();
    for packet in [b"rubbish".to_vec(), vec![0], vec![0xff; 40_000]] {
        write_all(logd.control(), &packet);
        assert!(logd.problem().contains("ignoring a message"));
    }
    let without_a_pipe = world.run(9, "web").open;
    logd.send(&ToLogd::Open(Box::new(without_a_pipe)), None);
    assert!(logd.problem().contains("without a pipe"));
    logd.send(&ToLogd::Forget { run: 77 }, None);
    logd.send(&ToLogd::Rotate { run: 77 }, None);
    let mut run = world.run(1, "web");
    logd.open(&run);
    run.write(b"fine\n");
    run.end();
    assert_eq!(logd.eof(1), (5, 0));
}

#[test]
fn a_pipe_that_is_no_pipe_is_logged_too() {
    let world = World::new();
    let mut logd = world.start();
    let mut run = world.run(1, "web");
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    run.read = theirs.into();
    run.write = Some(ours.into());
    logd.open(&run);
    run.write(b"over a\nsocket");
    run.end();
    assert_eq!(logd.eof(1), (13, 0));
    assert_eq!(world.lines("web"), ["over a", "socket [no newline]"]);
}
