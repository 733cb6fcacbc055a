//! `cargo xtask test`: everything that must hold before a change is taken, in the order in which
//! it fails soonest.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use crate::run::{cargo, run};
use crate::{counts, generate, host, image, tidy, tools};

/// What `cargo xtask test` can be told.
#[derive(Args)]
pub(crate) struct Options {
    /// Run this part only
    part: Option<Part>,
    /// With `unit` or `e2e`: run the tests whose names contain this
    filter: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Formatting, generated files, tidy, clippy
    Lint,
    /// Tests of the crates
    Unit,
    /// The instructions that the hot paths take
    Counts,
    /// The images, and the tests that run them
    E2e,
}

/// A named step; its name is what the summary shows.
struct Step {
    part: Part,
    name: &'static str,
    action: fn(filter: Option<&str>) -> Result<()>,
}

const STEPS: &[Step] = &[
    Step {
        part: Part::Lint,
        name: "format",
        action: |_| run(&mut cargo(&["fmt", "--all", "--check"])),
    },
    Step {
        part: Part::Lint,
        name: "generated files",
        action: |_| generate::check(),
    },
    Step {
        part: Part::Lint,
        name: "tidy",
        action: |_| tidy::tidy(),
    },
    Step {
        part: Part::Lint,
        name: "clippy",
        action: |_| clippy(),
    },
    Step {
        part: Part::Unit,
        name: "unit tests",
        action: unit,
    },
    Step {
        part: Part::Unit,
        name: "parsers under mutated input",
        action: mutations,
    },
    Step {
        part: Part::Counts,
        name: "instruction counts",
        action: |_| counts::counts(&counts::Options::default()),
    },
    Step {
        part: Part::E2e,
        name: "images",
        action: |_| image::image(&image::Options::for_tests()),
    },
    Step {
        part: Part::E2e,
        name: "browser",
        action: |_| host::install_browser(),
    },
    // Once more, now that there is a binary whose size and linking can be looked at.
    Step {
        part: Part::E2e,
        name: "binary budget",
        action: |_| tidy::binary::check(),
    },
    Step {
        part: Part::E2e,
        name: "end-to-end tests",
        action: e2e,
    },
];

/// Prepares the machine, runs the steps asked for, and ends with one line that says how it went.
pub(crate) fn test(options: &Options) -> Result<()> {
    let start = Instant::now();
    let steps: Vec<&Step> = STEPS
        .iter()
        .filter(|step| options.part.is_none_or(|part| part == step.part))
        .collect();
    host::install_packages()?;
    if steps.iter().any(|step| step.part == Part::E2e) {
        host::start_engine()?;
    }
    let mut times = Vec::new();
    for (number, step) in steps.iter().enumerate() {
        println!("\n== [{}/{}] {} ==", number + 1, steps.len(), step.name);
        let began = Instant::now();
        if let Err(error) = (step.action)(options.filter.as_deref()) {
            bail!(
                "FAILED at \"{}\" after {}: {error:#}",
                step.name,
                minutes(start.elapsed())
            );
        }
        times.push(format!("{} {}", step.name, minutes(began.elapsed())));
    }
    println!(
        "\nPASSED in {}: {}",
        minutes(start.elapsed()),
        times.join(", ")
    );
    Ok(())
}

fn clippy() -> Result<()> {
    run(&mut cargo(&[
        "clippy",
        "--locked",
        "--workspace",
        "--all-targets",
        "--quiet",
        "--",
        "-D",
        "warnings",
    ]))
}

fn unit(filter: Option<&str>) -> Result<()> {
    let mut tests = cargo(&[
        "test",
        "--locked",
        "--workspace",
        "--exclude",
        "herm-e2e",
        "--quiet",
    ]);
    run(tests.args(filter))
}

/// The checks of the fuzz targets, without a fuzzer. A workspace of its own, with a lock file of its
/// own: not `--locked`, so that a crate's new dependency need not be written down twice.
fn mutations(filter: Option<&str>) -> Result<()> {
    let mut tests = cargo(&[
        "test",
        "--manifest-path=fuzz/Cargo.toml",
        "--target-dir=target",
        "--quiet",
    ]);
    run(tests.args(filter))
}

/// Without `--quiet`: a line per test is the progress of tests that take a while each.
fn e2e(filter: Option<&str>) -> Result<()> {
    let mut tests = cargo(&["test", "--locked", "--package", "herm-e2e"]);
    tests.env(tools::VARIABLE, tools::prepare()?);
    run(tests.args(filter)).context("the containers' logs are above, with the test that failed")
}

fn minutes(time: Duration) -> String {
    format!("{}m{:02}s", time.as_secs() / 60, time.as_secs() % 60)
}
