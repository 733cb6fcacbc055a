//! What happened to a service: its states as a bar, and every moment in words.

use herm_home::Home;
use maud::{Markup, html};

use super::parts::{clock, word_class};
use crate::history::{Moment, Reader, Spell};
use crate::words::{self, now_ms};

/// What the bar may span, in milliseconds, with the words at its left end and in its middle.
const SPANS: [(i64, &str, &str); 4] = [
    (10 * MINUTE_MS, "10 min ago", "5 min"),
    (60 * MINUTE_MS, "1 h ago", "30 min"),
    (6 * 60 * MINUTE_MS, "6 h ago", "3 h"),
    DAY,
];
const DAY: (i64, &str, &str) = (24 * 60 * MINUTE_MS, "24 h ago", "12 h");
const MINUTE_MS: i64 = 60_000;
/// Moments that are listed.
const MOMENTS: usize = 60;

/// What is recorded of a service.
#[derive(Debug, Default)]
pub(crate) struct Story {
    spells: Vec<Spell>,
    moments: Vec<Moment>,
}

impl Story {
    /// Reads the last day. No history, or none that can be read, is an empty story.
    pub(crate) fn read(home: &Home, service: &str) -> Self {
        let Some(reader) = Reader::open(home).ok().flatten() else {
            return Self::default();
        };
        let spells = reader.spells(service, now_ms() - DAY.0);
        let moments = reader.moments(Some(service), i64::MAX, MOMENTS);
        Self {
            spells: spells.unwrap_or_default(),
            moments: moments.unwrap_or_default(),
        }
    }
}

/// The card.
pub(crate) fn timeline(service: &str, story: &Story) -> Markup {
    html! {
        section.card #timeline data-part data-of=(service) {
            h2 { "What happened" }
            @if story.moments.is_empty() {
                p.hint { "Nothing is recorded yet." }
            } @else {
                (bar(&story.spells, now_ms()))
                div.scroll tabindex="0" role="group" aria-label="Events" {
                    table.events {
                        thead { tr { th scope="col" { "When (UTC)" } th scope="col" { "What" } th scope="col" { "Why" } } }
                        tbody { @for moment in &story.moments { (event(moment)) } }
                    }
                }
            }
        }
    }
}

/// A moment as a row.
fn event(moment: &Moment) -> Markup {
    let what = match (moment.kind.as_str(), moment.code, moment.signal) {
        ("exit", Some(code), _) => format!("exit {code}"),
        ("exit", None, Some(signal)) => words::signal(signal),
        ("order", ..) => "order".to_owned(),
        ("restart", ..) => "restart".to_owned(),
        _ => String::new(),
    };
    html! {
        tr {
            td { (clock(moment.at_ms)) }
            td {
                @if what.is_empty() { b class={ "p " (word_class(&moment.state)) } { (moment.state) } }
                @else { (what) }
            }
            td { (moment.words) }
        }
    }
}

/// The states of the last hours as a bar, a thousand units wide. It spans what is known, so that a
/// service that is a minute old has more to show than a line.
fn bar(spells: &[Spell], now: i64) -> Markup {
    let known = spells.first().map_or(0, |spell| now - spell.from_ms);
    let (span, left, middle) = SPANS
        .into_iter()
        .find(|(span, ..)| known <= *span)
        .unwrap_or(DAY);
    let from = now - span;
    let x = |ms: i64| (ms.clamp(from, now) - from) * 1000 / span;
    let ends = spells
        .iter()
        .skip(1)
        .map(|spell| spell.from_ms)
        .chain([now]);
    html! {
        svg.bar viewBox="0 0 1000 24" preserveAspectRatio="none" role="img" aria-label={ "States since " (left) "; the table below has them in words" } {
            rect.none x="0" y="0" width="1000" height="24" {}
            @for (spell, end) in spells.iter().zip(ends) {
                rect class=(word_class(&spell.state)) x=(x(spell.from_ms).min(996)) y="0" width=((x(end) - x(spell.from_ms)).max(4)) height="24" {
                    title { (spell.state) ": " (spell.words) }
                }
            }
        }
        p.scale { span { (left) } span { (middle) } span { "now" } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(age_ms: i64) -> String {
        let spell = Spell {
            from_ms: 1_000_000_000_000 - age_ms,
            state: "running".into(),
            words: "ready".into(),
        };
        bar(&[spell], 1_000_000_000_000).into_string()
    }

    #[test]
    fn the_bar_spans_what_is_known() {
        let young = drawn(5 * MINUTE_MS);
        assert!(young.contains("10 min ago") && young.contains("x=\"500\""));
        assert!(drawn(7 * 60 * MINUTE_MS).contains("24 h ago"));
        assert!(drawn(40 * 24 * 60 * MINUTE_MS).contains("x=\"0\" y=\"0\" width=\"1000\""));
    }
}
