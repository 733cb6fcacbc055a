//! The state files of a home: the agent's, and herm's own.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use herm_home::claims::Claims;
use herm_home::owner::PidRecord;
use herm_home::served::served_by;
use herm_home::state::{AgentState, Loaded};
use herm_home::{Desired, Home, Intent, ProfileName, claims as claims_file, clock as times};
use herm_home::{config, intent as intent_file, owner, ports, settings, state as state_file};
use serde_json::Value;

use crate::archives::scratch;
use crate::messages::assert_alike;

/// The agent's `gateway_state.json` and `gateway.pid`: mirroring intent changes one field and
/// nothing else.
pub fn agent_state(data: &[u8]) {
    if let Some(record) = PidRecord::parse(data) {
        assert!(record.pid > 0);
    }
    let Ok(mut state) = AgentState::parse(data) else {
        return;
    };
    let server = ProfileName::default_profile();
    let served = served_by(&BTreeMap::from([(server.clone(), state.clone())]));
    assert!(!served.contains_key(&server));
    let _ = (
        state.gateway_state(),
        state.exit_reason(),
        state.updated_at(),
    );
    let _ = (state.pid(), state.start_time(), state.active_agents());
    state.set("desired_state", Desired::Stopped.as_str());
    let written = AgentState::parse(&state.to_bytes()).expect("what was written can be read");
    assert_eq!(written.desired_state(), Some("stopped"));
    let mut before: Value = serde_json::from_slice(data).unwrap();
    before["desired_state"] = "stopped".into();
    assert_alike(&before, &serde_json::from_slice(&state.to_bytes()).unwrap());
}

/// The record of intent.
pub fn intent(data: &[u8]) {
    if let Ok(intent) = Intent::parse(data) {
        assert_eq!(Intent::parse(&intent.to_bytes()), Ok(intent));
    }
}

/// Who holds what.
pub fn claims(data: &[u8]) {
    if let Ok(claims) = Claims::parse(data) {
        assert_eq!(Claims::parse(&claims.to_bytes()).as_ref(), Ok(&claims));
        let mut none = claims;
        none.retain(|_| false);
        assert_eq!(none, Claims::default());
    }
}

/// A time as herm or the agent writes it.
pub fn clock(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Some(at) = times::parse(&text) else {
        return;
    };
    let written = times::rfc3339(at);
    // An offset may lead into the year 10000, which has no place in the format.
    if written.len() == 20 {
        assert_eq!(times::parse(&written), Some(at), "{written}");
    }
}

/// The same bytes as every file of a home that herm reads: each is good or set aside whole, after
/// which the next look finds nothing wrong.
pub fn files(data: &[u8]) {
    let scratch = scratch();
    let home = Home::new(scratch.path());
    let profile = home.profile(&ProfileName::default_profile());
    let now = UNIX_EPOCH + Duration::from_secs(1_795_202_464);
    let herm = profile.herm_dir();
    std::fs::create_dir_all(&herm).unwrap();
    let paths = [
        profile.agent_state(),
        profile.intent(),
        home.claims(),
        herm.join("port.json"),
        profile.dir().join("gateway.pid"),
        profile.config(),
        home.settings(),
    ];
    for path in &paths {
        std::fs::write(path, data).unwrap();
    }
    let kept = |path: &Path, look: &dyn Fn() -> Outcome| match look() {
        Outcome::Good => assert_eq!(std::fs::read(path).unwrap(), data),
        Outcome::SetAside(name) => {
            assert_eq!(std::fs::read(path.with_file_name(name)).unwrap(), data);
            assert_eq!(look(), Outcome::Absent);
        }
        Outcome::Absent => panic!("{} is gone", path.display()),
    };
    kept(&paths[0], &|| {
        state_file::load(&profile, now).unwrap().into()
    });
    kept(&paths[1], &|| {
        intent_file::load(&profile, now).unwrap().into()
    });
    kept(&paths[2], &|| claims_file::load(&home, now).unwrap().into());
    let port = ports::recorded(&profile).unwrap();
    assert_ne!(port, Some(0));
    // No process lives below this directory.
    assert_eq!(owner::find(&profile, &herm).unwrap(), None);
    let _ = config::load(&profile).unwrap();
    let _ = settings::load(&home, Path::new("/nonexistent"), []);
    let intent = intent_file::record(&profile, Desired::Stopped, "fuzz", now).unwrap();
    assert_eq!(intent_file::peek(&profile).unwrap(), Some(intent));
    state_file::mirror_desired(&profile, Desired::Stopped, now).unwrap();
    let mirrored = state_file::peek(&profile)
        .unwrap()
        .expect("it was just written");
    assert_eq!(mirrored.desired_state(), Some("stopped"));
}

/// How looking for a file ended.
#[derive(Debug, PartialEq)]
enum Outcome {
    Good,
    /// Under this name.
    SetAside(String),
    Absent,
}

impl<T> From<Loaded<T>> for Outcome {
    fn from(loaded: Loaded<T>) -> Self {
        match (loaded.value, loaded.corrupt) {
            (Some(_), None) => Self::Good,
            (None, Some(aside)) => Self::SetAside(aside.kept_as),
            (None, None) => Self::Absent,
            (Some(_), Some(aside)) => panic!("good and corrupt at once: {}", aside.why),
        }
    }
}
