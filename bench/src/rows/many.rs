//! Many services with logs: starting, memory, idling, stopping.

use std::time::Duration;

use anyhow::Result;
use rustix::process::Signal;

use crate::Bench;
use crate::contender::{Contender, OBEDIENT, Prepared, Running};
use crate::host::{pss_kib, supervisors, switches};
use crate::report::Table;
use crate::sample::{Samples, Unit};
use crate::scratch::{Reports, Scratch, now_ms};

/// How long idling is watched. Nothing is waited for: it is the thing measured.
const IDLE: Duration = Duration::from_secs(5);
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
    measure_of(bench, count, &contenders)
}

/// herm and the bare loop only: the peers need three processes for each service.
pub(crate) fn measure_alone(bench: &Bench, count: usize) -> Result<Vec<Table>> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    let needed = u64::try_from(count)? * 2 + 1000;
    if limit.is_some_and(|limit| limit < needed) {
        eprintln!(
            "  left out: {count} services need {needed} descriptors, and the hard limit is {limit:?}"
        );
        return Ok(Vec::new());
    }
    measure_of(bench, count, &[Contender::Herm, Contender::BareLoop])
}

fn measure_of(bench: &Bench, count: usize, contenders: &[Contender]) -> Result<Vec<Table>> {
    let here: Vec<Contender> = contenders
        .iter()
        .copied()
        .filter(|contender| contender.is_here())
        .collect();
    let mut all: Vec<Measured> = here.iter().map(|_| Measured::default()).collect();
    for _ in 0..bench.samples {
        for (contender, measured) in here.iter().zip(&mut all) {
            sample(bench, *contender, count, measured)?;
        }
    }
    let table = |name: &str, title: String, unit, of: fn(&Measured) -> &Samples| {
        let lines = here.iter().zip(&all);
        let lines =
            lines.map(|(contender, measured)| (contender.name().to_owned(), of(measured).clone()));
        Table::new(format!("{name}-{count}"), title, unit, lines)
    };
    Ok(vec![
        table(
            "start",
            format!("{count} logged services: until all run"),
            Unit::Milliseconds,
            |m| &m.start,
        ),
        table(
            "memory",
            format!("{count} logged services: memory of the supervision (PSS)"),
            Unit::Kibibytes,
            |m| &m.pss,
        ),
        table(
            "processes",
            format!("{count} logged services: processes of the supervision"),
            Unit::Count,
            |m| &m.processes,
        ),
        table(
            "idle",
            format!(
                "{count} logged services: wake-ups in {} s of idling",
                IDLE.as_secs()
            ),
            Unit::Count,
            |m| &m.idle,
        ),
        table(
            "status",
            format!("{count} logged services: one look at the status of all"),
            Unit::Milliseconds,
            |m| &m.status,
        ),
        table(
            "stop",
            format!("{count} obedient services: until everything has stopped"),
            Unit::Milliseconds,
            |m| &m.stop,
        ),
    ])
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
