//! One deadline per service, the earliest first.

use alloc::vec::Vec;

use super::registry::index;
use crate::time::Time;

/// A slot without a deadline.
const NOWHERE: usize = usize::MAX;

/// The deadlines of all services, as a binary heap that knows where in it each slot is: exact, so
/// that the first entry is always a real one.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    heap: Vec<(Time, u32)>,
    /// By slot.
    places: Vec<usize>,
}

impl Timers {
    /// Replaces a slot's deadline. `Time::MAX` is no deadline.
    pub(crate) fn rearm(&mut self, slot: u32, at: Time) {
        let known = self.places.get(index(slot)).copied();
        let place = known.filter(|place| *place != NOWHERE);
        match (place, at < Time::MAX) {
            (Some(place), true) if self.heap.get(place) == Some(&(at, slot)) => {}
            (Some(place), true) => self.settle(place, (at, slot)),
            (None, true) => {
                self.heap.push((at, slot));
                self.settle(self.heap.len() - 1, (at, slot));
            }
            (Some(place), false) => {
                self.set_place(slot, NOWHERE);
                if let Some(last) = self.heap.pop()
                    && last.1 != slot
                {
                    self.settle(place, last);
                }
            }
            (None, false) => {}
        }
    }

    pub(crate) fn first(&self) -> Option<Time> {
        self.heap.first().map(|(at, _)| *at)
    }

    /// The slot whose deadline is the earliest that has come.
    pub(crate) fn due(&self, now: Time) -> Option<u32> {
        let (at, slot) = self.heap.first()?;
        (*at <= now).then_some(*slot)
    }

    /// Puts an entry into a free place, or as far from it towards the first or the last as its
    /// neighbours ask.
    fn settle(&mut self, mut place: usize, entry: (Time, u32)) {
        while let Some(above) = place.checked_sub(1).map(|below| below / 2)
            && let Some(parent) = self.heap.get(above).copied()
            && entry < parent
        {
            self.put(place, parent);
            place = above;
        }
        while let Some(child) = self.first_child(place)
            && let Some(lesser) = self.heap.get(child).copied()
            && lesser < entry
        {
            self.put(place, lesser);
            place = child;
        }
        self.put(place, entry);
    }

    /// The place below this one that has the earlier deadline.
    fn first_child(&self, place: usize) -> Option<usize> {
        let left = 2 * place + 1;
        let first = self.heap.get(left)?;
        let second = self.heap.get(left + 1);
        let is_second = second.is_some_and(|second| second < first);
        Some(left + usize::from(is_second))
    }

    fn put(&mut self, place: usize, entry: (Time, u32)) {
        if let Some(at) = self.heap.get_mut(place) {
            *at = entry;
            self.set_place(entry.1, place);
        }
    }

    fn set_place(&mut self, slot: u32, place: usize) {
        let slot = index(slot);
        if self.places.len() <= slot {
            self.places.resize(slot + 1, NOWHERE);
        }
        if let Some(at) = self.places.get_mut(slot) {
            *at = place;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_first_deadline_is_the_earliest_of_the_last_ones_given(
            steps in proptest::collection::vec((0u32..12, proptest::option::of(0u64..30)), 0..200),
        ) {
            let mut timers = Timers::default();
            let mut model = BTreeMap::new();
            for (slot, at) in steps {
                let at = at.map_or(Time::MAX, Time::from_nanos);
                timers.rearm(slot, at);
                model.insert(slot, at);
                let armed = model.iter().filter(|(_, at)| **at < Time::MAX);
                let first = armed.map(|(slot, at)| (*at, *slot)).min();
                prop_assert_eq!(timers.first(), first.map(|(at, _)| at));
                let now = Time::from_nanos(15);
                prop_assert_eq!(timers.due(now), first.filter(|f| f.0 <= now).map(|f| f.1));
            }
        }
    }
}
