//! Registration: all of it or nothing (contract section 5).

use herm_engine::{RegisterError, ServiceId, Want};
use herm_wire::{Body, Desired, ErrorBody, ErrorCode, Kind, Probe, ReadinessSpec, ServiceSpec};

use super::authority::{Asks, Peer, Target};
use super::ops::failure;
use super::server::connections_max;
use crate::pid1::convert::spec_of_service;
use crate::pid1::identity;
use crate::pid1::logs::LOGD;
use crate::pid1::services::{Annotation, Registrar, Service, checked_name};
use crate::pid1::supervisor::Supervisor;
use crate::setup::Ids;

/// Descriptors of PID 1 that one service may take: its log pipe and its notifications.
const DESCRIPTORS_PER_SERVICE: u64 = 2;

/// Descriptors kept for helpers and herm itself, besides those for clients.
const DESCRIPTORS_RESERVED: u64 = 64;

/// What all specs of one user may take together: 10,000 services of 3 KiB.
const SPEC_BYTES_PER_USER_MAX: usize = 32 << 20;

/// Descriptors below this are the service's to name for its notifications.
const NOTIFY_FD_MAX: u32 = 1024;

impl Supervisor {
    /// Supervises a new service, or gives an existing one another spec. When it returns an error
    /// nothing is left of the attempt.
    pub(crate) fn register(
        &mut self,
        peer: &Peer,
        mut spec: ServiceSpec,
    ) -> Result<Body, ErrorBody> {
        let bad = |why: String| failure(ErrorCode::BadConfig, why);
        let name = checked_name(&spec.name).map_err(bad)?;
        let named = spec
            .user
            .as_deref()
            .map(identity::named)
            .transpose()
            .map_err(bad)?;
        let names_user = named.as_ref().is_some_and(|ids| ids.uid != peer.uid);
        self.permit(
            peer,
            Asks::Add {
                name: &name,
                kind: spec.kind,
                names_user,
            },
        )?;
        check(&spec).map_err(bad)?;
        if self.shutdown.is_some() {
            let text = "everything is being stopped".to_owned();
            return Err(failure(ErrorCode::ShuttingDown, text));
        }
        if spec.name == LOGD {
            let text = "the name is the log daemon's".to_owned();
            return Err(failure(ErrorCode::Clash, text));
        }
        let existing = self.services.id_of(&spec.name);
        if let Some(service) = existing.and_then(|id| self.services.get(id)) {
            self.permit(
                peer,
                Asks::Control(Target {
                    name: &name,
                    kind: service.spec.kind,
                    runs_as: service.ids.uid,
                    registered_by: service.registrar.uid,
                    shared: false,
                }),
            )?;
        } else {
            self.check_capacity()?;
        }
        self.check_bytes(peer, &spec)?;
        let ids = Self::identity_of(peer, named);
        self.settings.complete(&mut spec);
        let service = Service {
            spec,
            ids,
            registrar: Registrar { uid: peer.uid },
            annotation: Annotation::default(),
            order: None,
            recorded: 0,
            scanned: None,
            survivors: Vec::new(),
            short_told: false,
            weight: 0,
        };
        let body = self.supervise(service)?;
        self.warn_of_its_grace(name.as_str());
        Ok(body)
    }

    /// Registers a service whose right to exist is settled: herm's own, or a peer's after checks.
    pub(crate) fn supervise(&mut self, mut service: Service) -> Result<Body, ErrorBody> {
        let spec = spec_of_service(&service).map_err(|why| failure(ErrorCode::BadConfig, why))?;
        let want = match (
            &service.spec.disabled,
            service.spec.initial,
            service.spec.kind,
        ) {
            (Some(_), _, _) => Want::Disabled,
            (None, Desired::Up, Kind::Main) => Want::Once,
            (None, Desired::Up, _) => Want::Up,
            (None, Desired::Down, _) => Want::Down,
        };
        let now = self.clock().now;
        let id = if let Some(id) = self.services.id_of(service.name()) {
            self.engine
                .update(now, id, spec)
                .map_err(|error| not_registered(&error))?;
            self.switch(id, &service, want);
            if let Some(old) = self.services.get_mut(id) {
                service.annotation = std::mem::take(&mut old.annotation);
                service.order = old.order.take();
                service.recorded = old.recorded;
                service.scanned = old.scanned.take();
            }
            self.services.insert(id, service);
            self.only_show(id);
            id
        } else {
            let registered = self.engine.register(now, spec, want);
            let id = registered.map_err(|error| not_registered(&error))?;
            self.services.insert(id, service);
            id
        };
        self.take_slot(id);
        // The record comes before the effect: the spawn is still in the engine's queue.
        self.record_service(id);
        self.show_native(id);
        self.changed.insert(id);
        self.drain();
        let view = self.view(id).ok_or_else(|| {
            failure(
                ErrorCode::Internal,
                "a service vanished while it was registered".into(),
            )
        })?;
        Ok(Body::Service {
            service: Box::new(view),
            recorded: None,
        })
    }

    /// A replaced spec keeps what is wanted, but for being switched off or on by it.
    fn switch(&mut self, id: ServiceId, service: &Service, want: Want) {
        let now = self.clock().now;
        let was_off = self
            .services
            .get(id)
            .is_some_and(|old| old.spec.disabled.is_some());
        let switched = match (was_off, service.spec.disabled.is_some(), want) {
            (false, true, _) => self.engine.disable(now, id),
            (true, false, Want::Up) => self.engine.up(now, id),
            (true, false, _) => self.engine.down(now, id),
            (true, true, _) | (false, false, _) => Ok(()),
        };
        if let Err(error) = switched {
            self.output.warn(&format!("{}: {error}", service.name()));
        }
    }

