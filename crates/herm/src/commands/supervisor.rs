//! Commands about everything at once: `status`, `why`, `reconcile`, `shutdown`.

use std::time::SystemTime;

use herm_wire::{Body, BootStep, ExitCode, Op, ServiceView, State};
use serde::Serialize;

use super::{logs, named_service, services_of};
use crate::cli::{Format, ReconcileArgs, ShutdownArgs, WhyArgs};
use crate::client::Client;
use crate::context::{Context, no_supervisor};
use crate::failure::Outcome;
use crate::keeper;
use crate::launch::LaunchFacts;
use crate::output::{Out, Tone, explain, services_tree, verdict_now};

/// `herm status --json`.
#[derive(Debug, Serialize)]
struct Status<'a> {
    verdict: String,
    manager: &'static str,
    instance: Option<&'a str>,
    services: &'a [ServiceView],
    boot: BootTroubles,
}

/// What did not go as it should at boot (L89).
#[derive(Debug, Default, Serialize)]
struct BootTroubles {
    /// Steps that failed, hook scripts among them.
    failed: Vec<BootStep>,
    warnings: Vec<String>,
}

impl BootTroubles {
    fn of(client: &mut Client) -> Outcome<Self> {
        let Body::Boot(report) = client.ask(&Op::Boot)? else {
            return Ok(Self::default());
        };
        let mut failed = report.steps;
        failed.retain(|step| step.error.is_some());
        Ok(Self {
            failed,
            warnings: report.warnings,
        })
    }

    fn print(&self, out: &mut Out) -> Outcome {
        for step in &self.failed {
            let why = step.error.as_deref().unwrap_or_default();
            let line = format!("Boot: {} failed: {why}", step.name);
            let painted = out.paint(&line, Tone::Bad);
            out.line(painted)?;
        }
        let told = |warning: &str| {
            let mut errors = self.failed.iter().filter_map(|step| step.error.as_deref());
            errors.any(|error| warning.contains(error))
        };
        for warning in self.warnings.iter().filter(|warning| !told(warning)) {
            let line = format!("Boot: warning: {warning}");
            let painted = out.paint(&line, Tone::Busy);
            out.line(painted)?;
        }
        Ok(())
    }
}

/// `herm status`: the verdict, then the tree.
pub(super) fn status(context: &Context, format: Format) -> Outcome<ExitCode> {
    let mut out = Out::stdout();
    let Some(mut client) = context.open()? else {
        return no_status(context, format, &mut out);
    };
    let (instance, services) = services_of(&mut client)?;
    let verdict = verdict_now(&services, SystemTime::now());
    let boot = BootTroubles::of(&mut client)?;
    if format.json {
        out.json(&Status {
            verdict,
            manager: "herm",
            instance: Some(&instance),
            services: &services,
            boot,
        })?;
    } else {
        print_status(&mut out, &client, &verdict, &services, &boot)?;
    }
    out.flush()?;
    Ok(ExitCode::Done)
}

fn print_status(
    out: &mut Out,
    client: &Client,
    verdict: &str,
    services: &[ServiceView],
    boot: &BootTroubles,
) -> Outcome {
    let hello = client.hello();
    let painted = out.paint(verdict, Tone::Bold);
    out.line(painted)?;
    out.line(format!(
        "Manager: herm (container supervisor), pid {}",
        hello.pid
    ))?;
    if !hello.booted {
        let remark =
            "the boot is not over: setup is at work; the container's log names what takes long";
        out.line(out.paint(remark, Tone::Busy))?;
    }
    if let Some(home) = &hello.home {
        out.line(format!("Home: {home}"))?;
        if !hello.keeper {
            let remark = out.paint(
                "the keeper is not attached: profiles are not followed",
                Tone::Busy,
            );
            out.line(remark)?;
        }
    }
    boot.print(out)?;
    out.line("")?;
    services_tree(out, services, last_said)
}

fn no_status(context: &Context, format: Format, out: &mut Out) -> Outcome<ExitCode> {
    let failure = no_supervisor(context.home().root(), ExitCode::NotRunning);
    if !format.json {
        return Err(failure);
    }
    out.json(&Status {
        verdict: failure.message,
        manager: "none",
        instance: None,
        services: &[],
        boot: BootTroubles::default(),
    })?;
    out.flush()?;
    Ok(ExitCode::NotRunning)
}

/// What a service that has failed said last: mostly the reason.
fn last_said(service: &ServiceView) -> Option<String> {
    let failed = matches!(
        service.state,
        State::Parked | State::Backoff | State::Failed
    );
    failed.then(|| logs::last_line(service)).flatten()
}

/// `herm why NAME`.
pub(super) fn why(context: &Context, args: &WhyArgs) -> Outcome {
    #[derive(Serialize)]
    struct Why<'a> {
        name: &'a str,
        #[serde(rename = "why")]
        sentence: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        last_line: Option<String>,
        service: &'a ServiceView,
    }
    let service = named_service(&mut context.supervisor()?, &args.name)?;
    let last_line = last_said(&service);
    let sentence = explain(&service, SystemTime::now());
    let mut out = Out::stdout();
    if args.format.json {
        out.json(&Why {
            name: &service.name,
            sentence,
            last_line,
            service: &service,
        })?;
    } else {
        out.line(sentence)?;
        if let Some(line) = last_line {
            out.line(format!("  | {line}"))?;
        }
    }
    out.flush()
}

/// `herm reconcile`.
pub(super) fn reconcile(context: &Context, args: &ReconcileArgs) -> Outcome {
    let mut client = context.supervisor()?;
    if args.dry_run {
        return dry_run(context, &mut client, args.format);
    }
    let timeout_ms = args
        .timeout
        .map(|limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX));
    client.ask(&Op::Reconcile { timeout_ms })?;
    check_settings(context)?;
    let mut out = Out::stdout();
    if args.format.json {
        out.json(&serde_json::json!({ "reconciled": true }))?;
    } else {
        out.line("The services are in line with the home.")?;
    }
    out.flush()
}

/// The keeper goes on with the settings it had where it can't read the new ones, and every profile
/// is registered by them. Whoever asked has to know that what they wrote isn't in force.
fn check_settings(context: &Context) -> Outcome {
    LaunchFacts::current(context.home())
        .map(drop)
        .map_err(|failure| {
            failure.hint(
                "the profiles are in line by the settings as they were before; correct what is \
                 named, then `herm reconcile` again",
            )
        })
}

fn dry_run(context: &Context, client: &mut Client, format: Format) -> Outcome {
    let (_, services) = services_of(client)?;
    let steps = keeper::what_would_be_done(context, &services)?;
    let mut out = Out::stdout();
    if format.json {
        out.json(&steps)?;
    } else if steps.is_empty() {
        out.line("Nothing to do: the services are in line with the home.")?;
    } else {
        for step in &steps {
            out.line(step)?;
        }
    }
    out.flush()
}

/// `herm shutdown`. Ends when the supervisor has gone.
pub(super) fn shutdown(context: &Context, args: &ShutdownArgs) -> Outcome {
    let mut client = context.supervisor()?;
    client.ask(&Op::Shutdown {
        exit_code: args.exit_code,
    })?;
    client.wait_for_end();
    Ok(())
}
