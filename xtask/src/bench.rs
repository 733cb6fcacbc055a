//! `cargo xtask bench`: installs the peers, builds what is shipped, and measures side by side.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::dist::{Target, target_directory};
use crate::run::{cargo, root, run};
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
    /// Write the results into docs/benchmarks.md, its charts and its JSON
    #[arg(long)]
    publish: bool,
}

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
    host::install_packages()?;
    host::install_programs(PEERS)?;
    host::start_engine()?;
    image::image(&image::Options::without_agent())?;
    let init = Target::host()?.init_binary();
    let results: PathBuf = if options.publish {
        root().join("docs/benchmarks/results.json")
    } else {
        target_directory().join("bench.json")
    };
    let mut measure = program(&["run", "--samples", &options.samples.to_string(), "--init"]);
    measure
        .arg(init)
        .arg("--image")
        .arg(image::tag("herm"))
        .arg("--json")
        .arg(results);
    if options.publish {
        measure.arg("--page").arg(root().join("docs/benchmarks.md"));
    }
    run(measure.args(&options.rows))
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
