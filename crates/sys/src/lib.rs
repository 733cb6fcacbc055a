//! The kernel, safely.
//!
//! Everything herm asks of Linux that the standard library and `rustix` can't say is here, one module per concept, and
//! nowhere else: this is the only crate of the workspace with `unsafe` code. A file that needs it opens with a
//! `# Safety` header, and every block argues why it is sound.
//!
//! Nothing in this crate logs, and nothing waits unless its documentation says so: PID 1 calls it from its only thread.
#![deny(unsafe_code)]

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!(
    "herm-sys starts processes with hand-written system calls, known for x86_64 and aarch64 only"
);

pub mod capabilities;
pub mod cgroup;
pub mod credentials;
pub mod descriptors;
pub mod exec;
pub mod fdpass;
pub mod file_lock;
pub mod fs_at;
pub mod memfd;
pub mod pidfd;
pub mod poll;
pub mod process;
mod raw;
pub mod reap;
pub mod record_lock;
pub mod rlimit;
pub mod signals;
pub mod spawn;
mod stack_bounds;
pub mod tty;
pub mod users;

pub use rustix::io::Errno;
pub use rustix::process::Pid;
pub use signals::Signal;
