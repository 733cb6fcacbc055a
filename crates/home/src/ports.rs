//! `port: auto`: a port for each profile that has none of its own (issue: "The built-in gateway").
//!
//! The first choice follows from the name alone, so that it can be told without looking anywhere;
//! where it is taken, the next free one in the range is, and where all of those are, the next beyond it. The
//! choice is recorded in the profile (`.herm/port.json`) and stays, whatever others come and go, unless somebody else has taken the port
//! while the profile's gateway was down: then it gets another one. Where the home takes no record, because it is
//! full or read-only, the choice follows from the name and from what others have recorded and claimed: every
//! process that asks gets the same answer, whoever listens by then.

use std::fs::File;
use std::ops::Range;
use std::time::SystemTime;

use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::claims::{self, Claims};
use crate::discover::discover;
use crate::error::HomeError;
use crate::files::{Dir, PRIVATE, PRIVATE_DIR};
use crate::layout::{HERM_DIR, Home, PORT, ProfilePaths};
use crate::loaded::{Corrupt, load_or_set_aside, parse_json};
use crate::name::ProfileName;

/// The ports that are given out first.
pub const RANGE: Range<u16> = 9200..9800;
/// Those for homes of so many profiles that these don't do; from its end on the kernel gives ports to whoever
/// asks for any.
const BEYOND: Range<u16> = 9800..32768;
const MAX_BYTES: u64 = 4096;
const LOCK: &str = "ports.lock";

/// No port could be given.
#[derive(Debug, Error)]
pub enum PortError {
    /// All are taken.
    #[error(
        "all ports from {} to {} are taken: set API_SERVER_PORT in the profile's .env",
        RANGE.start,
        BEYOND.end - 1
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

/// The first free port from the preferred one on, around the end of the range, and then beyond it.
fn choose(name: &ProfileName, is_free: impl Fn(u16) -> bool) -> Option<u16> {
    let preferred = preferred(name);
    (preferred..RANGE.end)
        .chain(RANGE.start..preferred)
        .chain(BEYOND)
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

/// Gives the profiles of a home their ports. However many ask it, it looks at the home once; from the first port that is
/// not recorded yet until it is dropped no other process gives any.
#[derive(Debug)]
pub struct Ports<'a> {
    home: &'a Home,
    /// What gateways have claimed by their settings.
    claims: Option<Claims>,
    /// What is recorded, kept up with what is given.
    taken: Option<Taken>,
    lock: Option<File>,
}

impl<'a> Ports<'a> {
    /// For a home; nothing is looked at yet.
    pub fn of(home: &'a Home) -> Self {
        Self {
            home,
            claims: None,
            taken: None,
            lock: None,
        }
    }

    /// The port recorded in a profile, chosen and recorded now if there is none. Free is what no other profile has
    /// recorded or claimed and what `usable` says can be used.
    pub fn ensure(
        &mut self,
        name: &ProfileName,
        usable: impl Fn(u16) -> bool,
        now: SystemTime,
    ) -> Result<Given, PortError> {
        // At a boot of many profiles nearly all have theirs.
        if let Some(port) = recorded(&self.home.profile(name))? {
            return Ok(Given::recorded(port));
        }
        match self.record(name, usable, now) {
            Err(PortError::Home(error)) if error.is_refusal() => Ok(Given {
                port: self.choose(name, claims::peek, |_| true)?,
                unrecorded: Some(error),
            }),
            given => given.map(Given::recorded),
        }
    }

    /// The port a profile has if nobody else claims it, else what it would be given.
    pub fn foresee(
        &mut self,
        name: &ProfileName,
        usable: impl Fn(u16) -> bool,
    ) -> Result<u16, PortError> {
        if let Some(port) = recorded(&self.home.profile(name))?
            && !self.is_anothers(name, port)?
        {
            return Ok(port);
        }
        self.choose(name, claims::peek, usable)
    }

