//! From the start of PID 1 to the main program, and from the main program's end to the container's.
//!
//! In the image's own files, in namespaces made by unshare(1): a container's engine would add a
//! hundred times what is measured.

use std::process::Stdio;

use anyhow::{Context, Result};

use crate::Bench;
use crate::image_root::ImageRoot;
use crate::report::Table;
use crate::sample::{Samples, Unit};
use crate::scratch::now_ms;
use crate::verdict::Verdict;

/// What is first in the container.
#[derive(Clone, Copy, PartialEq, Eq)]
enum First {
    HermWithSetup,
    Herm,
    Tini,
    DumbInit,
    Nothing,
}

impl First {
    const ALL: [Self; 5] = [
        Self::HermWithSetup,
        Self::Herm,
        Self::Tini,
        Self::DumbInit,
        Self::Nothing,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::HermWithSetup => "herm, setup on a warm home",
            Self::Herm => "herm, no setup",
            Self::Tini => "tini",
            Self::DumbInit => "dumb-init",
            Self::Nothing => "no init at all",
        }
    }
}

/// One container's life: the time to the main program's first instruction, and from it to the end.
fn sample(root: &ImageRoot, first: First) -> Result<(f64, f64)> {
    let stamp = root.path().join("shared/stamp");
    let _ = std::fs::remove_file(&stamp);
    let mut command = root.container();
    match first {
        First::HermWithSetup => {
            command.arg("/init").env("HERMES_HOME", "/opt/data");
        }
        First::Herm => {
            command.arg("/init").env("HERM_SETUP", "0");
        }
        First::Tini => {
            command.args(["/tini-static", "--"]);
        }
        First::DumbInit => {
            command.args(["/dumb-init", "--"]);
        }
        First::Nothing => {}
    }
    command.args(["/stamp", "role", "stamp", "/shared/stamp"]);
    let began = now_ms();
    let output = command.stdin(Stdio::null()).output()?;
    let ended = now_ms();
    let text = std::fs::read_to_string(&stamp).with_context(|| {
        format!(
            "{} did not run the main program: {}",
            first.name(),
            String::from_utf8_lossy(&output.stderr)
        )
    })?;
    let stamped: f64 = text.trim().parse()?;
    Ok((stamped - began, ended - stamped))
}

pub(crate) fn measure(bench: &Bench) -> Result<Vec<Table>> {
    let root = ImageRoot::new(bench)?;
    // Once each for a warm home and warm files.
    for first in First::ALL {
        sample(&root, first)?;
    }
    let mut starts = vec![Samples::default(); First::ALL.len()];
    let mut ends = starts.clone();
    for _ in 0..bench.samples * 3 {
        for ((first, start), end) in First::ALL.iter().zip(&mut starts).zip(&mut ends) {
            let (to_main, to_end) = sample(&root, *first)?;
            start.push(to_main);
            end.push(to_end);
        }
    }
    let names = || First::ALL.iter().map(|first| first.name().to_owned());
    let boot = Table::new(
        "boot",
        "from the start of PID 1 to the main program's first instruction",
        Unit::Milliseconds,
        names().zip(starts),
    );
    let exit = Table::new(
        "exit",
        "from the main program's last instruction to the end of PID 1",
        Unit::Milliseconds,
        names().zip(ends),
    );
    Ok(with_verdicts(boot, exit))
}

fn with_verdicts(boot: Table, exit: Table) -> Vec<Table> {
    let floor = boot.median(First::Nothing.name());
    let beyond = |first: First| boot.median(first.name()) - floor;
    let (bare, warm) = (beyond(First::Herm), beyond(First::HermWithSetup));
    let ended = exit.median(First::Herm.name());
    let ms = Unit::Milliseconds;
    vec![
        boot.asked(Verdict::at_most(
            "boot without setup, beyond no init",
            2.0,
            bare,
            ms,
        ))
        .asked(Verdict::at_most(
            "boot with setup on a warm home, beyond no init",
            10.0,
            warm,
            ms,
        )),
        exit.asked(Verdict::at_most(
            "from the main program's end to the container's",
            2.0,
            ended,
            ms,
        )),
    ]
}
