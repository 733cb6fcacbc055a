//! Tables of results: as text, as Markdown, as JSON.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::host::Machine;
use crate::sample::{Samples, Unit, number_text};
use crate::verdict::Verdict;

/// One contender's samples.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) contender: String,
    pub(crate) samples: Samples,
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) greatest: f64,
}

impl Line {
    /// Whether herm is measured here, in one way or another.
    pub(crate) fn is_herms(&self) -> bool {
        self.contender.starts_with("herm")
    }
}

/// The answers to one question; the first line is herm's.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Table {
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) unit: Unit,
    pub(crate) lines: Vec<Line>,
    /// What was asked of herm here.
    pub(crate) verdicts: Vec<Verdict>,
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
            verdicts: Vec::new(),
        }
    }

    /// The same, held against a target.
    pub(crate) fn asked(mut self, verdict: Verdict) -> Self {
        self.verdicts.push(verdict);
        self
    }

    /// A contender's median; not a number if it was not measured.
    pub(crate) fn median(&self, contender: &str) -> f64 {
        let line = self.lines.iter().find(|line| line.contender == contender);
        line.map_or(f64::NAN, |line| line.median)
    }

    /// How much better herm is than a contender: above 1 if it is.
    pub(crate) fn ratio_to(&self, contender: &str) -> Option<f64> {
        let line = self.lines.iter().find(|line| line.contender == contender)?;
        self.ratio(line)
    }

    /// Whether there is something to draw.
    pub(crate) fn has_chart(&self) -> bool {
        self.lines.len() > 1 && self.lines.iter().any(|line| line.greatest > 0.0)
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
        self.lines.iter().map(|line| {
            let ratio = match self.ratio(line) {
                Some(ratio) if !line.is_herms() && ratio.is_finite() => format!("{ratio:.2} ×"),
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
                "  {contender:<40} {ratio:>9}  {value:>14}   ({spread})"
            );
        }
        for verdict in &self.verdicts {
            let _ = writeln!(text, "  {}", verdict.text());
        }
        text
    }

    pub(crate) fn to_markdown(&self) -> String {
        let mut text = format!("### {}\n\n", self.title);
        if self.has_chart() {
            let _ = writeln!(text, "![{}](benchmarks/{}.svg)\n", self.title, self.name);
        }
        text.push_str(
            "| contender | herm is better by | median | spread |\n| --- | ---: | ---: | ---: |\n",
        );
        for [contender, ratio, value, spread] in self.rows() {
            let _ = writeln!(text, "| {contender} | {ratio} | {value} | {spread} |");
        }
        text
    }
}

/// Everything that one run measured, and on what.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Results {
    pub(crate) machine: Machine,
    /// Of each contender.
    pub(crate) samples: usize,
    /// How long all of it took.
    pub(crate) seconds: u64,
    pub(crate) tables: Vec<Table>,
}

impl Results {
    pub(crate) fn of(machine: Machine, samples: usize) -> Self {
        Self {
            machine,
            samples,
            seconds: 0,
            tables: Vec::new(),
        }
    }

    pub(crate) fn table(&self, name: &str) -> Option<&Table> {
        self.tables.iter().find(|table| table.name == name)
    }

    pub(crate) fn verdicts(&self) -> impl Iterator<Item = &Verdict> {
        self.tables.iter().flat_map(|table| &table.verdicts)
    }

    /// How many targets hold, and which don't.
    pub(crate) fn summary(&self) -> String {
        let all = self.verdicts().count();
        let failing: Vec<String> = self
            .verdicts()
            .filter(|verdict| !verdict.holds())
            .map(|verdict| format!("  {}\n", verdict.text()))
            .collect();
        let held = all - failing.len();
        let head = format!("\n{held} of {all} targets hold");
        if failing.is_empty() {
            return head + "\n";
        }
        format!("{head}; these don't:\n{}", failing.concat())
    }

    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = fs::read(path).with_context(|| format!("could not read {}", path.display()))?;
        serde_json::from_slice(&text)
            .with_context(|| format!("{} is not of this bench", path.display()))
    }

    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, text).with_context(|| format!("could not write {}", path.display()))
    }
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
}
