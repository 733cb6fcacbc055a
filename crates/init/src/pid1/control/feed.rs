//! The numbers that order what subscribers and the keeper are told.

use herm_wire::ErrorBody;
use herm_wire::{Desired, Order};

/// Sequence numbers, and what the keeper has not answered yet.
#[derive(Debug, Default, Clone)]
pub(crate) struct Feed {
    /// The last event's number.
    pub(crate) event: u64,
    /// The last order's number.
    pub(crate) order: u64,
    /// The last request to reconcile.
    pub(crate) reconcile: u64,
    /// The last answered request to reconcile.
    pub(crate) reconciled: u64,
    /// The keeper's connection, while it has one.
    pub(crate) keeper: Option<u64>,
}

impl Feed {
    /// The next event's number.
    pub(crate) fn next_event(&mut self) -> u64 {
        self.event += 1;
        self.event
    }

    /// A new order.
    pub(crate) fn order(&mut self, name: &str, want: Desired, by: u32, at: String) -> Order {
        self.order += 1;
        Order {
            name: name.to_owned(),
            seq: self.order,
            want,
            by: format!("uid {by}"),
            at,
        }
    }

    /// A new request to reconcile.
    pub(crate) fn request_reconcile(&mut self) -> u64 {
        self.reconcile += 1;
        self.reconcile
    }

    /// The request the keeper has not answered, where there is one.
    pub(crate) fn unanswered(&self) -> Option<u64> {
        (self.reconcile > self.reconciled).then_some(self.reconcile)
    }
}

/// What went wrong in a pass of the keeper's.
pub(crate) fn pass_failed(error: String) -> ErrorBody {
    ErrorBody {
        code: herm_wire::ErrorCode::Failed,
        message: error,
        hint: None,
    }
}
