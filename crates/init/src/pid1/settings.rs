//! What PID 1 is told by its environment and its command line.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use herm_sys::Errno;
use herm_wire::variables::stranger;
use herm_wire::{LogSpec, RestartSpec, ServiceSpec, nearest};

use super::output::Level;
use crate::drop_in::is_drop_in;
use crate::environment::Environment;
use crate::herm_toml::{self, Kind};
use crate::logproto::Forward;
use crate::s6_variables;

/// Everything is stopped within this, under the 10 s after which Docker kills the container.
const STOP_BUDGET: Duration = Duration::from_secs(8);

/// s6-overlay waits no longer either.
const S6_GRACE_MAX: Duration = Duration::from_secs(300);
/// A budget is longer than the graces in it by this much, for what comes after.
const STOP_RESERVE: Duration = Duration::from_secs(2);

/// A Unix socket's path has at most this many bytes, its terminating zero included (unix(7)).
const SOCKET_PATH_BYTES_MAX: usize = 108;

/// Where any user can make a directory in nearly every container; the client looks there, too.
const LAST_RESORTS: [&str; 2] = ["/dev/shm", "/tmp"];

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

/// Root's settings; also `herm`'s, which reads it whole.
const FILE: &str = "/etc/herm/herm.toml";

/// All kept logs together (contract section 6).
const LOG_TOTAL: u64 = 1 << 30;

/// The most that is read of it.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// Settings, each with its default. See [`KEYS`] for what they mean.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Settings {
    /// Budget of a shutdown.
    pub(crate) stop_budget: Duration,
    /// How much PID 1 says.
    pub(crate) level: Level,
    /// How services' lines appear on stdout.
    pub(crate) forward: Forward,
    /// Bytes that all kept logs may take together.
    pub(crate) log_total: u64,
    /// The home, where one is configured (`HERMES_HOME`).
    pub(crate) home: Option<PathBuf>,
    /// For services that say nothing of their own.
    restart: RestartSpec,
    grace_ms: Option<u64>,
    log: LogSpec,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            stop_budget: STOP_BUDGET,
            level: Level::Info,
            forward: Forward::default(),
            log_total: LOG_TOTAL,
            home: None,
            restart: RestartSpec::default(),
            grace_ms: None,
            log: LogSpec::default(),
        }
    }
}

/// A setting of PID 1's.
struct Key {
    /// Its dotted name in root's file.
    name: &'static str,
    /// Its variable, which goes before the file.
    variable: &'static str,
    /// How it is written in the file.
    kind: Kind,
    /// What it needs, for people.
    needs: &'static str,
    /// False for a value it can't have.
    set: fn(&mut Settings, &str) -> bool,
}

impl Key {
    const fn seconds(
        name: &'static str,
        variable: &'static str,
        set: fn(&mut Settings, &str) -> bool,
    ) -> Self {
        let needs = "a number of seconds between 0 and 86400";
        Self::number(name, variable, needs, set)
    }

    const fn number(
        name: &'static str,
        variable: &'static str,
        needs: &'static str,
        set: fn(&mut Settings, &str) -> bool,
    ) -> Self {
        Self {
            name,
            variable,
            kind: Kind::Number,
            needs,
            set,
        }
    }
}

/// Takes over a value, if there is one.
fn put<T>(place: &mut T, value: Option<T>) -> bool {
    let is_there = value.is_some();
    if let Some(value) = value {
        *place = value;
    }
    is_there
}

