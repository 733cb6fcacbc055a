//! One-shot setup: everything the boot does in the volume and in `/etc`, top to bottom.
//!
//! Runs as a child of PID 1 (`herm-setup`, the same binary) before any service. It prints one line
//! per change and hands its findings to PID 1 as a [`Plan`]. Every step can be repeated and can be
//! interrupted anywhere: it looks at what is, and changes only what is wrong.

mod api_key;
pub(crate) mod at_once;
mod docker_socket;
pub(crate) mod finish;
mod fix_attrs;
mod home;
mod hooks;
mod identity;
mod image;
mod installed;
mod overlay;
mod ownership;
mod plan;
mod report;
mod safekeeping;
mod users;
mod way_in;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use herm_sys::exec::take_inherited;
use herm_sys::fs_at::Dir;

use crate::environment::Environment;
use crate::main_program::{self, Route, is_true};
use crate::s6_variables;
use identity::{Accounts, Identities};
use image::Image;
use report::Reporter;

pub(crate) use identity::LOG_USER;
pub(crate) use overlay::SHARED;
pub(crate) use plan::PLAN_END;
pub use plan::{Ids, MainProgram, Plan};

/// Exit code of a boot that the configuration makes impossible (contract section 4).
const BAD_CONFIG: u8 = 78;
/// Exit code of a boot that a hook script stopped (`s6.md` section 6.3).
const HOOK_FAILED: u8 = 1;

/// In PID 1's runtime directory: the files of the services of a supervisor before it.
pub(crate) const LEFT_BEHIND: &str = "scan.old";

/// What setup was asked to do.
#[derive(Debug, Default)]
struct Options {
    dry_run: bool,
    /// Asked for by a person: the boot's own parts, hooks and plan, are left out.
    by_hand: bool,
    /// The image's services are laid out in the scan directory.
    overlay: bool,
    home: Option<String>,
    /// PID 1's runtime directory.
    runtime_dir: Option<PathBuf>,
    /// Where PID 1 has recorded the environment.
    environment: Option<String>,
    plan_fd: Option<i32>,
    /// A pipe that ends when PID 1 has recorded the environment.
    recorded_fd: Option<i32>,
    /// What has to end before anything is done.
    wait_fd: Option<i32>,
    cmd: Vec<String>,
}

/// Why the boot can't go on.
#[derive(Debug, thiserror::Error)]
enum SetupError {
    #[error(transparent)]
    BadId(#[from] users::BadId),
    #[error(transparent)]
    Image(#[from] image::ImageError),
    #[error("the plan can't be handed to PID 1: {0}")]
    Plan(io::Error),
}

impl SetupError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::BadId(_) => BAD_CONFIG,
            Self::Image(error) => error.exit_code(),
            Self::Plan(_) => HOOK_FAILED,
        }
    }
}

/// Entry point of `herm-setup [--dry-run] [--by-hand] [--overlay] [--home DIR] [--runtime-dir DIR] [--environment DIR]
/// [--plan-fd N] [--recorded-fd N] [--wait-fd N] [-- CMD…]`; returns its exit code.
pub fn main(args: &[OsString]) -> u8 {
    let options = match parse(args) {
        Ok(options) => options,
        Err(message) => {
            eprintln!("herm-setup: {message}");
            return 2;
        }
    };
    match run(&options, &Environment::capture()) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("setup: {error}");
            error.exit_code()
        }
    }
}

