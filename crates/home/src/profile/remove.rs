//! Deleting a profile in two steps, so that it can be repeated wherever it was interrupted.
//!
//! The tombstone (`.herm/deleting`) comes first: from then on the profile is none, whatever of it
//! still lies there. Its directory goes last, after its gateway is stopped and unregistered.

use std::time::SystemTime;

use crate::claims;
use crate::clock;
use crate::discover::discover;
use crate::error::HomeError;
use crate::files::{Dir, PRIVATE, PRIVATE_DIR};
use crate::layout::{HERM_DIR, Home, PROFILES, TOMBSTONE};
use crate::name::{NameError, ProfileName};
use crate::profile::rename::reassign_active;
use crate::staging::{free_name, remove_tree};

/// Marks a profile as going. Done when this returns, also if it was marked before.
pub fn begin_delete(home: &Home, name: &ProfileName, now: SystemTime) -> Result<(), HomeError> {
    if name.is_default() {
        return Err(NameError::Reserved.into());
    }
    if is_deleting(home, name)? {
        return Ok(());
    }
    let found = discover(home)?;
    let profile = home.profile(found.find(name)?);
    let herm = Dir::open(profile.dir())?.ensure_child(HERM_DIR, PRIVATE_DIR)?;
    herm.write_atomic(TOMBSTONE, clock::rfc3339(now).as_bytes(), PRIVATE)
}

/// Whether a profile's deletion has begun and not ended.
pub fn is_deleting(home: &Home, name: &ProfileName) -> Result<bool, HomeError> {
    Ok(discover(home)?.deleting.contains(name))
}

/// Removes a profile that was marked: its directory, its claims, and the agent's choice of it as
/// active profile. Its gateway must be down and unregistered. Nothing left to do is success.
pub fn finish_delete(home: &Home, name: &ProfileName, now: SystemTime) -> Result<(), HomeError> {
    if is_deleting(home, name)?
        && let Some(profiles) = Dir::open(home.root())?.child(PROFILES)?
    {
        // First out of sight, so that the name is free and no half of a profile is ever seen.
        let work = free_name(&profiles);
        profiles.rename_to_free(name.as_str(), &work)?;
        remove_tree(&profiles, &work)?;
    }
    claims::update(home, now, |claims| claims.release(name))?;
    reassign_active(home, name, None)
}
