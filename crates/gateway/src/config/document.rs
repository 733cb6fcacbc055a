//! `config.yaml`, read tolerantly: unknown keys are nobody's business here, scalars are text.

use std::path::PathBuf;

use herm_home::files::Dir;
use herm_home::layout::CONFIG;
use herm_home::{ProfilePaths, config};
use serde_json::{Map, Value};

use super::ConfigError;

/// A profile's `config.yaml`; an absent or empty one has no keys.
#[derive(Debug)]
pub(super) struct Document {
    file: PathBuf,
    root: Value,
}

impl Document {
    pub(super) fn load(profile: &ProfilePaths) -> Result<Self, ConfigError> {
        let file = profile.config();
        let place = file.display().to_string();
        let content = Dir::open(profile.dir())
            .and_then(|dir| dir.read_input(CONFIG, config::MAX_BYTES))
            .map_err(|error| ConfigError::new(&place, "file", error.to_string()))?;
        let parsed = match content {
            None => config::Config::default(),
            Some(content) => config::Config::parse(&content.bytes)
                .map_err(|error| ConfigError::new(&place, "file", error.to_string()))?,
        };
        let root = match parsed.at(&[]) {
            None => Value::Object(Map::new()),
            Some(root @ Value::Object(_)) => root.clone(),
            Some(_) => {
                let problem = "is not a mapping of keys to values";
                return Err(ConfigError::new(place, "file", problem));
            }
        };
        Ok(Self { file, root })
    }

    /// The file's name, for messages.
    pub(super) fn place(&self) -> String {
        self.file.display().to_string()
    }

    /// The section at `path`, or `None` where there is none.
    pub(super) fn section(&self, path: &[&str]) -> Result<Option<Section<'_>>, ConfigError> {
        let mut section = Section {
            document: self,
            path: String::new(),
            value: &self.root,
        };
        for key in path {
            match section.child(key)? {
                Some(child) => section = child,
                None => return Ok(None),
            }
        }
        Ok(Some(section))
    }

    /// The text at `path`.
    pub(super) fn text(&self, path: &[&str]) -> Result<Option<String>, ConfigError> {
        let Some((key, parents)) = path.split_last() else {
            return Ok(None);
        };
        match self.section(parents)? {
            Some(section) => section.text(key),
            None => Ok(None),
        }
    }
}

/// A value in the document that knows its path, for messages.
#[derive(Debug, Clone)]
pub(super) struct Section<'a> {
    document: &'a Document,
    path: String,
    value: &'a Value,
}

impl<'a> Section<'a> {
    /// An error about `key` in this section.
    pub(super) fn error(&self, key: &str, problem: impl Into<String>) -> ConfigError {
        ConfigError::new(self.document.place(), self.path_of(key), problem)
    }

    fn path_of(&self, key: &str) -> String {
        match (self.path.as_str(), key) {
            ("", key) => key.to_owned(),
            (path, "") => path.to_owned(),
            (path, key) => format!("{path}.{key}"),
        }
    }

    fn get(&self, key: &str) -> Result<Option<&'a Value>, ConfigError> {
        match self.value {
            Value::Object(map) => Ok(map.get(key).filter(|v| !v.is_null())),
            _ => Err(self.error("", "must be a mapping of keys to values")),
        }
    }

    /// The value under `key` as a section of its own; null counts as absent.
    pub(super) fn child(&self, key: &str) -> Result<Option<Self>, ConfigError> {
        Ok(self.get(key)?.map(|value| Self {
            document: self.document,
            path: self.path_of(key),
            value,
        }))
    }

    /// The entries of a list of mappings; what isn't a list has none.
    pub(super) fn entries(&self) -> impl Iterator<Item = Self> {
        let items = self.value.as_array().map_or(&[] as &[Value], Vec::as_slice);
        items
            .iter()
            .enumerate()
            .filter(|(_, value)| value.is_object())
            .map(|(index, value)| Self {
                document: self.document,
                path: format!("{}[{index}]", self.path),
                value,
            })
    }

    /// This value itself, where it is one scalar and not a mapping.
    pub(super) fn scalar(&self) -> Option<String> {
        match self.value {
            Value::String(text) => Some(text.trim().to_owned()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(flag) => Some(flag.to_string()),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        }
    }

    /// The text under `key`; numbers and booleans are their text, blank is absent.
    pub(super) fn text(&self, key: &str) -> Result<Option<String>, ConfigError> {
        let Some(child) = self.child(key)? else {
            return Ok(None);
        };
        let text = child
            .scalar()
            .ok_or_else(|| self.error(key, "must be one value, not a list or a mapping"))?;
        Ok(Some(text).filter(|t| !t.is_empty()))
    }

    /// The first of several spellings of one setting.
    pub(super) fn first_text(&self, keys: &[&str]) -> Result<Option<String>, ConfigError> {
        for key in keys {
            if let Some(text) = self.text(key)? {
                return Ok(Some(text));
            }
        }
        Ok(None)
    }
}
