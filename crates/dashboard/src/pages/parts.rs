//! Pieces that several pages are made of.

use herm_home::profile::ProfileInfo;
pub(crate) use herm_wire::verdict::is_in_trouble;
use herm_wire::verdict::state_word;
use herm_wire::{Kind, LastExit, ServiceView, State};
use maud::{Markup, PreEscaped, html};

use crate::orders::label;
use crate::sample::Sample;
use crate::words;

/// Samples that a sparkline in a table shows.
const SPARK_POINTS: usize = 16;
/// Its size in the units of its box.
const SPARK_HEIGHT: f64 = 18.0;
const SPARK_STEP: u32 = 4;

/// The state as a word in its colour.
pub(crate) fn pill(service: &ServiceView) -> Markup {
    let unhealthy = service.health.as_deref() == Some("unhealthy");
    let word = if unhealthy {
        "unhealthy"
    } else {
        state_word(service.state)
    };
    let class = if unhealthy {
        "p sf"
    } else {
        state_class(service.state)
    };
    html! { b class=(class) title=[meaning(service.state)] { (word) } }
}

/// What a state's word means, where it is not plain.
fn meaning(state: State) -> Option<&'static str> {
    match state {
        State::Backoff => Some("it failed and is started again after a while"),
        State::Parked => Some("it waits until its configuration changes, or for a start"),
        State::Failed => Some("it was given up; a start tries it again"),
        State::Served => Some("another profile's gateway does its work"),
        State::Remote => Some("another container of this home runs it; buttons reach it there"),
        State::Disabled => Some("it is switched off by a setting"),
        State::Down | State::Starting | State::Running | State::Stopping => None,
    }
}

/// The classes of a state: which colour it has.
pub(crate) fn state_class(state: State) -> &'static str {
    match state {
        State::Running => "p sr",
        State::Starting | State::Stopping => "p sb",
        State::Backoff => "p sw",
        State::Parked | State::Failed => "p sf",
        State::Served | State::Remote => "p sv",
        State::Down | State::Disabled => "p sd",
    }
}

/// The same for the word of a state, as the history has it.
pub(crate) fn word_class(word: &str) -> &'static str {
    match word {
        "running" => "sr",
        "starting" | "stopping" => "sb",
        "backoff" => "sw",
        "parked" | "failed" => "sf",
        "served" | "remote" => "sv",
        _ => "sd",
    }
}

/// How it ended the last time, in a few words.
pub(crate) fn exit_words(exit: &LastExit) -> String {
    match (exit.code, exit.signal) {
        (Some(code), _) => format!("exit {code}"),
        (None, Some(signal)) => words::signal(signal),
        (None, None) => "not started".to_owned(),
    }
}

/// Whether stopping it makes sense. Of what another instance runs only the record tells.
fn is_up(service: &ServiceView, info: Option<&ProfileInfo>) -> bool {
    match service.state {
        State::Starting | State::Running | State::Stopping | State::Backoff => true,
        State::Remote => {
            let desired = info.and_then(|info| info.desired);
            desired == Some(herm_home::Desired::Running)
        }
        State::Disabled | State::Down | State::Parked | State::Failed | State::Served => {
            service.pid.is_some()
        }
    }
}

/// Whether people order it: what herm is made of itself and the main program are not theirs to stop.
pub(crate) fn is_ordered_here(service: &ServiceView) -> bool {
    matches!(service.kind, Kind::Gateway | Kind::Service)
}

/// The verbs that make sense now, as buttons of the form with this id. `info`: what the home says of
/// the profile, where it is a gateway.
pub(crate) fn buttons(service: &ServiceView, info: Option<&ProfileInfo>, form: &str) -> Markup {
    let runs = is_up(service, info);
    let name = label(service);
    let target = &service.name;
    html! {
        @if service.state == State::Disabled {
        } @else if runs {
            (button(form, "restart", "Restart", target, name))
            (button(form, "stop", "Stop", target, name))
        } @else {
            (button(form, "start", "Start", target, name))
        }
    }
}

