//! Sessions of browsers: a random id in a signed cookie, and the list of those that have signed in.
//!
//! The list and the key live in memory: a restart of the dashboard ends all sessions, and nothing
//! that could be stolen lies on the disk. A page's changes carry a token made from the id (CSRF).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::HeaderMap;
use axum::http::header::COOKIE;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use super::token::{hex, random, same};

/// How long a session lasts without a request.
const IDLE: Duration = Duration::from_secs(12 * 3600);
/// How long it lasts in any case.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);
/// Sessions at once; the one unused for the longest time makes room.
const MAX_SESSIONS: usize = 1024;
/// Hexadecimal digits of an id.
const ID_DIGITS: usize = 32;

/// Who has signed in.
pub(crate) struct Sessions {
    key: [u8; 32],
    cookie: String,
    signed_in: Mutex<HashMap<String, Times>>,
}

#[derive(Debug, Clone, Copy)]
struct Times {
    began: Instant,
    used: Instant,
}

/// One browser, signed in or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Visit {
    id: String,
    /// What its pages' changes carry.
    pub(crate) csrf: String,
    /// The cookie to send, where the browser has none yet.
    pub(crate) set_cookie: Option<String>,
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sessions(..)")
    }
}

impl Sessions {
    /// None yet. Browsers send cookies of one host to all its ports, so the port is in its name.
    pub(crate) fn new(port: u16) -> Result<Self, String> {
        Ok(Self {
            key: random()?,
            cookie: format!("herm_{port}"),
            signed_in: Mutex::default(),
        })
    }

