//! Passwords: kept as a hash that is slow to try, argon2id (RFC 9106), or scrypt (RFC 7914) in the
//! text form that the agent's own dashboard writes, so that one variable serves both.

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _, SaltString};
use base64ct::{Base64, Encoding as _};

use super::token;

/// Longest password that is looked at, in bytes.
pub(crate) const MAX_BYTES: usize = 1024;

/// A hash in one of the two forms; checked when it is read.
#[derive(Clone)]
pub(crate) struct PasswordHash(Form);

#[derive(Clone)]
enum Form {
    /// The PHC string.
    Argon2(String),
    Scrypt {
        params: scrypt::Params,
        salt: Vec<u8>,
        key: Vec<u8>,
    },
}

/// A hash tells an attacker where to begin: it is not printed.
impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordHash(..)")
    }
}

impl PasswordHash {
    /// Reads `$argon2id$…` or `scrypt$n$r$p$salt$key`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Some(rest) = text.strip_prefix("scrypt$") {
            return scrypt_form(rest).map(Self).ok_or_else(|| {
                "it is no scrypt hash: scrypt$N$R$P$SALT$KEY is expected".to_owned()
            });
        }
        argon2::PasswordHash::new(text)
            .map(|_| Self(Form::Argon2(text.to_owned())))
            .map_err(|_| "neither $argon2id$… nor scrypt$… is recognised in it".to_owned())
    }

    /// Hashes a password.
    pub(crate) fn of(password: &str) -> Result<Self, String> {
        let salt = SaltString::encode_b64(&token::random::<16>()?).map_err(|e| e.to_string())?;
        let hash = Argon2::default()
            .hash_password(password.as_bytes(), &salt)
            .map_err(|error| error.to_string())?;
        Ok(Self(Form::Argon2(hash.to_string())))
    }

    /// The text form.
    #[cfg(test)]
    pub(crate) fn text(&self) -> String {
        match &self.0 {
            Form::Argon2(text) => text.clone(),
            Form::Scrypt { .. } => "scrypt$…".to_owned(),
        }
    }

    /// Whether it is the hash of this password. Takes tens of milliseconds on purpose.
    pub(crate) fn verify(&self, password: &str) -> bool {
        if password.len() > MAX_BYTES {
            return false;
        }
        match &self.0 {
            Form::Argon2(text) => argon2::PasswordHash::new(text).is_ok_and(|hash| {
                Argon2::default()
                    .verify_password(password.as_bytes(), &hash)
                    .is_ok()
            }),
            Form::Scrypt { params, salt, key } => {
                let mut derived = vec![0; key.len()];
                let done = scrypt::scrypt(password.as_bytes(), salt, params, &mut derived);
                done.is_ok() && token::same(&derived, key)
            }
        }
    }
}

fn scrypt_form(text: &str) -> Option<Form> {
    let parts: Vec<&str> = text.split('$').collect();
    let &[n, r, p, salt, key] = parts.as_slice() else {
        return None;
    };
    let n: u64 = n.parse().ok()?;
    if !n.is_power_of_two() || n > 1 << 20 {
        return None;
    }
    let log_n = u8::try_from(n.trailing_zeros()).ok()?;
    let (r, p): (u32, u32) = (r.parse().ok()?, p.parse().ok()?);
    let key = Base64::decode_vec(key).ok()?;
    if !(16..=64).contains(&key.len()) || r > 32 || p > 16 {
        return None;
    }
    let params = scrypt::Params::new(log_n, r, p, key.len()).ok()?;
    Some(Form::Scrypt {
        params,
        salt: Base64::decode_vec(salt).ok()?,
        key,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_known_by_its_hash_only() {
        let hash = PasswordHash::of("correct horse").unwrap();
        assert!(hash.text().starts_with("$argon2id$"));
        let read = PasswordHash::parse(&hash.text()).unwrap();
        assert!(read.verify("correct horse"));
        assert!(
            !read.verify("correct horsf") && !read.verify("") && !read.verify(&"x".repeat(5000))
        );
        assert_eq!(format!("{hash:?}"), "PasswordHash(..)");
    }

    #[test]
    fn the_agents_own_hashes_are_understood() {
        // Python: hashlib.scrypt(b"s3cret", salt=b"0123456789abcdef", n=1024, r=8, p=1, dklen=32)
        let text = "scrypt$1024$8$1$MDEyMzQ1Njc4OWFiY2RlZg==$KEY";
        let text = text.replace("KEY", SCRYPT_KEY);
        let hash = PasswordHash::parse(&text).unwrap();
        assert!(hash.verify("s3cret") && !hash.verify("s3cretx"));
    }

    const SCRYPT_KEY: &str = "ZO/gT8OGTuuyHxcBV+7DkfE2nXK0EIuQrBe9nC+TunU=";

    #[test]
    fn what_is_no_hash_is_refused_when_it_is_read() {
        for bad in [
            "",
            "secret",
            "scrypt$3$8$1$AA==$AA==",
            "$2b$12$abc",
            "scrypt$1024$8$1$!$!",
        ] {
            assert!(PasswordHash::parse(bad).is_err(), "{bad}");
        }
    }
}
