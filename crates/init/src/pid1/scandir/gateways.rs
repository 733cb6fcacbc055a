//! Slots of gateways. What such a slot is, only the keeper can say, which knows the profiles.
//!
//! Where there is a keeper, a slot that its user publishes under a gateway's name waits, switched
//! off. If it is a profile's, the keeper registers the gateway, and the slot shows that one from
//! then on: the same in every image, whoever was there first. If it is no profile's, the keeper
//! unregisters it, and it is found again as a service like any other.

use herm_engine::ServiceId;
use herm_wire::{Kind, ServiceSpec};

use super::Scanned;
use super::native::shown_definition;
use crate::pid1::services::Service;
use crate::pid1::supervisor::Supervisor;

/// A gateway's service is called so, and its profile.
const GATEWAY: &str = "gateway-";
/// Why a slot is switched off that the keeper has not seen yet.
const WAITS: &str = "waits for the keeper, which knows whether it is a profile's";

impl Supervisor {
    /// Makes a gateway of what is called like one.
    pub(super) fn take_for_gateway(&self, spec: &mut ServiceSpec, slot: &str, owner: u32) {
        let name = spec.name.strip_prefix(GATEWAY);
        let Some(profile) = name.filter(|_| !slot.contains('/')) else {
            return;
        };
        let kept = self.boot.has_keeper();
        if kept && (owner != self.keepers_uid() || self.is_stranger(&spec.name)) {
            return;
        }
        spec.profile = Some(profile.to_owned());
        spec.kind = Kind::Gateway;
        spec.disabled = kept.then(|| WAITS.to_owned());
    }

    fn keepers_uid(&self) -> u32 {
        let user = self.boot.plan.service_user.as_ref();
        user.map_or_else(Self::uid, |ids| ids.uid)
    }

    fn is_stranger(&self, name: &String) -> bool {
        let scan = self.scan_dir.as_ref();
        scan.is_some_and(|scan| scan.strangers.contains(name))
    }

    pub(super) fn forget_stranger(&mut self, id: ServiceId) {
        let name = self.name_of(id);
        if let Some(scan) = &mut self.scan_dir {
            scan.strangers.remove(&name);
        }
    }

    /// Whether a slot waits for the keeper.
    pub(super) fn waits(&self, id: ServiceId) -> bool {
        self.is_scanned(id) && self.services.get(id).is_some_and(is_switched_off_gateway)
    }

    /// A slot that waits is no profile's.
    pub(crate) fn disown(&mut self, id: ServiceId) {
        let name = self.name_of(id);
        if self.waits(id)
            && let Some(scan) = &mut self.scan_dir
        {
            scan.strangers.insert(name);
        }
    }

    /// What the keeper let go of is found again, if it is a service of its own.
    pub(crate) fn find_again(&mut self, service: &Service) {
        let name = &service.spec.name;
        if !is_switched_off_gateway(service) || !self.is_stranger(name) {
            return;
        }
        self.scan();
        if self.services.id_of(name).is_none()
            && let Some(scan) = &mut self.scan_dir
        {
            // Its directory has gone meanwhile, and the next of its name may be a profile's.
            scan.strangers.remove(name);
        }
    }

    /// Whether the directory's `log` is not to be used: herm keeps the log of what only shows there.
    pub(super) fn has_its_log_kept(&self, name: &str) -> bool {
        self.services
            .id_of(name)
            .is_some_and(|id| !self.is_scanned(id) || self.waits(id))
    }

    /// What was found in the scan directory was registered with herm, and only shows there now.
    pub(crate) fn only_show(&mut self, id: ServiceId) {
        let Some(service) = self.services.get_mut(id) else {
            return;
        };
        let definition = shown_definition(&service.spec);
        let logger = format!("{}:log", service.spec.name);
        match &mut service.scanned {
            Some(scanned) => scanned.native = true,
            None => return,
        }
        if let Some(slot) = self.slot_mut(id) {
            slot.definition = definition;
        }
        self.close_pipe(id);
        if let Some(logger) = self.services.id_of(&logger)
            && self.is_logger(logger)
        {
            self.end_logger(logger);
        }
    }

    fn is_logger(&self, id: ServiceId) -> bool {
        let scanned = self.services.get(id).and_then(|s| s.scanned.as_ref());
        scanned.is_some_and(Scanned::is_logger)
    }

    /// The directory that showed it was taken away, so it is to be no more; the keeper is told why.
    pub(super) fn withdraw(&mut self, id: ServiceId) {
        if let Some(slot) = self.slot_mut(id) {
            slot.withdrawn = true;
        }
        self.let_go(id);
    }
}

fn is_switched_off_gateway(service: &Service) -> bool {
    service.spec.kind == Kind::Gateway && service.spec.disabled.is_some()
}