fn button(form: &str, verb: &str, word: &str, target: &str, name: &str) -> Markup {
    html! {
        button form=(form) name="do" value={ (verb) ":" (target) } aria-label={ (word) " " (name) } { (word) }
    }
}

/// The form that the buttons of a page belong to.
pub(crate) fn act_form(id: &str, csrf: &str, back: &str) -> Markup {
    html! {
        form id=(id) method="post" action="/act" data-quiet {
            input type="hidden" name="csrf" value=(csrf);
            input type="hidden" name="back" value=(back);
        }
    }
}

/// A line of the last samples, from 0 to `top`.
pub(crate) fn spark(values: impl DoubleEndedIterator<Item = f64>, top: f64) -> Markup {
    let mut newest: Vec<f64> = values.rev().take(SPARK_POINTS).collect();
    newest.reverse();
    let empty = SPARK_POINTS - newest.len();
    let mut path = String::new();
    for (index, value) in newest.iter().enumerate() {
        use std::fmt::Write as _;
        let x = u32::try_from(empty + index).unwrap_or(0) * SPARK_STEP;
        let command = if index == 0 { 'M' } else { ' ' };
        // Writing to a String cannot fail.
        let _ = write!(path, "{command}{x} {}", height(*value, top, SPARK_HEIGHT));
    }
    html! { svg viewBox="0 0 60 20" aria-hidden="true" { path d=(path) {} } }
}

/// Where a value is drawn: large ones at the top.
pub(crate) fn height(value: f64, top: f64, full: f64) -> String {
    let share = if top > 0.0 {
        (value / top).clamp(0.0, 1.0)
    } else {
        0.0
    };
    format!("{:.0}", full + 1.0 - share * full)
}

/// The largest value worth drawing a line for: a hundredth of a processor is not a mountain.
pub(crate) fn cpu_top(samples: &[Sample]) -> f64 {
    samples.iter().map(|sample| sample.cpu).fold(20.0, f64::max)
}

/// The largest memory of the samples, with a little room.
#[expect(clippy::cast_precision_loss, reason = "for a picture")]
pub(crate) fn memory_top(samples: &[Sample]) -> f64 {
    samples
        .iter()
        .map(|sample| sample.memory)
        .max()
        .unwrap_or(1) as f64
        * 1.25
}

/// A processor share.
pub(crate) fn percent(share: f64) -> String {
    if share < 9.95 {
        format!("{share:.1} %")
    } else {
        format!("{share:.0} %")
    }
}

/// Seconds since a time, kept up to date by the script.
pub(crate) fn since(at: &str, now_ms: i64) -> Markup {
    html! {
        @if let Some(then) = words::unix_ms(at) {
            time datetime=(at) data-s=(then) { (words::ago(at, now_ms)) }
        } @else {
            "–"
        }
    }
}

/// The same with "ago": one text, so that nothing moves when the number grows by a digit.
pub(crate) fn ago(at: &str, now_ms: i64) -> Markup {
    html! {
        @if let Some(then) = words::unix_ms(at) {
            time datetime=(at) data-s=(then) data-then=" ago" { (words::ago(at, now_ms)) " ago" }
        } @else {
            "–"
        }
    }
}

/// A time of the clock with its day, in UTC.
pub(crate) fn clock(ms: i64) -> Markup {
    let text = herm_wire::time::rfc3339(ms);
    let day = text.get(..10).unwrap_or_default();
    let time = text.get(11..19).unwrap_or_default();
    html! { time datetime=(text) { (day) " " (time) } }
}

/// Words that name commands between backticks, as on the command line.
pub(crate) fn prose(text: &str) -> Markup {
    html! {
        @for (index, piece) in text.split('`').enumerate() {
            @if index % 2 == 1 { code { (piece) } } @else { (piece) }
        }
    }
}

/// Nothing: a dash that is not read out.
pub(crate) const DASH: PreEscaped<&str> = PreEscaped("<i>–</i>");
