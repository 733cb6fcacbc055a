//! `herm setup`: what a boot does to the home, now; and the part of it that needs no root.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

use herm_home::skills::{self, Synced};
use herm_wire::ExitCode;

use crate::cli::SetupArgs;
use crate::context::{Context, home_failure};
use crate::failure::Outcome;
use crate::identity;

/// Where the image has the agent, where `HERM_INSTALL_DIR` names no other place.
const INSTALL_DIR: &str = "/opt/hermes";
/// As many names are told in full.
const NAMES_MAX: usize = 8;

/// Runs the boot's own steps as whoever asked: root gives the home to its user, any other user does
/// what it may. Each step says what it changes.
pub(super) fn run(context: &Context, args: &SetupArgs) -> Outcome<ExitCode> {
    let mut words: Vec<OsString> = vec!["--by-hand".into(), "--home".into()];
    words.push(context.home().root().into());
    if args.dry_run {
        words.push("--dry-run".into());
    }
    match herm_init::multicall("herm-setup", &words) {
        Some(0) => {}
        Some(78) => return Ok(ExitCode::BadConfig),
        Some(_) | None => return Ok(ExitCode::Failed),
    }
    identity::act_for(context.home().root(), None)?;
    sync(context, args.dry_run)
}

/// `herm sync-skills`, which the boot starts as the home's user.
pub(super) fn sync_skills(context: &Context) -> Outcome<ExitCode> {
    sync(context, false)
}

fn sync(context: &Context, dry_run: bool) -> Outcome<ExitCode> {
    let bundle = bundle();
    let home = context.home().root();
    if !bundle.is_dir() || !home.is_dir() {
        return Ok(ExitCode::Done);
    }
    let synced = skills::sync(home, &bundle, dry_run).map_err(home_failure)?;
    tell(&synced, dry_run);
    Ok(if synced.failed.is_empty() {
        ExitCode::Done
    } else {
        ExitCode::Failed
    })
}

/// Where the agent's own skills are: where the agent would look, else beside it.
fn bundle() -> PathBuf {
    let named = |variable: &str| env::var_os(variable).filter(|value| !value.is_empty());
    match named("HERMES_BUNDLED_SKILLS") {
        Some(bundle) => bundle.into(),
        None => PathBuf::from(named("HERM_INSTALL_DIR").unwrap_or_else(|| INSTALL_DIR.into()))
            .join("skills"),
    }
}

fn tell(synced: &Synced, dry_run: bool) {
    let would = if dry_run { "would change: " } else { "" };
    let changes = [
        ("new", &synced.copied),
        ("updated", &synced.updated),
        ("the image has no more", &synced.dropped),
    ];
    for (what, names) in changes.iter().filter(|(_, names)| !names.is_empty()) {
        println!("setup: {would}skills: {what}: {}", list(names));
    }
    if !synced.kept.is_empty() {
        println!(
            "setup: skills: modified here and newer in the image, kept: {}",
            list(&synced.kept)
        );
    }
    for (name, why) in &synced.failed {
        println!("setup: warning: skill {}: {}", plain(name), plain(why));
    }
}

fn list(names: &[String]) -> String {
    let shown: Vec<String> = names
        .iter()
        .take(NAMES_MAX)
        .map(|name| plain(name))
        .collect();
    let shown = shown.join(", ");
    match names.len().checked_sub(NAMES_MAX) {
        Some(more) if more > 0 => format!("{shown} and {more} more"),
        _ => shown,
    }
}

/// Names are anybody's to choose: none may begin a line of its own, or steer a terminal.
fn plain(text: &str) -> String {
    text.replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_names_are_told_in_one_line() {
        let names: Vec<String> = (0..10).map(|number| format!("s{number}")).collect();
        assert_eq!(list(&names), "s0, s1, s2, s3, s4, s5, s6, s7 and 2 more");
        assert_eq!(list(&names[..8]), "s0, s1, s2, s3, s4, s5, s6, s7");
        assert_eq!(list(&["a\nb".to_owned()]), "a b");
    }
}