/// What PID 1 can be told. What is also the keeper's (`herm_home::settings::KEYS`, which has what it
/// means for gateways) means here the same for services that are registered without a word on it.
const KEYS: [Key; 12] = [
    Key {
        name: "init.log",
        variable: "HERM_LOG",
        kind: Kind::Text,
        needs: "one of error, warn, info, debug",
        set: |settings, text| put(&mut settings.level, Level::parse(text)),
    },
    Key {
        name: "init.log_stdout",
        variable: "HERM_LOG_STDOUT",
        kind: Kind::Text,
        needs: "one of prefix, raw, json, none",
        set: |settings, text| put(&mut settings.forward, parse_forward(text)),
    },
    Key::number(
        "init.log_total",
        "HERM_LOG_TOTAL",
        "a whole number of bytes",
        |settings, text| put(&mut settings.log_total, text.parse().ok()),
    ),
    Key::seconds(
        "init.stop_timeout",
        "HERM_STOP_TIMEOUT",
        |settings, text| put(&mut settings.stop_budget, parse_seconds(text)),
    ),
    Key::number(
        "log.max_age",
        "HERM_LOG_MAX_AGE",
        "a whole number, 0 or more",
        |settings, text| put(&mut settings.log.max_age_s, text.parse().ok().map(Some)),
    ),
    Key::number(
        "log.max_bytes",
        "HERM_LOG_MAX_BYTES",
        "at least 4096 bytes",
        |settings, text| {
            let bytes = text.parse().ok().filter(|bytes| *bytes >= 4096);
            put(&mut settings.log.max_bytes, bytes.map(Some))
        },
    ),
    Key::number(
        "log.max_files",
        "HERM_LOG_MAX_FILES",
        "a number of at least 1",
        |settings, text| put(&mut settings.log.max_files, parse_count(text).map(Some)),
    ),
    Key::number(
        "restart.burst",
        "HERM_RESTART_BURST",
        "a number of at least 1",
        |settings, text| put(&mut settings.restart.burst, parse_count(text).map(Some)),
    ),
    Key::seconds("restart.delay", "HERM_RESTART_DELAY", |settings, text| {
        put(&mut settings.restart.delay_ms, parse_millis(text).map(Some))
    }),
    Key::seconds(
        "restart.max_delay",
        "HERM_RESTART_MAX_DELAY",
        |settings, text| {
            put(
                &mut settings.restart.max_delay_ms,
                parse_millis(text).map(Some),
            )
        },
    ),
    Key::seconds("restart.stable", "HERM_RESTART_STABLE", |settings, text| {
        put(
            &mut settings.restart.stable_ms,
            parse_millis(text).map(Some),
        )
    }),
    Key::seconds("stop.grace", "HERM_STOP_GRACE", |settings, text| {
        put(&mut settings.grace_ms, parse_millis(text).map(Some))
    }),
];

/// Keys of the same file that only the keeper and the command line know what to do with.
const OTHERS: [&str; 3] = ["gateway.command", "log.compress", "role"];

impl Settings {
    /// Root's file, then the environment. A file that can't be understood is an error: it was written
    /// by root to be followed. A variable that makes no sense is named and passed over: a typo must
    /// not keep a container from coming up.
    pub(crate) fn read(environment: &Environment) -> (Self, Vec<String>, Result<(), String>) {
        let mut settings = Self::default();
        settings.take_overlays(environment);
        settings.fit_to(herm_sys::process::is_pid1() && is_drop_in(Path::new("/etc")));
        let (mut warnings, mut result) = (Vec::new(), Ok(()));
        match read_file(Path::new(FILE)) {
            Ok(None) => {}
            Ok(Some(text)) => {
                result = settings.apply_file(&text);
                result = result.map_err(|why| format!("{FILE}: {why}"));
            }
            Err(why) => warnings.push(format!("{FILE}: {why}; it is passed over")),
        }
        settings.apply_variables(environment, &mut warnings);
        (settings, warnings, result)
    }

    /// What s6-overlay's variables say of the same, for whom herm's own say nothing. Its graces come one
    /// after another; all of them have to fit into the one budget.
    fn take_overlays(&mut self, environment: &Environment) {
        let verbosity = s6_variables::number(environment, "S6_VERBOSITY");
        self.level = match verbosity {
            Some(0) => Level::Error,
            Some(1) => Level::Warn,
            Some(2) | None => self.level,
            Some(_) => Level::Debug,
        };
        let grace = |name| s6_variables::millis(environment, name);
        let graces = [grace("S6_SERVICES_GRACETIME"), grace("S6_KILL_GRACETIME")];
        if graces.iter().any(Option::is_some) {
            let sum = graces.iter().flatten().fold(Duration::ZERO, |sum, one| {
                sum.saturating_add((*one).min(S6_GRACE_MAX))
            });
            self.stop_budget = self.stop_budget.max(sum + STOP_RESERVE);
        }
    }

