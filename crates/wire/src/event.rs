//! What subscribers are told.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::view::{Desired, ServiceView};

/// An operator's order of want on a gateway, by whatever tool (contract section 2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Order {
    /// The service.
    pub name: String,
    /// Increases with every order of this instance.
    pub seq: u64,
    /// What was ordered.
    pub want: Desired,
    /// Who ordered, e.g. `uid 10000`.
    pub by: String,
    /// When (RFC 3339).
    pub at: String,
}

/// Everything a subscriber must know to follow the events after it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Snapshot {
    /// This run of the supervisor.
    pub instance: String,
    /// Every service.
    pub services: Vec<ServiceView>,
    /// Orders not yet acknowledged by the keeper.
    pub orders: Vec<Order>,
    /// Number of an unanswered request to reconcile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reconcile: Option<u64>,
}

/// One event line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Event {
    /// Increases by one with every event of this instance; the snapshot carries the last one's.
    pub seq: u64,
    /// When (RFC 3339).
    pub at: String,
    /// What.
    #[serde(flatten)]
    pub body: EventBody,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum EventBody {
    /// The first event of every stream.
    Snapshot(Snapshot),
    /// A service is new or not as it was.
    Changed {
        /// As it is now.
        service: Box<ServiceView>,
    },
    /// A service was unregistered and its last process is gone.
    Removed {
        /// Its name.
        name: String,
        /// Its directory was taken out of the scan directory: it is not to be registered again
        /// until somebody wants it.
        #[serde(default, skip_serializing_if = "core::ops::Not::not")]
        withdrawn: bool,
    },
    /// An order to record.
    Order {
        /// The order; its own number is not the event's.
        order: Order,
    },
    /// The keeper is asked to look at the whole home.
    ReconcileRequested {
        /// To be acknowledged with ([`crate::Op::AckReconcile`]); not the event's number.
        request: u64,
    },
    /// Something people should know.
    Notice {
        /// What.
        message: String,
    },
    /// Services and main program have been started.
    Booted,
    /// The supervisor has begun to stop everything.
    ShuttingDown,
}
