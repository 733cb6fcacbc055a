//! The kept copy and stdout when all is well.

use std::process::Stdio;

use herm_init::logproto::{Config, Forward, FromLogd, Limits, ToLogd};
use rustix::pipe::pipe;

use crate::world::{World, read_to_end};

#[test]
fn l60_a_line_reaches_the_kept_copy_and_stdout() {
    let world = World::new();
    for (forward, expected) in [
        (Forward::Raw, "one\ntwo\n"),
        (Forward::Prefix, "web | one\nweb | two\n"),
    ] {
        let (out, their_out) = pipe().unwrap();
        let mut logd = world.start_with(Stdio::from(their_out), None);
        let mut run = world.run(1, "web");
        run.open.forward = forward;
        logd.open(&run);
        run.write(b"one\ntwo\n");
        run.end();
        assert_eq!(logd.eof(1), (8, 0));
        logd.finish();
        assert_eq!(String::from_utf8(read_to_end(out)).unwrap(), expected);
    }
    assert_eq!(world.lines("web"), ["one", "two", "one", "two"]);
}

#[test]
fn a_last_line_without_a_newline_is_marked_and_not_glued_to_the_next_run() {
    let world = World::new();
    let mut logd = world.start();
    for run in 1..=2 {
        let mut run = world.run(run, "web");
        logd.open(&run);
        run.write(b"started\ngoodbye");
        run.end();
        logd.eof(run.open.run);
    }
    let once = ["started", "goodbye [no newline]"];
    assert_eq!(world.lines("web"), [once, once].concat());
}

#[test]
fn a_file_that_ends_in_half_a_line_is_not_continued() {
    let world = World::new();
    std::fs::create_dir_all(world.directory("web")).unwrap();
    let current = world.directory("web").join("current");
    std::fs::write(&current, "2026-11-20T20:31:10.123456Z power fai").unwrap();
    let mut logd = world.start();
    let mut run = world.run(1, "web");
    logd.open(&run);
    run.write(b"up again\n");
    run.end();
    logd.eof(1);
    assert_eq!(world.lines("web"), ["power fai [no newline]", "up again"]);
}

#[test]
fn lines_written_in_pieces_are_whole() {
    let world = World::new();
    let mut logd = world.start();
    let mut run = world.run(1, "web");
    logd.open(&run);
    for piece in ["on", "e", "\ntw", "o\nthr"] {
        run.write(piece.as_bytes());
        logd.flush();
    }
    assert_eq!(world.lines("web"), ["one", "two"]);
    run.write(b"ee\n");
    run.end();
    assert_eq!(logd.eof(1), (14, 0));
    assert_eq!(world.lines("web"), ["one", "two", "three"]);
}

#[test]
fn a_line_of_more_than_a_mebibyte_is_cut_and_marked() {
    let world = World::new();
    let mut logd = world.start();
    let mut run = world.run(1, "web");
    run.open.limits.file_bytes = 100_000_000;
    logd.open(&run);
    let long = "x".repeat(2_500_000);
    run.write(long.as_bytes());
    run.write(b"\nnext\n");
    run.end();
    assert_eq!(logd.eof(1), (2_500_006, 0));
    let lines = world.lines("web");
    assert_eq!(lines.last().unwrap(), "next");
    let pieces: Vec<&str> = lines[..lines.len() - 1]
        .iter()
        .map(|line| line.strip_suffix(" [line continues]").unwrap_or(line))
        .collect();
    assert_eq!(pieces.len(), 3);
    assert!(pieces.concat() == long);
}

#[test]
fn any_bytes_pass_unchanged() {
    let world = World::new();
    let mut logd = world.start();
    let mut run = world.run(1, "web");
    logd.open(&run);
    let garbage: Vec<u8> = (0..=255u8).filter(|byte| *byte != b'\n').collect();
    run.write(&garbage);
    run.write(b"\n");
    run.end();
    logd.eof(1);
    let kept = std::fs::read(world.directory("web").join("current")).unwrap();
    assert_eq!(kept[28..], [garbage, b"\n".to_vec()].concat());
}

