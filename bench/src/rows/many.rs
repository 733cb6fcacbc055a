//! Many services with logs: starting, memory, idling, stopping.

use std::time::Duration;

use anyhow::Result;
use rustix::process::Signal;

use crate::Bench;
use crate::contender::{Contender, OBEDIENT, Prepared, Running};
use crate::host::{descriptors, pss_kib, supervisors, switches};
use crate::report::Table;
use crate::sample::{Samples, Unit};
use crate::scratch::{Reports, Scratch, now_ms};
use crate::verdict::Verdict;

/// How long idling is watched. Nothing is waited for: it is the thing measured.
const IDLE: Duration = Duration::from_secs(2);
/// Descriptors of herm's that no service has: for clients, helpers and itself.
const RESERVED: u64 = 1200;
/// Requests for the status of everything, in each run.
const STATUS_REQUESTS: usize = 50;

#[derive(Default)]
struct Measured {
    start: Samples,
    pss: Samples,
    processes: Samples,
    idle: Samples,
    status: Samples,
    stop: Samples,
}

pub(crate) fn measure(bench: &Bench, count: usize) -> Result<Vec<Table>> {
    let contenders = [
        Contender::Herm,
        Contender::S6,
        Contender::Runit,
        Contender::Supervisord,
        Contender::BareLoop,
    ];
    measure_of(bench, count, &count.to_string(), &contenders)
}

/// herm and the bare loop only (the peers need three processes for each service), and as many as the
/// limit on descriptors leaves room for.
pub(crate) fn measure_most(bench: &Bench, count: usize) -> Result<Vec<Table>> {
    let room = usize::try_from(descriptors().saturating_sub(RESERVED) / 2).unwrap_or(usize::MAX);
    let possible = count.min(room);
    if possible < count {
        eprintln!("  the hard limit on descriptors leaves room for {possible} of {count} services");
    }
    let contenders = [Contender::Herm, Contender::BareLoop];
    measure_of(bench, possible, &count.to_string(), &contenders)
}

/// Memory of PID 1 and the log daemon that was asked for: for so many services, so many KiB.
const MEMORY: [(usize, f64); 3] = [(100, 2.5), (1000, 6.0), (10_000, 40.0)];

fn measure_of(
    bench: &Bench,
    count: usize,
    suffix: &str,
    contenders: &[Contender],
) -> Result<Vec<Table>> {
    let mut all: Vec<Measured> = contenders.iter().map(|_| Measured::default()).collect();
    for _ in 0..bench.samples {
        for (contender, measured) in contenders.iter().zip(&mut all) {
            sample(bench, *contender, count, measured)?;
        }
    }
    let table = |(name, title, unit, of): &(&str, &str, Unit, Of)| {
        let lines = contenders.iter().zip(&all);
        let lines =
            lines.map(|(contender, measured)| (contender.name().to_owned(), of(measured).clone()));
        let title = format!("{count} logged services: {title}");
        judged(
            name,
            count,
            Table::new(format!("{name}-{suffix}"), title, *unit, lines),
        )
    };
    Ok(TABLES.iter().map(table).collect())
}

type Of = fn(&Measured) -> &Samples;

const TABLES: [(&str, &str, Unit, Of); 6] = [
    ("start", "until all run", Unit::Milliseconds, |m| &m.start),
    (
        "memory",
        "memory of the supervision (PSS)",
        Unit::Kibibytes,
        |m| &m.pss,
    ),
    (
        "processes",
        "processes of the supervision",
        Unit::Count,
        |m| &m.processes,
    ),
    ("idle", "wake-ups in 2 s of idling", Unit::Count, |m| {
        &m.idle
    }),
    (
        "status",
        "one look at the status of all",
        Unit::Milliseconds,
        |m| &m.status,
    ),
    ("stop", "until all have stopped", Unit::Milliseconds, |m| {
        &m.stop
    }),
];

/// The table, held against what was asked of it.
fn judged(name: &str, count: usize, table: Table) -> Table {
    let herm = table.median(Contender::Herm.name());
    let (what, limit, got, unit) = match name {
        "start" => {
            let ratio = herm / table.median(Contender::BareLoop.name());
            ("start, beside a bare spawn loop", 1.5, ratio, Unit::Ratio)
        }
        "memory" => {
            let asked = MEMORY.into_iter().find(|(services, _)| *services >= count);
            let limit = asked.map_or(f64::NAN, |(_, mib)| mib * 1024.0);
            (
                "memory of PID 1 and log daemon",
                limit,
                herm,
                Unit::Kibibytes,
            )
        }
        "processes" => ("processes", 2.0, herm, Unit::Count),
        "idle" => ("wake-ups when idle", 0.0, herm, Unit::Count),
        _ => return table,
    };
    table.asked(Verdict::at_most(
        format!("{what}, {count} services"),
        limit,
        got,
        unit,
    ))
}

fn sample(
    bench: &Bench,
    contender: Contender,
    count: usize,
    measured: &mut Measured,
) -> Result<()> {
    let scratch = Scratch::new()?;
    let mut reports = Reports::new(&scratch)?;
    let prepared = Prepared::new(contender, &bench.init, &scratch, &reports, count, OBEDIENT)?;
    let began = now_ms();
    let running = prepared.launch()?;
    reports.lines(count)?;
    measured.start.push(now_ms() - began);
    if contender != Contender::BareLoop {
        // What was done for the start is over; then idling is idle.
        std::thread::sleep(Duration::from_secs(1));
        usage(&running, measured)?;
        if contender == Contender::Herm {
            status(&running, measured)?;
        }
    }
    let began = now_ms();
    stop(contender, running)?;
    if contender != Contender::BareLoop {
        measured.stop.push(now_ms() - began);
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "small counts")]
fn usage(running: &Running, measured: &mut Measured) -> Result<()> {
    let pids = supervisors(running.pid()?);
    measured.pss.push(pss_kib(&pids)?);
    measured.processes.push(pids.len() as f64);
    let before = switches(&pids);
    std::thread::sleep(IDLE);
    measured
        .idle
        .push(switches(&pids).saturating_sub(before) as f64);
    Ok(())
}

fn status(running: &Running, measured: &mut Measured) -> Result<()> {
    let mut client = running.client()?;
    for _ in 0..STATUS_REQUESTS {
        let began = now_ms();
        client.ask(herm_wire::Op::Status)?;
        measured.status.push(now_ms() - began);
    }
    Ok(())
}

fn stop(contender: Contender, running: Running) -> Result<()> {
    running.stop(match contender {
        // `runsvdir` takes HUP for "stop all services, then exit".
        Contender::Runit => Signal::HUP,
        // It has nothing to stop in order.
        Contender::BareLoop => Signal::KILL,
        _ => Signal::TERM,
    })
}
