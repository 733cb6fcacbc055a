//! `s6-notifyoncheck`: tell the supervisor that a service is ready once a check succeeds.
//!
//! The process becomes the service, as its supervisor expects; the checks are run by a child of
//! it, which ends with the service.

use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use herm_s6::execline::lexer;
use herm_sys::exec::take_inherited;
use herm_sys::pidfd::Pidfd;
use herm_sys::{Pid, descriptors};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::call::{Call, Outcome, Row};
use super::complain::USAGE;
use super::service::is_supervised;

pub(super) const ROWS: &[Row] = &[
    (
        "s6-notifyoncheck [ -d ] [ -3 fd ] [ -s initialsleep ] [ -T globaltimeout ] [ -t localtimeout ] [ -w waitingtime ] [ -n tries ] [ -c \"checkprog...\" ] prog...",
        notifyoncheck,
    ),
    (
        "herm-readiness-check fd pid initialsleep globaltimeout localtimeout waitingtime tries prog...",
        check,
    ),
];

/// The command that a descriptor's number is read from, and the check that is run unless told
/// another.
const NUMBER_FILE: &str = "notification-fd";
const DEFAULT_CHECK: &str = "./data/check";

fn notifyoncheck(call: &mut Call<'_>) -> Outcome {
    let (mut detached, mut fd, mut line) = (false, None, None);
    let (mut initial, mut global, mut local, mut pause, mut tries) = (10, 0, 0, 1000, 7);
    while let Some(letter) = call.option(b"d3sTtwnc")? {
        match letter {
            b'd' => detached = true,
            b'3' => fd = Some(call.number()?),
            b's' => initial = call.number()?,
            b'T' => global = call.number()?,
            b't' => local = call.number()?,
            b'w' => pause = call.number()?,
            b'n' => tries = call.number()?,
            _ => line = Some(call.argument()?),
        }
    }
    if call.rest().is_empty() {
        return Err(call.usage());
    }
    if !is_supervised(Path::new(".")).unwrap_or(false) {
        return Err(call.fatal(&"s6-supervise not running.", USAGE));
    }
    let fd = fd.or_else(number_in_file);
    let fd = fd.ok_or_else(|| call.fatal(&"invalid notification-fd", USAGE))?;
    let program = match line {
        None => vec![OsString::from(DEFAULT_CHECK)],
        Some(line) => parse_check(call, line)?,
    };
    let own = std::process::id();
    let numbers = [fd, own, initial, global, local, pause, tries];
    let mut argv: Vec<OsString> = Vec::new();
    if detached {
        argv.push("background".into());
    }
    argv.push("herm-readiness-check".into());
    argv.extend(numbers.iter().map(|number| number.to_string().into()));
    argv.extend(program);
    if detached {
        for word in argv.iter_mut().skip(1) {
            let mut quoted = OsString::from(" ");
            quoted.push(&word);
            *word = quoted;
        }
        argv.push(OsString::new());
        call.run(&argv)?;
    } else {
        call.start(&argv, None, None)?;
    }
    if let Ok(fd) = i32::try_from(fd) {
        descriptors::close(fd);
    }
    call.exec_rest()
}

fn number_in_file() -> Option<u32> {
    let text = std::fs::read_to_string(NUMBER_FILE).ok()?;
    text.lines().next()?.parse().ok()
}

/// The words of a check, as `execlineb -Pc` has them.
fn parse_check(call: &Call<'_>, line: &OsStr) -> Result<Vec<OsString>, u8> {
    match lexer::parse(line.as_encoded_bytes()) {
        Ok(argv) => Ok(argv.into_iter().map(OsString::from_vec).collect()),
        Err(error) => Err(call.fatal(&format_args!("in the check: {error}"), USAGE)),
    }
}

/// Waits until one of the descriptors is readable; `false` if the time came first.
pub(super) fn wait_for(fds: &[BorrowedFd<'_>], until: Option<Instant>) -> bool {
    loop {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        let mut polled: Vec<PollFd<'_>> = fds
            .iter()
            .map(|fd| PollFd::new(fd, PollFlags::IN))
            .collect();
        match poll(&mut polled, timeout.as_ref()) {
            Ok(0) => return false,
            Ok(_) => return true,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}

fn after(ms: u32) -> Option<Instant> {
    Instant::now().checked_add(Duration::from_millis(u64::from(ms)))
}

fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}

/// The child's part: check, wait, check again.
fn check(call: &mut Call<'_>) -> Outcome {
    let fd = call.number_word()?;
    let service = i32::try_from(call.number_word()?)
        .ok()
        .and_then(Pid::from_raw);
    let (initial, global, local) = (
        call.number_word()?,
        call.number_word()?,
        call.number_word()?,
    );
    let (pause, tries) = (call.number_word()?, call.number_word()?);
    let output = i32::try_from(fd).ok().and_then(take_inherited);
    let mut output = output
        .map(std::fs::File::from)
        .ok_or_else(|| call.usage())?;
    let Some(service) = service.and_then(|pid| Pidfd::open(pid).ok()) else {
        return Ok(0);
    };
    let end = (global > 0).then(|| after(global)).flatten();
    let mut left = tries;
    let mut until = after(initial);
    loop {
        // The end of the service ends this too.
        if wait_for(&[service.as_fd()], earlier(until, end))
            || end.is_some_and(|end| end <= Instant::now())
        {
            return Ok(0);
        }
        let limit = (local > 0).then(|| after(local)).flatten();
        let mut child = call.start(call.rest(), None, None)?;
        if succeeds(&mut child, &service, earlier(limit, end)) {
            let told = output.write_all(b"\n");
            return told
                .map(|()| 0)
                .map_err(|error| call.refused(&"notify", &error));
        }
        left = left.saturating_sub(1);
        if left == 0 && tries > 0 {
            return Ok(0);
        }
        until = after(pause);
    }
}

/// Whether a check says yes in time; it is killed when the time is over or the service is.
fn succeeds(child: &mut Child, service: &Pidfd, until: Option<Instant>) -> bool {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let Some(check) = pid.and_then(|pid| Pidfd::open(pid).ok()) else {
        return child.wait().is_ok_and(|status| status.success());
    };
    wait_for(&[check.as_fd(), service.as_fd()], until);
    if let Ok(Some(status)) = child.try_wait() {
        return status.success();
    }
    let _ = child.kill();
    let _ = child.wait();
    false
}
