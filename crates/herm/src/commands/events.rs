//! `herm events`: what has happened ([`past`]) and what happens, a line each.

mod past;

use herm_wire::verdict::label;
use herm_wire::{Desired, Event, EventBody, ServiceView};
use serde::Serialize;

use crate::cli::EventsArgs;
use crate::client::{Client, EventStream};
use crate::context::Context;
use crate::failure::Outcome;
use crate::output::{Out, Tone, cause, plain, tone_of, word};

/// Prints what is kept, what happens, or the one after the other.
pub(super) fn run(context: &Context, args: &EventsArgs) -> Outcome {
    let mut printer = Printer::new(args);
    if !args.follow {
        // It needs no supervisor, but the home's user. Where there is one it says how much is to come.
        let client = context.open()?;
        let told = client.and_then(|client| Told::by(client).ok());
        let kept = told.as_ref().and_then(Told::kept);
        return past::print(context, args, &mut printer, kept).map(drop);
    }
    let mut told = Told::by(context.supervisor()?)?;
    let mut reach = 0;
    if args.lines.is_some() || args.since.is_some() {
        reach = past::print(context, args, &mut printer, told.kept())?;
    }
    if reach < told.snapshot.seq {
        printer.event(&told.snapshot)?;
    }
    loop {
        let event = told.stream.next()?;
        if event.seq > reach || !is_kept(&event.body) {
            printer.event(&event)?;
        }
    }
}

/// What a supervisor tells: how things stand, and what happens from then on.
struct Told {
    /// Whether it has a keeper, which writes the history.
    has_keeper: bool,
    instance: String,
    snapshot: Event,
    stream: EventStream,
}

impl Told {
    fn by(client: Client) -> Outcome<Self> {
        let hello = client.hello();
        let (has_keeper, instance) = (hello.keeper, hello.instance.clone());
        let mut stream = client.subscribe();
        Ok(Self {
            has_keeper,
            instance,
            snapshot: stream.next()?,
            stream,
        })
    }

    /// Which of its events will be in the history, where somebody writes it: up to this one of this run.
    fn kept(&self) -> Option<(&str, u64)> {
        let last = (self.instance.as_str(), self.snapshot.seq);
        self.has_keeper.then_some(last)
    }
}

/// Whether an event is in the history too.
fn is_kept(event: &EventBody) -> bool {
    matches!(event, EventBody::Changed { .. } | EventBody::Removed { .. })
}

/// Whether a service is one of those that are named; all are where none is.
fn is_named(names: &[String], service: &str, profile: Option<&str>) -> bool {
    let is_it = |name: &String| {
        let name = name.trim().to_lowercase();
        name == service || Some(name.as_str()) == profile
    };
    names.is_empty() || names.iter().any(is_it)
}

/// What both kinds of lines are printed with.
struct Printer<'a> {
    out: Out,
    json: bool,
    names: &'a [String],
    /// Columns of the widest name so far.
    width: usize,
}

impl<'a> Printer<'a> {
    fn new(args: &'a EventsArgs) -> Self {
        Self {
            out: Out::stdout(),
            json: args.format.json,
            names: &args.names,
            width: 10,
        }
    }

    fn json(&mut self, value: &impl Serialize) -> Outcome {
        self.out.json_line(value)
    }

    /// `time  who  what  why`.
    fn line(&mut self, at: &str, who: &str, what: (&str, Tone), why: &str) -> Outcome {
        self.width = self.width.max(who.chars().count());
        let at = self.out.paint(at, Tone::Dim);
        let state = self.out.paint(&format!("{:<9}", what.0), what.1);
        let why = plain(why);
        let line = format!("{at}  {who:<width$}  {state}  {why}", width = self.width);
        self.out.line(line.trim_end())
    }

    fn event(&mut self, event: &Event) -> Outcome {
        if !self.is_wanted(&event.body) {
            return Ok(());
        }
        if self.json {
            self.json(event)?;
        } else {
            self.show(event)?;
        }
        self.out.flush()
    }

    /// Who asks for some services is not told of the whole.
    fn is_wanted(&self, event: &EventBody) -> bool {
        match event {
            EventBody::Changed { service } => {
                is_named(self.names, &service.name, service.profile.as_deref())
            }
            EventBody::Removed { name, .. } => is_named(self.names, name, profile_of(name)),
            EventBody::Order { order } => {
                is_named(self.names, &order.name, profile_of(&order.name))
            }
            EventBody::Snapshot(_) => true,
            _ => self.names.is_empty(),
        }
    }

    fn show(&mut self, event: &Event) -> Outcome {
        let at = &event.at;
        match &event.body {
            EventBody::Snapshot(snapshot) => snapshot
                .services
                .iter()
                .filter(|service| is_named(self.names, &service.name, service.profile.as_deref()))
                .try_for_each(|service| self.changed(at, service)),
            EventBody::Changed { service } => self.changed(at, service),
            EventBody::Removed { name, .. } => {
                self.line(at, short(name), ("removed", Tone::Dim), "unregistered")
            }
            EventBody::Order { order } => {
                let want = match order.want {
                    Desired::Up => "up",
                    Desired::Down => "down",
                };
                let why = format!("{want}, by {}", order.by);
                self.line(at, short(&order.name), ("ordered", Tone::Bold), &why)
            }
            EventBody::ReconcileRequested { .. } => {
                let why = "the keeper is asked to look at the home";
                self.line(at, "herm", ("keeper", Tone::Dim), why)
            }
            EventBody::Notice { message } => self.line(at, "herm", ("notice", Tone::Busy), message),
            EventBody::Booted => self.line(at, "herm", ("booted", Tone::Good), ""),
            EventBody::ShuttingDown => self.line(at, "herm", ("stopping", Tone::Busy), ""),
        }
    }

    fn changed(&mut self, at: &str, service: &ServiceView) -> Outcome {
        let state = (word(service.state), tone_of(service.state));
        let words = [Some(cause(&service.reason)), service.next.clone()];
        let words: Vec<String> = words.into_iter().flatten().collect();
        let why = words.iter().filter(|words| !words.is_empty());
        let why: Vec<&str> = why.map(String::as_str).collect();
        self.line(at, label(service), state, &why.join("; "))
    }
}

/// A gateway by its profile, any other service by its name.
fn short(name: &str) -> &str {
    profile_of(name).unwrap_or(name)
}

fn profile_of(name: &str) -> Option<&str> {
    name.strip_prefix("gateway-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_meant_by_its_name_and_by_its_profiles() {
        let names = ["writer".to_owned(), "dashboard".to_owned()];
        assert!(is_named(&names, "gateway-writer", Some("writer")));
        assert!(is_named(&names, "dashboard", None));
        assert!(!is_named(&names, "gateway-coder", Some("coder")));
        assert!(is_named(&[], "gateway-coder", Some("coder")));
    }
}
