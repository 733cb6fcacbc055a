//! The names by which the binary is called, and what it is by each.

use std::ffi::OsString;

use crate::pid1::reexec::{Resumption, check_state};
use crate::pid1::{self, Options, cookies};
use crate::{logd, logproto, setup};

/// Usage errors (contract section 4).
const USAGE: u8 = 2;

const HELP: &str = "\
usage: herm-init [--runtime-dir DIR] [--] [CMD…]   supervise, as PID 1 or below another init
       herm-init --version
       herm-init --commands                        the other names it can be called by
As /init every argument belongs to CMD.
";

/// Does what the binary is called for, and returns its exit code; `None` where `argv0` is none of
/// its names. `herm` links this too, so that one binary can be all of it.
pub fn multicall(argv0: &str, args: &[OsString]) -> Option<u8> {
    let name = argv0.rsplit('/').next().unwrap_or(argv0);
    // What the supervisor executes in a service directory that setup made.
    if argv0 == "./run" || argv0 == "./finish" {
        return crate::applets::run(argv0, args);
    }
    let text: Vec<String> = args
        .iter()
        .map(|arg| arg.to_string_lossy().into_owned())
        .collect();
    Some(match name {
        "init" => match Resumption::parse(&text).filter(|_| is_inherited(&text)) {
            Some(resumption) => pid1::go_on(&resumption),
            None => pid1::main(Options {
                runtime_dir: None,
                cmd: text,
            }),
        },
        "herm-init" => supervise(&text),
        "herm-setup" => setup::main(args),
        setup::finish::ARGV0 => setup::finish::main(args),
        logproto::ARGV0 => logd::main(&text),
        cookies::ARGV0 => cookies::main(&text),
        _ => return crate::applets::run(name, args),
    })
}

/// A container's CMD could begin with `--resume` too; only re-execution leaves the descriptor.
fn is_inherited(args: &[String]) -> bool {
    let fd = args.get(1).and_then(|fd| fd.parse::<u32>().ok());
    fd.is_some_and(|fd| {
        let link = std::fs::read_link(format!("/proc/self/fd/{fd}"));
        link.is_ok_and(|link| link.to_string_lossy().contains("herm-state"))
    })
}

#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line, not PID 1's loop"
)]
fn supervise(args: &[String]) -> u8 {
    if let Some(resumption) = Resumption::parse(args) {
        return pid1::go_on(&resumption);
    }
    let mut options = Options::default();
    let mut words = args.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--version" => {
                println!("herm-init {}", env!("CARGO_PKG_VERSION"));
                return 0;
            }
            "--commands" => {
                for name in crate::applets::names() {
                    println!("{name}");
                }
                return 0;
            }
            "--help" => {
                print!("{HELP}");
                return 0;
            }
            "--check-state" => {
                let fd = words.next().and_then(|fd| fd.parse().ok());
                return fd.map_or(USAGE, check_state);
            }
            "--runtime-dir" => options.runtime_dir = words.next().map(Into::into),
            "--" => {
                options.cmd = words.cloned().collect();
                break;
            }
            word if word.starts_with('-') => {
                eprint!("herm-init: unknown option {word}\n{HELP}");
                return USAGE;
            }
            word => {
                options.cmd = std::iter::once(word.to_owned())
                    .chain(words.cloned())
                    .collect();
                break;
            }
        }
    }
    pid1::main(options)
}
