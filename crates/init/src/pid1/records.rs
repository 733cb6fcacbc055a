//! What is written down before it happens, so that the next program in this process can go on.
//!
//! Each fact has a key in the [`Journal`]: what belongs to no service, each service's spec, each
//! service's state in the engine, each run. Descriptors are recorded by number; they are kept
//! open over `execve` from the moment they are made (the spawner closes them in children).

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use herm_engine::codec::{self, Bytes, Field, Reader};
use herm_engine::{BadRecord, Engine, ServiceId, SortedMap, record_struct};
use herm_sys::exec::take_inherited;
use herm_sys::memfd::SharedMemory;
use herm_wire::BootReport;
use rustix::io::{FdFlags, fcntl_setfd};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::control::feed::Feed;
use super::journal::Journal;
use super::services::{Annotation, Registrar, RunRecord, Service};
use super::supervisor::Supervisor;
use crate::setup::Plan;

/// The version of the records' layout.
const VERSION: u8 = 2;

/// Key of what belongs to no service.
const GLOBALS: u32 = 1;
/// Keys of runs; the low bits are the run's number.
const RUN: u32 = 1 << 30;
/// Keys of services' specs; the low bits are the service's place.
const SPEC: u32 = 2 << 30;
/// Keys of services' states.
const STATE: u32 = 3 << 30;
const LOW_BITS: u32 = (1 << 30) - 1;

/// Size of the memory that the kernel writes a new child's pid into.
const SPAWN_SLOT_BYTES: usize = 64;
/// Where in it the pid is, and where the run's number.
const SLOT_PID: usize = 0;
const SLOT_RUN: usize = 8;

/// What belongs to no service.
#[derive(Clone, Debug)]
pub(crate) struct Globals {
    /// This run of the supervisor.
    pub(crate) instance: String,
    /// PID 1's start on its clock, in nanoseconds.
    pub(crate) began: u64,
    /// Where the control socket is.
    pub(crate) runtime_dir: String,
    /// The container's CMD.
    pub(crate) cmd: Vec<String>,
    /// The listening socket.
    pub(crate) listener: i32,
    /// The limit on descriptors that services get, soft and hard.
    pub(crate) open_files: Option<(Option<u64>, Option<u64>)>,
    /// Numbers of events and orders.
    pub(crate) feed: Feed,
    /// What setup found out.
    pub(crate) plan: Plan,
    /// How the boot went.
    pub(crate) report: BootReport,
    /// Whether the boot is over.
    pub(crate) booted: bool,
    /// The engine's own.
    pub(crate) engine: Vec<u8>,
    /// The log daemon's process and socket.
    pub(crate) logd: Option<(i32, i32)>,
    /// The memfd that outlives log daemons.
    pub(crate) hold: Option<i32>,
    /// The memory of [`Records::slot`].
    pub(crate) slot: Option<i32>,
    /// The scan directory.
    pub(crate) scan_dir: Option<super::scandir::Record>,
    /// The catch-all logger.
    pub(crate) catch_all: Option<super::catch_all::Record>,
    /// The exit code asked for in a shutdown.
    pub(crate) exit_code: Option<u8>,
}

/// Everything that was recorded.
#[derive(Debug)]
pub(crate) struct Restored {
    pub(crate) globals: Globals,
    pub(crate) services: Vec<(u32, Service, Vec<u8>)>,
    pub(crate) runs: Vec<RunRecord>,
}

/// Implements [`Field`] for a struct, from the lists of its fields: those that are fields, those
/// of the wire's types (which are kept as JSON), and those that are not kept.
macro_rules! record_with_json {
    ($($type:ty {
        $($field:ident),*; json $($json:ident),*; without $($left_out:ident),*
    })*) => {$(
        impl Field for $type {
            fn put(&self, bytes: &mut Bytes) {
                $(self.$field.put(bytes);)*
                $(put_json(&self.$json, bytes);)*
            }
            fn get(reader: &mut Reader<'_>) -> Result<Self, BadRecord> {
                Ok(Self {
                    $($field: Field::get(reader)?,)*
                    $($json: get_json(reader)?,)*
                    $($left_out: Default::default(),)*
                })
            }
        }
    )*};
}

