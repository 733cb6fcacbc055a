//! What the operator wants of a gateway: `<profile>/.herm/desired.json` (contract section 2).
//!
//! One keeper per home writes it; where none runs, the command line does, so writers take a lock.
//! The generation only ever grows: of two orders at once the later one wins.

use std::fmt;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::clock;
use crate::error::HomeError;
use crate::files::{Dir, PRIVATE, PRIVATE_DIR};
use crate::layout::{HERM_DIR, INTENT, INTENT_LOCK, ProfilePaths};
use crate::loaded::{Corrupt, Loaded, load_or_set_aside};

/// Largest record that is read, in bytes.
pub const MAX_BYTES: u64 = 64 * 1024;

/// What is wanted of a gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Desired {
    /// It should be up, now and after every restart.
    Running,
    /// It should be down until someone orders otherwise.
    Stopped,
}

impl Desired {
    /// The word in the files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Stopped => "stopped",
        }
    }
}

impl fmt::Display for Desired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// What is wanted.
    pub state: Desired,
    /// Grows with every order.
    pub generation: u64,
    /// Who ordered it, in words (`uid 10000 by gateway stop`).
    pub by: String,
    /// When, RFC 3339.
    pub when: String,
}

impl Intent {
    /// Reads the file's bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, Corrupt> {
        let value = crate::loaded::parse_json(bytes)?;
        serde_json::from_value(value).map_err(|_| Corrupt::Shape("it is no record of intent"))
    }

    /// The file's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::json!({
            "state": self.state,
            "generation": self.generation,
            "by": self.by,
            "when": self.when,
        })
        .to_string()
        .into_bytes();
        bytes.push(b'\n');
        bytes
    }
}

/// Reads a profile's record; a corrupt one is set aside as `desired.json.corrupt-<time>`.
pub fn load(profile: &ProfilePaths, now: SystemTime) -> Result<Loaded<Intent>, HomeError> {
    match Dir::open(profile.dir())?.child(HERM_DIR)? {
        Some(dir) => load_or_set_aside(&dir, INTENT, MAX_BYTES, now, Intent::parse),
        None => Ok(Loaded {
            value: None,
            corrupt: None,
        }),
    }
}

/// Reads a profile's record without touching it, for those who only look.
pub fn peek(profile: &ProfilePaths) -> Result<Option<Intent>, HomeError> {
    let Some(dir) = Dir::open(profile.dir())?.child(HERM_DIR)? else {
        return Ok(None);
    };
    Ok(dir
        .read(INTENT, MAX_BYTES)?
        .and_then(|content| Intent::parse(&content.bytes).ok()))
}

