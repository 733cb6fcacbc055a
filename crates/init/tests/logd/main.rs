//! The log daemon as a real process: what it does when it is killed, when the disk is full, when
//! its directory is an attack, when nobody reads stdout.

mod hostile;
mod kept;
mod killed;
mod many;
mod separate;
mod world;
