//! s6-rc: services with dependencies, from their sources to a database
//! (<https://skarnet.org/software/s6-rc/s6-rc-compile.html>).
//!
//! [`compile`](compile::compile) takes source definitions as they lie on disk and makes a
//! [`Database`](database::Database) of them, or says what is wrong with which file.

pub mod compile;
pub mod database;
mod resolve;
pub mod source;
