//! `port: auto`: a port for each profile that has none of its own (issue: "The built-in gateway").
//!
//! The first choice follows from the name alone, so that it can be told without looking anywhere;
//! where it is taken, the next free one in the range is. The choice is recorded in the profile
//! (`.herm/port.json`) and stays, whatever others come and go, unless somebody else has taken the port
//! while the profile's gateway was down: then it gets another one. Where the home takes no record, because it is
//! full or read-only, the choice follows from the name and from what others have recorded and claimed: every
//! process that asks gets the same answer, whoever listens by then.

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

/// A port that a profile has been given.
#[derive(Debug)]
pub struct Given {
    /// The port.
    pub port: u16,
    /// Why it is not recorded, where it isn't.
    pub unrecorded: Option<HomeError>,
}

impl Given {
    /// One that is, or will be, in the profile's record.
    pub fn recorded(port: u16) -> Self {
        Self {
            port,
            unrecorded: None,
        }
    }
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
/// profile has recorded, what isn't in `claimed` (by others) and what `usable` says can be used.
pub fn ensure(
    home: &Home,
    name: &ProfileName,
    claimed: &BTreeSet<u16>,
    usable: impl Fn(u16) -> bool,
    now: SystemTime,
) -> Result<Given, PortError> {
    // At a boot of many profiles nearly all have theirs.
    if let Some(port) = recorded(&home.profile(name))? {
        return Ok(Given::recorded(port));
    }
    match record(home, name, claimed, usable, now) {
        Err(PortError::Home(error)) if error.is_refusal() => {
            let taken = of_others(home, name)?;
            let is_free = |port| !taken.contains(&port) && !claimed.contains(&port);
            Ok(Given {
                port: choose(name, is_free).ok_or(PortError::Exhausted)?,
                unrecorded: Some(error),
            })
        }
        given => given.map(Given::recorded),
    }
}

fn record(
    home: &Home,
    name: &ProfileName,
    claimed: &BTreeSet<u16>,
    usable: impl Fn(u16) -> bool,
    now: SystemTime,
) -> Result<u16, PortError> {
    let ports = Ports::lock(home, name)?;
    let dir = Dir::open(home.profile(name).dir())?.ensure_child(HERM_DIR, PRIVATE_DIR)?;
    ports.give(&dir, claimed, usable, now)
}

/// The ports recorded in the other profiles. One whose record can't be read has none that is to be avoided.
fn of_others(home: &Home, name: &ProfileName) -> Result<BTreeSet<u16>, HomeError> {
    let found = discover(home)?;
    let others = found.profiles.iter().filter(|other| *other != name);
    let port = |other| recorded(&home.profile(other)).ok().flatten();
    Ok(others.filter_map(port).collect())
}

/// Another port for a profile whose recorded one, `taken`, is somebody else's now. What a second process
/// has recorded meanwhile for the same reason counts.
pub fn replace(
    home: &Home,
    name: &ProfileName,
    taken: u16,
    claimed: &BTreeSet<u16>,
    usable: impl Fn(u16) -> bool,
    now: SystemTime,
) -> Result<u16, PortError> {
    let ports = Ports::lock(home, name)?;
    let dir = Dir::open(home.profile(name).dir())?.ensure_child(HERM_DIR, PRIVATE_DIR)?;
    if recorded(&home.profile(name))? == Some(taken) {
        dir.remove(PORT)?;
    }
    ports.give(&dir, claimed, |port| port != taken && usable(port), now)
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
        Ok(Self {
            name,
            taken: of_others(home, name)?,
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
        .port
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
        let port = ensure(&home, &name("a"), &taken, |_| true, now)
            .unwrap()
            .port;
        assert_ne!(port, preferred(&name("a")));
        assert_eq!(give(&home, "a"), port);
        assert_eq!(recorded(&home.profile(&name("a"))).unwrap(), Some(port));
    }

    #[test]
    fn a_port_that_somebody_else_took_meanwhile_is_replaced_once() {
        let (_dir, home) = home(&["a"]);
        let a = name("a");
        let now = clock::from_unix(0).unwrap();
        let first = give(&home, "a");
        let none = BTreeSet::new();
        let next = replace(&home, &a, first, &none, |_| true, now).unwrap();
        assert_ne!(next, first);
        let again = replace(&home, &a, first, &none, |_| false, now).unwrap();
        assert_eq!(again, next, "another process has replaced it already");
        assert_eq!(give(&home, "a"), next, "and so it stays");
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

    /// As a read-only home does, and a full one: the port is there all the same, and the same each time,
    /// also when the gateway that was given it listens.
    #[test]
    fn where_no_record_can_be_written_the_port_is_given_without_and_the_reason_told() {
        if rustix::process::geteuid().is_root() {
            println!("skipped: nothing is refused to root");
            return;
        }
        let (dir, home) = home(&["a"]);
        let mode = |mode| {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
            fs::set_permissions(dir.path(), mode).unwrap();
        };
        mode(0o500);
        let now = clock::from_unix(0).unwrap();
        for usable in [true, false] {
            let given = ensure(&home, &name("a"), &BTreeSet::new(), |_| usable, now).unwrap();
            assert_eq!(given.port, preferred(&name("a")));
            assert!(given.unrecorded.is_some_and(|why| why.is_refusal()));
        }
        mode(0o700);
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
