//! `port: auto`: a port for each profile that has none of its own (issue: "The built-in gateway").
//!
//! The first choice follows from the name alone, so that it can be told without looking anywhere;
//! where it is taken, the next free one in the range is. The choice is recorded in the profile
//! (`.herm/port.json`) and stays, whatever others come and go.

use std::collections::BTreeSet;
use std::fs::File;
use std::ops::Range;
use std::time::SystemTime;

use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::discover::discover;
use crate::error::HomeError;
use crate::files::{Dir, PRIVATE, PRIVATE_DIR};
use crate::layout::{HERM_DIR, Home, PORT, ProfilePaths};
use crate::loaded::{Corrupt, load_or_set_aside, parse_json};
use crate::name::ProfileName;

/// The ports that are given out.
pub const RANGE: Range<u16> = 9200..9800;
const MAX_BYTES: u64 = 4096;
const LOCK: &str = "ports.lock";

/// No port could be given.
#[derive(Debug, Error)]
pub enum PortError {
    /// All are taken.
    #[error(
        "all ports from {} to {} are taken: set API_SERVER_PORT in the profile's .env",
        RANGE.start,
        RANGE.end - 1
    )]
    Exhausted,
    /// The record can't be read or written.
    #[error(transparent)]
    Home(#[from] HomeError),
}

/// The port a profile gets if nobody has it: the first 8 bytes of the name's SHA-256, big-endian,
/// modulo the size of [`RANGE`].
pub fn preferred(name: &ProfileName) -> u16 {
    let digest = Sha256::digest(name.as_str());
    let mut first = [0; 8];
    first
        .iter_mut()
        .zip(digest.iter())
        .for_each(|(to, from)| *to = *from);
    let offset = u64::from_be_bytes(first) % u64::from(RANGE.end - RANGE.start);
    RANGE.start + u16::try_from(offset).unwrap_or_default()
}

/// The first free port from the preferred one on, around the end of the range.
pub fn choose(name: &ProfileName, is_free: impl Fn(u16) -> bool) -> Option<u16> {
    let preferred = preferred(name);
    (preferred..RANGE.end)
        .chain(RANGE.start..preferred)
        .find(|port| is_free(*port))
}

/// The port recorded in a profile.
pub fn recorded(profile: &ProfilePaths) -> Result<Option<u16>, HomeError> {
    let Some(dir) = Dir::open(profile.dir())?.child(HERM_DIR)? else {
        return Ok(None);
    };
    Ok(dir
        .read(PORT, MAX_BYTES)?
        .and_then(|content| parse(&content.bytes).ok()))
}

/// The port recorded in a profile, chosen and recorded now if there is none. Free is what no other
/// profile has recorded, what isn't in `claimed` and what `usable` says can be used.
pub fn ensure(
    home: &Home,
    name: &ProfileName,
    claimed: &BTreeSet<u16>,
    usable: impl Fn(u16) -> bool,
    now: SystemTime,
) -> Result<u16, PortError> {
    // At a boot of many profiles nearly all have theirs.
    if let Some(port) = recorded(&home.profile(name))? {
        return Ok(port);
    }
    let ports = Ports::lock(home, name)?;
    let dir = Dir::open(home.profile(name).dir())?.ensure_child(HERM_DIR, PRIVATE_DIR)?;
    ports.give(&dir, claimed, usable, now)
}

/// The right to give one profile a port; held by one process of a home at a time.
#[derive(Debug)]
pub(crate) struct Ports<'a> {
    name: &'a ProfileName,
    taken: BTreeSet<u16>,
    _lock: File,
}

impl<'a> Ports<'a> {
    /// Waits for the right, then looks which ports the other profiles have.
    pub(crate) fn lock(home: &Home, name: &'a ProfileName) -> Result<Self, HomeError> {
        let lock = Dir::open(home.root())?
            .ensure_child(HERM_DIR, PRIVATE_DIR)?
            .lock(LOCK)?;
        let mut taken = BTreeSet::new();
        for other in discover(home)?
            .profiles
            .iter()
            .filter(|other| *other != name)
        {
            // A profile whose record can't be read has no port that others must avoid.
            taken.extend(recorded(&home.profile(other)).ok().flatten());
        }
        Ok(Self {
            name,
            taken,
            _lock: lock,
        })
    }

