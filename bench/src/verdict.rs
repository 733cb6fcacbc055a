//! What was asked of herm, and whether the numbers hold against it.

use serde::{Deserialize, Serialize};

use crate::sample::{Unit, number_text};

/// One target, and what became of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Verdict {
    /// What is looked at, in words.
    pub(crate) what: String,
    pub(crate) bound: Bound,
    pub(crate) limit: f64,
    pub(crate) got: f64,
    pub(crate) unit: Unit,
}

/// Which side of the limit is the good one; the limit itself is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Bound {
    AtMost,
    AtLeast,
}

impl Verdict {
    pub(crate) fn at_most(what: impl Into<String>, limit: f64, got: f64, unit: Unit) -> Self {
        Self {
            what: what.into(),
            bound: Bound::AtMost,
            limit,
            got,
            unit,
        }
    }

    pub(crate) fn at_least(what: impl Into<String>, limit: f64, got: f64, unit: Unit) -> Self {
        Self {
            bound: Bound::AtLeast,
            ..Self::at_most(what, limit, got, unit)
        }
    }

    /// What was not measured does not hold.
    pub(crate) fn holds(&self) -> bool {
        match self.bound {
            Bound::AtMost => self.got <= self.limit,
            Bound::AtLeast => self.got >= self.limit,
        }
    }

    /// `asked ≤ 2 ms, got 1.70 ms: holds`.
    pub(crate) fn text(&self) -> String {
        let sign = match self.bound {
            Bound::AtMost => "≤",
            Bound::AtLeast => "≥",
        };
        let number = |number: f64| {
            let text = format!("{} {}", number_text(number), self.unit.symbol());
            text.trim().to_owned()
        };
        let word = if self.holds() {
            "holds"
        } else {
            "does not hold"
        };
        format!(
            "{}: asked {sign} {}, got {}: {word}",
            self.what,
            number(self.limit),
            number(self.got)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_says_what_was_asked_and_what_came() {
        let fast = Verdict::at_most("crash", 2.0, 1.7, Unit::Milliseconds);
        assert_eq!(fast.text(), "crash: asked ≤ 2.00 ms, got 1.70 ms: holds");
        let slow = Verdict::at_least("logs", 500.0, 499.0, Unit::MegabytesPerSecond);
        assert!(!slow.holds() && slow.text().ends_with("499 MB/s: does not hold"));
    }

    #[test]
    fn what_was_not_measured_does_not_hold() {
        assert!(!Verdict::at_most("x", 1.0, f64::NAN, Unit::Ratio).holds());
        assert!(!Verdict::at_least("x", 1.0, f64::NAN, Unit::Ratio).holds());
    }
}
