//! `cargo xtask bench`: installs the peers, builds what is shipped, and measures side by side.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;

use crate::dist::{Target, target_directory};
use crate::run::{cargo, executable, root, run};
use crate::{host, image};

/// What `cargo xtask bench` can be told.
#[derive(Args)]
pub(crate) struct Options {
    /// Rows to measure; all by default
    rows: Vec<String>,
    /// Show the rows there are
    #[arg(long)]
    list: bool,
    /// Samples of each contender; their median counts
    #[arg(long, default_value_t = 7)]
    samples: usize,
    /// Write the results of all rows into docs/benchmarks.md, its charts and its JSON, and three
    /// ratios into the README
    #[arg(long, conflicts_with = "rows")]
    publish: bool,
    /// Measure nothing: publish the published JSON again
    #[arg(long, conflicts_with_all = ["rows", "publish"])]
    redraw: bool,
}

/// The published results, from which page, charts and README are made.
const PUBLISHED: &str = "docs/benchmarks/results.json";

/// Programs of the peers, and the Debian packages that have them.
const PEERS: &[(&str, &str)] = &[
    ("s6-svscan", "s6"),
    ("runsvdir", "runit"),
    ("supervisord", "supervisor"),
    ("tini-static", "tini"),
    ("dumb-init", "dumb-init"),
];

pub(crate) fn bench(options: &Options) -> Result<()> {
    if options.list {
        return run(&mut program(&["list"]));
    }
    if options.redraw {
        let mut draw = program(&["draw"]);
        return run(draw
            .arg(root().join(PUBLISHED))
            .arg("--publish")
            .arg(root()));
    }
    host::install_packages()?;
    host::install_programs(PEERS).context(
        "the peers could not be installed, and without them there is nothing to compare with",
    )?;
    host::start_engine()?;
    image::image(&image::Options::without_agent())?;
    let init = Target::host()?.init_binary();
    let results: PathBuf = if options.publish {
        root().join(PUBLISHED)
    } else {
        target_directory().join("bench.json")
    };
    let mut measure = program(&["run", "--samples", &options.samples.to_string(), "--init"]);
    measure
        .arg(init)
        .arg("--image")
        .arg(image::tag("herm"))
        .arg("--ownership")
        .arg(ownership()?)
        .arg("--json")
        .arg(results);
    if options.publish {
        measure.arg("--publish").arg(root());
    }
    run(measure.args(&options.rows))
}

/// Builds the program of the row `ownership`, which is herm-init's own.
fn ownership() -> Result<PathBuf> {
    let mut build = cargo(&["bench", "--locked", "--no-run", "--message-format", "json"]);
    build.args(["--package", "herm-init", "--bench", "ownership"]);
    executable(&mut build)
}

fn program(args: &[&str]) -> std::process::Command {
    let mut program = cargo(&[
        "run",
        "--release",
        "--locked",
        "--quiet",
        "--package",
        "herm-bench",
        "--",
    ]);
    program.args(args);
    program
}
