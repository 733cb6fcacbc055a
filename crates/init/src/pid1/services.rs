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
    /// It was told that its grace can't fit the budget of a shutdown.
    pub(crate) short_told: bool,
    /// About how much memory its spec takes, bytes.
    pub(crate) weight: usize,
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
        view.requires.clone_from(&self.spec.requires);
        view.after.clone_from(&self.spec.after);
        view.survivors.clone_from(&self.survivors);
        fill_view(&mut view, status, clock);
        self.call_it_off(&mut view);
        self.overlay(&mut view);
        make_plain(&mut view);
        view
    }

    /// A service in s6 format that ended well, and that its `finish` doesn't let start again, is what
    /// images have for one that is switched off.
    fn call_it_off(&self, view: &mut ServiceView) {
        let in_s6_format = self.scanned.as_ref().is_some_and(|scanned| !scanned.native);
        let ended_well = view.last_exit.as_ref().and_then(|exit| exit.code) == Some(0);
        if in_s6_format && ended_well && view.state == State::Parked {
            view.state = State::Disabled;
        }
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

/// About how much memory a spec takes, bytes.
fn weight_of(spec: &ServiceSpec) -> usize {
    const EACH: usize = size_of::<String>();
    let texts = |texts: &[String]| texts.iter().map(|text| text.len() + EACH).sum::<usize>();
    let variables = spec.env.iter().map(|(name, variable)| {
        name.len() + variable.value.len() + variable.origin.len() + 3 * EACH
    });
    let finish = spec.finish.as_ref().map_or(0, |finish| texts(&finish.argv));
    let lists = [&spec.argv, &spec.unset_env, &spec.requires, &spec.after];
    let lists: usize = lists.into_iter().map(|list| texts(list)).sum();
    size_of::<ServiceSpec>() + lists + finish + variables.sum::<usize>()
}

/// All services, by the engine's id and by name.
#[derive(Debug, Default)]
pub(crate) struct Services {
    by_id: SortedMap<ServiceId, Box<Service>>,
    /// In the order of their names.
    named: Vec<ServiceId>,
    /// What the specs of each user's services weigh together.
    weights: SortedMap<u32, usize>,
}

impl Services {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Adds or replaces.
    pub(crate) fn insert(&mut self, id: ServiceId, mut service: Service) {
        let place = self.place_of(service.name());
        service.weight = weight_of(&service.spec);
        *self.weights.get_or_default(service.registrar.uid) += service.weight;
        if let Some(old) = self.by_id.insert(id, Box::new(service)) {
            self.forget_weight(&old);
        }
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
        let service = self.by_id.remove(&id)?;
        self.forget_weight(&service);
        Some(*service)
    }

    fn forget_weight(&mut self, service: &Service) {
        if let Some(weight) = self.weights.get_mut(&service.registrar.uid) {
            *weight = weight.saturating_sub(service.weight);
        }
    }

    /// What a user's services would weigh with this one, in the place of one of the same name.
    pub(crate) fn weight_with(&self, uid: u32, spec: &ServiceSpec) -> usize {
        let now = self.weights.get(&uid).copied().unwrap_or(0);
        let old = self.id_of(&spec.name).and_then(|id| self.get(id));
        let old = old.filter(|old| old.registrar.uid == uid);
        now.saturating_sub(old.map_or(0, |old| old.weight)) + weight_of(spec)
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
        let names = self
            .by_id
            .values()
            .flat_map(|service| [Some(service.name()), service.spec.profile.as_deref()]);
        herm_wire::nearest(name, names.flatten())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pid1::own::{own_service, own_spec};
    use herm_wire::Kind;

    fn service(name: &str, uid: u32, argument: usize) -> Service {
        let argv = vec!["x".repeat(argument)];
        let spec = own_spec(name, Kind::Service, argv);
        let ids = crate::pid1::identity::own();
        Service {
            registrar: Registrar { uid },
            ..own_service(spec, ids)
        }
    }

    #[test]
    fn what_a_user_has_registered_is_weighed_through_replacement_and_removal() {
        let mut services = Services::default();
        let mut engine = herm_engine::Engine::new(herm_engine::Config::default(), 1);
        let mut add = |services: &mut Services, service: Service| {
            let spec = herm_engine::Spec::new(service.name());
            let (now, want) = (herm_engine::Time::ZERO, herm_engine::Want::Down);
            let id = services.id_of(service.name());
            let id = id.unwrap_or_else(|| engine.register(now, spec, want).unwrap());
            services.insert(id, service);
            id
        };
        let next = own_spec("next", Kind::Service, Vec::new());
        let empty = services.weight_with(7, &next);
        let big = add(&mut services, service("a", 7, 5000));
        add(&mut services, service("other", 8, 9000));
        let with_big = services.weight_with(7, &next) - empty;
        assert!((5000..6000).contains(&with_big), "{with_big}");
        add(&mut services, service("a", 7, 100));
        let with_small = services.weight_with(7, &next) - empty;
        assert_eq!(with_big - with_small, 4900);
        let again = services.weight_with(7, &service("a", 7, 5000).spec);
        assert_eq!(again, with_big, "in the place of its namesake");
        services.remove(big);
        assert_eq!(services.weight_with(7, &next), empty);
    }
}
