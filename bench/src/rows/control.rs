//! Many clients at the control socket at once.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use herm_wire::Op;

use crate::Bench;
use crate::client::Client;
use crate::contender::{Contender, OBEDIENT, Prepared};
use crate::report::Table;
use crate::sample::{Samples, Unit};
use crate::scratch::{Reports, Scratch, now_ms};

const SERVICES: usize = 1000;
const CLIENTS: usize = 50;
/// Of each client in each sample.
const REQUESTS: usize = 200;
/// As many bytes as the answer about one service has, roughly.
const ANSWER: usize = 600;

/// What the clients of one sample found.
struct Load {
    per_second: f64,
    slowest_hundredth: f64,
}

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
    let echo = Echo::start(&scratch)?;
    let sockets = [running.socket(), echo.socket.clone()];
    let mut all: [(Samples, Samples); 2] = Default::default();
    for _ in 0..bench.samples {
        for (socket, (rates, latencies)) in sockets.iter().zip(&mut all) {
            let load = hammer(socket)?;
            rates.push(load.per_second);
            latencies.push(load.slowest_hundredth);
        }
    }
    let [herm, bare] = all;
    let names = ["herm".to_owned(), "an echo of as many bytes".to_owned()];
    let title =
        |what: &str| format!("{CLIENTS} clients ask about one of {SERVICES} services: {what}");
    Ok(vec![
        Table::new(
            "control-rate",
            title("answers"),
            Unit::PerSecond,
            names.clone().into_iter().zip([herm.0, bare.0]),
        ),
        Table::new(
            "control-latency",
            title("the slowest hundredth"),
            Unit::Milliseconds,
            names.into_iter().zip([herm.1, bare.1]),
        ),
    ])
}

/// All clients at once, each with one request on its way.
fn hammer(socket: &Path) -> Result<Load> {
    let began = now_ms();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let socket = socket.to_owned();
            std::thread::spawn(move || ask(&socket, number))
        })
        .collect();
    let mut latencies = Vec::with_capacity(CLIENTS * REQUESTS);
    for client in clients {
        let asked = client.join().ok().context("a client panicked")??;
        latencies.extend(asked);
    }
    let took = now_ms() - began;
    latencies.sort_by(f64::total_cmp);
    #[expect(clippy::cast_precision_loss, reason = "a small count")]
    let per_second = latencies.len() as f64 / took * 1e3;
    Ok(Load {
        per_second,
        slowest_hundredth: latencies[latencies.len() * 99 / 100],
    })
}

fn ask(socket: &Path, number: usize) -> Result<Vec<f64>> {
    let mut client = Client::connect(socket)?;
    let one = |_| {
        let name = format!("svc-{number:05}");
        let began = now_ms();
        client.send(Op::Service { name })?;
        client.line()?;
        Ok(now_ms() - began)
    };
    (0..REQUESTS).map(one).collect()
}

/// The bare server.
struct Echo {
    process: Child,
    socket: std::path::PathBuf,
}

impl Echo {
    fn start(scratch: &Scratch) -> Result<Self> {
        let socket = scratch.path().join("echo.sock");
        let process = Command::new(std::env::current_exe()?)
            .args(["role", "echo"])
            .arg(&socket)
            .arg(ANSWER.to_string())
            .stdin(Stdio::null())
            .spawn()?;
        Ok(Self { process, socket })
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        // Gone already if it failed.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
