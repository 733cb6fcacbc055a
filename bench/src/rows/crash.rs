//! From a death to the next start.

use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::Signal;

use crate::Bench;
use crate::contender::{Contender, OBEDIENT, Prepared};
use crate::host::kill;
use crate::report::Table;
use crate::sample::{Samples, Unit};
use crate::scratch::{Reports, Scratch, now_ms};
use crate::verdict::Verdict;

/// A run of this length has started well for every contender. Nothing is waited for but its age.
const AGE: Duration = Duration::from_millis(1200);

const CONTENDERS: [Contender; 4] = [
    Contender::Herm,
    Contender::S6,
    Contender::Runit,
    Contender::Supervisord,
];

pub(crate) fn measure(bench: &Bench) -> Result<Vec<Table>> {
    let title = "from the death of a service to its next start";
    let table = table(bench, "crash", title, 1)?;
    let got = table.median(Contender::Herm.name());
    let what = "from a crash to running again";
    let asked = Verdict::at_most(what, 2.0, got, Unit::Milliseconds);
    Ok(vec![table.asked(asked)])
}

pub(crate) fn storm(bench: &Bench) -> Result<Vec<Table>> {
    let title = "from the death of 500 services at once to the last of them running again";
    Ok(vec![table(bench, "storm", title, 500)?])
}

fn table(bench: &Bench, name: &str, title: &str, count: usize) -> Result<Table> {
    let mut all = vec![Samples::default(); CONTENDERS.len()];
    for _ in 0..bench.samples {
        for (contender, samples) in CONTENDERS.iter().zip(&mut all) {
            samples.push(sample(bench, *contender, count)?);
        }
    }
    let lines = CONTENDERS
        .iter()
        .map(|contender| contender.name().to_owned())
        .zip(all);
    Ok(Table::new(name, title, Unit::Milliseconds, lines))
}

/// One run: started, grown old enough, killed, started again.
fn sample(bench: &Bench, contender: Contender, count: usize) -> Result<f64> {
    let scratch = Scratch::new()?;
    let mut reports = Reports::new(&scratch)?;
    let prepared = Prepared::new(contender, &bench.init, &scratch, &reports, count, OBEDIENT)?;
    let running = prepared.launch()?;
    reports.lines(count)?;
    std::thread::sleep(AGE);
    let victims = sleepers(running.pid()?);
    anyhow::ensure!(
        victims.len() == count,
        "{} of {count} services run",
        victims.len()
    );
    let began = now_ms();
    for pid in victims {
        kill(pid, Signal::KILL).context("could not kill a service")?;
    }
    reports.lines(count)?;
    Ok(now_ms() - began)
}

/// The services' main processes below a supervisor.
fn sleepers(pid: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let mut left = vec![pid];
    while let Some(pid) = left.pop() {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        if name.trim() == "sleep" {
            found.push(pid);
        }
        left.extend(crate::host::children(pid).unwrap_or_default());
    }
    found
}
