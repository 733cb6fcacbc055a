//! Finding services: the scan, what it makes of an entry, and letting go of what is gone.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::time::Duration;

use herm_engine::{ServiceId, Time};
use herm_s6::event;
use herm_s6::service_directory::Definition;
use herm_s6::status::{Ended, Status};
use herm_sys::Signal;
use herm_wire::{Desired, Kind, ReadinessSpec};

use super::entry::{Entry, Refusal};
use super::place::number_of;
use super::show::now;
use super::{Face, ScanDir, Scanned, Slot, keep_all};
use crate::pid1::identity;
use crate::pid1::own::own_spec;
use crate::pid1::reactor::{Interest, Source};
use crate::pid1::services::{Annotation, Registrar, Service, checked_name};
use crate::pid1::supervisor::Supervisor;
use crate::setup::{Ids, SHARED};

/// More entries of one directory are not looked at: whoever can write it could keep PID 1 busy.
pub(super) const ENTRIES_MAX: usize = 20_000;

/// For so long after an order to let go of what is gone, what goes is let go of, too.
const PRUNE_FOR: Duration = Duration::from_secs(1);

impl Supervisor {
    /// Makes the scan directory, where there is to be one. Services are looked for after setup.
    pub(crate) fn open_scan_dir(&mut self) {
        let asked = self.environment.get("HERM_SCAN_DIR").map(ToOwned::to_owned);
        let Some(path) = super::wanted_path(asked.as_deref(), &self.boot.runtime_dir) else {
            return;
        };
        let text = path.display().to_string();
        let made = ScanDir::create(path, &self.boot.runtime_dir).and_then(|scan| {
            self.reactor
                .add(&scan.control, Source::ScanControl, Interest::Read)?;
            Ok(scan)
        });
        match made {
            Ok(scan) => {
                self.scan_dir = Some(Box::new(scan));
                // By this name programs tell that services in s6 format are supervised here.
                let _ = herm_sys::process::set_name(c"s6-svscan");
            }
            Err(error) => self.output.warn(&format!(
                "there is no scan directory {text}: {error}; services in s6 format are not found"
            )),
        }
    }

    /// The boot has come to where services are started: the first scan.
    pub(crate) fn begin_to_scan(&mut self) {
        let user = self.boot.plan.service_user.clone();
        let home = self.settings.home.is_some() && Self::uid() == 0;
        if let (Some(scan), Some(user)) = (&self.scan_dir, user.filter(|_| home))
            && let Err(error) = scan.open_to(&user)
        {
            let text = format!("the service user can't publish services: {error}");
            self.output.warn(&text);
        }
        self.scan();
    }

    /// Looks for services.
    pub(crate) fn scan(&mut self) {
        let Some(scan) = &mut self.scan_dir else {
            return;
        };
        for slot in scan.slots.values_mut() {
            slot.active = false;
        }
        for name in names_in(scan) {
            let Err(refusal) = self.look(&name) else {
                continue;
            };
            let scan = self.scan_dir.as_ref();
            if let Some(why) = scan.and_then(|scan| refusal.told(&scan.dir, &name)) {
                self.output
                    .warn(&format!("{} is not supervised: {why}", name.display()));
            }
        }
    }

    fn look(&mut self, name: &OsStr) -> Result<(), Refusal> {
        let Some(scan) = &self.scan_dir else {
            return Ok(());
        };
        let entry = Entry::open(&scan.dir, name)?;
        let text = name.to_string_lossy().into_owned();
        let checked = checked_name(&text).map_err(|why| Refusal::Io(std::io::Error::other(why)))?;
        let logger = entry.logger()?;
        self.take_in(&entry, &text, checked.as_str(), logger.is_some())?;
        let Some(logger) = logger.filter(|_| !self.has_its_log_kept(&text)) else {
            return Ok(());
        };
        let slot = format!("{text}/log");
        let name = format!("{text}:log");
        self.take_in(&logger, &slot, &name, false)
    }

