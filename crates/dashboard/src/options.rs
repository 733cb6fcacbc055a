//! What the dashboard is told: where to listen, whom to let in (contract section 7).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::SystemTime;

use herm_home::{Home, HomeError, ProfileName};
use herm_wire::ServiceView;

use crate::auth::Login;
use crate::auth::password::PasswordHash;
use crate::auth::token::Token;

/// Where it listens where nothing else is said.
const DEFAULT_PORT: u16 = 9119;
/// What begins every variable.
const HOST: &str = "HERMES_DASHBOARD_HOST";
const PORT: &str = "HERMES_DASHBOARD_PORT";
const USERNAME: &str = "HERMES_DASHBOARD_BASIC_AUTH_USERNAME";
const PASSWORD: &str = "HERMES_DASHBOARD_BASIC_AUTH_PASSWORD";
const PASSWORD_HASH: &str = "HERMES_DASHBOARD_BASIC_AUTH_PASSWORD_HASH";
/// Says in a container that there shall be a dashboard.
pub const SWITCH: &str = "HERMES_DASHBOARD";

/// Whether a variable lets its reader sign in to a dashboard, this one or the agent's own: then it is
/// no business of a gateway, where an agent runs whatever it likes.
pub fn is_login_variable(name: &str) -> bool {
    let secret = ["_SECRET", "_TOKEN", "_PASSWORD", "_KEY"];
    name.strip_prefix("HERMES_DASHBOARD_").is_some_and(|rest| {
        rest.starts_with("BASIC_AUTH_") || secret.iter().any(|end| rest.ends_with(end))
    })
}

/// Everything a dashboard is started with.
#[derive(Debug)]
pub struct Options {
    /// The home.
    pub home: Home,
    /// Where its supervisor may listen, the likeliest first.
    pub sockets: Vec<PathBuf>,
    /// The address to listen on.
    pub host: IpAddr,
    /// The port to listen on; 0: any free one.
    pub port: u16,
    /// The sentence on why a service is as it is (`herm why`).
    pub explain: fn(&ServiceView, SystemTime) -> String,
    /// What has to be so before a profile's gateway is started: what it needs is nobody else's, and
    /// no other gateway of it runs. Or why it can't be so.
    pub make_way: fn(&Home, &ProfileName) -> Result<(), String>,
    /// herm's command line, which is asked for the doctor's findings; none: they are not shown.
    pub program: Option<PathBuf>,
    /// The text that a new profile's SOUL.md begins with, where the image has one.
    pub soul: Option<Vec<u8>>,
    login: Option<(String, PasswordHash)>,
}

/// Why a dashboard can't be started.
#[derive(Debug)]
pub struct StartError {
    /// What is wrong, and what to do about it.
    pub message: String,
    /// Whether other settings would help, and nothing else.
    pub is_config: bool,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for StartError {}

impl StartError {
    pub(crate) fn config(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            is_config: true,
        }
    }

    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            is_config: false,
        }
    }
}

/// Whether the environment asks for a dashboard: `1`, `true` or `yes` in any case.
pub fn is_wanted(variable: impl Fn(&str) -> Option<String>) -> bool {
    let word = variable(SWITCH).unwrap_or_default();
    ["1", "true", "yes"]
        .iter()
        .any(|yes| word.trim().eq_ignore_ascii_case(yes))
}

/// Where the environment has it answer, and on which port; `None` where that makes no sense.
pub fn endpoint(variable: impl Fn(&str) -> Option<String>) -> Option<(String, u16)> {
    let (host, port) = place(None, None, &variable).ok()?;
    let host = match host {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.to_string(),
        IpAddr::V6(ip) if ip.is_unspecified() => "[::1]".to_owned(),
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    };
    Some((format!("http://{host}:{port}"), port))
}

/// The home's token to sign in with; made where there is none.
pub fn sign_in_token(home: &Home) -> Result<String, HomeError> {
    Token::of(home).map(|token| token.expose().to_owned())
}

