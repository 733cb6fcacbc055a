//! What PID 1 knows of each service beside the engine's state: how to start it, as whom, who
//! registered it, what the keeper says of it.

use herm_engine::{Exit, ServiceId, SortedMap, Status};
use herm_wire::{LogSpec, Order, ServiceName, ServiceSpec, ServiceView, State};

use super::convert::{Clock, fill_view};
use super::scandir::Scanned;
use crate::setup::Ids;

/// What only the home tells about a gateway; the keeper's words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Annotation {
    /// The profile whose gateway serves this one.
    pub(crate) served_by: Option<String>,
    /// The instance that runs it, where that is another one.
    pub(crate) owner: Option<String>,
    /// The port it serves on.
    pub(crate) port: Option<u16>,
    /// A remark for people.
    pub(crate) note: Option<String>,
}

/// Who registered a service: what it may have no more than.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Registrar {
    /// The uid; 0 for PID 1 itself.
    pub(crate) uid: u32,
}

/// One service.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    /// What it was registered with.
    pub(crate) spec: ServiceSpec,
    /// Whom it runs as.
    pub(crate) ids: Ids,
    /// Who registered it.
    pub(crate) registrar: Registrar,
    /// What the keeper says of it.
    pub(crate) annotation: Annotation,
    /// The last order of want, until the keeper has recorded it.
    pub(crate) order: Option<Order>,
    /// The number of the last recorded order.
    pub(crate) recorded: u64,
    /// What the scan directory shows of it, or has it from.
    pub(crate) scanned: Option<Scanned>,
    /// Processes of an earlier run that live and could not be ended.
    pub(crate) survivors: Vec<u32>,
}

impl Service {
    /// Its name, already checked when it was registered.
    pub(crate) fn name(&self) -> &str {
        &self.spec.name
    }

    /// Whether it can say that it is ready.
    pub(crate) fn says_ready(&self) -> bool {
        self.spec.readiness != herm_wire::ReadinessSpec::None || self.spec.oneshot
    }

    /// Its printed form.
    pub(crate) fn view(&self, status: &Status, clock: &Clock) -> ServiceView {
        let annotation = &self.annotation;
        let mut view = ServiceView::named(&self.spec.name, self.spec.kind);
        view.profile.clone_from(&self.spec.profile);
        view.port = annotation.port.or(self.spec.port);
        view.served_by.clone_from(&annotation.served_by);
        view.owner.clone_from(&annotation.owner);
        view.log_dir.clone_from(&self.spec.log.dir);
        view.uid = Some(self.ids.uid);
        view.survivors.clone_from(&self.survivors);
        fill_view(&mut view, status, clock);
        self.overlay(&mut view);
        make_plain(&mut view);
        view
    }

    /// What the keeper says counts where no process of ours runs.
    fn overlay(&self, view: &mut ServiceView) {
        let annotation = &self.annotation;
        if view.state == State::Disabled {
            if let Some(why) = &self.spec.disabled {
                view.reason.clone_from(why);
            }
            // It is switched off because another instance runs it, as the reason says.
            if annotation.owner.is_some() {
                view.state = State::Remote;
            }
        } else if view.state == State::Down
            && let Some(by) = &annotation.served_by
        {
            view.state = State::Served;
            view.reason = format!("served by the gateway of {by}");
        }
        if let Some(note) = &annotation.note {
            view.reason = format!("{}; {note}", view.reason);
        }
    }
}

/// Takes out what would steer the terminal of whoever looks: most of a view's words are those of the
/// user who registered the service.
fn make_plain(view: &mut ServiceView) {
    let optional = [
        &mut view.profile,
        &mut view.served_by,
        &mut view.owner,
        &mut view.log_dir,
    ];
    for text in optional.into_iter().flatten().chain([&mut view.reason]) {
        if text.contains(char::is_control) {
            *text = text.replace(char::is_control, " ");
        }
    }
}

/// All services, by the engine's id and by name.
#[derive(Debug, Default)]
pub(crate) struct Services {
    by_id: SortedMap<ServiceId, Box<Service>>,
    /// In the order of their names.
    named: Vec<ServiceId>,
}

