//! A table of text: columns as wide as their widest cell, no lines, nothing after the last column.

use std::io::{self, Write};

use super::Tone;

/// Between two columns.
const GAP: &str = "  ";

/// Rows of cells under a heading.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    heading: Vec<String>,
    rows: Vec<Vec<(String, Tone)>>,
}

impl Table {
    /// An empty table.
    pub(crate) fn new(heading: &[&str]) -> Self {
        Self {
            heading: heading.iter().map(|cell| (*cell).to_owned()).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: Vec<(String, Tone)>) {
        self.rows.push(cells);
    }

    /// Writes it; `paint` colours a cell after it was measured.
    pub(crate) fn write(
        &self,
        to: &mut dyn Write,
        paint: impl Fn(&str, Tone) -> String,
    ) -> io::Result<()> {
        let widths = self.widths();
        let heading: Vec<_> = self
            .heading
            .iter()
            .map(|cell| (cell.clone(), Tone::Bold))
            .collect();
        for row in std::iter::once(&heading).chain(&self.rows) {
            let mut line = String::new();
            for (index, ((text, tone), width)) in row.iter().zip(&widths).enumerate() {
                if index > 0 {
                    line.push_str(GAP);
                }
                line.push_str(&paint(text, *tone));
                if index + 1 < row.len() {
                    line.extend(std::iter::repeat_n(' ', width - text.chars().count()));
                }
            }
            writeln!(to, "{line}")?;
        }
        Ok(())
    }

    fn widths(&self) -> Vec<usize> {
        let mut widths: Vec<usize> = self
            .heading
            .iter()
            .map(|cell| cell.chars().count())
            .collect();
        for row in &self.rows {
            for (width, (text, _)) in widths.iter_mut().zip(row) {
                *width = (*width).max(text.chars().count());
            }
        }
        widths
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["A", "LONG", "C"]);
        table.row(vec![
            ("wörter".into(), Tone::Plain),
            ("x".into(), Tone::Plain),
            ("end".into(), Tone::Plain),
        ]);
        let mut text = Vec::new();
        table.write(&mut text, |cell, _| cell.to_owned()).unwrap();
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "A       LONG  C\nwörter  x     end\n"
        );
    }
}
