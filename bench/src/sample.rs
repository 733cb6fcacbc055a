//! Numbers that were measured: a median and its spread.

use serde::{Deserialize, Serialize};

/// What the numbers of a table are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unit {
    Milliseconds,
    MegabytesPerSecond,
    Kibibytes,
    Bytes,
    PerSecond,
    Ratio,
    Count,
}

impl Unit {
    pub(crate) fn symbol(self) -> &'static str {
        match self {
            Self::Milliseconds => "ms",
            Self::MegabytesPerSecond => "MB/s",
            Self::Kibibytes => "KiB",
            Self::Bytes => "bytes",
            Self::PerSecond => "/s",
            Self::Ratio => "×",
            Self::Count => "",
        }
    }

    /// Whether a larger number is the better one.
    pub(crate) fn more_is_better(self) -> bool {
        matches!(self, Self::MegabytesPerSecond | Self::PerSecond)
    }
}

/// The samples of one contender in one table.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) fn push(&mut self, sample: f64) {
        self.0.push(sample);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The middle one; of an even number the mean of the middle two. NaN if there is none.
    pub(crate) fn median(&self) -> f64 {
        let sorted = self.sorted();
        match (sorted.len(), sorted.len() / 2) {
            (0, _) => f64::NAN,
            (length, middle) if length % 2 == 1 => sorted[middle],
            (_, middle) => f64::midpoint(sorted[middle - 1], sorted[middle]),
        }
    }

    /// The least and the greatest.
    pub(crate) fn spread(&self) -> (f64, f64) {
        let sorted = self.sorted();
        match (sorted.first(), sorted.last()) {
            (Some(least), Some(greatest)) => (*least, *greatest),
            _ => (f64::NAN, f64::NAN),
        }
    }

    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }
}

impl FromIterator<f64> for Samples {
    fn from_iter<I: IntoIterator<Item = f64>>(samples: I) -> Self {
        Self(samples.into_iter().collect())
    }
}

/// A number with as many digits as are of use.
pub(crate) fn number_text(number: f64) -> String {
    match number.abs() {
        size if size >= 100.0 => format!("{number:.0}"),
        size if size >= 1.0 => format!("{number:.2}"),
        0.0 => "0".to_owned(),
        _ => format!("{number:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_whatever_the_order() {
        let odd: Samples = [9.0, 1.0, 5.0].into_iter().collect();
        assert!((odd.median() - 5.0).abs() < 1e-9);
        let even: Samples = [4.0, 1.0, 2.0, 9.0].into_iter().collect();
        assert!((even.median() - 3.0).abs() < 1e-9);
        assert!((even.spread().0 - 1.0).abs() < 1e-9 && (even.spread().1 - 9.0).abs() < 1e-9);
        assert!(Samples::default().median().is_nan());
    }
}
