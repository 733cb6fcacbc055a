//! herm's settings: `/etc/herm/herm.toml` (root's), then `herm.toml` in the home, then `HERM_*`
//! variables; the later goes before the earlier (contract section 1).
//!
//! [`KEYS`] is the one definition: it names every key, its meaning and how it is read, and
//! everything else follows from it, the documentation included. Tables that belong to PID 1
//! ([`INIT_TABLES`]) are its own; it reads them itself, from root's file only.

use std::path::{Path, PathBuf};

use herm_wire::nearest;
use herm_wire::variables::stranger;
use thiserror::Error;
use toml::Value;

use crate::error::HomeError;
use crate::files::Dir;
use crate::layout::Home;

/// Root's settings.
pub const SYSTEM_FILE: &str = "/etc/herm/herm.toml";
/// Tables of root's file that PID 1 reads.
pub const INIT_TABLES: [&str; 1] = ["init"];
/// The one key that is an instance's and not the home's.
const ROLE: &str = "role";
const MAX_BYTES: u64 = 1 << 20;
/// Longest time any setting may name, in seconds: a day.
const MAX_SECONDS: f64 = 86_400.0;

/// What herm is told to do otherwise than it would.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settings {
    /// Program and arguments of every profile's gateway; the agent, or herm's own, if empty.
    pub gateway_command: Vec<String>,
    /// Uptime in seconds after which a run counts as stable.
    pub restart_stable_s: Option<f64>,
    /// First delay before a failed gateway is started again, in seconds.
    pub restart_delay_s: Option<f64>,
    /// Longest such delay, in seconds.
    pub restart_max_delay_s: Option<f64>,
    /// Failures in a row after which a gateway is given up; never, if not set.
    pub restart_burst: Option<u32>,
    /// Seconds from the request to stop to KILL.
    pub stop_grace_s: Option<f64>,
    /// Whether rotated files are compressed.
    pub log_compress: bool,
    /// Size in bytes at which a kept log is rotated.
    pub log_max_bytes: Option<u64>,
    /// Rotated files kept of each log.
    pub log_max_files: Option<u32>,
    /// Seconds after which a kept log is rotated, and a rotated file removed.
    pub log_max_age_s: Option<u64>,
    /// What this instance does in a home that several share.
    pub role: Option<Role>,
}

/// What an instance does in a home (L36).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It runs the gateways, if no other instance does.
    Gateways,
    /// It never does; it shows them, and hands verbs to the instance that does.
    Dashboard,
}

/// One key of the settings.
#[derive(Debug)]
pub struct Key {
    /// Its dotted name in the files; the variable is `HERM_` and the name in capitals with
    /// underscores.
    pub name: &'static str,
    /// What it means, for the documentation.
    pub about: &'static str,
    set: fn(&mut Settings, &Value) -> Result<(), &'static str>,
}

impl Key {
    /// The variable that sets this key.
    pub fn variable(&self) -> String {
        format!("HERM_{}", self.name.replace('.', "_").to_uppercase())
    }
}

/// All keys.
pub const KEYS: [Key; 11] = [
    Key {
        name: "gateway.command",
        about: "program and arguments of every profile's gateway, as a list",
        set: |settings, value| words(value).map(|words| settings.gateway_command = words),
    },
    Key {
        name: "log.compress",
        about: "true: rotated log files are compressed (gzip)",
        set: |settings, value| switch(value).map(|on| settings.log_compress = on),
    },
    Key {
        name: "log.max_age",
        about: "seconds after which a log file is rotated, and a rotated one removed",
        set: |settings, value| whole(value).map(|seconds| settings.log_max_age_s = Some(seconds)),
    },
    Key {
        name: "log.max_bytes",
        about: "size in bytes at which a log file is rotated",
        set: |settings, value| match whole(value)? {
            0..4096 => Err("at least 4096 bytes"),
            bytes => {
                settings.log_max_bytes = Some(bytes);
                Ok(())
            }
        },
    },
    Key {
        name: "log.max_files",
        about: "rotated files kept of each log",
        set: |settings, value| small(value).map(|files| settings.log_max_files = Some(files)),
    },
    Key {
        name: "restart.burst",
        about: "failures in a row after which a gateway is given up",
        set: |settings, value| small(value).map(|burst| settings.restart_burst = Some(burst)),
    },
    Key {
        name: "restart.delay",
        about: "seconds before a failed gateway is started again, doubled each time",
        set: |settings, value| seconds(value).map(|s| settings.restart_delay_s = Some(s)),
    },
    Key {
        name: "restart.max_delay",
        about: "longest delay in seconds before a failed gateway is started again",
        set: |settings, value| seconds(value).map(|s| settings.restart_max_delay_s = Some(s)),
    },
    Key {
        name: "restart.stable",
        about: "uptime in seconds after which a run counts as stable",
        set: |settings, value| seconds(value).map(|s| settings.restart_stable_s = Some(s)),
    },
    Key {
        name: ROLE,
        about: "`gateways`: run the home's gateways, if no other container does; `dashboard`: never, \
                only show them and hand verbs on. Not for the home's own file, which all containers read",
        set: |settings, value| {
            settings.role = Some(match value.as_str() {
                Some("gateways") => Role::Gateways,
                Some("dashboard") => Role::Dashboard,
                _ => return Err("\"gateways\" or \"dashboard\""),
            });
            Ok(())
        },
    },
    Key {
        name: "stop.grace",
        about: "seconds a gateway has to stop before it is killed",
        set: |settings, value| seconds(value).map(|s| settings.stop_grace_s = Some(s)),
    },
];

