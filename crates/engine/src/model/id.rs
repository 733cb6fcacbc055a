//! Identities that are never confused with a reused one.

use core::fmt;

/// One registered service: a slot, and which of the slot's successive tenants is meant.
///
/// An id outlives its service harmlessly: it then names nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceId {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

impl fmt::Display for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.slot, self.generation)
    }
}

/// One incarnation of a process that the engine asked for. Never given twice, also not across a
/// re-execution, so that a late report about a dead process can't be taken for its successor's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub(crate) u64);

impl RunId {
    /// The run's number, for records and messages.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The run with this number, as read back from a record.
    pub const fn from_number(number: u64) -> Self {
        Self(number)
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// One readiness or health probe. Never given twice within one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProbeId(pub(crate) u64);

impl ProbeId {
    /// The probe's number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The probe with this number.
    pub const fn from_number(number: u64) -> Self {
        Self(number)
    }
}
