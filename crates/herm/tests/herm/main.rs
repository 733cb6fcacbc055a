//! The real program, from outside.

mod command_line;
mod settings;
mod support;
mod up;
