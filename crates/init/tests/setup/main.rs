//! Setup as a process, with an `/etc` of its own, watched and cut by strace(1).

mod interrupted;
mod warm;
mod world;
