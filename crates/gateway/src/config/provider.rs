//! Which OpenAI-compatible endpoint a profile's completions go to.
//!
//! The shape is the agent's: `model` is a name, or a mapping with `default` (or `model`),
//! `provider`, `base_url` and `api_key`/`key_env`; `provider` names one of the well-known ones
//! below or an entry of `providers` or `custom_providers`.

use herm_home::Secret;
use reqwest::Url;

use super::document::{Document, Section};
use super::{ConfigError, Environment};

/// A provider reached by a well-known address and key variable.
struct WellKnown {
    names: &'static [&'static str],
    base_url: &'static str,
    base_url_variable: &'static str,
    key_variables: &'static [&'static str],
}

/// Those of the agent's providers that speak chat completions with a plain key, in the order in
/// which `auto` tries them.
static WELL_KNOWN: [WellKnown; 7] = [
    WellKnown {
        names: &["openrouter"],
        base_url: "https://openrouter.ai/api/v1",
        base_url_variable: "OPENROUTER_BASE_URL",
        key_variables: &["OPENROUTER_API_KEY"],
    },
    WellKnown {
        names: &["openai-api", "openai"],
        base_url: "https://api.openai.com/v1",
        base_url_variable: "OPENAI_BASE_URL",
        key_variables: &["OPENAI_API_KEY"],
    },
    WellKnown {
        names: &["deepseek"],
        base_url: "https://api.deepseek.com/v1",
        base_url_variable: "DEEPSEEK_BASE_URL",
        key_variables: &["DEEPSEEK_API_KEY"],
    },
    WellKnown {
        names: &["xai"],
        base_url: "https://api.x.ai/v1",
        base_url_variable: "XAI_BASE_URL",
        key_variables: &["XAI_API_KEY"],
    },
    WellKnown {
        names: &["groq"],
        base_url: "https://api.groq.com/openai/v1",
        base_url_variable: "GROQ_BASE_URL",
        key_variables: &["GROQ_API_KEY"],
    },
    WellKnown {
        names: &["mistral"],
        base_url: "https://api.mistral.ai/v1",
        base_url_variable: "MISTRAL_BASE_URL",
        key_variables: &["MISTRAL_API_KEY"],
    },
    WellKnown {
        names: &["gemini"],
        base_url: "https://generativelanguage.googleapis.com/v1beta/openai",
        base_url_variable: "GEMINI_OPENAI_BASE_URL",
        key_variables: &["GOOGLE_API_KEY", "GEMINI_API_KEY"],
    },
];

/// Names the agent has for "the endpoint in `base_url`".
const OWN_ENDPOINT: [&str; 5] = ["custom", "ollama", "vllm", "llamacpp", "lmstudio"];

/// Where completions are sent, with what.
#[derive(Debug, Clone)]
pub(crate) struct Provider {
    /// The full address of the chat completions endpoint.
    pub(crate) endpoint: Url,
    /// Sent as bearer token; servers on one's own machine often want none.
    pub(crate) key: Option<Secret>,
    /// The model asked for, whatever a client calls it.
    pub(crate) model: String,
}

/// `None`: nothing is configured (yet), which is no error.
pub(super) fn resolve(
    document: &Document,
    env: &Environment,
) -> Result<Option<Provider>, ConfigError> {
    let Some(model) = document.section(&["model"])? else {
        return Ok(None);
    };
    if let Some(name) = model.scalar() {
        return well_known_by_key(&name, env, document).transpose();
    }
    let default = model.first_text(&["default", "model", "name"])?;
    let provider = model
        .text("provider")?
        .map_or_else(|| "auto".to_owned(), |p| p.to_lowercase());
    let wanted = Wanted {
        default: default.map(|d| env.expand(&d)),
        base_url: model.text("base_url")?,
        model: &model,
        env,
    };
    if let Some(entry) = named_entry(document, &provider)? {
        return wanted.at_entry(&entry).map(Some);
    }
    let well_known = WELL_KNOWN
        .iter()
        .find(|w| w.names.contains(&provider.as_str()));
    if let Some(base_url) = &wanted.base_url {
        let known = well_known.or_else(|| by_host(base_url));
        let variables = known.map_or(&[] as &[_], |w| w.key_variables);
        let key = wanted.key(&model, variables)?;
        return wanted
            .provider(&model, "base_url", base_url, key, None)
            .map(Some);
    }
    if let Some(well_known) = well_known {
        let key = wanted
            .key(&model, well_known.key_variables)?
            .ok_or_else(|| {
                let variables = well_known.key_variables.join(" or ");
                let file = env.file().display();
                model.error(
                    "provider",
                    format!("{provider} needs {variables} in {file}"),
                )
            })?;
        let base_url = well_known.base_url(env);
        return wanted
            .provider(&model, "provider", base_url, Some(key), None)
            .map(Some);
    }
    match provider.as_str() {
        "auto" => match &wanted.default {
            Some(name) => well_known_by_key(name, env, document).transpose(),
            None => Ok(None),
        },
        own if OWN_ENDPOINT.contains(&own) => {
            Err(model.error("base_url", format!("is missing (the provider is {own})")))
        }
        _ => Err(model.error(
            "provider",
            format!(
                "{provider:?} is not known to the built-in gateway; set model.base_url to an \
             OpenAI-compatible endpoint, or take one of {}",
                well_known_names()
            ),
        )),
    }
}

