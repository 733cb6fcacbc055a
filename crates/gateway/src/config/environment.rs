//! The variables a profile sees: its `.env` over the process's environment, as for the agent.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use herm_home::ProfilePaths;
use herm_home::dotenv::{self, Dotenv};
use herm_home::files::Dir;
use herm_home::layout::DOTENV;
use herm_home::unique::is_unique;

use super::ConfigError;

/// Variables by name. `Debug` shows no values.
pub(crate) struct Environment {
    file: PathBuf,
    own: Dotenv,
    inherited: BTreeMap<String, String>,
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

impl Environment {
    /// Reads the profile's `.env`, if it has one. A container's variables reach all gateways, and
    /// two of them can't share a port; so a named profile takes what only one may have (L53)
    /// from its own files.
    pub(crate) fn load(
        profile: &ProfilePaths,
        inherited: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let file = profile.dotenv();
        let content = Dir::open(profile.dir())
            .and_then(|dir| dir.read_input(DOTENV, dotenv::MAX_BYTES))
            .map_err(|error| {
                ConfigError::new(file.display().to_string(), "file", error.to_string())
            })?;
        let shared = profile.name().is_default();
        Ok(Self {
            file,
            own: content.map_or_else(Dotenv::default, |c| Dotenv::parse(&c.bytes)),
            inherited: inherited
                .filter(|(name, _)| shared || !is_unique(name))
                .collect(),
        })
    }

    /// The variable's value, if it has one that isn't blank.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.own_value(name).or_else(|| {
            let value = self.inherited.get(name)?.trim();
            (!value.is_empty()).then_some(value)
        })
    }

    fn own_value(&self, name: &str) -> Option<&str> {
        let value = self.own.get(name)?.expose().trim();
        (!value.is_empty()).then_some(value)
    }

    /// Where `get(name)` comes from, for a message.
    pub(super) fn place(&self, name: &str) -> String {
        match self.own_value(name) {
            Some(_) => self.file.display().to_string(),
            None => "the environment".to_owned(),
        }
    }

    /// Where a variable of this profile should be written.
    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    /// `text` with each `${NAME}` replaced; one whose variable isn't set stays as it is.
    pub(super) fn expand(&self, text: &str) -> String {
        let mut expanded = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            expanded.push_str(before);
            let Some((name, following)) = after.split_once('}') else {
                expanded.push_str("${");
                rest = after;
                continue;
            };
            match self.get(name) {
                Some(value) => expanded.push_str(value),
                None => expanded.extend(["${", name, "}"]),
            }
            rest = following;
        }
        expanded.push_str(rest);
        expanded
    }
}
