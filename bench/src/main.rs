//! `cargo xtask bench`: herm beside its peers, the same work in the same run.
//!
//! A *row* is one question ("from a crash to running again"), a *contender* one answer to it (herm, a
//! peer, the physical limit). The contenders of a row take turns, so that the machine's mood hits all
//! alike; what counts are the ratios of their medians.
#![forbid(unsafe_code)]

mod chart;
mod client;
mod contender;
mod docker;
mod guard;
mod host;
mod image_root;
mod page;
mod report;
mod role;
mod rows;
mod sample;
mod scratch;
mod verdict;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};

use crate::page::Places;
use crate::report::{Results, Table};
use crate::rows::Row;

#[derive(Parser)]
#[command(name = "herm-bench", about = "herm beside its peers, in one run")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure rows (all by default) and print ratios
    Run(Options),
    /// The rows there are, and what each one asks
    List,
    /// Publish a result file again: page, charts and README
    Draw {
        /// A file that `run` wrote
        results: PathBuf,
        /// The repository
        #[arg(long)]
        publish: PathBuf,
    },
    /// What a contender executes; not for people
    #[command(hide = true, subcommand)]
    Role(role::Role),
}

/// How to measure.
#[derive(clap::Args)]
struct Options {
    /// Rows to measure, by name; all by default
    rows: Vec<String>,
    /// Samples of each contender; their median counts
    #[arg(long, default_value_t = 7)]
    samples: usize,
    /// The supervisor to measure
    #[arg(long)]
    init: PathBuf,
    /// The image to measure in rows that need the Docker engine
    #[arg(long, default_value = "herm:dev")]
    image: String,
    /// The program of the row `ownership`
    #[arg(long)]
    ownership: Option<PathBuf>,
    /// Where to write the results
    #[arg(long)]
    json: Option<PathBuf>,
    /// The repository whose page, charts and README are to have the results
    #[arg(long)]
    publish: Option<PathBuf>,
}

/// What every row is given.
pub(crate) struct Bench {
    /// The `herm-init` under test.
    pub(crate) init: PathBuf,
    /// The image under test.
    pub(crate) image: String,
    /// Samples of each contender.
    pub(crate) samples: usize,
    /// What compares the repair of ownership.
    pub(crate) ownership: Option<PathBuf>,
}

fn main() -> ExitCode {
    match obey(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn obey(command: Command) -> Result<ExitCode> {
    match command {
        Command::Run(_) if !guard::is_guarded() => return guard::guard(),
        Command::Run(options) => run(&options)?,
        Command::List => {
            for row in rows::ALL {
                println!("{:<14} {}", row.name, row.question);
            }
        }
        Command::Draw { results, publish } => {
            page::publish(&Results::read(&results)?, &places(&publish))?;
        }
        Command::Role(role) => role.play()?,
    }
    Ok(ExitCode::SUCCESS)
}

fn places(repository: &Path) -> Places {
    Places {
        page: repository.join("docs/benchmarks.md"),
        readme: repository.join("README.md"),
    }
}

fn run(options: &Options) -> Result<()> {
    let began = Instant::now();
    host::require_peers()?;
    let context = Bench {
        init: std::fs::canonicalize(&options.init)
            .with_context(|| format!("no supervisor at {}", options.init.display()))?,
        image: options.image.clone(),
        samples: options.samples.max(1),
        ownership: options.ownership.clone(),
    };
    let chosen = rows::named(&options.rows)?;
    let mut failed = Vec::new();
    let mut results = Results::of(host::describe()?, context.samples);
    for (number, row) in chosen.iter().enumerate() {
        eprintln!(
            "[{}/{}, {} s] {}: {}",
            number + 1,
            chosen.len(),
            began.elapsed().as_secs(),
            row.name,
            row.question
        );
        match measure(row, &context) {
            Ok(tables) => results.tables.extend(tables),
            Err(error) => failed.push(format!("{}: {error:#}", row.name)),
        }
        results.seconds = began.elapsed().as_secs();
    }
    print!("{}", results.summary());
    if let Some(path) = &options.json {
        results.write(path)?;
    }
    if let Some(repository) = &options.publish {
        page::publish(&results, &places(repository))?;
    }
    // What was measured is kept: a whole run takes long, and each row stands for itself.
    ensure!(
        failed.is_empty(),
        "these rows could not be measured, and are missing from the results:\n  {}",
        failed.join("\n  ")
    );
    Ok(())
}

/// A row's tables, shown. What fails is tried once more: one bad start in thousands must not cost the
/// rows before it.
fn measure(row: &Row, bench: &Bench) -> Result<Vec<Table>> {
    let tables = (row.measure)(bench).or_else(|error| {
        eprintln!("  failed, and is tried again: {error:#}");
        (row.measure)(bench)
    })?;
    for table in &tables {
        print!("{}", table.to_text());
    }
    Ok(tables)
}