#[test]
fn l62_a_log_that_nobody_limits_is_limited() {
    let world = World::new();
    let mut logd = world.start();
    let mut run = world.run(1, "chatty");
    logd.open(&run);
    let line = format!("{}\n", "x".repeat(119));
    for _ in 0..200 {
        run.write(line.repeat(700).as_bytes());
    }
    run.end();
    assert_eq!(logd.eof(1), (200 * 700 * 120, 0));
    let files = world.files("chatty");
    assert_eq!(files.len(), 11);
    for file in files {
        assert!(file.metadata().unwrap().len() <= 1_000_000);
    }
}

#[test]
fn rotation_keeps_the_newest_lines_in_order() {
    let world = World::new();
    let mut logd = world.start();
    let mut run = world.run(1, "web");
    run.open.limits = Limits {
        file_bytes: 1000,
        files: 3,
        ..Limits::default()
    };
    logd.open(&run);
    for n in 0..500 {
        run.write(format!("line {n}\n").as_bytes());
    }
    run.end();
    logd.eof(1);
    let lines = world.all_lines("web");
    let first = 500 - lines.len();
    let expected: Vec<String> = (first..500).map(|n| format!("line {n}")).collect();
    assert_eq!(lines, expected);
    assert_eq!(world.files("web").len(), 4);
}

#[test]
fn a_file_is_rotated_on_request() {
    let world = World::new();
    let mut logd = world.start();
    let run = world.run(1, "web");
    logd.open(&run);
    run.write(b"before\n");
    logd.flush();
    logd.send(&ToLogd::Rotate { run: 1 }, None);
    run.write(b"after\n");
    logd.flush();
    assert_eq!(world.lines("web"), ["after"]);
    assert_eq!(world.all_lines("web"), ["before", "after"]);
}

#[test]
fn l10_all_logs_together_stay_under_the_total_cap_and_the_largest_pays() {
    let world = World::new();
    let mut logd = world.start();
    let total_bytes = Some(100_000);
    logd.send(&ToLogd::Config(Config { total_bytes }), None);
    let limits = Limits {
        file_bytes: 10_000,
        files: 1000,
        ..Limits::default()
    };
    let mut quiet = world.run(1, "quiet");
    let mut looping = world.run(2, "looping");
    for (run, lines) in [(&mut quiet, 500), (&mut looping, 20_000)] {
        run.open.limits = limits.clone();
        logd.open(run);
        for _ in 0..lines / 100 {
            run.write("bad configuration\n".repeat(100).as_bytes());
        }
        run.end();
        logd.eof(run.open.run);
    }
    let size = |service| -> u64 {
        let files = world.files(service);
        files.iter().map(|f| f.metadata().unwrap().len()).sum()
    };
    assert!(size("quiet") + size("looping") <= 100_000);
    assert_eq!(world.all_lines("quiet").len(), 500);
}

#[test]
fn l10_what_earlier_daemons_left_counts_for_the_total_cap() {
    let world = World::new();
    let limits = Limits {
        file_bytes: 10_000,
        files: 1000,
        ..Limits::default()
    };
    let mut earlier = world.start();
    for (number, service) in [(1, "deleted"), (2, "down")] {
        let mut run = world.run(number, service);
        run.open.limits = limits.clone();
        earlier.open(&run);
        for _ in 0..if number == 1 { 100 } else { 3 } {
            run.write("bad configuration\n".repeat(100).as_bytes());
        }
        run.end();
        earlier.eof(number);
    }
    earlier.finish();
    let size = |service| -> u64 {
        let files = world.files(service);
        files.iter().map(|f| f.metadata().unwrap().len()).sum()
    };
    let down = size("down");
    assert!(size("deleted") > 200_000);

    let mut logd = world.start();
    let total_bytes = Some(100_000);
    logd.send(&ToLogd::Config(Config { total_bytes }), None);
    let mut run = world.run(3, "new");
    run.open.limits = limits;
    logd.open(&run);
    run.write(b"hello\n");
    run.end();
    logd.eof(3);
    // It looks at one directory at each of its turns, and an answer takes a turn.
    for _ in 0..3 {
        logd.flush();
    }
    let all = size("deleted") + size("down") + size("new");
    assert!((80_000..=100_000).contains(&all), "{all}");
    assert_eq!(size("down"), down, "the largest pays");

    // What has no rotated file any more gives its last one, unless somebody writes it.
    let total_bytes = Some(0);
    logd.send(&ToLogd::Config(Config { total_bytes }), None);
    logd.flush();
    assert_eq!(size("deleted") + size("down"), 0);
    let again = world.run(4, "down");
    logd.open(&again);
    again.write(b"up again\n");
    logd.flush();
    assert_eq!(world.all_lines("down"), ["up again"]);
}

