//! The content of what a gateway is configured with, as one fingerprint (L78).
//!
//! A parked gateway is tried again when its inputs have *another content* than after the exit that
//! parked it. Time stamps don't count: a hook that rewrites `.env` with the same words at each
//! start must not wake it for ever.

use sha2::{Digest, Sha256};

use crate::error::HomeError;
use crate::files::Dir;
use crate::layout::{AUTH, CONFIG, DOTENV, ProfilePaths};

/// Largest input that is looked at, in bytes.
const MAX_BYTES: u64 = 4 << 20;
const FILES: [&str; 3] = [CONFIG, DOTENV, AUTH];

/// The fingerprint of a profile's inputs at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Inputs(String);

impl Inputs {
    /// As text, to be kept beside the exit that parked the gateway.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// From text that was kept.
    pub fn from_text(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// Takes the fingerprint. A file that can't be read is a content of its own: making it readable
/// is a change.
pub fn fingerprint(profile: &ProfilePaths) -> Result<Inputs, HomeError> {
    let dir = Dir::open(profile.dir())?;
    let mut all = Sha256::new();
    for name in FILES {
        match dir.read_input(name, MAX_BYTES) {
            Ok(Some(content)) => {
                all.update([b'+']);
                all.update(Sha256::digest(&content.bytes));
            }
            Ok(None) => all.update([b'-']),
            Err(_) => all.update([b'?']),
        }
    }
    Ok(Inputs(format!("{:x}", all.finalize())))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::layout::Home;
    use crate::name::ProfileName;

    #[test]
    fn l78_only_another_content_is_a_change_of_the_inputs() {
        let dir = tempfile::tempdir().unwrap();
        let profile = Home::new(dir.path()).profile(&ProfileName::default_profile());
        let nothing = fingerprint(&profile).unwrap();
        fs::write(profile.dotenv(), "A=1\n").unwrap();
        let parked = fingerprint(&profile).unwrap();
        assert_ne!(parked, nothing);
        // A hook rewrites the file with the same words: a new file, a new time, the same content.
        fs::remove_file(profile.dotenv()).unwrap();
        fs::write(profile.dotenv(), "A=1\n").unwrap();
        assert_eq!(fingerprint(&profile).unwrap(), parked);
        fs::write(profile.dotenv(), "A=2\n").unwrap();
        assert_ne!(fingerprint(&profile).unwrap(), parked);
        fs::write(profile.dotenv(), "A=1\n").unwrap();
        assert_eq!(
            fingerprint(&profile).unwrap(),
            Inputs::from_text(parked.as_str())
        );
    }

    #[test]
    fn moving_content_from_one_file_to_another_is_a_change_and_other_files_are_none() {
        let dir = tempfile::tempdir().unwrap();
        let profile = Home::new(dir.path()).profile(&ProfileName::default_profile());
        fs::write(profile.dotenv(), "x").unwrap();
        let before = fingerprint(&profile).unwrap();
        fs::write(dir.path().join("gateway_state.json"), "{}").unwrap();
        assert_eq!(fingerprint(&profile).unwrap(), before);
        fs::rename(profile.dotenv(), profile.config()).unwrap();
        assert_ne!(fingerprint(&profile).unwrap(), before);
    }

    #[test]
    fn a_file_that_can_not_be_read_is_a_content_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let profile = Home::new(dir.path()).profile(&ProfileName::default_profile());
        let absent = fingerprint(&profile).unwrap();
        fs::create_dir(profile.config()).unwrap();
        assert_ne!(fingerprint(&profile).unwrap(), absent);
    }
}
