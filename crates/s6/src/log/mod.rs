//! s6-log: its script of directives, and the patterns in it
//! (<https://skarnet.org/software/s6/s6-log.html>).

pub mod regex;
pub mod script;
