//! herm-init: PID 1, and by other names (argv[0]) its helpers.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut argv = std::env::args_os();
    let name = argv.next().unwrap_or_default();
    let args: Vec<OsString> = argv.collect();
    let name = name.to_string_lossy();
    // Under a name of its own choosing it is what it is: the supervisor.
    herm_init::multicall(&name, &args)
        .or_else(|| herm_init::multicall("herm-init", &args))
        .unwrap_or(0)
        .into()
}
