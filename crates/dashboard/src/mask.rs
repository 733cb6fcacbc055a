//! Keeping secrets back: configuration is shown by its structure, and a value is shown only if
//! neither its key nor its look makes it a secret.

use serde_json::Value;

/// What a key contains that makes its value a secret, in lower case and without separators.
const SECRET_WORDS: [&str; 15] = [
    "accesskey",
    "apikey",
    "appkey",
    "auth",
    "bearer",
    "cookie",
    "credential",
    "passphrase",
    "passwd",
    "password",
    "privatekey",
    "secret",
    "signature",
    "token",
    "webhook",
];
/// What the last word of a key is that makes its value a secret.
const SECRET_ENDINGS: [&str; 4] = ["key", "pass", "pin", "dsn"];
/// What known kinds of secrets begin with.
const SECRET_PREFIXES: [&str; 12] = [
    "sk-",
    "pk-",
    "ghp_",
    "gho_",
    "github_pat_",
    "xoxb-",
    "xoxp-",
    "xapp-",
    "AKIA",
    "AIza",
    "eyJ",
    "-----BEGIN",
];
/// Length from which text of mixed characters looks random.
const RANDOM_LENGTH: usize = 20;

/// Stands for a value that is kept back.
pub(crate) const MASK: &str = "••••••••";

/// Whether the value of this key is a secret whatever it looks like.
pub(crate) fn is_secret_key(key: &str) -> bool {
    let plain: String = key
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .collect();
    let counts = plain.ends_with("tokens") && plain.contains("max");
    let last = key
        .split(|c: char| !c.is_ascii_alphanumeric())
        .next_back()
        .map(str::to_ascii_lowercase)
        .unwrap_or_default();
    !counts
        && (SECRET_WORDS.iter().any(|word| plain.contains(word))
            || SECRET_ENDINGS.contains(&last.as_str()))
}

/// Whether a text looks like a secret: of a known kind, an address with a password in it, or random.
pub(crate) fn looks_secret(text: &str) -> bool {
    let text = text.trim();
    let has_userinfo = text.split_once("://").is_some_and(|(_, rest)| {
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        host.contains('@')
    });
    SECRET_PREFIXES
        .iter()
        .any(|prefix| text.starts_with(prefix))
        || has_userinfo
        || text
            .split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '+' | '=')))
            .any(is_random)
}

fn is_random(word: &str) -> bool {
    let has = |test: fn(&u8) -> bool| word.as_bytes().iter().any(test);
    word.len() >= RANDOM_LENGTH
        && has(u8::is_ascii_digit)
        && (has(u8::is_ascii_lowercase) || has(u8::is_ascii_uppercase))
        && word.bytes().filter(u8::is_ascii_digit).count() >= 3
}

/// Replaces every secret in a document.
pub(crate) fn mask(value: &mut Value) {
    mask_under(value, false);
}

fn mask_under(value: &mut Value, secret: bool) {
    match value {
        Value::Object(entries) => {
            for (key, value) in entries.iter_mut() {
                mask_under(value, secret || is_secret_key(key));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| mask_under(item, secret)),
        Value::String(text) => {
            if !text.is_empty() && (secret || looks_secret(text)) {
                MASK.clone_into(text);
            }
        }
        Value::Number(_) if secret => *value = Value::String(MASK.to_owned()),
        Value::Number(_) | Value::Bool(_) | Value::Null => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_are_masked_by_key_by_look_and_below_a_secret_key() {
        let mut value = json!({
            "model": {"default": "claude-sonnet-4", "max_tokens": 4096, "base_url": "https://user:pw@host/v1"},
            "api_key": "short", "discordToken": "x", "telegram": {"auth": {"user": "me", "code": 1234}},
            "note": "sk-abc", "random": ["9f8a7b6c5d4e3f2a1b0c9d8e"], "empty_token": "", "keyboard": "us",
            "timeout": 30, "url": "https://example.org/path",
        });
        mask(&mut value);
        assert_eq!(
            value,
            json!({
                "model": {"default": "claude-sonnet-4", "max_tokens": 4096, "base_url": MASK},
                "api_key": MASK, "discordToken": MASK, "telegram": {"auth": {"user": MASK, "code": MASK}},
                "note": MASK, "random": [MASK], "empty_token": "", "keyboard": "us",
                "timeout": 30, "url": "https://example.org/path",
            })
        );
    }
}