    /// The port recorded in `herm`, the profile's own `.herm`; or a free one, recorded there now.
    pub(crate) fn give(
        &self,
        herm: &Dir,
        claimed: &BTreeSet<u16>,
        usable: impl Fn(u16) -> bool,
        now: SystemTime,
    ) -> Result<u16, PortError> {
        if let Some(port) = load_or_set_aside(herm, PORT, MAX_BYTES, now, parse)?.value {
            return Ok(port);
        }
        let is_free =
            |port| !self.taken.contains(&port) && !claimed.contains(&port) && usable(port);
        let port = choose(self.name, is_free).ok_or(PortError::Exhausted)?;
        herm.write_atomic(PORT, format!("{{\"port\":{port}}}\n").as_bytes(), PRIVATE)?;
        Ok(port)
    }
}

/// Reads the record's bytes.
fn parse(bytes: &[u8]) -> Result<u16, Corrupt> {
    let value = parse_json(bytes)?;
    let port = value.get("port").and_then(serde_json::Value::as_u64);
    port.and_then(|port| u16::try_from(port).ok())
        .filter(|port| *port != 0)
        .ok_or(Corrupt::Shape("it is no record of a port"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::clock;
    use crate::layout::SOUL;

    fn name(text: &str) -> ProfileName {
        ProfileName::parse(text).unwrap()
    }

    fn home(profiles: &[&str]) -> (tempfile::TempDir, Home) {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path());
        for profile in profiles {
            fs::create_dir_all(home.profiles_dir().join(profile)).unwrap();
            fs::write(home.profiles_dir().join(profile).join(SOUL), "").unwrap();
        }
        (dir, home)
    }

    fn give(home: &Home, profile: &str) -> u16 {
        ensure(
            home,
            &name(profile),
            &BTreeSet::new(),
            |_| true,
            clock::from_unix(0).unwrap(),
        )
        .unwrap()
    }

    #[test]
    fn the_first_choice_follows_from_the_name_alone() {
        // From `printf writer | sha256sum`: the first 16 digits modulo 600, plus 9200.
        assert_eq!(preferred(&name("default")), 9549);
        assert_eq!(preferred(&name("writer")), 9298);
    }

    #[test]
    fn a_taken_port_gives_way_to_the_next_free_one_around_the_end() {
        let name = name("writer");
        let first = preferred(&name);
        assert_eq!(choose(&name, |_| true), Some(first));
        assert_eq!(choose(&name, |port| port == RANGE.start), Some(RANGE.start));
        let next = if first + 1 == RANGE.end {
            RANGE.start
        } else {
            first + 1
        };
        assert_eq!(choose(&name, |port| port != first), Some(next));
        assert_eq!(choose(&name, |_| false), None);
    }

    #[test]
    fn a_port_once_given_stays_whatever_becomes_free() {
        let (_dir, home) = home(&["a", "b"]);
        let taken = BTreeSet::from([preferred(&name("a"))]);
        let now = clock::from_unix(0).unwrap();
        let port = ensure(&home, &name("a"), &taken, |_| true, now).unwrap();
        assert_ne!(port, preferred(&name("a")));
        assert_eq!(give(&home, "a"), port);
        assert_eq!(recorded(&home.profile(&name("a"))).unwrap(), Some(port));
    }

    #[test]
    fn profiles_with_the_same_first_choice_get_different_ports() {
        let same = |wanted: u16| {
            (0..)
                .map(|i| format!("p{i}"))
                .filter(move |n| preferred(&name(n)) == wanted)
        };
        let pair: Vec<String> = same(preferred(&name("p0"))).take(2).collect();
        let (_dir, home) = home(&[&pair[0], &pair[1]]);
        let first = give(&home, &pair[0]);
        assert_eq!(first, preferred(&name(&pair[1])));
        assert_ne!(give(&home, &pair[1]), first);
    }

    #[test]
    fn a_corrupt_record_is_replaced_by_a_new_choice() {
        let (_dir, home) = home(&["a"]);
        let port = give(&home, "a");
        fs::write(
            home.profile(&name("a")).herm_dir().join(PORT),
            "{\"port\":0}",
        )
        .unwrap();
        assert_eq!(recorded(&home.profile(&name("a"))).unwrap(), None);
        assert_eq!(give(&home, "a"), port);
    }
}
