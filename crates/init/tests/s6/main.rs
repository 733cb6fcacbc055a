//! herm beside the genuine programs of the s6 family, from the distribution's package `s6`.

mod differential;
mod play;
mod privilege;
mod rc;
mod scanner;
mod scenario;
mod stage;
mod tools;
mod words;
