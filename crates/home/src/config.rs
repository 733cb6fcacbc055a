//! The few things herm reads in a profile's `config.yaml`: the model, the API server, the port
//! listeners, and whether one gateway serves all profiles. Everything else in it is the agent's.

use serde_json::Value;
use thiserror::Error;

use crate::error::HomeError;
use crate::files::Dir;
use crate::layout::{CONFIG, ProfilePaths};

/// Largest configuration that is read, in bytes.
pub const MAX_BYTES: u64 = 1 << 20;

/// A parsed `config.yaml`; empty where the file is absent or has nothing in it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Config(Value);

/// The file is no YAML. Says where, never what: the file may hold keys.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("config.yaml is no valid YAML{}: correct it", self.at())]
pub struct ConfigError {
    /// Line of the error, counted from 1, where the parser knows it.
    pub line: Option<u64>,
}

impl ConfigError {
    fn at(&self) -> String {
        self.line
            .map(|line| format!(" (line {line})"))
            .unwrap_or_default()
    }
}

/// The provider a profile talks to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Model {
    /// The model's name.
    pub name: Option<String>,
    /// The provider's name.
    pub provider: Option<String>,
    /// The provider's address.
    pub base_url: Option<String>,
}

impl Config {
    /// Reads a file's bytes. As with the agent's reader, a key given twice means its last value.
    pub fn parse(bytes: &[u8]) -> Result<Self, ConfigError> {
        let options = serde_saphyr::options! {
            duplicate_keys: serde_saphyr::options::DuplicateKeyPolicy::LastWins,
            with_snippet: false,
        };
        if bytes.trim_ascii().is_empty() {
            return Ok(Self::default());
        }
        serde_saphyr::from_slice_with_options::<Value>(bytes, options)
            .map(Self)
            .map_err(|e| ConfigError {
                line: e.location().map(|at| at.line()),
            })
    }

    /// The value at a path of keys; `null` counts as absent.
    pub fn at(&self, path: &[&str]) -> Option<&Value> {
        let mut value = &self.0;
        for key in path {
            value = value.get(key)?;
        }
        (!value.is_null()).then_some(value)
    }

    /// The text at a path of keys; numbers are given as text.
    pub fn text(&self, path: &[&str]) -> Option<String> {
        match self.at(path)? {
            Value::String(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }

    /// The flag at a path of keys, in any of the agent's words for yes.
    pub fn flag(&self, path: &[&str]) -> Option<bool> {
        match self.at(path)? {
            Value::Bool(flag) => Some(*flag),
            Value::String(word) => Some(crate::dotenv::is_truthy(word)),
            Value::Number(number) => Some(number.as_f64() != Some(0.0)),
            _ => None,
        }
    }

    /// A port at a path of keys.
    pub fn port(&self, path: &[&str]) -> Option<u16> {
        self.text(path)?.parse().ok().filter(|port| *port != 0)
    }

    /// The model: `model: name`, or `model: {default | model, provider, base_url}`.
    pub fn model(&self) -> Model {
        match self.at(&["model"]) {
            Some(Value::Object(_)) => Model {
                name: self
                    .text(&["model", "default"])
                    .or_else(|| self.text(&["model", "model"])),
                provider: self.text(&["model", "provider"]),
                base_url: self.text(&["model", "base_url"]),
            },
            _ => Model {
                name: self.text(&["model"]),
                provider: None,
                base_url: None,
            },
        }
    }

    /// Whether one gateway serves all profiles, where the file says anything about it.
    pub fn multiplex(&self) -> Option<bool> {
        self.flag(&["multiplex_profiles"])
            .or_else(|| self.flag(&["gateway", "multiplex_profiles"]))
    }
}

/// Reads a profile's configuration; an absent file is an empty one.
pub fn load(profile: &ProfilePaths) -> Result<Result<Config, ConfigError>, HomeError> {
    let content = Dir::open(profile.dir())?.read_input(CONFIG, MAX_BYTES)?;
    Ok(content.map_or_else(
        || Ok(Config::default()),
        |content| Config::parse(&content.bytes),
    ))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn both_forms_of_the_model_are_read() {
        let short = Config::parse(b"model: some/model\n").unwrap();
        assert_eq!(short.model().name.as_deref(), Some("some/model"));
        let long =
            Config::parse(b"model:\n  default: m\n  provider: custom\n  base_url: http://x/v1\n")
                .unwrap();
        let expected = Model {
            name: Some("m".into()),
            provider: Some("custom".into()),
            base_url: Some("http://x/v1".into()),
        };
        assert_eq!(long.model(), expected);
    }

    #[test]
    fn an_empty_file_is_an_empty_configuration() {
        for text in ["", "\n", "# only a comment\n", "---\n"] {
            assert_eq!(
                Config::parse(text.as_bytes()).unwrap().model(),
                Model::default(),
                "{text:?}"
            );
        }
    }

    #[test]
    fn a_key_given_twice_means_its_last_value() {
        let config = Config::parse(b"model: a\nmodel: b\n").unwrap();
        assert_eq!(config.text(&["model"]).as_deref(), Some("b"));
    }

    #[test]
    fn an_error_names_the_line_and_none_of_the_content() {
        let error = Config::parse(b"a: 1\nkey: sk-secret: x: [\n").unwrap_err();
        assert!(!error.to_string().contains("sk-secret"), "{error}");
        assert!(error.line.is_some());
    }

    #[test]
    fn the_top_level_flag_of_multiplexing_goes_before_the_nested_one() {
        let config =
            Config::parse(b"multiplex_profiles: off\ngateway: {multiplex_profiles: true}\n")
                .unwrap();
        assert_eq!(config.multiplex(), Some(false));
        let nested = Config::parse(b"gateway: {multiplex_profiles: yes}\n").unwrap();
        assert_eq!(nested.multiplex(), Some(true));
    }

    #[test]
    fn aliases_that_multiply_are_refused_instead_of_expanded() {
        let level = |i: usize| {
            format!(
                "a{i}: &a{i} [{}]\n",
                vec![format!("*a{}", i - 1); 9].join(", ")
            )
        };
        let bomb: Vec<String> = (1..12).map(level).collect();
        let bomb = format!("a0: &a0 [x, x, x, x, x, x, x, x, x]\n{}", bomb.concat());
        assert!(Config::parse(bomb.as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Config::parse(&bytes);
        }

        #[test]
        fn no_yaml_like_text_makes_the_reader_panic(text in "[-a-z0-9:#&*!|>'\"{}\\[\\], \n\t]{0,120}") {
            let _ = Config::parse(text.as_bytes());
        }
    }
}
