//! Repair of ownership. Its contenders are in a program beside herm's own code
//! (`crates/init/benches/ownership.rs`), which says its medians in a line of JSON.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::Bench;
use crate::report::Table;
use crate::sample::{Samples, Unit};

/// Files in the home.
const FILES: usize = 100_000;

/// The program's last line: milliseconds by contender.
#[derive(Deserialize)]
struct Medians {
    clean: BTreeMap<String, f64>,
    wrong: BTreeMap<String, f64>,
}

pub(crate) fn measure(bench: &Bench) -> Result<Vec<Table>> {
    let program = bench.ownership.as_ref();
    let program = program.context("--ownership does not say where its program is")?;
    let output = Command::new(program)
        .args([FILES.to_string(), bench.samples.to_string()])
        .output()?;
    ensure!(
        output.status.success(),
        "{}: {}\n{}",
        program.display(),
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().next_back().unwrap_or_default();
    let medians: Medians = serde_json::from_str(line)
        .with_context(|| format!("no medians in the last line: {line}"))?;
    let table = |name: &str, title: String, medians: BTreeMap<String, f64>| {
        // herm first, as everywhere.
        let mut lines: Vec<(String, Samples)> = medians
            .into_iter()
            .map(|(contender, ms)| (contender, [ms].into_iter().collect()))
            .collect();
        lines.sort_by_key(|(contender, _)| contender != "herm");
        Table::new(name, title, Unit::Milliseconds, lines)
    };
    let title = |what: &str| format!("ownership of {FILES} files, {what} (medians)");
    Ok(vec![
        table(
            "ownership-clean",
            title("all as they should be"),
            medians.clean,
        ),
        table(
            "ownership-wrong",
            title("all to be repaired"),
            medians.wrong,
        ),
    ])
}
