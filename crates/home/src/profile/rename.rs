//! Giving a profile another name.
//!
//! A mark in the profile comes first ([`begin_rename`]). For as long as the process that made it
//! lives the profile is none, so its gateway goes down and is unregistered, and nobody starts it;
//! what is wanted of it stays recorded. When the mark goes it is a profile again, under its new
//! name. If the process dies the mark means nothing any more: the profile is there under the name
//! that its directory has, wanted as before, and [`mend_rename`] does what was left to do.

use std::path::Path;
use std::time::SystemTime;

use crate::claims;
use crate::discover::discover;
use crate::error::HomeError;
use crate::files::{Dir, PRIVATE, PRIVATE_DIR};
use crate::layout::{HERM_DIR, Home, PROFILES, RENAMING};
use crate::loaded::parse_json;
use crate::name::{NameError, ProfileName};
use crate::process;
use crate::profile::ACTIVE;
use crate::profile::create::ensure_free;

const MAX_BYTES: u64 = 4096;

/// The mark: between which names, and by which process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Renaming {
    from: String,
    to: String,
    pid: i32,
    start_time: u64,
}

impl Renaming {
    fn by_this_process(from: &ProfileName, to: &ProfileName) -> Self {
        let pid = i32::try_from(std::process::id()).unwrap_or_default();
        let own = process::look(Path::new("/proc"), pid);
        Self {
            from: from.to_string(),
            to: to.to_string(),
            pid,
            start_time: own.map_or(0, |own| own.start_time),
        }
    }

    /// Whether the process that made it still lives. Where it can't be seen (another container's) it
    /// does not: what that one runs is its own to look after.
    pub(crate) fn is_under_way(&self) -> bool {
        process::look(Path::new("/proc"), self.pid)
            .is_some_and(|process| process.start_time == self.start_time && !process.zombie)
    }

    fn to_bytes(&self) -> Vec<u8> {
        serde_json::json!({
            "from": self.from,
            "to": self.to,
            "pid": self.pid,
            "start_time": self.start_time,
        })
        .to_string()
        .into_bytes()
    }
}

/// The mark in a profile's `.herm`; one that can't be read is none, and is removed by the next renaming.
pub(crate) fn renaming_of(herm: &Dir) -> Option<Renaming> {
    let value = parse_json(&herm.read(RENAMING, MAX_BYTES).ok()??.bytes).ok()?;
    let text = |name: &str| value.get(name)?.as_str().map(str::to_owned);
    Some(Renaming {
        from: text("from")?,
        to: text("to")?,
        pid: i32::try_from(value.get("pid")?.as_i64()?).ok()?,
        start_time: value.get("start_time")?.as_u64()?,
    })
}

/// Marks a profile as about to be renamed by this process.
pub fn begin_rename(home: &Home, old: &ProfileName, new: &ProfileName) -> Result<(), HomeError> {
    if old.is_default() || new.is_default() {
        return Err(NameError::Reserved.into());
    }
    discover(home)?.find(old)?;
    ensure_free(home, new)?;
    let herm = Dir::open(home.profile(old).dir())?.ensure_child(HERM_DIR, PRIVATE_DIR)?;
    let mark = Renaming::by_this_process(old, new);
    herm.write_atomic(RENAMING, &mark.to_bytes(), PRIVATE)
}

/// Takes the mark away: the profile is one again.
pub fn give_up_rename(home: &Home, name: &ProfileName) -> Result<(), HomeError> {
    match Dir::open(home.profile(name).dir())?.child(HERM_DIR)? {
        Some(herm) => herm.remove(RENAMING).map(drop),
        None => Ok(()),
    }
}

/// Renames a profile that is marked and whose gateway is down and unregistered. What it has goes with
/// it: intent, port, state; its kept logs and claims are moved after it.
pub fn rename(
    home: &Home,
    old: &ProfileName,
    new: &ProfileName,
    now: SystemTime,
) -> Result<(), HomeError> {
    let root = Dir::open(home.root())?;
    let renamed = match root.child(PROFILES)? {
        Some(profiles) => profiles.rename_to_free(old.as_str(), new.as_str())?,
        None => false,
    };
    if !renamed {
        return Err(HomeError::Exists {
            name: new.to_string(),
        });
    }
    follow(home, old, new, now)?;
    give_up_rename(home, new)
}

/// Ends a renaming whose process is dead. `Some`: the name it had before, where it has the new one.
pub fn mend_rename(
    home: &Home,
    name: &ProfileName,
    now: SystemTime,
) -> Result<Option<ProfileName>, HomeError> {
    let herm = Dir::open(home.profile(name).dir())?.child(HERM_DIR)?;
    let Some(mark) = herm.as_ref().and_then(renaming_of) else {
        return Ok(None);
    };
    let from = ProfileName::parse(&mark.from).ok();
    // Else its directory never got the new name, or is a copy that somebody made.
    let from = from.filter(|from| mark.to == name.as_str() && !home.profile(from).dir().exists());
    if let Some(from) = &from {
        follow(home, from, name, now)?;
    }
    give_up_rename(home, name)?;
    Ok(from)
}

/// What lies elsewhere in the home goes with the directory. Can be repeated.
fn follow(
    home: &Home,
    old: &ProfileName,
    new: &ProfileName,
    now: SystemTime,
) -> Result<(), HomeError> {
    let root = Dir::open(home.root())?;
    if let Some(gateways) = root
        .child("logs")?
        .map(|logs| logs.child("gateways"))
        .transpose()?
        .flatten()
        && gateways.exists(old.as_str())
    {
        // Logs of an earlier profile of the new name stay where they are.
        gateways.rename_to_free(old.as_str(), new.as_str())?;
    }
    claims::update(home, now, |claims| claims.rename(old, new))?;
    reassign_active(home, old, Some(new))
}

/// Where the agent's sticky choice is this profile, makes it another one, or none.
pub(super) fn reassign_active(
    home: &Home,
    old: &ProfileName,
    new: Option<&ProfileName>,
) -> Result<(), HomeError> {
    let root = Dir::open(home.root())?;
    let Some(content) = root.read(ACTIVE, 4096)? else {
        return Ok(());
    };
    if content.bytes.trim_ascii() != old.as_str().as_bytes() {
        return Ok(());
    }
    match new {
        Some(new) => root.write_atomic(ACTIVE, format!("{new}\n").as_bytes(), content.mode),
        None => root.remove(ACTIVE).map(drop),
    }
}