    fn sign(&self, purpose: &str, id: &str) -> String {
        // A key of any length will do.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.key) else {
            return String::new();
        };
        mac.update(purpose.as_bytes());
        mac.update(b":");
        mac.update(id.as_bytes());
        hex(&mac.finalize().into_bytes())
    }

    /// The id in the request's cookie, if we made it.
    fn id_in(&self, headers: &HeaderMap) -> Option<String> {
        let cookies = headers
            .get_all(COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok());
        let ours = cookies.flat_map(|line| line.split(';')).filter_map(|pair| {
            let (name, value) = pair.trim().split_once('=')?;
            (name == self.cookie).then_some(value)
        });
        for value in ours {
            if let Some((id, mac)) = value.split_once('.')
                && id.len() == ID_DIGITS
                && same(self.sign("id", id).as_bytes(), mac.as_bytes())
            {
                return Some(id.to_owned());
            }
        }
        None
    }

    /// The browser that asks; a new one gets an id.
    pub(crate) fn visit(&self, headers: &HeaderMap) -> Result<Visit, String> {
        match self.id_in(headers) {
            Some(id) => Ok(Visit {
                csrf: self.sign("csrf", &id),
                id,
                set_cookie: None,
            }),
            None => self.fresh(false),
        }
    }

    fn fresh(&self, secure: bool) -> Result<Visit, String> {
        let id = hex(&random::<16>()?);
        let secure = if secure { "; Secure" } else { "" };
        let set_cookie = Some(format!(
            "{}={id}.{}; Path=/; HttpOnly; SameSite=Strict{secure}",
            self.cookie,
            self.sign("id", &id)
        ));
        Ok(Visit {
            csrf: self.sign("csrf", &id),
            id,
            set_cookie,
        })
    }

    /// Whether a change carries the token of the browser it comes from.
    pub(crate) fn is_csrf(&self, headers: &HeaderMap, shown: &str) -> bool {
        self.id_in(headers)
            .is_some_and(|id| same(self.sign("csrf", &id).as_bytes(), shown.as_bytes()))
    }

    /// Signs a browser in, under a new id: one that was known before may be known to others.
    /// `secure`: the browser came by HTTPS.
    pub(crate) fn sign_in(&self, secure: bool) -> Result<Visit, String> {
        let visit = self.fresh(secure)?;
        let now = Instant::now();
        let mut signed_in = self
            .signed_in
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if signed_in.len() >= MAX_SESSIONS
            && let Some(unused) = signed_in
                .iter()
                .min_by_key(|(_, times)| times.used)
                .map(|(id, _)| id.clone())
        {
            signed_in.remove(&unused);
        }
        signed_in.insert(
            visit.id.clone(),
            Times {
                began: now,
                used: now,
            },
        );
        Ok(visit)
    }

    /// Whether the browser that asks has signed in.
    pub(crate) fn is_signed_in(&self, headers: &HeaderMap) -> bool {
        self.id_in(headers)
            .is_some_and(|id| self.is_valid(&id, Instant::now()))
    }

    fn is_valid(&self, id: &str, now: Instant) -> bool {
        let mut signed_in = self
            .signed_in
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let Some(times) = signed_in.get_mut(id) else {
            return false;
        };
        let expired =
            now.duration_since(times.used) > IDLE || now.duration_since(times.began) > LONGEST;
        if expired {
            signed_in.remove(id);
        } else {
            times.used = now;
        }
        !expired
    }

    /// Signs the browser out; what it has kept is worth nothing from now on.
    pub(crate) fn sign_out(&self, headers: &HeaderMap) -> String {
        if let Some(id) = self.id_in(headers) {
            self.signed_in
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(&id);
        }
        format!(
            "{}=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict",
            self.cookie
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(set_cookie: &str) -> HeaderMap {
        let pair = set_cookie.split(';').next().unwrap();
        HeaderMap::from_iter([(COOKIE, format!("other=1; {pair}").parse().unwrap())])
    }

    #[test]
    fn a_cookie_counts_only_if_we_signed_it_and_until_it_is_signed_out() {
        let sessions = Sessions::new(9119).unwrap();
        let visit = sessions.sign_in(false).unwrap();
        let cookie = visit.set_cookie.clone().unwrap();
        assert!(cookie.contains("HttpOnly; SameSite=Strict"));
        let ours = headers(&cookie);
        assert!(sessions.is_signed_in(&ours));
        assert!(sessions.is_csrf(&ours, &visit.csrf));
        let forged = headers(&cookie.replace('.', ".0"));
        assert!(!sessions.is_signed_in(&forged));
        sessions.sign_out(&ours);
        assert!(!sessions.is_signed_in(&ours));
    }

    #[test]
    fn the_token_of_one_browser_is_of_no_use_to_another() {
        let sessions = Sessions::new(9119).unwrap();
        let (a, b) = (
            sessions.sign_in(false).unwrap(),
            sessions.sign_in(true).unwrap(),
        );
        assert!(!sessions.is_csrf(&headers(a.set_cookie.as_ref().unwrap()), &b.csrf));
        assert!(!sessions.is_csrf(&HeaderMap::new(), &a.csrf));
        assert!(b.set_cookie.unwrap().ends_with("; Secure"));
    }

    #[test]
    fn a_session_ends_when_it_is_not_used_and_in_any_case_after_a_week() {
        let sessions = Sessions::new(1).unwrap();
        let idle = sessions.sign_in(false).unwrap();
        let now = Instant::now();
        assert!(sessions.is_valid(&idle.id, now + IDLE / 2));
        assert!(!sessions.is_valid(&idle.id, now + IDLE * 2));
        assert!(!sessions.is_valid(&idle.id, now), "it does not come back");
        let busy = sessions.sign_in(false).unwrap();
        let mut at = now;
        while at + IDLE < now + LONGEST {
            at += IDLE / 2;
            assert!(sessions.is_valid(&busy.id, at));
        }
        assert!(!sessions.is_valid(&busy.id, now + LONGEST + IDLE / 2));
    }

    #[test]
    fn sessions_are_bounded_in_number() {
        let sessions = Sessions::new(1).unwrap();
        for _ in 0..MAX_SESSIONS + 10 {
            sessions.sign_in(false).unwrap();
        }
        assert_eq!(sessions.signed_in.lock().unwrap().len(), MAX_SESSIONS);
    }
}
