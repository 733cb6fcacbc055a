//! The machine: what it is, what is installed, what its processes use.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

/// What the numbers were measured on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) kernel: String,
    pub(crate) cores: usize,
    pub(crate) processor: String,
    pub(crate) memory_kib: u64,
    /// Peers and their versions.
    pub(crate) peers: Vec<String>,
    pub(crate) date: String,
}

/// The peers' programs, and Debian's packages that have them.
const PEERS: &[(&str, &str)] = &[
    ("s6-svscan", "s6"),
    ("runsvdir", "runit"),
    ("supervisord", "supervisor"),
    ("tini-static", "tini"),
    ("dumb-init", "dumb-init"),
];

pub(crate) fn describe() -> Result<Machine> {
    let information = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let processor = information
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or_else(|| "unknown".to_owned(), |(_, name)| name.trim().to_owned());
    Ok(Machine {
        kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?
            .trim()
            .to_owned(),
        cores: std::thread::available_parallelism()?.get(),
        processor,
        memory_kib: field(&fs::read_to_string("/proc/meminfo")?, "MemTotal:").unwrap_or(0),
        peers: PEERS.iter().filter_map(|peer| version(peer.1)).collect(),
        date: output("date", &["--utc", "+%F"])?.trim().to_owned(),
    })
}

fn version(package: &str) -> Option<String> {
    let version = output(
        "dpkg-query",
        &["--show", "--showformat=${Version}", package],
    )
    .ok()?;
    Some(format!("{package} {version}"))
}

fn output(program: &str, args: &[&str]) -> Result<String> {
    let output = Command::new(program).args(args).output()?;
    anyhow::ensure!(output.status.success(), "{program}: {}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}

/// Fails where a peer is missing: a row without it would look like a whole one.
pub(crate) fn require_peers() -> Result<()> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    for (program, package) in PEERS {
        let found = std::env::split_paths(&path).any(|dir| dir.join(program).is_file());
        anyhow::ensure!(
            found,
            "the peer {program} is not installed: `cargo xtask bench` does it, or `apt-get install {package}`"
        );
    }
    Ok(())
}

/// The children of a process.
pub(crate) fn children(pid: u32) -> Result<Vec<u32>> {
    let mut children = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(task?.path().join("children"))?;
        children.extend(
            text.split_whitespace()
                .filter_map(|pid| pid.parse::<u32>().ok()),
        );
    }
    Ok(children)
}

/// A process and everything below it, but the services themselves (`sleep`, their script).
pub(crate) fn supervisors(pid: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let mut left = vec![pid];
    while let Some(pid) = left.pop() {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        if matches!(name.trim(), "sleep" | "service" | "") {
            continue;
        }
        found.push(pid);
        left.extend(children(pid).unwrap_or_default());
    }
    found
}

/// The proportional share of memory of some processes, in KiB.
pub(crate) fn pss_kib(pids: &[u32]) -> Result<f64> {
    let mut sum = 0;
    for pid in pids {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))
            .with_context(|| format!("could not read the memory of process {pid}"))?;
        sum += field(&text, "Pss:").unwrap_or(0);
    }
    #[expect(clippy::cast_precision_loss, reason = "KiB of memory")]
    let sum = sum as f64;
    Ok(sum)
}

/// How often some processes were given a processor so far.
pub(crate) fn switches(pids: &[u32]) -> u64 {
    let of = |pid: &u32| {
        let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let voluntary = field(&text, "voluntary_ctxt_switches:").unwrap_or(0);
        voluntary + field(&text, "nonvoluntary_ctxt_switches:").unwrap_or(0)
    };
    pids.iter().map(of).sum()
}

fn field(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

pub(crate) fn kill(pid: u32, signal: Signal) -> Result<()> {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .context("not a pid")?;
    Ok(kill_process(pid, signal)?)
}

/// How many descriptors a process may have at most.
pub(crate) fn descriptors() -> u64 {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.maximum.unwrap_or(u64::MAX)
}
