//! Profile names: `[a-z0-9][a-z0-9_-]*` (contract section 2).
//!
//! Inside the program a name is a [`ProfileName`] and therefore valid: it can be a path component,
//! a service name and a word of a log line without further care. What a person typed is made one
//! by [`ProfileName::from_input`], which trims and lower-cases first.

use std::fmt;

use thiserror::Error;

/// Longest name a profile may be created with, in bytes (the agent's own limit).
pub const MAX_NEW_LEN: usize = 64;
/// Longest name that is tolerated on disk: s6's 251 bytes for a service less `gateway-`.
pub const MAX_LEN: usize = 243;
/// The root profile's name.
pub const DEFAULT: &str = "default";
/// What a gateway's service name begins with.
pub const SERVICE_PREFIX: &str = "gateway-";
/// Names the agent (0.19.0) refuses to run under, whatever the directory is called.
const REFUSED_BY_AGENT: [&str; 5] = ["hermes", "root", "sudo", "test", "tmp"];

/// A valid profile name; `default` is the root profile.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProfileName(String);

/// Why a word is no profile name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NameError {
    /// Nothing was given.
    #[error("a profile name can't be empty")]
    Empty,
    /// A character outside the alphabet, or a leading `-` or `_`.
    #[error(
        "{0:?} is no profile name: use lower-case letters, digits, '-' and '_', beginning with a letter or digit"
    )]
    BadCharacter(String),
    /// Longer than the limit that applies.
    #[error("the profile name has {len} bytes, the limit is {limit}: choose a shorter one")]
    TooLong {
        /// Bytes given.
        len: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// `default` where only a named profile can stand.
    #[error(
        "'default' is the root profile of the home and can't be created, renamed or deleted: choose another name"
    )]
    Reserved,
}

impl ProfileName {
    /// The root profile.
    pub fn default_profile() -> Self {
        Self(DEFAULT.to_owned())
    }

    /// A name exactly as it stands on disk or on the wire; no normalisation.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        check(text, MAX_LEN)?;
        Ok(Self(text.to_owned()))
    }

    /// A name a person typed: trimmed and lower-cased, then parsed.
    pub fn from_input(text: &str) -> Result<Self, NameError> {
        Self::parse(&normalise(text))
    }

    /// A name for a profile that is to be made (created, imported, renamed to): from input, within
    /// [`MAX_NEW_LEN`], and not `default`.
    pub fn for_new(text: &str) -> Result<Self, NameError> {
        let text = normalise(text);
        check(&text, MAX_NEW_LEN)?;
        if text == DEFAULT {
            return Err(NameError::Reserved);
        }
        Ok(Self(text))
    }

    /// The profile behind a gateway's service name, `gateway-<profile>`.
    pub fn from_service(service: &str) -> Option<Self> {
        Self::parse(service.strip_prefix(SERVICE_PREFIX)?).ok()
    }

    /// The name of this profile's gateway service.
    pub fn service(&self) -> String {
        format!("{SERVICE_PREFIX}{}", self.0)
    }

    /// The name itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the root profile.
    pub fn is_default(&self) -> bool {
        self.0 == DEFAULT
    }

    /// Whether the real agent would refuse to serve a profile of this name: it reserves a few
    /// words and names over 64 bytes. herm itself has no quarrel with them.
    pub fn refused_by_agent(&self) -> bool {
        self.0.len() > MAX_NEW_LEN || REFUSED_BY_AGENT.contains(&self.as_str())
    }
}

impl fmt::Display for ProfileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Trims and lower-cases what came from outside; the only place that does.
pub fn normalise(text: &str) -> String {
    text.trim().to_lowercase()
}

fn check(text: &str, limit: usize) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > limit {
        return Err(NameError::TooLong {
            len: text.len(),
            limit,
        });
    }
    let alnum = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let mut bytes = text.bytes();
    let first_ok = bytes.next().is_some_and(alnum);
    if !first_ok || !bytes.all(|b| alnum(b) || b == b'-' || b == b'_') {
        return Err(NameError::BadCharacter(text.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bad_names_are_refused_and_say_why() {
        for bad in [
            "", "../x", "-rf", "a b", "A", "_x", "x/y", "x.y", "ü", "a\n", ".",
        ] {
            assert!(ProfileName::parse(bad).is_err(), "{bad:?} was accepted");
        }
        let long = "x".repeat(300);
        assert_eq!(
            ProfileName::parse(&long),
            Err(NameError::TooLong {
                len: 300,
                limit: MAX_LEN
            })
        );
        assert!(ProfileName::for_new(&"x".repeat(65)).is_err());
        assert!(ProfileName::parse(&"x".repeat(243)).is_ok());
        assert_eq!(ProfileName::for_new(" Default "), Err(NameError::Reserved));
    }

    #[test]
    fn input_is_trimmed_and_lower_cased_at_the_edge_only() {
        assert_eq!(
            ProfileName::from_input("  Writer\n").unwrap().as_str(),
            "writer"
        );
        assert!(ProfileName::parse("Writer").is_err());
        assert!(ProfileName::from_input("A B").is_err());
    }

    #[test]
    fn a_service_name_and_a_profile_name_are_two_views_of_one() {
        let name = ProfileName::parse("a-b_1").unwrap();
        assert_eq!(ProfileName::from_service(&name.service()), Some(name));
        assert_eq!(ProfileName::from_service("dashboard"), None);
        assert_eq!(ProfileName::from_service("gateway-../x"), None);
    }

    proptest! {
        #[test]
        fn every_accepted_name_is_one_harmless_path_component(text in "\\PC*") {
            if let Ok(name) = ProfileName::from_input(&text) {
                let name = name.as_str();
                prop_assert!(!name.is_empty() && name.len() <= MAX_LEN);
                prop_assert!(!name.starts_with(['.', '-', '_']));
                prop_assert!(name.bytes().all(|b| b.is_ascii_graphic() && b != b'/'));
            }
        }
    }
}
