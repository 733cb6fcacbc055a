//! The agent's `gateway_state.json`: read with tolerance, mirrored with care.
//!
//! The file is the agent's. It rewrites it whole and without a lock at any time (L75), so herm
//! keeps intent elsewhere ([`crate::intent`]) and only mirrors it here for the agent's own tools.

use std::time::SystemTime;

use serde_json::{Map, Value};

use crate::clock;
use crate::error::HomeError;
use crate::files::{Dir, PRIVATE};
use crate::intent::Desired;
use crate::layout::{AGENT_STATE, ProfilePaths};
pub use crate::loaded::Loaded;
use crate::loaded::{Corrupt, load_or_set_aside, parse_json};
use crate::restore::AgentWords;

/// Largest state file that is read, in bytes; the agent's are a few hundred.
pub const MAX_BYTES: u64 = 1 << 20;
/// How often a mirror write is tried again when the agent writes at the same time.
const MIRROR_TRIES: u32 = 8;

/// The agent's state file, all fields kept.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AgentState {
    fields: Map<String, Value>,
}

impl AgentState {
    /// Reads the file's bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, Corrupt> {
        match parse_json(bytes)? {
            Value::Object(fields) => Ok(Self { fields }),
            _ => Err(Corrupt::Shape("it is no JSON object")),
        }
    }

    /// What the gateway last said it was: `starting`, `running`, `degraded`, `draining`, `stopped`,
    /// `startup_failed`, or a word this version doesn't know.
    pub fn gateway_state(&self) -> Option<&str> {
        self.text("gateway_state")
    }

    /// What newer agents' own tools say the operator wants.
    pub fn desired_state(&self) -> Option<&str> {
        self.text("desired_state")
    }

    /// The words that decide what a boot makes of the profile.
    pub fn words(&self) -> AgentWords<'_> {
        AgentWords {
            desired: self.desired_state(),
            gateway: self.gateway_state(),
        }
    }

    /// Why the gateway ended or failed to start.
    pub fn exit_reason(&self) -> Option<&str> {
        self.text("exit_reason")
    }

    /// The gateway's process, in the pid namespace it ran in.
    pub fn pid(&self) -> Option<i32> {
        self.fields
            .get("pid")
            .and_then(Value::as_i64)
            .and_then(|pid| i32::try_from(pid).ok())
    }

    /// That process's start time, in clock ticks since boot.
    pub fn start_time(&self) -> Option<u64> {
        self.fields.get("start_time").and_then(Value::as_u64)
    }

    /// Turns in progress.
    pub fn active_agents(&self) -> u64 {
        self.fields
            .get("active_agents")
            .and_then(Value::as_u64)
            .unwrap_or(0)
    }

    /// When the file was last written: an ISO time from the gateway, whole seconds from its tools.
    pub fn updated_at(&self) -> Option<SystemTime> {
        match self.fields.get("updated_at")? {
            Value::String(text) => clock::parse(text),
            Value::Number(number) => clock::from_unix(
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "a saturating cast is right for a time"
                )]
                number
                    .as_i64()
                    .or_else(|| number.as_f64().map(|seconds| seconds as i64))?,
            ),
            _ => None,
        }
    }

    /// The profiles this gateway serves besides its own, as it wrote them.
    pub fn served_profiles(&self) -> impl Iterator<Item = &str> {
        let list = self.fields.get("served_profiles").and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str)
    }

    /// Any field, as it stands in the file.
    pub fn field(&self, name: &str) -> Option<&Value> {
        self.fields.get(name)
    }

    /// Sets a field.
    pub fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.fields.insert(name.to_owned(), value.into());
    }

    /// The file's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Value::Object(self.fields.clone()).to_string().into_bytes();
        bytes.push(b'\n');
        bytes
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.fields.get(name).and_then(Value::as_str)
    }
}

/// Reads a profile's state file; a corrupt one is set aside as `gateway_state.json.corrupt-<time>`.
pub fn load(profile: &ProfilePaths, now: SystemTime) -> Result<Loaded<AgentState>, HomeError> {
    let dir = Dir::open(profile.dir())?;
    load_or_set_aside(&dir, AGENT_STATE, MAX_BYTES, now, AgentState::parse)
}

