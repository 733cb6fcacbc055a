//! Five minutes of memory and processor, as pictures with their numbers. A page that is live goes on
//! drawing them itself, from the stream and from what is said here about each (`script.js`).

use herm_wire::ServiceView;
use maud::{Markup, html};

use super::parts::{height, percent};
use crate::app::App;
use crate::sample::KEPT;
use crate::words;

/// How one of them is drawn.
struct Chart {
    title: &'static str,
    /// What stands in front of the greatest value.
    most: &'static str,
    /// The scale ends no lower than at this.
    floor: f64,
    /// Room above the greatest value, as a factor.
    room: f64,
    words: fn(f64) -> String,
}

const CPU: Chart = Chart {
    title: "CPU",
    most: "top of the scale",
    floor: 20.0,
    room: 1.0,
    words: percent,
};

const MEMORY: Chart = Chart {
    title: "Memory",
    most: "most",
    floor: 0.0,
    room: 1.25,
    words: bytes,
};

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it was a number of bytes"
)]
fn bytes(count: f64) -> String {
    words::bytes(count as u64)
}

/// Both, of a service that was measured or may be.
#[expect(clippy::cast_precision_loss, reason = "for a picture")]
pub(crate) fn charts(app: &App, service: &ServiceView) -> Markup {
    let samples = app.samples.of(&service.name);
    let cpu: Vec<f64> = samples.iter().map(|sample| sample.cpu).collect();
    let memory: Vec<f64> = samples.iter().map(|sample| sample.memory as f64).collect();
    html! {
        div.charts #charts data-part data-n=(service.name) {
            (CPU.card(&cpu))
            (MEMORY.card(&memory))
        }
    }
}

impl Chart {
    fn card(&self, values: &[f64]) -> Markup {
        let most = values.iter().copied().fold(self.floor, f64::max);
        let exact: Vec<String> = values.iter().map(|value| format!("{value:.2}")).collect();
        html! {
            section.card data-v=(exact.join(" ")) data-floor=(self.floor) data-room=(self.room) {
                h2 { (self.title) }
                p.big { (values.last().map_or("–".to_owned(), |newest| (self.words)(*newest))) }
                (picture(values, most * self.room))
                p.scale {
                    span { "5 min ago" }
                    span { (self.most) " " span.most { ((self.words)(most)) } }
                    span { "now" }
                }
            }
        }
    }
}

/// Five minutes as an area.
fn picture(values: &[f64], top: f64) -> Markup {
    use std::fmt::Write as _;
    let first = KEPT.saturating_sub(values.len());
    let mut line = String::new();
    for (index, value) in values.iter().enumerate() {
        // Writing to a String cannot fail.
        let _ = write!(
            line,
            " {} {}",
            (first + index) * 5,
            height(*value, top, 58.0)
        );
    }
    let last = (first + values.len().saturating_sub(1)) * 5;
    html! {
        svg.chart viewBox="0 0 295 60" preserveAspectRatio="none" role="img" aria-label="The last five minutes" {
            @if values.len() > 1 {
                path.area d={ "M" (first * 5) " 60 L" (line) " " (last) " 60 Z" } {}
                path.line d={ "M" (line) } {}
            }
        }
    }
}
