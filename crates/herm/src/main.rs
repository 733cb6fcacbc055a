//! herm: the command line, the keeper of the home, and the whole thing in the foreground.
//!
//! `cli` is the table of commands, `commands` carries them out with the help of `client` (the
//! control socket) and `output` (what is printed); `keeper` brings services into line with the
//! home; `launch` says how a gateway is started. Errors are typed where they arise and printed
//! once, here.
#![forbid(unsafe_code)]

mod cli;
mod client;
mod commands;
mod context;
mod failure;
mod identity;
mod keeper;
mod launch;
mod locate;
mod output;
mod top;

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

use clap::Parser as _;

use cli::{Cli, HermesCli};

fn main() -> ExitCode {
    let mut args: Vec<OsString> = env::args_os().collect();
    let called = called_as(args.first().map_or(OsStr::new("herm"), OsString::as_os_str));
    let rest = args.split_off(args.len().min(1));
    if let Some(code) = herm_init::multicall(&called, &rest) {
        return ExitCode::from(code);
    }
    let words = std::iter::once(OsString::from(&called)).chain(rest);
    let cli = if called == "hermes" {
        HermesCli::parse_from(words).into()
    } else {
        Cli::parse_from(words)
    };
    match commands::run(cli) {
        Ok(code) => ExitCode::from(code as u8),
        Err(failure) => {
            if !failure.message.is_empty() {
                eprintln!("herm: {failure}");
            }
            ExitCode::from(failure.code as u8)
        }
    }
}

/// The name this program was called by, without its directory; a login shell's leading dash too.
fn called_as(argv0: &OsStr) -> String {
    let name = Path::new(argv0)
        .file_name()
        .unwrap_or(argv0)
        .to_string_lossy();
    name.trim_start_matches('-').to_owned()
}
