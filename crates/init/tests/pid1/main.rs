//! The supervisor as a process, below the test as a subreaper, spoken to over its socket.

mod boot;
mod cgroups;
mod exits;
mod finish;
mod logs;
mod privilege;
mod processes;
mod reexec;
mod registration;
mod requests;
mod verbs;
mod world;
