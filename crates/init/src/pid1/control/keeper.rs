//! The keeper's part of the protocol: what it records, looks at and says of gateways.

use herm_wire::{Body, ErrorBody, ErrorCode, EventBody};

use super::authority::{Asks, Peer};
use super::feed::pass_failed;
use super::ops::{Answer, Outcome, failure};
use super::server::ClientId;
use super::verbs::refused;
use super::waiters::{Goal, Waiter};
use crate::pid1::services::Annotation;
use crate::pid1::supervisor::Supervisor;

impl Supervisor {
    pub(super) fn reconcile(
        &mut self,
        client: ClientId,
        request: u64,
        peer: &Peer,
        timeout_ms: Option<u64>,
    ) -> Outcome {
        self.permit(peer, Asks::Keep)?;
        self.room_for_waiter(client)?;
        if self.feed.keeper.is_none() && !self.boot.has_keeper() {
            let mut error = failure(
                ErrorCode::Failed,
                "no keeper looks after a home here".into(),
            );
            error.hint = Some("set HERMES_HOME, or see `herm service status keeper`".into());
            return Err(error);
        }
        let seq = self.feed.request_reconcile();
        self.waiters.add(Waiter {
            client,
            request,
            name: String::new(),
            goal: Goal::Reconciled { seq },
            deadline: self.deadline(timeout_ms),
            order: None,
            outcome: None,
            look_again: None,
        });
        self.publish(EventBody::ReconcileRequested { request: seq });
        Ok(Answer::Later)
    }

    pub(super) fn attach_keeper(&mut self, id: ClientId, peer: &Peer) -> Outcome {
        self.permit(peer, Asks::Keep)?;
        if let Some(client) = self.server.client_mut(id) {
            client.role.keeper = true;
        }
        self.feed.keeper = Some(id);
        self.output.debug("a keeper is attached");
        Ok(Answer::Now(Body::Done))
    }

    fn must_be_keeper(&self, id: ClientId) -> Result<(), ErrorBody> {
        if self.feed.keeper == Some(id) {
            return Ok(());
        }
        let text = "only the attached keeper acknowledges".to_owned();
        Err(failure(ErrorCode::NotPermitted, text))
    }

    pub(super) fn ack_order(&mut self, client: ClientId, name: &str, seq: u64) -> Outcome {
        self.must_be_keeper(client)?;
        if let Some(id) = self.services.id_of(name)
            && let Some(service) = self.services.get_mut(id)
        {
            service.recorded = service.recorded.max(seq);
            if service.order.as_ref().is_some_and(|order| order.seq <= seq) {
                service.order = None;
            }
            self.record_service(id);
        }
        Ok(Answer::Now(Body::Done))
    }

    pub(super) fn ack_reconcile(
        &mut self,
        client: ClientId,
        seq: u64,
        error: Option<String>,
    ) -> Outcome {
        self.must_be_keeper(client)?;
        self.feed.reconciled = self.feed.reconciled.max(seq);
        let outcome = error.map_or(Ok(()), |error| Err(pass_failed(error)));
        self.waiters.reconciled(seq, &outcome);
        Ok(Answer::Now(Body::Done))
    }

    pub(super) fn wake(&mut self, peer: &Peer, name: &str, reason: &str) -> Outcome {
        self.permit(peer, Asks::Keep)?;
        let id = self.find(name)?;
        self.permit_control(peer, id)?;
        self.output.info(&format!("{name}: {reason}"));
        let taken = self.engine.wake(self.clock().now, id);
        self.drain();
        taken.map_err(|error| refused(name, error))?;
        Ok(Answer::Now(Body::Done))
    }

    pub(super) fn annotate(&mut self, peer: &Peer, name: &str, annotation: Annotation) -> Outcome {
        self.permit(peer, Asks::Keep)?;
        let id = self.find(name)?;
        self.permit_control(peer, id)?;
        if let Some(service) = self.services.get_mut(id)
            && service.annotation != annotation
        {
            service.annotation = annotation;
            self.changed.insert(id);
            self.record_service(id);
        }
        Ok(Answer::Now(Body::Done))
    }
}
