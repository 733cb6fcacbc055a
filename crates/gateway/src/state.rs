//! `gateway_state.json` of a profile, written as the agent writes it.
//!
//! It is the agent's own record of what its gateway does (contract section 2): read, changed and
//! replaced whole. Fields this gateway doesn't know stay as they were, also those that others
//! (the mirror of intent) write at the same moment.

use std::time::SystemTime;

use herm_home::files::{Dir, PRIVATE};
use herm_home::layout::AGENT_STATE;
use herm_home::state::{self, AgentState};
use herm_home::{HomeError, ProfilePaths, clock};
use serde_json::{Map, Value, json};

use crate::log;
use crate::ownership::identity;

/// How often a write is tried again when someone else writes at the same time.
const TRIES: u32 = 8;

/// What the gateway is doing, in the agent's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Reading its configuration, not serving yet.
    Starting,
    /// Serving.
    Running,
    /// Told to stop; finishing what is in flight.
    Draining,
    /// Ended in order.
    Stopped,
    /// Could not begin.
    StartupFailed,
}

impl Phase {
    /// The word in the file.
    fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Draining => "draining",
            Self::Stopped => "stopped",
            Self::StartupFailed => "startup_failed",
        }
    }

    /// The state of the `api_server` platform, the only one this gateway has.
    fn platform_state(self) -> &'static str {
        match self {
            Self::Starting => "connecting",
            Self::Running | Self::Draining => "connected",
            Self::Stopped => "disconnected",
            Self::StartupFailed => "fatal",
        }
    }
}

/// Writes one profile's state in the name of this process.
#[derive(Debug, Clone)]
pub(crate) struct Reporter {
    profile: ProfilePaths,
    identity: Map<String, Value>,
}

impl Reporter {
    pub(crate) fn new(profile: &ProfilePaths) -> Self {
        Self {
            profile: profile.clone(),
            identity: identity(),
        }
    }

    /// Records a phase. A home that can't be written is reported and otherwise ignored: the
    /// gateway's work doesn't depend on its own report of it.
    pub(crate) fn record(&self, phase: Phase, reason: Option<&str>, active: usize) {
        let now = SystemTime::now();
        match self.try_record(phase, reason, active, now) {
            Ok(true) => {}
            Ok(false) => log::warn(format_args!(
                "{} is being written by someone else all the time; it does not say {}",
                self.profile.agent_state().display(),
                phase.name()
            )),
            Err(error) => log::warn(format_args!("the state is not recorded: {error}")),
        }
    }

    fn try_record(
        &self,
        phase: Phase,
        reason: Option<&str>,
        active: usize,
        now: SystemTime,
    ) -> Result<bool, HomeError> {
        let dir = Dir::open(self.profile.dir())?;
        for _ in 0..TRIES {
            let seen = dir.read(AGENT_STATE, state::MAX_BYTES)?;
            let parsed = seen
                .as_ref()
                .map(|content| AgentState::parse(&content.bytes));
            let mut state = match parsed {
                None => AgentState::default(),
                Some(Ok(state)) => state,
                Some(Err(_)) => {
                    self.set_aside(now)?;
                    continue;
                }
            };
            self.fill(&mut state, phase, reason, active, now);
            let mode = seen.as_ref().map_or(PRIVATE, |content| content.mode);
            if dir.replace_if_unchanged(AGENT_STATE, seen.as_ref(), &state.to_bytes(), mode)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn set_aside(&self, now: SystemTime) -> Result<(), HomeError> {
        if let Some(aside) = state::load(&self.profile, now)?.corrupt {
            log::warn(format_args!(
                "{} is corrupt ({}) and is kept as {}",
                self.profile.agent_state().display(),
                aside.why,
                aside.kept_as
            ));
        }
        Ok(())
    }

    fn fill(
        &self,
        state: &mut AgentState,
        phase: Phase,
        reason: Option<&str>,
        active: usize,
        now: SystemTime,
    ) {
        // The agent's own reader of times knew no `Z` before Python 3.11.
        let now = clock::rfc3339(now).replace('Z', "+00:00");
        for (name, value) in &self.identity {
            state.set(name, value.clone());
        }
        let failure = reason.filter(|_| phase == Phase::StartupFailed);
        let platform = json!({
            "state": phase.platform_state(),
            "error_code": null,
            "error_message": failure,
            "updated_at": now,
        });
        state.set("gateway_state", phase.name());
        state.set("exit_reason", json!(reason));
        state.set("restart_requested", false);
        state.set("active_agents", active);
        state.set("platforms", json!({"api_server": platform}));
        // An agent that served others in this one's name may have left its list.
        state.set("served_profiles", json!([]));
        state.set("updated_at", now);
    }
}

#[cfg(test)]
mod tests {
    use herm_home::{Home, ProfileName};
    use tempfile::TempDir;

    use super::*;

    fn profile() -> (TempDir, ProfilePaths) {
        let dir = tempfile::tempdir().unwrap();
        let profile = Home::new(dir.path()).profile(&ProfileName::default_profile());
        (dir, profile)
    }

    fn written(profile: &ProfilePaths) -> Value {
        serde_json::from_slice(&std::fs::read(profile.agent_state()).unwrap()).unwrap()
    }

    #[test]
    fn fields_of_others_survive_and_ours_are_all_there() {
        let (_dir, profile) = profile();
        let before = r#"{"desired_state":"running","pid":1,"gateway_state":"draining","x":[1]}"#;
        std::fs::write(profile.agent_state(), before).unwrap();
        Reporter::new(&profile).record(Phase::Running, None, 3);
        let state = written(&profile);
        assert_eq!(state["desired_state"], "running");
        assert_eq!(state["x"], json!([1]));
        assert_eq!(state["gateway_state"], "running");
        assert_eq!(state["kind"], "hermes-gateway");
        assert_eq!(state["pid"], std::process::id());
        assert_eq!(state["active_agents"], 3);
        assert_eq!(state["platforms"]["api_server"]["state"], "connected");
        assert!(state["start_time"].as_u64().is_some());
        for key in [
            "argv",
            "exit_reason",
            "restart_requested",
            "served_profiles",
        ] {
            assert!(state.get(key).is_some(), "{key} is missing");
        }
        let state = state::peek(&profile).unwrap().unwrap();
        assert!(state.updated_at().is_some());
    }

    #[test]
    fn l05_a_corrupt_state_file_is_kept_aside() {
        let (dir, profile) = profile();
        std::fs::write(profile.agent_state(), "{\"gateway_state\":").unwrap();
        Reporter::new(&profile).record(Phase::Starting, None, 0);
        assert_eq!(written(&profile)["gateway_state"], "starting");
        let kept = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .find(|path| {
                path.to_string_lossy()
                    .contains("gateway_state.json.corrupt-")
            })
            .unwrap();
        assert_eq!(
            std::fs::read_to_string(kept).unwrap(),
            "{\"gateway_state\":"
        );
    }

    #[test]
    fn l75_a_writer_of_intent_and_the_gateway_do_not_undo_each_other() {
        let (_dir, profile) = profile();
        let reporter = Reporter::new(&profile);
        reporter.record(Phase::Starting, None, 0);
        let desired = herm_home::Desired::Running;
        state::mirror_desired(&profile, desired, SystemTime::now()).unwrap();
        reporter.record(Phase::Running, None, 0);
        assert_eq!(written(&profile)["desired_state"], "running");
        assert_eq!(written(&profile)["gateway_state"], "running");
    }
}
