//! After every input: let time do its work, tell dependents, start whoever's turn it is.
//!
//! Services influence each other only here, through a queue of slots to look at. Nothing recurses
//! through the graph.

use super::Engine;
use super::registry::edges;
use crate::model::{Action, Blocker, StopCause, Want};
use crate::service::phase::{DownWhy, Phase};
use crate::service::{Service, Standing};
use crate::sorted::SortedSet;
use crate::time::Time;

impl Engine {
    /// Puts a slot in the queue, once.
    pub(super) fn look_at(&mut self, slot: u32) {
        if let Some(service) = self.registry.at_mut(slot)
            && !service.queued
        {
            service.queued = true;
            self.queue.push_back(slot);
        }
    }

    /// Lists a slot as changed, once.
    pub(super) fn mark_changed(&mut self, slot: u32) {
        if let Some(service) = self.registry.at_mut(slot)
            && !service.changed
        {
            service.changed = true;
            self.changed.push_back(slot);
        }
    }

    /// Works the queue off, then what is due by now, until neither is left.
    pub(super) fn converge(&mut self, now: Time) {
        loop {
            while let Some(slot) = self.queue.pop_front() {
                if let Some(service) = self.registry.at_mut(slot) {
                    service.queued = false;
                }
                self.review(now, slot);
            }
            if let Some(slot) = self.timers.due(now) {
                self.elapse(now, slot);
            } else if !self.shutdown_overdue(now) {
                return;
            }
        }
    }

    /// Something of this slot is due.
    fn elapse(&mut self, now: Time, slot: u32) {
        if self
            .shutdown
            .as_ref()
            .is_some_and(|shutdown| shutdown.stop_by(slot) <= now)
        {
            self.stop_for_shutdown(now, slot);
        } else if let Some(service) = self.registry.at_mut(slot) {
            service.elapse(now, &mut self.out);
        }
        self.mark_changed(slot);
        self.look_at(slot);
    }

    /// Looks at one service after something about it or before it has changed.
    fn review(&mut self, now: Time, slot: u32) {
        self.retire(now, slot);
        if self.is_next_in_shutdown(slot) {
            self.stop_for_shutdown(now, slot);
        }
        let Some(service) = self.registry.at(slot) else {
            return;
        };
        if let Phase::Waiting { automatic, .. } = service.phase {
            let waits = self.waits(service);
            let Some(service) = self.registry.at_mut(slot) else {
                return;
            };
            match waits {
                Waits::No => service.start(now, &mut self.out),
                Waits::ForTurn => {
                    service.phase = Phase::Waiting {
                        automatic,
                        stuck: false,
                    }
                }
                Waits::Stuck => {
                    service.phase = Phase::Waiting {
                        automatic,
                        stuck: true,
                    }
                }
            }
            // What it waits for may be another service, or the same for another reason.
            self.mark_changed(slot);
        }
        self.publish(now, slot);
    }

    /// Ends what is over: services that are being removed, and in a shutdown all that have stopped.
    fn retire(&mut self, now: Time, slot: u32) {
        let Some(service) = self.registry.at_mut(slot) else {
            return;
        };
        if service.phase.is_active() {
            return;
        }
        if self.shutdown.is_some() {
            if !matches!(service.phase, Phase::Down(_)) {
                service.phase = Phase::Down(DownWhy::Shutdown);
                self.mark_changed(slot);
            }
            self.stopped_for_shutdown(slot);
        }
        if self
            .registry
            .at(slot)
            .is_some_and(|service| service.removing)
        {
            self.remove(now, slot);
        }
    }

    /// Forgets a service nothing of which is left.
    fn remove(&mut self, now: Time, slot: u32) {
        let Some(service) = self.registry.remove(slot) else {
            return;
        };
        self.timers.rearm(slot, Time::MAX);
        self.out
            .actions
            .push_back(Action::Removed { id: service.id });
        if self.shutdown.is_none() {
            self.hold_dependents(now, &service.spec.name);
        }
        self.tell_dependents(&service.spec.name);
    }