    /// Supervises what an entry is, or makes sure that it is.
    fn take_in(
        &mut self,
        entry: &Entry,
        slot: &str,
        name: &str,
        logged: bool,
    ) -> Result<(), Refusal> {
        let known = self.services.id_of(name);
        if let Some(id) = known {
            let scanned = self.services.get(id).and_then(|s| s.scanned.as_ref());
            let known_as = scanned.map(|scanned| (scanned.native, scanned.directory));
            match known_as {
                None if self.may_be_shown_in(id, entry)? => self.make_native(id, name)?,
                None => {
                    let text = "the name is that of a service which is not shown here";
                    return Err(Refusal::Io(std::io::Error::other(text)));
                }
                Some((_, directory)) if directory == Some(entry.identity) => {}
                Some((native, _)) => self.replace(id, entry, native)?,
            }
            if let Some(slot) = self.slot_mut(id) {
                slot.active = true;
            }
            return Ok(());
        }
        let owner = entry.owner(Self::uid())?;
        let service = self.service_of(entry, slot, name, owner)?;
        self.begin(service, entry, logged)
    }

    /// Whether this is the place of a service of ours that lost its own while it was to be shown: of a
    /// kind that is, and the directory is its user's.
    fn may_be_shown_in(&self, id: ServiceId, entry: &Entry) -> Result<bool, Refusal> {
        let owner = entry.owner(Self::uid())?;
        Ok(self.services.get(id).is_some_and(|service| {
            let is_shown = matches!(service.spec.kind, Kind::Gateway | Kind::Service);
            is_shown && service.ids.uid == owner
        }))
    }

    /// A service for a directory, as its files say.
    fn service_of(
        &mut self,
        entry: &Entry,
        slot: &str,
        name: &str,
        owner: u32,
    ) -> Result<Service, Refusal> {
        let other = |why: &str| Refusal::Io(std::io::Error::other(why.to_owned()));
        let roots = name.starts_with("s6rc-") || name.starts_with("s6-linux-");
        if owner != 0 && roots && Self::uid() == 0 {
            return Err(other("the name is one of root's services"));
        }
        if self.shutdown.is_some() {
            return Err(other("everything is being stopped"));
        }
        self.check_capacity()
            .map_err(|error| other(&error.message))?;
        let ids = ids_of(owner, entry)?;
        let mut spec = own_spec(
            name,
            Kind::Service,
            vec!["./run".to_owned(), slot.to_owned()],
        );
        self.take_for_gateway(&mut spec, slot, owner);
        spec.initial = if entry.has("down") {
            Desired::Down
        } else {
            Desired::Up
        };
        if let Some(scan) = &self.scan_dir {
            spec.cwd = Some(scan.path.join(slot).display().to_string());
        }
        if !slot.contains('/') && entry.has("log") {
            // It is stopped before what it writes to.
            spec.after.push(format!("{name}:log"));
        }
        if owner == 0 || owner == Self::uid() {
            spec.requires = entry.names("dependencies.d");
            spec.after.extend(entry.names("after.d"));
        }
        let mut service = Service {
            spec,
            ids,
            registrar: Registrar { uid: owner },
            annotation: Annotation::default(),
            order: None,
            recorded: 0,
            survivors: Vec::new(),
            short_told: false,
            weight: 0,
            scanned: Some(Scanned {
                slot: slot.to_owned(),
                directory: Some(entry.identity),
                native: false,
                kill_ms: None,
                finish_ms: None,
                start_ms: None,
                shutdown_ms: None,
                control: None,
                pipe: None,
            }),
        };
        let (definition, bad) = entry.definition();
        for file in bad {
            let text = format!("{slot}/{file} makes no sense, and counts as absent");
            self.output.warn(&text);
        }
        define(&mut service, &definition, entry.has("finish"));
        Ok(service)
    }

