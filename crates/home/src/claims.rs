//! Who holds which port and which token (contract section 10, L14).
//!
//! One file in the home, `.herm/claims.json`, names for each profile the ports its gateway listens
//! on and fingerprints of the tokens it logs in with. A profile claims all it needs at once, when
//! its gateway is started, and releases it when it is stopped for good; a clash is refused and
//! names the holder. Tokens are stored as fingerprints, never themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::config::Config;
use crate::dotenv::Dotenv;
use crate::error::HomeError;
use crate::files::{Dir, PRIVATE, PRIVATE_DIR};
use crate::layout::{CLAIMS, HERM_DIR, Home};
use crate::loaded::{Corrupt, Loaded, load_or_set_aside, parse_json};
use crate::name::ProfileName;
use crate::unique::{LISTENERS, Listener, TOKENS};

/// Largest claims file that is read, in bytes: some 10,000 profiles.
pub const MAX_BYTES: u64 = 8 << 20;
const LOCK: &str = "claims.lock";
/// Hexadecimal digits of a SHA-256 that make a fingerprint: 128 bits.
const FINGERPRINT_DIGITS: usize = 32;

/// What stands for a token in the claims: equal tokens have equal fingerprints, and nobody can
/// tell the token from it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// The fingerprint of a token of this kind (its key in `.env`).
    pub fn of(key: &str, token: &str) -> Self {
        let digest = Sha256::new()
            .chain_update(key)
            .chain_update([0])
            .chain_update(token.trim())
            .finalize();
        Self(format!("{digest:.FINGERPRINT_DIGITS$x}"))
    }
}

/// What a profile needs for itself, or holds: ports and tokens, each with the setting it is from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Needs {
    /// Port and the key that set it.
    #[serde(default)]
    pub ports: BTreeMap<u16, String>,
    /// Key and fingerprint of its value.
    #[serde(default)]
    pub tokens: BTreeMap<String, Fingerprint>,
}

/// The thing two profiles want.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contested {
    /// A port.
    Port(u16),
    /// The value of a setting, which is named without the value.
    Token(String),
}

impl fmt::Display for Contested {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(port) => write!(f, "port {port}"),
            Self::Token(key) => write!(f, "the same {key}"),
        }
    }
}

/// What only one profile can hold, to find its holder by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Thing {
    Port(u16),
    Token(String, Fingerprint),
}

impl Thing {
    /// As the one who can't have it is told.
    fn contested(self) -> Contested {
        match self {
            Self::Port(port) => Contested::Port(port),
            Self::Token(key, _) => Contested::Token(key),
        }
    }
}

/// Two profiles want one thing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "profile '{asker}' needs {what} ({setting}), which profile '{holder}' holds: give '{asker}' another one, or stop '{holder}'"
)]
pub struct Clash {
    /// Who asked.
    pub asker: ProfileName,
    /// Who has it.
    pub holder: ProfileName,
    /// What.
    pub what: Contested,
    /// The asker's setting it comes from.
    pub setting: String,
}

/// The claims of all profiles of a home.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claims {
    held: BTreeMap<ProfileName, Needs>,
    /// The same from the other side, so that one asker doesn't have to look at all holders. A file may name
    /// several holders of one thing.
    holders: BTreeMap<Thing, BTreeSet<ProfileName>>,
}

impl Needs {
    /// What a profile's files say its gateway will take. `config` is `None` where the file can't
    /// be read; then only `.env` counts.
    pub fn of(dotenv: &Dotenv, config: Option<&Config>) -> Self {
        let mut needs = Self::default();
        for listener in &LISTENERS {
            if let Some(port) = listening_port(listener, dotenv, config) {
                needs.ports.insert(port, listener.port_key.to_owned());
            }
        }
        for key in TOKENS {
            let configured = || config.and_then(|config| configured_token(config, key));
            let token = dotenv
                .get(key)
                .map(|token| token.expose().to_owned())
                .or_else(configured);
            if let Some(token) = token {
                needs
                    .tokens
                    .insert(key.to_owned(), Fingerprint::of(key, &token));
            }
        }
        needs
    }

    /// All of it, each with the setting it is from.
    fn things(&self) -> impl Iterator<Item = (Thing, &str)> {
        let ports = self.ports.iter();
        let ports = ports.map(|(port, setting)| (Thing::Port(*port), setting.as_str()));
        let tokens = self.tokens.iter();
        let tokens = tokens.map(|(key, token)| {
            let thing = Thing::Token(key.clone(), token.clone());
            (thing, key.as_str())
        });
        ports.chain(tokens)
    }

