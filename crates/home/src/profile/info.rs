//! What there is to see of a profile in the home; what it is doing the supervisor knows.

use std::path::PathBuf;

use serde::Serialize;

use crate::claims::Needs;
use crate::config::{self, Config};
use crate::discover::{Discovery, discover};
use crate::dotenv::{self, Dotenv};
use crate::error::HomeError;
use crate::files::Dir;
use crate::intent::{self, Desired};
use crate::layout::{AGENT_STATE, DOTENV, HERM_DIR, Home, INTENT, ProfilePaths};
use crate::name::ProfileName;
use crate::ports;
use crate::profile::{META, NO_SKILLS};
use crate::state;
use crate::unique::API_SERVER;

/// A profile as the home shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProfileInfo {
    /// Its name.
    pub name: String,
    /// Its directory.
    pub path: PathBuf,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The model it talks to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The model's provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// What the operator wants of its gateway, if that was ever said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired: Option<Desired>,
    /// What its gateway last said of itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway_state: Option<String>,
    /// The ports its gateway listens on by its files, else the one that was given to it.
    pub ports: Vec<u16>,
    /// The settings that log it in at chat services (names only).
    pub tokens: Vec<String>,
    /// Whether it wants none of the bundled skills.
    pub no_skills: bool,
    /// What is wrong with its configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// All profiles, `default` first.
pub fn list(home: &Home) -> Result<Vec<ProfileInfo>, HomeError> {
    discover(home)?
        .profiles
        .iter()
        .map(|name| describe(&home.profile(name)))
        .collect()
}

/// One profile; an unknown one is an error that names the nearest.
pub fn show(home: &Home, name: &ProfileName) -> Result<ProfileInfo, HomeError> {
    describe(&home.profile(discover(home)?.find(name)?))
}

/// What a profile is for, if it says so.
pub fn description(profile: &ProfilePaths) -> Option<String> {
    let content = Dir::open(profile.dir())
        .ok()?
        .read_input(META, config::MAX_BYTES)
        .ok()??;
    Config::parse(&content.bytes).ok()?.text(&["description"])
}

/// Whether nobody has ever used this home: no gateway of the root profile has left a state, nobody
/// has given an order for it, and there is no other profile.
pub fn is_fresh(home: &Home, found: &Discovery) -> Result<bool, HomeError> {
    let root = Dir::open(home.root())?;
    let ordered = root.child(HERM_DIR)?.is_some_and(|dir| dir.exists(INTENT));
    Ok(!ordered && !root.exists(AGENT_STATE) && found.profiles.len() == 1)
}

/// A port that was given to the profile (`port: auto`) is where the API server listens, and not at
/// the agent's default, unless the profile names one.
fn listening(profile: &ProfilePaths, dotenv: &Dotenv, config: &Config, needs: &Needs) -> Vec<u16> {
    let extra = [
        "platforms",
        API_SERVER.platform,
        "extra",
        API_SERVER.extra_key,
    ];
    let named = dotenv.get(API_SERVER.port_key).is_some() || config.port(&extra).is_some();
    let given = ports::recorded(profile).ok().flatten().filter(|_| !named);
    let others = needs
        .ports
        .iter()
        .filter(|(_, key)| given.is_none() || *key != API_SERVER.port_key)
        .map(|(port, _)| *port);
    given.into_iter().chain(others).collect()
}

fn describe(profile: &ProfilePaths) -> Result<ProfileInfo, HomeError> {
    let dir = Dir::open(profile.dir())?;
    let mut problem = None;
    let config = match config::load(profile) {
        Ok(Ok(config)) => config,
        Ok(Err(e)) => {
            problem = Some(e.to_string());
            Config::default()
        }
        Err(e) => {
            problem = Some(e.to_string());
            Config::default()
        }
    };
    let dotenv = dir.read_input(DOTENV, dotenv::MAX_BYTES).ok().flatten();
    let dotenv = dotenv
        .map(|content| Dotenv::parse(&content.bytes))
        .unwrap_or_default();
    let needs = Needs::of(&dotenv, Some(&config));
    let listening = listening(profile, &dotenv, &config, &needs);
    let model = config.model();
    let agent = state::peek(profile).ok().flatten();
    Ok(ProfileInfo {
        name: profile.name().to_string(),
        path: profile.dir().to_owned(),
        description: description(profile),
        model: model.name,
        provider: model.provider,
        desired: intent::peek(profile)
            .ok()
            .flatten()
            .map(|intent| intent.state),
        gateway_state: agent.and_then(|state| state.gateway_state().map(str::to_owned)),
        ports: listening,
        tokens: needs.tokens.into_keys().collect(),
        no_skills: dir.exists(NO_SKILLS),
        problem,
    })
}