    /// Begins to supervise it: the files first, then the processes.
    fn begin(&mut self, mut service: Service, entry: &Entry, logged: bool) -> Result<(), Refusal> {
        let Some(scanned) = service.scanned.clone() else {
            return Err(Refusal::NoDirectory);
        };
        let Some(scan) = &self.scan_dir else {
            return Err(Refusal::NoDirectory);
        };
        let shared = service.ids.uid == 0 && entry.has(SHARED);
        let user = self.boot.plan.service_user.as_ref();
        let group = user.filter(|_| shared).map(|ids| ids.gid);
        let control = scan.make_state(&scanned.slot, &service.ids, group)?;
        scan.link_state(entry, &scanned.slot, service.ids.uid)?;
        keep_all([&control]);
        if let Some(scanned) = &mut service.scanned {
            scanned.control = Some(number_of(&control));
        }
        let up = service.spec.initial == Desired::Up;
        let (definition, _) = entry.definition();
        let mut slot = new_slot(scan.next_number, control, definition, up, shared);
        if logged && service.spec.disabled.is_none() {
            // PID 1 holds both ends for as long as it supervises the service, so that neither the
            // service nor its logger sees the other go.
            let pipe = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
            keep_all([&pipe.0, &pipe.1]);
            if let Some(scanned) = &mut service.scanned {
                scanned.pipe = Some((number_of(&pipe.0), number_of(&pipe.1)));
            }
            slot.pipe = Some(pipe);
        }
        if let Some(scan) = &mut self.scan_dir {
            scan.pending = Some(slot);
        }
        let registered = self.supervise(service);
        if let Some(scan) = &mut self.scan_dir {
            scan.pending = None;
        }
        if let Err(error) = registered {
            if let Some(scan) = &self.scan_dir {
                scan.remove_state(Some(&entry.dir), &scanned.slot);
            }
            return Err(Refusal::Io(std::io::Error::other(error.message)));
        }
        Ok(())
    }

    /// The engine knows the service, and has not started it yet: now it is seen.
    pub(crate) fn take_slot(&mut self, id: ServiceId) {
        let Some(scan) = &mut self.scan_dir else {
            return;
        };
        let Some(slot) = scan.pending.take() else {
            return;
        };
        let source = Source::ServiceControl(slot.number);
        if let Err(error) = self.reactor.add(&slot.control, source, Interest::Read) {
            self.output.warn(&format!("orders are not heard: {error}"));
        }
        scan.add(id, slot);
        self.write_status(id);
        self.send_event(id, &[event::SUPERVISED]);
    }

    /// Another directory has its name: the service goes on, as that one says from the next start.
    fn replace(&mut self, id: ServiceId, entry: &Entry, native: bool) -> Result<(), Refusal> {
        let owner = entry.owner(Self::uid())?;
        let Some(service) = self.services.get_mut(id) else {
            return Ok(());
        };
        if !native {
            service.ids = ids_of(owner, entry)?;
            service.registrar.uid = owner;
        }
        let Some(scanned) = &mut service.scanned else {
            return Ok(());
        };
        scanned.directory = Some(entry.identity);
        let slot = scanned.slot.clone();
        let ids = service.ids.clone();
        if let Some(scan) = &mut self.scan_dir {
            scan.link_state(entry, &slot, ids.uid)?;
            if !native {
                scan.own_control(id, &ids)?;
            }
        }
        self.record_service(id);
        if !native {
            self.redefine(id, entry);
            let now = self.clock().now;
            let ordered = if entry.has("down") {
                self.engine.down(now, id)
            } else {
                self.engine.up(now, id)
            };
            if let Err(error) = ordered {
                let name = self.name_of(id);
                self.output.warn(&format!("{name}: {error}"));
            }
            self.drain();
        }
        Ok(())
    }

    /// Reads its files again, if its directory is still the one it was.
    pub(super) fn refresh(&mut self, id: ServiceId) {
        if let Some(entry) = self.entry_of(id) {
            self.redefine(id, &entry);
        }
    }

    /// Its directory, if that is still the one it was.
    pub(super) fn entry_of(&self, id: ServiceId) -> Option<Entry> {
        self.entry_for(self.services.get(id)?.scanned.as_ref()?)
    }

