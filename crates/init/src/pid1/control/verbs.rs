//! The verbs: what changes, signals, awaits or removes a service.

use std::time::Duration;

use herm_engine::{ServiceId, Target as EngineTarget, VerbError};
use herm_wire::{Desired, ErrorBody, ErrorCode, EventBody, Kind, VerbOptions, WaitFor};

use super::authority::Peer;
use super::ops::{Answer, Outcome, failure, spare_logd};
use super::server::ClientId;
use super::waiters::{Goal, Waiter, first_run};
use crate::pid1::convert::parse_signal;
use crate::pid1::services::checked_name;
use crate::pid1::supervisor::Supervisor;

/// The verbs that change what is wanted of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    /// Wants it up.
    Start,
    /// Wants it down.
    Stop,
    /// Another run of it.
    Restart,
    /// One run of it.
    Once,
}

impl Supervisor {
    pub(super) fn verb(
        &mut self,
        client: ClientId,
        request: u64,
        peer: &Peer,
        verb: Verb,
        name: &str,
        options: &VerbOptions,
    ) -> Outcome {
        let service = self.find(name)?;
        self.permit_order(peer, service)?;
        self.room_for_waiter(client)?;
        if self.shutdown.is_some() && verb != Verb::Stop {
            return Err(failure(
                ErrorCode::ShuttingDown,
                "everything is being stopped".into(),
            ));
        }
        self.refuse_if_impossible(service, verb)?;
        self.refuse_if_overtaken(service, options)?;
        let goal = self.order_engine(service, verb)?;
        let order = self.note_order(service, verb, peer, options, &goal);
        let goal = if options.wait { goal } else { Goal::Nothing };
        let deadline = options
            .timeout_ms
            .map(|ms| self.clock().now + Duration::from_millis(ms));
        self.add_waiter(
            service,
            Waiter {
                client,
                request,
                name: self.name_of(service),
                goal,
                deadline,
                order,
                outcome: None,
                look_again: None,
            },
        );
        Ok(Answer::Later)
    }

    fn refuse_if_impossible(&self, id: ServiceId, verb: Verb) -> Result<(), ErrorBody> {
        let Some(service) = self.services.get(id) else {
            return Ok(());
        };
        match (&service.spec.disabled, verb) {
            (Some(why), Verb::Start | Verb::Restart | Verb::Once) => Err(failure(
                ErrorCode::Failed,
                format!("{} is switched off: {why}", service.name()),
            )),
            _ => Ok(()),
        }
    }

    /// What the keeper brings about rests on the orders it knows; while one waits to be recorded
    /// it doesn't know the last, and its own verb would undo what an operator has just ordered.
    fn refuse_if_overtaken(&self, id: ServiceId, options: &VerbOptions) -> Result<(), ErrorBody> {
        let order = self
            .services
            .get(id)
            .and_then(|service| service.order.as_ref());
        match order.filter(|_| options.reconcile) {
            None => Ok(()),
            Some(order) => Err(failure(
                ErrorCode::Superseded,
                format!("order {} waits to be recorded first", order.seq),
            )),
        }
    }

    /// Gives the order to the engine; what its result is known by.
    fn order_engine(&mut self, id: ServiceId, verb: Verb) -> Result<Goal, ErrorBody> {
        let now = self.clock().now;
        let fresh = verb == Verb::Restart;
        let before = self
            .engine
            .status(now, id)
            .map_or(0, |status| first_run(&status, fresh));
        let taken = match verb {
            Verb::Start => self.engine.up(now, id),
            Verb::Stop => self.bring_down(id),
            Verb::Restart => self.engine.restart(now, id),
            Verb::Once => self.engine.once(now, id),
        };
        self.drain();
        taken.map_err(|error| refused(&self.name_of(id), error))?;
        Ok(match verb {
            Verb::Stop => Goal::Stopped { ordered: true },
            Verb::Start | Verb::Restart | Verb::Once => Goal::Started {
                from: before,
                once: verb == Verb::Once,
            },
        })
    }

    /// Orders it down. What is switched off stays so: a stop that comes late to a gateway which another
    /// instance has taken over must not make it read as stopped by an operator.
    pub(crate) fn bring_down(&mut self, id: ServiceId) -> Result<(), VerbError> {
        let now = self.clock().now;
        let service = self.services.get(id);
        if service.is_some_and(|service| service.spec.disabled.is_some()) {
            self.engine.disable(now, id)
        } else {
            self.engine.down(now, id)
        }
    }

