//! Crash safety by real kills: a process that works in a home without pause is killed at a random
//! instant, again and again, and the home is looked at as the next boot would. (Without libtest:
//! this program is also the process that is killed.)

use std::fs;
use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::SystemTime;

use herm_home::profile::{
    CreateOptions, Source, begin_delete, create, finish_delete, sweep_unfinished,
};
use herm_home::{Desired, Home, ProfileName, boot, discover, intent};

const ORDER_ROUNDS: u64 = 60;
const PROFILE_ROUNDS: u64 = 25;
const SKILLS: usize = 20;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some("--orders") => give_orders(Path::new(&arguments[2])),
        Some("--profiles") => make_profiles(Path::new(&arguments[2]), &arguments[3]),
        // cargo asks test programs for their tests; this one has none to name.
        Some("--list") => {}
        _ => {
            no_order_is_lost_and_no_record_half_written();
            every_profile_is_whole_or_gone();
        }
    }
}

fn report(what: impl std::fmt::Display) {
    let mut out = std::io::stdout();
    writeln!(out, "{what}").unwrap();
    out.flush().unwrap();
}

fn give_orders(root: &Path) {
    let profile = Home::new(root).profile(&ProfileName::default_profile());
    loop {
        let done = intent::record(&profile, Desired::Running, "the writer", SystemTime::now());
        report(done.unwrap().generation);
    }
}

fn make_profiles(root: &Path, round: &str) {
    let home = Home::new(root);
    let options = CreateOptions {
        source: Source::All(ProfileName::default_profile()),
        ..CreateOptions::default()
    };
    for number in 0.. {
        let name = ProfileName::for_new(&format!("p{round}-{number}")).unwrap();
        let now = SystemTime::now();
        create(&home, &name, &options, now).unwrap();
        report(&name);
        if number % 2 == 0 {
            begin_delete(&home, &name, now).unwrap();
            finish_delete(&home, &name, now).unwrap();
        }
    }
}

/// Starts this program as a worker and lets it report a few times.
fn start(arguments: &[&str], reports: u64) -> (Child, Lines<BufReader<ChildStdout>>, Vec<String>) {
    let mut worker = Command::new(std::env::current_exe().unwrap())
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(worker.stdout.take().unwrap()).lines();
    let seen = (0..reports)
        .map(|_| lines.next().unwrap().unwrap())
        .collect();
    (worker, lines, seen)
}

/// Kills the worker some way into its next step, which takes longer than the loop here.
fn kill(worker: &mut Child, loops: u64) {
    (0..loops).for_each(|i| _ = std::hint::black_box(i));
    worker.kill().unwrap();
    worker.wait().unwrap();
}

fn no_order_is_lost_and_no_record_half_written() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().to_str().unwrap();
    let profile = Home::new(root).profile(&ProfileName::default_profile());
    let mut last: u64 = 0;
    for round in 0..ORDER_ROUNDS {
        let (mut worker, lines, mut seen) = start(&["--orders", root], round % 7 + 1);
        kill(&mut worker, round * 2000);
        seen.extend(lines.map_while(Result::ok));
        // The last report may have been cut short by the kill.
        last = seen
            .iter()
            .rev()
            .find_map(|line| line.parse().ok())
            .unwrap_or(last);
        let kept = intent::load(&profile, SystemTime::now()).unwrap();
        assert_eq!(kept.corrupt, None, "round {round}");
        let kept = kept.value.unwrap().generation;
        assert!(
            kept == last || kept == last + 1,
            "round {round}: {kept} kept, {last} reported"
        );
    }
    boot::sweep(&profile, None).unwrap();
    let left = fs::read_dir(profile.herm_dir()).unwrap().count();
    assert_eq!(left, 2, "only the record and its lock are left");
    println!("orders: {ORDER_ROUNDS} kills, {last} orders, none lost");
}

fn every_profile_is_whole_or_gone() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().to_str().unwrap();
    let home = Home::new(root);
    for skill in 0..SKILLS {
        let skill = home.root().join(format!("skills/s{skill}"));
        fs::create_dir_all(&skill).unwrap();
        fs::write(skill.join("SKILL.md"), "know how").unwrap();
    }
    let mut kept = 0;
    for round in 0..PROFILE_ROUNDS {
        let (mut worker, ..) = start(&["--profiles", root, &round.to_string()], round % 3 + 1);
        kill(&mut worker, round * 20_000);
        // As a boot does: finish deletions, sweep, look.
        for going in discover(&home).unwrap().deleting {
            finish_delete(&home, &going, SystemTime::now()).unwrap();
        }
        sweep_unfinished(&home).unwrap();
        let found = discover(&home).unwrap();
        assert!(found.deleting.is_empty() && found.skipped.is_empty());
        kept = found.profiles.len() - 1;
        for name in found.profiles.iter().skip(1) {
            let skills = fs::read_dir(home.profile(name).dir().join("skills")).unwrap();
            let whole = skills
                .filter(|s| s.as_ref().unwrap().path().join("SKILL.md").exists())
                .count();
            assert_eq!(whole, SKILLS, "round {round}: {name} is not whole");
        }
        let entries = fs::read_dir(home.profiles_dir()).unwrap().count();
        assert_eq!(
            entries, kept,
            "round {round}: nothing but whole profiles is left"
        );
    }
    println!("profiles: {PROFILE_ROUNDS} kills, {kept} whole profiles, nothing else");
}
