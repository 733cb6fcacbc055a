//! `herm gateway …`: the gateways of profiles.

use std::time::SystemTime;

use herm_home::{Desired, Home, ProfileName, intent, owner, withdrawn};
use herm_wire::{ErrorCode, ExitCode, Kind, Op, ServiceView, State};

use super::verbs::{Verb, order, print};
use super::{foreground, logs, remote, running_or_not, service_of, services_of};
use crate::cli::{Format, GatewayCommand, Lifecycle, Patience, RunArgs, Selected};
use crate::client::Client;
use crate::context::{Context, home_failure, no_supervisor};
use crate::failure::{Failure, Outcome};
use crate::identity;
use crate::keeper;
use crate::output::{Out, describe, services_table};

/// Carries out a command of the family.
pub(super) fn run(context: &Context, command: GatewayCommand) -> Outcome<ExitCode> {
    match command {
        GatewayCommand::Run(args) => run_gateway(context, &args),
        GatewayCommand::Start(args) => verb(context, Verb::Start, &args),
        GatewayCommand::Stop(args) => verb(context, Verb::Stop, &args),
        GatewayCommand::Restart(args) => verb(context, Verb::Restart, &args),
        GatewayCommand::Status(args) => status(context, args),
        GatewayCommand::List(format) => list(context, format),
        GatewayCommand::Logs { view, format } => {
            logs::run(context, &[], &view, format).map(|()| ExitCode::Done)
        }
        GatewayCommand::Install => install(context),
        GatewayCommand::Uninstall => uninstall(),
    }
}

/// Through the supervisor where one answers, following its log; else here.
fn run_gateway(context: &Context, args: &RunArgs) -> Outcome<ExitCode> {
    let profile = context.profile()?;
    if args.no_supervise || foreground::is_supervised_child() {
        context.leave_root()?;
        context.check_exists(&profile)?;
        return foreground::run(context, &profile, args.replace);
    }
    let Some(mut client) = context.open()? else {
        context.check_exists(&profile)?;
        return foreground::run(context, &profile, args.replace);
    };
    want_registered(context, &mut client, &profile)?;
    let format = Format { json: false };
    let patience = Patience {
        no_wait: false,
        timeout: None,
    };
    let code = order(
        context,
        &mut client,
        Verb::Start,
        &[profile.service()],
        false,
        (patience, format),
    )?;
    if code != ExitCode::Done {
        return Ok(code);
    }
    eprintln!(
        "herm: {profile} is supervised and goes on without this command; its log follows (Ctrl-C ends only that)"
    );
    logs::follow_profile(context, &profile).map(|()| ExitCode::Done)
}

fn verb(context: &Context, verb: Verb, args: &Lifecycle) -> Outcome<ExitCode> {
    let Some(mut client) = context.open()? else {
        return without_supervisor(context, verb, args);
    };
    let names = if args.all {
        let (_, services) = services_of(&mut client)?;
        gateways(&services)
            .map(|service| service.name.clone())
            .collect()
    } else {
        let profile = context.profile()?;
        want_registered(context, &mut client, &profile)?;
        if verb != Verb::Stop {
            prepare_start(context, &mut client, &profile)?;
        }
        vec![profile.service()]
    };
    order(
        context,
        &mut client,
        verb,
        &names,
        args.all,
        (args.patience, args.format),
    )
}

/// A profile that exists and that the supervisor doesn't know is one the keeper has not seen yet
/// (made a moment ago, or on a file system without notifications): let it look. One that doesn't
/// exist is an error with the names that do.
fn register_if_new(context: &Context, client: &mut Client, profile: &ProfileName) -> Outcome {
    match client
        .ask(&Op::Service {
            name: profile.service(),
        })
        .and_then(service_of)
    {
        // A slot that the keeper has not looked at yet.
        Ok(service) if service.state == State::Disabled => Context::settle(Some(client)),
        Ok(_) => Ok(()),
        Err(failure) if failure.code == ExitCode::from(ErrorCode::NotFound) => {
            context.check_exists(profile)?;
            Context::settle(Some(client))
        }
        Err(failure) => Err(failure),
    }
}

/// The same for a verb, which also brings back what was taken out of the scan directory.
fn want_registered(context: &Context, client: &mut Client, profile: &ProfileName) -> Outcome {
    context.leave_root()?;
    withdrawn::forget(context.home(), profile).map_err(home_failure)?;
    register_if_new(context, client, profile)
}

/// What has to be so before a start makes sense: what the profile needs is nobody else's (L14),
/// and no gateway of it runs outside supervision; one that does is taken over from (L12).
fn prepare_start(context: &Context, client: &mut Client, profile: &ProfileName) -> Outcome {
    let service = service_of(client.ask(&Op::Service {
        name: profile.service(),
    })?)?;
    // Where another instance runs it, that one looks.
    if service.pid.is_some() || service.owner.is_some() {
        return Ok(());
    }
    make_way(context.home(), profile)?;
    if let Some(port) = keeper::renew_its_port(context.home(), profile)? {
        eprintln!("herm: the port of {profile} is somebody else's by now; it gets {port}");
        // It is registered with it before it starts.
        Context::settle(Some(client))?;
    }
    Ok(())
}

