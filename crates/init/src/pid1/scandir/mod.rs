//! The scan directory: services in s6 format, supervised by PID 1 itself (contract section 8).
//!
//! No process stands for a service here, but its directory has what the tools of the s6 family
//! expect of a supervisor: a lock that is held, a FIFO for orders, the status as a file, a
//! directory for those who wait for events. All of it is in PID 1's runtime directory, where only
//! root writes, and links in the service directory lead there: who can write a service directory
//! can put something else in its place, and deceives nobody but who looks there.
//!
//! [`scan`] finds services, [`entry`] decides whom each runs as and [`gateways`] which of them wait
//! for the keeper, [`place`] makes the files,
//! [`orders`] takes orders, [`show`] keeps status and events, [`launch`] starts `run` and `finish`.

mod entry;
mod gateways;
mod launch;
mod native;
mod orders;
mod place;
mod scan;
mod scripts;
mod show;
mod survive;

use std::fs::File;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use herm_engine::{ServiceId, SortedMap, SortedSet, Time, record_struct};
use herm_s6::service_directory::Definition;
use herm_s6::status::Status;
use herm_sys::fs_at::Dir;

pub(crate) use launch::Script;

use super::records::keep;

/// Where a container's scan directory is, as in every s6-overlay image.
const CONTAINER_SCAN_DIR: &str = "/run/service";

/// What is recorded of a service that the scan directory shows.
#[derive(Clone, Debug)]
pub(crate) struct Scanned {
    /// Its directory, relative to the scan directory: `name`, or `name/log` of a logger.
    pub(crate) slot: String,
    /// Device and inode of its directory, while it is there.
    pub(crate) directory: Option<(u64, u64)>,
    /// It was registered with herm, and is only shown there.
    pub(crate) native: bool,
    /// From the order to go down to KILL.
    pub(crate) kill_ms: Option<u64>,
    /// It has a `finish` script, which may take this long; 0: as long as it takes.
    pub(crate) finish_ms: Option<u64>,
    /// How long it may take to be ready.
    pub(crate) start_ms: Option<u64>,
    /// How long its end may take where everything is stopped.
    pub(crate) shutdown_ms: Option<u64>,
    /// PID 1's end of its control FIFO, by number.
    control: Option<i32>,
    /// The pipe to its logger, by number: read end, write end.
    pipe: Option<(i32, i32)>,
}

impl Scanned {
    /// Whether it is the logger of another service.
    pub(crate) fn is_logger(&self) -> bool {
        self.slot.ends_with("/log")
    }
}

/// What a tool would see of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Face {
    /// Nothing of it runs.
    Down,
    /// `run` runs.
    Up {
        /// Its process.
        pid: u32,
        /// It has said that it is ready.
        ready: bool,
    },
    /// `run` has died, and what it left behind is being ended.
    Dying,
    /// `finish` runs.
    Finishing {
        /// Its process.
        pid: u32,
    },
}

/// One service directory under supervision.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own, and they are told and forgotten apart"
)]
struct Slot {
    /// What names it to the reactor.
    number: u64,
    /// PID 1's ends of the control FIFO, both in one.
    control: OwnedFd,
    /// Read and write end of the pipe to its logger.
    pipe: Option<(OwnedFd, OwnedFd)>,
    definition: Definition,
    face: Face,
    /// As last written.
    status: Status,
    /// Supervision ends when it is next down.
    exiting: bool,
    /// The last scan saw it.
    active: bool,
    /// `finish` has said that it is not to be started again.
    vetoed: bool,
    /// One of the image's own, which its service user may give orders to whoever it runs as.
    shared: bool,
    /// Its directory was taken away while it was registered.
    withdrawn: bool,
    deaths: Vec<u8>,
}

/// The scan directory and all that is in it.
#[derive(Debug)]
pub(crate) struct ScanDir {
    path: PathBuf,
    dir: Dir,
    /// Where the files of supervision are.
    state: Dir,
    state_path: PathBuf,
    /// Both ends of `.s6-svscan/control`.
    control: OwnedFd,
    /// Called like gateways, and no profile's: the keeper has said so.
    strangers: SortedSet<String>,
    /// Held for as long as PID 1 lives; every `supervise/lock` is a link to the second.
    locks: [File; 2],
    slots: SortedMap<ServiceId, Slot>,
    /// Of a service that is being registered.
    pending: Option<Slot>,
    /// When to look for directories that were removed after the order to let go of them.
    prune_at: Option<Time>,
    next_number: u64,
}

/// What of it survives re-execution.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    path: String,
    control: i32,
    locks: (i32, i32),
}

record_struct! {
    Scanned {
        slot, directory, native, kill_ms, finish_ms, start_ms, shutdown_ms, control, pipe
    }
    Record { path, control, locks }
}

impl ScanDir {
    /// Its record.
    pub(crate) fn record(&self) -> Record {
        let [own, services] = &self.locks;
        Record {
            path: self.path.display().to_string(),
            control: self.control.as_raw_fd(),
            locks: (own.as_raw_fd(), services.as_raw_fd()),
        }
    }

    fn by_number(&self, number: u64) -> Option<ServiceId> {
        let mut slots = self.slots.iter();
        slots
            .find(|(_, slot)| slot.number == number)
            .map(|(id, _)| *id)
    }

    /// Where the files of a service's supervision are.
    fn state_of(&self, slot: &str) -> PathBuf {
        self.state_path.join(slot)
    }
}

/// Where the scan directory is to be, if there is to be one: as asked for (`HERM_SCAN_DIR`; empty:
/// none), else where a container's own supervisor has it.
pub(crate) fn wanted_path(asked: Option<&str>, runtime_dir: &Path) -> Option<PathBuf> {
    match asked {
        Some("") => None,
        Some(path) => Some(path.into()),
        None => (runtime_dir == Path::new("/run/herm") && herm_sys::process::is_pid1())
            .then(|| CONTAINER_SCAN_DIR.into()),
    }
}

/// Keeps descriptors open over re-execution.
fn keep_all<'a>(fds: impl IntoIterator<Item = &'a OwnedFd>) {
    fds.into_iter().for_each(keep);
}
