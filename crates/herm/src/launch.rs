//! How a profile's gateway is launched (contract section 5), as data: what the keeper registers
//! and what `gateway run` does in the foreground come from here.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use herm_dashboard::is_login_variable;
use herm_home::settings::{Reading, SYSTEM_FILE, Settings};
use herm_home::unique::is_unique;
use herm_home::{Home, ProfileName};
use herm_wire::{
    Desired, EnvVar, ExitCode, HealthSpec, Kind, LogSpec, Probe, ReadinessSpec, RestartSpec,
    ServiceSpec, StopSpec,
};

use crate::failure::{Failure, Outcome};

/// Tells the agent not to hand itself over to a supervisor: it is under one.
pub(crate) const SUPERVISED: &str = "HERMES_S6_SUPERVISED_CHILD";
/// Where an image has the agent.
const INSTALL_DIR: &str = "/opt/hermes";
/// The descriptor on which the built-in gateway says that it serves.
const NOTIFY_FD: u32 = 3;
/// The agent's program.
const AGENT: &str = "hermes";
/// Stands for the profile's name in `gateway.command`.
const PROFILE_WORD: &str = "{profile}";

/// What runs as a gateway here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Program {
    /// The agent, by its path.
    Agent(String),
    /// What the settings name: the whole command, with `{profile}` for the profile's name.
    Configured(Vec<String>),
    /// herm's own, by the path of this program.
    BuiltIn(String),
}

/// Where a gateway serves HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// Where it listens, as configured.
    pub(crate) host: Option<String>,
    /// On which port.
    pub(crate) port: u16,
}

impl Endpoint {
    /// Where it is reached from this machine.
    pub(crate) fn url(&self) -> String {
        let any = ["", "0.0.0.0", "::", "localhost"];
        match self.host.as_deref().filter(|host| !any.contains(host)) {
            Some(host) if host.contains(':') => format!("http://[{host}]:{}", self.port),
            Some(host) => format!("http://{host}:{}", self.port),
            None => format!("http://127.0.0.1:{}", self.port),
        }
    }
}

/// A variable of the container that is kept from gateways.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Withheld {
    name: String,
    why: Why,
}

/// Why a variable is kept from a gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// It lets its reader sign in to the dashboard.
    Login,
    /// Only one profile can have it: the default one.
    Unique,
}

impl Why {
    /// Why a gateway is not given a variable, where it is not.
    pub(crate) fn of(name: &str) -> Option<Self> {
        if is_login_variable(name) {
            Some(Self::Login)
        } else {
            is_unique(name).then_some(Self::Unique)
        }
    }

    /// In words.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Login => "the dashboard's login is not given to gateways",
            Self::Unique => "only the default profile has it: no two can",
        }
    }
}

/// What a launch is made of besides the profile.
#[derive(Debug, Clone)]
pub(crate) struct LaunchFacts {
    /// What runs.
    pub(crate) program: Program,
    /// Settings.
    pub(crate) settings: Settings,
    /// The `bin` directory of the agent's venv, where there is one.
    pub(crate) venv_bin: Option<PathBuf>,
    /// `PATH` of this process.
    pub(crate) path: String,
    /// Variables of the container that not every gateway gets.
    pub(crate) withheld: Vec<Withheld>,
}

impl LaunchFacts {
    /// From this process's surroundings and the settings, all of which have to be right.
    pub(crate) fn current(home: &Home) -> Outcome<Self> {
        let reading = read_settings(home);
        let wrong: Vec<String> = reading.wrong().map(ToString::to_string).collect();
        if wrong.is_empty() {
            return Ok(Self::with(reading.settings));
        }
        Err(Failure::new(ExitCode::BadConfig, wrong.join("\n")))
    }

    /// The same by those of the settings that are right, and what is wrong with the others.
    pub(crate) fn by_what_is_right(home: &Home) -> (Self, Vec<String>) {
        let reading = read_settings(home);
        let wrong = reading.wrong().map(ToString::to_string).collect();
        (Self::with(reading.settings), wrong)
    }

    /// Reads the settings again; what is wrong is reported. A file that is wrong is probably being
    /// edited: until it is right, what was set before stays.
    pub(crate) fn reload(&mut self, home: &Home, remarks: &mut Vec<String>) {
        let reading = read_settings(home);
        remarks.extend(reading.wrong().map(ToString::to_string));
        if reading.in_files.is_empty() {
            *self = Self::with(reading.settings);
        }
    }

