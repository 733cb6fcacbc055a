//! How many completions are in flight, and whether new ones are let in.

use std::sync::Arc;

use axum::http::{HeaderValue, StatusCode};
use tokio::sync::watch;

use crate::error::ApiError;

/// Completions at once; each may hold a request of 10 MB and its reply in memory.
const MAX_ACTIVE: usize = 64;

#[derive(Debug, Default, Clone, Copy)]
struct Occupancy {
    active: usize,
    draining: bool,
}

/// Shared by the request handlers, which pass through it, and the lifecycle, which watches it.
#[derive(Debug, Clone)]
pub(crate) struct Gate(Arc<watch::Sender<Occupancy>>);

impl Gate {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Occupancy::default())))
    }

    /// Lets one completion in until the pass is dropped.
    pub(crate) fn enter(&self) -> Result<Pass, ApiError> {
        let mut refusal = None;
        self.0.send_if_modified(|now| {
            if now.draining {
                refusal = Some(stopping());
            } else if now.active >= MAX_ACTIVE {
                refusal = Some(busy());
            } else {
                now.active += 1;
            }
            refusal.is_none()
        });
        match refusal {
            Some(refusal) => Err(refusal),
            None => Ok(Pass(self.clone())),
        }
    }

    /// Lets nobody in any more.
    pub(crate) fn close(&self) {
        self.0.send_modify(|now| now.draining = true);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.0.borrow().draining
    }

    /// Completions in flight.
    pub(crate) fn active(&self) -> usize {
        self.0.borrow().active
    }

    /// Returns once the number in flight is another than `seen`.
    pub(crate) async fn active_changed(&self, seen: usize) {
        // The sender lives in `self`, so waiting can't fail.
        let _ = self.0.subscribe().wait_for(|now| now.active != seen).await;
    }

    /// Returns once nothing is in flight.
    pub(crate) async fn emptied(&self) {
        let _ = self.0.subscribe().wait_for(|now| now.active == 0).await;
    }
}

/// The right to be in flight; ends when dropped.
#[derive(Debug)]
pub(crate) struct Pass(Gate);

impl Drop for Pass {
    fn drop(&mut self) {
        self.0.0.send_modify(|now| now.active -= 1);
    }
}

fn stopping() -> ApiError {
    let message = "the gateway is stopping; try again in a moment";
    ApiError::server(StatusCode::SERVICE_UNAVAILABLE, "gateway_draining", message)
        .retry_after(Some(HeaderValue::from_static("5")))
}

fn busy() -> ApiError {
    let message = format!("{MAX_ACTIVE} completions are in flight; try again when one has ended");
    ApiError::server(
        StatusCode::TOO_MANY_REQUESTS,
        "rate_limit_exceeded",
        message,
    )
    .retry_after(Some(HeaderValue::from_static("1")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gate_counts_bounds_and_closes() {
        let gate = Gate::new();
        let mut passes: Vec<_> = (0..MAX_ACTIVE).map(|_| gate.enter().unwrap()).collect();
        assert_eq!(gate.active(), MAX_ACTIVE);
        assert_eq!(
            gate.enter().unwrap_err().status,
            StatusCode::TOO_MANY_REQUESTS
        );
        passes.pop();
        let last = gate.enter().unwrap();
        gate.close();
        drop((passes, last));
        assert_eq!(gate.active(), 0);
        assert_eq!(
            gate.enter().unwrap_err().status,
            StatusCode::SERVICE_UNAVAILABLE
        );
    }
}
