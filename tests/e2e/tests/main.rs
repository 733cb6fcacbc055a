//! herm in real containers: one module per chapter of the contract, lessons by their number.
#![forbid(unsafe_code)]

mod abuse;
mod api;
mod artifacts;
mod attacker;
mod boot;
mod dashboard;
mod doctor;
mod dropin;
mod ends;
mod environments;
mod flood;
mod harness;
mod health;
mod hermes;
mod hooks;
mod identity;
mod leases;
mod logs;
mod main_program;
mod metrics;
mod overlay;
mod ownership;
mod privilege;
mod restarts;
mod seeing;
mod setup;
mod shutdown;
mod supervision;
mod terminal;
mod top;
mod upstream;
mod variables;

use std::collections::BTreeSet;

/// A file that no `mod` names would never run, and nothing would say so.
#[test]
fn no_file_of_tests_is_forgotten() {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let files: BTreeSet<String> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .map(|name| name.trim_end_matches(".rs").to_owned())
        .filter(|name| name != "main")
        .collect();
    let named: BTreeSet<String> = include_str!("main.rs")
        .lines()
        .filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';'))
        .map(str::to_owned)
        .collect();
    assert_eq!(files, named);
}