    fn with(settings: Settings) -> Self {
        let install =
            env::var_os("HERM_INSTALL_DIR").map_or_else(|| INSTALL_DIR.into(), PathBuf::from);
        let venv_bin = Some(install.join(".venv/bin")).filter(|bin| bin.is_dir());
        let path = env::var("PATH").unwrap_or_default();
        let own = env::current_exe().unwrap_or_else(|_| "herm".into());
        let program = find_program(&settings, venv_bin.as_deref(), &path, &own);
        let withheld = env::vars_os()
            .filter_map(|(name, _)| name.into_string().ok())
            .filter_map(|name| Why::of(&name).map(|why| Withheld { name, why }))
            .collect();
        Self {
            program,
            settings,
            venv_bin,
            path,
            withheld,
        }
    }

    /// Whether the built-in gateway serves here.
    pub(crate) fn is_built_in(&self) -> bool {
        matches!(self.program, Program::BuiltIn(_))
    }

    /// Variables of the container that sign in to the dashboard.
    pub(crate) fn logins(&self) -> impl Iterator<Item = &str> {
        let logins = self.withheld.iter().filter(|one| one.why == Why::Login);
        logins.map(|one| one.name.as_str())
    }

    /// Program and arguments for a profile. The default profile is meant by leaving out `-p`:
    /// `-p default` would be another one to the agent.
    pub(crate) fn argv(&self, profile: &ProfileName) -> Vec<String> {
        let (program, last) = match &self.program {
            Program::Agent(agent) => (agent, None),
            Program::BuiltIn(own) => (own, Some("--no-supervise")),
            Program::Configured(command) => {
                return command
                    .iter()
                    .map(|word| word.replace(PROFILE_WORD, profile.as_str()))
                    .collect();
            }
        };
        let mut argv = vec![program.clone()];
        if !profile.is_default() {
            argv.extend(["-p".to_owned(), profile.to_string()]);
        }
        argv.extend(
            ["gateway", "run"]
                .into_iter()
                .chain(last)
                .map(str::to_owned),
        );
        argv
    }

    /// Variables every gateway gets over the container's. The agent finds its profile by `-p`
    /// itself, so `HOME` and `HERMES_HOME` are the root home's for all.
    pub(crate) fn variables(&self, home: &Home, profile: &ProfileName) -> BTreeMap<String, String> {
        let root = home.root().to_string_lossy().into_owned();
        let mut variables = BTreeMap::from([
            ("HERM_PROFILE".to_owned(), profile.to_string()),
            ("HOME".to_owned(), root.clone()),
            ("HERMES_HOME".to_owned(), root),
            (SUPERVISED.to_owned(), "1".to_owned()),
        ]);
        if let Some(bin) = &self.venv_bin {
            variables.insert("PATH".to_owned(), path_with(bin, &self.path));
        }
        if self.is_built_in() {
            variables.insert("HERM_NOTIFY_FD".to_owned(), NOTIFY_FD.to_string());
        }
        variables
    }

    /// The service of a profile. `endpoint` is where it serves HTTP, if it does.
    pub(crate) fn spec(
        &self,
        home: &Home,
        profile: &ProfileName,
        endpoint: Option<&Endpoint>,
    ) -> ServiceSpec {
        let variable = |(name, value)| {
            (
                name,
                EnvVar {
                    value,
                    origin: "herm: gateway launch".to_owned(),
                },
            )
        };
        let probe = endpoint.map(|endpoint| Probe::Http {
            url: format!("{}/health", endpoint.url()),
        });
        let is_kept = |variable: &&Withheld| variable.why == Why::Login || !profile.is_default();
        let kept = self.withheld.iter().filter(is_kept);
        let unset_env = kept.map(|variable| variable.name.clone()).collect();
        ServiceSpec {
            name: profile.service(),
            kind: Kind::Gateway,
            profile: Some(profile.to_string()),
            argv: self.argv(profile),
            env: self
                .variables(home, profile)
                .into_iter()
                .map(variable)
                .collect(),
            unset_env,
            cwd: Some(home.root().to_string_lossy().into_owned()),
            user: None,
            oneshot: false,
            requires: Vec::new(),
            after: Vec::new(),
            readiness: self.readiness(probe.as_ref()),
            health: probe.map(|probe| HealthSpec {
                probe,
                interval_ms: None,
                timeout_ms: None,
                threshold: None,
            }),
            restart: self.restart(),
            stop: StopSpec {
                signal: None,
                grace_ms: millis(self.settings.stop_grace_s),
            },
            finish: None,
            log: LogSpec {
                dir: Some(home.gateway_log_dir(profile).to_string_lossy().into_owned()),
                max_bytes: self.settings.log_max_bytes,
                max_files: self.settings.log_max_files,
                max_age_s: self.settings.log_max_age_s,
            },
            port: endpoint.map(|endpoint| endpoint.port),
            initial: Desired::Down,
            disabled: None,
        }
    }

