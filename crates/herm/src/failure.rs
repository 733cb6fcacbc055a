//! How a command ends when it can't do what it was asked: one message that names the thing and
//! the cause, one that names the next step, and the exit code of contract section 4.

use std::fmt;
use std::io;
use std::path::Path;

use herm_wire::{ErrorBody, ExitCode};

/// A command's failure as a person sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// What the process exits with.
    pub(crate) code: ExitCode,
    /// The thing and the cause. Empty: there is nothing to say (a reader went away).
    pub(crate) message: String,
    /// The next step.
    pub(crate) hint: Option<String>,
}

/// What every command returns.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    /// A failure with nothing further to advise.
    pub(crate) fn new(code: ExitCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            hint: None,
        }
    }

    /// Tried and failed.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(ExitCode::Failed, message)
    }

    /// The command line makes no sense.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(ExitCode::Usage, message)
    }

    /// Adds the next step.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Puts what it is about in front.
    pub(crate) fn about(mut self, subject: &str) -> Self {
        self.message = format!("{subject}: {}", self.message);
        self
    }

    /// A system call on a file failed.
    pub(crate) fn file(doing: &str, path: &Path, error: &io::Error) -> Self {
        let code = match error.kind() {
            io::ErrorKind::PermissionDenied => ExitCode::NotPermitted,
            _ => ExitCode::Failed,
        };
        Self::new(
            code,
            format!("can't {doing} {}: {}", path.display(), reason(error)),
        )
    }

    /// The reader of our output went away: end quietly.
    pub(crate) fn silent(code: ExitCode) -> Self {
        Self::new(code, "")
    }
}

impl From<ErrorBody> for Failure {
    fn from(error: ErrorBody) -> Self {
        Self {
            code: error.code.into(),
            message: error.message,
            hint: error.hint,
        }
    }
}

/// Failures of printing. A reader that went away (`herm status | head -1`) is no failure.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::silent(ExitCode::Done)
        } else {
            Self::failed(format!("can't write the output: {}", reason(&error)))
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  {hint}"),
            None => Ok(()),
        }
    }
}

/// What an I/O error means, in words and without the number that follows it in Rust's text.
pub(crate) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let words = text.split(" (os error").next().unwrap_or(&text);
    let mut letters = words.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => String::from("unknown error"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_errno_is_told_in_words_only() {
        let error = io::Error::from_raw_os_error(13);
        assert_eq!(reason(&error), "permission denied");
        let failure = Failure::file("open", Path::new("/x"), &error);
        assert_eq!(failure.message, "can't open /x: permission denied");
        assert_eq!(failure.code, ExitCode::NotPermitted);
    }

    #[test]
    fn a_reader_that_went_away_is_no_failure() {
        let failure = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(failure, Failure::silent(ExitCode::Done));
    }
}
