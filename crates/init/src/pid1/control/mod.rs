//! The control socket: requests in, replies and events out.
//!
//! `server` and `connection` move bytes, `authority` says who may, `ops` takes what is asked,
//! `verbs`, `registration` and `keeper` do it, `waiters` answers later, `feed` numbers what is
//! told.

pub(crate) mod authority;
pub(crate) mod connection;
pub(crate) mod feed;
mod keeper;
pub(crate) mod ops;
pub(crate) mod registration;
pub(crate) mod server;
mod verbs;
pub(crate) mod waiters;