    fn restart(&self) -> RestartSpec {
        RestartSpec {
            stable_ms: millis(self.settings.restart_stable_s),
            delay_ms: millis(self.settings.restart_delay_s),
            max_delay_ms: millis(self.settings.restart_max_delay_s),
            burst: self.settings.restart_burst,
        }
    }

    /// The built-in gateway says itself when it serves. The agent can't, but where its API server
    /// is on, that answers.
    fn readiness(&self, probe: Option<&Probe>) -> ReadinessSpec {
        match (&self.program, probe) {
            (Program::BuiltIn(_), _) => ReadinessSpec::Notify { fd: NOTIFY_FD },
            (Program::Agent(_) | Program::Configured(_), Some(probe)) => ReadinessSpec::Probe {
                probe: probe.clone(),
                interval_ms: None,
            },
            (Program::Agent(_) | Program::Configured(_), None) => ReadinessSpec::None,
        }
    }
}

/// herm's settings for a home.
pub(crate) fn read_settings(home: &Home) -> Reading {
    let environment = env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    herm_home::settings::load(home, Path::new(SYSTEM_FILE), environment)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "settings are between 0 and a day"
)]
fn millis(seconds: Option<f64>) -> Option<u64> {
    seconds.map(|seconds| (seconds * 1000.0).round() as u64)
}

/// The settings' command, else an installed agent, else ourselves. herm called `hermes` is not
/// the agent.
fn find_program(settings: &Settings, venv_bin: Option<&Path>, path: &str, own: &Path) -> Program {
    if !settings.gateway_command.is_empty() {
        return Program::Configured(settings.gateway_command.clone());
    }
    let built_in = || Program::BuiltIn(own.to_string_lossy().into_owned());
    let own_file = own.canonicalize().ok();
    let is_agent = |candidate: &PathBuf| {
        let executable = candidate
            .metadata()
            .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0);
        executable && candidate.canonicalize().ok() != own_file && !is_herm(candidate)
    };
    let dirs = venv_bin
        .map(Path::to_path_buf)
        .into_iter()
        .chain(env::split_paths(path));
    let found = dirs
        .filter(|dir| dir.is_absolute())
        .map(|dir| dir.join(AGENT))
        .find(is_agent);
    found.map_or_else(built_in, |agent| {
        Program::Agent(agent.to_string_lossy().into_owned())
    })
}

/// Whether a `hermes` on the path is a link to some herm, perhaps not this one.
fn is_herm(candidate: &Path) -> bool {
    candidate
        .canonicalize()
        .is_ok_and(|file| file.file_name() == Some(OsStr::new("herm")))
}

