//! Giving a profile another name.

use std::time::SystemTime;

use crate::claims;
use crate::discover::discover;
use crate::error::HomeError;
use crate::files::Dir;
use crate::layout::{Home, PROFILES};
use crate::name::{NameError, ProfileName};
use crate::profile::ACTIVE;
use crate::profile::create::ensure_free;

/// Renames a profile whose gateway is down and unregistered. What it has goes with it: intent,
/// port, state; its kept logs and claims are moved after it.
pub fn rename(
    home: &Home,
    old: &ProfileName,
    new: &ProfileName,
    now: SystemTime,
) -> Result<(), HomeError> {
    if old.is_default() || new.is_default() {
        return Err(NameError::Reserved.into());
    }
    discover(home)?.find(old)?;
    if old == new {
        return Ok(());
    }
    ensure_free(home, new)?;
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