fn well_known_names() -> String {
    let names: Vec<_> = WELL_KNOWN
        .iter()
        .filter_map(|w| w.names.first().copied())
        .collect();
    names.join(", ")
}

impl WellKnown {
    fn base_url<'a>(&self, env: &'a Environment) -> &'a str {
        env.get(self.base_url_variable).unwrap_or(self.base_url)
    }
}

/// The well-known provider that lives at `base_url`. A provider's key goes to no other host
/// unless the profile says so.
fn by_host(base_url: &str) -> Option<&'static WellKnown> {
    let host = |text: &str| Some(Url::parse(text).ok()?.host_str()?.to_owned());
    let wanted = host(base_url)?;
    WELL_KNOWN
        .iter()
        .find(|w| host(w.base_url).as_ref() == Some(&wanted))
}

/// The first well-known provider whose key the profile has.
fn well_known_by_key(
    model: &str,
    env: &Environment,
    document: &Document,
) -> Option<Result<Provider, ConfigError>> {
    WELL_KNOWN.iter().find_map(|well_known| {
        let key = well_known
            .key_variables
            .iter()
            .find_map(|name| env.get(name))?;
        let provider = endpoint(well_known.base_url(env))
            .map(|endpoint| Provider {
                endpoint,
                key: Some(Secret::new(key)),
                model: env.expand(model),
            })
            .map_err(|problem| {
                ConfigError::new(document.place(), well_known.base_url_variable, problem)
            });
        Some(provider)
    })
}

/// The entry of `providers` or `custom_providers` that `provider` names, also as `custom:NAME`.
fn named_entry<'a>(
    document: &'a Document,
    provider: &str,
) -> Result<Option<Section<'a>>, ConfigError> {
    let wanted = provider.strip_prefix("custom:").unwrap_or(provider);
    if let Some(providers) = document.section(&["providers"])?
        && let Some(entry) = providers.child(wanted)?
    {
        return Ok(Some(entry));
    }
    let Some(list) = document.section(&["custom_providers"])? else {
        return Ok(None);
    };
    for entry in list.entries() {
        let name = entry.text("name")?.unwrap_or_default().to_lowercase();
        if name == wanted || name.replace(' ', "-") == wanted {
            return Ok(Some(entry));
        }
    }
    Ok(None)
}

/// What the `model` section asks for.
struct Wanted<'a> {
    default: Option<String>,
    base_url: Option<String>,
    model: &'a Section<'a>,
    env: &'a Environment,
}

impl Wanted<'_> {
    fn at_entry(&self, entry: &Section<'_>) -> Result<Provider, ConfigError> {
        let base_url = match &self.base_url {
            Some(base_url) => base_url.clone(),
            None => entry
                .first_text(&["base_url", "api", "url"])?
                .ok_or_else(|| entry.error("base_url", "is missing"))?,
        };
        let key = match self.key(entry, &[])? {
            Some(key) => Some(key),
            None => self.key(self.model, &[])?,
        };
        let model = entry.first_text(&["default_model", "model"])?;
        self.provider(entry, "base_url", &base_url, key, model)
    }

    fn provider(
        &self,
        section: &Section<'_>,
        key_name: &str,
        base_url: &str,
        key: Option<Secret>,
        fallback_model: Option<String>,
    ) -> Result<Provider, ConfigError> {
        let endpoint = endpoint(&self.env.expand(base_url))
            .map_err(|problem| section.error(key_name, problem))?;
        let model = self.default.clone().or(fallback_model).ok_or_else(|| {
            self.model
                .error("default", "is missing: it names the model")
        })?;
        Ok(Provider {
            endpoint,
            key,
            model,
        })
    }

    /// A variable the section names, else the key written in it, else the usual variables.
    fn key(&self, section: &Section<'_>, usual: &[&str]) -> Result<Option<Secret>, ConfigError> {
        let named = section.first_text(&["key_env", "api_key_env"])?;
        if let Some(value) = named.as_deref().and_then(|name| self.env.get(name)) {
            return Ok(Some(Secret::new(value)));
        }
        if let Some(written) = section.text("api_key")? {
            return Ok(Some(Secret::new(self.env.expand(&written))));
        }
        if let Some(name) = named {
            let file = self.env.file().display();
            let problem = format!("names {name}, which is not set in {file}");
            return Err(section.error("key_env", problem));
        }
        Ok(usual
            .iter()
            .find_map(|name| self.env.get(name))
            .map(Secret::new))
    }
}

/// The chat completions address under a base address.
fn endpoint(base_url: &str) -> Result<Url, &'static str> {
    let base = base_url.trim().trim_end_matches('/');
    let url = Url::parse(&format!("{base}/chat/completions"))
        .map_err(|_| "is not a URL such as https://host/v1")?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("must begin with http:// or https://");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold a user name or password; use api_key or key_env");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("must not hold a query or a fragment");
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_well_known_address_is_recognised_by_its_host_and_by_nothing_else() {
        let names = |base_url| by_host(base_url).map(|w| w.names[0]);
        assert_eq!(names("https://api.openai.com/v2/"), Some("openai-api"));
        assert_eq!(names("https://api.openai.com.example/v1"), None);
        assert_eq!(names("https://example/?api.openai.com"), None);
        assert_eq!(names("nonsense"), None);
    }

    #[test]
    fn every_well_known_address_is_one() {
        for well_known in &WELL_KNOWN {
            endpoint(well_known.base_url).unwrap();
            assert!(!well_known.key_variables.is_empty());
        }
    }
}
