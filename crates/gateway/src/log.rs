//! Plain lines on standard error; the supervisor adds the time and the service's name.
//!
//! Nothing in this crate logs a request's or a reply's text, a key, or a header.

use std::fmt::Display;
use std::io::Write as _;

/// Writes one line. A closed or full standard error loses the line and nothing else.
fn line(level: &str, text: &dyn Display) {
    let text = text.to_string().replace(['\n', '\r'], " ");
    let _ = std::io::stderr()
        .lock()
        .write_all(format!("{level}: {text}\n").as_bytes());
}

/// What an operator may want to know.
pub(crate) fn info(text: impl Display) {
    line("info", &text);
}

/// What needs attention, while the gateway goes on.
pub(crate) fn warn(text: impl Display) {
    line("warning", &text);
}

/// Why the gateway can't go on.
pub(crate) fn error(text: impl Display) {
    line("error", &text);
}
