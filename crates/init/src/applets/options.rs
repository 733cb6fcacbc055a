//! Options as the s6 family takes them: single letters, bundled or not, an option's argument
//! attached or in the next word, `--` ends them, and so does the first word that is none.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// A walk over the options at the front of a command line.
pub(crate) struct Options<'a> {
    words: &'a [OsString],
    /// What is left of the word being read, after its dash.
    bundle: &'a [u8],
}

/// A letter that is not the command's, or one whose argument is missing.
pub(crate) struct BadOption;

impl<'a> Options<'a> {
    pub(crate) fn new(words: &'a [OsString]) -> Self {
        Self { words, bundle: b"" }
    }

    /// The next option's letter; `None` at their end. `letters` are those the command has.
    pub(crate) fn next(&mut self, letters: &[u8]) -> Result<Option<u8>, BadOption> {
        if self.bundle.is_empty() {
            let Some((word, rest)) = self.words.split_first() else {
                return Ok(None);
            };
            match word.as_bytes() {
                b"--" => {
                    self.words = rest;
                    return Ok(None);
                }
                [b'-', bundle @ ..] if !bundle.is_empty() => {
                    self.bundle = bundle;
                    self.words = rest;
                }
                _ => return Ok(None),
            }
        }
        let Some((letter, rest)) = self.bundle.split_first() else {
            return Ok(None);
        };
        self.bundle = rest;
        if letters.contains(letter) {
            Ok(Some(*letter))
        } else {
            Err(BadOption)
        }
    }

    /// The argument of the option just read.
    pub(crate) fn argument(&mut self) -> Result<&'a OsStr, BadOption> {
        if !self.bundle.is_empty() {
            return Ok(OsStr::from_bytes(std::mem::take(&mut self.bundle)));
        }
        let (word, rest) = self.words.split_first().ok_or(BadOption)?;
        self.words = rest;
        Ok(word)
    }

    /// As [`Options::argument`], a decimal number.
    pub(crate) fn number(&mut self) -> Result<u32, BadOption> {
        let argument = self.argument()?.to_str();
        argument.and_then(|text| text.parse().ok()).ok_or(BadOption)
    }

    /// The words after the options.
    pub(crate) fn rest(&self) -> &'a [OsString] {
        self.words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads with `-a`, `-b` and `-n ARG`, and prints what was understood.
    fn read(words: &[&str]) -> String {
        let words: Vec<OsString> = words.iter().map(Into::into).collect();
        let mut options = Options::new(&words);
        let mut seen = String::new();
        loop {
            match options.next(b"abn") {
                Ok(Some(b'n')) => match options.argument() {
                    Ok(argument) => seen.extend(["n=", &*argument.to_string_lossy(), " "]),
                    Err(_) => return seen + "incomplete",
                },
                Ok(Some(letter)) => seen.extend([char::from(letter), ' ']),
                Ok(None) => break,
                Err(BadOption) => return seen + "bad",
            }
        }
        let rest: Vec<_> = options.rest().iter().map(|w| w.to_string_lossy()).collect();
        seen + "| " + &rest.join(" ")
    }

    #[test]
    fn letters_may_be_bundled_and_arguments_attached() {
        assert_eq!(read(&["-ab", "-n5", "dir"]), "a b n=5 | dir");
        assert_eq!(read(&["-abn", "5", "dir"]), "a b n=5 | dir");
        assert_eq!(read(&["-nab"]), "n=ab | ");
    }

    #[test]
    fn options_end_at_two_dashes_and_at_the_first_other_word() {
        assert_eq!(read(&["-a", "--", "-b"]), "a | -b");
        assert_eq!(read(&["-a", "dir", "-b"]), "a | dir -b");
        assert_eq!(read(&["-a", "-"]), "a | -");
    }

    #[test]
    fn what_is_unknown_or_incomplete_is_reported() {
        assert_eq!(read(&["-az"]), "a bad");
        assert_eq!(read(&["-a", "-n"]), "a incomplete");
    }
}
