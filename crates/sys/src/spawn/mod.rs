//! Starting a process without ever waiting for it.
//!
//! Between `setresuid` and `execve` a child belongs to its new user, who can stop it; its `chdir` may hang on a dead
//! network volume. A parent that waits for the exec (`vfork`, `posix_spawn`, or a pipe read to its end) hangs with it.
//! So the child made here runs *beside* its parent: it borrows the parent's memory (`CLONE_VM`, no page tables are
//! copied) but has a stack of its own, and it starts on the parent's descriptor table (`CLONE_FILES`, no table is copied
//! while the parent waits) and takes a private copy of the part it needs as its first act. What it could not do is left
//! in a shared page for the parent to find, with the stage and the error number. That there is something to find, and that
//! the exec went well, arrives as an event on a pipe (see [`witness`]).
//!
//! Sharing memory with a process that an untrusted user may already signal has consequences, each met in this module:
//!
//! * *Nobody may trace it.* While such a child is under way the shared memory is marked not dumpable, so that its user can neither attach to it nor
//!   write through `/proc/<pid>/mem`. Where `fs.suid_dumpable` would undo that, the child gets a copy of the memory.
//! * *Nobody may crash it.* Signals stay blocked until the last moment, and what is not dumpable writes no core, which on
//!   kernels before 5.17 would kill everyone who shares the memory.
//! * *`oom_score_adj` belongs to the memory, not the process*, until the exec. So it is set by the parent, after it.
//!
//! Descriptors a child gets are exactly those of its [`Launch`]; everything else is closed.

mod block;
mod child;
mod dispositions;
mod failure;
mod launch;
mod plan;
mod spawner;
#[cfg(test)]
mod tests;
mod witness;

pub use failure::{LaunchFailure, SpawnError, Stage};
pub use launch::{Capabilities, Handover, Identity, Launch, Program, Session, search_path};
#[cfg(test)]
use spawner::Progress;
pub use spawner::{Executed, Spawner};
