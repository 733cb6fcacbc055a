//! Services registered with herm, as the scan directory shows them: to tools of the s6 family they
//! are like any other, and orders by either way have the same effect.

use std::ffi::OsStr;

use herm_engine::ServiceId;
use herm_s6::event;
use herm_s6::service_directory::Definition;
use herm_wire::{Kind, ReadinessSpec, ServiceSpec};

use super::entry::Entry;
use super::place::{give, number_of};
use super::scan::new_slot;
use super::{Scanned, keep_all};
use crate::pid1::reactor::{Interest, Source};
use crate::pid1::supervisor::Supervisor;

impl Supervisor {
    /// Shows a service that was registered with herm, if it is of a kind that tools look for.
    pub(crate) fn show_native(&mut self, id: ServiceId) {
        let Some(service) = self.services.get(id) else {
            return;
        };
        let shown = matches!(service.spec.kind, Kind::Gateway | Kind::Service);
        if !shown || self.scan_dir.is_none() {
            return;
        }
        if service.scanned.is_some() {
            let ids = service.ids.clone();
            let given = self
                .scan_dir
                .as_ref()
                .map(|scan| scan.own_control(id, &ids));
            if let Some(Err(error)) = given {
                let name = self.name_of(id);
                self.output
                    .warn(&format!("{name}: its user can't give it orders: {error}"));
            }
            return;
        }
        let name = service.name().to_owned();
        if let Err(error) = self.make_native(id, &name) {
            self.output
                .warn(&format!("{name} is not in the scan directory: {error}"));
        }
    }

    pub(super) fn make_native(&mut self, id: ServiceId, name: &str) -> std::io::Result<()> {
        let (Some(scan), Some(service)) = (&mut self.scan_dir, self.services.get(id)) else {
            return Ok(());
        };
        scan.dir.make_dir(name, 0o755)?;
        // Its user may take it away again, as any other.
        give(&scan.dir.open_dir(name)?, &service.ids)?;
        let other = |why: super::entry::Refusal| std::io::Error::other(why.to_string());
        let entry = Entry::open(&scan.dir, OsStr::new(name)).map_err(other)?;
        let control = scan.make_state(name, &service.ids, None)?;
        scan.link_state(&entry, name, service.ids.uid)?;
        let source = Source::ServiceControl(scan.next_number);
        self.reactor.add(&control, source, Interest::Read)?;
        keep_all([&control]);
        let definition = shown_definition(&service.spec);
        let scanned = Scanned {
            slot: name.to_owned(),
            directory: Some(entry.identity),
            native: true,
            kill_ms: None,
            finish_ms: None,
            start_ms: None,
            shutdown_ms: None,
            control: Some(number_of(&control)),
            pipe: None,
        };
        let slot = new_slot(scan.next_number, control, definition, false, false);
        scan.add(id, slot);
        if let Some(service) = self.services.get_mut(id) {
            service.scanned = Some(scanned);
        }
        self.record_service(id);
        self.show(id);
        self.write_status(id);
        self.send_event(id, &[event::SUPERVISED]);
        Ok(())
    }
}

/// What files would say of a service that has none.
pub(super) fn shown_definition(spec: &ServiceSpec) -> Definition {
    Definition {
        notification_fd: (spec.readiness != ReadinessSpec::None).then_some(3),
        down_signal: spec
            .stop
            .signal
            .as_deref()
            .and_then(herm_sys::Signal::parse)
            .unwrap_or(herm_sys::Signal::TERM)
            .number(),
        ..Definition::default()
    }
}
