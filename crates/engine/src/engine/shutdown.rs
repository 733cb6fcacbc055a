//! The end of everything: dependents first, in parallel, all graces inside one budget.
//!
//! The budget is divided backwards. A service's *tail* is its own grace and the longest tail among
//! those it depends on, which stop after it: the time its stop must begin before the end. If the
//! longest tail is longer than the budget, all are shortened in proportion. So every service has a
//! latest time for its stop to begin and one for its KILL. It begins earlier, as soon as nothing
//! that depends on it lives; what a quick one leaves over, those after it may use.

use alloc::vec::Vec;
use core::time::Duration;

use super::Engine;
use super::registry::{Registry, edges, index};
use crate::model::{Action, Kind, ServiceId, StopCause, Want};
use crate::service::Service;
use crate::time::{Time, nanos};

/// Kept free at the end of a budget: between the last KILL and the end, for the reaping.
const RESERVE_MAX: Duration = Duration::from_secs(1);

/// A service that would not get its whole grace in a shutdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overbooked {
    /// The service.
    pub id: ServiceId,
    /// The grace its stop policy promises.
    pub grace: Duration,
    /// What is left of it in the worst case: everybody before it takes all it may.
    pub granted: Duration,
}

/// One service's place in the plan.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// Its stop begins no later.
    stop_by: Time,
    /// It is killed no later.
    kill_by: Time,
    /// Dependents that have to be gone before its stop begins early.
    before: u32,
    /// Whether its stop was begun.
    asked: bool,
    /// Whether a process of it may live.
    active: bool,
    /// Whether it has let those it depends on know that it is gone.
    gone: bool,
}

/// A shutdown in progress, or over.
#[derive(Debug)]
pub(super) struct Shutdown {
    pub(super) end: Time,
    places: Vec<Place>,
    active: u32,
    done: bool,
}

impl Shutdown {
    pub(super) fn deadline(&self) -> Option<Time> {
        (!self.done).then_some(self.end)
    }

    /// When the slot's stop has to begin, if it hasn't.
    pub(super) fn stop_by(&self, slot: u32) -> Time {
        match self.places.get(index(slot)) {
            Some(place) if place.active && !place.asked => place.stop_by,
            Some(_) | None => Time::MAX,
        }
    }

    /// Whether the slot's stop was not begun though something of it lives; and if so, whether
    /// nothing is in the way of it any more.
    fn unasked(&self, slot: u32) -> Option<bool> {
        let place = self.places.get(index(slot))?;
        (place.active && !place.asked).then_some(place.before == 0)
    }
}

impl Engine {
    /// Stops everything within `budget`. [`Action::ShutdownDone`] follows when nothing lives any
    /// more, at the latest when the budget is spent. A second call can only shorten the first.
    pub fn shutdown(&mut self, now: Time, budget: Duration) {
        if self
            .shutdown
            .as_ref()
            .is_none_or(|running| now + budget < running.end)
        {
            self.plan_shutdown(now, now + budget);
        }
        self.converge(now);
    }

    /// Who could not have its whole grace if everything were shut down within `budget` now. For
    /// oneshots that are done and services that are meant to be down nothing has to be planned.
    pub fn stop_budget(&self, budget: Duration) -> Vec<Overbooked> {
        let stops = |service: &Service| {
            service.phase.is_active()
                || (service.want == Want::Up && service.spec.kind == Kind::Longrun)
        };
        let plan = Plan::new(&self.registry, Time::ZERO, Time::ZERO + budget, &stops);
        let mut latest_kill = alloc::vec![Time::ZERO; self.registry.slots()];
        let mut short = Vec::new();
        // Dependents come last in the order of dependencies, and stop first.
        for slot in plan.order.iter().rev().copied() {
            let Some(service) = self.registry.at(slot) else {
                continue;
            };
            let Some(place) = plan.places.get(index(slot)) else {
                continue;
            };
            let dependents = self.registry.dependents(&service.spec.name);
            let kills = dependents
                .iter()
                .filter_map(|slot| latest_kill.get(index(*slot)));
            let start = kills
                .max()
                .copied()
                .unwrap_or(Time::ZERO)
                .min(place.stop_by);
            let grace = if stops(service) {
                service.spec.stop.grace
            } else {
                Duration::ZERO
            };
            let kill = (start + grace).min(place.kill_by.max(start));
            if let Some(entry) = latest_kill.get_mut(index(slot)) {
                *entry = kill;
            }
            let granted = kill.since(start);
            if granted < grace {
                short.push(Overbooked {
                    id: service.id,
                    grace,
                    granted,
                });
            }
        }
        short
    }

