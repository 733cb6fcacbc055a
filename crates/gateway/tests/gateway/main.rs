//! The gateway as a process of its own, between a client and a provider made for the tests.

mod configuration;
mod draining;
mod relaying;
mod remembering;
mod support;
mod trusting;
