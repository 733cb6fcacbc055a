//! Whole containers, their engine's work included.

use std::process::Command;

use anyhow::{Result, ensure};

use crate::Bench;
use crate::report::Table;
use crate::sample::{Samples, Unit};
use crate::scratch::now_ms;

/// The image as it is, its program under the engine's tini, and its program alone.
const CONTENDERS: [(&str, &[&str]); 3] = [
    ("herm", &[]),
    ("tini (docker run --init)", &["--init", "--entrypoint", ""]),
    ("no init at all", &["--entrypoint", ""]),
];

pub(crate) fn measure(bench: &Bench) -> Result<Vec<Table>> {
    let mut runs = vec![Samples::default(); CONTENDERS.len()];
    let mut stops = vec![Samples::default(); CONTENDERS.len()];
    for _ in 0..bench.samples {
        for (number, (_, options)) in CONTENDERS.iter().enumerate() {
            runs[number].push(run(bench, options)?);
            stops[number].push(stop(bench, options)?);
        }
    }
    let lines = |all: Vec<Samples>| {
        CONTENDERS
            .iter()
            .map(|(name, _)| (*name).to_owned())
            .zip(all)
    };
    Ok(vec![
        Table::new(
            "docker-run",
            "docker run --rm IMAGE true",
            Unit::Milliseconds,
            lines(runs),
        ),
        Table::new(
            "docker-stop",
            "docker stop of a container whose main program obeys",
            Unit::Milliseconds,
            lines(stops),
        ),
    ])
}

fn run(bench: &Bench, options: &[&str]) -> Result<f64> {
    let began = now_ms();
    docker(&[&["run", "--rm"], options, &[&bench.image, "true"]].concat())?;
    Ok(now_ms() - began)
}

fn stop(bench: &Bench, options: &[&str]) -> Result<f64> {
    // As PID 1 a shell ignores TERM unless it has a trap.
    let obedient = [
        "sh",
        "-c",
        "trap 'exit 0' TERM; echo up; while :; do sleep 1000 & wait; done",
    ];
    let id = docker(
        &[
            &["run", "--detach"],
            options,
            &[bench.image.as_str()],
            &obedient,
        ]
        .concat(),
    )?;
    let id = id.trim();
    while !docker(&["logs", id])?.contains("up") {}
    let began = now_ms();
    docker(&["stop", id])?;
    let took = now_ms() - began;
    docker(&["rm", "--force", "--volumes", id])?;
    Ok(took)
}

fn docker(args: &[&str]) -> Result<String> {
    let output = Command::new("docker").args(args).output()?;
    ensure!(
        output.status.success(),
        "docker {}: {}",
        args.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
