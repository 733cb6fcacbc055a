//! Kept logs: [`read`] the last lines, follow new ones ([`feed`]), and show what programs print
//! without trusting it ([`ansi`]).

pub(crate) mod ansi;
pub(crate) mod feed;
pub(crate) mod read;

use maud::{Markup, html};

/// One line of a log.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct LogLine {
    /// When it was written (RFC 3339); empty where the line has no time.
    pub(crate) at: String,
    /// What was written, colours included, at most 16 KiB of it.
    pub(crate) line: String,
    /// Bytes that were left out at its end.
    #[serde(skip_serializing_if = "is_zero")]
    #[cfg_attr(feature = "schema", schemars(default))]
    pub(crate) cut_bytes: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// How serious a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    Error,
    Warning,
    Debug,
    Plain,
}

/// Guesses by the words that loggers print near the beginning of a line.
pub(crate) fn level(line: &str) -> Level {
    let head: String = line
        .chars()
        .take(120)
        .collect::<String>()
        .to_ascii_uppercase();
    let has = |words: &[&str]| {
        head.split(|c: char| !c.is_ascii_alphanumeric())
            .any(|word| words.contains(&word))
    };
    if has(&[
        "ERROR",
        "ERR",
        "CRITICAL",
        "FATAL",
        "PANIC",
        "PANICKED",
        "TRACEBACK",
        "EXCEPTION",
    ]) {
        Level::Error
    } else if has(&["WARN", "WARNING"]) {
        Level::Warning
    } else if has(&["DEBUG", "TRACE"]) {
        Level::Debug
    } else {
        Level::Plain
    }
}

/// A line as the pages show it.
pub(crate) fn show(line: &LogLine) -> Markup {
    let class = match level(&line.line) {
        Level::Error => "l le",
        Level::Warning => "l lw",
        Level::Debug => "l ld",
        Level::Plain => "l",
    };
    // The time of day; the day is in the title.
    let time = line.at.get(11..19).unwrap_or_default();
    html! {
        div class=(class) {
            @if !time.is_empty() { time datetime=(line.at) title=(line.at) { (time) } }
            span { (ansi::show(&line.line))
                @if line.cut_bytes > 0 {
                    em { " … " (crate::words::bytes(line.cut_bytes)) " more in the download" }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_words_and_not_parts_of_words() {
        assert_eq!(level("2026-11-20 ERROR gateway: no"), Level::Error);
        assert_eq!(level("[warn] slow"), Level::Warning);
        assert_eq!(level("level=debug x"), Level::Debug);
        assert_eq!(level("mirrored the terror"), Level::Plain);
    }
}
