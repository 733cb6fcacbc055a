//! `./run` and `./finish` of the service directories that setup makes of s6-rc sources: a oneshot's
//! scripts, and a pipeline's ends.
//!
//! A oneshot is up while this process is: it runs the script that brings it up, says that it is
//! ready, and waits to be told to bring it down. So what depends on it, the order in which all goes
//! down and the time that takes are the supervisor's, as for any service.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use herm_sys::exec::take_inherited;
use herm_sys::signals::{SignalFd, SignalSet, set_blocked};
use herm_sys::{Signal, descriptors};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, open};

use super::call::{Call, Outcome, Row, exit_code};
use super::complain::SYSTEM;

/// By these names only: they are what the supervisor executes in a service directory.
pub(super) const ROWS: &[Row] = &[
    ("./run name", run),
    ("./finish exitcode signal name", finish),
];

/// s6's word for a failure that is final.
const FINAL: u8 = 125;
/// Where a oneshot says that it is ready.
const READY: i32 = 3;

fn run(call: &mut Call<'_>) -> Outcome {
    if Path::new("oneshot").is_dir() {
        return oneshot(call);
    }
    for (name, number) in [("pipe-from", 0), ("pipe-to", 1)] {
        if !Path::new(name).exists() {
            continue;
        }
        let fifo = open(name, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
            .and_then(|fifo| descriptors::give(number, fifo));
        fifo.map_err(|error| call.refused(&"open its pipe", &error))?;
    }
    let mut argv = vec![OsString::from("./run.user")];
    argv.extend(call.rest().iter().cloned());
    call.exec(&argv)
}

/// A failure of a oneshot is final: s6-rc tries it once.
fn finish(call: &mut Call<'_>) -> Outcome {
    let code = call.word()?;
    if code == "0" {
        return Ok(0);
    }
    Ok(FINAL)
}

fn oneshot(call: &mut Call<'_>) -> Outcome {
    let name = call.word()?.to_owned();
    call.env.set("RC_NAME".as_ref(), &name);
    let set = [Signal::CHLD, Signal::TERM, Signal::INT, Signal::HUP];
    let set = set.into_iter().fold(SignalSet::EMPTY, SignalSet::with);
    set_blocked(set);
    let signals = SignalFd::new(set).map_err(|error| call.refused(&"receive signals", &error))?;
    let ready = take_inherited(READY).map(File::from);
    match script(call, &signals, "up")? {
        End::Code(0) => {}
        End::Code(code) => return Ok(code),
        End::Told => return Ok(0),
    }
    if let Some(mut ready) = ready {
        let _ = ready.write_all(b"\n");
    }
    loop {
        wait(&signals, None);
        if was_told(&signals) {
            break;
        }
    }
    match script(call, &signals, "down")? {
        End::Code(code) => Ok(code),
        End::Told => Ok(0),
    }
}

/// How a script ended.
enum End {
    /// With this code.
    Code(u8),
    /// It was killed, because it isn't wanted any more.
    Told,
}

fn milliseconds(which: &str) -> Option<Duration> {
    let text = fs::read_to_string(format!("oneshot/timeout-{which}")).ok()?;
    let number = text.trim().parse().ok().filter(|number| *number > 0)?;
    Some(Duration::from_millis(number))
}

/// Runs one of the scripts, within its time.
fn script(call: &Call<'_>, signals: &SignalFd, which: &str) -> Result<End, u8> {
    let text = fs::read(format!("oneshot/{which}"));
    let text = text.map_err(|error| call.refused(&format_args!("read {which}"), &error))?;
    if text.is_empty() {
        return Ok(End::Code(0));
    }
    let words = text
        .split(|byte| *byte == 0)
        .map(|word| OsString::from_vec(word.to_vec()));
    let argv: Vec<OsString> = words.collect();
    let until = milliseconds(which).and_then(|time| Instant::now().checked_add(time));
    let mut child = call.start(&argv, None, None)?;
    loop {
        let status = child.try_wait();
        if let Some(status) = status.map_err(|error| call.refused(&"wait", &error))? {
            return Ok(End::Code(exit_code(status)));
        }
        let in_time = wait(signals, until);
        let told = was_told(signals) && which == "up";
        if told || !in_time {
            let _ = child.kill();
            let _ = child.wait();
            if told {
                return Ok(End::Told);
            }
            return Err(call.fatal(
                &format_args!("{which} took too long and was killed"),
                SYSTEM,
            ));
        }
    }
}

/// Whether a signal came before the time was over.
fn wait(signals: &SignalFd, until: Option<Instant>) -> bool {
    let left = until.map(|until| until.saturating_duration_since(Instant::now()));
    let timeout = left.and_then(|left| Timespec::try_from(left).ok());
    let mut fds = [PollFd::new(signals, PollFlags::IN)];
    !matches!(poll(&mut fds, timeout.as_ref()), Ok(0))
}

/// Whether it was told to go down, after all signals so far are read.
fn was_told(signals: &SignalFd) -> bool {
    let mut told = false;
    while let Ok(Some(received)) = signals.read() {
        told |= received.signal != Signal::CHLD;
    }
    told
}