    /// Whether there is nothing to claim.
    pub fn is_empty(&self) -> bool {
        self.ports.is_empty() && self.tokens.is_empty()
    }
}

/// The port a listener will take, if it is on. As with the agent, `.env` goes before `config.yaml`.
fn listening_port(listener: &Listener, dotenv: &Dotenv, config: Option<&Config>) -> Option<u16> {
    let platform = ["platforms", listener.platform];
    let on = listener.enabled_key.is_some_and(|key| dotenv.is_true(key))
        || listener
            .presence_key
            .is_some_and(|key| dotenv.get(key).is_some())
        || config.and_then(|config| config.flag(&[platform[0], platform[1], "enabled"]))
            == Some(true);
    if !on {
        return None;
    }
    let own = dotenv
        .get(listener.port_key)
        .and_then(|port| port.expose().trim().parse().ok());
    let configured = || {
        config.and_then(|config| {
            config.port(&[platform[0], platform[1], "extra", listener.extra_key])
        })
    };
    Some(own.or_else(configured).unwrap_or(listener.default_port)).filter(|port| *port != 0)
}

/// The platforms whose token may stand in `config.yaml`.
fn configured_token(config: &Config, key: &str) -> Option<String> {
    let platform = match key {
        "TELEGRAM_BOT_TOKEN" => "telegram",
        "DISCORD_BOT_TOKEN" => "discord",
        "SLACK_BOT_TOKEN" => "slack",
        "MATTERMOST_TOKEN" => "mattermost",
        _ => return None,
    };
    config.text(&["platforms", platform, "token"])
}

impl Claims {
    /// Reads the file's bytes. Entries under names that are none are dropped.
    pub fn parse(bytes: &[u8]) -> Result<Self, Corrupt> {
        #[derive(Deserialize)]
        struct File {
            profiles: BTreeMap<String, Needs>,
        }
        let file: File = serde_json::from_value(parse_json(bytes)?)
            .map_err(|_| Corrupt::Shape("it is no list of claims"))?;
        let named = |(name, needs): (String, Needs)| Some((ProfileName::parse(&name).ok()?, needs));
        let mut claims = Self::default();
        for (name, needs) in file.profiles.into_iter().filter_map(named) {
            claims.put(name, needs);
        }
        Ok(claims)
    }

    /// The file's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let profiles: BTreeMap<&str, &Needs> = self
            .held
            .iter()
            .map(|(name, needs)| (name.as_str(), needs))
            .collect();
        let mut bytes = serde_json::json!({ "version": 1, "profiles": profiles })
            .to_string()
            .into_bytes();
        bytes.push(b'\n');
        bytes
    }

    /// What a profile holds.
    pub fn of(&self, name: &ProfileName) -> Option<&Needs> {
        self.held.get(name)
    }

    /// Whether another than this profile holds a port.
    pub fn is_anothers_port(&self, name: &ProfileName, port: u16) -> bool {
        self.others_with(name, &Thing::Port(port)).next().is_some()
    }

    fn others_with<'a>(
        &'a self,
        asker: &'a ProfileName,
        thing: &Thing,
    ) -> impl Iterator<Item = &'a ProfileName> {
        let holders = self.holders.get(thing).into_iter().flatten();
        holders.filter(move |holder| *holder != asker)
    }

    /// What of `needs` others hold.
    pub fn clashes(&self, asker: &ProfileName, needs: &Needs) -> Vec<Clash> {
        let mut clashes = Vec::new();
        for (thing, setting) in needs.things() {
            for holder in self.others_with(asker, &thing) {
                clashes.push(Clash {
                    asker: asker.clone(),
                    holder: holder.clone(),
                    what: thing.clone().contested(),
                    setting: setting.to_owned(),
                });
            }
        }
        clashes
    }

    /// Gives a profile all it needs, in place of what it held; or nothing, if others hold any of it.
    pub fn claim(&mut self, asker: &ProfileName, needs: Needs) -> Result<(), Vec<Clash>> {
        let clashes = self.clashes(asker, &needs);
        if clashes.is_empty() {
            self.put(asker.clone(), needs);
            Ok(())
        } else {
            Err(clashes)
        }
    }

    fn put(&mut self, name: ProfileName, needs: Needs) {
        self.take(&name);
        for (thing, _) in needs.things() {
            self.holders.entry(thing).or_default().insert(name.clone());
        }
        self.held.insert(name, needs);
    }

    fn take(&mut self, name: &ProfileName) -> Option<Needs> {
        let needs = self.held.remove(name)?;
        for (thing, _) in needs.things() {
            if let Some(holders) = self.holders.get_mut(&thing) {
                holders.remove(name);
                if holders.is_empty() {
                    self.holders.remove(&thing);
                }
            }
        }
        Some(needs)
    }

    /// Takes everything from a profile; `false` if it held nothing.
    pub fn release(&mut self, name: &ProfileName) -> bool {
        self.take(name).is_some()
    }

    /// Gives what one profile holds to another name.
    pub fn rename(&mut self, old: &ProfileName, new: &ProfileName) {
        if let Some(needs) = self.take(old) {
            self.put(new.clone(), needs);
        }
    }

    /// Keeps the claims of these profiles only: the others are gone.
    pub fn retain(&mut self, exists: impl Fn(&ProfileName) -> bool) {
        let gone = self.held.keys().filter(|name| !exists(name));
        for name in gone.cloned().collect::<Vec<_>>() {
            self.take(&name);
        }
    }
}

