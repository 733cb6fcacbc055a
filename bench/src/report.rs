//! Tables of results: as text, as JSON, and as a page with charts.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::chart;
use crate::host::Machine;
use crate::sample::{Samples, Unit};

/// One contender's samples.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) contender: String,
    pub(crate) samples: Samples,
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) greatest: f64,
}

/// The answers to one question; the first line is herm's.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Table {
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) unit: Unit,
    pub(crate) lines: Vec<Line>,
}

impl Table {
    pub(crate) fn new(
        name: impl Into<String>,
        title: impl Into<String>,
        unit: Unit,
        lines: impl IntoIterator<Item = (String, Samples)>,
    ) -> Self {
        let lines = lines.into_iter().filter(|(_, samples)| !samples.is_empty());
        let lines = lines.map(|(contender, samples)| {
            let (least, greatest) = samples.spread();
            Line {
                contender,
                median: samples.median(),
                least,
                greatest,
                samples,
            }
        });
        Self {
            name: name.into(),
            title: title.into(),
            unit,
            lines: lines.collect(),
        }
    }

    /// How much better the first line is than another: above 1 if it is.
    fn ratio(&self, other: &Line) -> Option<f64> {
        let first = self.lines.first()?;
        if self.unit.more_is_better() {
            Some(first.median / other.median)
        } else {
            Some(other.median / first.median)
        }
    }

    fn rows(&self) -> impl Iterator<Item = [String; 4]> {
        self.lines.iter().enumerate().map(|(number, line)| {
            let ratio = match self.ratio(line) {
                Some(ratio) if number > 0 && ratio.is_finite() => format!("{ratio:.2} ×"),
                _ => "–".to_owned(),
            };
            let value = format!("{} {}", number_text(line.median), self.unit.symbol());
            let spread = format!(
                "{} … {}",
                number_text(line.least),
                number_text(line.greatest)
            );
            [
                line.contender.clone(),
                ratio,
                value.trim().to_owned(),
                spread,
            ]
        })
    }

    pub(crate) fn to_text(&self) -> String {
        let mut text = format!("\n{}\n", self.title);
        for [contender, ratio, value, spread] in self.rows() {
            let _ = writeln!(
                text,
                "  {contender:<28} {ratio:>9}  {value:>14}   ({spread})"
            );
        }
        text
    }

    fn to_markdown(&self) -> String {
        let mut text = format!("### {}\n\n", self.title);
        let _ = writeln!(text, "![{}](benchmarks/{}.svg)\n", self.title, self.name);
        text.push_str(
            "| contender | herm is better by | median | spread |\n| --- | ---: | ---: | ---: |\n",
        );
        for [contender, ratio, value, spread] in self.rows() {
            let _ = writeln!(text, "| {contender} | {ratio} | {value} | {spread} |");
        }
        text
    }
}

fn number_text(number: f64) -> String {
    match number.abs() {
        size if size >= 100.0 => format!("{number:.0}"),
        size if size >= 1.0 => format!("{number:.2}"),
        _ => format!("{number:.3}"),
    }
}

/// Everything that one run measured, and on what.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Results {
    pub(crate) machine: Machine,
    pub(crate) tables: Vec<Table>,
}

impl Results {
    pub(crate) fn of(machine: Machine) -> Self {
        Self {
            machine,
            tables: Vec::new(),
        }
    }

    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = fs::read(path).with_context(|| format!("could not read {}", path.display()))?;
        serde_json::from_slice(&text)
            .with_context(|| format!("{} is not of this bench", path.display()))
    }

    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        fs::write(path, text).with_context(|| format!("could not write {}", path.display()))
    }
}

/// Where a page's generated part begins; what stands above it is written by hand and kept.
const MARK: &str = "<!-- measured: written by cargo xtask bench -->";

/// Writes the measured part of a page, and its charts into `benchmarks/` beside it.
pub(crate) fn write_page(results: &Results, page: &Path) -> Result<()> {
    let before = fs::read_to_string(page).unwrap_or_else(|_| "# Benchmarks\n\n".to_owned());
    let hand = before.split(MARK).next().unwrap_or_default().trim_end();
    let machine = &results.machine;
    let mut text = format!("{hand}\n\n{MARK}\n\n## Measured\n\n");
    let _ = writeln!(
        text,
        "On {}: {} cores ({}), {} MiB of memory, kernel {}. Peers: {}. `herm-init` has {} bytes.\n",
        machine.date,
        machine.cores,
        machine.processor,
        machine.memory_kib / 1024,
        machine.kernel,
        machine.peers.join(", "),
        machine.init_bytes
    );
    let charts = page.parent().unwrap_or(Path::new(".")).join("benchmarks");
    fs::create_dir_all(&charts)?;
    for table in &results.tables {
        text.push_str(&table.to_markdown());
        text.push('\n');
        fs::write(
            charts.join(format!("{}.svg", table.name)),
            chart::draw(table),
        )?;
    }
    fs::write(page, text.trim_end().to_owned() + "\n")
        .with_context(|| format!("could not write {}", page.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(unit: Unit) -> Table {
        let one = |value: f64| [value].into_iter().collect::<Samples>();
        let lines = [
            ("herm".to_owned(), one(2.0)),
            ("peer".to_owned(), one(8.0)),
            ("absent".to_owned(), Samples::default()),
        ];
        Table::new("t", "a question", unit, lines)
    }

    #[test]
    fn a_ratio_above_one_means_that_herm_is_better() {
        assert!(table(Unit::Milliseconds).to_text().contains("4.00 ×"));
        assert!(table(Unit::MegabytesPerSecond).to_text().contains("0.25 ×"));
    }

    #[test]
    fn who_was_not_measured_has_no_line() {
        assert_eq!(table(Unit::Count).lines.len(), 2);
    }

    #[test]
    fn what_is_written_by_hand_above_the_results_stays() {
        let dir = tempfile::tempdir().unwrap();
        let page = dir.path().join("page.md");
        fs::write(&page, format!("# Mine\n\n{MARK}\nold\n")).unwrap();
        let machine = Machine {
            kernel: "6".into(),
            cores: 2,
            processor: "p".into(),
            memory_kib: 1024,
            peers: vec![],
            init_bytes: 1,
            date: "d".into(),
        };
        let results = Results {
            machine,
            tables: vec![table(Unit::Milliseconds)],
        };
        write_page(&results, &page).unwrap();
        let text = fs::read_to_string(&page).unwrap();
        assert!(
            text.starts_with("# Mine\n")
                && !text.contains("old")
                && text.contains("| peer | 4.00 × |")
        );
        assert!(dir.path().join("benchmarks/t.svg").exists());
    }
}