/// All steps in their order.
fn run(options: &Options, environment: &Environment) -> Result<(), SetupError> {
    let plan_pipe = options.plan_fd.map(plan_pipe).transpose()?;
    let mut reporter = Reporter::new(options.dry_run);
    reporter.keep_to(s6_variables::number(environment, "S6_VERBOSITY"));
    if let Some(fd) = options.wait_fd.and_then(take_inherited) {
        // What is written to it says nothing; a read that fails is its end, too.
        let _ = io::copy(&mut File::from(fd), &mut io::sink());
    }
    let home = options.home.as_deref();
    let home = home.or_else(|| environment.get_nonempty("HERMES_HOME"));
    // Without a home there is no volume that could hang, and no time to lose.
    if home.is_some() {
        reporter.watch(step_limit(environment), BAD_CONFIG);
    }

    // 1. Who runs what.
    let accounts = Accounts::in_dir(Path::new("/etc"));
    let mut identities = reporter.step("identity", |reporter| {
        accounts.resolve(environment, reporter)
    })?;
    let service_user = identities.service_user.as_mut();
    docker_socket::share(&accounts, service_user, environment, &mut reporter);

    // 2. The home. What is wrong with it is told and lived with: the rest of the boot makes sense
    // without it.
    let mut outcome = home::Outcome::default();
    if let Some(home) = home
        && (options.by_hand || is_enabled(environment))
    {
        let user = identities.service_user.as_ref();
        match home::prepare(Path::new(home), user, environment, &mut reporter) {
            Ok(prepared) => outcome = prepared,
            Err(error) => reporter.warn(&error.to_string()),
        }
    }
    let unfinished = outcome.unfinished.take();

    // 3. The image's own scripts and services.
    let mut services = Vec::new();
    if !options.by_hand {
        let user = identities.service_user.as_ref();
        services =
            Image::of(options, environment, user).bring_up(&outcome.variables, &mut reporter)?;
    }
    if options.dry_run && !reporter.changed() {
        println!("setup: nothing to change");
    }

    // 4. What PID 1 does with it. From here on the boot doesn't wait for us.
    if let Some(pipe) = plan_pipe {
        let mut plan = make_plan(options, environment, identities, outcome, &mut reporter);
        if let Some(main) = &mut plan.main {
            main.after.clone_from(&services);
        }
        plan.services = services;
        hand_over(&plan, pipe)?;
    }

    // 5. What was too much to wait for.
    if let Some(unfinished) = unfinished {
        unfinished.finish(&mut reporter);
    }
    if let Some(dir) = &options.runtime_dir {
        remove_left_behind(dir);
    }
    Ok(())
}

/// In plain Docker `/run` survives a restart, and there may be many thousands of these files.
fn remove_left_behind(runtime_dir: &Path) {
    // What is left of it now is removed by the next boot.
    let _ = Dir::open_trusted(runtime_dir).and_then(|dir| dir.remove_tree(LEFT_BEHIND));
}

/// How long a step may take (`HERM_SETUP_TIMEOUT`, seconds); as long as it takes where nobody says.
fn step_limit(environment: &Environment) -> Option<Duration> {
    let seconds = environment.get("HERM_SETUP_TIMEOUT")?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds)).filter(|limit| !limit.is_zero())
}

/// Takes the plan's pipe, and keeps it from the hooks: they may run programs of any user's, and the
/// plan says what runs as root.
fn plan_pipe(fd: i32) -> Result<File, SetupError> {
    let missing = || io::Error::other(format!("descriptor {fd} is not open"));
    take_inherited(fd)
        .map(File::from)
        .ok_or_else(|| SetupError::Plan(missing()))
}

/// The `PATH` of root's processes, where it is another than the container's.
fn roots_path(environment: &Environment) -> Option<String> {
    let path = environment.get("PATH")?;
    let trusted = crate::search_path::trusted(path, 0);
    (rustix::process::geteuid().is_root() && trusted != path).then_some(trusted)
}

/// `HERM_SETUP=0` leaves the home as it is.
fn is_enabled(environment: &Environment) -> bool {
    environment.get_nonempty("HERM_SETUP") != Some("0")
}