/// A `PATH` with this directory first, and only there.
fn path_with(first: &Path, path: &str) -> String {
    let rest = env::split_paths(path).filter(|dir| dir != first && !dir.as_os_str().is_empty());
    let all = std::iter::once(first.to_path_buf()).chain(rest);
    env::join_paths(all).map_or_else(
        |_| path.to_owned(),
        |joined| joined.to_string_lossy().into_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(program: Program) -> LaunchFacts {
        LaunchFacts {
            program,
            settings: Settings::default(),
            venv_bin: Some("/opt/hermes/.venv/bin".into()),
            path: "/usr/bin:/opt/hermes/.venv/bin:/bin".into(),
            withheld: vec![
                withheld("HERMES_DASHBOARD_BASIC_AUTH_PASSWORD"),
                withheld("TELEGRAM_BOT_TOKEN"),
            ],
        }
    }

    fn withheld(name: &str) -> Withheld {
        Withheld {
            name: name.into(),
            why: Why::of(name).unwrap(),
        }
    }

    fn name(text: &str) -> ProfileName {
        ProfileName::parse(text).unwrap()
    }

    #[test]
    fn the_default_profile_is_launched_without_p_and_others_with_it() {
        let agent = facts(Program::Agent("hermes".into()));
        assert_eq!(agent.argv(&name("default")), ["hermes", "gateway", "run"]);
        assert_eq!(
            agent.argv(&name("w")),
            ["hermes", "-p", "w", "gateway", "run"]
        );
        let configured = facts(Program::Configured(vec![
            "run-agent".into(),
            "--as={profile}".into(),
        ]));
        assert_eq!(configured.argv(&name("w")), ["run-agent", "--as=w"]);
        let own = facts(Program::BuiltIn("/bin/herm".into()));
        assert_eq!(
            own.argv(&name("w")),
            ["/bin/herm", "-p", "w", "gateway", "run", "--no-supervise"]
        );
    }

    #[test]
    fn the_root_home_is_everyones_home_and_directory_and_the_venv_comes_first() {
        let home = Home::new("/data/hermes");
        let spec = facts(Program::Agent("hermes".into())).spec(&home, &name("w"), None);
        let value = |name: &str| spec.env.get(name).map(|variable| variable.value.as_str());
        assert_eq!(spec.cwd.as_deref(), Some("/data/hermes"));
        assert_eq!(value("HOME"), Some("/data/hermes"));
        assert_eq!(value("HERMES_HOME"), Some("/data/hermes"));
        assert_eq!(value("PATH"), Some("/opt/hermes/.venv/bin:/usr/bin:/bin"));
        assert_eq!(value(SUPERVISED), Some("1"));
        assert_eq!(spec.readiness, ReadinessSpec::None);
        assert_eq!(
            spec.log.dir.as_deref(),
            Some("/data/hermes/logs/gateways/w")
        );
    }

    #[test]
    fn l53_named_profiles_do_not_get_the_containers_tokens() {
        let home = Home::new("/opt/data");
        let agent = facts(Program::Agent("hermes".into()));
        assert_eq!(
            agent.spec(&home, &name("w"), None).unset_env,
            ["HERMES_DASHBOARD_BASIC_AUTH_PASSWORD", "TELEGRAM_BOT_TOKEN"]
        );
        assert_eq!(
            agent.spec(&home, &name("default"), None).unset_env,
            ["HERMES_DASHBOARD_BASIC_AUTH_PASSWORD"]
        );
    }

    #[test]
    fn what_signs_in_to_a_dashboard_is_no_gateways() {
        for name in [
            "HERMES_DASHBOARD_BASIC_AUTH_USERNAME",
            "HERMES_DASHBOARD_BASIC_AUTH_PASSWORD",
            "HERMES_DASHBOARD_BASIC_AUTH_PASSWORD_HASH",
            "HERMES_DASHBOARD_BASIC_AUTH_SECRET",
            "HERMES_DASHBOARD_OIDC_CLIENT_SECRET",
            "HERMES_DASHBOARD_SESSION_TOKEN",
        ] {
            assert_eq!(Why::of(name), Some(Why::Login), "{name}");
        }
        for name in [
            "HERMES_DASHBOARD",
            "HERMES_DASHBOARD_PORT",
            "OPENAI_API_KEY",
            "PATH",
        ] {
            assert_eq!(Why::of(name), None, "{name}");
        }
    }

    fn at(port: u16) -> Endpoint {
        Endpoint {
            host: Some("0.0.0.0".into()),
            port,
        }
    }

    #[test]
    fn an_agents_api_server_is_its_readiness() {
        let home = Home::new("/opt/data");
        let spec = facts(Program::Agent("hermes".into())).spec(&home, &name("w"), Some(&at(8642)));
        let probe = Probe::Http {
            url: "http://127.0.0.1:8642/health".into(),
        };
        assert_eq!(
            spec.readiness,
            ReadinessSpec::Probe {
                probe,
                interval_ms: None
            }
        );
        let own = facts(Program::BuiltIn("herm".into())).spec(&home, &name("w"), Some(&at(9200)));
        assert_eq!(own.readiness, ReadinessSpec::Notify { fd: 3 });
    }

    #[test]
    fn the_agent_is_found_and_herm_under_its_name_is_not_taken_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_string_lossy().into_owned();
        let own = dir.path().join("herm");
        std::fs::write(&own, "").unwrap();
        let agent = dir.path().join("hermes");
        std::os::unix::fs::symlink(&own, &agent).unwrap();
        let built_in = Program::BuiltIn(own.to_string_lossy().into_owned());
        let settings = Settings::default();
        assert_eq!(find_program(&settings, None, &path, &own), built_in);
        std::fs::remove_file(&agent).unwrap();
        std::fs::write(&agent, "").unwrap();
        assert_eq!(
            find_program(&settings, None, &path, &own),
            built_in,
            "not executable"
        );
        std::fs::set_permissions(&agent, std::fs::Permissions::from_mode(0o755)).unwrap();
        let found = Program::Agent(agent.to_string_lossy().into_owned());
        assert_eq!(find_program(&settings, None, &path, &own), found);
        let settings = Settings {
            gateway_command: vec!["x".into()],
            ..settings
        };
        assert_eq!(
            find_program(&settings, None, &path, &own),
            Program::Configured(vec!["x".into()])
        );
    }
}
