//! The commands of the s6 family, which the binary is by their names (argv[0]).
//!
//! One module per command. Each takes the words after its name and returns its exit code; one
//! that executes another program returns only where that failed.

use std::ffi::OsString;

pub(crate) mod complain;
pub(crate) mod options;
mod service;
mod svok;
mod svstat;

/// A command: from its arguments to its exit code.
type Applet = fn(&[OsString]) -> u8;

/// The command of this name, if it is one of the family's.
pub(crate) fn find(name: &str) -> Option<Applet> {
    Some(match name {
        "s6-svok" => svok::main,
        "s6-svstat" => svstat::main,
        _ => return None,
    })
}
