//! The log daemon: one process for the output of all services.
//!
//! PID 1 starts it, gives it the read end of each run's pipe, and replaces it when it dies
//! ([`crate::logproto`] says how). Every line of a run goes, after the time, to `current` in the
//! run's directory, and to the container's stdout.
//!
//! # What it promises
//!
//! * **A kill loses nothing.** What is in a pipe is written before it is taken (`pump`); the
//!   beginning of a line waits where the next log daemon finds it (`hold`). The next one may
//!   repeat the last chunk. It removes a half-written line, whose whole is still in the pipe.
//! * **It always drains.** A full disk, a directory that was replaced by a link, a FIFO in the
//!   place of `current`: lines wait in a small backlog, the oldest are dropped and counted, and
//!   the log says how many once it can be written again (`directory`). A stuck reader of stdout
//!   costs lines on stdout only (`stdout`). Lines in a backlog count as dropped for a log daemon
//!   that is killed: PID 1 hears of them (`Dropped`) and tells its successor.
//! * **Lines stay whole.** The one exception is a line of more than 1 MiB, which is cut and marked
//!   `[line continues]`. A last line without a newline gets one, after `[no newline]`.
//! * **It is nobody's.** As root it becomes a user that no agent has, with the service user's
//!   identity for file access only: agents can't signal or trace it.
//!
//! Rotated files are named after the time they ended (`2026-11-20T20-31-10.123456Z.log`) and are
//! not compressed: the code for it would be linked into PID 1's binary. The total cap counts the
//! directories that were logged to since the log daemon started.
//!
//! While all services are quiet, nothing wakes it up.

mod backlog;
mod directories;
mod directory;
mod files;
mod frame;
mod hold;
mod outbox;
mod pump;
mod rotation;
mod server;
pub(crate) mod stamp;
mod stdout;

use std::io::{self, Write};
use std::os::fd::AsFd;

use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit, umask};

use herm_sys::credentials::{FileOwner, become_logd};
use herm_sys::signals::{SignalSet, set_blocked};

use self::directories::Directories;
use self::hold::Hold;
use self::outbox::Outbox;
use self::pump::{Pump, Sinks};
use self::server::Server;
use self::stdout::Forwarder;
use crate::logproto::{ARGV0, Identity, parse_arguments};

/// Descriptors left for all that isn't a log file or a pipe.
const SPARE_DESCRIPTORS: u64 = 64;

/// A log directory in use has two descriptors. More than this many are of little use.
const OPEN_DIRECTORIES_MAX: u64 = 1024;

/// The log daemon's life, as a process that PID 1 started with [`crate::logproto::arguments`]
/// (`args` is without `argv[0]`). Says how it is to exit: 0 when PID 1 ended it, 2 when the
/// arguments are wrong, 1 when it could not go on.
pub fn main(args: &[String]) -> u8 {
    let (text, code) = match parse_arguments(args).map(run) {
        Ok(Ok(())) => return 0,
        Ok(Err(error)) => (format!("can't go on: {error}"), 1),
        Err(usage) => (usage, 2),
    };
    // Nobody is left to tell if this can't be written either.
    let _ = writeln!(io::stderr(), "{ARGV0}: {text}");
    code
}

fn run(identity: Option<Identity>) -> io::Result<()> {
    set_blocked(SignalSet::all_but_faults());
    let control = io::stdin().as_fd().try_clone_to_owned()?;
    let pump = Pump::new()?;
    let open_max = raise_descriptor_limit();
    umask(Mode::from_raw_mode(0o027));
    let shortcoming = identity.and_then(become_separate);
    // The thread is started last: who a process is, is a thread's property in Linux.
    let out = io::stdout().as_fd().try_clone_to_owned()?;
    let err = io::stderr().as_fd().try_clone_to_owned()?;
    let sinks = Sinks {
        hold: Hold::adopt(None),
        directories: Directories::new(open_max),
        forwarder: Forwarder::start(out, err)?,
        outbox: Outbox::default(),
    };
    Ok(Server::new(control, pump, sinks)?.run(shortcoming)?)
}

/// Leaves root's identity behind for one that no agent can signal or trace. Says why not, where
/// the container lacks the power or the ids for it: logs are better kept by somebody else than by
/// nobody.
fn become_separate(identity: Identity) -> Option<String> {
    let own = herm_sys::spawn::Identity {
        uid: identity.uid,
        gid: identity.gid,
        groups: vec![identity.gid],
    };
    let files_of = FileOwner {
        uid: identity.fs_uid,
        gid: identity.fs_gid,
    };
    let errno = become_logd(&own, files_of).err()?;
    Some(format!(
        "it can't become user {} ({errno}) and goes on as it is: agents that are the same user \
         can stop it",
        identity.uid
    ))
}

/// Raises the soft limit to the hard one, and says how many directories may be in use.
fn raise_descriptor_limit() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let usable = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    let spare = usable.unwrap_or(u64::MAX).saturating_sub(SPARE_DESCRIPTORS);
    usize::try_from((spare / 4).clamp(4, OPEN_DIRECTORIES_MAX)).unwrap_or(4)
}