/// Records an order durably: it is on the disk when this returns. Also an order for what is
/// already wanted gets a new generation, so that a later one can be told from an earlier.
pub fn record(
    profile: &ProfilePaths,
    state: Desired,
    by: &str,
    now: SystemTime,
) -> Result<Intent, HomeError> {
    let dir = Dir::open(profile.dir())?.ensure_child(HERM_DIR, PRIVATE_DIR)?;
    let _lock = dir.lock(INTENT_LOCK)?;
    let before = load_or_set_aside(&dir, INTENT, MAX_BYTES, now, Intent::parse)?;
    let generation = match (&before.value, &before.corrupt) {
        (Some(intent), _) => intent.generation.saturating_add(1),
        (None, None) => 1,
        // The lost record's generation is unknown; the clock is beyond any count of orders.
        (None, Some(_)) => clock::unix_seconds(now).unsigned_abs(),
    };
    let intent = Intent {
        state,
        generation,
        by: by.to_owned(),
        when: clock::rfc3339(now),
    };
    dir.write_atomic(INTENT, &intent.to_bytes(), PRIVATE)?;
    Ok(intent)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use proptest::prelude::*;

    use super::*;
    use crate::layout::Home;
    use crate::name::ProfileName;
    use crate::state;

    fn profile() -> (tempfile::TempDir, ProfilePaths) {
        let dir = tempfile::tempdir().unwrap();
        let profile = Home::new(dir.path()).profile(&ProfileName::default_profile());
        (dir, profile)
    }

    fn now() -> SystemTime {
        clock::from_unix(1_795_202_464).unwrap()
    }

    #[test]
    fn each_order_gets_a_later_generation_and_says_who_and_when() {
        let (_dir, profile) = profile();
        assert_eq!(
            load(&profile, now()).unwrap(),
            Loaded {
                value: None,
                corrupt: None
            }
        );
        record(&profile, Desired::Running, "uid 10000", now()).unwrap();
        let second = record(&profile, Desired::Stopped, "uid 0", now()).unwrap();
        let expected = Intent {
            state: Desired::Stopped,
            generation: 2,
            by: "uid 0".into(),
            when: "2026-11-20T19:21:04Z".into(),
        };
        assert_eq!(second, expected);
        assert_eq!(peek(&profile).unwrap(), Some(expected));
        let mode = fs::metadata(profile.intent()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn l05_a_corrupt_record_is_set_aside_and_the_next_generation_is_later_than_any_before() {
        let (_dir, profile) = profile();
        for order in 0..5 {
            assert_eq!(
                record(&profile, Desired::Running, "x", now())
                    .unwrap()
                    .generation,
                order + 1
            );
        }
        fs::write(profile.intent(), r#"{"state":"runn"#).unwrap();
        assert_eq!(peek(&profile).unwrap(), None);
        assert!(
            record(&profile, Desired::Stopped, "x", now())
                .unwrap()
                .generation
                > 5
        );
        let loaded = load(&profile, now()).unwrap();
        assert_eq!(loaded.value.unwrap().state, Desired::Stopped);
        assert!(
            profile
                .herm_dir()
                .join("desired.json.corrupt-20261120T192104Z")
                .exists()
        );
    }

    #[test]
    fn writers_at_the_same_time_each_get_a_generation_of_their_own() {
        let (_dir, profile) = profile();
        let mut all: Vec<u64> = std::thread::scope(|scope| {
            let writer = || {
                scope.spawn(|| -> Vec<u64> {
                    let order = |_| {
                        record(&profile, Desired::Running, "x", now())
                            .unwrap()
                            .generation
                    };
                    (0..20).map(order).collect()
                })
            };
            let writers = [writer(), writer(), writer()];
            writers
                .into_iter()
                .flat_map(|writer| writer.join().unwrap())
                .collect()
        });
        all.sort_unstable();
        assert_eq!(all, (1..=60).collect::<Vec<_>>());
    }

    #[test]
    fn l75_no_order_is_lost_beside_an_agent_that_rewrites_its_state_file() {
        let (_dir, profile) = profile();
        let path = profile.agent_state();
        fs::write(&path, r#"{"gateway_state":"running"}"#).unwrap();
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            // As the agent does: read, change, write whole, no lock.
            scope.spawn(|| {
                let temp = path.with_extension("agent");
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    let mut state = state::peek(&profile).unwrap().unwrap();
                    state.set("active_agents", 1);
                    fs::write(&temp, state.to_bytes()).unwrap();
                    fs::rename(&temp, &path).unwrap();
                }
            });
            for order in 1..=300u64 {
                let wanted = if order % 2 == 0 {
                    Desired::Running
                } else {
                    Desired::Stopped
                };
                record(&profile, wanted, "x", now()).unwrap();
                // The mirror may lose; the record may not.
                let _ = state::mirror_desired(&profile, wanted, now());
                let kept = peek(&profile).unwrap().unwrap();
                assert_eq!((kept.state, kept.generation), (wanted, order));
            }
            done.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        // A mirror the agent overwrote is put right by the next pass.
        state::mirror_desired(&profile, Desired::Running, now()).unwrap();
        assert_eq!(
            state::peek(&profile).unwrap().unwrap().desired_state(),
            Some("running")
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            let _ = Intent::parse(&bytes);
        }

        #[test]
        fn what_is_written_is_read_back(generation in any::<u64>(), by in "\\PC{0,30}", running in any::<bool>()) {
            let state = if running { Desired::Running } else { Desired::Stopped };
            let intent = Intent { state, generation, by, when: clock::rfc3339(now()) };
            prop_assert_eq!(Intent::parse(&intent.to_bytes()).unwrap(), intent);
        }
    }
}
