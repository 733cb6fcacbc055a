//! A source definition directory: what is in it, and what its files say.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::fmt;

use crate::execline::lexer;
use crate::number;

/// What an entry of a definition directory is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// A regular file.
    File(Vec<u8>),
    /// A directory, and the names in it.
    Directory(Vec<String>),
    /// Anything else that exists.
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
        }
    }

    /// The content of a file; nothing if there is none, an error if it is no file.
    pub(super) fn content(&self, name: &str) -> Result<Option<&[u8]>, CompileError> {
        match self.entry(name) {
            None => Ok(None),
            Some(Node::File(content)) => Ok(Some(content)),
            Some(_) => Err(self.error(name, 0, "it must be a regular file")),
        }
    }

    /// The names in a directory; nothing if there is none, an error if it is no directory.
    pub(super) fn directory(&self, name: &str) -> Result<Option<&[String]>, CompileError> {
        match self.entry(name) {
            None => Ok(None),
            Some(Node::Directory(names)) => Ok(Some(names)),
            Some(_) => Err(self.error(name, 0, "it must be a directory")),
        }
    }

    /// The content of a file without which this isn't one of its type.
    pub(super) fn required(&self, name: &str, why: &str) -> Result<&[u8], CompileError> {
        self.content(name)?.ok_or_else(|| self.error(name, 0, why))
    }

    /// Its type: the first line of `type`, with nothing after the word. No more than eight bytes
    /// count, so after the longer words there may be further lines.
    pub(super) fn kind(&self) -> Result<&'static str, CompileError> {
        let why = "there is no such file; it says oneshot, longrun or bundle";
        let content = self.required("type", why)?;
        let content = content.get(..8).unwrap_or(content);
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
    /// Each comes once, with its file and line. What follows a name on its line belongs to it.
    pub(super) fn names(
        &self,
        directory: &str,
        file: &str,
    ) -> Result<Option<Vec<Named>>, CompileError> {
        if let Some(names) = self.directory(directory)? {
            let names = names.iter().filter(|name| !name.starts_with('.'));
            let named = names.map(|name| (name.clone(), format!("{directory}/{name}"), 0));
            return Ok(Some(named.collect()));
        }
        let Some(content) = self.content(file)? else {
            return Ok(None);
        };
        let mut named: Vec<Named> = Vec::new();
        let text = String::from_utf8_lossy(content);
        // Not lines(): a carriage return is a byte of the name.
        for (line, n) in text.split('\n').zip(1_usize..) {
            let name = line.trim_start_matches([' ', '\t']);
            let is_new = named.iter().all(|(other, ..)| other != name);
            if is_new && !name.is_empty() && !name.starts_with('#') {
                named.push((name.to_string(), file.to_string(), n));
            }
        }
        Ok(Some(named))
    }

    /// The number in a file; nothing if there is none. Further lines don't count, unless it must be
    /// `alone`.
    pub(super) fn number(&self, file: &str, alone: bool) -> Result<Option<u32>, CompileError> {
        let Some(content) = self.content(file)? else {
            return Ok(None);
        };
        let mut further = content.split(|byte| *byte == b'\n').skip(1);
        let is_alone = !alone || further.all(<[u8]>::is_empty);
        match number::parse(content).filter(|_| is_alone) {
            None => Err(self.error(file, 1, "it must hold a number and nothing else")),
            number => Ok(number),
        }
    }

    /// The command line that a script of a oneshot is.
    pub(super) fn script(&self, file: &str) -> Result<Option<Vec<Vec<u8>>>, CompileError> {
        let Some(content) = self.content(file)? else {
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
}

/// Why this can't be the name of a service or bundle.
pub(super) fn bad_name(name: &str) -> Option<&'static str> {
    if name.starts_with("s6rc-") || name.starts_with("s6-rc-") {
        Some("names that start with s6rc- or s6-rc- are s6-rc's own")
    } else if name.contains(['\n', '\t']) {
        Some("a name can't have a newline or a tab in it")
    } else if name.len() > NAME_BYTES_MAX {
        Some("a name can't be longer than 251 bytes")
    } else {
        None
    }
}
