//! `cargo xtask bench`: herm beside its peers, the same work in the same run.
//!
//! A *row* is one question ("from a crash to running again"), a *contender* one answer to it (herm, a
//! peer, the physical limit). The contenders of a row take turns, so that the machine's mood hits all
//! alike; what counts are the ratios of their medians.
#![forbid(unsafe_code)]

mod chart;
mod client;
mod contender;
mod host;
mod report;
mod role;
mod rows;
mod sample;
mod scratch;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

use crate::report::Results;

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
    /// Draw the charts and the table of a result file again
    Draw {
        /// A file that `run` wrote
        results: PathBuf,
        /// Where the page and its charts go
        #[arg(long)]
        page: PathBuf,
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
    /// Where to write the results
    #[arg(long)]
    json: Option<PathBuf>,
    /// Where the page of results goes, its charts beside it
    #[arg(long)]
    page: Option<PathBuf>,
}

/// What every row is given.
pub(crate) struct Bench {
    /// The `herm-init` under test.
    pub(crate) init: PathBuf,
    /// The image under test.
    pub(crate) image: String,
    /// Samples of each contender.
    pub(crate) samples: usize,
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run(options) => run(&options),
        Command::List => {
            for row in rows::ALL {
                println!("{:<14} {}", row.name, row.question);
            }
            Ok(())
        }
        Command::Draw { results, page } => {
            Results::read(&results).and_then(|results| report::write_page(&results, &page))
        }
        Command::Role(role) => role.play(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    let context = Bench {
        init: std::fs::canonicalize(&options.init)
            .with_context(|| format!("no supervisor at {}", options.init.display()))?,
        image: options.image.clone(),
        samples: options.samples.max(1),
    };
    let chosen = rows::named(&options.rows)?;
    let mut results = Results::of(host::describe(&context.init)?);
    for (number, row) in chosen.iter().enumerate() {
        eprintln!(
            "[{}/{}] {}: {}",
            number + 1,
            chosen.len(),
            row.name,
            row.question
        );
        let tables = (row.measure)(&context)
            .with_context(|| format!("row {} could not be measured", row.name))?;
        for table in &tables {
            print!("{}", table.to_text());
        }
        results.tables.extend(tables);
    }
    if let Some(path) = &options.json {
        results.write(path)?;
    }
    if let Some(page) = &options.page {
        report::write_page(&results, page)?;
    }
    Ok(())
}
