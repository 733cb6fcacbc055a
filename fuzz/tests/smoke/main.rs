//! The checks without a fuzzer: every file of the corpus, and some thousands of mutations.
//!
//! `HERM_FUZZ_SEED` and `HERM_FUZZ_ROUNDS` choose other mutations, and more of them. What breaks a
//! check is written to `fuzz/artifacts/<target>`, from where `HERM_FUZZ_INPUT` replays it.

mod mutator;

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use herm_fuzz::{TARGETS, Target};

use mutator::Mutator;

/// Mutations of a target that costs 1.
const ROUNDS: usize = 8000;

fn directory(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn setting<T: std::str::FromStr>(name: &str, default: T) -> T {
    let text = std::env::var(name).ok();
    text.map_or(default, |text| {
        text.parse()
            .ok()
            .unwrap_or_else(|| panic!("{name} is to be a number"))
    })
}

fn names_in(path: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let stem = |path: PathBuf| path.file_stem().unwrap().to_string_lossy().into_owned();
    entries.map(|entry| stem(entry.unwrap().path())).collect()
}

fn corpus(target: &Target) -> Vec<Vec<u8>> {
    let path = directory("corpus").join(target.name);
    let mut files: Vec<PathBuf> = fs::read_dir(&path)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

/// Runs the check; an input that breaks it is kept, and told of.
fn holds(target: &Target, input: &[u8]) -> bool {
    if catch_unwind(|| (target.check)(input)).is_ok() {
        return true;
    }
    let place = directory("artifacts").join(target.name);
    fs::create_dir_all(&place).unwrap();
    let file = place.join("smoke");
    fs::write(&file, input).unwrap();
    println!(
        "{}: broken by {:?}",
        target.name,
        input.escape_ascii().to_string()
    );
    println!("  replay: HERM_FUZZ_INPUT={} cargo test", file.display());
    false
}

fn survives(target: &Target, seed: u64, rounds: usize) -> bool {
    let seeds = corpus(target);
    let mut mutator = Mutator::new(seed, &seeds);
    seeds.iter().all(|input| holds(target, input))
        && (0..rounds / target.cost).all(|_| holds(target, &mutator.next_input()))
}

#[test]
fn no_input_of_the_corpus_or_near_it_breaks_a_check() {
    let seed = setting("HERM_FUZZ_SEED", 1);
    let rounds = setting("HERM_FUZZ_ROUNDS", ROUNDS);
    println!("HERM_FUZZ_SEED={seed} HERM_FUZZ_ROUNDS={rounds}");
    let mut broken = Vec::new();
    for target in &TARGETS {
        let began = std::time::Instant::now();
        if !survives(target, seed, rounds) {
            broken.push(target.name);
        }
        println!("{}: {} ms", target.name, began.elapsed().as_millis());
    }
    assert!(
        broken.is_empty(),
        "broken: {broken:?} (HERM_FUZZ_SEED={seed})"
    );
}

#[test]
fn an_input_that_was_kept_is_replayed() {
    let Ok(path) = std::env::var("HERM_FUZZ_INPUT") else {
        return;
    };
    let path = PathBuf::from(path);
    let name = path.parent().and_then(Path::file_name).unwrap_or_default();
    let target = TARGETS.iter().find(|target| name == target.name);
    let target = target.expect("the input lies in a directory named after its target");
    (target.check)(&fs::read(&path).unwrap());
}

#[test]
fn every_target_has_a_program_and_a_corpus_and_there_are_no_others() {
    let targets: BTreeSet<String> = TARGETS.iter().map(|target| target.name.into()).collect();
    assert_eq!(targets.len(), TARGETS.len());
    assert_eq!(names_in(&directory("fuzz_targets")), targets);
    assert_eq!(names_in(&directory("corpus")), targets);
    for target in &TARGETS {
        assert!(!corpus(target).is_empty(), "{} has no corpus", target.name);
    }
}