    fn redefine(&mut self, id: ServiceId, entry: &Entry) {
        if !self.is_scanned(id) {
            return;
        }
        let (definition, _) = entry.definition();
        let finish = entry.has("finish");
        let Some(service) = self.services.get(id) else {
            return;
        };
        let shared = service.ids.uid == 0 && entry.has(SHARED);
        if let Some(slot) = self.slot_mut(id) {
            slot.definition = definition;
            slot.shared = shared;
        }
        let Some(service) = self.services.get_mut(id) else {
            return;
        };
        define(service, &definition, finish);
        let spec = crate::pid1::convert::spec_of_service(service);
        let now = self.clock().now;
        let updated = spec.map(|spec| self.engine.update(now, id, spec));
        if let Ok(Err(error)) = updated {
            let name = self.name_of(id);
            self.output.warn(&format!("{name}: {error}"));
        }
        self.record_service(id);
    }

    /// Lets go of services that the last scan did not see, and of those whose directories are
    /// removed just after: upstream's manager has them let go first and removes them then.
    pub(super) fn prune_for_a_while(&mut self) {
        let until = self.clock().now + PRUNE_FOR;
        if let Some(scan) = &mut self.scan_dir {
            scan.prune_at = Some(until);
        }
        self.prune();
    }

    /// When directories are looked for that were removed meanwhile.
    pub(crate) fn prune_deadline(&self) -> Option<Time> {
        self.scan_dir.as_ref()?.prune_at
    }

    /// Looks for them, if it is time.
    pub(crate) fn prune_again(&mut self, now: Time) {
        if self.prune_deadline().is_none_or(|at| at > now) {
            return;
        }
        let Some(scan) = &mut self.scan_dir else {
            return;
        };
        scan.prune_at = None;
        let ids: Vec<ServiceId> = scan.slots.keys().copied().collect();
        for id in ids {
            if self.entry_of(id).is_none()
                && let Some(slot) = self.slot_mut(id)
            {
                slot.active = false;
            }
        }
        self.prune();
    }

    /// Lets go of services that the last scan did not see.
    fn prune(&mut self) {
        let Some(scan) = &self.scan_dir else {
            return;
        };
        let gone: Vec<ServiceId> = scan
            .slots
            .iter()
            .filter(|(_, slot)| !slot.active)
            .map(|(id, _)| *id)
            .collect();
        for id in gone {
            let scanned = self.services.get(id).and_then(|s| s.scanned.as_ref());
            let (native, logger) = scanned.map_or((true, false), |scanned| {
                (scanned.native, scanned.is_logger())
            });
            if native {
                // What is only shown there is gone with its directory, and not by a mere renaming.
                if self.entry_of(id).is_none() {
                    self.withdraw(id);
                }
                continue;
            }
            self.forget_stranger(id);
            self.close_pipe(id);
            if logger {
                self.end_logger(id);
            } else {
                self.let_go(id);
            }
        }
    }

    /// A logger reads to its end, which comes with the end of those who write, and is let go then.
    pub(super) fn end_logger(&mut self, id: ServiceId) {
        // One that is gone by now is let go by what follows.
        let _ = self.engine.let_end(self.clock().now, id);
        self.drain();
        if let Some(slot) = self.slot_mut(id) {
            slot.exiting = true;
            slot.active = false;
            let face = slot.face;
            self.end_if_told(id, face);
        }
    }

    /// Nothing is to be started again: loggers come to the end of what they read.
    pub(crate) fn close_pipes(&mut self) {
        if let Some(scan) = &mut self.scan_dir {
            for slot in scan.slots.values_mut() {
                slot.pipe = None;
            }
        }
    }

    pub(super) fn close_pipe(&mut self, id: ServiceId) {
        if let Some(slot) = self.slot_mut(id) {
            slot.pipe = None;
        }
        if let Some(scanned) = self.services.get_mut(id).and_then(|s| s.scanned.as_mut()) {
            scanned.pipe = None;
        }
    }

    pub(super) fn let_go(&mut self, id: ServiceId) {
        let name = self.name_of(id);
        if let Err(error) = self.engine.unregister(self.clock().now, id) {
            self.output.warn(&format!("{name}: {error}"));
        }
        self.drain();
    }