    /// Whether another profile claims a port.
    pub fn is_anothers(&mut self, name: &ProfileName, port: u16) -> Result<bool, HomeError> {
        Ok(self.claims(claims::peek)?.is_anothers_port(name, port))
    }

    /// Another port for a profile whose recorded one, `taken`, is somebody else's now. What a second process
    /// has recorded meanwhile for the same reason counts.
    pub fn replace(
        &mut self,
        name: &ProfileName,
        taken: u16,
        usable: impl Fn(u16) -> bool,
        now: SystemTime,
    ) -> Result<u16, PortError> {
        self.lock()?;
        let herm = self.herm_of(name)?;
        if recorded(&self.home.profile(name))? == Some(taken) {
            herm.remove(PORT)?;
        }
        self.give(name, &herm, |port| port != taken && usable(port), now)
    }

    fn record(
        &mut self,
        name: &ProfileName,
        usable: impl Fn(u16) -> bool,
        now: SystemTime,
    ) -> Result<u16, PortError> {
        self.lock()?;
        let herm = self.herm_of(name)?;
        self.give(name, &herm, usable, now)
    }

    fn herm_of(&self, name: &ProfileName) -> Result<Dir, HomeError> {
        Dir::open(self.home.profile(name).dir())?.ensure_child(HERM_DIR, PRIVATE_DIR)
    }

    /// The port recorded in `herm`, the profile's own `.herm`; or a free one, recorded there now.
    pub(crate) fn give(
        &mut self,
        name: &ProfileName,
        herm: &Dir,
        usable: impl Fn(u16) -> bool,
        now: SystemTime,
    ) -> Result<u16, PortError> {
        self.lock()?;
        if let Some(port) = load_or_set_aside(herm, PORT, MAX_BYTES, now, parse)?.value {
            return Ok(port);
        }
        let load = |home: &Home| Ok(claims::load(home, now)?.value);
        let port = self.choose(name, load, usable)?;
        herm.write_atomic(PORT, format!("{{\"port\":{port}}}\n").as_bytes(), PRIVATE)?;
        if let Some(taken) = &mut self.taken {
            taken.add(port);
        }
        Ok(port)
    }

    /// Waits for the right to give ports. What was seen before may have changed by then.
    fn lock(&mut self) -> Result<(), HomeError> {
        if self.lock.is_none() {
            let herm = Dir::open(self.home.root())?.ensure_child(HERM_DIR, PRIVATE_DIR)?;
            self.lock = Some(herm.lock(LOCK)?);
            (self.taken, self.claims) = (None, None);
        }
        Ok(())
    }

    fn claims(
        &mut self,
        read: impl Fn(&Home) -> Result<Option<Claims>, HomeError>,
    ) -> Result<&Claims, HomeError> {
        let claims = match self.claims.take() {
            Some(claims) => claims,
            None => read(self.home)?.unwrap_or_default(),
        };
        Ok(self.claims.insert(claims))
    }

    fn choose(
        &mut self,
        name: &ProfileName,
        read_claims: impl Fn(&Home) -> Result<Option<Claims>, HomeError>,
        usable: impl Fn(u16) -> bool,
    ) -> Result<u16, PortError> {
        let taken = match self.taken.take() {
            Some(taken) => taken,
            None => Taken::in_home(self.home)?,
        };
        let claims = self.claims(read_claims)?;
        let is_free =
            |port| !taken.has(port) && !claims.is_anothers_port(name, port) && usable(port);
        let chosen = choose(name, is_free);
        self.taken = Some(taken);
        chosen.ok_or(PortError::Exhausted)
    }
}

/// Which ports are recorded in profiles of a home.
#[derive(Debug)]
struct Taken(Vec<bool>);

impl Taken {
    /// A profile whose record can't be read has no port that is to be avoided.
    fn in_home(home: &Home) -> Result<Self, HomeError> {
        let mut taken = Self(vec![false; usize::from(u16::MAX) + 1]);
        for profile in discover(home)?.profiles {
            if let Some(port) = recorded(&home.profile(&profile)).ok().flatten() {
                taken.add(port);
            }
        }
        Ok(taken)
    }

