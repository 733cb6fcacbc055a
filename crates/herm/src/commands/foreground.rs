//! A gateway in the foreground: what a supervisor starts, and `gateway run` without one. Where an
//! agent is installed this process becomes it; else it is herm's own gateway.

use std::env;
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use herm_home::ports::Ports;
use herm_home::{Home, ProfileName, owner};
use herm_wire::ExitCode;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::context::{Context, home_failure};
use crate::failure::{Failure, Outcome};
use crate::keeper::renew_port;
use crate::launch::{LaunchFacts, Program, SUPERVISED};

/// How long a gateway that is taken over from may drain before it is killed, in seconds.
const TAKEOVER_GRACE_S: i64 = 10;

/// Whether a supervisor started this process.
pub(super) fn is_supervised_child() -> bool {
    env::var_os(SUPERVISED).is_some_and(|value| !value.is_empty())
}

/// Runs a profile's gateway here.
pub(super) fn run(context: &Context, profile: &ProfileName, replace: bool) -> Outcome<ExitCode> {
    if replace {
        end_foreign(context.home(), profile)?;
    }
    // Under a supervisor this command line is herm's own gateway, whatever else is installed:
    // otherwise a `gateway.command` that names herm would start itself for ever. What the settings
    // say is in what was registered; one that has become wrong is no reason not to serve.
    if is_supervised_child() {
        return built_in(context, profile);
    }
    let facts = LaunchFacts::current(context.home())?;
    match &facts.program {
        Program::Agent(_) | Program::Configured(_) => Err(become_agent(context, &facts, profile)),
        Program::BuiltIn(_) => built_in(context, profile),
    }
}

fn become_agent(context: &Context, facts: &LaunchFacts, profile: &ProfileName) -> Failure {
    let argv = facts.argv(profile);
    let (program, args) = argv
        .split_first()
        .map_or(("", &[] as &[String]), |(p, args)| (p, args));
    let mut command = Command::new(program);
    for name in facts.logins() {
        command.env_remove(name);
    }
    let error = command
        .args(args)
        .envs(facts.variables(context.home(), profile))
        .current_dir(context.home().root())
        .exec();
    Failure::file("start", Path::new(program), &error)
}

fn built_in(context: &Context, profile: &ProfileName) -> Outcome<ExitCode> {
    let home = context.home();
    let mut options = herm_gateway::Options::new(home.profile(profile));
    options.port = own_port(context, profile)?;
    let code = herm_gateway::run(&options);
    std::process::exit(i32::from(code));
}

/// The port given to a profile that names none (`port: auto`): recorded, so that it stays.
fn own_port(context: &Context, profile: &ProfileName) -> Outcome<Option<u16>> {
    let home = context.home();
    if crate::keeper::names_its_port(home, profile)? {
        return Ok(None);
    }
    let given = Ports::of(home)
        .ensure(profile, is_free, SystemTime::now())
        .map_err(|error| Failure::failed(error.to_string()))?;
    if let Some(why) = &given.unrecorded {
        eprintln!("herm: port {} is used without a record: {why}", given.port);
    }
    let runs = owner::find(&home.profile(profile), Path::new("/proc")).map_err(home_failure)?;
    if runs.is_some() {
        // It is the one who listens there, and will be named.
        return Ok(Some(given.port));
    }
    let renewed = renew_port(&mut Ports::of(home), home, profile, given.port)?;
    Ok(Some(renewed.unwrap_or(given.port)))
}

/// Whether nobody listens on a port here.
pub(crate) fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}

/// Ends a gateway of this profile that runs outside supervision, so that it has one owner (L12).
/// The caller knows that no supervised one runs.
pub(super) fn end_foreign(home: &Home, profile: &ProfileName) -> Outcome {
    let paths = home.profile(profile);
    let found = owner::find(&paths, Path::new("/proc")).map_err(home_failure)?;
    let Some(foreign) = found else { return Ok(()) };
    let failed = |error: rustix::io::Errno| {
        Failure::failed(format!(
            "{profile} runs outside supervision as pid {} and can't be taken over: {error}",
            foreign.pid
        ))
        .hint("stop it yourself, then start the supervised one")
    };
    let Some(pid) = Pid::from_raw(foreign.pid) else {
        return Ok(());
    };
    let handle = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(handle) => handle,
        Err(rustix::io::Errno::SRCH) => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    eprintln!(
        "herm: {profile} runs outside supervision (pid {}); taking it over",
        foreign.pid
    );
    pidfd_send_signal(&handle, Signal::TERM).map_err(failed)?;
    let limit = rustix::event::Timespec {
        tv_sec: TAKEOVER_GRACE_S,
        tv_nsec: 0,
    };
    let mut fds = [rustix::event::PollFd::new(
        &handle,
        rustix::event::PollFlags::IN,
    )];
    if rustix::event::poll(&mut fds, Some(&limit)).map_err(failed)? == 0 {
        pidfd_send_signal(&handle, Signal::KILL).map_err(failed)?;
        rustix::event::poll(&mut fds, None).map_err(failed)?;
    }
    Ok(())
}
