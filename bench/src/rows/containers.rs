//! Whole containers, their engine's work included.

use std::path::Path;

use anyhow::Result;

use crate::Bench;
use crate::docker::{docker, label};
use crate::report::Table;
use crate::sample::{Samples, Unit};
use crate::scratch::{Reports, Scratch, now_ms};
use crate::verdict::Verdict;

/// The image as it is, its program under the engine's tini, and its program alone.
const CONTENDERS: [(&str, &[&str]); 3] = [
    (HERM, &[]),
    (TINI, &["--init", "--entrypoint", ""]),
    ("no init at all", &["--entrypoint", ""]),
];
const HERM: &str = "herm";
const TINI: &str = "tini (docker run --init)";

/// How many services a container has that is stopped.
const COUNTS: [usize; 3] = [1, 10, 100];

pub(crate) fn measure(bench: &Bench) -> Result<Vec<Table>> {
    let mut tables = vec![runs(bench)?];
    for count in COUNTS {
        tables.push(stops(bench, count)?);
    }
    Ok(tables)
}

/// Samples of all contenders in turn.
fn table(
    bench: &Bench,
    (name, title): (String, String),
    sample: impl Fn(&[&str]) -> Result<f64>,
) -> Result<Table> {
    let mut all = vec![Samples::default(); CONTENDERS.len()];
    for _ in 0..bench.samples {
        for ((_, options), samples) in CONTENDERS.iter().zip(&mut all) {
            samples.push(sample(options)?);
        }
    }
    let names = CONTENDERS.iter().map(|(name, _)| (*name).to_owned());
    Ok(Table::new(name, title, Unit::Milliseconds, names.zip(all)))
}

fn runs(bench: &Bench) -> Result<Table> {
    let what = "docker run --rm IMAGE true";
    let label = label();
    let table = table(bench, ("docker-run".into(), what.into()), |options| {
        let began = now_ms();
        let command = [&["run", "--rm", &label], options, &[&bench.image, "true"]];
        docker(&command.concat())?;
        Ok(now_ms() - began)
    })?;
    let got = table.median(HERM) / table.median(TINI);
    let asked = Verdict::at_most(format!("{what}, beside tini"), 1.05, got, Unit::Ratio);
    Ok(table.asked(asked))
}

fn stops(bench: &Bench, count: usize) -> Result<Table> {
    let title = format!("docker stop of a container with {count} obedient services");
    let name = format!("docker-stop-{count}");
    let table = table(bench, (name, title), |options| stop(bench, options, count))?;
    let got = table.median(HERM) - table.median(TINI);
    let limit = f64::from(u32::try_from(count)?);
    let what = format!("docker stop with {count} services, beyond tini");
    let asked = Verdict::at_most(what, limit, got, Unit::Milliseconds);
    Ok(table.asked(asked))
}

/// herm supervises the services, as an image has them in `/etc/services.d`. Elsewhere they are
/// processes below the main program, which the kernel ends with it.
fn stop(bench: &Bench, options: &[&str], count: usize) -> Result<f64> {
    let scratch = Scratch::new()?;
    let mut reports = Reports::new(&scratch)?;
    let run = "#!/bin/sh\necho up >/reports\nexec sleep 2147483647\n";
    for number in 0..count {
        scratch.write(&format!("services/svc-{number:03}/run"), run, 0o755)?;
    }
    let (services, fifo) = (scratch.path().join("services"), reports.path().to_owned());
    let mount = |from: &Path, to: &str| format!("--volume={}:{to}", from.display());
    let mounts = [
        mount(&services, "/etc/services.d"),
        mount(&fifo, "/reports"),
    ];
    let label = label();
    let mut command = vec!["run", "--detach", &label, &mounts[0], &mounts[1]];
    command.extend(options);
    command.push(&bench.image);
    // As PID 1 a shell ignores TERM unless it has a trap.
    let main = "trap 'exit 0' TERM; echo up >/reports; while :; do sleep 1000 & wait; done";
    let both = format!("for run in /etc/services.d/*/run; do $run & done; {main}");
    let is_herm = options.is_empty();
    command.extend(["sh", "-c", if is_herm { main } else { &both }]);
    let id = docker(&command)?;
    let id = id.trim();
    reports.lines(count + 1)?;
    let began = now_ms();
    docker(&["stop", id])?;
    let took = now_ms() - began;
    docker(&["rm", "--force", "--volumes", id])?;
    Ok(took)
}
