//! `cargo xtask fuzz`: libFuzzer on every parser of foreign bytes, one after the other.
//!
//! Coverage comes from a pass of LLVM that a stable compiler has too, so no other toolchain is needed; the sanitizers,
//! which would need one, have little to find where there is no `unsafe`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::dist::{Target, target_directory};
use crate::host;
use crate::run::{cargo, command, root, run};

/// What `cargo xtask fuzz` can be told.
#[derive(Args)]
pub(crate) struct Options {
    /// The targets to run, by name; all of them if none is named
    targets: Vec<String>,
    /// How long each target runs
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    seconds: u32,
    /// Add the inputs that lead somewhere new to fuzz/corpus, the smallest that do
    #[arg(long)]
    keep: bool,
}

/// What tells libFuzzer where an input has led.
const COVERAGE: &[&str] = &[
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cdebug-assertions",
    "-Ccodegen-units=1",
];
/// Longest input tried, in bytes: what is found in a longer one is found in a short one, sooner.
const LENGTH_MAX: u32 = 4096;
/// Longest time for one input, in seconds.
const INPUT_SECONDS_MAX: u32 = 20;

/// Builds the targets, and runs those asked for until one breaks or all have had their time.
pub(crate) fn fuzz(options: &Options) -> Result<()> {
    let known = targets()?;
    if let Some(unknown) = options.targets.iter().find(|name| !known.contains(name)) {
        bail!("no target {unknown}; there are: {}", known.join(" "));
    }
    let chosen = if options.targets.is_empty() {
        &known
    } else {
        &options.targets
    };
    host::install_programs(&[("g++", "g++")])?;
    let programs = build()?;
    for (number, name) in chosen.iter().enumerate() {
        println!(
            "\n== [{}/{}] {name}, {} s ==",
            number + 1,
            chosen.len(),
            options.seconds
        );
        let program = programs.join(name);
        hunt(name, &program, options.seconds)?;
        if options.keep {
            keep(name, &program)?;
        }
    }
    println!(
        "\nno finding in {} targets, {} s each",
        chosen.len(),
        options.seconds
    );
    Ok(())
}

/// The names of the programs in `fuzz_targets`.
fn targets() -> Result<Vec<String>> {
    let place = root().join("fuzz/fuzz_targets");
    let entries = std::fs::read_dir(&place).with_context(|| place.display().to_string())?;
    let mut names = Vec::new();
    for entry in entries {
        let path = entry?.path();
        names.extend(
            path.file_stem()
                .map(|stem| stem.to_string_lossy().into_owned()),
        );
    }
    names.sort();
    Ok(names)
}

/// Builds all targets and gives the directory they are in.
fn build() -> Result<PathBuf> {
    let triple = Target::host()?.triple;
    let directory = target_directory().join("fuzz");
    let mut build = cargo(&[
        "build",
        "--release",
        "--manifest-path=fuzz/Cargo.toml",
        "--bins",
    ]);
    build.args([
        "--features",
        "libfuzzer",
        "--target",
        &triple,
        "--target-dir",
    ]);
    run(build.arg(&directory).env("RUSTFLAGS", COVERAGE.join(" ")))?;
    Ok(directory.join(triple).join("release"))
}

fn hunt(name: &str, program: &Path, seconds: u32) -> Result<()> {
    let found = found(name);
    let artifacts = root().join("fuzz/artifacts").join(name);
    for directory in [&found, &artifacts] {
        std::fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    }
    let mut hunt = fuzzer(program);
    hunt.args([&found, &corpus(name)]);
    hunt.arg(format!("-max_total_time={seconds}"));
    hunt.arg(format!("-timeout={INPUT_SECONDS_MAX}"));
    hunt.arg(format!("-artifact_prefix={}/", artifacts.display()));
    run(hunt.arg("-print_final_stats=1"))
        .with_context(|| format!("{name} is broken by the input in fuzz/artifacts/{name}"))
}

/// Copies the fewest inputs that reach what all of them reached to the corpus.
fn keep(name: &str, program: &Path) -> Result<()> {
    let mut merge = fuzzer(program);
    run(merge.arg("-merge=1").args([corpus(name), found(name)]))
}

fn fuzzer(program: &Path) -> Command {
    let mut fuzzer = command(&program.to_string_lossy(), &[]);
    fuzzer.arg(format!("-max_len={LENGTH_MAX}"));
    // What a check writes and removes again is on a memory file system, where there is one.
    fuzzer.env("TMPDIR", "/dev/shm");
    fuzzer
}

fn corpus(name: &str) -> PathBuf {
    root().join("fuzz/corpus").join(name)
}

/// What a hunt found on its way, kept between hunts and out of the repository.
fn found(name: &str) -> PathBuf {
    target_directory().join("fuzz/found").join(name)
}