    /// An operator's order on a gateway is recorded by the keeper and told to all.
    fn note_order(
        &mut self,
        id: ServiceId,
        verb: Verb,
        peer: &Peer,
        options: &VerbOptions,
        goal: &Goal,
    ) -> Option<u64> {
        if options.reconcile {
            return None;
        }
        let name = self.name_of(id);
        self.waiters.supersede(&name, goal);
        if self.services.get(id)?.spec.kind != Kind::Gateway {
            return None;
        }
        let want = match verb {
            Verb::Start | Verb::Restart => Desired::Up,
            Verb::Stop | Verb::Once => Desired::Down,
        };
        self.record_order(id, want, peer.uid)
    }

    /// An order of want is told to all, and the keeper writes it down; its number.
    pub(crate) fn record_order(&mut self, id: ServiceId, want: Desired, uid: u32) -> Option<u64> {
        let clock = crate::pid1::convert::Clock::read();
        let service = self.services.get_mut(id)?;
        let name = service.name().to_owned();
        let order = self.feed.order(&name, want, uid, clock.text(clock.now));
        service.order = Some(order.clone());
        let seq = order.seq;
        self.record_service(id);
        self.record_globals();
        self.publish(EventBody::Order { order });
        Some(seq)
    }

    pub(super) fn signal_service(&mut self, peer: &Peer, name: &str, signal: &str) -> Outcome {
        let id = self.find(name)?;
        self.permit_order(peer, id)?;
        let signal = parse_signal(signal).map_err(|why| failure(ErrorCode::BadRequest, why))?;
        let sent = self
            .engine
            .signal(self.clock().now, id, signal.number(), EngineTarget::Main);
        self.drain();
        sent.map_err(|error| refused(&self.name_of(id), error))?;
        self.service_body(id, None)
    }

    pub(super) fn wait(
        &mut self,
        client: ClientId,
        request: u64,
        name: String,
        until: WaitFor,
        timeout_ms: Option<u64>,
    ) -> Outcome {
        self.room_for_waiter(client)?;
        let service = self.services.resolve(&name);
        let goal = match until {
            WaitFor::Up => Goal::Up,
            WaitFor::Ready => Goal::Ready,
            WaitFor::Down => Goal::Stopped { ordered: false },
            WaitFor::Registered => Goal::Registered,
            WaitFor::Gone => Goal::Gone,
        };
        if service.is_none() {
            if !matches!(goal, Goal::Registered | Goal::Gone) {
                return Err(self.not_found(&name));
            }
            checked_name(&name).map_err(|why| failure(ErrorCode::BadRequest, why))?;
        }
        let waiter = Waiter {
            client,
            request,
            name: service.map_or(name, |id| self.name_of(id)),
            goal,
            deadline: self.deadline(timeout_ms),
            order: None,
            outcome: None,
            look_again: None,
        };
        let name = waiter.name.clone();
        self.waiters.add(waiter);
        self.look_at_waiters(&name);
        Ok(Answer::Later)
    }

    pub(super) fn unregister(
        &mut self,
        client: ClientId,
        request: u64,
        peer: &Peer,
        name: &str,
    ) -> Outcome {
        spare_logd(name)?;
        let Some(id) = self.services.id_of(name) else {
            return Err(self.not_found(name));
        };
        self.permit_control(peer, id)?;
        self.room_for_waiter(client)?;
        self.waiters.supersede(name, &Goal::Gone);
        self.disown(id);
        let taken = self.engine.unregister(self.clock().now, id);
        taken.map_err(|error| refused(name, error))?;
        self.waiters.add(Waiter {
            client,
            request,
            name: name.to_owned(),
            goal: Goal::Gone,
            deadline: None,
            order: None,
            outcome: None,
            look_again: None,
        });
        self.drain();
        Ok(Answer::Later)
    }
}

/// Why the engine did not take an order, as a reply.
pub(super) fn refused(name: &str, error: VerbError) -> ErrorBody {
    let code = match error {
        VerbError::NoSuchService => ErrorCode::NotFound,
        VerbError::NotRunning | VerbError::BeingRemoved => ErrorCode::Failed,
        VerbError::ShuttingDown => ErrorCode::ShuttingDown,
    };
    failure(code, format!("{name}: {error}"))
}
