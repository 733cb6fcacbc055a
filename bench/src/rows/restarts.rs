//! Memory after many restarts: a leak would show.

use anyhow::Result;

use crate::Bench;
use crate::contender::{Contender, OBEDIENT, Prepared};
use crate::host::{pss_kib, supervisors};
use crate::report::Table;
use crate::sample::{Samples, Unit};
use crate::scratch::{Reports, Scratch};

const RESTARTS: u32 = 10_000;

pub(crate) fn measure(bench: &Bench) -> Result<Vec<Table>> {
    let scratch = Scratch::new()?;
    let mut reports = Reports::new(&scratch)?;
    let prepared = Prepared::new(
        Contender::Herm,
        &bench.init,
        &scratch,
        &reports,
        1,
        OBEDIENT,
    )?;
    let running = prepared.launch()?;
    reports.lines(1)?;
    let pids = supervisors(running.pid()?);
    let before = pss_kib(&pids)?;
    let mut client = running.client()?;
    for _ in 0..RESTARTS {
        client.ask(herm_wire::Op::Restart {
            name: "svc-00000".into(),
            options: herm_wire::VerbOptions::default(),
        })?;
        reports.lines(1)?;
    }
    let after = pss_kib(&pids)?;
    let one = |value: f64| [value].into_iter().collect::<Samples>();
    let lines = [
        (format!("herm after {RESTARTS} restarts"), one(after)),
        ("herm before them".to_owned(), one(before)),
    ];
    let title = format!("memory of the supervision before and after {RESTARTS} restarts (PSS)");
    Ok(vec![Table::new("restarts", title, Unit::Kibibytes, lines)])
}
