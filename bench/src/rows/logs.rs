//! How much a log daemon takes in a second.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::Bench;
use crate::contender::{Contender, Prepared};
use crate::report::Table;
use crate::sample::{Samples, Unit};
use crate::scratch::{HANG, Reports, Scratch, now_ms};
use crate::verdict::Verdict;

/// A size of the pipe between writer and logger, and what is written through it in each sample.
#[derive(Clone, Copy)]
struct Stream {
    pipe: usize,
    bytes: usize,
}

/// A pipe's usual size, and what the kernel gives a user who has many.
const STREAMS: [Stream; 2] = [
    Stream {
        pipe: 64 * 1024,
        bytes: 256 * 1024 * 1024,
    },
    Stream {
        pipe: 8 * 1024,
        bytes: 64 * 1024 * 1024,
    },
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Logger {
    Herm,
    HermForwarding,
    HermS6,
    S6,
    S6Bare,
    Runit,
    Cat,
}

impl Logger {
    const ALL: [Self; 7] = [
        Self::Herm,
        Self::HermForwarding,
        Self::HermS6,
        Self::S6,
        Self::S6Bare,
        Self::Runit,
        Self::Cat,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Herm => HERM,
            Self::HermForwarding => "herm (timestamps, and forwarded to a file)",
            Self::HermS6 => "herm as s6-log t (timestamps)",
            Self::S6 => S6,
            Self::S6Bare => "s6-log (no timestamps)",
            Self::Runit => "svlogd -tt (timestamps)",
            Self::Cat => "cat > file",
        }
    }
}

const HERM: &str = "herm (timestamps)";
const S6: &str = "s6-log t (timestamps)";

pub(crate) fn measure(bench: &Bench) -> Result<Vec<Table>> {
    STREAMS.iter().map(|stream| table(bench, *stream)).collect()
}

fn table(bench: &Bench, stream: Stream) -> Result<Table> {
    let mut all = vec![Samples::default(); Logger::ALL.len()];
    for _ in 0..bench.samples {
        for (logger, samples) in Logger::ALL.iter().zip(&mut all) {
            let ms = sample(bench, *logger, stream)?;
            #[expect(clippy::cast_precision_loss, reason = "bytes of one sample")]
            samples.push(stream.bytes as f64 / 1e3 / ms);
        }
    }
    let names = Logger::ALL.iter().map(|logger| logger.name().to_owned());
    let kib = stream.pipe / 1024;
    let title =
        format!("log throughput, one stream of 120-byte lines in writes of 64 KiB, {kib} KiB pipe");
    let name = format!("logs-{kib}k");
    let table = Table::new(name, title, Unit::MegabytesPerSecond, names.zip(all));
    let herm = table.median(HERM);
    let verdict = if kib == 64 {
        let what = "log throughput, 64 KiB pipe";
        Verdict::at_least(what, 500.0, herm, Unit::MegabytesPerSecond)
    } else {
        let what = format!("log throughput beside s6-log, {kib} KiB pipe");
        let ratio = herm / table.median(S6);
        Verdict::at_least(what, 1.5, ratio, Unit::Ratio)
    };
    Ok(table.asked(verdict))
}

/// From the writer's start to the logger's end, so that everything written has been taken.
fn sample(bench: &Bench, logger: Logger, stream: Stream) -> Result<f64> {
    let scratch = Scratch::new()?;
    let logs = scratch.dir("logs")?;
    if matches!(logger, Logger::Herm | Logger::HermForwarding) {
        return herm(bench, &scratch, stream, logger == Logger::HermForwarding);
    }
    let s6 = ["t", "s1000000", "n10"];
    let mut command = match logger {
        Logger::HermS6 => {
            let own = scratch.path().join("s6-log");
            std::os::unix::fs::symlink(&bench.init, &own)?;
            words(&own, &s6, &logs)
        }
        Logger::S6 => words(Path::new("s6-log"), &s6, &logs),
        Logger::S6Bare => words(Path::new("s6-log"), &s6[1..], &logs),
        Logger::Runit => {
            scratch.write("logs/config", "s1000000\nn10\n", 0o644)?;
            words(Path::new("svlogd"), &["-tt"], &logs)
        }
        _ => Command::new("cat"),
    };
    let began = now_ms();
    let mut writer = Command::new(std::env::current_exe()?)
        .args(writing(stream))
        .stdout(Stdio::piped())
        .spawn()?;
    let input = writer.stdout.take().context("the writer has no output")?;
    let output = File::create(scratch.path().join("copy"))?;
    let status = command.stdin(input).stdout(output).status()?;
    anyhow::ensure!(status.success(), "{} failed: {status}", logger.name());
    writer.wait()?;
    Ok(now_ms() - began)
}

/// The writer's arguments: it gives the pipe its size itself, whoever made it.
fn writing(stream: Stream) -> [String; 4] {
    let [bytes, pipe] = [stream.bytes, stream.pipe].map(|number| number.to_string());
    ["role".into(), "lines".into(), bytes, pipe]
}

fn words(program: &Path, words: &[&str], last: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(words).arg(last);
    command
}

/// The last line of the stream, to be seen in the kept log.
const END: &str = "this was all";

/// herm's log daemon works for a supervisor only, so the time of registering and starting the service is in this number too.
fn herm(bench: &Bench, scratch: &Scratch, stream: Stream, forwards: bool) -> Result<f64> {
    let reports = Reports::new(scratch)?;
    let program = std::env::current_exe()?;
    let body = format!(
        "{} {}\necho {END}\nexec sleep 2147483647\n",
        program.display(),
        writing(stream).join(" ")
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
    await_end(&scratch.path().join("logs/svc/current"), END)?;
    Ok(now_ms() - began)
}

/// Until a log ends with this line.
pub(super) fn await_end(current: &Path, line: &str) -> Result<()> {
    let guard = std::time::Instant::now();
    while !tail(current).trim_ascii_end().ends_with(line.as_bytes()) {
        anyhow::ensure!(guard.elapsed() < HANG, "{} never ended", current.display());
        // A file's growth has no event that costs the writer nothing; 5 ms is below two percent of a sample.
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
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
