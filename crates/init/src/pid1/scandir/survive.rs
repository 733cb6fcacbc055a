//! The scan directory over a re-execution of PID 1: descriptors stay open, the rest is read again.

use herm_engine::ServiceId;
use herm_s6::status::Status;
use herm_sys::fs_at::Dir;

use super::native::shown_definition;
use super::scan::new_slot;
use super::{Face, Record, ScanDir, Scanned, Slot};
use crate::pid1::reactor::{Interest, Source};
use crate::pid1::records::inherit;
use crate::pid1::supervisor::Supervisor;

impl Supervisor {
    /// Goes on with the scan directory of the program before this one.
    pub(crate) fn adopt_scan_dir(&mut self, record: Option<&Record>) {
        let Some(record) = record else {
            return;
        };
        let Some(mut scan) = ScanDir::adopt(record, &self.boot.runtime_dir) else {
            self.output
                .warn("the scan directory is lost: services in s6 format take no orders by it");
            return;
        };
        let mut heard = self
            .reactor
            .add(&scan.control, Source::ScanControl, Interest::Read);
        for (id, service) in self.services.iter() {
            let scanned = service.scanned.as_ref();
            let Some(mut slot) = scanned.and_then(|scanned| revive(&scan, scanned)) else {
                continue;
            };
            // Of others the files are read again below.
            slot.definition = shown_definition(&service.spec);
            let source = Source::ServiceControl(slot.number);
            heard = heard.and(self.reactor.add(&slot.control, source, Interest::Read));
            scan.add(id, slot);
        }
        let ids: Vec<ServiceId> = scan.slots.keys().copied().collect();
        self.scan_dir = Some(Box::new(scan));
        for id in ids {
            self.refresh(id);
        }
        if let Err(error) = heard {
            self.output
                .warn(&format!("not every order is heard any more: {error}"));
        }
    }
}

/// A slot as it was, by what was recorded and by its own files.
fn revive(scan: &ScanDir, scanned: &Scanned) -> Option<Slot> {
    let control = inherit(scanned.control)?;
    let supervise = supervise_dir(scan, &scanned.slot)?;
    let status = read(&supervise, "status").and_then(|bytes| Status::parse(&bytes))?;
    let mut slot = new_slot(
        scan.next_number,
        control,
        <_>::default(),
        status.wanted_up,
        false,
    );
    slot.pipe = scanned
        .pipe
        .and_then(|(read, write)| Some((inherit(Some(read))?, inherit(Some(write))?)));
    slot.deaths = read(&supervise, "death_tally").unwrap_or_default();
    slot.face = match (u32::try_from(status.pid), status.finishing) {
        (Ok(0) | Err(_), true) => Face::Dying,
        (Ok(0) | Err(_), false) => Face::Down,
        (Ok(pid), true) => Face::Finishing { pid },
        (Ok(pid), false) => Face::Up {
            pid,
            ready: status.ready,
        },
    };
    slot.status = status;
    Some(slot)
}

fn supervise_dir(scan: &ScanDir, slot: &str) -> Option<Dir> {
    scan.state.open_dir(slot).ok()?.open_dir("supervise").ok()
}

fn read(dir: &Dir, name: &str) -> Option<Vec<u8>> {
    const DEATHS_BYTES_MAX: u64 = 64 * 1024;
    dir.read_if_present(name, DEATHS_BYTES_MAX).ok().flatten()
}
