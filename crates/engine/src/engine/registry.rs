//! Which services there are: slots, names, and who comes after whom.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::model::{ServiceId, Spec, Want};
use crate::service::Service;
use crate::sorted::{SortedMap, SortedSet};
use crate::time::Time;

/// Why a service could not be registered or its description replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegisterError {
    /// A service of this name exists: [`Engine::update`](crate::Engine::update) replaces it.
    Exists(ServiceId),
    /// A service of this name is being unregistered; the name is free after its
    /// [`Action::Removed`](crate::Action::Removed).
    BeingRemoved(ServiceId),
    /// Services would wait for each other in a circle: the path, which ends where it begins.
    Cycle(Vec<String>),
    /// There are as many services as the configuration allows.
    Full {
        /// How many that is.
        max: usize,
    },
    /// The name is empty.
    NoName,
    /// The new description has another name than the service it is for.
    OtherName,
    /// There is no such service.
    NoSuchService,
    /// Everything is being shut down.
    ShuttingDown,
}

impl fmt::Display for RegisterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exists(_) => write!(f, "a service of this name is registered already"),
            Self::BeingRemoved(_) => {
                write!(
                    f,
                    "a service of this name is still being unregistered; wait until it is"
                )
            }
            Self::Cycle(path) => {
                write!(f, "services would wait for each other in a circle: ")?;
                for (place, name) in path.iter().enumerate() {
                    if place > 0 {
                        write!(f, " -> ")?;
                    }
                    write!(f, "{name}")?;
                }
                Ok(())
            }
            Self::Full { max } => write!(f, "there are {max} services, the most allowed"),
            Self::NoName => write!(f, "a service needs a name"),
            Self::OtherName => write!(f, "a service's name can't be changed"),
            Self::NoSuchService => write!(f, "there is no such service"),
            Self::ShuttingDown => write!(f, "everything is being shut down"),
        }
    }
}

impl core::error::Error for RegisterError {}

#[derive(Debug)]
struct Slot {
    generation: u32,
    service: Option<Service>,
}

/// The services, by id and by name, and the edges between their names.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Slots in use, in the order of their services' names.
    named: Vec<u32>,
    /// For each name, registered or not, the slots that require it or come after it.
    dependents: SortedMap<String, Vec<u32>>,
}

impl Registry {
    pub(crate) fn len(&self) -> usize {
        self.named.len()
    }

    /// One more than the highest slot in use.
    pub(crate) fn slots(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn insert(&mut self, now: Time, spec: Spec, want: Want) -> ServiceId {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot {
                generation: 0,
                service: None,
            });
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        let (Ok(at) | Err(at)) = self.place_of(&spec.name);
        self.named.insert(at, slot);
        self.link(slot, &spec);
        let place = index(slot);
        let generation = self.slots.get(place).map_or(0, |slot| slot.generation);
        let id = ServiceId { slot, generation };
        if let Some(entry) = self.slots.get_mut(place) {
            entry.service = Some(Service::new(now, id, spec, want));
        }
        id
    }

    pub(crate) fn remove(&mut self, slot: u32) -> Option<Service> {
        let place = self.place_of(&self.at(slot)?.spec.name);
        if let Ok(place) = place {
            self.named.remove(place);
        }
        let entry = self.slots.get_mut(index(slot))?;
        let service = entry.service.take()?;
        entry.generation = entry.generation.wrapping_add(1);
        self.free.push(slot);
        self.unlink(slot, &service.spec);
        Some(service)
    }

    /// Replaces a description, edges included.
    pub(crate) fn replace(&mut self, slot: u32, spec: Spec) {
        let Some(service) = self.at_mut(slot) else {
            return;
        };
        let old = core::mem::replace(&mut service.spec, spec);
        let new = service.spec.clone();
        self.unlink(slot, &old);
        self.link(slot, &new);
    }

    pub(crate) fn at(&self, slot: u32) -> Option<&Service> {
        self.slots.get(index(slot))?.service.as_ref()
    }

    pub(crate) fn at_mut(&mut self, slot: u32) -> Option<&mut Service> {
        self.slots.get_mut(index(slot))?.service.as_mut()
    }

    pub(crate) fn get(&self, id: ServiceId) -> Option<&Service> {
        self.at(id.slot).filter(|service| service.id == id)
    }

    pub(crate) fn find(&self, name: &str) -> Option<&Service> {
        self.at(*self.named.get(self.place_of(name).ok()?)?)
    }

    /// In the order of their names.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Service> {
        self.named.iter().filter_map(|slot| self.at(*slot))
    }

    /// Slots of the services that require this name or come after it.
    pub(crate) fn dependents(&self, name: &str) -> &[u32] {
        self.dependents.get(name).map_or(&[], Vec::as_slice)
    }

    /// The path by which a service of this description would wait for itself.
    pub(crate) fn cycle(&self, spec: &Spec) -> Option<Vec<String>> {
        // Depth first: each entry is a name and the edges of it that are still to be followed.
        let mut path: Vec<(&str, Vec<&str>)> =
            alloc::vec![(spec.name.as_str(), edges(spec).collect())];
        let mut seen = SortedSet::new();
        while let Some((_, open)) = path.last_mut() {
            let Some(name) = open.pop() else {
                path.pop();
                continue;
            };
            if name == spec.name {
                let names = path.iter().map(|(name, _)| *name).chain([name]);
                return Some(names.map(String::from).collect());
            }
            if seen.insert(name)
                && let Some(service) = self.find(name)
            {
                path.push((name, edges(&service.spec).collect()));
            }
        }
        None
    }

    /// Where a name is in the order of names, or would be.
    fn place_of(&self, name: &str) -> Result<usize, usize> {
        let name_at = |slot: u32| self.at(slot).map_or("", |service| &service.spec.name);
        self.named.binary_search_by(|slot| name_at(*slot).cmp(name))
    }

    fn link(&mut self, slot: u32, spec: &Spec) {
        for name in edges(spec) {
            let slots = self.dependents.get_or_default(name.into());
            if !slots.contains(&slot) {
                slots.push(slot);
            }
        }
    }

    fn unlink(&mut self, slot: u32, spec: &Spec) {
        for name in edges(spec) {
            if let Some(slots) = self.dependents.get_mut(name) {
                slots.retain(|other| *other != slot);
                if slots.is_empty() {
                    self.dependents.remove(name);
                }
            }
        }
    }
}

/// The names a service comes after, for whatever reason.
pub(crate) fn edges(spec: &Spec) -> impl Iterator<Item = &str> {
    spec.requires.iter().chain(&spec.after).map(String::as_str)
}

pub(crate) fn index(slot: u32) -> usize {
    usize::try_from(slot).unwrap_or(usize::MAX)
}
