//! What commands print: text for people, JSON for programs, and colours only on a terminal.

mod foreign;
mod service;
mod table;
mod words;

use std::io::{self, IsTerminal as _, Write};

use herm_wire::{State, verdict};
use serde::Serialize;

pub(crate) use foreign::{level_of, plain, safe};
pub(crate) use service::{describe, explain, services_table, services_tree, uptime, verdict_now};
pub(crate) use table::Table;
pub(crate) use words::{cause, coming};

use crate::failure::Outcome;

/// Standard output with its manners.
pub(crate) struct Out {
    writer: io::BufWriter<Box<dyn Write>>,
    colours: bool,
}

/// What a piece of text is, for those who can see colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Nothing special.
    Plain,
    /// A heading.
    Bold,
    /// Of less interest.
    Dim,
    /// As it should be.
    Good,
    /// On its way.
    Busy,
    /// Needs somebody.
    Bad,
}

impl Out {
    /// Standard output.
    pub(crate) fn stdout() -> Self {
        let stdout = io::stdout();
        let colours = colours_wanted(stdout.is_terminal());
        Self {
            writer: io::BufWriter::new(Box::new(stdout)),
            colours,
        }
    }

    /// A line of text.
    pub(crate) fn line(&mut self, text: impl AsRef<str>) -> Outcome {
        writeln!(self.writer, "{}", text.as_ref())?;
        Ok(())
    }

    /// Any value as JSON, indented.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> Outcome {
        serde_json::to_writer_pretty(&mut self.writer, value).map_err(io::Error::from)?;
        writeln!(self.writer)?;
        Ok(())
    }

    /// Any value as JSON on one line, for streams.
    pub(crate) fn json_line(&mut self, value: &impl Serialize) -> Outcome {
        serde_json::to_writer(&mut self.writer, value).map_err(io::Error::from)?;
        writeln!(self.writer)?;
        Ok(())
    }

    /// A table.
    pub(crate) fn table(&mut self, table: &Table) -> Outcome {
        let colours = self.colours;
        table.write(&mut self.writer, |text, tone| paint(text, tone, colours))?;
        Ok(())
    }

    /// Bytes as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Outcome {
        self.writer.write_all(bytes)?;
        Ok(())
    }

    /// Text in a tone, where colours are seen.
    pub(crate) fn paint(&self, text: &str, tone: Tone) -> String {
        paint(text, tone, self.colours)
    }

    /// Whether a person at a terminal reads it, who sees colours.
    pub(crate) fn has_colours(&self) -> bool {
        self.colours
    }

    /// Hands everything to the reader. Streams call it after each event, everybody at the end:
    /// what fails when a buffer is dropped would fail unseen.
    pub(crate) fn flush(&mut self) -> Outcome {
        self.writer.flush()?;
        Ok(())
    }
}

/// `NO_COLOR` (no-color.org) and dumb terminals are respected.
fn colours_wanted(is_terminal: bool) -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    is_terminal && !refused && !dumb
}

fn paint(text: &str, tone: Tone, colours: bool) -> String {
    let code = match tone {
        _ if !colours => return text.to_owned(),
        Tone::Plain => return text.to_owned(),
        Tone::Bold => "1",
        Tone::Dim => "2",
        Tone::Good => "32",
        Tone::Busy => "33",
        Tone::Bad => "31",
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}

/// How a state looks.
pub(crate) fn tone_of(state: State) -> Tone {
    match state {
        State::Running | State::Served | State::Remote => Tone::Good,
        State::Starting | State::Stopping | State::Backoff => Tone::Busy,
        State::Parked | State::Failed => Tone::Bad,
        State::Down | State::Disabled => Tone::Dim,
    }
}

/// The same for the word of a state, as the history has it.
pub(crate) fn tone_of_word(state: &str) -> Tone {
    match state {
        "running" | "served" | "remote" => Tone::Good,
        "starting" | "stopping" | "backoff" => Tone::Busy,
        "parked" | "failed" => Tone::Bad,
        _ => Tone::Dim,
    }
}

/// The word for a state.
pub(crate) fn word(state: State) -> &'static str {
    verdict::state_word(state)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_colours_text_is_left_alone() {
        assert_eq!(paint("x", Tone::Bad, false), "x");
        assert_eq!(paint("x", Tone::Bad, true), "\x1b[31mx\x1b[0m");
    }
}
