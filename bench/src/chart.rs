//! Bar charts as SVG, readable on light and dark pages.

use std::fmt::Write as _;

use crate::report::Table;

const WIDTH: f64 = 720.0;
const LABEL: f64 = 190.0;
const BAR: f64 = 22.0;
const STEP: f64 = 32.0;
const TOP: f64 = 34.0;

/// A bar per contender, as long as its median; a thin line from the least to the greatest sample.
pub(crate) fn draw(table: &Table) -> String {
    let longest = table
        .lines
        .iter()
        .map(|line| line.greatest)
        .fold(f64::MIN_POSITIVE, f64::max);
    let room = WIDTH - LABEL - 110.0;
    let mut y = TOP;
    let mut bars = String::new();
    for (number, line) in table.lines.iter().enumerate() {
        let x = |value: f64| LABEL + room * (value / longest).max(0.0);
        let colour = if number == 0 { "#2f7d5b" } else { "#8a94a6" };
        let middle = y + BAR / 2.0;
        let _ = write!(
            bars,
            "<text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\
             <rect x=\"{LABEL}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{BAR}\" rx=\"3\" fill=\"{colour}\"/>\
             <path d=\"M{:.1} {middle:.1}H{:.1}\" stroke=\"#777\" stroke-width=\"1.5\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\">{:.*} {}</text>",
            LABEL - 8.0,
            middle + 4.5,
            escaped(&line.contender),
            (x(line.median) - LABEL).max(1.0),
            x(line.least),
            x(line.greatest),
            x(line.greatest) + 6.0,
            middle + 4.5,
            if line.median < 10.0 { 2 } else { 0 },
            line.median,
            table.unit.symbol(),
        );
        y += STEP;
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {y:.0}\" font-family=\"system-ui, sans-serif\" \
         font-size=\"13\" fill=\"#777\"><text x=\"8\" y=\"18\" font-weight=\"600\">{}</text>{bars}</svg>\n",
        escaped(&table.title)
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
