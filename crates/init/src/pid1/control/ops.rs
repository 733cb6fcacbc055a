//! Requests: who asks for what, and what is answered at once.

use std::time::Duration;

use herm_engine::{ServiceId, Time};
use herm_wire::{
    Body, ErrorBody, ErrorCode, EventBody, Hello, Op, PROTOCOL_VERSION, Reply, Request, Snapshot,
    frame,
};

use super::authority::{Asks, Peer, Rulers, Target, allows, who_else};
use super::server::{ClientId, encoded};
use super::verbs::Verb;
use super::waiters::{WAITERS_PER_CLIENT, WAITERS_PER_USER, Waiter};
use crate::pid1::launch;
use crate::pid1::logs::LOGD;
use crate::pid1::services::{Annotation, checked_name};
use crate::pid1::supervisor::Supervisor;

/// What an operation leads to.
pub(crate) enum Answer {
    /// This reply, now.
    Now(Body),
    /// A reply when its waiter is settled, or none.
    Later,
}

/// What an operation comes to.
pub(super) type Outcome = Result<Answer, ErrorBody>;

impl Supervisor {
    /// Looks at what a client has sent.
    pub(crate) fn serve(&mut self, id: ClientId) {
        let (lines, gone) = self.server.lines(id);
        if gone {
            self.client_gone(id);
            return;
        }
        if !lines.is_empty() {
            // There may be more than a turn's worth; it comes after the others had theirs.
            self.again.insert(id);
        }
        for line in lines {
            self.request(id, &line);
        }
        if !self.server.write(id, &self.reactor) {
            self.client_gone(id);
        }
    }

    fn request(&mut self, id: ClientId, line: &[u8]) {
        let request: Request = match frame::decode(line) {
            Ok(request) => request,
            Err(error) => {
                let text = format!("this is no request: {error}");
                self.reply(id, &Reply::err(0, failure(ErrorCode::BadRequest, text)));
                return;
            }
        };
        let number = request.id;
        let outcome = if request.v == PROTOCOL_VERSION {
            self.perform(id, number, request.op)
        } else {
            let text = format!(
                "protocol version {} is spoken here, not {}",
                PROTOCOL_VERSION, request.v
            );
            Err(failure(ErrorCode::BadRequest, text))
        };
        match outcome {
            Ok(Answer::Now(body)) => self.reply(id, &Reply::ok(number, body)),
            Ok(Answer::Later) => {}
            Err(error) => self.reply(id, &Reply::err(number, error)),
        }
    }

    /// Sends a reply.
    pub(crate) fn reply(&mut self, id: ClientId, reply: &Reply) {
        if !self.server.send(id, &encoded(reply), &self.reactor) {
            self.client_gone(id);
        }
    }

    /// A client's connection is over; its orders stand.
    pub(crate) fn client_gone(&mut self, id: ClientId) {
        self.server.drop_client(id, &self.reactor);
        self.waiters.forget_client(id);
        self.again.remove(&id);
        if self.feed.keeper == Some(id) {
            self.feed.keeper = None;
            self.output.debug("the keeper is detached");
        }
    }

