//! Bar charts as SVG. Each is a card with colours of its own for light and for dark surroundings, so
//! that its words are read on any page.

use std::fmt::Write as _;

use crate::report::{Line, Table};
use crate::sample::number_text;

const WIDTH: f64 = 860.0;
const LABEL: f64 = 300.0;
const VALUE: f64 = 110.0;
const BAR: f64 = 22.0;
const STEP: f64 = 32.0;
const TOP: f64 = 46.0;

const STYLE: &str = "<style>\
    .card{fill:#ffffff;stroke:#d0d7de}text{fill:#1f2328}.herm{fill:#1a7f52}.other{fill:#8c959f}\
    path{stroke:#57606a;stroke-width:1.5}\
    @media (prefers-color-scheme:dark){\
    .card{fill:#161b22;stroke:#3d444d}text{fill:#e6edf3}.herm{fill:#3fb27f}.other{fill:#6e7681}\
    path{stroke:#c9d1d9}}</style>";

/// A bar per contender, as long as its median; a thin line from the least to the greatest sample.
pub(crate) fn draw(table: &Table) -> String {
    let longest = table
        .lines
        .iter()
        .map(|line| line.greatest)
        .fold(f64::MIN_POSITIVE, f64::max);
    let mut y = TOP;
    let mut bars = String::new();
    for line in &table.lines {
        bars.push_str(&bar(line, y, longest, table.unit.symbol()));
        y += STEP;
    }
    let height = y + 6.0;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"13\">{STYLE}\
         <rect class=\"card\" x=\"0.5\" y=\"0.5\" width=\"{:.0}\" height=\"{:.0}\" rx=\"6\"/>\
         <text x=\"14\" y=\"26\" font-weight=\"600\">{}</text>{bars}</svg>\n",
        WIDTH - 1.0,
        height - 1.0,
        escaped(&table.title)
    )
}

fn bar(line: &Line, y: f64, longest: f64, unit: &str) -> String {
    let room = WIDTH - LABEL - VALUE;
    let x = |value: f64| LABEL + room * (value / longest).max(0.0);
    let class = if line.is_herms() { "herm" } else { "other" };
    let middle = y + BAR / 2.0;
    let mut text = String::new();
    let _ = write!(
        text,
        "<text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\
         <rect class=\"{class}\" x=\"{LABEL}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{BAR}\" rx=\"3\"/>\
         <path d=\"M{:.1} {middle:.1}H{:.1}\"/>\
         <text x=\"{:.1}\" y=\"{:.1}\">{} {unit}</text>",
        LABEL - 8.0,
        middle + 4.5,
        escaped(&line.contender),
        (x(line.median) - LABEL).max(1.0),
        x(line.least),
        x(line.greatest),
        x(line.greatest) + 6.0,
        middle + 4.5,
        number_text(line.median),
    );
    text
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
