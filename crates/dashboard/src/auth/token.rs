//! Random secrets, and the token that is made where no login is configured.

use std::fmt::Write as _;
use std::path::PathBuf;

use herm_home::files::{Dir, PRIVATE, PRIVATE_DIR};
use herm_home::layout::HERM_DIR;
use herm_home::{Home, HomeError};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// The dashboard's own directory in the home's `.herm`.
pub(crate) const DIRECTORY: &str = "dashboard";
/// The token's file in it.
const FILE: &str = "token";

/// The token to sign in with.
#[derive(Clone)]
pub(crate) struct Token(String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(..)")
    }
}

impl Token {
    /// The home's; made, readable for its owner only, where there is none.
    pub(crate) fn of(home: &Home) -> Result<Self, HomeError> {
        let dir = directory(home)?;
        if let Some(content) = dir.read(FILE, 4096)? {
            let text = String::from_utf8_lossy(&content.bytes).trim().to_owned();
            if text.len() >= 32 && text.is_ascii() {
                return Ok(Self(text));
            }
        }
        let path = dir.path_of(FILE);
        let random = random::<24>().map_err(|why| trouble("make", path, why))?;
        let token = Self(hex(&random));
        dir.write_atomic(FILE, format!("{}\n", token.0).as_bytes(), PRIVATE)?;
        Ok(token)
    }

    /// Whether this is it.
    pub(crate) fn is(&self, shown: &str) -> bool {
        same(self.0.as_bytes(), shown.trim().as_bytes())
    }

    /// The token itself, for whoever may read the home.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

/// A failure of one of the dashboard's own files.
pub(crate) fn trouble(action: &'static str, path: PathBuf, why: String) -> HomeError {
    HomeError::Io {
        action,
        path,
        source: std::io::Error::other(why),
    }
}

/// The dashboard's directory in the home.
pub(crate) fn directory(home: &Home) -> Result<Dir, HomeError> {
    Dir::open(home.root())?
        .ensure_child(HERM_DIR, PRIVATE_DIR)?
        .ensure_child(DIRECTORY, PRIVATE_DIR)
}

/// Whether two secrets are the same; takes the same time wherever they differ.
pub(crate) fn same(a: &[u8], b: &[u8]) -> bool {
    // Of their hashes, so that their lengths take no other time either.
    Sha256::digest(a).ct_eq(&Sha256::digest(b)).into()
}

/// The hash under which a random secret is kept. It needs no slowness: nobody guesses 192 bits.
pub(crate) fn fingerprint(secret: &str) -> String {
    hex(&Sha256::digest(secret.as_bytes()))
}

/// Bytes nobody can guess (getrandom(2)).
pub(crate) fn random<const N: usize>() -> Result<[u8; N], String> {
    let mut bytes = [0; N];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        let flags = rustix::rand::GetRandomFlags::empty();
        filled += rustix::rand::getrandom(rest, flags)
            .map_err(|error| format!("the kernel gives no random bytes: {error}"))?;
    }
    Ok(bytes)
}

/// Bytes as lower-case digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn l72_a_token_is_made_once_and_only_its_owner_can_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path());
        let token = Token::of(&home).unwrap();
        assert_eq!(token.expose().len(), 48);
        assert!(Token::of(&home).unwrap().is(token.expose()));
        assert!(!token.is("") && !token.is(&token.expose()[1..]));
        let path = dir.path().join(".herm/dashboard/token");
        let mode = std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(format!("{token:?}"), "Token(..)");
    }
}
