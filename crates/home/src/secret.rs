//! Values that must never be printed by accident.

use std::fmt;

/// A secret: readable by those who ask for it by name, opaque to `{:?}`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself; the one way to it, so that uses can be searched for.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Words in a variable's name that say that its value is a secret.
const SECRET_WORDS: [&str; 13] = [
    "APIKEY",
    "AUTH",
    "COOKIE",
    "CREDENTIAL",
    "CREDENTIALS",
    "KEY",
    "PASS",
    "PASSPHRASE",
    "PASSWD",
    "PASSWORD",
    "PWD",
    "SECRET",
    "TOKEN",
];

/// Whether a variable is shown only to those who ask for secrets: by a word of its name
/// (`OPENAI_API_KEY`), or because its value is a URL with a password.
pub fn is_secret_variable(name: &str, value: &str) -> bool {
    if ["PWD", "OLDPWD"].contains(&name) {
        return false;
    }
    let upper = name.to_uppercase();
    let mut words = upper.split(|c: char| !c.is_ascii_alphanumeric());
    words.any(|word| SECRET_WORDS.contains(&word))
        || upper.contains("AUTH_JSON")
        || has_password(value)
}

/// `scheme://user:password@host`.
fn has_password(value: &str) -> bool {
    let Some((_, rest)) = value.split_once("://") else {
        return false;
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    authority
        .rsplit_once('@')
        .is_some_and(|(user, _)| user.contains(':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_show_itself() {
        let secret = Secret::new("hunter2-hunter2");
        assert!(!format!("{secret:?}").contains("hunter2"));
        assert_eq!(secret.expose(), "hunter2-hunter2");
    }

    #[test]
    fn secrets_are_known_by_their_variables_and_other_words_are_not_taken_for_them() {
        for name in [
            "OPENAI_API_KEY",
            "DISCORD_BOT_TOKEN",
            "db_password",
            "HERMES_AUTH_JSON_BOOTSTRAP",
            "MYSQL_PWD",
        ] {
            assert!(is_secret_variable(name, "x"), "{name}");
        }
        assert!(is_secret_variable("DATABASE_URL", "postgres://ann:pw@db/x"));
        for (name, value) in [
            ("PATH", "/bin"),
            ("PWD", "/"),
            ("KEYBOARD", "us"),
            ("URL", "http://h/a:b@c"),
            ("MONKEY", "1"),
        ] {
            assert!(!is_secret_variable(name, value), "{name}");
        }
    }
}