record_with_json! {
    Globals {
        instance, began, runtime_dir, cmd, listener, open_files, feed, booted, engine, logd, hold,
        slot, scan_dir, catch_all, exit_code; json plan, report; without
    }
    Service { registrar, annotation, recorded, scanned; json spec, ids, order; without survivors, short_told, weight }
    RunRecord {
        run, service, pid, uid, gid, log_fd, notify_fd, exited, end, executed, grouped; json log;
        without
    }
    Feed { event, order, reconcile, reconciled; json; without keeper }
}

record_struct! {
    Registrar { uid }
    Annotation { served_by, owner, port, note }
}

fn put_json<T: Serialize>(value: &T, bytes: &mut Bytes) {
    // The wire's types can't fail to be written.
    let json = serde_json::to_vec(value).unwrap_or_default();
    codec::put_slice(&json, bytes);
}

fn get_json<T: DeserializeOwned>(reader: &mut Reader<'_>) -> Result<T, BadRecord> {
    serde_json::from_slice(codec::get_slice(reader)?).map_err(|_| BadRecord::Foreign)
}

/// Where the records are kept.
#[derive(Debug, Default)]
pub(crate) struct Records {
    journal: Option<Journal>,
    /// The place of each service's records.
    places: SortedMap<ServiceId, u32>,
    next_place: u32,
    slot: Option<SharedMemory>,
}

impl Records {
    /// Empty records. Without memory for them PID 1 works, but can't be re-executed.
    pub(crate) fn new() -> Self {
        let journal = Journal::create().ok();
        let slot = SharedMemory::create("herm-spawn", SPAWN_SLOT_BYTES).ok();
        if let Some(journal) = &journal {
            keep(journal.fd());
        }
        if let Some(slot) = &slot {
            keep(slot);
        }
        Self {
            journal,
            places: SortedMap::new(),
            next_place: 1,
            slot,
        }
    }

    /// Goes on with records that came through re-execution.
    pub(crate) fn resume(
        journal: Journal,
        restored: &Restored,
        engine: &Engine,
        slot: Option<SharedMemory>,
    ) -> Self {
        keep(journal.fd());
        if let Some(slot) = &slot {
            keep(slot);
        }
        let places: SortedMap<ServiceId, u32> = restored
            .services
            .iter()
            .filter_map(|(place, service, _)| Some((engine.find(service.name())?, *place)))
            .collect();
        let next_place = places.values().max().map_or(1, |place| place + 1);
        Self {
            journal: Some(journal),
            places,
            next_place,
            slot,
        }
    }

    /// The journal.
    pub(crate) fn journal(&self) -> Option<&Journal> {
        self.journal.as_ref()
    }

    /// The memory the kernel writes the next child's pid into.
    pub(crate) fn slot(&self) -> Option<&SharedMemory> {
        self.slot.as_ref()
    }

    fn put(&mut self, key: u32, payload: &[u8]) {
        // Out of memory is the only way to fail; the record is then the previous one.
        if let Some(journal) = &mut self.journal {
            let _ = journal.put(key, payload);
        }
    }

    fn put_record<T: Field>(&mut self, key: u32, value: &T) {
        self.put(key, &codec::to_bytes(VERSION, value));
    }

    fn place(&mut self, id: ServiceId) -> u32 {
        if let Some(place) = self.places.get(&id) {
            return *place;
        }
        let place = self.next_place & LOW_BITS;
        self.next_place = self.next_place.wrapping_add(1);
        self.places.insert(id, place);
        place
    }
}

fn parse<T: Field>(bytes: &[u8]) -> Result<T, String> {
    codec::from_bytes(VERSION, bytes).map_err(|error| error.to_string())
}

/// Reads back everything that was recorded.
pub(crate) fn restore(journal: &Journal) -> Result<Restored, String> {
    let read = |key: u32| -> Result<Vec<u8>, String> {
        let payload = journal.get(key).map_err(|error| error.to_string())?;
        payload.ok_or_else(|| format!("record {key:#x} is missing"))
    };
    let globals = parse(&read(GLOBALS)?)?;
    let mut services = Vec::new();
    let mut runs = Vec::new();
    for key in journal.keys() {
        let place = key & LOW_BITS;
        match key & !LOW_BITS {
            RUN => runs.push(parse(&read(key)?)?),
            SPEC => {
                // A service that was recorded but never reached the engine was never registered.
                if let Ok(state) = read(STATE | place) {
                    services.push((place, parse(&read(key)?)?, state));
                }
            }
            _ => {}
        }
    }
    Ok(Restored {
        globals,
        services,
        runs,
    })
}

