//! One file per family of commands; each turns its part of the command line into calls.

mod dashboard;
mod doctor;
mod events;
mod foreground;
mod gateway;
#[cfg(feature = "generate")]
mod generate;
mod health;
mod logs;
mod pages;
mod probe;
mod profile;
mod remote;
mod service;
mod setup;
mod supervisor;
mod up;
mod verbs;

pub(crate) use foreground::is_free;
pub(crate) use logs::{LogTail, Pattern, pattern};
pub(crate) use up::UP_VARIABLE;

use herm_wire::verdict::label;
use herm_wire::{Body, ExitCode, Op, ServiceView, State, nearest};

use crate::cli::{Cli, Command};
use crate::client::{Client, unexpected};
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::keeper;
use crate::top;

/// Carries out a command line.
pub(crate) fn run(cli: Cli) -> Outcome<ExitCode> {
    let context = Context::new(cli.globals)?;
    match cli.command {
        Command::Up { no_dashboard } => up::up(&context, no_dashboard),
        Command::Profile(command) => profile::run(&context, command).map(done),
        Command::Gateway(command) => gateway::run(&context, command),
        Command::Status(format) => supervisor::status(&context, format),
        Command::Health(args) => health::run(&context, &args),
        Command::Top => top::run(&context).map(done),
        Command::Logs(args) => logs::run(&context, &args.names, &args.view, args.format).map(done),
        Command::Events(args) => events::run(&context, &args).map(done),
        Command::Why(args) => supervisor::why(&context, &args).map(done),
        Command::Service(command) => service::run(&context, command),
        Command::Dashboard(args) => dashboard::run(&context, &args).map(done),
        Command::Reconcile(args) => supervisor::reconcile(&context, &args).map(done),
        Command::Setup(args) => setup::run(&context, &args),
        Command::SyncSkills => setup::sync_skills(&context),
        Command::Doctor(format) => doctor::run(&context, format),
        Command::Shutdown(args) => supervisor::shutdown(&context, &args).map(done),
        Command::Completions { shell } => pages::completions(shell).map(done),
        Command::Man { dir } => pages::man(dir.as_deref()).map(done),
        Command::Keeper => keeper::run(&context).map(done),
        Command::Probe(command) => probe::run(&command).map(done),
        #[cfg(feature = "generate")]
        Command::Generate { dir } => generate::run(&dir).map(done),
    }
}

fn done((): ()) -> ExitCode {
    ExitCode::Done
}

/// The exit code of a command that shows one service.
fn running_or_not(service: &ServiceView) -> ExitCode {
    match service.state {
        State::Running | State::Served | State::Remote => ExitCode::Done,
        State::Disabled
        | State::Down
        | State::Starting
        | State::Stopping
        | State::Backoff
        | State::Parked
        | State::Failed => ExitCode::NotRunning,
    }
}

/// The one service in a reply.
fn service_of(body: Body) -> Outcome<ServiceView> {
    match body {
        Body::Service { service, .. } => Ok(*service),
        other => Err(unexpected(&other)),
    }
}

/// A service by its name or its profile's; an unknown one is an error with the names there are.
fn named_service(client: &mut Client, name: &str) -> Outcome<ServiceView> {
    ask_about(
        client,
        name,
        &Op::Service {
            name: name.to_owned(),
        },
    )
    .and_then(service_of)
}

/// Asks something of a service; an unknown one is an error with the names there are.
fn ask_about(client: &mut Client, name: &str, op: &Op) -> Outcome<Body> {
    client
        .ask(op)
        .map_err(|failure| with_names(client, name, failure))
}

/// Adds the names there are, and the nearest, where a service isn't known.
fn with_names(client: &mut Client, name: &str, mut failure: Failure) -> Failure {
    if failure.code != ExitCode::NotFound {
        return failure;
    }
    let Ok((_, services)) = services_of(client) else {
        return failure;
    };
    let known = || services.iter().map(label);
    let near = nearest(name, known())
        .map(|near| format!(" (did you mean {near:?}?)"))
        .unwrap_or_default();
    if !near.is_empty() {
        // The supervisor's own, which says the same.
        failure.hint = None;
    }
    let names: Vec<&str> = known().collect();
    failure.message = format!("{}{near}; there are: {}", failure.message, names.join(", "));
    failure
}

/// All services, as the supervisor lists them.
fn services_of(client: &mut Client) -> Outcome<(String, Vec<ServiceView>)> {
    match client.ask(&Op::Status)? {
        Body::Services { instance, services } => Ok((instance, services)),
        other => Err(unexpected(&other)),
    }
}
