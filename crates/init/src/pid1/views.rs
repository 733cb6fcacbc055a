//! What clients are shown: services as they are, events as they happen, answers when they are due.

use herm_engine::{ServiceId, Status};
use herm_wire::{Body, Desired, ErrorBody, EventBody, Kind, Reply, ServiceView, State};

use super::control::server::encoded;
use super::control::waiters::{Goal, Waiter};
use super::convert::Clock;
use super::logs::LOGD;
use super::services::Service;
use super::supervisor::Supervisor;

impl Supervisor {
    /// A service as it is now, with what it uses where that is known.
    pub(crate) fn measured_view(&self, id: ServiceId) -> Option<ServiceView> {
        let mut view = self.view(id)?;
        self.measure(&mut view);
        Some(view)
    }

    /// A service as it is now.
    pub(crate) fn view(&self, id: ServiceId) -> Option<ServiceView> {
        let clock = self.clock();
        let status = self.engine.status(clock.now, id)?;
        Some(self.view_of(self.services.get(id)?, &status, &clock))
    }

    fn view_of(&self, service: &Service, status: &Status, clock: &Clock) -> ServiceView {
        let mut view = service.view(status, clock);
        view.log_dropped_lines = self.logs.dropped_of(service.name());
        view
    }

    /// All services at one instant, sorted by name; nothing is decided between two of them.
    pub(crate) fn views(&self) -> Vec<ServiceView> {
        let clock = self.clock();
        let view = |(id, service): (ServiceId, &Service)| {
            Some(self.view_of(service, &self.engine.status(clock.now, id)?, &clock))
        };
        let mut views: Vec<ServiceView> = self.services.iter().filter_map(view).collect();
        if let Some(logd) = self.logd_view(&clock) {
            let place = views.partition_point(|view| view.name < logd.name);
            views.insert(place, logd);
        }
        views
    }

    /// The log daemon as services are printed; `None` before its first start.
    pub(crate) fn logd_view(&self, clock: &Clock) -> Option<ServiceView> {
        let logs = &self.logs;
        if !logs.is_wanted() {
            return None;
        }
        let (state, reason) = match logs.pid() {
            Some(_) => (State::Running, "ready"),
            None => (State::Backoff, "died at once; it is started again"),
        };
        let user = self.boot.plan.log_user.as_ref();
        let mut view = ServiceView::named(LOGD, Kind::Helper);
        view.desired = Desired::Up;
        view.state = state;
        reason.clone_into(&mut view.reason);
        view.pid = logs
            .pid()
            .and_then(|pid| u32::try_from(pid.as_raw_pid()).ok());
        view.since = clock.text(logs.since().unwrap_or(clock.now));
        view.uptime_s = logs
            .since()
            .map_or(0.0, |since| clock.now.since(since).as_secs_f64());
        view.restarts = logs.restarts();
        view.ready = logs.pid().is_some();
        view.uid = Some(user.map_or_else(Self::uid, |ids| ids.uid));
        Some(view)
    }

    /// Tells subscribers what happened.
    pub(crate) fn publish(&mut self, body: EventBody) {
        let clock = self.clock();
        let event = herm_wire::Event {
            seq: self.feed.next_event(),
            at: clock.text(clock.now),
            body,
        };
        let subscribers = self.server.subscribers();
        if subscribers.is_empty() {
            return;
        }
        let line = encoded(&event);
        for client in subscribers {
            if !self.server.send(client, &line, &self.reactor) {
                self.client_gone(client);
            }
        }
    }

    /// Tells subscribers and waiters of every service that changed since they were last told.
    pub(crate) fn tell_changes(&mut self) {
        for id in std::mem::take(&mut self.changed) {
            let Some(view) = self.view(id) else {
                continue;
            };
            let name = view.name.clone();
            self.publish(EventBody::Changed {
                service: Box::new(view),
            });
            self.look_at_waiters(&name);
        }
    }

    /// Shows those who wait for a service how it is.
    pub(crate) fn look_at_waiters(&mut self, name: &str) {
        if !self.waiters.any_for(name) {
            return;
        }
        let now = self.clock().now;
        let id = self.services.id_of(name);
        let status = id.and_then(|id| self.engine.status(now, id));
        let says_ready = id
            .and_then(|id| self.services.get(id))
            .is_some_and(Service::says_ready);
        self.waiters.look(name, status.as_ref(), says_ready, now);
    }

    /// Answers those whose wait is over and whose order, if any, is recorded.
    pub(crate) fn answer_waiters(&mut self) {
        let now = self.clock().now;
        let keeper = self.feed.keeper.is_some();
        let services = &self.services;
        let is_recorded = |name: &str, seq: u64| {
            let service = services.id_of(name).and_then(|id| services.get(id));
            service.is_none_or(|service| service.recorded >= seq)
        };
        for (waiter, recorded) in self.waiters.take_settled(now, keeper, is_recorded) {
            let reply = self.answer(&waiter, recorded);
            self.reply(waiter.client, &reply);
        }
    }

    fn answer(&self, waiter: &Waiter, recorded: Option<bool>) -> Reply {
        if let Some(Err(error)) = &waiter.outcome {
            let name = &waiter.name;
            let message = if name.is_empty() {
                error.message.clone()
            } else {
                format!("{name}: {}", error.message)
            };
            let error = ErrorBody {
                message,
                ..error.clone()
            };
            return Reply::err(waiter.request, error);
        }
        let view = self
            .services
            .id_of(&waiter.name)
            .and_then(|id| self.view(id));
        let body = match (&waiter.goal, view) {
            (Goal::Gone | Goal::Reconciled { .. }, _) | (_, None) => Body::Done,
            (_, Some(view)) => Body::Service {
                service: Box::new(view),
                recorded,
            },
        };
        Reply::ok(waiter.request, body)
    }

    /// The engine has let go of a service.
    pub(crate) fn removed(&mut self, id: ServiceId) {
        let Some(service) = self.services.remove(id) else {
            return;
        };
        let name = service.name().to_owned();
        self.changed.remove(&id);
        let withdrawn = self.unshow(id, &service);
        self.record_removal(id);
        self.logs.forget_dropped_of(&name);
        self.publish(EventBody::Removed {
            name: name.clone(),
            withdrawn,
        });
        self.look_at_waiters(&name);
        self.output.info(&format!("{name}: unregistered"));
        self.find_again(&service);
    }

    /// Tells people of ends and failures, which is what they look for in a log.
    pub(crate) fn note_main_exit(&mut self, number: u64, exit: herm_engine::Exit) {
        let Some(run) = self.runs.get(&number) else {
            return;
        };
        let line = format!("{}: {exit} (pid {})", run.record.service, run.record.pid);
        self.output.info(&line);
    }
}
