//! The commands of the s6 family, which the binary is by their names (argv[0]).
//!
//! One module per command. Each takes the words after its name and returns its exit code; one
//! that executes another program returns only where that failed.

use std::ffi::OsString;

mod call;
pub(crate) mod complain;
mod deaths;
mod environment;
mod execline;
pub(crate) mod glob;
mod halt;
mod identity;
mod log;
mod notifyoncheck;
mod oneshot;
pub(crate) mod options;
mod portable;
mod rc;
mod service;
mod svc;
mod svlisten;
mod svok;
mod svperms;
mod svscanctl;
mod svstat;
mod svwait;
mod tai64n;
mod wait;
mod zone;

/// A command: from its arguments to its exit code.
type Applet = fn(&[OsString]) -> u8;

/// The command of this name, if it is one of the family's.
pub(crate) fn find(name: &str) -> Option<Applet> {
    Some(match name {
        "s6-svc" => svc::main,
        "s6-svlisten" => svlisten::main_of_many,
        "s6-svlisten1" => svlisten::main_of_one,
        "s6-svok" => svok::main,
        "s6-svperms" => svperms::main,
        "s6-svscanctl" => svscanctl::main,
        "s6-svstat" => svstat::main,
        "s6-svwait" => svwait::main,
        _ => return None,
    })
}

/// Does what the command of this name does, and returns its exit code; `None` if it is none of
/// the family's.
pub(crate) fn run(name: &str, args: &[OsString]) -> Option<u8> {
    match find(name) {
        Some(applet) => Some(applet(args)),
        None => TABLES.iter().find_map(|rows| call::run(rows, name, args)),
    }
}

/// The commands about supervision, which come one by one.
const SUPERVISION: &[&str] = &[
    "s6-svc",
    "s6-svlisten",
    "s6-svlisten1",
    "s6-svok",
    "s6-svperms",
    "s6-svscanctl",
    "s6-svstat",
    "s6-svwait",
];

/// The name of every command that people call, for who makes links to them.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    let supervision = SUPERVISION
        .iter()
        .copied()
        .filter(|name| find(name).is_some());
    let rows = TABLES.iter().flat_map(|rows| rows.iter());
    let names = rows.map(|(usage, _)| usage.split(' ').next().unwrap_or_default());
    supervision.chain(names.filter(|name| !name.starts_with("./") && !name.starts_with("herm-")))
}

/// Whether a command has this name.
fn is_known(name: &str) -> bool {
    let mut rows = TABLES.iter().flat_map(|rows| rows.iter());
    find(name).is_some() || rows.any(|(usage, _)| usage.split(' ').next() == Some(name))
}

/// The commands that execute the rest of their line.
const TABLES: &[&[call::Row]] = &[
    deaths::ROWS,
    environment::ROWS,
    identity::ROWS,
    halt::ROWS,
    log::ROWS,
    notifyoncheck::ROWS,
    oneshot::ROWS,
    portable::ROWS,
    rc::ROWS,
    tai64n::ROWS,
    execline::choices::ROWS,
    execline::conditions::ROWS,
    execline::descriptors::ROWS,
    execline::loops::ROWS,
    execline::process::ROWS,
    execline::script::ROWS,
    execline::standard::ROWS,
    execline::test::ROWS,
    execline::variables::ROWS,
];
