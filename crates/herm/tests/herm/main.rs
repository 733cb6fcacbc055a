//! The real program, from outside.

mod command_line;
mod support;
mod up;
