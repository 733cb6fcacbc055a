//! `herm setup`: what a boot does to the home, now.

use std::ffi::OsString;

use herm_wire::ExitCode;

use crate::cli::SetupArgs;
use crate::context::Context;

/// Runs the boot's own steps as whoever asked: root gives the home to its user, any other user does
/// what it may. Each step says what it changes.
pub(super) fn run(context: &Context, args: &SetupArgs) -> ExitCode {
    let mut words: Vec<OsString> = vec!["--by-hand".into(), "--home".into()];
    words.push(context.home().root().into());
    if args.dry_run {
        words.push("--dry-run".into());
    }
    match herm_init::multicall("herm-setup", &words) {
        Some(0) => ExitCode::Done,
        Some(78) => ExitCode::BadConfig,
        Some(_) | None => ExitCode::Failed,
    }
}
