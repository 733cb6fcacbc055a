//! `herm events`.

use herm_wire::{Desired, Event, EventBody, ServiceView};

use crate::cli::EventsArgs;
use crate::context::Context;
use crate::failure::Outcome;
use crate::output::{Out, Tone, tone_of, word};

/// Prints what happens. Without `-f` only what is so now: the snapshot every stream begins with.
pub(super) fn run(context: &Context, args: &EventsArgs) -> Outcome {
    let mut stream = context.supervisor()?.subscribe();
    let mut out = Out::stdout();
    loop {
        let event = stream.next()?;
        if args.format.json {
            out.json_line(&event)?;
        } else {
            print(&mut out, &event)?;
        }
        out.flush()?;
        if !args.follow {
            return Ok(());
        }
    }
}

fn print(out: &mut Out, event: &Event) -> Outcome {
    if let EventBody::Snapshot(snapshot) = &event.body {
        return snapshot.services.iter().try_for_each(|service| {
            let text = changed(out, service);
            stamped(out, event, &text)
        });
    }
    let text = match &event.body {
        EventBody::Snapshot(_) => return Ok(()),
        EventBody::Changed { service } => changed(out, service),
        EventBody::Removed { name, .. } => format!("{name}  removed"),
        EventBody::Order { order } => {
            let want = match order.want {
                Desired::Up => "up",
                Desired::Down => "down",
            };
            format!("{}  ordered {want} by {}", order.name, order.by)
        }
        EventBody::ReconcileRequested { .. } => {
            "the keeper is asked to look at the home".to_owned()
        }
        EventBody::Notice { message } => message.clone(),
        EventBody::Booted => "booted".to_owned(),
        EventBody::ShuttingDown => "shutting down".to_owned(),
    };
    stamped(out, event, &text)
}

fn stamped(out: &mut Out, event: &Event, text: &str) -> Outcome {
    let at = out.paint(&event.at, Tone::Dim);
    out.line(format!("{at}  {text}"))
}

fn changed(out: &Out, service: &ServiceView) -> String {
    let state = out.paint(word(service.state), tone_of(service.state));
    let mut line = format!("{}  {state}", service.name);
    for detail in [Some(&service.reason), service.next.as_ref()]
        .into_iter()
        .flatten()
    {
        if !detail.is_empty() {
            line.push_str("  ");
            line.push_str(detail);
        }
    }
    line
}