impl Services {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Adds or replaces.
    pub(crate) fn insert(&mut self, id: ServiceId, service: Service) {
        let place = self.place_of(service.name());
        self.by_id.insert(id, Box::new(service));
        match place {
            Ok(place) => {
                if let Some(known) = self.named.get_mut(place) {
                    *known = id;
                }
            }
            Err(place) => self.named.insert(place, id),
        }
    }

    /// Forgets one.
    pub(crate) fn remove(&mut self, id: ServiceId) -> Option<Service> {
        if let Ok(place) = self.place_of(self.get(id)?.name()) {
            self.named.remove(place);
        }
        self.by_id.remove(&id).map(|service| *service)
    }

    /// By the engine's id.
    pub(crate) fn get(&self, id: ServiceId) -> Option<&Service> {
        self.by_id.get(&id).map(Box::as_ref)
    }

    /// By the engine's id, to be changed.
    pub(crate) fn get_mut(&mut self, id: ServiceId) -> Option<&mut Service> {
        self.by_id.get_mut(&id).map(Box::as_mut)
    }

    /// By exact name.
    pub(crate) fn id_of(&self, name: &str) -> Option<ServiceId> {
        self.named.get(self.place_of(name).ok()?).copied()
    }

    /// As people name them: a service first, then a profile.
    pub(crate) fn resolve(&self, name: &str) -> Option<ServiceId> {
        self.id_of(name).or_else(|| {
            let serves = |service: &Service| service.spec.profile.as_deref() == Some(name);
            self.id_of(&format!("gateway-{name}")).or_else(|| {
                let service = self.by_id.values().find(|service| serves(service))?;
                self.id_of(service.name())
            })
        })
    }

    /// The name most like one that does not exist, for a hint.
    pub(crate) fn nearest(&self, name: &str) -> Option<&str> {
        let shared = |other: &str| {
            other
                .bytes()
                .zip(name.bytes())
                .take_while(|(a, b)| a == b)
                .count()
        };
        let candidates = self
            .by_id
            .values()
            .flat_map(|service| [Some(service.name()), service.spec.profile.as_deref()]);
        let near = candidates.flatten().filter(|candidate| {
            candidate.len().abs_diff(name.len()) <= 2 && shared(candidate) * 2 >= name.len()
        });
        near.max_by_key(|candidate| shared(candidate))
    }

    /// All, by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (ServiceId, &Service)> {
        self.named
            .iter()
            .filter_map(|id| Some((*id, self.get(*id)?)))
    }

    /// Where a name is in the order of names, or would be.
    fn place_of(&self, name: &str) -> Result<usize, usize> {
        let name_of = |id: ServiceId| self.get(id).map_or("", Service::name);
        self.named.binary_search_by(|id| name_of(*id).cmp(name))
    }
}

/// A name that was checked when its service was registered.
pub(crate) fn checked_name(name: &str) -> Result<ServiceName, String> {
    ServiceName::parse(name).map_err(|error| error.to_string())
}

/// One run of a service: what belongs to its processes and outlives their main one.
#[derive(Clone, Debug)]
pub(crate) struct RunRecord {
    /// The run's number.
    pub(crate) run: u64,
    /// The service's name.
    pub(crate) service: String,
    /// The main process: also its session and process group.
    pub(crate) pid: u32,
    /// Whom it runs as: nobody else's processes are killed for it.
    pub(crate) uid: u32,
    /// Its group, where it is known.
    pub(crate) gid: Option<u32>,
    /// PID 1's read end of its log pipe, by number.
    pub(crate) log_fd: Option<i32>,
    /// Its notification descriptor or datagram socket, by number.
    pub(crate) notify_fd: Option<i32>,
    /// Where its output goes; also when its service has another spec by now, or is gone.
    pub(crate) log: LogSpec,
    /// The main process was reaped.
    pub(crate) exited: bool,
    /// How it ended.
    pub(crate) end: Option<Exit>,
    /// Its program was executed.
    pub(crate) executed: bool,
    /// It has a control group of its own.
    pub(crate) grouped: bool,
}
