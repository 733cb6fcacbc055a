//! herm's dashboard: pages, a REST API with server-sent events, metrics, and the history they show.
//!
//! It is one of the things that are supervised, and a client like any other: what it knows of
//! services comes over the control socket ([`live`]), what it does goes over it ([`control`]), and
//! the home it reads as the service user. `server` accepts connections, `guard` decides who gets in,
//! `pages` and `api` answer. Nothing here outlives the process but what is in the home: the token,
//! the hashes of programs' tokens, and the [`history`], which the keeper writes.
#![forbid(unsafe_code)]

mod actions;
pub mod api;
mod app;
mod assets;
mod auth;
mod control;
mod doctor;
mod guard;
pub mod history;
mod homeview;
mod live;
mod logs;
mod mask;
mod metrics;
mod options;
mod orders;
mod pages;
mod remote;
mod sample;
mod server;
mod stream;
#[cfg(test)]
mod tests;
mod words;

pub use auth::bearer;
pub use options::{
    Options, SWITCH, StartError, endpoint, is_login_variable, is_wanted, sign_in_token,
};
pub use sample::Samples;
pub use server::run;
