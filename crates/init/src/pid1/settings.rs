//! What PID 1 is told by its environment and its command line.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::output::Level;
use crate::environment::Environment;
use crate::logproto::Forward;

/// Everything is stopped within this, under the 10 s after which Docker kills the container.
const STOP_BUDGET: Duration = Duration::from_secs(8);

/// A Unix socket's path has at most this many bytes, its terminating zero included (unix(7)).
const SOCKET_PATH_BYTES_MAX: usize = 108;

/// The socket's name in the runtime directory.
pub(crate) const SOCKET_NAME: &str = "control.sock";

/// How the supervisor was asked to run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Directory of the control socket, where it isn't the usual one.
    pub runtime_dir: Option<PathBuf>,
    /// The container's CMD.
    pub cmd: Vec<String>,
}

/// Settings, each with its default.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Budget of a shutdown (`HERM_STOP_TIMEOUT`, seconds).
    pub(crate) stop_budget: Duration,
    /// How much PID 1 says (`HERM_LOG`).
    pub(crate) level: Level,
    /// How services' lines appear on stdout (`HERM_LOG_STDOUT`: `prefix`, `raw`, `json`, `none`).
    pub(crate) forward: Forward,
    /// The home, where one is configured (`HERMES_HOME`).
    pub(crate) home: Option<PathBuf>,
}

impl Settings {
    /// Reads the environment. What makes no sense is named and the default taken: a typo must not
    /// keep a container from coming up.
    pub(crate) fn read(environment: &Environment) -> (Self, Vec<String>) {
        let mut warnings = Vec::new();
        let mut setting = |name: &str, expected: &str, valid: bool| {
            if !valid {
                warnings.push(format!("{name} is not {expected}; its default is used"));
            }
        };
        let budget = environment
            .get_nonempty("HERM_STOP_TIMEOUT")
            .map(parse_seconds);
        setting(
            "HERM_STOP_TIMEOUT",
            "a number of seconds",
            budget != Some(None),
        );
        let level = environment.get_nonempty("HERM_LOG").map(Level::parse);
        setting(
            "HERM_LOG",
            "one of error, warn, info, debug",
            level != Some(None),
        );
        let forward = environment
            .get_nonempty("HERM_LOG_STDOUT")
            .map(parse_forward);
        setting(
            "HERM_LOG_STDOUT",
            "one of prefix, raw, json, none",
            forward != Some(None),
        );
        let settings = Self {
            stop_budget: budget.flatten().unwrap_or(STOP_BUDGET),
            level: level.flatten().unwrap_or(Level::Info),
            forward: forward.flatten().unwrap_or_default(),
            home: environment.get_nonempty("HERMES_HOME").map(PathBuf::from),
        };
        (settings, warnings)
    }
}

/// A decimal number of seconds. Reading it as a float would take tables of 10 kB.
fn parse_seconds(text: &str) -> Option<Duration> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_number = |digits: &str| digits.bytes().all(|digit| digit.is_ascii_digit());
    if whole.len() + fraction.len() == 0 || !is_number(whole) || !is_number(fraction) {
        return None;
    }
    let seconds = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let place_values = std::iter::successors(Some(100_000_000), |value| Some(value / 10));
    let digits = fraction.bytes().map(|digit| u32::from(digit - b'0'));
    let nanos = digits.zip(place_values).map(|(digit, value)| digit * value);
    Some(Duration::new(seconds, nanos.sum()))
}

fn parse_forward(text: &str) -> Option<Forward> {
    Some(match text {
        "prefix" => Forward::Prefix,
        "raw" => Forward::Raw,
        "json" => Forward::Json,
        "none" => Forward::None,
        _ => return None,
    })
}

/// Where the control socket may be, best first (contract section 1): the runtime directory asked
/// for and nothing else (`herm up` names the user's), or `/run/herm`, or a directory in the home.
/// Root's is not in the home, where the home's user could put another in its place, but on the
/// tmpfs that containers with a read-only root have, too.
pub(crate) fn runtime_dirs(
    options: &Options,
    environment: &Environment,
    home: Option<&Path>,
) -> Vec<PathBuf> {
    let asked = options.runtime_dir.clone();
    let asked = asked.or_else(|| environment.get_nonempty("HERM_RUN_DIR").map(PathBuf::from));
    if let Some(dir) = asked {
        return vec![dir];
    }
    let mut dirs = vec![PathBuf::from("/run/herm")];
    if rustix::process::geteuid().is_root() {
        dirs.push(PathBuf::from("/dev/shm/herm"));
    } else {
        dirs.extend(home.map(|home| home.join(".herm/run")));
    }
    dirs.retain(|dir| dir.join(SOCKET_NAME).as_os_str().len() < SOCKET_PATH_BYTES_MAX);
    dirs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        Environment::from_variables(variables.iter().map(|(n, v)| ((*n).into(), (*v).into())))
    }

    #[test]
    fn a_typo_is_named_and_does_not_keep_the_container_down() {
        let (settings, warnings) = Settings::read(&environment(&[
            ("HERM_STOP_TIMEOUT", "soon"),
            ("HERM_LOG", "debug"),
        ]));
        assert_eq!(settings.stop_budget, STOP_BUDGET);
        assert_eq!(settings.level, Level::Debug);
        assert!(
            warnings.iter().any(|w| w.contains("HERM_STOP_TIMEOUT")),
            "{warnings:?}"
        );
        assert_eq!(warnings.len(), 1);
    }

    #[test]
    fn seconds_may_have_a_fraction() {
        let parsed = |text| parse_seconds(text).map(|time| time.as_nanos());
        assert_eq!(parsed("55"), Some(55_000_000_000));
        assert_eq!(parsed("0.25"), Some(250_000_000));
        assert_eq!(parsed(".5"), parsed("0.50000000000000000"));
        assert_eq!(parsed("1.0000000019"), Some(1_000_000_001));
        for text in [".", "-1", "1e3", "1.-5", "inf", "99999999999999999999"] {
            assert_eq!(parsed(text), None, "{text}");
        }
    }

    #[test]
    fn the_socket_is_where_it_was_asked_for_and_nowhere_else() {
        let options = Options {
            runtime_dir: Some("/tmp/x".into()),
            cmd: Vec::new(),
        };
        let dirs = runtime_dirs(&options, &environment(&[("HERM_RUN_DIR", "/y")]), None);
        assert_eq!(dirs, [PathBuf::from("/tmp/x")]);
    }

    #[test]
    fn a_path_too_long_for_a_socket_is_never_tried() {
        let home = PathBuf::from(format!("/{}", "x".repeat(100)));
        let dirs = runtime_dirs(&Options::default(), &environment(&[]), Some(&home));
        assert!(!dirs.iter().any(|dir| dir.starts_with(&home)));
    }

    #[test]
    fn roots_socket_is_never_in_the_home() {
        let home = Path::new("/h");
        let dirs = runtime_dirs(&Options::default(), &environment(&[]), Some(home));
        let in_home = dirs.iter().any(|dir| dir.starts_with(home));
        assert_eq!(in_home, !rustix::process::geteuid().is_root());
        assert_eq!(dirs.first(), Some(&PathBuf::from("/run/herm")));
    }
}
