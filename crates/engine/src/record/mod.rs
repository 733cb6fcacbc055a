//! The engine's state as plain bytes: what survives a re-execution of PID 1.
//!
//! A [`Record`] holds the dynamic state of one service. Its description is not in it: the driver
//! keeps that apart and brings both together again in [`Engine::restore`]. The format carries a
//! version; a reader refuses one it doesn't know, and says so.

pub mod codec;
mod layout;

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use self::codec::{from_bytes, to_bytes};
use crate::engine::{Config, Engine, RegisterError};
use crate::model::{LastExit, RunId, ServiceId, Spec, Want};
use crate::record_struct;
use crate::service::Service;
use crate::service::phase::Phase;
use crate::service::tally::Tally;
use crate::time::Time;

/// The version that is written, and the only one that is read.
const VERSION: u8 = 1;

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadRecord {
    /// Written by a version of the engine that this one doesn't know.
    Version(u8),
    /// They end too early.
    Truncated,
    /// There are more of them than the record has.
    TooLong,
    /// A choice that doesn't exist.
    Tag {
        /// The type.
        what: &'static str,
        /// The choice.
        tag: u8,
    },
    /// Text that is not UTF-8.
    NotText,
    /// A part in a format of its own, which is not in it.
    Foreign,
}

impl fmt::Display for BadRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => write!(f, "record of unknown version {version}"),
            Self::Truncated => write!(f, "record ends too early"),
            Self::TooLong => write!(f, "record is followed by more bytes"),
            Self::Tag { what, tag } => write!(f, "record has no {what} numbered {tag}"),
            Self::NotText => write!(f, "record has text that is not UTF-8"),
            Self::Foreign => write!(f, "record has a part that makes no sense"),
        }
    }
}

impl core::error::Error for BadRecord {}

/// The dynamic state of one service at one instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    name: String,
    want: Want,
    removing: bool,
    phase: Phase,
    since: Time,
    tally: Tally,
    restarts: u64,
    last_exit: Option<LastExit>,
    signalled: Option<(u8, Time)>,
    next_probe: u64,
}

/// The state of the engine that belongs to no single service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Globals {
    next_run: u64,
    shutdown_end: Option<Time>,
}

record_struct! {
    Record {
        name, want, removing, phase, since, tally, restarts, last_exit, signalled, next_probe,
    }
    Globals { next_run, shutdown_end }
}

impl Record {
    /// The service's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The record as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        to_bytes(VERSION, self)
    }

    /// Reads a record back.
    ///
    /// # Errors
    /// If the bytes are not exactly one record of this version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadRecord> {
        from_bytes(VERSION, bytes)
    }

    /// The highest run number the record knows of.
    fn highest_run(&self) -> u64 {
        let last = self.last_exit.as_ref().map_or(0, |last| last.run.get());
        let main = self.phase.main_run().map_or(0, RunId::get);
        let live = self.phase.live_run().map_or(0, RunId::get);
        last.max(main).max(live)
    }
}

impl Globals {
    /// The state as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        to_bytes(VERSION, self)
    }

    /// Reads it back.
    ///
    /// # Errors
    /// If the bytes are not exactly one such state of this version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadRecord> {
        from_bytes(VERSION, bytes)
    }
}

impl Engine {
    /// The dynamic state of a service.
    pub fn export(&self, id: ServiceId) -> Option<Record> {
        self.service(id).map(|service| Record {
            name: service.spec.name.clone(),
            want: service.want,
            removing: service.removing,
            phase: service.phase.clone(),
            since: service.shown.1,
            tally: service.tally.clone(),
            restarts: service.restarts,
            last_exit: service.last_exit.clone(),
            signalled: service.signalled,
            next_probe: service.next_probe,
        })
    }

    /// What of the engine's state belongs to no service.
    pub fn export_globals(&self) -> Globals {
        Globals {
            next_run: self.next_run(),
            shutdown_end: self.shutdown_end(),
        }
    }

    /// An engine that goes on where the records leave off.
    ///
    /// Runs that the records know of are taken to be as recorded. Nothing is started twice: an
    /// intended spawn is not repeated. So for each of [`runs`](Self::runs) the driver then reports
    /// what it finds: `Spawned` if the process lives (again, if that is known already), `Exited` or
    /// `SpawnFailed` if it doesn't.
    ///
    /// # Errors
    /// If two of the services have one name, or one has none, or they depend on each other in a
    /// circle.
    pub fn restore(
        config: Config,
        seed: u64,
        now: Time,
        globals: Globals,
        services: Vec<(Spec, Record)>,
    ) -> Result<Self, RegisterError> {
        let mut engine = Self::new(config, seed);
        let known = services
            .iter()
            .map(|(_, record)| record.highest_run().saturating_add(1));
        engine.set_next_run(known.fold(globals.next_run, u64::max));
        for (spec, record) in services {
            let mut service = Service::new(now, VOID, spec, record.want);
            service.removing = record.removing;
            service.phase = record.phase;
            service.phase.forget_probes(now);
            let name = service.phase.name(service.want == Want::Disabled);
            service.shown = (name, record.since);
            service.tally = record.tally;
            service.restarts = record.restarts;
            service.last_exit = record.last_exit;
            service.signalled = record.signalled;
            service.next_probe = record.next_probe;
            engine.adopt(service)?;
        }
        engine.resume(now, globals.shutdown_end);
        Ok(engine)
    }
}

/// The id of a service that has none yet.
const VOID: ServiceId = ServiceId {
    slot: u32::MAX,
    generation: u32::MAX,
};