    /// Makes what is new about a service known: to its dependents, the timers and the driver.
    fn publish(&mut self, now: Time, slot: u32) {
        let Some(service) = self.registry.at_mut(slot) else {
            return;
        };
        let name = service.phase.name(service.want == Want::Disabled);
        let fell = service.shown.0 != name && matches!(service.phase, Phase::Down(_));
        if service.shown.0 != name {
            service.shown = (name, now);
        }
        let standing = service.current_standing();
        let stands_otherwise = core::mem::replace(&mut service.standing, standing) != standing;
        let stop_by = self
            .shutdown
            .as_ref()
            .map_or(Time::MAX, |shutdown| shutdown.stop_by(slot));
        let deadline = service.phase.deadline().min(stop_by);
        self.timers.rearm(slot, deadline);
        if !fell && !stands_otherwise {
            return;
        }
        let name = service.spec.name.clone();
        if fell && self.shutdown.is_none() {
            self.hold_dependents(now, &name);
        }
        self.tell_dependents(&name);
    }

    fn tell_dependents(&mut self, name: &str) {
        for place in 0..self.registry.dependents(name).len() {
            if let Some(slot) = self.registry.dependents(name).get(place).copied() {
                self.look_at(slot);
            }
        }
    }

    /// Stops everything that requires `name`, directly or not: it was taken away on purpose. What
    /// is wanted of the dependents stays; they wait for its return.
    pub(super) fn hold_dependents(&mut self, now: Time, name: &str) {
        let mut names = alloc::vec![alloc::string::String::from(name)];
        let mut seen = SortedSet::new();
        while let Some(name) = names.pop() {
            for slot in self.registry.dependents(&name).to_vec() {
                let Some(service) = self.registry.at_mut(slot) else {
                    continue;
                };
                if !service.spec.requires.contains(&name) || !seen.insert(slot) {
                    continue;
                }
                if service.phase == Phase::Done {
                    service.phase = Phase::Waiting {
                        automatic: false,
                        stuck: true,
                    };
                } else {
                    service.stop(now, StopCause::Requirement, None, &mut self.out);
                }
                names.push(service.spec.name.clone());
                self.mark_changed(slot);
                self.look_at(slot);
            }
        }
    }

    /// Whether it is a waiting service's turn.
    fn waits(&self, service: &Service) -> Waits {
        let mut waits = Waits::No;
        for name in edges(&service.spec) {
            let required = service
                .spec
                .requires
                .iter()
                .any(|requirement| requirement == name);
            let standing = self.registry.find(name).map(Service::current_standing);
            let this = match standing {
                Some(Standing::Coming) => Waits::ForTurn,
                Some(Standing::Away) | None if required => Waits::Stuck,
                Some(Standing::Up | Standing::Away) | None => Waits::No,
            };
            waits = waits.max(this);
        }
        waits
    }

    /// The first service a waiting one waits for, and what is the matter with it.
    pub(super) fn blocker(&self, service: &Service) -> Option<(alloc::string::String, Blocker)> {
        edges(&service.spec).find_map(|name| {
            let required = service
                .spec
                .requires
                .iter()
                .any(|requirement| requirement == name);
            let blocker = match self.registry.find(name) {
                None => Blocker::Missing,
                Some(before) => match before.current_standing() {
                    Standing::Up => return None,
                    Standing::Coming => Blocker::NotReady,
                    Standing::Away => match &before.phase {
                        Phase::Down(_) => Blocker::Down,
                        Phase::Parked { .. } | Phase::Failed { .. } => Blocker::GaveUp,
                        Phase::Waiting { .. }
                        | Phase::Backoff { .. }
                        | Phase::Done
                        | Phase::Spawning { .. }
                        | Phase::Running { .. }
                        | Phase::Stopping { .. }
                        | Phase::Draining { .. }
                        | Phase::Finishing { .. } => Blocker::NotReady,
                    },
                },
            };
            (required || blocker == Blocker::NotReady).then(|| (name.into(), blocker))
        })
    }
}

/// Whether a service has to wait for others, and whether those are on their way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Waits {
    No,
    ForTurn,
    Stuck,
}
