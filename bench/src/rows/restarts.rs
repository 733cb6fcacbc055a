//! Memory after many restarts: a leak would show.

use anyhow::Result;
use herm_wire::{Op, VerbOptions};

use crate::Bench;
use crate::contender::{Contender, OBEDIENT, Prepared};
use crate::host::{pss_kib, supervisors};
use crate::report::Table;
use crate::sample::{Samples, Unit};
use crate::scratch::{Reports, Scratch};
use crate::verdict::Verdict;

/// Restarted in turn, all at once.
const SERVICES: usize = 100;
/// Of a whole run; a run of fewer samples than usual makes fewer.
const RESTARTS: usize = 100_000;
const USUAL_SAMPLES: usize = 7;

pub(crate) fn measure(bench: &Bench) -> Result<Vec<Table>> {
    let scratch = Scratch::new()?;
    let mut reports = Reports::new(&scratch)?;
    let prepared = Prepared::new(
        Contender::Herm,
        &bench.init,
        &scratch,
        &reports,
        SERVICES,
        OBEDIENT,
    )?;
    let running = prepared.launch()?;
    reports.lines(SERVICES)?;
    let pids = supervisors(running.pid()?);
    let rounds = RESTARTS * bench.samples.min(USUAL_SAMPLES) / USUAL_SAMPLES / SERVICES;
    let mut client = running.client()?;
    let mut before = f64::NAN;
    for round in 0..rounds {
        for number in 0..SERVICES {
            client.send(Op::Restart {
                name: format!("svc-{number:05}"),
                options: VerbOptions::default(),
            })?;
        }
        for _ in 0..SERVICES {
            client.answer()?;
        }
        reports.lines(SERVICES)?;
        // What one restart of each leaves in buffers is no leak.
        if round == 0 {
            before = pss_kib(&pids)?;
        }
    }
    let after = pss_kib(&pids)?;
    let one = |value: f64| [value].into_iter().collect::<Samples>();
    let restarts = rounds * SERVICES;
    let lines = [
        (format!("herm after {restarts} restarts"), one(after)),
        (format!("herm after {SERVICES} restarts"), one(before)),
    ];
    let title =
        format!("{SERVICES} logged services: memory of the supervision after restarts (PSS)");
    let table = Table::new("restarts", title, Unit::Kibibytes, lines);
    let what = format!("memory after {restarts} restarts, beside after {SERVICES}");
    Ok(vec![table.asked(Verdict::at_most(
        what,
        1.1,
        after / before,
        Unit::Ratio,
    ))])
}
