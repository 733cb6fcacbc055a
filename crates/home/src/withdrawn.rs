//! Gateways that were taken out of the scan directory while their profiles stayed: until somebody
//! wants one of them again, or the next boot, they are not registered (contract section 5).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::error::HomeError;
use crate::files::{Dir, PRIVATE, PRIVATE_DIR};
use crate::layout::{HERM_DIR, Home};
use crate::name::ProfileName;

/// In the home's `.herm`.
const FILE: &str = "withdrawn.json";
/// Largest record that is read, in bytes.
const MAX_BYTES: u64 = 4 << 20;

#[derive(Debug, Default, Serialize, Deserialize)]
struct Record {
    /// The run of the supervisor that it belongs to.
    instance: String,
    profiles: Vec<String>,
}

/// Whose gateways are not to be registered in this run of the supervisor. A record that makes no
/// sense is none.
pub fn load(home: &Home, instance: &str) -> Result<BTreeSet<ProfileName>, HomeError> {
    let record = read(home)?;
    let names = record
        .profiles
        .iter()
        .filter(|_| record.instance == instance);
    Ok(names
        .filter_map(|name| ProfileName::parse(name).ok())
        .collect())
}

/// Replaces the record.
pub fn save(
    home: &Home,
    instance: &str,
    profiles: &BTreeSet<ProfileName>,
) -> Result<(), HomeError> {
    write(
        home,
        &Record {
            instance: instance.to_owned(),
            profiles: profiles.iter().map(ToString::to_string).collect(),
        },
    )
}

/// Somebody wants this one again.
pub fn forget(home: &Home, profile: &ProfileName) -> Result<(), HomeError> {
    let mut record = read(home)?;
    let before = record.profiles.len();
    record.profiles.retain(|name| name != profile.as_str());
    if record.profiles.len() == before {
        return Ok(());
    }
    write(home, &record)
}

fn read(home: &Home) -> Result<Record, HomeError> {
    let Some(dir) = Dir::open(home.root())?.child(HERM_DIR)? else {
        return Ok(Record::default());
    };
    let content = dir.read(FILE, MAX_BYTES)?;
    let record = content.and_then(|content| serde_json::from_slice(&content.bytes).ok());
    Ok(record.unwrap_or_default())
}

fn write(home: &Home, record: &Record) -> Result<(), HomeError> {
    let dir = Dir::open(home.root())?.ensure_child(HERM_DIR, PRIVATE_DIR)?;
    let text = serde_json::json!(record).to_string();
    dir.write_atomic(FILE, text.as_bytes(), PRIVATE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_withdrawn_stays_so_for_one_run_of_the_supervisor_or_until_it_is_wanted() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path());
        let name = |text| ProfileName::parse(text).unwrap();
        let both = BTreeSet::from([name("a"), name("b")]);
        assert!(load(&home, "i1").unwrap().is_empty());
        save(&home, "i1", &both).unwrap();
        assert_eq!(load(&home, "i1").unwrap(), both);
        assert!(load(&home, "i2").unwrap().is_empty());
        forget(&home, &name("a")).unwrap();
        assert_eq!(load(&home, "i1").unwrap(), BTreeSet::from([name("b")]));
    }
}