/// Reads the claims of a home; a corrupt file is set aside and counts as empty.
pub fn load(home: &Home, now: SystemTime) -> Result<Loaded<Claims>, HomeError> {
    match Dir::open(home.root())?.child(HERM_DIR)? {
        Some(dir) => load_or_set_aside(&dir, CLAIMS, MAX_BYTES, now, Claims::parse),
        None => Ok(Loaded {
            value: None,
            corrupt: None,
        }),
    }
}

/// Reads the claims of a home without touching it, for those who only look; a corrupt file counts as
/// none.
pub fn peek(home: &Home) -> Result<Option<Claims>, HomeError> {
    let Some(dir) = Dir::open(home.root())?.child(HERM_DIR)? else {
        return Ok(None);
    };
    let content = dir.read(CLAIMS, MAX_BYTES)?;
    Ok(content.and_then(|content| Claims::parse(&content.bytes).ok()))
}

/// Changes the claims of a home under a lock; written only if `change` changed anything.
pub fn update<T>(
    home: &Home,
    now: SystemTime,
    change: impl FnOnce(&mut Claims) -> T,
) -> Result<T, HomeError> {
    let dir = Dir::open(home.root())?.ensure_child(HERM_DIR, PRIVATE_DIR)?;
    let _lock = dir.lock(LOCK)?;
    let before = load_or_set_aside(&dir, CLAIMS, MAX_BYTES, now, Claims::parse)?
        .value
        .unwrap_or_default();
    let mut after = before.clone();
    let result = change(&mut after);
    if after != before {
        dir.write_atomic(CLAIMS, &after.to_bytes(), PRIVATE)?;
    }
    Ok(result)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock;

    fn name(text: &str) -> ProfileName {
        ProfileName::parse(text).unwrap()
    }

    fn needs(dotenv: &str) -> Needs {
        Needs::of(&Dotenv::parse(dotenv.as_bytes()), None)
    }

    #[test]
    fn the_api_server_takes_its_port_only_when_it_is_on() {
        assert!(needs("API_SERVER_PORT=9000\n").is_empty());
        let ports = |text| needs(text).ports.into_keys().collect::<Vec<_>>();
        assert_eq!(ports("API_SERVER_ENABLED=true\n"), [8642]);
        assert_eq!(
            ports("API_SERVER_KEY=0123456789abcdef\nAPI_SERVER_PORT=9000\n"),
            [9000]
        );
        assert_eq!(
            ports("API_SERVER_ENABLED=on\nAPI_SERVER_PORT=junk\nWEBHOOK_ENABLED=1\n"),
            [8642, 8644]
        );
    }

    #[test]
    fn the_configuration_names_ports_and_tokens_too_and_env_goes_before_it() {
        let config = Config::parse(
            b"platforms:\n  api_server: {enabled: true, extra: {port: 9001}}\n  telegram: {token: abc}\n",
        )
        .unwrap();
        let from_config = Needs::of(&Dotenv::default(), Some(&config));
        assert_eq!(from_config.ports.keys().collect::<Vec<_>>(), [&9001]);
        let token = Fingerprint::of("TELEGRAM_BOT_TOKEN", "abc");
        assert_eq!(from_config.tokens.get("TELEGRAM_BOT_TOKEN"), Some(&token));
        let env = Dotenv::parse(b"API_SERVER_PORT=9002\nTELEGRAM_BOT_TOKEN=xyz\n");
        let both = Needs::of(&env, Some(&config));
        assert_eq!(both.ports.keys().collect::<Vec<_>>(), [&9002]);
        assert_ne!(both.tokens, from_config.tokens);
    }

    #[test]
    fn l14_a_clash_is_refused_whole_and_names_the_holder() {
        let mut claims = Claims::default();
        let both = "TELEGRAM_BOT_TOKEN=123:abc\nAPI_SERVER_ENABLED=1\n";
        claims.claim(&name("a"), needs(both)).unwrap();
        let clashes = claims.claim(&name("b"), needs(both)).unwrap_err();
        let texts: Vec<String> = clashes.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "profile 'b' needs port 8642 (API_SERVER_PORT), which profile 'a' holds: give 'b' another one, or stop 'a'",
                "profile 'b' needs the same TELEGRAM_BOT_TOKEN (TELEGRAM_BOT_TOKEN), which profile 'a' holds: give 'b' another one, or stop 'a'",
            ]
        );
        assert_eq!(
            claims.of(&name("b")),
            None,
            "nothing of a refused claim is kept"
        );
        claims
            .claim(&name("a"), needs(both))
            .expect("a profile never clashes with itself");
        assert!(claims.release(&name("a")));
        claims
            .claim(&name("b"), needs(both))
            .expect("what was released is free");
    }

    #[test]
    fn a_token_is_not_in_the_file_nor_in_any_message() {
        let mut claims = Claims::default();
        claims
            .claim(&name("a"), needs("DISCORD_BOT_TOKEN=very-secret\n"))
            .unwrap();
        let clash = claims
            .claim(&name("b"), needs("DISCORD_BOT_TOKEN=very-secret\n"))
            .unwrap_err();
        let file = String::from_utf8(claims.to_bytes()).unwrap();
        assert!(file.contains("DISCORD_BOT_TOKEN"));
        assert!(
            !file.contains("very-secret")
                && !format!("{clash:?}{claims:?}").contains("very-secret")
        );
    }

    #[test]
    fn claims_survive_on_the_disk_and_a_corrupt_file_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path());
        let now = clock::from_unix(0).unwrap();
        update(&home, now, |claims| {
            claims.claim(&name("a"), needs("API_SERVER_ENABLED=1"))
        })
        .unwrap()
        .unwrap();
        let kept = load(&home, now).unwrap().value.unwrap();
        assert!(kept.is_anothers_port(&name("b"), 8642));
        std::fs::write(home.claims(), "{").unwrap();
        assert!(load(&home, now).unwrap().corrupt.is_some());
        assert!(!kept.is_anothers_port(&name("a"), 8642));
        update(&home, now, |claims| claims.retain(|_| false)).unwrap();
    }

    proptest! {
        #[test]
        fn no_two_profiles_ever_hold_one_thing(
            asks in prop::collection::vec(("[a-d]", 1u16..5, "[x-z]", any::<bool>()), 0..40),
        ) {
            let mut claims = Claims::default();
            for (asker, port, token, release) in asks {
                let asker = name(&asker);
                if release {
                    claims.release(&asker);
                } else {
                    let needs = Needs {
                        ports: BTreeMap::from([(port, "P".to_owned())]),
                        tokens: BTreeMap::from([("T".to_owned(), Fingerprint::of("T", &token))]),
                    };
                    let _ = claims.claim(&asker, needs);
                }
                let mut ports: Vec<u16> =
                    claims.held.values().flat_map(|needs| needs.ports.keys().copied()).collect();
                let held = ports.len();
                ports.sort_unstable();
                ports.dedup();
                prop_assert_eq!(ports.len(), held);
                let mut tokens: Vec<_> = claims.held.values().flat_map(|needs| needs.tokens.values()).collect();
                tokens.sort();
                tokens.dedup();
                prop_assert_eq!(tokens.len(), claims.held.len());
                prop_assert_eq!(&Claims::parse(&claims.to_bytes()).unwrap(), &claims);
            }
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Claims::parse(&bytes);
        }
    }
}