/// What is wrong with a setting.
#[derive(Debug, Error)]
pub enum SettingsError {
    /// Not TOML.
    #[error("{} is no valid TOML: {message}", file.display())]
    NotToml {
        /// The file.
        file: PathBuf,
        /// What the parser says.
        message: String,
    },
    /// A key that means nothing.
    #[error("{origin}: there is no setting '{key}'{}", hint(*near))]
    Unknown {
        /// File or variable.
        origin: String,
        /// The key.
        key: String,
        /// The nearest key there is.
        near: Option<&'static str>,
    },
    /// A variable that is none of herm's, and was probably meant to be.
    #[error("{variable} {stranger}")]
    Misspelt {
        /// The variable.
        variable: String,
        /// What is known of it, in words.
        stranger: String,
    },
    /// A key that only root's file may set.
    #[error("{origin}: '{key}' can only be set in {SYSTEM_FILE}")]
    RootOnly {
        /// File.
        origin: String,
        /// The key.
        key: String,
    },
    /// A key that would hold for every container that shares the home.
    #[error(
        "{origin}: '{ROLE}' is one container's: set HERM_ROLE there, or put it in its {SYSTEM_FILE}"
    )]
    NotShared {
        /// File.
        origin: String,
    },
    /// A value that the key can't have.
    #[error("{origin}: '{key}' needs {expected}")]
    Value {
        /// File or variable.
        origin: String,
        /// The key.
        key: &'static str,
        /// What it needs.
        expected: &'static str,
    },
    /// The file can't be read.
    #[error(transparent)]
    Home(#[from] HomeError),
}

fn hint(near: Option<&str>) -> String {
    near.map(|near| format!("; did you mean '{near}'?"))
        .unwrap_or_default()
}

/// What the three sources say.
#[derive(Debug, Default)]
pub struct Reading {
    /// All that can be followed.
    pub settings: Settings,
    /// What else the files say.
    pub in_files: Vec<SettingsError>,
    /// What else the variables say. They stay as they are for as long as the container lives.
    pub in_variables: Vec<SettingsError>,
}

impl Reading {
    /// All that can't be followed.
    pub fn wrong(&self) -> impl Iterator<Item = &SettingsError> {
        self.in_files.iter().chain(&self.in_variables)
    }

    fn read_file(&mut self, file: &Path, is_roots: bool) {
        let (Some(dir), Some(name)) = (file.parent(), file.file_name().and_then(|n| n.to_str()))
        else {
            return;
        };
        if !dir.is_dir() {
            return;
        }
        match Dir::open(dir).and_then(|dir| dir.read_input(name, MAX_BYTES)) {
            Ok(Some(content)) => {
                let applied = self.settings.apply_file(file, &content.bytes, is_roots);
                self.in_files.extend(applied.err().unwrap_or_default());
            }
            Ok(None) => {}
            Err(error) => self.in_files.push(error.into()),
        }
    }
}