    /// Begins the shutdown, or begins it anew with another end.
    pub(super) fn plan_shutdown(&mut self, now: Time, end: Time) {
        let plan = Plan::new(&self.registry, now, end, &|service| {
            service.phase.is_active()
        });
        let slots: Vec<u32> = self
            .registry
            .iter()
            .map(|service| service.id.slot)
            .collect();
        let active = plan.places.iter().filter(|place| place.active).count();
        self.out.graces_end = Some(plan.graces_end);
        self.shutdown = Some(Shutdown {
            end,
            places: plan.places,
            active: u32::try_from(active).unwrap_or(u32::MAX),
            done: false,
        });
        for slot in slots {
            // What is on its way down anyway has its grace cut to what the plan allows.
            let ending = self.registry.at(slot).is_some_and(Service::is_ending);
            if ending {
                self.stop_for_shutdown(now, slot);
            }
            self.mark_changed(slot);
            self.look_at(slot);
        }
        self.finish_shutdown();
    }

    /// Whether it is time for the slot's part in the shutdown: nothing depends on it any more, or
    /// it is ending for another reason and is bound to the plan from here on.
    pub(super) fn is_next_in_shutdown(&self, slot: u32) -> bool {
        let unasked = self
            .shutdown
            .as_ref()
            .and_then(|shutdown| shutdown.unasked(slot));
        let is_ending = || self.registry.at(slot).is_some_and(Service::is_ending);
        unasked.is_some_and(|free| free || is_ending())
    }

    pub(super) fn stop_for_shutdown(&mut self, now: Time, slot: u32) {
        let Some(shutdown) = &mut self.shutdown else {
            return;
        };
        let Some(place) = shutdown.places.get_mut(index(slot)) else {
            return;
        };
        place.asked = true;
        let kill_by = place.kill_by;
        if let Some(service) = self.registry.at_mut(slot) {
            service.stop(now, StopCause::Shutdown, Some(kill_by), &mut self.out);
        }
        self.mark_changed(slot);
        self.look_at(slot);
    }

    /// Nothing of the slot lives any more: those it depends on come a step nearer to their stop.
    pub(super) fn stopped_for_shutdown(&mut self, slot: u32) {
        let Some(shutdown) = &mut self.shutdown else {
            return;
        };
        let Some(service) = self.registry.at(slot) else {
            return;
        };
        let Some(place) = shutdown.places.get_mut(index(slot)) else {
            return;
        };
        if core::mem::take(&mut place.active) {
            shutdown.active = shutdown.active.saturating_sub(1);
        }
        if place.gone || (place.before > 0 && !service.removing) {
            return self.finish_shutdown();
        }
        place.gone = true;
        let freed = distinct_before(&self.registry, service);
        for slot in &freed {
            if let Some(place) = shutdown.places.get_mut(index(*slot)) {
                place.before = place.before.saturating_sub(1);
            }
        }
        for slot in freed {
            self.look_at(slot);
        }
        self.finish_shutdown();
    }

    fn finish_shutdown(&mut self) {
        if let Some(shutdown) = &mut self.shutdown
            && shutdown.active == 0
            && !core::mem::replace(&mut shutdown.done, true)
        {
            self.out.actions.push_back(Action::ShutdownDone { left: 0 });
        }
    }

    /// Ends a shutdown whose budget is spent. True if that was news.
    pub(super) fn shutdown_overdue(&mut self, now: Time) -> bool {
        let Some(shutdown) = &mut self.shutdown else {
            return false;
        };
        if shutdown.done || now < shutdown.end {
            return false;
        }
        shutdown.done = true;
        self.out.actions.push_back(Action::ShutdownDone {
            left: shutdown.active,
        });
        true
    }
}

/// Who stops when.
struct Plan {
    places: Vec<Place>,
    /// Slots, those that others depend on first.
    order: Vec<u32>,
    graces_end: Time,
}

