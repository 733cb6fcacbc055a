//! The rows: one question each.

mod boot;
mod containers;
mod control;
mod crash;
mod logs;
mod many;
mod ownership;
mod reconcile;
mod restarts;
mod size;
mod together;

use anyhow::{Result, bail};

use crate::Bench;
use crate::report::Table;

/// One question and how it is answered. A row may fill several tables from the same runs.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) question: &'static str,
    pub(crate) measure: fn(&Bench) -> Result<Vec<Table>>,
}

pub(crate) const ALL: &[Row] = &[
    Row {
        name: "boot",
        question: "from the start of PID 1 to the main program's first instruction, and from its end to the container's",
        measure: boot::measure,
    },
    Row {
        name: "crash",
        question: "from the death of a stable service to its next start",
        measure: crash::measure,
    },
    Row {
        name: "storm",
        question: "from the death of 500 services at once to the last of them running again",
        measure: crash::storm,
    },
    Row {
        name: "services-100",
        question: "100 logged services: until all run, memory, wake-ups when idle, until all have stopped",
        measure: |bench| many::measure(bench, 100),
    },
    Row {
        name: "services-1000",
        question: "1,000 logged services: until all run, memory, wake-ups when idle, until all have stopped",
        measure: |bench| many::measure(bench, 1000),
    },
    Row {
        name: "services-10000",
        question: "10,000 logged services, where there are descriptors for so many",
        measure: |bench| many::measure_most(bench, 10_000),
    },
    Row {
        name: "control",
        question: "50 clients ask about one of 1,000 services, as fast as they can",
        measure: control::measure,
    },
    Row {
        name: "logs",
        question: "log throughput: 120-byte lines, timestamps, rotation; 64 KiB and 8 KiB pipes",
        measure: logs::measure,
    },
    Row {
        name: "together",
        question: "1,000 services write their logs at the same time",
        measure: together::measure,
    },
    Row {
        name: "restarts",
        question: "memory after 100,000 restarts",
        measure: restarts::measure,
    },
    Row {
        name: "reconcile",
        question: "boot of a home with 100, 1,000 and 10,000 profiles, and the keeper's memory",
        measure: reconcile::measure,
    },
    Row {
        name: "ownership",
        question: "repair of ownership beside find and chown -R",
        measure: ownership::measure,
    },
    Row {
        name: "size",
        question: "what has to be in an image",
        measure: size::measure,
    },
    Row {
        name: "containers",
        question: "docker run, and docker stop with 1, 10 and 100 services, of a whole container",
        measure: containers::measure,
    },
];

/// The rows of these names; all if there is none.
pub(crate) fn named(names: &[String]) -> Result<Vec<&'static Row>> {
    if names.is_empty() {
        return Ok(ALL.iter().collect());
    }
    let find = |name: &String| match ALL.iter().find(|row| row.name == name) {
        Some(row) => Ok(row),
        None => bail!("no row {name}; `herm-bench list` shows them"),
    };
    names.iter().map(find).collect()
}