/// Reads all three sources; what can't be followed is left out and told. `environment` is the process's. A
/// `HERM_*` variable that is none of herm's is told where it looks like a typing error; any other may be
/// somebody else's.
pub fn load(
    home: &Home,
    system_file: &Path,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Reading {
    let mut reading = Reading::default();
    reading.read_file(system_file, true);
    reading.read_file(&home.settings(), false);
    let variables: Vec<String> = KEYS.iter().map(Key::variable).collect();
    for (variable, text) in environment {
        let known = variables.iter().map(String::as_str);
        let key = KEYS
            .iter()
            .zip(known.clone())
            .find(|(_, name)| *name == variable);
        let applied = match (key, stranger(&variable, known)) {
            (Some((key, _)), _) => reading.settings.apply(key, &from_text(&text), &variable),
            (None, Some(stranger)) if stranger.is_misspelt() => {
                let stranger = stranger.to_string();
                Err(SettingsError::Misspelt { variable, stranger })
            }
            (None, _) => Ok(()),
        };
        reading.in_variables.extend(applied.err());
    }
    reading
}

impl Settings {
    /// Applies what can be followed of a file's bytes, and tells the rest. `is_roots`: it is
    /// [`SYSTEM_FILE`], which PID 1 reads as well.
    pub fn apply_file(
        &mut self,
        file: &Path,
        bytes: &[u8],
        is_roots: bool,
    ) -> Result<(), Vec<SettingsError>> {
        let not_toml = |message: String| {
            vec![SettingsError::NotToml {
                file: file.to_owned(),
                message,
            }]
        };
        let text = std::str::from_utf8(bytes).map_err(|e| not_toml(e.to_string()))?;
        let table: toml::Table =
            toml::from_str(text).map_err(|e| not_toml(e.message().to_owned()))?;
        let origin = file.display().to_string();
        let wrong: Vec<SettingsError> = leaves(&table)
            .into_iter()
            .filter_map(|(name, value)| self.apply_leaf(name, value, &origin, is_roots).err())
            .collect();
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }

    fn apply_leaf(
        &mut self,
        name: String,
        value: &Value,
        origin: &str,
        is_roots: bool,
    ) -> Result<(), SettingsError> {
        if INIT_TABLES.contains(&name.split('.').next().unwrap_or_default()) {
            return if is_roots {
                Ok(())
            } else {
                Err(SettingsError::RootOnly {
                    origin: origin.to_owned(),
                    key: name,
                })
            };
        }
        if name == ROLE && !is_roots {
            return Err(SettingsError::NotShared {
                origin: origin.to_owned(),
            });
        }
        let Some(key) = KEYS.iter().find(|key| key.name == name) else {
            let near = nearest(&name, KEYS.iter().map(|key| key.name));
            return Err(SettingsError::Unknown {
                origin: origin.to_owned(),
                key: name,
                near,
            });
        };
        self.apply(key, value, origin)
    }

    fn apply(&mut self, key: &Key, value: &Value, origin: &str) -> Result<(), SettingsError> {
        (key.set)(self, value).map_err(|expected| SettingsError::Value {
            origin: origin.to_owned(),
            key: key.name,
            expected,
        })
    }
}

/// The values of a table under their dotted names.
fn leaves(table: &toml::Table) -> Vec<(String, &Value)> {
    let mut found = Vec::new();
    for (name, value) in table {
        match value {
            Value::Table(inner) if !inner.is_empty() => {
                found.extend(
                    leaves(inner)
                        .into_iter()
                        .map(|(key, value)| (format!("{name}.{key}"), value)),
                );
            }
            Value::Table(_) => {}
            _ => found.push((name.clone(), value)),
        }
    }
    found
}

/// A variable's text as the value it would be in a file; what isn't one is text.
fn from_text(text: &str) -> Value {
    toml::from_str::<toml::Table>(&format!("value = {text}"))
        .ok()
        .filter(|table| table.len() == 1)
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| Value::String(text.to_owned()))
}

fn words(value: &Value) -> Result<Vec<String>, &'static str> {
    let expected = "a list of at least one word, e.g. [\"hermes\", \"gateway\", \"run\"]";
    let words = value.as_array().ok_or(expected)?;
    let words: Option<Vec<String>> = words
        .iter()
        .map(|word| word.as_str().map(str::to_owned))
        .collect();
    words
        .filter(|words| words.first().is_some_and(|word| !word.is_empty()))
        .ok_or(expected)
}

/// Variables are often given as 1 and 0.
fn switch(value: &Value) -> Result<bool, &'static str> {
    match value {
        Value::Boolean(on) => Ok(*on),
        Value::Integer(0) => Ok(false),
        Value::Integer(1) => Ok(true),
        _ => Err("true or false"),
    }
}

