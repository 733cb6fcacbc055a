//! One deadline per service, the earliest first.

use alloc::collections::BTreeSet;

use crate::time::Time;

/// The deadlines of all services: exact, so that the first entry is always a real one.
#[derive(Debug, Default)]
pub(crate) struct Timers(BTreeSet<(Time, u32)>);

impl Timers {
    /// Replaces a slot's deadline `old` by `new`. `Time::MAX` is no deadline.
    pub(crate) fn rearm(&mut self, slot: u32, old: &mut Option<Time>, new: Time) {
        let new = (new < Time::MAX).then_some(new);
        if *old == new {
            return;
        }
        if let Some(at) = *old {
            self.0.remove(&(at, slot));
        }
        if let Some(at) = new {
            self.0.insert((at, slot));
        }
        *old = new;
    }

    pub(crate) fn first(&self) -> Option<Time> {
        self.0.first().map(|(at, _)| *at)
    }

    /// The slot whose deadline is the earliest that has come.
    pub(crate) fn due(&self, now: Time) -> Option<u32> {
        self.0
            .first()
            .filter(|(at, _)| *at <= now)
            .map(|(_, slot)| *slot)
    }
}
