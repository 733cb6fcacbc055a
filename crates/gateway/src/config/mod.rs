//! A profile's configuration: what of `config.yaml`, `.env` and the environment concerns this
//! gateway.
//!
//! The files are the agent's; everything in them that is not read here is left to the agent and
//! ignored. What is read must make sense, or the gateway says which key doesn't and exits 78.

mod document;
mod environment;
mod provider;

use herm_home::ProfilePaths;

use crate::auth::ApiKey;
use document::Document;

pub(crate) use environment::Environment;
pub(crate) use provider::Provider;

/// The port the agent's own API server takes where nothing else is said.
const DEFAULT_PORT: u16 = 8642;
const DEFAULT_HOST: &str = "127.0.0.1";

/// Everything the gateway is told from outside, checked.
#[derive(Debug)]
pub(crate) struct Config {
    /// Whose configuration this is.
    pub(crate) profile: ProfilePaths,
    /// Host name or address to listen on.
    pub(crate) host: String,
    /// Port to listen on.
    pub(crate) port: u16,
    /// What clients must present; without it only `/health` is served, and only on loopback.
    pub(crate) key: Option<ApiKey>,
    /// The id clients see in `/v1/models`.
    pub(crate) advertised_model: String,
    /// Where completions go; `None` while nothing is configured.
    pub(crate) provider: Option<Provider>,
}

/// A setting that can't be used: the file (or other place), the key, and what is wrong with it.
/// Never carries the value, which may be a secret.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {key}: {problem}")]
pub(crate) struct ConfigError {
    place: String,
    key: String,
    problem: String,
}

impl ConfigError {
    fn new(place: impl Into<String>, key: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            place: place.into(),
            key: key.into(),
            problem: problem.into(),
        }
    }
}

impl Config {
    /// Reads a profile's configuration. `port` is the caller's choice and goes before the profile's.
    pub(crate) fn load(
        profile: &ProfilePaths,
        port: Option<u16>,
        env: &Environment,
    ) -> Result<Self, ConfigError> {
        let document = Document::load(profile)?;
        let api = ["platforms", "api_server", "extra"];
        let setting = |variable: &'static str, name: &str| -> Result<_, ConfigError> {
            if let Some(value) = env.get(variable) {
                return Ok(Some((
                    env.place(variable),
                    variable.to_owned(),
                    value.to_owned(),
                )));
            }
            let path = [api[0], api[1], api[2], name];
            let value = document.text(&path)?;
            Ok(value.map(|v| (document.place(), path.join("."), env.expand(&v))))
        };
        let key = match setting("API_SERVER_KEY", "key")? {
            None => None,
            Some((place, name, value)) => {
                Some(ApiKey::new(value).map_err(|problem| ConfigError::new(place, name, problem))?)
            }
        };
        let port = match (port, setting("API_SERVER_PORT", "port")?) {
            (Some(port), _) => port,
            (None, None) => DEFAULT_PORT,
            (None, Some((place, name, value))) => value
                .parse()
                .ok()
                .filter(|port| *port != 0)
                .ok_or_else(|| ConfigError::new(place, name, "is not a port (1 to 65535)"))?,
        };
        let host = setting("API_SERVER_HOST", "host")?;
        let advertised = setting("API_SERVER_MODEL_NAME", "model_name")?;
        Ok(Self {
            profile: profile.clone(),
            host: host.map_or_else(|| DEFAULT_HOST.to_owned(), |(_, _, value)| value),
            port,
            key,
            advertised_model: advertised.map_or_else(|| model_id(profile), |(_, _, value)| value),
            provider: provider::resolve(&document, env)?,
        })
    }
}

/// As the agent does: a named profile is its own model, the root profile is the agent's name.
fn model_id(profile: &ProfilePaths) -> String {
    let name = profile.name();
    if name.is_default() {
        "hermes-agent".to_owned()
    } else {
        name.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests;