impl Plan {
    fn new(
        registry: &Registry,
        now: Time,
        end: Time,
        is_active: &dyn Fn(&Service) -> bool,
    ) -> Self {
        let budget = end.since(now);
        let available = budget.saturating_sub(RESERVE_MAX.min(budget / 2));
        let graces_end = now + available;
        let order = dependencies_first(registry);
        let graces = graces(registry, available, is_active);
        let tails = tails(registry, &order, &graces);
        let longest = tails.iter().copied().max().unwrap_or_default();
        let cut = |span: Duration| cut_in_proportion(span, available, longest);
        let mut places = Vec::with_capacity(registry.slots());
        for slot in 0..registry.slots() {
            let grace = graces.get(slot).copied().unwrap_or_default();
            let tail = tails.get(slot).copied().unwrap_or_default();
            let service = u32::try_from(slot).ok().and_then(|slot| registry.at(slot));
            let before = service.map_or(0, |service| registry.dependents(&service.spec.name).len());
            places.push(Place {
                stop_by: graces_end.before(cut(tail)),
                kill_by: graces_end.before(cut(tail.saturating_sub(grace))),
                before: u32::try_from(before).unwrap_or(u32::MAX),
                asked: false,
                active: service.is_some_and(is_active),
                gone: false,
            });
        }
        Self {
            places,
            order,
            graces_end,
        }
    }
}

/// Each slot's grace, as far as the budget could hold it alone.
fn graces(
    registry: &Registry,
    available: Duration,
    is_active: &dyn Fn(&Service) -> bool,
) -> Vec<Duration> {
    let mut graces = alloc::vec![Duration::ZERO; registry.slots()];
    for service in registry.iter().filter(|service| is_active(service)) {
        if let Some(grace) = graces.get_mut(index(service.id.slot)) {
            *grace = service.spec.stop.grace.min(available);
        }
    }
    graces
}

/// Each slot's tail, from an order in which dependencies come first.
fn tails(registry: &Registry, order: &[u32], graces: &[Duration]) -> Vec<Duration> {
    let mut tails = alloc::vec![Duration::ZERO; registry.slots()];
    for slot in order.iter().copied() {
        let Some(service) = registry.at(slot) else {
            continue;
        };
        let before = distinct_before(registry, service);
        let longest = before
            .into_iter()
            .filter_map(|slot| tails.get(index(slot)))
            .max()
            .copied();
        let grace = graces.get(index(slot)).copied().unwrap_or_default();
        if let Some(tail) = tails.get_mut(index(slot)) {
            *tail = longest.unwrap_or_default() + grace;
        }
    }
    tails
}

/// All slots, each after those it depends on. There are no circles.
fn dependencies_first(registry: &Registry) -> Vec<u32> {
    let mut missing = alloc::vec![0_usize; registry.slots()];
    let mut order = Vec::with_capacity(registry.len());
    for service in registry.iter() {
        let count = distinct_before(registry, service).len();
        if let Some(entry) = missing.get_mut(index(service.id.slot)) {
            *entry = count;
        }
        if count == 0 {
            order.push(service.id.slot);
        }
    }
    let mut place = 0;
    while let Some(slot) = order.get(place).copied() {
        place += 1;
        let Some(service) = registry.at(slot) else {
            continue;
        };
        for dependent in registry.dependents(&service.spec.name) {
            if let Some(count) = missing.get_mut(index(*dependent)) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    order.push(*dependent);
                }
            }
        }
    }
    order
}

/// The registered services that this one comes after, each once.
fn distinct_before(registry: &Registry, service: &Service) -> Vec<u32> {
    let found = edges(&service.spec).filter_map(|name| registry.find(name));
    let mut slots: Vec<u32> = found.map(|before| before.id.slot).collect();
    slots.sort_unstable();
    slots.dedup();
    slots
}

/// `span` as it is if the longest one fits, else shortened as that one must be.
fn cut_in_proportion(span: Duration, available: Duration, longest: Duration) -> Duration {
    if longest <= available {
        return span;
    }
    let cut = u128::from(nanos(span)) * u128::from(nanos(available)) / u128::from(nanos(longest));
    Duration::from_nanos(u64::try_from(cut).unwrap_or(u64::MAX))
}
