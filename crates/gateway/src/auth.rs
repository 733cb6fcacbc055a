//! Who may use the API: whoever presents the profile's key as a bearer token.

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use herm_home::Secret;
use subtle::ConstantTimeEq as _;

/// Shorter keys can be guessed; the agent refuses them too.
const MIN_KEY_CHARACTERS: usize = 16;

/// The key clients must present.
#[derive(Debug)]
pub(crate) struct ApiKey(Secret);

impl ApiKey {
    /// Refuses a key that is too short, or that no header could carry.
    pub(crate) fn new(text: impl AsRef<str>) -> Result<Self, String> {
        let text = text.as_ref().trim();
        if text.chars().count() < MIN_KEY_CHARACTERS {
            return Err(format!(
                "is shorter than {MIN_KEY_CHARACTERS} characters; `openssl rand -hex 32` makes a \
                 good one"
            ));
        }
        if text.chars().any(char::is_control) {
            return Err("holds control characters".to_owned());
        }
        Ok(Self(Secret::new(text)))
    }

    /// Whether the request carries the key. Takes the same time however much of it is right.
    pub(crate) fn admits(&self, headers: &HeaderMap) -> bool {
        let presented = headers.get(AUTHORIZATION).and_then(|value| {
            let (scheme, token) = split_at_space(value.as_bytes())?;
            scheme
                .eq_ignore_ascii_case(b"bearer")
                .then(|| token.trim_ascii())
        });
        presented.is_some_and(|token| token.ct_eq(self.0.expose().as_bytes()).into())
    }
}

fn split_at_space(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|b| *b == b' ')?;
    Some(bytes.split_at(at))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn only_the_whole_key_as_bearer_token_is_admitted() {
        let key = ApiKey::new("0123456789abcdef").unwrap();
        let admits = |value: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, HeaderValue::from_bytes(value).unwrap());
            key.admits(&headers)
        };
        assert!(admits(b"Bearer 0123456789abcdef"));
        assert!(admits(b"bearer   0123456789abcdef "));
        assert!(!admits(b"Bearer 0123456789abcde"));
        assert!(!admits(b"Bearer 0123456789abcdeff"));
        assert!(!admits(b"Bearer 0123456789abcdeg"));
        assert!(!admits(b"Basic 0123456789abcdef"));
        assert!(!admits(b"0123456789abcdef"));
        assert!(!admits(b"Bearer \xff\xfe"));
        assert!(!admits(b"Bearer"));
        assert!(!key.admits(&HeaderMap::new()));
    }

    #[test]
    fn a_short_key_is_refused_and_not_repeated() {
        let problem = ApiKey::new("hunter2hunter2").unwrap_err();
        assert!(problem.contains("16 characters"), "{problem}");
        assert!(!problem.contains("hunter2"), "{problem}");
        assert!(!format!("{:?}", ApiKey::new("0123456789abcdef")).contains("0123"));
    }
}
