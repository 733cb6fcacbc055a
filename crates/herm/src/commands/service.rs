//! `herm service …`.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::path::Path;
use std::time::SystemTime;

use herm_home::secret::is_secret_variable;
use herm_wire::spec::{HealthSpec, LogSpec, ReadinessSpec, RestartSpec, StopSpec};
use herm_wire::{Body, Desired, EnvVar, ExitCode, Kind, Op, ServiceSpec};
use serde::Serialize;

use super::verbs::{Verb, order};
use super::{ask_about, named_service, running_or_not, service_of, services_of};
use crate::cli::{AddArgs, Format, Patience, ServiceCommand, ServiceVerb};
use crate::client::unexpected;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::launch::Why;
use crate::output::{Out, Table, Tone, describe, services_table};

/// Stands for the value of a secret.
const MASK: &str = "********";

/// Carries out a command of the family.
pub(super) fn run(context: &Context, command: ServiceCommand) -> Outcome<ExitCode> {
    match command {
        ServiceCommand::List(format) => list(context, format),
        ServiceCommand::Status { name, format } => status(context, &name, format),
        ServiceCommand::Start(args) => verb(context, Verb::Start, args),
        ServiceCommand::Stop(args) => verb(context, Verb::Stop, args),
        ServiceCommand::Restart(args) => verb(context, Verb::Restart, args),
        ServiceCommand::Signal(args) => plain(
            context,
            &args.name,
            &Op::Signal {
                name: args.name.clone(),
                signal: args.signal,
            },
        ),
        ServiceCommand::Wait(args) => {
            let timeout_ms = args
                .timeout
                .map(|limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX));
            let until = args.condition.into();
            plain(
                context,
                &args.name,
                &Op::Wait {
                    name: args.name.clone(),
                    until,
                    timeout_ms,
                },
            )
        }
        ServiceCommand::Add(args) => add(context, args),
        ServiceCommand::Remove { name } => {
            plain(context, &name, &Op::Unregister { name: name.clone() })
        }
        ServiceCommand::Env {
            name,
            show_secrets,
            format,
        } => env(context, &name, show_secrets, format),
        ServiceCommand::Reexec => plain(context, "", &Op::Reexec),
    }
}

fn list(context: &Context, format: Format) -> Outcome<ExitCode> {
    let (_, services) = services_of(&mut context.supervisor()?)?;
    let mut out = Out::stdout();
    if format.json {
        out.json(&services)?;
    } else {
        out.table(&services_table(&services))?;
    }
    out.flush()?;
    Ok(ExitCode::Done)
}

fn status(context: &Context, name: &str, format: Format) -> Outcome<ExitCode> {
    let service = named_service(&mut context.supervisor()?, name)?;
    let mut out = Out::stdout();
    if format.json {
        out.json(&service)?;
    } else {
        describe(&mut out, &service, SystemTime::now())?;
    }
    out.flush()?;
    Ok(running_or_not(&service))
}

fn verb(context: &Context, verb: Verb, args: ServiceVerb) -> Outcome<ExitCode> {
    let mut client = context.supervisor()?;
    order(
        context,
        &mut client,
        verb,
        &[args.name],
        false,
        (args.patience, args.format),
    )
}

/// A request whose success has nothing to say.
fn plain(context: &Context, name: &str, op: &Op) -> Outcome<ExitCode> {
    ask_about(&mut context.supervisor()?, name, op)?;
    Ok(ExitCode::Done)
}

fn add(context: &Context, args: AddArgs) -> Outcome<ExitCode> {
    let format = args.format;
    let starts = args.start;
    // Read before the process becomes the service user: the file is the caller's.
    let mut spec = match &args.file {
        Some(file) => read_spec(file)?,
        None => spec_of(args)?,
    };
    let name = spec.name.clone();
    if starts {
        // Ordered below: only the result of an order is waited for.
        spec.initial = Desired::Down;
    }
    let mut client = context.supervisor()?;
    client.ask(&Op::Register {
        spec: Box::new(spec),
    })?;
    if starts {
        let patience = Patience {
            no_wait: false,
            timeout: None,
        };
        let names = [name];
        return order(
            context,
            &mut client,
            Verb::Start,
            &names,
            false,
            (patience, format),
        );
    }
    let service = service_of(client.ask(&Op::Service { name })?)?;
    let mut out = Out::stdout();
    if format.json {
        out.json(&service)?;
    } else {
        out.line(format!("{} is supervised.", service.name))?;
    }
    out.flush()?;
    Ok(ExitCode::Done)
}