    fn perform(&mut self, id: ClientId, number: u64, op: Op) -> Outcome {
        let Some(client) = self.server.client(id) else {
            return Ok(Answer::Later);
        };
        let peer = client.peer.clone();
        match op {
            Op::Hello => Ok(Answer::Now(Body::Hello(self.hello()))),
            Op::Status => Ok(Answer::Now(self.status_of_all())),
            Op::Service { name } => self.status_of(&name),
            Op::Subscribe => {
                self.subscribe(id, number);
                Ok(Answer::Later)
            }
            Op::Start { name, options } => {
                self.verb(id, number, &peer, Verb::Start, &name, &options)
            }
            Op::Stop { name, options } => self.verb(id, number, &peer, Verb::Stop, &name, &options),
            Op::Restart { name, options } => {
                self.verb(id, number, &peer, Verb::Restart, &name, &options)
            }
            Op::Once { name, options } => self.verb(id, number, &peer, Verb::Once, &name, &options),
            Op::Signal { name, signal } => self.signal_service(&peer, &name, &signal),
            Op::Wait {
                name,
                until,
                timeout_ms,
            } => self.wait(id, number, name, until, timeout_ms),
            Op::Register { spec } => self.register(&peer, *spec).map(Answer::Now),
            Op::Unregister { name } => self.unregister(id, number, &peer, &name),
            Op::Env { name } => self.env(&peer, &name),
            Op::Boot => Ok(Answer::Now(Body::Boot(self.boot.report.clone()))),
            Op::Reconcile { timeout_ms } => self.reconcile(id, number, &peer, timeout_ms),
            Op::AttachKeeper => self.attach_keeper(id, &peer),
            Op::AckOrder { name, seq } => self.ack_order(id, &name, seq),
            Op::AckReconcile { seq, error } => self.ack_reconcile(id, seq, error),
            Op::Wake { name, reason } => self.wake(&peer, &name, &reason),
            Op::Annotate {
                name,
                served_by,
                owner,
                port,
                note,
            } => {
                let annotation = Annotation {
                    served_by,
                    owner,
                    port,
                    note,
                };
                self.annotate(&peer, &name, annotation)
            }
            Op::Shutdown { exit_code } => {
                self.permit(&peer, Asks::Rule)?;
                self.output
                    .info(&format!("uid {} asks for a shutdown", peer.uid));
                self.begin_shutdown(exit_code);
                Ok(Answer::Now(Body::Done))
            }
            Op::Reexec => {
                self.permit(&peer, Asks::Rule)?;
                self.request_reexec(id, number);
                Ok(Answer::Later)
            }
        }
    }

    fn hello(&self) -> Hello {
        Hello {
            program: "herm".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            protocol: PROTOCOL_VERSION,
            instance: self.instance.clone(),
            pid: std::process::id(),
            home: self.boot.plan.home.clone(),
            user: self
                .boot
                .plan
                .service_user
                .as_ref()
                .and_then(|ids| ids.name.clone()),
            keeper: self.feed.keeper.is_some(),
            booted: self.boot.is_over(),
        }
    }

    fn status_of_all(&self) -> Body {
        let mut services = self.views();
        for view in &mut services {
            self.measure(view);
        }
        Body::Services {
            instance: self.instance.clone(),
            services,
        }
    }

    fn subscribe(&mut self, id: ClientId, number: u64) {
        // What the snapshot tells must not be told again as a change.
        self.tell_changes();
        let orders = self
            .services
            .iter()
            .filter_map(|(_, service)| service.order.clone());
        let snapshot = Snapshot {
            instance: self.instance.clone(),
            services: self.views(),
            orders: orders.collect(),
            reconcile: self.feed.unanswered(),
        };
        let event = herm_wire::Event {
            seq: self.feed.event,
            at: self.clock().text(self.clock().now),
            body: EventBody::Snapshot(snapshot),
        };
        self.reply(id, &Reply::ok(number, Body::Done));
        if let Some(client) = self.server.client_mut(id) {
            client.role.subscriber = true;
        }
        if !self.server.send(id, &encoded(&event), &self.reactor) {
            self.client_gone(id);
        }
    }

    fn env(&mut self, peer: &Peer, name: &str) -> Outcome {
        let id = self.find(name)?;
        self.permit_control(peer, id)?;
        let Some(service) = self.services.get(id) else {
            return Err(self.not_found(name));
        };
        let own = self.own_environment(service, None);
        let roots_path = self.boot.roots_path();
        let all = launch::explained(&self.environment, roots_path, service, &own);
        let withheld = launch::withheld(&self.environment, &all);
        let entries = launch::entries(all);
        Ok(Answer::Now(Body::Env { entries, withheld }))
    }

    pub(super) fn deadline(&self, timeout_ms: Option<u64>) -> Option<Time> {
        timeout_ms.map(|ms| self.clock().now + Duration::from_millis(ms))
    }

    pub(super) fn add_waiter(&mut self, id: ServiceId, waiter: Waiter) {
        let name = self.name_of(id);
        self.waiters.add(waiter);
        self.look_at_waiters(&name);
    }

