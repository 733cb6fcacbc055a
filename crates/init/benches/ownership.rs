//! Repair of ownership beside `find` and `chown -R`, on the same files, in turn, in one run.
//!
//! `cargo bench -p herm-init --bench ownership -- [FILES] [ROUNDS]`, as root; 1,000,000 files and 7
//! rounds unless said otherwise. Prints medians, ratios and a line of JSON. The files are made in a
//! temporary directory (`TMPDIR`), a thousand to a directory.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use herm_sys::fs_at::{Depth, Dir, Owner, Repair};

const FILES: usize = 1_000_000;
const ROUNDS: usize = 7;
const FILES_PER_DIRECTORY: usize = 1_000;

const OURS: Owner = Owner {
    uid: 10_000,
    gid: 10_000,
};
const ROOT: Owner = Owner { uid: 0, gid: 0 };

/// What is measured: a name, and what does it once.
type Contender<'a> = (&'static str, Box<dyn Fn() + 'a>);

fn main() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root gives files away");
        return;
    }
    // `cargo bench` adds words of its own, such as `--bench`.
    let mut numbers = std::env::args().filter_map(|word| word.parse().ok());
    let files = numbers.next().unwrap_or(FILES);
    let rounds = numbers.next().unwrap_or(ROUNDS);
    let root = tempfile::tempdir().unwrap();
    let home = root.path().join("home");
    make(&home, files);
    println!("{files} files, {rounds} rounds, medians; all caches warm");

    repair(&home, OURS);
    let uid = OURS.uid.to_string();
    let gid = OURS.gid.to_string();
    let find = ["!", "-uid", &uid, "-o", "!", "-gid", &gid];
    let clean: Vec<Contender<'_>> = vec![
        ("herm", Box::new(|| repair(&home, OURS))),
        ("find -uid -gid", Box::new(|| run("find", &home, &find))),
        ("find", Box::new(|| run("find", &home, &[]))),
        (
            "chown -R",
            Box::new(|| run_on("chown", &["-R", "10000:10000"], &home)),
        ),
    ];
    let clean = measure("nothing is wrong", &clean, rounds, &|| {});

    // Each turn finds everything root's: that it is made so again is not measured.
    let wrong: Vec<Contender<'_>> = vec![
        ("herm", Box::new(|| repair(&home, OURS))),
        (
            "chown -R",
            Box::new(|| run_on("chown", &["-R", "10000:10000"], &home)),
        ),
    ];
    let wrong = measure("everything is wrong", &wrong, rounds, &|| {
        repair(&home, ROOT);
    });
    println!("{{\"files\":{files},\"rounds\":{rounds},\"clean\":{clean},\"wrong\":{wrong}}}");
}

fn make(home: &Path, files: usize) {
    for number in 0..files.div_ceil(FILES_PER_DIRECTORY) {
        let dir = home.join(format!("{}/{number}", number % 32));
        fs::create_dir_all(&dir).unwrap();
        for file in 0..FILES_PER_DIRECTORY {
            File::create(dir.join(format!("session-{file:05}.json"))).unwrap();
        }
    }
}

fn repair(home: &Path, owner: Owner) {
    let (dir, _) = Dir::open_configured(home, None).unwrap();
    let mut repair = Repair::of(&dir, owner, false).unwrap();
    repair.take_top();
    for name in dir.names().unwrap() {
        repair.take(OsStr::new(&name), Depth::Everything);
    }
    repair.run(None, Duration::from_secs(3600), &mut |_| {});
    let done = repair.finish();
    assert_eq!(done.refusals, 0, "{done:?}");
}

fn run(program: &str, home: &Path, after: &[&str]) {
    let mut command = Command::new(program);
    check(command.arg(home).args(after));
}

fn run_on(program: &str, before: &[&str], home: &Path) {
    let mut command = Command::new(program);
    check(command.args(before).arg(home));
}

fn check(command: &mut Command) {
    let status = command.stdout(Stdio::null()).status().unwrap();
    assert!(status.success(), "{command:?}: {status}");
}

/// Runs the contenders in turn and prints their medians; answers them as JSON, in milliseconds.
fn measure(title: &str, contenders: &[Contender<'_>], rounds: usize, prepare: &dyn Fn()) -> String {
    let mut times: Vec<Vec<Duration>> = contenders.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds {
        for ((_, work), times) in contenders.iter().zip(&mut times) {
            prepare();
            let began = Instant::now();
            work();
            times.push(began.elapsed());
        }
    }
    println!("{title}:");
    let mut json = Vec::new();
    let mut herms = None;
    for ((name, _), times) in contenders.iter().zip(&mut times) {
        times.sort();
        let median = times[times.len() / 2];
        let herm = *herms.get_or_insert(median);
        let ratio = herm.as_secs_f64() / median.as_secs_f64();
        println!("  {name:<15} {median:>9.1?}   herm / it = {ratio:.2}");
        json.push(format!("\"{name}\":{:.1}", median.as_secs_f64() * 1000.0));
    }
    format!("{{{}}}", json.join(","))
}
