//! Writing metrics as text: OpenMetrics 1.0, and Prometheus' older format.

use std::fmt::Write as _;

/// The text in the making.
pub(super) struct Text {
    /// What is written so far.
    pub(super) out: String,
    /// OpenMetrics, and not the older text.
    pub(super) open: bool,
}

impl Text {
    /// Nothing yet.
    pub(super) fn new(open: bool) -> Self {
        Self {
            out: String::new(),
            open,
        }
    }

    /// The whole.
    pub(super) fn finish(mut self) -> String {
        if self.open {
            self.out.push_str("# EOF\n");
        }
        self.out
    }

    /// A gauge with one value for each that has one, under one label.
    pub(super) fn gauges<V: std::fmt::Display>(
        &mut self,
        (name, unit, help): (&str, &str, &str),
        label: &str,
        values: impl IntoIterator<Item = (String, V)>,
    ) {
        self.family(name, "gauge", unit, help);
        for (of, value) in values {
            self.sample(name, &[(label, &of)], value);
        }
    }

    /// A gauge of the whole.
    pub(super) fn gauge(
        &mut self,
        (name, unit, help): (&str, &str, &str),
        value: impl std::fmt::Display,
    ) {
        self.family(name, "gauge", unit, help);
        self.sample(name, &[], value);
    }

    /// Begins a family. A counter's samples end in `_total`, its name does not.
    pub(super) fn family(&mut self, name: &str, kind: &str, unit: &str, help: &str) {
        let declared = if kind == "counter" && !self.open {
            format!("{name}_total")
        } else {
            name.to_owned()
        };
        // Writing to a String cannot fail.
        let _ = writeln!(self.out, "# TYPE {declared} {kind}");
        if self.open && !unit.is_empty() {
            let _ = writeln!(self.out, "# UNIT {declared} {unit}");
        }
        let _ = writeln!(self.out, "# HELP {declared} {help}");
    }

    pub(super) fn sample(
        &mut self,
        name: &str,
        labels: &[(&str, &str)],
        value: impl std::fmt::Display,
    ) {
        self.out.push_str(name);
        if !labels.is_empty() {
            self.out.push('{');
            for (index, (label, text)) in labels.iter().enumerate() {
                let comma = if index == 0 { "" } else { "," };
                let _ = write!(self.out, "{comma}{label}=\"{}\"", escape(text));
            }
            self.out.push('}');
        }
        let _ = writeln!(self.out, " {value}");
    }
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_may_hold_anything() {
        let mut text = Text::new(true);
        text.gauges(("m", "", "M."), "of", [("a\"b\\c\nd".to_owned(), 1)]);
        let expected = "# TYPE m gauge\n# HELP m M.\nm{of=\"a\\\"b\\\\c\\nd\"} 1\n# EOF\n";
        assert_eq!(text.finish(), expected);
    }

    #[test]
    fn a_counter_is_declared_as_each_format_wants_it() {
        for (open, declared) in [
            (true, "# TYPE c counter"),
            (false, "# TYPE c_total counter"),
        ] {
            let mut text = Text::new(open);
            text.family("c", "counter", "", "C.");
            assert!(text.finish().starts_with(declared));
        }
    }
}
