//! Small programs that scripts of images built on s6-overlay call: to wait, to limit and repeat, to
//! keep an environment.

use std::ffi::OsString;
use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use herm_sys::pidfd::Pidfd;
use herm_sys::users::Users;
use herm_sys::{Pid, Signal, signals};
use rustix::fs::{FileType, Mode};

use super::call::{Call, Outcome, Row, describe, exit_code};
use super::notifyoncheck::wait_for;

pub(super) const ROWS: &[Row] = &[
    ("s6-sleep [ -m ] n [ prog... ]", pause),
    (
        "s6-maximumtime [ -0 | -a | -b | -q | -h | -k | -t | -i | -1 | -2 ] milliseconds prog...",
        maximumtime,
    ),
    (
        "with-retries [ -n numretries ] [ -t millisecs ] prog...",
        with_retries,
    ),
    ("s6-dumpenv [ -N | -n ] [ -m mode ] envdir", dumpenv),
    ("logutil-newfifo [ -m mode ] [ -o owner ] path", newfifo),
];

/// The time was over.
const TIMED_OUT: u8 = 99;

fn pause(call: &mut Call<'_>) -> Outcome {
    let mut unit = 1000;
    while call.option(b"m")?.is_some() {
        unit = 1;
    }
    let count = u64::from(call.number_word()?);
    let time = Duration::from_millis(count.saturating_mul(unit));
    // Nothing but the time can end it.
    wait_for(&[], Instant::now().checked_add(time));
    call.exec_rest()
}

fn maximumtime(call: &mut Call<'_>) -> Outcome {
    let mut signal = Signal::TERM;
    while let Some(letter) = call.option(b"0abqhkti12")? {
        signal = match letter {
            b'a' => Signal::ALRM,
            b'b' => Signal::ABRT,
            b'q' => Signal::QUIT,
            b'h' => Signal::HUP,
            b'k' => Signal::KILL,
            b'i' => Signal::INT,
            b'1' => Signal::USR1,
            b'2' => Signal::USR2,
            _ => Signal::TERM,
        };
    }
    let limit = call.number_word()?;
    if call.rest().is_empty() {
        return Err(call.usage());
    }
    match run_within(call, limit, signal)? {
        Some(status) => Ok(exit_code(status)),
        None => Ok(TIMED_OUT),
    }
}

/// Runs the rest of the line; nothing if it was ended because its time was over. 0: any time.
fn run_within(call: &Call<'_>, millis: u32, signal: Signal) -> Result<Option<ExitStatus>, u8> {
    let mut child = call.start(call.rest(), None, None)?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let held = pid.and_then(|pid| Pidfd::open(pid).ok());
    let (Some(pid), Some(held)) = (pid.filter(|_| millis > 0), held) else {
        return call.wait(&mut child).map(Some);
    };
    let until = Instant::now().checked_add(Duration::from_millis(u64::from(millis)));
    let in_time = wait_for(&[std::os::fd::AsFd::as_fd(&held)], until);
    if !in_time {
        // Not waited for yet, so it is still this child, dead or alive.
        let _ = signals::kill(pid, signal);
    }
    let status = call.wait(&mut child)?;
    Ok(Some(status).filter(|_| in_time))
}

fn with_retries(call: &mut Call<'_>) -> Outcome {
    let (mut tries, mut limit) = (3, 500);
    while let Some(letter) = call.option(b"nt")? {
        match letter {
            b'n' => tries = call.number()?,
            _ => limit = call.number()?,
        }
    }
    if call.rest().is_empty() {
        return Err(call.usage());
    }
    for _ in 0..tries {
        let status = run_within(call, limit, Signal::TERM)?;
        if status.is_some_and(|status| status.success()) {
            return Ok(0);
        }
    }
    Ok(1)
}

fn octal(call: &mut Call<'_>) -> Result<u32, u8> {
    let text = call.argument()?.to_str();
    let mode = text.and_then(|text| u32::from_str_radix(text, 8).ok());
    mode.filter(|mode| *mode <= 0o7777)
        .ok_or_else(|| call.usage())
}

fn dumpenv(call: &mut Call<'_>) -> Outcome {
    let (mut newline, mut mode) = (false, None);
    while let Some(letter) = call.option(b"Nnm")? {
        match letter {
            b'm' => mode = Some(octal(call)?),
            letter => newline = letter == b'n',
        }
    }
    let dir = Path::new(call.word()?);
    let write = || -> std::io::Result<()> {
        match DirBuilder::new().mode(mode.unwrap_or(0o777)).create(dir) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        for (name, value) in call.env.iter() {
            let bytes = name.as_bytes();
            if bytes.starts_with(b".") || bytes.contains(&b'/') {
                continue;
            }
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(true).mode(0o666);
            let mut file = options.open(dir.join(name))?;
            file.write_all(value.as_bytes())?;
            if newline {
                file.write_all(b"\n")?;
            }
        }
        match mode {
            Some(mode) => std::fs::set_permissions(dir, Permissions::from_mode(mode)),
            None => Ok(()),
        }
    };
    let what = format_args!("dump the environment into {}", dir.display());
    write().map_err(|error| call.refused(&what, &error))?;
    Ok(0)
}

fn newfifo(call: &mut Call<'_>) -> Outcome {
    let (mut mode, mut owner): (_, Option<OsString>) = (0o600, None);
    while let Some(letter) = call.option(b"mo")? {
        match letter {
            b'm' => mode = octal(call)?,
            _ => owner = Some(call.argument()?.to_owned()),
        }
    }
    let path = Path::new(call.word()?);
    let users = Users::load().unwrap_or_default();
    let owner = match owner.as_ref().map(|name| name.to_str()) {
        None => None,
        Some(name) => {
            let found = name.and_then(|name| users.resolve(name));
            Some(found.ok_or_else(|| call.fatal(&"unknown user", 1))?)
        }
    };
    let made = || -> Result<(), herm_sys::Errno> {
        match rustix::fs::unlink(path) {
            Err(errno) if errno != herm_sys::Errno::NOENT => return Err(errno),
            _ => {}
        }
        let mode = Mode::from_raw_mode(mode);
        rustix::fs::mknodat(rustix::fs::CWD, path, FileType::Fifo, mode, 0)?;
        // By the very FIFO: whoever can write the directory could put something else there.
        let flags = rustix::fs::OFlags::RDWR
            | rustix::fs::OFlags::NONBLOCK
            | rustix::fs::OFlags::NOFOLLOW
            | rustix::fs::OFlags::CLOEXEC;
        let fifo = rustix::fs::open(path, flags, Mode::empty())?;
        if let Some(owner) = &owner {
            let uid = rustix::fs::Uid::from_raw(owner.uid);
            let gid = rustix::fs::Gid::from_raw(owner.gid);
            rustix::fs::fchown(&fifo, Some(uid), Some(gid))?;
        }
        rustix::fs::fchmod(&fifo, mode)
    };
    let what = format_args!("make the FIFO {}", path.display());
    made().map_err(|errno| call.refused(&what, &describe(errno)))?;
    Ok(0)
}
