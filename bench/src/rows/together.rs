//! Many services that write their logs at the same time.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;

use anyhow::{Result, ensure};
use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::logs::await_end;
use crate::Bench;
use crate::contender::{Contender, Prepared};
use crate::report::Table;
use crate::sample::{Samples, Unit};
use crate::scratch::{HANG, Reports, Scratch, now_ms};

const SERVICES: usize = 1000;
/// Of each service.
const BYTES: usize = 128 * 1024;
/// The last line of each log.
const END: &str = "this was all";

const CONTENDERS: [Contender; 3] = [Contender::Herm, Contender::S6, Contender::Runit];

pub(crate) fn measure(bench: &Bench) -> Result<Vec<Table>> {
    let mut all = vec![Samples::default(); CONTENDERS.len()];
    for _ in 0..bench.samples {
        for (contender, samples) in CONTENDERS.iter().zip(&mut all) {
            let ms = sample(bench, *contender)?;
            #[expect(clippy::cast_precision_loss, reason = "bytes of one sample")]
            samples.push((SERVICES * BYTES) as f64 / 1e3 / ms);
        }
    }
    let names = CONTENDERS
        .iter()
        .map(|contender| contender.name().to_owned());
    Ok(vec![Table::new(
        "logs-together",
        format!("{SERVICES} services each write 128 KiB of 120-byte lines at the same time"),
        Unit::MegabytesPerSecond,
        names.zip(all),
    )])
}

/// All wait for a word; from it until the last line of the last log.
fn sample(bench: &Bench, contender: Contender) -> Result<f64> {
    let scratch = Scratch::new()?;
    let mut reports = Reports::new(&scratch)?;
    let go = scratch.path().join("go");
    mknodat(CWD, &go, FileType::Fifo, Mode::from_raw_mode(0o644), 0)?;
    // The end of the FIFO is the word: it reaches all of its readers.
    let body = format!(
        "echo $$ >\"$REPORTS\"\nread word <{}\n{} role lines {BYTES} 65536\necho {END}\n\
         echo $$ >\"$REPORTS\"\nexec sleep 2147483647\n",
        go.display(),
        std::env::current_exe()?.display(),
    );
    let prepared = Prepared::new(contender, &bench.init, &scratch, &reports, SERVICES, &body)?;
    let _running = prepared.launch()?;
    reports.lines(SERVICES)?;
    let began = now_ms();
    let mut done = 0;
    while done < SERVICES {
        ensure!(
            now_ms() - began < HANG.as_secs_f64() * 1e3,
            "only {done} have written"
        );
        // Who comes to the FIFO a moment later waits for the next end. Without a reader it can't be opened.
        drop(
            OpenOptions::new()
                .write(true)
                .custom_flags(NONBLOCK)
                .open(&go),
        );
        done += reports.lines_within(SERVICES - done)?;
    }
    for number in 0..SERVICES {
        let log = scratch.path().join(format!("logs/svc-{number:05}"));
        await_end(&log.join("current"), END)?;
    }
    Ok(now_ms() - began)
}

#[expect(clippy::cast_possible_wrap, reason = "a flag of open(2)")]
const NONBLOCK: i32 = rustix::fs::OFlags::NONBLOCK.bits() as i32;
