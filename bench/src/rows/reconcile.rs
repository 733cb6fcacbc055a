//! The boot of a home with many profiles, and what the helpers that look after it use.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use herm_wire::{Op, WaitFor};

use crate::Bench;
use crate::client::Client;
use crate::host::{children, descriptors, pss_kib};
use crate::image_root::ImageRoot;
use crate::report::Table;
use crate::sample::{Samples, Unit};
use crate::scratch::{HANG, now_ms};
use crate::verdict::Verdict;

/// How many profiles, and in how many milliseconds beyond an empty home's boot they were asked to be
/// supervised.
const HOMES: [(usize, Option<f64>); 3] = [(100, None), (1000, Some(100.0)), (10_000, Some(1000.0))];

const HERM: &str = "herm, all profiles registered";
const EMPTY: &str = "herm, one profile";
const FLOOR: &str = "every file of the home read once";

pub(crate) fn measure(bench: &Bench) -> Result<Vec<Table>> {
    let mut tables = Vec::new();
    let mut keepers = Vec::new();
    for (count, asked) in HOMES {
        // A service has two descriptors in PID 1, and some are kept for clients and helpers.
        if descriptors() < count as u64 * 2 + 1200 {
            eprintln!("  the hard limit on descriptors leaves no room for {count} profiles");
            continue;
        }
        let (table, keeper) = table(bench, count)?;
        let got = table.median(HERM) - table.median(EMPTY);
        tables.push(match asked {
            Some(limit) => {
                let what = format!("boot reconcile of {count} profiles, beyond one profile");
                table.asked(Verdict::at_most(what, limit, got, Unit::Milliseconds))
            }
            None => table,
        });
        keepers.push((format!("herm's keeper, {count} profiles"), keeper));
    }
    let root = ImageRoot::new(bench)?;
    let dashboard: Result<Samples> = (0..bench.samples).map(|_| dashboard(&root)).collect();
    keepers.push(("herm's dashboard, one profile".to_owned(), dashboard?));
    let title = "memory of processes of the service user's that look after the home (PSS)";
    tables.push(Table::new("helpers", title, Unit::Kibibytes, keepers));
    Ok(tables)
}

fn table(bench: &Bench, count: usize) -> Result<(Table, Samples)> {
    let (empty, full) = (ImageRoot::new(bench)?, ImageRoot::new(bench)?);
    fill(&full, count)?;
    // Once each, so that the homes are warm.
    boot(&empty, 0)?;
    boot(&full, count)?;
    let mut all = vec![Samples::default(); 3];
    let mut keeper = Samples::default();
    for _ in 0..bench.samples {
        let (ms, kib) = boot(&full, count)?;
        all[0].push(ms);
        keeper.push(kib);
        all[1].push(boot(&empty, 0)?.0);
        all[2].push(read(&full)?);
    }
    let names = [HERM, EMPTY, FLOOR].map(str::to_owned);
    let title = format!("boot of a home with {count} profiles whose gateways are wanted down");
    let name = format!("reconcile-{count}");
    let table = Table::new(name, title, Unit::Milliseconds, names.into_iter().zip(all));
    Ok((table, keeper))
}

/// Profiles as operators leave them, each gateway stopped by an order.
fn fill(root: &ImageRoot, count: usize) -> Result<()> {
    let profiles = root.path().join("opt/data/profiles");
    for number in 0..count {
        let dir = profiles.join(format!("p{number:05}"));
        fs::create_dir_all(dir.join(".herm"))?;
        let write = |name: &str, text: &str| fs::write(dir.join(name), text);
        write("SOUL.md", "An agent.\n")?;
        write(
            "config.yaml",
            "model:\n  default: llama3.2\n  provider: custom\n",
        )?;
        let port = 20_000 + number;
        write(
            ".env",
            &format!("TELEGRAM_BOT_TOKEN={number}:abcdefgh\nAPI_SERVER_PORT={port}\n"),
        )?;
        write(
            ".herm/desired.json",
            "{\"state\":\"stopped\",\"generation\":1,\"by\":\"bench\",\"when\":\"2026-01-01T00:00:00Z\"}\n",
        )?;
    }
    let status = Command::new("chown")
        .args(["-R", "10000:10000"])
        .arg(root.path().join("opt/data"))
        .status()?;
    ensure!(status.success(), "chown: {status}");
    Ok(())
}

/// Boots the home; the time until all its profiles (the default one besides) are registered, and the
/// keeper's memory then.
fn boot(root: &ImageRoot, count: usize) -> Result<(f64, f64)> {
    let began = now_ms();
    let (container, mut client) = start(root, &[])?;
    client.ask(Op::Subscribe)?;
    let mut seen = BTreeSet::new();
    while seen.len() <= count {
        ensure!(
            now_ms() - began < HANG.as_secs_f64() * 1e3,
            "only {} of {count} profiles were registered",
            seen.len()
        );
        seen.extend(gateways(&client.line()?));
    }
    let took = now_ms() - began;
    Ok((took, pss_kib(&[container.helper("keeper")?])?))
}

/// The memory of the dashboard, once it answers.
fn dashboard(root: &ImageRoot) -> Result<f64> {
    // Free a moment ago; a network of its own would come without a loopback that is up.
    let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
    let port = port.to_string();
    let variables = [
        ("HERMES_DASHBOARD", "1"),
        ("HERMES_DASHBOARD_PORT", port.as_str()),
    ];
    let (container, mut client) = start(root, &variables)?;
    client.ask(Op::Wait {
        name: "dashboard".into(),
        until: WaitFor::Registered,
        timeout_ms: None,
    })?;
    client.ask(Op::Wait {
        name: "dashboard".into(),
        until: WaitFor::Ready,
        timeout_ms: None,
    })?;
    pss_kib(&[container.helper("dashboard")?])
}

/// A container with a home, and a client of its supervisor.
fn start(root: &ImageRoot, variables: &[(&str, &str)]) -> Result<(Container, Client)> {
    let socket = root.path().join("run/herm/control.sock");
    let _ = fs::remove_file(&socket);
    let mut command = root.container();
    command
        .args(["/init", "sleep", "2147483647"])
        .env("HERMES_HOME", "/opt/data")
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let container = Container(command.spawn()?);
    Ok((container, Client::connect(&socket)?))
}

/// The gateways that a line of the event stream names.
fn gateways(line: &str) -> Vec<String> {
    let parts = line.split("\"name\":\"gateway-").skip(1);
    let names = parts.filter_map(|rest| rest.split('"').next());
    names.map(str::to_owned).collect()
}

/// The whole container, ended with everything in it.
struct Container(Child);

impl Container {
    /// The process below the supervisor whose command line has this word.
    fn helper(&self, word: &str) -> Result<u32> {
        let first = children(self.0.id())?;
        let first = first.first().context("the supervisor has ended")?;
        let is_it = |pid: &u32| {
            let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            words
                .split(|byte| *byte == 0)
                .any(|own| own == word.as_bytes())
        };
        let found = children(*first)?.into_iter().find(is_it);
        found.with_context(|| format!("there is no {word}"))
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // Gone already if it failed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The floor: a process that reads all of it.
fn read(root: &ImageRoot) -> Result<f64> {
    let home: &Path = &root.path().join("opt/data");
    let began = now_ms();
    let status = Command::new(std::env::current_exe()?)
        .args(["role", "read"])
        .arg(home)
        .status()?;
    ensure!(status.success(), "could not read the home: {status}");
    Ok(now_ms() - began)
}