/// Reads a profile's state file without touching it, for those who only look.
pub fn peek(profile: &ProfilePaths) -> Result<Option<AgentState>, HomeError> {
    let content = Dir::open(profile.dir())?.read(AGENT_STATE, MAX_BYTES)?;
    Ok(content.and_then(|content| AgentState::parse(&content.bytes).ok()))
}

/// Writes the mirror of intent into the state file, all other fields kept (also those the agent
/// writes at the same moment: the write is tried again on the new content). `false`: it already
/// said so.
pub fn mirror_desired(
    profile: &ProfilePaths,
    desired: Desired,
    now: SystemTime,
) -> Result<bool, HomeError> {
    let dir = Dir::open(profile.dir())?;
    for _ in 0..MIRROR_TRIES {
        // A spoilt file is out of the way after this.
        load(profile, now)?;
        let seen = dir.read(AGENT_STATE, MAX_BYTES)?;
        let state = seen
            .as_ref()
            .map(|content| AgentState::parse(&content.bytes));
        let Ok(mut state) = state.unwrap_or_else(|| Ok(AgentState::default())) else {
            continue;
        };
        if state.desired_state() == Some(desired.as_str()) {
            return Ok(false);
        }
        state.set("desired_state", desired.as_str());
        let mode = seen.as_ref().map_or(PRIVATE, |content| content.mode);
        if dir.replace_if_unchanged(AGENT_STATE, seen.as_ref(), &state.to_bytes(), mode)? {
            return Ok(true);
        }
    }
    let busy = std::io::Error::from(std::io::ErrorKind::ResourceBusy);
    Err(HomeError::io(
        "mirror the desired state into",
        profile.agent_state(),
        busy,
    ))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;
    use crate::layout::Home;
    use crate::name::ProfileName;

    fn profile() -> (tempfile::TempDir, ProfilePaths) {
        let dir = tempfile::tempdir().unwrap();
        let profile = Home::new(dir.path()).profile(&ProfileName::default_profile());
        (dir, profile)
    }

    fn now() -> SystemTime {
        clock::from_unix(1_795_202_464).unwrap()
    }

    #[test]
    fn a_state_file_of_a_real_agent_is_understood() {
        let state = AgentState::parse(
            br#"{"pid":7,"kind":"hermes-gateway","argv":["hermes","gateway","run"],"start_time":99,
                "gateway_state":"degraded","exit_reason":null,"restart_requested":false,"active_agents":2,
                "platforms":{"telegram":{"state":"connected"}},"updated_at":"2026-11-20T19:21:04.5+00:00",
                "served_profiles":["default","b"]}"#,
        )
        .unwrap();
        assert_eq!(
            state.words(),
            AgentWords {
                desired: None,
                gateway: Some("degraded")
            }
        );
        assert_eq!(
            (state.pid(), state.start_time(), state.active_agents()),
            (Some(7), Some(99), 2)
        );
        assert_eq!(state.updated_at(), Some(now()));
        assert_eq!(
            state.served_profiles().collect::<Vec<_>>(),
            ["default", "b"]
        );
    }

    #[test]
    fn times_are_read_as_iso_text_and_as_whole_seconds() {
        for time in ["1795202464", "1795202464.9", "\"2026-11-20T19:21:04Z\""] {
            let state = AgentState::parse(format!("{{\"updated_at\":{time}}}").as_bytes()).unwrap();
            assert_eq!(state.updated_at(), Some(now()), "{time}");
        }
        let odd = AgentState::parse(b"{\"updated_at\":[]}").unwrap();
        assert_eq!(odd.updated_at(), None);
    }

    #[test]
    fn fields_of_another_type_than_expected_count_as_absent() {
        let state = AgentState::parse(
            br#"{"gateway_state":7,"desired_state":null,"pid":"x","active_agents":-1,"served_profiles":"a"}"#,
        )
        .unwrap();
        assert_eq!(state.words(), AgentWords::default());
        assert_eq!((state.pid(), state.active_agents()), (None, 0));
        assert_eq!(state.served_profiles().count(), 0);
    }

    #[test]
    fn l05_a_corrupt_state_file_is_set_aside_and_counts_as_absent() {
        for bytes in [
            &b""[..],
            b"{\"gateway_state\":\"runn",
            b"[]",
            b"\xff\x00",
            b"null",
        ] {
            let (dir, profile) = profile();
            fs::write(profile.agent_state(), bytes).unwrap();
            let loaded = load(&profile, now()).unwrap();
            assert_eq!(loaded.value, None);
            let kept = loaded.corrupt.unwrap().kept_as;
            assert_eq!(kept, "gateway_state.json.corrupt-20261120T192104Z");
            assert_eq!(fs::read(dir.path().join(kept)).unwrap(), bytes);
            assert!(!profile.agent_state().exists());
        }
    }

    #[test]
    fn two_corrupt_files_of_one_second_are_both_kept() {
        let (dir, profile) = profile();
        for _ in 0..2 {
            fs::write(profile.agent_state(), "{").unwrap();
            load(&profile, now()).unwrap();
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn l05_what_is_no_file_or_far_too_large_is_set_aside_as_well() {
        let (dir, profile) = profile();
        let target = dir.path().join("target");
        fs::write(&target, r#"{"gateway_state":"running"}"#).unwrap();
        std::os::unix::fs::symlink("target", profile.agent_state()).unwrap();
        assert!(load(&profile, now()).unwrap().corrupt.is_some());
        fs::create_dir(profile.agent_state()).unwrap();
        assert!(load(&profile, now()).unwrap().corrupt.is_some());
        fs::write(profile.agent_state(), " ".repeat(2 << 20)).unwrap();
        assert!(load(&profile, now()).unwrap().corrupt.is_some());
        assert_eq!(
            load(&profile, now()).unwrap(),
            Loaded {
                value: None,
                corrupt: None
            }
        );
        assert!(target.exists(), "the symlink was moved, not followed");
    }

    #[test]
    fn an_agent_that_spoils_its_file_again_and_again_does_not_fill_the_disk() {
        let (dir, profile) = profile();
        for second in 0..30 {
            fs::write(profile.agent_state(), "{").unwrap();
            load(&profile, clock::from_unix(second).unwrap()).unwrap();
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 10);
        assert!(
            dir.path()
                .join("gateway_state.json.corrupt-19700101T000029Z")
                .exists()
        );
    }

    #[test]
    fn the_mirror_changes_its_field_and_keeps_all_others() {
        let (_dir, profile) = profile();
        fs::write(
            profile.agent_state(),
            br#"{"gateway_state":"running","future":[1,{"a":null}],"updated_at":7}"#,
        )
        .unwrap();
        assert!(mirror_desired(&profile, Desired::Stopped, now()).unwrap());
        assert!(!mirror_desired(&profile, Desired::Stopped, now()).unwrap());
        let bytes = fs::read(profile.agent_state()).unwrap();
        let value: Value = serde_json::from_slice(&bytes).unwrap();
        let expected = serde_json::json!(
            {"gateway_state":"running","future":[1,{"a":null}],"updated_at":7,"desired_state":"stopped"}
        );
        assert_eq!(value, expected);
    }

    #[test]
    fn the_mirror_of_a_profile_without_state_is_a_file_the_agent_can_read() {
        let (_dir, profile) = profile();
        assert!(mirror_desired(&profile, Desired::Running, now()).unwrap());
        let state = peek(&profile).unwrap().unwrap();
        assert_eq!(
            state.words(),
            AgentWords {
                desired: Some("running"),
                gateway: None
            }
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(state) = AgentState::parse(&bytes) {
                let _ = (state.words(), state.pid(), state.updated_at());
            }
        }

        #[test]
        fn any_object_comes_back_as_it_was(text in "\\PC{0,20}", number in any::<i64>()) {
            let value = serde_json::json!({ "gateway_state": text, "x": { "n": number }, "a": [text] });
            let state = AgentState::parse(value.to_string().as_bytes()).unwrap();
            prop_assert_eq!(AgentState::parse(&state.to_bytes()).unwrap(), state);
        }
    }
}
