//! The project's tasks: `cargo xtask bench | counts | dist | fuzz | image | gen | tidy | test`.
//!
//! One file per task. A task prints what it runs, stops at the first failure, and leaves
//! everything it builds under `target/` or `dist/`.
#![forbid(unsafe_code)]

mod archive;
mod base;
mod bench;
mod counts;
mod dist;
mod docker;
mod fuzz;
mod generate;
mod host;
mod image;
mod run;
mod test;
mod tidy;
mod tools;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Tasks of the herm repository")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Measure herm beside its peers, in one run
    Bench(bench::Options),
    /// Count the instructions of the hot paths; fail if one takes more than it did
    Counts(counts::Options),
    /// Build the static binaries and pack them as dist/herm-<version>-<arch>.tar.gz
    Dist,
    /// Run libFuzzer on the parsers of foreign bytes
    Fuzz(fuzz::Options),
    /// Build the images herm:dev and herm-hermes:dev (and the archive, and a base if none can be pulled)
    Image(image::Options),
    /// Write the generated files; with --check, fail if one is out of date
    Gen {
        /// Compare only, write nothing
        #[arg(long)]
        check: bool,
    },
    /// Check what the compiler does not: dependency edges, budgets, docs, licences, style
    Tidy,
    /// Install what is missing and run every check and test, or one part of them
    Test(test::Options),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().task {
        Task::Bench(options) => bench::bench(&options),
        Task::Counts(options) => counts::counts(&options),
        Task::Dist => dist::dist(&dist::RELEASE),
        Task::Fuzz(options) => fuzz::fuzz(&options),
        Task::Image(options) => image::image(&options),
        Task::Gen { check: true } => generate::check(),
        Task::Gen { check: false } => generate::write(),
        Task::Tidy => tidy::tidy(),
        Task::Test(options) => test::test(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