    /// A service is no more: nor is what showed it. Whether that was taken away before.
    pub(crate) fn unshow(&mut self, id: ServiceId, service: &Service) -> bool {
        let Some(scanned) = &service.scanned else {
            return false;
        };
        self.send_event(id, &[event::UNSUPERVISED]);
        let entry = self.entry_for(scanned);
        let Some(scan) = &mut self.scan_dir else {
            return false;
        };
        let slot = scan.slots.remove(&id);
        if let Some(slot) = &slot {
            self.reactor.remove(&slot.control);
        }
        scan.remove_state(entry.as_ref().map(|entry| &entry.dir), &scanned.slot);
        if scanned.native && entry.is_some() {
            // It holds nothing but the links, which are gone.
            let _ = scan.dir.remove_tree(&scanned.slot);
        }
        slot.is_some_and(|slot| slot.withdrawn)
    }

    /// The directory that was recorded, if its name still leads to it.
    fn entry_for(&self, scanned: &Scanned) -> Option<Entry> {
        let scan = self.scan_dir.as_ref()?;
        let (name, logger) = match scanned.slot.strip_suffix("/log") {
            Some(name) => (name, true),
            None => (scanned.slot.as_str(), false),
        };
        let entry = Entry::open(&scan.dir, OsStr::new(name)).ok()?;
        let entry = if logger { entry.logger().ok()?? } else { entry };
        (scanned.directory == Some(entry.identity)).then_some(entry)
    }

    pub(super) fn slot_mut(&mut self, id: ServiceId) -> Option<&mut Slot> {
        self.scan_dir.as_mut()?.slots.get_mut(&id)
    }
}

/// What a definition means for a service.
fn define(service: &mut Service, definition: &Definition, finish: bool) {
    let spec = &mut service.spec;
    spec.readiness = match definition.notification_fd {
        Some(fd) => ReadinessSpec::Notify { fd },
        None => ReadinessSpec::None,
    };
    let logger = service.scanned.as_ref().is_some_and(Scanned::is_logger);
    // A logger ends by the end of what it reads, not by a signal that could cost the last lines.
    let signal = if logger {
        Signal::CONT.number()
    } else {
        definition.down_signal
    };
    spec.stop.signal = Some(signal.to_string());
    let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    if let Some(scanned) = &mut service.scanned {
        scanned.kill_ms = definition.timeout_kill.map(millis);
        scanned.start_ms = definition.start_within.map(millis);
        scanned.shutdown_ms = definition.shutdown_grace.map(millis);
        scanned.finish_ms = finish.then(|| definition.timeout_finish.map_or(0, millis));
    }
}

/// A user's ids and groups; one without an entry in passwd(5) has its directory's group.
pub(super) fn ids_of(owner: u32, entry: &Entry) -> Result<Ids, Refusal> {
    if owner == Supervisor::uid() {
        return Ok(identity::own());
    }
    let other = |why| Refusal::Io(std::io::Error::other(why));
    let mut ids = identity::named(&owner.to_string()).map_err(other)?;
    if ids.name.is_none() {
        ids.gid = entry.dir.stat_self()?.st_gid;
    }
    Ok(ids)
}

pub(super) fn new_slot(
    number: u64,
    control: OwnedFd,
    definition: Definition,
    up: bool,
    shared: bool,
) -> Slot {
    let now = now();
    Slot {
        number,
        control,
        pipe: None,
        definition,
        face: Face::Down,
        status: Status {
            changed: now,
            ready_since: now,
            pid: 0,
            ended: Ended::Exited(0),
            paused: false,
            finishing: false,
            wanted_up: up,
            ready: true,
        },
        exiting: false,
        active: true,
        vetoed: false,
        shared,
        withdrawn: false,
        deaths: Vec::new(),
    }
}

/// The names that may be services, in order: none that begins with a dot, and none of the kind
/// that directories have while they are being made.
fn names_in(scan: &ScanDir) -> Vec<std::ffi::OsString> {
    let mut names = Vec::new();
    let Ok(entries) = rustix::fs::Dir::read_from(&scan.dir) else {
        return names;
    };
    for entry in entries.take(ENTRIES_MAX).flatten() {
        let name = entry.file_name().to_bytes();
        if !name.starts_with(b".") && !name.ends_with(b".tmp") {
            names.push(std::ffi::OsString::from_vec(name.to_vec()));
        }
    }
    names.sort_unstable_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
    names
}
