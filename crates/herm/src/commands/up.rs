//! `herm up`: the whole thing in the foreground, for a person at a terminal.
//!
//! This process prepares and then becomes the supervisor, so that Ctrl-C reaches it directly and
//! its exit code is everyone's.

use std::env;
use std::fs::{self, DirBuilder};
use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use herm_wire::ExitCode;

use crate::client::Client;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::locate::RUN_DIR_VARIABLE;

/// Says that the supervisor was started by `herm up`.
pub(crate) const UP_VARIABLE: &str = "HERM_UP";

/// Makes the home if there is none, and becomes the supervisor. Returns only failures.
pub(super) fn up(context: &Context, no_dashboard: bool) -> Outcome<ExitCode> {
    let home = context.home().root();
    make_private(home)?;
    let home = &home
        .canonicalize()
        .map_err(|error| Failure::file("use the home", home, &error))?;
    if let Some(running) = Client::find(context.surroundings(), home)? {
        return Err(Failure::failed(format!(
            "{} is supervised already, by pid {}",
            home.display(),
            running.hello().pid
        ))
        .hint("`herm status` shows it; `herm shutdown` ends it"));
    }
    let run_dir = context.surroundings().own_run_dir(home)?;
    make_private(&run_dir)?;
    announce(home)?;
    Err(become_supervisor(home, &run_dir, no_dashboard))
}

fn make_private(dir: &Path) -> Outcome {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|error| Failure::file("create", dir, &error))
}

fn announce(home: &Path) -> Outcome {
    let mut out = std::io::stdout().lock();
    // The other terminal need not have this one's variables.
    let default =
        env::var_os("HOME").is_some_and(|user| home == Path::new(&user).join(".local/share/herm"));
    let option = if default {
        String::new()
    } else {
        format!(" --home {}", home.display())
    };
    writeln!(out, "herm: home {}", home.display())?;
    writeln!(
        out,
        "herm: in another terminal: `herm{option} status`, `herm{option} profile create NAME`"
    )?;
    writeln!(
        out,
        "herm: Ctrl-C stops everything; `herm{option} up` again brings back what was running"
    )?;
    out.flush()?;
    Ok(())
}

/// A sibling `herm-init` where there is one, else this program under that name.
fn become_supervisor(home: &Path, run_dir: &Path, no_dashboard: bool) -> Failure {
    let own = match env::current_exe() {
        Ok(own) => own,
        Err(error) => {
            return Failure::file("find this program by", Path::new("/proc/self/exe"), &error);
        }
    };
    let sibling = own.with_file_name("herm-init");
    let program = if fs::metadata(&sibling).is_ok_and(|meta| meta.is_file()) {
        &sibling
    } else {
        &own
    };
    let mut command = Command::new(program);
    if no_dashboard {
        command.env(herm_dashboard::SWITCH, "0");
    } else if env::var_os(herm_dashboard::SWITCH).is_none() {
        command.env(herm_dashboard::SWITCH, "1");
    }
    let error = command
        .arg0("herm-init")
        .env("HERMES_HOME", home)
        .env(RUN_DIR_VARIABLE, run_dir)
        .env("HERM_BIN", &own)
        .env(UP_VARIABLE, "1")
        // No main program, and the default gateway on a fresh home: what CMD `gateway run` is to
        // a container. Given as variables, because this also has to hold for root on a machine
        // where no service user exists and a CMD would be run as it stands.
        .env("HERM_MAIN", "none")
        .env("HERM_GATEWAY_RUN", "default")
        .exec();
    Failure::file("start the supervisor", program, &error)
}
