//! A source definition directory: what is in it, and what its files say.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::fmt;

use crate::execline::lexer;

/// What an entry of a definition directory is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// A regular file.
    File(Vec<u8>),
    /// A directory, and the names in it.
    Directory(Vec<String>),
    /// Anything else.
    Other,
}

/// A definition directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Definition {
    /// Its name: the service's.
    pub name: String,
    /// Its path, for messages and to find its scripts.
    pub path: String,
    /// Its entries. Of files that mean nothing here the content isn't needed.
    pub entries: Vec<(String, Node)>,
}

/// Something wrong in a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompileError {
    /// The file or directory.
    pub file: String,
    /// The line in it, counted from 1; 0 where it is about the whole.
    pub line: usize,
    /// What is wrong and what would be right.
    pub problem: String,
    /// Whether the genuine compiler calls it a failed system call (its exit code is 111, not 1).
    pub is_system: bool,
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        write!(f, ": {}", self.problem)
    }
}

impl core::error::Error for CompileError {}

/// A name, the file it is in, and the line.
pub(super) type Named = (String, String, usize);

/// Longest name of a service.
const NAME_BYTES_MAX: usize = 251;

impl Definition {
    fn entry(&self, name: &str) -> Option<&Node> {
        let found = self.entries.iter().find(|(entry, _)| entry == name);
        found.map(|(_, node)| node)
    }

    /// Whether there is an entry of this name.
    pub fn has(&self, name: &str) -> bool {
        self.entry(name).is_some()
    }

    /// Something wrong with a file of it.
    pub(super) fn error(&self, file: &str, line: usize, problem: &str) -> CompileError {
        let file = if file.is_empty() {
            self.path.clone()
        } else {
            format!("{}/{file}", self.path)
        };
        CompileError {
            file,
            line,
            problem: problem.to_string(),
            is_system: false,
        }
    }

    pub(super) fn missing(&self, file: &str, problem: &str) -> CompileError {
        CompileError {
            is_system: true,
            ..self.error(file, 0, problem)
        }
    }

    /// The content of a file; nothing if there is none.
    pub(super) fn content(&self, name: &str) -> Option<&[u8]> {
        match self.entry(name)? {
            Node::File(content) => Some(content),
            Node::Directory(_) | Node::Other => None,
        }
    }

    /// Its type: the first line of `type`, with nothing after the word.
    pub(super) fn kind(&self) -> Result<&'static str, CompileError> {
        let content = self.content("type").ok_or_else(|| {
            self.missing(
                "type",
                "there is no such file; it says oneshot, longrun or bundle",
            )
        })?;
        let word = content.strip_suffix(b"\n").unwrap_or(content);
        let kinds = ["oneshot", "longrun", "bundle"];
        let kind = kinds.iter().find(|kind| kind.as_bytes() == word);
        kind.copied().ok_or_else(|| {
            let text = String::from_utf8_lossy(word);
            let text = format!("{text:?} is no type; it must be oneshot, longrun or bundle");
            self.error("type", 1, &text)
        })
    }

    /// Names in a directory, or one on each line of a file: of both forms the directory counts.
    /// Each comes with its file and line.
    pub(super) fn names(
        &self,
        directory: &str,
        file: &str,
    ) -> Result<Option<Vec<Named>>, CompileError> {
        if let Some(Node::Directory(names)) = self.entry(directory) {
            let names = names.iter().filter(|name| !name.starts_with('.'));
            let named = names.map(|name| (name.clone(), format!("{directory}/{name}"), 0));
            return Ok(Some(named.collect()));
        }
        let Some(content) = self.content(file) else {
            return Ok(None);
        };
        let text =
            core::str::from_utf8(content).map_err(|_| self.error(file, 0, "it is not UTF-8"))?;
        let lines = text
            .lines()
            .zip(1_usize..)
            .map(|(line, n)| (line.trim_start(), n));
        let named = lines.filter(|(line, _)| !line.is_empty() && !line.starts_with('#'));
        Ok(Some(
            named
                .map(|(line, n)| (line.trim_end().to_string(), file.to_string(), n))
                .collect(),
        ))
    }

    /// The milliseconds in a file; 0 if there is none.
    pub(super) fn milliseconds(&self, file: &str) -> Result<u32, CompileError> {
        let Some(content) = self.content(file) else {
            return Ok(0);
        };
        let first = content
            .split(|byte| *byte == b'\n')
            .next()
            .unwrap_or_default();
        let is_number = !first.is_empty() && first.iter().all(u8::is_ascii_digit);
        let number = core::str::from_utf8(first).ok().filter(|_| is_number);
        number.and_then(|text| text.parse().ok()).ok_or_else(|| {
            self.error(
                file,
                1,
                "it must hold a number of milliseconds and nothing else",
            )
        })
    }

    /// The command line that a script of a oneshot is.
    pub(super) fn script(&self, file: &str) -> Result<Option<Vec<Vec<u8>>>, CompileError> {
        let Some(content) = self.content(file) else {
            return Ok(None);
        };
        match lexer::parse(content) {
            Ok(argv) => Ok(Some(argv)),
            Err(error) => {
                let text = error.to_string();
                let problem = text
                    .split_once(": ")
                    .map_or(text.as_str(), |(_, problem)| problem);
                Err(self.error(file, error.line, problem))
            }
        }
    }

    /// Ends where this can't be the name of a service.
    pub(super) fn check_name(&self) -> Result<(), CompileError> {
        let name = &self.name;
        let problem = if name.starts_with("s6rc-") || name.starts_with("s6-rc-") {
            "names that start with s6rc- or s6-rc- are s6-rc's own"
        } else if name.contains(['\n', '\t']) {
            "a name can't have a newline or a tab in it"
        } else if name.len() > NAME_BYTES_MAX {
            "a name can't be longer than 251 bytes"
        } else {
            return Ok(());
        };
        Err(self.error("", 0, problem))
    }
}
