//! Five minutes of memory and processor, as pictures with their numbers.

use herm_wire::ServiceView;
use maud::{Markup, html};

use super::parts::{height, percent};
use crate::app::App;
use crate::words;

/// Both, of a service that was measured or may be.
#[expect(clippy::cast_precision_loss, reason = "for a picture")]
pub(crate) fn charts(app: &App, service: &ServiceView) -> Markup {
    let samples = app.samples.of(&service.name);
    let cpu: Vec<f64> = samples.iter().map(|sample| sample.cpu).collect();
    let memory: Vec<f64> = samples.iter().map(|sample| sample.memory as f64).collect();
    let newest = samples.last();
    let most = samples
        .iter()
        .map(|sample| sample.memory)
        .max()
        .unwrap_or(0);
    let cpu_top = cpu.iter().copied().fold(20.0, f64::max);
    let memory_top = memory.iter().copied().fold(1.0, f64::max) * 1.25;
    html! {
        div.charts #charts data-part data-tick {
            section.card {
                h2 { "CPU" }
                p.big { (newest.map_or("–".to_owned(), |s| percent(s.cpu))) }
                (chart(&cpu, cpu_top))
                p.scale { span { "5 min ago" } span { "top of the scale " (percent(cpu_top)) } span { "now" } }
            }
            section.card {
                h2 { "Memory" }
                p.big { (newest.map_or("–".to_owned(), |s| words::bytes(s.memory))) }
                (chart(&memory, memory_top))
                p.scale { span { "5 min ago" } span { "most " (words::bytes(most)) } span { "now" } }
            }
        }
    }
}

/// Five minutes as an area.
fn chart(values: &[f64], top: f64) -> Markup {
    use std::fmt::Write as _;
    let first = 60_usize.saturating_sub(values.len());
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
