//! Where things lie in a home (contract section 2).

use std::path::{Path, PathBuf};

use crate::name::ProfileName;

/// The directories every profile is seeded with.
pub const SEEDED_DIRS: [&str; 10] = [
    "cron",
    "sessions",
    "logs",
    "hooks",
    "memories",
    "skills",
    "skins",
    "plans",
    "workspace",
    "home",
];
/// The file that makes a directory a profile.
pub const SOUL: &str = "SOUL.md";
/// The agent's configuration.
pub const CONFIG: &str = "config.yaml";
/// The agent's environment: keys and tokens.
pub const DOTENV: &str = ".env";
/// The agent's logins.
pub const AUTH: &str = "auth.json";
/// The agent's state file.
pub const AGENT_STATE: &str = "gateway_state.json";
/// The agent's pid file.
pub const AGENT_PID: &str = "gateway.pid";
/// The agent's list of background processes.
pub const AGENT_PROCESSES: &str = "processes.json";
/// Directory of named profiles.
pub const PROFILES: &str = "profiles";
/// herm's own directory in the home and in each profile.
pub const HERM_DIR: &str = ".herm";
/// The record of intent, in [`HERM_DIR`].
pub const INTENT: &str = "desired.json";
/// The lock writers of intent take, in [`HERM_DIR`].
pub const INTENT_LOCK: &str = "desired.lock";
/// Marks a profile whose deletion has begun, in [`HERM_DIR`].
pub const TOMBSTONE: &str = "deleting";
/// Marks a profile that is being renamed, in [`HERM_DIR`].
pub const RENAMING: &str = "renaming.json";
/// The port allocated to the profile, in [`HERM_DIR`].
pub const PORT: &str = "port.json";
/// Who holds which port and token, in the home's [`HERM_DIR`].
pub const CLAIMS: &str = "claims.json";
/// Settings of herm in the home.
pub const SETTINGS: &str = "herm.toml";

/// A home, by its root directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    root: PathBuf,
}

/// One profile's place in a home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfilePaths {
    name: ProfileName,
    dir: PathBuf,
}

impl Home {
    /// The home at `root`, which should be an absolute path; nothing is touched.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The root directory, which is the default profile's.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The directory of named profiles.
    pub fn profiles_dir(&self) -> PathBuf {
        self.root.join(PROFILES)
    }

    /// A profile's place, whether it exists or not.
    pub fn profile(&self, name: &ProfileName) -> ProfilePaths {
        let dir = if name.is_default() {
            self.root.clone()
        } else {
            self.profiles_dir().join(name.as_str())
        };
        ProfilePaths {
            name: name.clone(),
            dir,
        }
    }

    /// herm's own directory of the home.
    pub fn herm_dir(&self) -> PathBuf {
        self.root.join(HERM_DIR)
    }

    /// The log with one line per profile and boot.
    pub fn boot_log(&self) -> PathBuf {
        self.root.join("logs/container-boot.log")
    }

    /// Where the kept logs of a profile's gateway go.
    pub fn gateway_log_dir(&self, name: &ProfileName) -> PathBuf {
        self.root.join("logs/gateways").join(name.as_str())
    }

    /// Who holds which port and token.
    pub fn claims(&self) -> PathBuf {
        self.herm_dir().join(CLAIMS)
    }

    /// The home's own settings.
    pub fn settings(&self) -> PathBuf {
        self.root.join(SETTINGS)
    }
}

impl ProfilePaths {
    /// Whose place this is.
    pub fn name(&self) -> &ProfileName {
        &self.name
    }

    /// The profile's directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// herm's own directory in the profile.
    pub fn herm_dir(&self) -> PathBuf {
        self.dir.join(HERM_DIR)
    }

    /// The record of intent.
    pub fn intent(&self) -> PathBuf {
        self.herm_dir().join(INTENT)
    }

    /// The mark of a deletion that has begun.
    pub fn tombstone(&self) -> PathBuf {
        self.herm_dir().join(TOMBSTONE)
    }

    /// The agent's persona file, which marks a directory as a profile.
    pub fn soul(&self) -> PathBuf {
        self.dir.join(SOUL)
    }

    /// The agent's configuration.
    pub fn config(&self) -> PathBuf {
        self.dir.join(CONFIG)
    }

    /// The agent's environment file.
    pub fn dotenv(&self) -> PathBuf {
        self.dir.join(DOTENV)
    }

    /// The agent's state file.
    pub fn agent_state(&self) -> PathBuf {
        self.dir.join(AGENT_STATE)
    }

    /// The files whose content decides whether a parked gateway may be tried again.
    pub fn inputs(&self) -> [PathBuf; 3] {
        [self.config(), self.dotenv(), self.dir.join(AUTH)]
    }
}