    /// An image that was made for s6-overlay says there what its services say, and no more: whoever
    /// reads its output knows those lines.
    fn fit_to(&mut self, drop_in: bool) {
        if drop_in {
            self.forward = Forward::Raw;
        }
    }

    fn apply_file(&mut self, text: &str) -> Result<(), String> {
        herm_toml::read(text, &mut |name, value| self.take(name, value))
            .map_err(|error| error.to_string())
    }

    fn take(&mut self, name: &str, value: &herm_toml::Value) -> Result<(), String> {
        if OTHERS.contains(&name) {
            return Ok(());
        }
        let Some(key) = KEYS.iter().find(|key| key.name == name) else {
            let names = KEYS.iter().map(|key| key.name).chain(OTHERS);
            return Err(match nearest(name, names) {
                Some(near) => format!("there is no setting '{name}'; did you mean '{near}'?"),
                None => format!("there is no setting '{name}'"),
            });
        };
        let set = key.set;
        if value.kind == key.kind && set(self, &value.text) {
            Ok(())
        } else {
            Err(format!("'{name}' needs {}", key.needs))
        }
    }

    fn apply_variables(&mut self, environment: &Environment, warnings: &mut Vec<String>) {
        for key in &KEYS {
            let Some(text) = environment.get_nonempty(key.variable) else {
                continue;
            };
            let set = key.set;
            if !set(self, text) {
                let (name, needs) = (key.variable, key.needs);
                warnings.push(format!("{name} is not {needs}; its default is used"));
            }
        }
        warnings.extend(strangers(environment));
        self.home = environment.get_nonempty("HERMES_HOME").map(PathBuf::from);
    }

    /// Puts the defaults that were set into what a service's spec leaves open.
    pub(crate) fn complete(&self, spec: &mut ServiceSpec) {
        fn fill<T: Copy>(open: &mut Option<T>, default: Option<T>) {
            *open = open.or(default);
        }
        let (restart, log) = (&mut spec.restart, &mut spec.log);
        fill(&mut restart.stable_ms, self.restart.stable_ms);
        fill(&mut restart.delay_ms, self.restart.delay_ms);
        fill(&mut restart.max_delay_ms, self.restart.max_delay_ms);
        fill(&mut restart.burst, self.restart.burst);
        fill(&mut spec.stop.grace_ms, self.grace_ms);
        fill(&mut log.max_bytes, self.log.max_bytes);
        fill(&mut log.max_files, self.log.max_files);
        fill(&mut log.max_age_s, self.log.max_age_s);
    }
}

/// Whether a text is a file of settings that PID 1 would follow; else what it says. For `herm`, and for
/// the test that both read one file alike.
pub fn check_settings(text: &str) -> Result<(), String> {
    Settings::default().apply_file(text)
}

/// The text of a file that is there. Whoever can write to it decides what PID 1 does, so it has to be
/// root's (or ours), or mounted read-only. `/etc` is root's; a link there (as Kubernetes makes them) is
/// followed.
fn read_file(path: &Path) -> Result<Option<String>, String> {
    use rustix::fs::{FileType, Mode, OFlags, StatVfsMountFlags, fstat, fstatvfs, open};
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = match open(path, flags, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let stat = fstat(&file).map_err(|error| error.to_string())?;
    let own = rustix::process::geteuid().as_raw();
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err("it is no regular file".to_owned());
    }
    let is_fixed = || fstatvfs(&file).is_ok_and(|fs| fs.f_flag.contains(StatVfsMountFlags::RDONLY));
    let is_others = (stat.st_uid != 0 && stat.st_uid != own) || stat.st_mode & 0o022 != 0;
    if is_others && !is_fixed() {
        return Err("others than root can write to it; mount it read-only".to_owned());
    }
    let mut text = String::new();
    let read = std::fs::File::from(file)
        .take(FILE_BYTES_MAX + 1)
        .read_to_string(&mut text);
    match read {
        Ok(_) if text.len() as u64 > FILE_BYTES_MAX => Err("it is too long".to_owned()),
        Ok(_) => Ok(Some(text)),
        Err(error) => Err(error.to_string()),
    }
}