fn make_plan(
    options: &Options,
    environment: &Environment,
    identities: Identities,
    outcome: home::Outcome,
    reporter: &mut Reporter,
) -> Plan {
    let home = environment.get_nonempty("HERMES_HOME").map(str::to_owned);
    let unprivileged = !rustix::process::geteuid().is_root();
    let route = main_program::route(
        way_in::without_wrapper(&options.cmd),
        &main_program::Image {
            has_home_and_user: home.is_some()
                && (unprivileged || identities.service_user.is_some()),
            default_program: environment.get_nonempty("HERM_MAIN"),
            no_supervise: environment
                .get("HERMES_GATEWAY_NO_SUPERVISE")
                .is_some_and(is_true),
        },
        &|word| is_program(word, environment.get("PATH").unwrap_or_default()),
    );
    let dashboard_only = main_program::is_dashboard_only(&route);
    let in_front = s6_variables::words(environment, "S6_CMD_ARG0");
    let reconcile = home.is_some();
    let (main, gateway_run) = match route {
        Route::AsServiceUser(argv) => {
            let main = MainProgram {
                argv: [in_front, argv].concat(),
                ids: identities.service_user.clone(),
                env: home
                    .iter()
                    .map(|home| ("HOME".to_owned(), home.clone()))
                    .collect(),
                after: Vec::new(),
            };
            (Some(main), None)
        }
        Route::AsIs(argv) => (
            Some(MainProgram {
                argv: [in_front, argv].concat(),
                ..MainProgram::default()
            }),
            None,
        ),
        Route::SupervisedGateway { profile } => (None, Some(profile)),
        Route::None => (None, None),
    };
    let (steps, warnings) = reporter.take_parts();
    Plan {
        home,
        service_user: identities.service_user,
        log_user: identities.log_user,
        main,
        gateway_run,
        reconcile,
        dashboard_only,
        roots_path: roots_path(environment),
        env: outcome.variables.into_iter().collect(),
        sync_skills: outcome.has_skills,
        services: Vec::new(),
        steps,
        warnings,
    }
}

/// Whether a word names an executable file, by its path or on `PATH`.
fn is_program(word: &str, path: &str) -> bool {
    let executable = |path: &Path| {
        path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
    };
    if word.contains('/') {
        return executable(Path::new(word));
    }
    !word.is_empty()
        && path
            .split(':')
            .any(|dir| executable(&Path::new(if dir.is_empty() { "." } else { dir }).join(word)))
}

fn hand_over(plan: &Plan, mut pipe: File) -> Result<(), SetupError> {
    let mut json = serde_json::to_vec(plan).map_err(|error| SetupError::Plan(error.into()))?;
    json.extend_from_slice(PLAN_END);
    pipe.write_all(&json).map_err(SetupError::Plan)
}

fn parse(args: &[OsString]) -> Result<Options, String> {
    let mut options = Options::default();
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        match arg.to_str() {
            Some("--dry-run") => options.dry_run = true,
            Some("--by-hand") => options.by_hand = true,
            Some("--overlay") => options.overlay = true,
            Some("--home") => {
                let home = rest.next().and_then(|home| home.to_str());
                options.home = Some(home.ok_or("--home needs a directory")?.to_owned());
            }
            Some("--runtime-dir") => {
                let dir = rest.next().ok_or("--runtime-dir needs a directory")?;
                options.runtime_dir = Some(dir.into());
            }
            Some("--environment") => {
                let dir = rest.next().and_then(|dir| dir.to_str());
                options.environment =
                    Some(dir.ok_or("--environment needs a directory")?.to_owned());
            }
            Some(option @ ("--plan-fd" | "--recorded-fd" | "--wait-fd")) => {
                let fd = rest.next().and_then(|fd| fd.to_str()?.parse().ok());
                let fd = fd.ok_or_else(|| format!("{option} needs a descriptor's number"))?;
                match option {
                    "--plan-fd" => options.plan_fd = Some(fd),
                    "--wait-fd" => options.wait_fd = Some(fd),
                    _ => options.recorded_fd = Some(fd),
                }
            }
            Some("--") => {
                options.cmd = rest
                    .by_ref()
                    .map(|word| word.to_string_lossy().into_owned())
                    .collect();
            }
            _ => return Err(format!("unknown argument {}", arg.display())),
        }
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::IntoRawFd as _;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_hook_can_not_write_into_the_plan() {
        // As an exec leaves it: open, inheritable, and nobody's.
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        rustix::io::fcntl_setfd(&reader, rustix::io::FdFlags::CLOEXEC).unwrap();
        let inode = rustix::fs::fstat(&writer).unwrap().st_ino;
        let number = writer.into_raw_fd();
        let _pipe = plan_pipe(number).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let script = dir.path().join("01");
        // By what it is: the shell may well have a descriptor of this number for itself.
        let text = format!("#!/bin/sh\n! ls -l /proc/$$/fd | grep -qF 'pipe:[{inode}]'\n");
        std::fs::write(&script, text).unwrap();
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
        hooks::run(&script, [], &[], None).unwrap();
    }
}
