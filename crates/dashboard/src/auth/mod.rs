//! Who may look and who may act.
//!
//! On a loopback address without a login configured everyone who can connect may; on any other
//! address nobody may without one: where none is configured a token is made ([`token`]). A person
//! signs in and gets a [`session`]; a program sends a [`bearer`] token with a scope.

pub mod bearer;
pub(crate) mod limit;
pub(crate) mod password;
pub(crate) mod session;
pub(crate) mod token;

use std::net::IpAddr;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use tokio::sync::Semaphore;

use bearer::{Bearers, Scope};
use limit::Limit;
use password::PasswordHash;
use session::Sessions;

/// What has to be shown to sign in.
#[derive(Debug)]
pub(crate) enum Login {
    /// Nothing.
    Open,
    /// A name and a password.
    Password {
        /// The name.
        username: String,
        /// What the password is checked against.
        hash: PasswordHash,
    },
    /// The generated token.
    Token(token::Token),
}

/// Everything that decides who is let in.
#[derive(Debug)]
pub(crate) struct Auth {
    /// What a person shows.
    pub(crate) login: Login,
    /// Who has.
    pub(crate) sessions: Sessions,
    /// What programs show.
    pub(crate) bearers: Bearers,
    /// Who tried too often.
    pub(crate) limit: Limit,
    /// Checking a password takes memory on purpose: one at a time.
    checking: Semaphore,
}

/// What a request may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nothing: nobody signed in.
    Nobody,
    /// Nothing: what was shown is no token of ours.
    Stranger,
    /// A browser: its changes need the page's token besides ([`session::Visit::csrf`]).
    Browser,
    /// A program with a token of this scope.
    Program(Scope),
}

/// How an attempt to sign in went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// Let in.
    Accepted,
    /// Wrong.
    Refused,
    /// Too many wrong ones lately; again after so many seconds.
    TooMany(u64),
}

impl Auth {
    pub(crate) fn new(login: Login, sessions: Sessions, bearers: Bearers) -> Self {
        Self {
            login,
            sessions,
            bearers,
            limit: Limit::default(),
            checking: Semaphore::new(1),
        }
    }

    /// Whether a login is asked for at all.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.login, Login::Open)
    }

    /// What the headers of a request entitle it to. A bearer token that is sent counts, right or
    /// wrong. Wrong ones are not counted: nobody guesses 192 random bits, however often they try.
    pub(crate) fn standing(&self, headers: &HeaderMap) -> Standing {
        if let Some(header) = headers.get(AUTHORIZATION) {
            let shown = header.to_str().ok().and_then(|text| {
                let (scheme, rest) = text.split_once(' ')?;
                scheme.eq_ignore_ascii_case("bearer").then(|| rest.trim())
            });
            let scope = shown.and_then(|shown| self.scope_of(shown));
            return scope.map_or(Standing::Stranger, Standing::Program);
        }
        if self.is_open() || self.sessions.is_signed_in(headers) {
            return Standing::Browser;
        }
        Standing::Nobody
    }

    fn scope_of(&self, shown: &str) -> Option<Scope> {
        if let Login::Token(token) = &self.login
            && token.is(shown)
        {
            return Some(Scope::Control);
        }
        self.bearers.scope_of(shown)
    }

    /// Checks what was typed. Counts what was wrong.
    pub(crate) async fn attempt(&self, from: IpAddr, username: &str, secret: &str) -> Attempt {
        if let Some(seconds) = self.limit.wait(from) {
            return Attempt::TooMany(seconds);
        }
        let right = match &self.login {
            Login::Open => true,
            Login::Token(token) => token.is(secret),
            Login::Password {
                username: name,
                hash,
            } => {
                let Ok(_permit) = self.checking.acquire().await else {
                    return Attempt::Refused;
                };
                let (hash, secret) = (hash.clone(), secret.to_owned());
                let checked = tokio::task::spawn_blocking(move || hash.verify(&secret)).await;
                // The name is compared whatever the password is: neither tells about the other.
                let name_is_right = token::same(name.as_bytes(), username.as_bytes());
                checked.unwrap_or(false) & name_is_right
            }
        };
        if right {
            return Attempt::Accepted;
        }
        self.limit.failed(from);
        Attempt::Refused
    }
}