/// See [`prepare_start`]; of a gateway that is known not to run under supervision.
pub(super) fn make_way(home: &Home, profile: &ProfileName) -> Outcome {
    if let Some(clash) = keeper::clash(home, profile)? {
        return Err(clash);
    }
    foreground::end_foreign(home, profile)
}

/// Nobody supervises: intent is what can be changed. It is carried out by the next supervisor.
fn without_supervisor(context: &Context, verb: Verb, args: &Lifecycle) -> Outcome<ExitCode> {
    let profiles = if args.all {
        context.discover()?.profiles
    } else {
        vec![context.existing_profile()?]
    };
    if let Some(owner) = remote::owner_by_files(context) {
        return through_the_home(context, &owner, verb, &profiles, args);
    }
    let desired = match verb {
        Verb::Start => Desired::Running,
        Verb::Stop => Desired::Stopped,
        Verb::Restart => return Err(no_supervisor(context.home().root(), ExitCode::NotRunning)),
    };
    let by = format!("{} by gateway {}", identity::who(), verb.word());
    for profile in &profiles {
        let paths = context.home().profile(profile);
        intent::record(&paths, desired, &by, SystemTime::now()).map_err(home_failure)?;
        let foreign = owner::find(&paths, std::path::Path::new("/proc"))
            .ok()
            .flatten();
        if let Some(owner) = foreign.filter(|_| verb == Verb::Stop) {
            eprintln!(
                "herm: {profile}: a gateway runs without a supervisor (pid {}); end it yourself",
                owner.pid
            );
        }
    }
    let names: Vec<&str> = profiles.iter().map(ProfileName::as_str).collect();
    let hint = no_supervisor(context.home().root(), ExitCode::NotRunning);
    if verb == Verb::Start {
        return Err(Failure {
            message: format!(
                "recorded that {} should run, but nothing runs now: {}",
                names.join(", "),
                hint.message
            ),
            ..hint
        });
    }
    let mut out = Out::stdout();
    out.line(format!(
        "Recorded that {} should not run; {}.",
        names.join(", "),
        hint.message
    ))?;
    out.flush()?;
    Ok(ExitCode::Done)
}

/// No supervisor answers here, but one that shares the home does.
fn through_the_home(
    context: &Context,
    owner: &str,
    verb: Verb,
    profiles: &[ProfileName],
    args: &Lifecycle,
) -> Outcome<ExitCode> {
    let mut services = Vec::new();
    for profile in profiles {
        let asked = (verb.for_owner(), profile.as_str());
        services.push(remote::order(context, owner, asked, args.patience)?);
    }
    print(&services, args.all, args.format)?;
    Ok(ExitCode::Done)
}

fn status(context: &Context, args: Selected) -> Outcome<ExitCode> {
    if args.all {
        return list(context, args.format);
    }
    let Some(mut client) = context.open()? else {
        context.existing_profile()?;
        return Err(no_supervisor(context.home().root(), ExitCode::NotRunning));
    };
    let profile = context.profile()?;
    register_if_new(context, &mut client, &profile)?;
    let asked = client.ask(&Op::Service {
        name: profile.service(),
    });
    let service = service_of(asked.map_err(|failure| Failure {
        hint: Some(format!(
            "its directory was taken out of the scan directory; `herm -p {profile} gateway start` \
             brings it back"
        )),
        ..failure
    })?)?;
    let mut out = Out::stdout();
    if args.format.json {
        out.json(&service)?;
    } else {
        describe(&mut out, &service, SystemTime::now())?;
    }
    out.flush()?;
    Ok(running_or_not(&service))
}

fn list(context: &Context, format: Format) -> Outcome<ExitCode> {
    let Some(mut client) = context.open()? else {
        return Err(no_supervisor(context.home().root(), ExitCode::NotRunning));
    };
    let (_, services) = services_of(&mut client)?;
    let gateways: Vec<&ServiceView> = gateways(&services).collect();
    let mut out = Out::stdout();
    if format.json {
        out.json(&gateways)?;
    } else {
        out.table(&services_table(gateways))?;
    }
    out.flush()?;
    Ok(ExitCode::Done)
}

fn gateways(services: &[ServiceView]) -> impl Iterator<Item = &ServiceView> {
    services
        .iter()
        .filter(|service| service.kind == Kind::Gateway)
}

fn install(context: &Context) -> Outcome<ExitCode> {
    let profile = context.existing_profile()?;
    say(&format!(
        "There is nothing to install: every profile is registered by itself. To have {profile} run \
         now and after every restart: herm -p {profile} gateway start"
    ))
}

fn uninstall() -> Outcome<ExitCode> {
    say(
        "There is nothing to uninstall: a stopped gateway stays down (`herm -p NAME gateway stop`), and \
         `herm profile delete NAME` removes a profile with its gateway",
    )
}

fn say(text: &str) -> Outcome<ExitCode> {
    let mut out = Out::stdout();
    out.line(text)?;
    out.flush()?;
    Ok(ExitCode::Done)
}