#[test]
fn what_is_beside_a_log_and_is_none_is_left_alone() {
    let world = World::new();
    let other = world.directory("other");
    std::fs::create_dir_all(&other).unwrap();
    std::fs::write(other.join("current"), "x".repeat(5000)).unwrap();
    std::fs::write(other.join("notes.log"), "x".repeat(5000)).unwrap();
    let elsewhere = world.directory("elsewhere");
    std::os::unix::fs::symlink(&other, elsewhere).unwrap();
    let mut logd = world.start();
    let total_bytes = Some(1000);
    logd.send(&ToLogd::Config(Config { total_bytes }), None);
    let mut run = world.run(1, "web");
    logd.open(&run);
    run.write(b"hello\n");
    run.end();
    logd.eof(1);
    for _ in 0..3 {
        logd.flush();
    }
    assert_eq!(world.files("other").len(), 2);
    assert_eq!(world.lines("web"), ["hello"]);
}

#[test]
fn compressed_files_count_and_go_like_the_others() {
    let world = World::new();
    let mut logd = world.start();
    let run = world.run(1, "web");
    let mut open = run.open.clone();
    open.limits = Limits {
        file_bytes: 1000,
        files: 3,
        ..Limits::default()
    };
    logd.send(&ToLogd::Open(Box::new(open)), Some(&run.read));
    let compress_all = || {
        let mut names = Vec::new();
        for file in world.files("web") {
            let name = file.file_name().unwrap().to_str().unwrap();
            if let Some(time) = name.strip_suffix(".log") {
                let compressed = format!("{time}.log.gz");
                std::fs::rename(&file, file.with_file_name(&compressed)).unwrap();
                names.push(compressed);
            }
        }
        names.sort();
        names
    };
    let write = |lines: std::ops::Range<u32>| {
        for n in lines {
            run.write(format!("line {n:0>40}\n").as_bytes());
        }
    };
    write(0..40);
    logd.flush();
    let first = compress_all();
    assert_eq!(first.len(), 3);
    write(40..60);
    logd.flush();
    let mut names: Vec<String> = world
        .files("web")
        .iter()
        .map(|file| file.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    assert_eq!(names.len(), 4, "{names:?}");
    assert!(names.contains(&first[2]), "the youngest of them stays");
    assert!(!names.contains(&first[0]), "the oldest is gone");
}

#[test]
fn a_log_that_its_user_removed_is_begun_again() {
    let world = World::new();
    let mut logd = world.start();
    for run in 1..=2 {
        let mut run = world.run(run, "web");
        logd.open(&run);
        run.write(b"hello\n");
        run.end();
        logd.eof(run.open.run);
        assert_eq!(world.lines("web"), ["hello"]);
        std::fs::remove_dir_all(world.home.path().join("logs")).unwrap();
    }
}

#[test]
fn a_run_that_is_forgotten_is_logged_up_to_then() {
    let world = World::new();
    let mut logd = world.start();
    let run = world.run(1, "web");
    logd.open(&run);
    run.write(b"one\ntwo");
    logd.send(&ToLogd::Forget { run: 1 }, None);
    logd.flush();
    assert_eq!(world.lines("web"), ["one", "two [no newline]"]);
}

#[test]
fn the_end_of_the_container_loses_no_line() {
    let world = World::new();
    let logd = world.start();
    let run = world.run(1, "web");
    logd.open(&run);
    run.write(b"one\nlast words");
    logd.finish();
    assert_eq!(world.lines("web"), ["one", "last words [no newline]"]);
}

#[test]
fn statistics_say_what_was_read() {
    let world = World::new();
    let mut logd = world.start();
    let run = world.run(7, "web");
    logd.open(&run);
    run.write(b"one\ntwo\nthr");
    logd.flush();
    logd.send(&ToLogd::Stats { run: 7 }, None);
    let stats = logd.wait_for(|message| match message {
        FromLogd::Stats(stats) => Some(*stats),
        _ => None,
    });
    assert_eq!((stats.run, stats.bytes, stats.lines), (7, 11, 2));
}
