//! Setup without a process of its own, where it would have nothing to do.
//!
//! Most of what setup takes, where there is no home, is the process: an exec, a C library that comes up and
//! asks the processor what it is, a pipe to wait at. There PID 1 makes the plan itself, with setup's own code.
//! Wherever setup would have anything to change, to run, to wait for or to tell, the process is started.

use std::io;
use std::path::Path;

use super::identity::Accounts;
use super::report::Reporter;
use super::{Options, Plan, home, image, make_plan, overlay, remove_left_behind};
use crate::environment::Environment;

/// Variables of these beginnings are read by setup, or may be one day.
const ASKING: [&str; 4] = ["HERM", "S6_", "PUID", "PGID"];

/// These only say what is done with a home, and what runs where there is no CMD.
const HARMLESS: [&str; 2] = ["HERM_SETUP", "HERM_MAIN"];

/// What an image has work for setup in, even where it is empty.
const SOURCES: [&str; 4] = [
    "/etc/cont-init.d",
    "/etc/fix-attrs.d",
    "/etc/s6-overlay",
    "/etc/services.d",
];

/// Where an image has its programs. Elsewhere there may be a volume, which only setup may look at.
const SYSTEM: [&str; 4] = ["/usr", "/bin", "/sbin", "/command"];

/// The plan, where setup has nothing to do but to make it.
pub(crate) fn plan(
    cmd: &[String],
    environment: &Environment,
    runtime_dir: &Path,
    has_overlay: bool,
) -> Option<Plan> {
    let is_missing = |path: &Path| {
        let found = path.symlink_metadata();
        found.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    };
    if !has_nothing_to_do(environment, &is_missing) {
        return None;
    }
    let mut reporter = Reporter::new(true);
    // A warning is setup's to tell: it is asked again, by its process.
    reporter.keep_to(Some(0));
    let accounts = Accounts::in_dir(Path::new("/etc"));
    let identities = reporter.step("identity", |reporter| {
        accounts.resolve(environment, reporter)
    });
    let options = Options {
        cmd: cmd.to_vec(),
        ..Options::default()
    };
    let nothing = home::Outcome::default();
    let plan = make_plan(
        &options,
        environment,
        identities.ok()?,
        nothing,
        &mut reporter,
    );
    if !plan.warnings.is_empty() {
        return None;
    }
    if has_overlay {
        let places = overlay::Places::of(environment, image::directory(environment));
        // What it can't do, setup can't either, and says.
        overlay::sweep(&places).ok()?;
    }
    remove_left_behind(runtime_dir);
    Some(plan)
}

/// Whether nothing is asked of setup, neither by a variable nor by what the image has.
fn has_nothing_to_do(environment: &Environment, is_missing: &dyn Fn(&Path) -> bool) -> bool {
    let is_asked = environment.for_root().any(|(name, value)| {
        let name = name.as_encoded_bytes();
        let asks = ASKING
            .iter()
            .any(|start| name.starts_with(start.as_bytes()));
        let is_harmless = HARMLESS.iter().any(|known| name == known.as_bytes());
        asks && !is_harmless && !value.is_empty()
    });
    !is_asked
        && is_the_images(environment.get("PATH").unwrap_or_default())
        && SOURCES.iter().all(|source| is_missing(Path::new(source)))
}

/// Whether all of a `PATH` is the image's.
fn is_the_images(path: &str) -> bool {
    let is_system = |dir: &Path| SYSTEM.iter().any(|system| dir.starts_with(system));
    let is_plain = |dir: &Path| !dir.components().any(|part| part.as_os_str() == "..");
    path.split(':')
        .map(Path::new)
        .all(|dir| is_system(dir) && is_plain(dir))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        let all = [("PATH", "/command:/usr/bin:/bin")];
        let all = all.iter().chain(variables);
        Environment::from_variables(all.map(|(name, value)| ((*name).into(), (*value).into())))
    }

    #[test]
    fn whatever_setup_acts_on_takes_its_process() {
        let asks =
            |name, value| !has_nothing_to_do(&environment(&[(name, value)]), &|_: &Path| true);
        for (name, value) in [
            ("HERMES_HOME", "/opt/data"),
            ("HERMES_UID", "1000"),
            ("PGID", "1000"),
            ("PUID", "not a number"),
            ("HERM_DOCKER_SOCKET", "1"),
            ("HERM_USER", "worker"),
            ("HERM_SETUP_TIMEOUT", "5"),
            ("S6_KEEP_ENV", "1"),
            ("S6_STAGE2_HOOK", "true"),
            ("S6_WAIT_FOR_CLOSING_FD", "3"),
            ("S6_RUNTIME_PROFILE", "test"),
            ("PATH", "/usr/bin:/opt/data/bin"),
            ("PATH", "/usr/../opt/data/bin:/bin"),
            ("PATH", "/usr/bin:"),
            ("PATH", ""),
        ] {
            assert!(asks(name, value), "{name}={value}");
        }
        for (name, value) in [("HERM_SETUP", "0"), ("HERMES_HOME", ""), ("TERM", "xterm")] {
            assert!(!asks(name, value), "{name}={value}");
        }
    }

    #[test]
    fn whatever_the_image_brings_along_takes_the_process() {
        for source in SOURCES {
            let is_missing = |path: &Path| path != Path::new(source);
            assert!(
                !has_nothing_to_do(&environment(&[]), &is_missing),
                "{source}"
            );
        }
    }

    #[test]
    fn the_main_program_is_what_setup_would_say() {
        // Where this machine's own files ask for something, the process says it.
        let cmd = ["true".to_owned()];
        let nowhere = Path::new("/nowhere");
        let Some(plan) = plan(&cmd, &environment(&[]), nowhere, false) else {
            println!("skipped: setup has something to do on this machine");
            return;
        };
        let main = plan.main.unwrap();
        assert_eq!((main.argv.as_slice(), main.ids), (&cmd[..], None));
        assert!(plan.home.is_none() && !plan.reconcile);
    }
}