impl Options {
    /// What the command line says, else the environment, else the defaults.
    pub fn new(
        home: Home,
        host: Option<&str>,
        port: Option<u16>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, StartError> {
        let (host, port) = place(host, port, &variable)?;
        let set = |name: &str| set(&variable, name);
        let login = login(set(USERNAME), set(PASSWORD_HASH), variable(PASSWORD))?;
        Ok(Self {
            home,
            sockets: Vec::new(),
            host,
            port,
            explain: |service, _| service.reason.clone(),
            make_way: |_, _| Ok(()),
            program: None,
            soul: None,
            login,
        })
    }

    /// How a person signs in. Only who listens on a loopback address may let everyone in (L72).
    pub(crate) fn login(&self) -> Result<Login, StartError> {
        if let Some((username, hash)) = &self.login {
            return Ok(Login::Password {
                username: username.clone(),
                hash: hash.clone(),
            });
        }
        if self.host.to_canonical().is_loopback() {
            return Ok(Login::Open);
        }
        Token::of(&self.home).map(Login::Token).map_err(|error| {
            StartError::failed(format!(
                "the dashboard needs a login on {}, and no token can be kept in the home: {error}; \
                 set {USERNAME} and {PASSWORD}, or listen on 127.0.0.1",
                self.host
            ))
        })
    }
}

fn set(variable: impl Fn(&str) -> Option<String>, name: &str) -> Option<String> {
    variable(name)
        .map(|text| text.trim().to_owned())
        .filter(|text| !text.is_empty())
}

/// Where to listen.
fn place(
    host: Option<&str>,
    port: Option<u16>,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<(IpAddr, u16), StartError> {
    let host = match host.map(str::to_owned).or_else(|| set(&variable, HOST)) {
        Some(text) => address(&text)?,
        None => IpAddr::V4(Ipv4Addr::LOCALHOST),
    };
    let port = match (port, set(&variable, PORT)) {
        (Some(port), _) => port,
        (None, Some(text)) => text.parse().map_err(|_| {
            StartError::config(format!(
                "{PORT}={text:?} is no port: use a number below 65536"
            ))
        })?,
        (None, None) => DEFAULT_PORT,
    };
    Ok((host, port))
}

/// Names would have to be looked up, and may lead anywhere; only the usual one is known.
fn address(text: &str) -> Result<IpAddr, StartError> {
    if text.eq_ignore_ascii_case("localhost") {
        return Ok(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    text.trim_start_matches('[').trim_end_matches(']').parse().map_err(|_| {
        StartError::config(format!(
            "{text:?} is no address to listen on: use 127.0.0.1, 0.0.0.0, ::1, or another of this machine's"
        ))
    })
}

fn login(
    username: Option<String>,
    hash: Option<String>,
    password: Option<String>,
) -> Result<Option<(String, PasswordHash)>, StartError> {
    let password = password.filter(|password| !password.is_empty());
    let hash = match (&username, hash, password) {
        (_, None, None) if username.is_none() => return Ok(None),
        (None, ..) => {
            return Err(StartError::config(format!(
                "a password is set and no name: set {USERNAME} too"
            )));
        }
        (Some(_), None, None) => {
            return Err(StartError::config(format!(
                "{USERNAME} is set and no password: set {PASSWORD_HASH} or {PASSWORD} too"
            )));
        }
        (Some(_), Some(hash), _) => PasswordHash::parse(&hash)
            .map_err(|why| StartError::config(format!("{PASSWORD_HASH} can't be used: {why}")))?,
        (Some(_), None, Some(password)) => PasswordHash::of(&password)
            .map_err(|why| StartError::failed(format!("{PASSWORD} can't be hashed: {why}")))?,
    };
    Ok(username.map(|username| (username, hash)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(host: Option<&str>, variables: &[(&str, &str)]) -> Result<Options, StartError> {
        let dir = tempfile::tempdir().unwrap();
        let variable = |name: &str| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Options::new(Home::new(dir.keep()), host, None, variable)
    }

    #[test]
    fn l72_it_listens_on_loopback_by_default_and_elsewhere_never_without_a_login() {
        let default = options(None, &[]).unwrap();
        assert_eq!(
            (default.host.to_string(), default.port),
            ("127.0.0.1".into(), 9119)
        );
        assert!(matches!(default.login().unwrap(), Login::Open));
        for host in ["0.0.0.0", "::", "192.0.2.1", "::ffff:192.0.2.1"] {
            let open = options(Some(host), &[]).unwrap();
            assert!(matches!(open.login().unwrap(), Login::Token(_)), "{host}");
        }
        let variables = [(USERNAME, "me"), (PASSWORD, "secret")];
        let named = options(Some("0.0.0.0"), &variables).unwrap();
        assert!(matches!(named.login().unwrap(), Login::Password { .. }));
        let local = options(None, &variables).unwrap();
        assert!(matches!(local.login().unwrap(), Login::Password { .. }));
    }

    #[test]
    fn the_command_line_goes_before_the_environment() {
        let variables = [(HOST, "::1"), (PORT, "9200")];
        let options = options(Some("localhost"), &variables).unwrap();
        assert_eq!(
            (options.host.to_string(), options.port),
            ("127.0.0.1".into(), 9200)
        );
    }

    #[test]
    fn half_a_login_or_a_bad_one_is_bad_configuration() {
        for variables in [
            vec![(USERNAME, "me")],
            vec![(PASSWORD, "secret")],
            vec![(USERNAME, "me"), (PASSWORD_HASH, "secret")],
            vec![(PORT, "70000")],
            vec![(HOST, "example.org")],
        ] {
            assert!(
                options(None, &variables).is_err_and(|e| e.is_config),
                "{variables:?}"
            );
        }
    }

    #[test]
    fn the_switch_has_three_words_in_any_case() {
        for (word, wanted) in [
            ("1", true),
            ("TRUE", true),
            ("Yes", true),
            ("0", false),
            ("on", false),
        ] {
            assert_eq!(is_wanted(|_| Some(word.into())), wanted, "{word}");
        }
        assert!(!is_wanted(|_| None));
    }
}