/// Takes over a descriptor that came through `execve`, and keeps it open over the next.
pub(crate) fn inherit(number: Option<i32>) -> Option<OwnedFd> {
    let fd = number.and_then(take_inherited)?;
    keep(&fd);
    Some(fd)
}

/// Keeps a descriptor open over `execve`.
pub(crate) fn keep(fd: impl AsFd) {
    // It can't fail for a descriptor that is open.
    let _ = fcntl_setfd(fd, FdFlags::empty());
}

impl Supervisor {
    /// Records what a service was registered with.
    pub(crate) fn record_service(&mut self, id: ServiceId) {
        let Some(service) = self.services.get(id) else {
            return;
        };
        let place = self.records.place(id);
        self.records.put_record(SPEC | place, service);
        self.record_status(id);
    }

    /// Records how a service is.
    pub(crate) fn record_status(&mut self, id: ServiceId) {
        let Some(record) = self.engine.export(id) else {
            return;
        };
        // A removal is reported after the service is gone from the table.
        if self.services.get(id).is_some() {
            let place = self.records.place(id);
            self.records.put(STATE | place, &record.to_bytes());
        }
    }

    /// Records that a service is no more.
    pub(crate) fn record_removal(&mut self, id: ServiceId) {
        if let Some(place) = self.records.places.remove(&id) {
            self.records.put(STATE | place, &[]);
            self.records.put(SPEC | place, &[]);
        }
    }

    /// Records a run, or that it is over.
    pub(crate) fn record_run(&mut self, number: u64) {
        let key = RUN | (u32::try_from(number & u64::from(LOW_BITS)).unwrap_or(0));
        match self.runs.get_mut(&number) {
            Some(run) => {
                run.record.log_fd = run.log.as_ref().map(AsRawFd::as_raw_fd);
                run.record.notify_fd = run.notify.as_ref().map(AsRawFd::as_raw_fd);
                self.records.put_record(key, &run.record);
            }
            None => self.records.put(key, &[]),
        }
    }

    /// Writes down which run the next child is for; the kernel adds its pid.
    pub(crate) fn announce_spawn(&mut self, number: u64) {
        if let Some(slot) = self.records.slot() {
            // Both are within the slot.
            let _ = slot.write_at(SLOT_PID, &[0; 4]);
            let _ = slot.write_at(SLOT_RUN, &number.to_le_bytes());
        }
    }

    /// Records what belongs to no service.
    pub(crate) fn record_globals(&mut self) {
        let globals = Globals {
            instance: self.instance.clone(),
            began: self.boot.began.as_nanos(),
            runtime_dir: self.boot.runtime_dir.display().to_string(),
            cmd: self.options.cmd.clone(),
            listener: self.server.listener().as_raw_fd(),
            open_files: self.open_files.map(|limit| (limit.soft, limit.hard)),
            feed: self.feed.clone(),
            plan: self.boot.plan.clone(),
            report: self.boot.report.clone(),
            booted: self.boot.is_over(),
            engine: self.engine.export_globals().to_bytes(),
            logd: self.logs.daemon_fds(),
            hold: self.logs.hold_fd(),
            slot: self.records.slot().map(|slot| slot.as_fd().as_raw_fd()),
            scan_dir: self.scan_dir.as_ref().map(|scan| scan.record()),
            catch_all: self
                .catch_all
                .as_ref()
                .map(super::catch_all::CatchAll::record),
            exit_code: self
                .shutdown
                .as_ref()
                .and_then(super::shutdown::Shutdown::code),
        };
        self.records.put_record(GLOBALS, &globals);
    }
}

/// The run and the pid of a child that was made but not recorded any more.
pub(crate) fn unrecorded_spawn(slot: &SharedMemory) -> Option<(u64, u32)> {
    let mut run = [0; 8];
    slot.read_at(SLOT_RUN, &mut run).ok()?;
    let pid = slot.pid_word(SLOT_PID).ok()?.get();
    let pid = u32::try_from(pid).ok().filter(|pid| *pid > 0)?;
    Some((u64::from_le_bytes(run), pid))
}

/// Offset of the pid in the slot.
pub(crate) const PID_OFFSET: usize = SLOT_PID;