    fn add(&mut self, port: u16) {
        if let Some(place) = self.0.get_mut(usize::from(port)) {
            *place = true;
        }
    }

    fn has(&self, port: u16) -> bool {
        self.0.get(usize::from(port)).copied().unwrap_or_default()
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
    use std::collections::BTreeSet;
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
        let now = clock::from_unix(0).unwrap();
        let given = Ports::of(home).ensure(&name(profile), |_| true, now);
        given.unwrap().port
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
        let is_full = |port| RANGE.contains(&port) || port == BEYOND.start;
        assert_eq!(choose(&name, |port| !is_full(port)), Some(BEYOND.start + 1));
        assert_eq!(choose(&name, |_| false), None);
    }

    #[test]
    fn a_port_once_given_stays_whatever_becomes_free() {
        let (_dir, home) = home(&["a", "b"]);
        let first = preferred(&name("a"));
        let now = clock::from_unix(0).unwrap();
        let given = Ports::of(&home).ensure(&name("a"), |port| port != first, now);
        let port = given.unwrap().port;
        assert_ne!(port, first);
        assert_eq!(give(&home, "a"), port);
        assert_eq!(recorded(&home.profile(&name("a"))).unwrap(), Some(port));
    }

    #[test]
    fn a_port_that_somebody_else_took_meanwhile_is_replaced_once() {
        let (_dir, home) = home(&["a"]);
        let a = name("a");
        let now = clock::from_unix(0).unwrap();
        let first = give(&home, "a");
        let replace = |usable| {
            let replaced = Ports::of(&home).replace(&a, first, |_| usable, now);
            replaced.unwrap()
        };
        let next = replace(true);
        assert_ne!(next, first);
        assert_eq!(
            replace(false),
            next,
            "another process has replaced it already"
        );
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
            let given = Ports::of(&home)
                .ensure(&name("a"), |_| usable, now)
                .unwrap();
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

    /// Read calls of this thread, as the kernel counts them.
    fn reads() -> usize {
        let counted = fs::read_to_string("/proc/thread-self/io").unwrap();
        let line = counted
            .lines()
            .find_map(|line| line.strip_prefix("syscr: "));
        line.unwrap().parse().unwrap()
    }

    #[test]
    fn a_home_without_ports_is_looked_at_once_and_each_profile_gets_its_own() {
        let all: Vec<String> = (0..200).map(|i| format!("p{i}")).collect();
        let names: Vec<&str> = all.iter().map(String::as_str).collect();
        let now = clock::from_unix(0).unwrap();
        let cost = |names: &[&str]| {
            let (_dir, home) = home(names);
            let before = reads();
            let mut ports = Ports::of(&home);
            let give = |text: &&str| ports.ensure(&name(text), |_| true, now).unwrap().port;
            let given: BTreeSet<u16> = names.iter().map(give).collect();
            assert_eq!(given.len(), names.len(), "no two have the same");
            reads() - before
        };
        let (few, many) = (cost(&names[..20]), cost(&names));
        assert!(
            many < 12 * few,
            "{few} reads for 20 profiles, {many} for 200"
        );
    }

    #[test]
    fn what_another_process_gave_meanwhile_is_not_given_again() {
        let same = |wanted: u16| {
            (0..)
                .map(|i| format!("p{i}"))
                .filter(move |n| preferred(&name(n)) == wanted)
        };
        let three: Vec<String> = same(preferred(&name("p0"))).take(3).collect();
        let (_dir, home) = home(&[&three[0], &three[1], &three[2]]);
        let now = clock::from_unix(0).unwrap();
        let mut ports = Ports::of(&home);
        let seen = ports.foresee(&name(&three[0]), |_| true).unwrap();
        assert_eq!(seen, give(&home, &three[1]));
        let given = ports.ensure(&name(&three[2]), |_| true, now).unwrap().port;
        assert_ne!(given, seen);
    }
}