fn read_spec(file: &Path) -> Outcome<ServiceSpec> {
    let text = if file == Path::new("-") {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        fs::read_to_string(file)
    };
    let text = text.map_err(|error| Failure::file("read", file, &error))?;
    serde_json::from_str(&text).map_err(|error| {
        Failure::new(
            ExitCode::BadConfig,
            format!("{} is no service specification: {error}", file.display()),
        )
        .hint("docs/reference/control.schema.json has its shape (`ServiceSpec`)")
    })
}

fn spec_of(args: AddArgs) -> Outcome<ServiceSpec> {
    let cwd = args.cwd.map(|dir| match dir.canonicalize() {
        Ok(dir) => Ok(dir.to_string_lossy().into_owned()),
        Err(error) => Err(Failure::file("use", &dir, &error)),
    });
    let origin = "herm service add";
    let variable = |(name, value)| {
        (
            name,
            EnvVar {
                value,
                origin: origin.to_owned(),
            },
        )
    };
    Ok(ServiceSpec {
        name: args.name.unwrap_or_default(),
        kind: Kind::Service,
        profile: None,
        argv: args.argv,
        env: args
            .env
            .into_iter()
            .map(variable)
            .collect::<BTreeMap<_, _>>(),
        unset_env: Vec::new(),
        cwd: cwd.transpose()?,
        user: None,
        oneshot: false,
        requires: Vec::new(),
        after: Vec::new(),
        readiness: ReadinessSpec::None,
        health: None::<HealthSpec>,
        restart: RestartSpec::default(),
        stop: StopSpec::default(),
        finish: None,
        log: LogSpec::default(),
        port: None,
        initial: Desired::Down,
        disabled: None,
    })
}

/// A variable of a service's environment, or one of the container's that it does not get.
#[derive(Debug, Serialize)]
struct Variable {
    name: String,
    value: Option<String>,
    origin: String,
}

fn not_given(name: String) -> Variable {
    let why = Why::of(&name).map_or("only root's processes get it", Why::words);
    Variable {
        origin: format!("container; {why}"),
        value: None,
        name,
    }
}

fn env(context: &Context, name: &str, show_secrets: bool, format: Format) -> Outcome<ExitCode> {
    let (entries, withheld) = match ask_about(
        &mut context.supervisor()?,
        name,
        &Op::Env {
            name: name.to_owned(),
        },
    )? {
        Body::Env { entries, withheld } => (entries, withheld),
        other => return Err(unexpected(&other)),
    };
    let given = entries.into_iter().map(|entry| {
        let is_secret = !entry.value.is_empty() && is_secret_variable(&entry.name, &entry.value);
        Variable {
            name: entry.name,
            value: Some(if is_secret && !show_secrets {
                MASK.to_owned()
            } else {
                entry.value
            }),
            origin: entry.origin,
        }
    });
    let mut variables: Vec<Variable> = given.chain(withheld.into_iter().map(not_given)).collect();
    variables.sort_by(|a, b| a.name.cmp(&b.name));
    let mut out = Out::stdout();
    if format.json {
        out.json(&variables)?;
    } else {
        let mut table = Table::new(&["NAME", "ORIGIN", "VALUE"]);
        for variable in variables {
            let value = match variable.value {
                Some(value) => (value, Tone::Plain),
                None => ("(not given)".to_owned(), Tone::Dim),
            };
            table.row(vec![
                (variable.name, Tone::Plain),
                (variable.origin, Tone::Dim),
                value,
            ]);
        }
        out.table(&table)?;
    }
    out.flush()?;
    Ok(ExitCode::Done)
}