    /// A registered service runs as who registered it; only root may have named another.
    fn identity_of(peer: &Peer, named: Option<Ids>) -> Ids {
        let own = Self::uid();
        if let Some(ids) = named.filter(|_| own == 0) {
            // Naming oneself must not give groups that one doesn't have.
            return if ids.uid == peer.uid && peer.uid != 0 {
                identity::of_peer(peer)
            } else {
                ids
            };
        }
        if own == 0 && peer.uid != 0 {
            identity::of_peer(peer)
        } else {
            identity::own()
        }
    }

    pub(crate) fn check_capacity(&self) -> Result<(), ErrorBody> {
        let capacity = Self::capacity();
        if (self.services.len() as u64) < capacity {
            return Ok(());
        }
        let mut error = failure(
            ErrorCode::NoCapacity,
            format!("{capacity} services are supervised, and there are no descriptors for more"),
        );
        error.hint = Some("raise the container's limit on open files (--ulimit nofile=…)".into());
        Err(error)
    }

    /// What one user may have us keep, so that no other goes short of memory.
    fn check_bytes(&self, peer: &Peer, spec: &ServiceSpec) -> Result<(), ErrorBody> {
        let weight = self.services.weight_with(peer.uid, spec);
        if peer.uid == 0 || weight <= SPEC_BYTES_PER_USER_MAX {
            return Ok(());
        }
        let limit = SPEC_BYTES_PER_USER_MAX >> 20;
        let text = format!(
            "uid {} has registered {limit} MiB of services already",
            peer.uid
        );
        let mut error = failure(ErrorCode::NoCapacity, text);
        error.hint = Some("unregister some, or register smaller ones".into());
        Err(error)
    }

    /// How many services there are descriptors for.
    pub(crate) fn capacity() -> u64 {
        let limit = herm_sys::rlimit::get(herm_sys::rlimit::Resource::OpenFiles).soft;
        let limit = limit.unwrap_or(u64::MAX);
        let usable = limit.saturating_sub(DESCRIPTORS_RESERVED + connections_max(limit));
        usable / DESCRIPTORS_PER_SERVICE
    }
}

fn not_registered(error: &RegisterError) -> ErrorBody {
    let code = match error {
        RegisterError::Full { .. } => ErrorCode::NoCapacity,
        RegisterError::ShuttingDown => ErrorCode::ShuttingDown,
        RegisterError::NoSuchService => ErrorCode::NotFound,
        RegisterError::Exists(_) | RegisterError::BeingRemoved(_) => ErrorCode::Failed,
        RegisterError::NoName | RegisterError::OtherName | RegisterError::Cycle(_) => {
            ErrorCode::BadConfig
        }
    };
    failure(code, error.to_string())
}

/// What can be wrong with a spec whoever registers it.
fn check(spec: &ServiceSpec) -> Result<(), String> {
    let name = &spec.name;
    let finish = spec.finish.as_ref().map(|finish| finish.argv.as_slice());
    for argv in [Some(spec.argv.as_slice()), finish].into_iter().flatten() {
        if argv.first().is_none_or(String::is_empty) {
            return Err(format!("{name} has no program: argv is empty"));
        }
    }
    let texts = spec.argv.iter().chain(finish.unwrap_or_default());
    let mut texts = texts.chain(&spec.cwd).chain(&spec.log.dir);
    if let Some(text) = texts.find(|text| text.contains('\0')) {
        return Err(format!("{text:?} contains a zero byte"));
    }
    for (variable, value) in &spec.env {
        if variable.is_empty() || variable.contains(['=', '\0']) || value.value.contains('\0') {
            return Err(format!(
                "{variable:?} can't be a variable of an environment"
            ));
        }
    }
    for (what, dir) in [("cwd", &spec.cwd), ("log directory", &spec.log.dir)] {
        if let Some(dir) = dir
            && !dir.starts_with('/')
        {
            return Err(format!("the {what} {dir:?} is not an absolute path"));
        }
    }
    let readiness = match &spec.readiness {
        ReadinessSpec::Probe { probe, .. } => Some(probe),
        ReadinessSpec::None | ReadinessSpec::Notify { .. } | ReadinessSpec::SdNotify => None,
    };
    for probe in readiness.into_iter().chain(health_probe(spec)) {
        check_probe(probe)?;
    }
    match spec.readiness {
        ReadinessSpec::Notify { fd } if !(3..NOTIFY_FD_MAX).contains(&fd) => Err(format!(
            "the notification descriptor {fd} is not between 3 and {}",
            NOTIFY_FD_MAX - 1
        )),
        _ => Ok(()),
    }
}

fn health_probe(spec: &ServiceSpec) -> Option<&Probe> {
    spec.health.as_ref().map(|health| &health.probe)
}

/// A probe that can't even be started is no probe.
fn check_probe(probe: &Probe) -> Result<(), String> {
    let words = match probe {
        Probe::Tcp { address } => std::slice::from_ref(address),
        Probe::Http { url } => std::slice::from_ref(url),
        Probe::Command { argv } => argv.as_slice(),
    };
    if words.first().is_none_or(String::is_empty) {
        return Err("a probe says nothing: its address, url or argv is empty".to_owned());
    }
    match words.iter().find(|word| word.contains('\0')) {
        Some(word) => Err(format!("{word:?} contains a zero byte")),
        None => Ok(()),
    }
}
