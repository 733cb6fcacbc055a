//! A log daemon that is killed loses nothing, and tears no line.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::world::{World, write_all};

/// How many log daemons a service sees off.
const KILLS: u32 = 40;

/// A generator of repeatable disorder (the constants are Knuth's).
struct Disorder(u64);

impl Disorder {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// The n-th line: its number at both ends, so that a torn one shows.
fn line(n: u64, length: usize) -> String {
    format!("{n:08}{}{n:08}\n", "-".repeat(length))
}

/// Writes numbered lines in pieces that end anywhere, as long as `goes_on`, and says how many.
fn write_lines(
    to: &OwnedFd,
    goes_on: impl Fn(u64) -> bool,
    length: impl Fn(u64) -> usize,
    piece: u64,
) -> u64 {
    let mut disorder = Disorder(3);
    let mut text = Vec::new();
    let mut n = 0;
    while goes_on(n) {
        text.extend_from_slice(line(n, length(n)).as_bytes());
        while text.len() as u64 > piece {
            let end = 1 + usize::try_from(disorder.below(piece)).unwrap();
            write_all(to, &text[..end]);
            text.drain(..end);
        }
        n += 1;
    }
    write_all(to, &text);
    n
}

/// Kills log daemons at random moments while a service writes, and checks the log.
fn kill_while_writing(
    length: impl Fn(u64) -> usize + Send + Copy + 'static,
    piece: u64,
    pipe_bytes: usize,
) {
    let world = World::new();
    let mut run = world.run(1, "web").sized(pipe_bytes);
    run.open.limits.file_bytes = u64::MAX;
    let to = run.write.take().unwrap();
    let is_over = Arc::new(AtomicBool::new(false));
    let goes_on = {
        let is_over = Arc::clone(&is_over);
        move |_| !is_over.load(Ordering::Relaxed)
    };
    let writer = std::thread::spawn(move || write_lines(&to, goes_on, length, piece));
    let mut disorder = Disorder(11);
    for _ in 0..KILLS {
        let mut logd = world.start();
        logd.open(&run);
        run.open.resumed = true;
        // The moment of the kill is this test's input.
        std::thread::sleep(Duration::from_micros(1_000 + disorder.below(8_000)));
        logd.kill();
    }
    is_over.store(true, Ordering::Relaxed);
    let mut logd = world.start();
    logd.open(&run);
    let count = writer.join().unwrap();
    logd.eof(1);
    check(&world.lines("web"), count, length, pipe_bytes);
}

/// Every line is there and whole; what is repeated is a pipe's content at most.
fn check(lines: &[String], count: u64, length: impl Fn(u64) -> usize, chunk_bytes: usize) {
    let mut next = 0;
    for text in lines {
        let n: u64 = text[..8].parse().unwrap();
        assert!(
            text == line(n, length(n)).trim_end(),
            "line {n} is torn: {text:.100}"
        );
        assert!(n <= next, "lines {next} to {n} are missing");
        let repeated: usize = (n..next).map(|n| line(n, length(n)).len()).sum();
        assert!(
            repeated <= chunk_bytes.max(65_536),
            "{repeated} bytes are repeated"
        );
        next = n + 1;
    }
    assert_eq!(next, count);
}

#[test]
fn a_killed_log_daemon_loses_no_line_and_tears_none() {
    kill_while_writing(|_| 103, 65_536, 65_536);
}

#[test]
fn a_killed_log_daemon_loses_nothing_of_long_lines_in_small_pipes() {
    let length = |n: u64| usize::try_from(n * 7_919 % 30_000).unwrap();
    kill_while_writing(length, 6_000, 8_192);
}

#[test]
fn a_killed_log_daemon_loses_nothing_of_lines_written_a_few_bytes_at_a_time() {
    kill_while_writing(|n| usize::try_from(n % 60).unwrap(), 9, 4_096);
}

#[test]
fn a_half_written_line_is_written_again_and_not_twice() {
    let world = World::new();
    let mut run = world.run(1, "web");
    std::fs::create_dir_all(world.directory("web")).unwrap();
    let current = world.directory("web").join("current");
    // As a log daemon leaves it that is killed in the middle of a write.
    let half = "2026-11-20T20:31:10.123456Z one\n2026-11-20T20:31:10.123456Z tw";
    std::fs::write(&current, half).unwrap();
    run.write(b"two\nthree\n");
    run.end();
    run.open.resumed = true;
    let mut logd = world.start();
    logd.open(&run);
    logd.eof(1);
    assert_eq!(world.lines("web"), ["one", "two", "three"]);
}

#[test]
fn the_beginning_of_a_line_survives_the_log_daemon_that_read_it() {
    let world = World::new();
    let mut run = world.run(1, "web");
    let mut logd = world.start();
    logd.open(&run);
    run.write(b"first half, ");
    logd.flush();
    logd.kill();
    run.write(b"second half\n");
    run.end();
    run.open.resumed = true;
    let mut logd = world.start();
    logd.open(&run);
    logd.eof(1);
    assert_eq!(world.lines("web"), ["first half, second half"]);
}

#[test]
fn l63_lines_written_before_there_is_a_log_daemon_are_logged() {
    let world = World::new();
    let mut run = world.run(1, "web");
    run.write(b"early\n");
    run.end();
    let mut logd = world.start();
    logd.open(&run);
    assert_eq!(logd.eof(1), (6, 0));
    assert_eq!(world.lines("web"), ["early"]);
}

#[test]
fn lines_that_an_earlier_log_daemon_dropped_are_told_of() {
    let world = World::new();
    let mut run = world.run(1, "web");
    run.open.resumed = true;
    run.open.dropped = 12;
    let mut logd = world.start();
    logd.open(&run);
    run.write(b"after\n");
    run.end();
    logd.eof(1);
    let lines = world.lines("web");
    assert!(
        lines[0].starts_with("herm: 12 lines were dropped"),
        "{lines:?}"
    );
    assert_eq!(lines[1..], ["after"]);
}

#[test]
fn the_death_of_pid_1_ends_no_log() {
    let world = World::new();
    let mut run = world.run(1, "web");
    let mut logd = world.start();
    logd.open(&run);
    logd.flush();
    let writer = run.write.take().unwrap();
    drop(run);
    let service = std::thread::spawn(move || write_lines(&writer, |n| n < 20_000, |_| 100, 5_000));
    assert!(logd.abandon().success());
    service.join().unwrap();
    check(&world.all_lines("web"), 20_000, |_| 100, 0);
}