/// Variables that look like herm's and are none: they are told, and do nothing.
fn strangers(environment: &Environment) -> Vec<String> {
    let of_others = OTHERS.map(|name| format!("HERM_{}", name.replace('.', "_").to_uppercase()));
    let settings = KEYS.iter().map(|key| key.variable);
    let settings = settings.chain(of_others.iter().map(String::as_str));
    let told = |(name, _): (&std::ffi::OsStr, _)| {
        let name = name.to_str()?;
        let stranger = stranger(name, settings.clone())?;
        Some(format!("{name} {stranger}"))
    };
    environment.for_root().filter_map(told).collect()
}

fn parse_count(text: &str) -> Option<u32> {
    text.parse().ok().filter(|count| *count > 0)
}

fn parse_millis(text: &str) -> Option<u64> {
    u64::try_from(parse_seconds(text)?.as_millis()).ok()
}

/// A decimal number of seconds, up to a day. Reading it as a float would take tables of 10 kB.
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
    let time = Duration::new(seconds, nanos.sum());
    (time <= Duration::from_secs(86_400)).then_some(time)
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
/// tmpfs that containers with a read-only root have, too. Another user's is there at last, under its
/// own number, where neither `/run` nor the home can be written.
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
        let uid = rustix::process::geteuid().as_raw();
        dirs.extend(LAST_RESORTS.map(|dir| PathBuf::from(format!("{dir}/herm-{uid}"))));
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
        let (mut settings, mut warnings) = (Settings::default(), Vec::new());
        let variables = environment(&[("HERM_STOP_TIMEOUT", "soon"), ("HERM_LOG", "debug")]);
        settings.apply_variables(&variables, &mut warnings);
        assert_eq!(settings.stop_budget, STOP_BUDGET);
        assert_eq!(settings.level, Level::Debug);
        assert!(
            warnings.iter().any(|w| w.contains("HERM_STOP_TIMEOUT")),
            "{warnings:?}"
        );
        assert_eq!(warnings.len(), 1);
    }

    #[test]
    fn a_variable_that_is_none_of_herms_is_named_with_the_nearest() {
        let told = strangers(&environment(&[
            ("HERM_STPO_TIMEOUT", "1"),
            ("HERM_ROLE", "gateways"),
            ("HERM_GATEWAY_COMMAND", "[]"),
            ("HERM_LOG_MAX_FILES", "2"),
            ("HERM_SERVICE_HOST", "10.0.0.1"),
            ("HERM_OF_SOMEBODY_ELSE", ""),
        ]));
        let wanted = [
            "HERM_OF_SOMEBODY_ELSE is no variable of herm's",
            "HERM_STPO_TIMEOUT is no variable of herm's; did you mean HERM_STOP_TIMEOUT?",
        ];
        assert_eq!(told, wanted);
    }

    /// What the guide tells people to set is known.
    #[test]
    fn every_variable_of_the_guide_is_one() {
        let guide = include_str!("../../../../docs/guide/settings.md");
        let words = guide.split(|c: char| !c.is_ascii_uppercase() && c != '_');
        let named = words.filter(|word| word.len() > 5 && word.starts_with("HERM_"));
        let variables: Vec<(&str, &str)> = named.map(|name| (name, "")).collect();
        assert!(variables.len() > 10, "{variables:?}");
        assert_eq!(strangers(&environment(&variables)), Vec::<String>::new());
    }

    const EVERY_KEY: &str = "gateway.command = [\"g\"]\nrole = \"dashboard\"\n[init]\nlog = \"warn\"\n\
                             log_stdout = \"json\"\nlog_total = 9000\nstop_timeout = 20\n[log]\ncompress = true\n\
                             max_age = 60\nmax_bytes = 5000\n\
                             max_files = 2\n[restart]\nburst = 3\ndelay = 0.5\nmax_delay = 10\nstable = 30\n\
                             [stop]\ngrace = 5\n";

    #[test]
    fn no_variable_of_pid_1s_own_is_a_stranger_to_those_who_read_the_others() {
        for key in KEYS.iter().filter(|key| key.name.starts_with("init.")) {
            assert_eq!(stranger(key.variable, std::iter::empty()), None);
        }
    }

    #[test]
    fn every_key_can_be_set_in_roots_file_and_variables_go_before() {
        let mut settings = Settings::default();
        settings.apply_file(EVERY_KEY).unwrap();
        let mut expected = Settings {
            stop_budget: Duration::from_secs(20),
            level: Level::Warn,
            forward: Forward::Json,
            log_total: 9000,
            home: None,
            restart: RestartSpec {
                stable_ms: Some(30_000),
                delay_ms: Some(500),
                max_delay_ms: Some(10_000),
                burst: Some(3),
            },
            grace_ms: Some(5000),
            log: LogSpec {
                dir: None,
                max_bytes: Some(5000),
                max_files: Some(2),
                max_age_s: Some(60),
            },
        };
        assert_eq!(settings, expected);
        let mut warnings = Vec::new();
        let variables = environment(&[("HERM_LOG", "debug"), ("HERM_RESTART_DELAY", "2")]);
        settings.apply_variables(&variables, &mut warnings);
        expected.level = Level::Debug;
        expected.restart.delay_ms = Some(2000);
        assert_eq!((settings, warnings.len()), (expected, 0));
    }

    #[test]
    fn a_drop_in_image_prints_raw_unless_it_is_told_otherwise() {
        let told = |drop_in, file: &str, variables: &[(&str, &str)]| {
            let mut settings = Settings::default();
            settings.fit_to(drop_in);
            settings.apply_file(file).unwrap();
            settings.apply_variables(&environment(variables), &mut Vec::new());
            settings.forward
        };
        assert_eq!(told(false, "", &[]), Forward::Prefix);
        assert_eq!(told(true, "", &[]), Forward::Raw);
        let file = "init.log_stdout = \"json\"";
        assert_eq!(told(true, file, &[]), Forward::Json);
        assert_eq!(
            told(true, file, &[("HERM_LOG_STDOUT", "prefix")]),
            Forward::Prefix
        );
        assert_eq!(told(true, "", &[("HERM_LOG_STDOUT", "no")]), Forward::Raw);
    }

    #[test]
    fn a_file_that_can_not_be_followed_says_where_and_what() {
        for (text, why) in [
            (
                "\n[init]\nstop_timeuot = 3\n",
                "line 3: there is no setting 'init.stop_timeuot'; did you mean 'init.stop_timeout'?",
            ),
            ("zzz = 1", "line 1: there is no setting 'zzz'"),
            (
                "init.log = 1",
                "line 1: 'init.log' needs one of error, warn, info, debug",
            ),
            (
                "stop.grace = \"5\"",
                "line 1: 'stop.grace' needs a number of seconds between 0 and 86400",
            ),
            (
                "restart = {delay = 1}",
                "line 1: here should be a text in quotes, a number, true, false, or a list of these",
            ),
        ] {
            assert_eq!(check_settings(text).unwrap_err(), why);
        }
    }

    #[test]
    fn what_a_spec_says_goes_before_what_is_set_for_all() {
        let mut settings = Settings::default();
        settings.apply_file(EVERY_KEY).unwrap();
        let mut spec: ServiceSpec = serde_json::from_str(
            r#"{"name": "a", "kind": "service", "argv": ["x"], "initial": "up",
                "restart": {"delay_ms": 7}, "stop": {}, "log": {"max_files": 9}}"#,
        )
        .unwrap();
        settings.complete(&mut spec);
        assert_eq!(
            (spec.restart.delay_ms, spec.restart.burst),
            (Some(7), Some(3))
        );
        assert_eq!(
            (spec.log.max_files, spec.log.max_bytes),
            (Some(9), Some(5000))
        );
        assert_eq!(spec.stop.grace_ms, Some(5000));
    }

    #[test]
    fn only_a_regular_file_of_roots_or_ours_is_followed() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("f"), dir.path().join("l"));
        assert_eq!(read_file(&file), Ok(None));
        std::fs::write(&file, "a = 1").unwrap();
        symlink(&file, &link).unwrap();
        assert_eq!(read_file(&file), Ok(Some("a = 1".to_owned())));
        assert_eq!(read_file(&link), read_file(&file));
        assert!(read_file(dir.path()).is_err());
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o666)).unwrap();
        assert!(read_file(&file).is_err());
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
        let is_last_in_tmp = dirs.last().is_some_and(|dir| dir.starts_with("/tmp"));
        assert_eq!(is_last_in_tmp, in_home, "{dirs:?}");
    }
}