    pub(super) fn room_for_waiter(&self, client: ClientId) -> Result<(), ErrorBody> {
        let uid_of = |client| self.server.client(client).map(|client| client.peer.uid);
        let uid = uid_of(client);
        let of_user = self.waiters.count(|waiting| uid_of(waiting) == uid);
        let of_client = self.waiters.count(|waiting| waiting == client);
        let is_free = uid == Some(0) || of_user < WAITERS_PER_USER;
        if is_free && of_client < WAITERS_PER_CLIENT {
            return Ok(());
        }
        let text = "too many requests of this connection or user wait for an answer".to_owned();
        Err(failure(ErrorCode::NoCapacity, text))
    }

    fn status_of(&self, name: &str) -> Outcome {
        if name != LOGD {
            return self.service_body(self.find(name)?, None);
        }
        let view = self.logd_view(&self.clock());
        let view = view.ok_or_else(|| self.not_found(LOGD))?;
        Ok(Answer::Now(Body::Service {
            service: Box::new(view),
            recorded: None,
        }))
    }

    pub(super) fn service_body(&self, id: ServiceId, recorded: Option<bool>) -> Outcome {
        let view = self.measured_view(id);
        let view = view.ok_or_else(|| self.not_found("it"))?;
        Ok(Answer::Now(Body::Service {
            service: Box::new(view),
            recorded,
        }))
    }

    /// The service of this name, or of the profile of this name.
    pub(crate) fn find(&self, name: &str) -> Result<ServiceId, ErrorBody> {
        spare_logd(name)?;
        self.services
            .resolve(name)
            .ok_or_else(|| self.not_found(name))
    }

    pub(super) fn not_found(&self, name: &str) -> ErrorBody {
        let mut error = failure(ErrorCode::NotFound, format!("there is no service {name:?}"));
        error.hint = self
            .services
            .nearest(name)
            .map(|near| format!("did you mean {near}?"));
        error
    }

    /// The service's name.
    pub(crate) fn name_of(&self, id: ServiceId) -> String {
        self.services
            .get(id)
            .map(|service| service.name().to_owned())
            .unwrap_or_default()
    }

    /// Whether the peer may ask this.
    pub(crate) fn permit(&self, peer: &Peer, asks: Asks<'_>) -> Result<(), ErrorBody> {
        let service_user = self.boot.plan.service_user.as_ref().map(|ids| ids.uid);
        let rulers = Rulers {
            supervisor: Self::uid(),
            service_user,
        };
        if allows(peer, rulers, asks) {
            return Ok(());
        }
        let text = format!("uid {} may not do this", peer.uid);
        let mut error = failure(ErrorCode::NotPermitted, text);
        error.hint = Some(who_else(peer, rulers, asks));
        Err(error)
    }

    pub(super) fn permit_control(&self, peer: &Peer, id: ServiceId) -> Result<(), ErrorBody> {
        self.permit_with(peer, id, false)
    }

    /// Whether the peer may start, stop and signal this.
    pub(super) fn permit_order(&self, peer: &Peer, id: ServiceId) -> Result<(), ErrorBody> {
        self.permit_with(peer, id, true)
    }

    fn permit_with(&self, peer: &Peer, id: ServiceId, is_order: bool) -> Result<(), ErrorBody> {
        let Some(service) = self.services.get(id) else {
            return Err(self.not_found("it"));
        };
        let name = checked_name(service.name()).map_err(|why| failure(ErrorCode::Internal, why))?;
        let target = Target {
            name: &name,
            kind: service.spec.kind,
            runs_as: service.ids.uid,
            registered_by: service.registrar.uid,
            shared: self.is_shared(id),
        };
        let asks = if is_order {
            Asks::Order(target)
        } else {
            Asks::Control(target)
        };
        self.permit(peer, asks)
    }
}

/// An error without a hint.
pub(crate) fn failure(code: ErrorCode, message: String) -> ErrorBody {
    ErrorBody {
        code,
        message,
        hint: None,
    }
}

/// The log daemon is shown among the services, but it is PID 1's alone.
pub(super) fn spare_logd(name: &str) -> Result<(), ErrorBody> {
    if name == LOGD {
        let text = "the log daemon is herm's own: nobody stops, signals or replaces it";
        return Err(failure(ErrorCode::NotPermitted, text.to_owned()));
    }
    Ok(())
}
