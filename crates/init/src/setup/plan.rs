//! What setup found out and PID 1 acts on.
//!
//! Setup is the only part of the boot that looks into the volume. It runs as a child and hands its
//! findings to PID 1 as one JSON object on a line, so that a hung volume can hang setup but never PID 1.

use std::collections::BTreeMap;

use herm_sys::fs_at::Owner;
use herm_wire::BootStep;
use serde::{Deserialize, Serialize};

/// A numeric identity, with the name it has where it has one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ids {
    /// The user's name, where passwd(5) has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Supplementary groups; the primary one need not be among them.
    #[serde(default)]
    pub groups: Vec<u32>,
}

impl Ids {
    /// As the owner of files.
    pub(super) fn owner(&self) -> Owner {
        Owner {
            uid: self.uid,
            gid: self.gid,
        }
    }
}

/// The container's CMD, ready to be started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MainProgram {
    /// Program and arguments; a program without a slash is looked up on `PATH`.
    pub argv: Vec<String>,
    /// Who it runs as; absent: as PID 1 itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ids: Option<Ids>,
    /// Variables it gets over the container's environment.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Services that are started before it.
    #[serde(default)]
    pub after: Vec<String>,
}

/// What follows a plan on its way to PID 1, and is nowhere in it: JSON writes a line's end in other words.
pub(crate) const PLAN_END: &[u8] = b"\n";

/// The outcome of setup.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The home, where one is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home: Option<String>,
    /// Who owns the home and runs the gateways; absent: PID 1's own user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_user: Option<Ids>,
    /// Who the log daemon runs as; absent: PID 1's own user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_user: Option<Ids>,
    /// The main program; absent: the container lives until it is stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub main: Option<MainProgram>,
    /// The image's services that are brought up at boot.
    #[serde(default)]
    pub services: Vec<String>,
    /// The profile whose gateway the CMD asked to run, where it was `gateway run`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway_run: Option<String>,
    /// Whether a keeper looks after the profiles of a home.
    pub reconcile: bool,
    /// The CMD is the dashboard alone: the keeper only looks, and leaves the gateways to another
    /// container.
    #[serde(default)]
    pub dashboard_only: bool,
    /// The `PATH` of root's services, where the container's leads to what others can write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roots_path: Option<String>,
    /// Variables that everything gets over the container's.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Skills come with the agent, and are to be brought into the home before anything is started.
    #[serde(default)]
    pub sync_skills: bool,
    /// What setup did, for the boot report.
    #[serde(default)]
    pub steps: Vec<BootStep>,
    /// What people should know.
    #[serde(default)]
    pub warnings: Vec<String>,
}
