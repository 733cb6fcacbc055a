//! How much a log daemon takes in a second.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::Bench;
use crate::contender::{Contender, Prepared};
use crate::host::is_installed;
use crate::report::Table;
use crate::sample::{Samples, Unit};
use crate::scratch::{HANG, Reports, Scratch, now_ms};

/// Written in each sample.
const BYTES: usize = 512 * 1024 * 1024;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Logger {
    Herm,
    HermForwarding,
    S6,
    S6Bare,
    Runit,
    Cat,
}

impl Logger {
    const ALL: [Self; 6] = [
        Self::Herm,
        Self::HermForwarding,
        Self::S6,
        Self::S6Bare,
        Self::Runit,
        Self::Cat,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Herm => "herm (timestamps)",
            Self::HermForwarding => "herm (timestamps, and forwarded to a file)",
            Self::S6 => "s6-log t (timestamps)",
            Self::S6Bare => "s6-log (no timestamps)",
            Self::Runit => "svlogd -tt (timestamps)",
            Self::Cat => "cat > file",
        }
    }

    fn is_here(self) -> bool {
        match self {
            Self::Herm | Self::HermForwarding | Self::Cat => true,
            Self::S6 | Self::S6Bare => is_installed("s6-log"),
            Self::Runit => is_installed("svlogd"),
        }
    }
}

pub(crate) fn measure(bench: &Bench) -> Result<Vec<Table>> {
    let here: Vec<Logger> = Logger::ALL
        .into_iter()
        .filter(|logger| logger.is_here())
        .collect();
    let mut all = vec![Samples::default(); here.len()];
    for _ in 0..bench.samples {
        for (logger, samples) in here.iter().zip(&mut all) {
            let ms = sample(bench, *logger)?;
            #[expect(clippy::cast_precision_loss, reason = "bytes of one sample")]
            samples.push(BYTES as f64 / 1e3 / ms);
        }
    }
    let lines = here.iter().map(|logger| logger.name().to_owned()).zip(all);
    let title = "log throughput, one stream of 120-byte lines in writes of 64 KiB";
    Ok(vec![Table::new(
        "logs",
        title,
        Unit::MegabytesPerSecond,
        lines,
    )])
}

/// From the writer's start to the logger's end, so that everything written has been taken.
fn sample(bench: &Bench, logger: Logger) -> Result<f64> {
    let scratch = Scratch::new()?;
    let logs = scratch.dir("logs")?;
    if matches!(logger, Logger::Herm | Logger::HermForwarding) {
        return herm(bench, &scratch, logger == Logger::HermForwarding);
    }
    let mut command = match logger {
        Logger::S6 => words(&["s6-log", "t", "s1000000", "n10"], &logs),
        Logger::S6Bare => words(&["s6-log", "s1000000", "n10"], &logs),
        Logger::Runit => {
            scratch.write("logs/config", "s1000000\nn10\n", 0o644)?;
            words(&["svlogd", "-tt"], &logs)
        }
        _ => Command::new("cat"),
    };
    let began = now_ms();
    let mut writer = Command::new(std::env::current_exe()?)
        .args(["role", "lines", &BYTES.to_string()])
        .stdout(Stdio::piped())
        .spawn()?;
    let stream = writer.stdout.take().context("the writer has no output")?;
    let output = File::create(scratch.path().join("copy"))?;
    let status = command.stdin(stream).stdout(output).status()?;
    anyhow::ensure!(status.success(), "{} failed: {status}", logger.name());
    writer.wait()?;
    Ok(now_ms() - began)
}

fn words(words: &[&str], last: &Path) -> Command {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).arg(last);
    command
}

/// The last line of the stream, to be seen in the kept log.
const END: &str = "this was all";

/// herm's log daemon works for a supervisor only, so the time of registering and starting the service is in this number too.
fn herm(bench: &Bench, scratch: &Scratch, forwards: bool) -> Result<f64> {
    let reports = Reports::new(scratch)?;
    let program = std::env::current_exe()?;
    let body = format!(
        "{} role lines {BYTES}\necho {END}\nexec sleep 2147483647\n",
        program.display()
    );
    let mut prepared = Prepared::new(Contender::Herm, &bench.init, scratch, &reports, 0, &body)?;
    prepared.forwards = forwards;
    let running = prepared.launch()?;
    let mut client = running.client()?;
    let spec = prepared.spec("svc".to_owned());
    let began = now_ms();
    client.ask(herm_wire::Op::Register {
        spec: Box::new(spec),
    })?;
    let current = scratch.path().join("logs/svc/current");
    let guard = std::time::Instant::now();
    loop {
        if tail(&current).trim_ascii_end().ends_with(END.as_bytes()) {
            return Ok(now_ms() - began);
        }
        anyhow::ensure!(guard.elapsed() < HANG, "the log never ended");
        // A file's growth has no event that costs the writer nothing; 5 ms is below one percent of a sample.
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A file's last bytes: to read all of it again and again would take the processor from whoever is measured.
fn tail(path: &Path) -> Vec<u8> {
    let read = || {
        let mut file = File::open(path)?;
        let length = file.seek(SeekFrom::End(0))?;
        file.seek(SeekFrom::Start(length.saturating_sub(64)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        std::io::Result::Ok(bytes)
    };
    read().unwrap_or_default()
}
