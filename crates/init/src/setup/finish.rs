//! The image's own scripts at the end: `/etc/cont-finish.d` (contract section 3.7, `s6.md` section 6.2).

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::hooks::{self, HookError};
use super::image;
use crate::environment::Environment;
use crate::s6_variables;

/// The scripts, below [`image::directory`].
const CONT_FINISH: &str = "cont-finish.d";

/// The name (argv[0]) by which `herm-init` runs them.
pub(crate) const ARGV0: &str = "herm-finish";

/// What they are called in messages.
pub(crate) const NAME: &str = CONT_FINISH;

/// Whether there is anything to do at the end: scripts, or disks to be synced.
pub(crate) fn is_needed(environment: &Environment) -> bool {
    let scripts = hooks::scripts(&directory(environment));
    syncs_disks(environment) || scripts.is_ok_and(|scripts| !scripts.is_empty())
}

fn directory(environment: &Environment) -> PathBuf {
    image::directory(environment).join(CONT_FINISH)
}

fn syncs_disks(environment: &Environment) -> bool {
    s6_variables::is_on(environment, "S6_SYNC_DISKS")
}

/// Entry point of `herm-finish MILLISECONDS`: runs the scripts one after another, all of them within that
/// time. What they return changes nothing; it is told.
pub(crate) fn main(args: &[OsString]) -> u8 {
    let budget = args.first().and_then(|text| text.to_str()?.parse().ok());
    let Some(budget) = budget.map(Duration::from_millis) else {
        return 2;
    };
    let environment = Environment::capture();
    let each = s6_variables::limit(&environment, "S6_KILL_FINISH_MAXTIME");
    let problems = run(&directory(&environment), budget, each, &environment);
    for problem in problems {
        eprintln!("finish: {problem}");
    }
    if syncs_disks(&environment) {
        // Here and not in PID 1, which must not wait for a disk.
        rustix::fs::sync();
    }
    0
}

/// What went wrong, in order.
fn run(
    dir: &Path,
    budget: Duration,
    each: Option<Duration>,
    environment: &Environment,
) -> Vec<String> {
    let began = Instant::now();
    let mut problems = Vec::new();
    let scripts = match hooks::scripts(dir) {
        Ok(scripts) => scripts,
        Err(error) => return vec![format!("{} can't be read: {error}", dir.display())],
    };
    for script in scripts {
        let left = budget.saturating_sub(began.elapsed());
        if left.is_zero() {
            problems.push(format!(
                "{} is not run: the budget of the stop is spent",
                script.display()
            ));
            continue;
        }
        let limit = each.map_or(left, |each| each.min(left));
        let started = Instant::now();
        let variables = environment.for_root().map(|(n, v)| (n.into(), v.into()));
        match hooks::run(&script, variables, &[], Some(limit)) {
            Ok(()) => {}
            Err(_) if started.elapsed() >= limit => problems.push(format!(
                "{} was not done within {limit:?}, and is killed",
                script.display()
            )),
            Err(error @ (HookError::NotRun { .. } | HookError::Failed { .. })) => {
                problems.push(error.to_string());
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    fn with_scripts(scripts: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, body) in scripts {
            let path = dir.path().join(name);
            fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        dir
    }

    fn environment() -> Environment {
        Environment::from_variables([("PATH".into(), "/usr/bin:/bin".into())])
    }

    #[test]
    fn all_scripts_run_in_order_whatever_the_others_return() {
        let dir = with_scripts(&[
            ("20-b", "echo b >> \"$0.d\"; exit 3"),
            ("10-a", "mv \"$0\" \"$0.done\""),
            (".x", "exit 1"),
        ]);
        let problems = run(dir.path(), Duration::from_secs(60), None, &environment());
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].contains("20-b") && problems[0].contains("exit 3"));
        assert!(dir.path().join("10-a.done").exists() && dir.path().join("20-b.d").exists());
    }

    #[test]
    fn a_script_that_takes_too_long_is_named_and_so_are_those_that_are_left_out() {
        let dir = with_scripts(&[("10-slow", "exec sleep 60"), ("20-next", "exit 0")]);
        let budget = Duration::from_millis(200);
        let problems = run(dir.path(), budget, None, &environment());
        assert!(problems[0].contains("10-slow was not done"), "{problems:?}");
        assert!(problems[1].contains("20-next is not run"), "{problems:?}");
        let each = Some(Duration::from_millis(100));
        let problems = run(dir.path(), Duration::from_secs(60), each, &environment());
        assert_eq!(problems.len(), 1, "{problems:?}");
    }

    #[test]
    fn where_there_are_no_scripts_the_end_is_needed_only_to_sync_the_disks() {
        let profile = |sync: &str| {
            Environment::from_variables([
                ("S6_RUNTIME_PROFILE".into(), "no-such-profile".into()),
                ("S6_SYNC_DISKS".into(), sync.into()),
            ])
        };
        assert!(is_needed(&profile("1")));
        assert!(!is_needed(&profile("0")) && !is_needed(&profile("")));
    }
}
