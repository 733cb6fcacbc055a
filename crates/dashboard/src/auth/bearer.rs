//! Tokens of programs: made by `herm dashboard token add`, shown once, kept as hashes.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use herm_home::files::PRIVATE;
use herm_home::{Home, HomeError};
use serde::{Deserialize, Serialize};

use super::token::{directory, fingerprint, hex, random, same, trouble};

/// The list's file in the dashboard's directory.
const FILE: &str = "tokens.json";
/// Largest list that is read, in bytes.
const MAX_BYTES: u64 = 256 * 1024;
/// Longest token that is looked at, in bytes.
const MAX_TOKEN_BYTES: usize = 256;
/// Most tokens of a home.
const MAX_TOKENS: usize = 256;
/// What every token begins with, so that people and scanners know what they have found.
const PREFIX: &str = "herm_";

/// What a program may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Look.
    Read,
    /// Look, start, stop, create, delete.
    Control,
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Control => "control",
        })
    }
}

/// A token as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// What its owner calls it.
    pub name: String,
    /// What it allows.
    pub scope: Scope,
    /// When it was made (RFC 3339).
    pub made: String,
    /// SHA-256 of the token.
    hash: String,
}

/// The tokens of a home. The file is looked at again when it has changed.
#[derive(Debug)]
pub(crate) struct Bearers {
    home: Home,
    cache: Mutex<(Option<SystemTime>, Vec<Known>)>,
}

impl Bearers {
    pub(crate) fn new(home: &Home) -> Self {
        Self {
            home: home.clone(),
            cache: Mutex::default(),
        }
    }

    /// What a token allows, if it is one of ours. A list that can't be read lets nobody in.
    pub(crate) fn scope_of(&self, shown: &str) -> Option<Scope> {
        if shown.len() > MAX_TOKEN_BYTES || !shown.starts_with(PREFIX) {
            return None;
        }
        let hash = fingerprint(shown);
        let known = self.known();
        known
            .iter()
            .find(|known| same(known.hash.as_bytes(), hash.as_bytes()))
            .map(|k| k.scope)
    }

    fn known(&self) -> Vec<Known> {
        let path: PathBuf = self
            .home
            .herm_dir()
            .join(super::token::DIRECTORY)
            .join(FILE);
        let written = std::fs::metadata(path)
            .and_then(|meta| meta.modified())
            .ok();
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if written.is_none() {
            return Vec::new();
        }
        if cache.0 != written {
            *cache = (written, list(&self.home).unwrap_or_default());
        }
        cache.1.clone()
    }
}

/// The tokens of a home, by name.
pub fn list(home: &Home) -> Result<Vec<Known>, HomeError> {
    let dir = directory(home)?;
    let Some(content) = dir.read(FILE, MAX_BYTES)? else {
        return Ok(Vec::new());
    };
    serde_json::from_slice(&content.bytes).map_err(|error| unreadable(home, &error.to_string()))
}

/// Makes a token and returns it; nobody can read it later.
pub fn add(home: &Home, name: &str, scope: Scope) -> Result<String, HomeError> {
    let mut known = list(home)?;
    known.retain(|token| token.name != name);
    if known.len() >= MAX_TOKENS {
        return Err(unreadable(home, "there are 256 tokens; remove one first"));
    }
    let secret = random::<24>().map_err(|why| unreadable(home, &why))?;
    let token = format!("{PREFIX}{}", hex(&secret));
    known.push(Known {
        name: name.to_owned(),
        scope,
        made: herm_home::clock::rfc3339(SystemTime::now()),
        hash: fingerprint(&token),
    });
    known.sort_by(|a, b| a.name.cmp(&b.name));
    save(home, &known)?;
    Ok(token)
}

/// Forgets a token; whether there was one of this name.
pub fn remove(home: &Home, name: &str) -> Result<bool, HomeError> {
    let mut known = list(home)?;
    let before = known.len();
    known.retain(|token| token.name != name);
    if known.len() == before {
        return Ok(false);
    }
    save(home, &known)?;
    Ok(true)
}

fn save(home: &Home, known: &[Known]) -> Result<(), HomeError> {
    let text = serde_json::to_string_pretty(known)
        .map_err(|error| unreadable(home, &error.to_string()))?;
    directory(home)?.write_atomic(FILE, format!("{text}\n").as_bytes(), PRIVATE)
}

fn unreadable(home: &Home, why: &str) -> HomeError {
    let path = home.herm_dir().join(super::token::DIRECTORY).join(FILE);
    trouble("use", path, why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_by_its_hash_until_it_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path());
        let bearers = Bearers::new(&home);
        assert_eq!(bearers.scope_of("herm_x"), None);
        let read = add(&home, "prometheus", Scope::Read).unwrap();
        let control = add(&home, "ci", Scope::Control).unwrap();
        let fresh = Bearers::new(&home);
        assert_eq!(fresh.scope_of(&read), Some(Scope::Read));
        assert_eq!(fresh.scope_of(&control), Some(Scope::Control));
        let kept = std::fs::read_to_string(dir.path().join(".herm/dashboard/tokens.json")).unwrap();
        assert!(!kept.contains(&read) && kept.contains("prometheus"));
        assert!(remove(&home, "prometheus").unwrap() && !remove(&home, "prometheus").unwrap());
        assert_eq!(Bearers::new(&home).scope_of(&read), None);
        assert_eq!(Bearers::new(&home).scope_of(&"herm_".repeat(1000)), None);
    }

    #[test]
    fn a_list_that_nobody_can_read_lets_nobody_in() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path());
        let token = add(&home, "a", Scope::Read).unwrap();
        std::fs::write(dir.path().join(".herm/dashboard/tokens.json"), "[{").unwrap();
        assert_eq!(Bearers::new(&home).scope_of(&token), None);
        assert!(list(&home).is_err());
    }
}