fn whole(value: &Value) -> Result<u64, &'static str> {
    value
        .as_integer()
        .and_then(|number| u64::try_from(number).ok())
        .ok_or("a whole number, 0 or more")
}

fn small(value: &Value) -> Result<u32, &'static str> {
    let number = u32::try_from(whole(value)?).map_err(|_| "a smaller number")?;
    if number == 0 {
        Err("a number of at least 1")
    } else {
        Ok(number)
    }
}

fn seconds(value: &Value) -> Result<f64, &'static str> {
    #[expect(
        clippy::cast_precision_loss,
        reason = "a day of seconds is far below what f64 holds exactly"
    )]
    let seconds = value
        .as_float()
        .or_else(|| value.as_integer().map(|whole| whole as f64));
    seconds
        .filter(|seconds| (0.0..=MAX_SECONDS).contains(seconds))
        .ok_or("a number of seconds between 0 and 86400")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    fn apply(text: &str, is_roots: bool) -> Result<Settings, SettingsError> {
        let mut settings = Settings::default();
        settings
            .apply_file(Path::new("herm.toml"), text.as_bytes(), is_roots)
            .map_err(|wrong| wrong.into_iter().next().unwrap())?;
        Ok(settings)
    }

    fn told(reading: &Reading) -> Vec<String> {
        reading.wrong().map(ToString::to_string).collect()
    }

    #[test]
    fn every_key_can_be_set_in_a_file() {
        let settings = apply(
            "[gateway]\ncommand = [\"g\", \"run\"]\n[restart]\nstable = 30\ndelay = 0.5\nmax_delay = 10\nburst = 3\n\
             [stop]\ngrace = 5\n[log]\ncompress = true\nmax_bytes = 5000\nmax_files = 2\nmax_age = 60\n",
            false,
        )
        .unwrap();
        let expected = Settings {
            gateway_command: vec!["g".into(), "run".into()],
            restart_stable_s: Some(30.0),
            restart_delay_s: Some(0.5),
            restart_max_delay_s: Some(10.0),
            restart_burst: Some(3),
            stop_grace_s: Some(5.0),
            log_compress: true,
            log_max_bytes: Some(5000),
            log_max_files: Some(2),
            log_max_age_s: Some(60),
            role: None,
        };
        assert_eq!(settings, expected);
    }

    #[test]
    fn an_unknown_key_is_an_error_that_names_the_nearest() {
        let error = apply("[restart]\nmax_dealy = 3\n", false)
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "herm.toml: there is no setting 'restart.max_dealy'; did you mean 'restart.max_delay'?"
        );
        assert!(
            apply("[zzz]\nq = 1\n", false)
                .unwrap_err()
                .to_string()
                .ends_with("'zzz.q'")
        );
    }

    #[test]
    fn a_misspelt_variable_is_an_error_and_somebody_elses_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let load = |name: &str| {
            let variables = [(name.to_owned(), "3".to_owned())];
            told(&load(
                &Home::new(dir.path()),
                &dir.path().join("none"),
                variables,
            ))
        };
        assert_eq!(
            load("HERM_STPO_GRACE"),
            ["HERM_STPO_GRACE is no variable of herm's; did you mean HERM_STOP_GRACE?"]
        );
        for name in [
            "HERM_SERVICE_PORT",
            "HERM_OF_SOMEBODY_ELSE",
            "HERM_STOP_TIMEOUT",
        ] {
            assert_eq!(load(name), Vec::<String>::new());
        }
    }

    /// Root's file and the home's, with these settings.
    fn files(system: &str, own: &str) -> (tempfile::TempDir, Home, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path().join("home"));
        fs::create_dir(home.root()).unwrap();
        let path = dir.path().join("herm.toml");
        fs::write(&path, system).unwrap();
        fs::write(home.settings(), own).unwrap();
        (dir, home, path)
    }

    #[test]
    fn what_is_wrong_is_told_and_all_else_holds() {
        let (_dir, home, system) = files(
            "role = 'dashboard'\nstop.garce = 1\nrestart.delay = 2\n",
            "restart.burst = 0\nlog.max_files = 3\n",
        );
        let environment = [
            ("HERM_STPO_GRACE", "4"),
            ("HERM_LOG_MAX_AGE", "soon"),
            ("HERM_RESTART_STABLE", "5"),
        ];
        let environment = environment.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let reading = load(&home, &system, environment.clone());
        let expected = Settings {
            role: Some(Role::Dashboard),
            restart_delay_s: Some(2.0),
            log_max_files: Some(3),
            restart_stable_s: Some(5.0),
            ..Settings::default()
        };
        assert_eq!(reading.settings, expected);
        assert_eq!((reading.in_files.len(), reading.in_variables.len()), (2, 2));
        let told = told(&reading).join("\n");
        for key in [
            "'stop.garce'",
            "'restart.burst'",
            "HERM_STPO_GRACE",
            "'log.max_age'",
        ] {
            assert!(told.contains(key), "{told}");
        }
        fs::write(home.settings(), "restart.burst = \n").unwrap();
        let reading = load(&home, &system, environment);
        let without_the_homes = Settings {
            log_max_files: None,
            ..expected
        };
        assert_eq!(reading.settings, without_the_homes);
    }

    #[test]
    fn a_value_of_the_wrong_kind_says_what_is_needed() {
        for (text, key) in [
            (
                "gateway.command = \"hermes gateway run\"",
                "gateway.command",
            ),
            ("gateway.command = []", "gateway.command"),
            ("restart.stable = -1", "restart.stable"),
            ("restart.stable = nan", "restart.stable"),
            ("restart.burst = 0", "restart.burst"),
            ("log.compress = \"gzip\"", "log.compress"),
            ("log.max_bytes = 10", "log.max_bytes"),
            ("log.max_files = 99999999999", "log.max_files"),
        ] {
            let error = apply(text, false).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("herm.toml: '{key}' needs ")),
                "{error}"
            );
        }
        assert!(matches!(
            apply("a = [", false),
            Err(SettingsError::NotToml { .. })
        ));
    }

    #[test]
    fn the_table_of_pid_1_belongs_to_roots_file() {
        assert_eq!(
            apply("[init]\nanything = 1\n", true).unwrap(),
            Settings::default()
        );
        assert!(matches!(
            apply("[init]\nanything = 1\n", false),
            Err(SettingsError::RootOnly { .. })
        ));
    }

    #[test]
    fn l36_a_role_is_set_for_one_instance_and_never_for_the_home() {
        let role = |text| apply(text, true).map(|settings| settings.role);
        assert_eq!(role("role = 'dashboard'").unwrap(), Some(Role::Dashboard));
        assert_eq!(role("role = 'gateways'").unwrap(), Some(Role::Gateways));
        assert!(role("role = 'boss'").is_err());
        let shared = apply("role = 'dashboard'", false).unwrap_err();
        assert!(shared.to_string().contains("HERM_ROLE"), "{shared}");
    }

    #[test]
    fn variables_go_before_the_homes_file_and_that_before_roots() {
        let (dir, home, system) = files(
            "restart = {stable = 1, delay = 1}\nstop.grace = 1\n",
            "restart = {stable = 2, delay = 2}\n",
        );
        let environment = [
            ("HERM_RESTART_STABLE", "3"),
            ("HERM_GATEWAY_COMMAND", "[\"g\"]"),
            ("HERM_SERVICE_HOST", "10.0.0.1"),
        ];
        let environment = environment.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let reading = load(&home, &system, environment);
        assert_eq!(told(&reading), Vec::<String>::new());
        let settings = reading.settings;
        let stops = (
            settings.restart_stable_s,
            settings.restart_delay_s,
            settings.stop_grace_s,
        );
        assert_eq!(stops, (Some(3.0), Some(2.0), Some(1.0)));
        assert_eq!(settings.gateway_command, ["g"]);
        let absent = Home::new(dir.path().join("no"));
        let absent = load(&absent, &dir.path().join("no/f"), []);
        assert_eq!(absent.settings, Settings::default());
        assert_eq!(told(&absent), Vec::<String>::new());
        let wrong = [("HERM_RESTART_STABLE".to_owned(), "soon".to_owned())];
        let wrong = told(&load(&home, &system, wrong)).join("\n");
        assert!(wrong.starts_with("HERM_RESTART_STABLE: "), "{wrong}");
    }

    #[test]
    fn the_table_of_keys_is_sorted_and_no_two_share_a_variable() {
        assert!(KEYS.is_sorted_by(|a, b| a.name < b.name));
        let variables: std::collections::BTreeSet<_> = KEYS.iter().map(Key::variable).collect();
        assert_eq!(variables.len(), KEYS.len());
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Settings::default().apply_file(Path::new("f"), &bytes, true);
        }
    }
}
