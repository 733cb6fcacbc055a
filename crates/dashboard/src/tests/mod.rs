//! The dashboard over HTTP, in front of a supervisor that is played.

mod behaviour;
mod hostile;
mod trust;
mod world;
