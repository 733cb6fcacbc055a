//! Building a profile out of sight: under a dot-name that discovery passes over, published by one
//! rename. Interrupted anywhere, nothing is visible, and the next sweep removes the rest.

use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::FlockOperation;

use crate::error::HomeError;
use crate::files::{Dir, PRIVATE_DIR};
use crate::layout::{Home, PROFILES};
use crate::name::ProfileName;

/// What names of unfinished work begin with.
const PREFIX: &str = ".herm-work-";
/// How often a tree is removed again when someone still writes into it.
const REMOVE_TRIES: u32 = 5;

/// A directory under construction or destruction. Dropped without [`Staging::publish`], it and all
/// in it is removed.
#[derive(Debug)]
pub(crate) struct Staging {
    profiles: Dir,
    dir: Dir,
    name: String,
    published: bool,
}

impl Staging {
    /// Begins an empty one.
    pub(crate) fn begin(home: &Home) -> Result<Self, HomeError> {
        let profiles = Dir::open(home.root())?.ensure_child(PROFILES, 0o755)?;
        let name = free_name(&profiles);
        let dir = profiles.create_child(&name, PRIVATE_DIR)?;
        // Held as long as the descriptor lives: the sweep of another process leaves it alone. Where
        // locks aren't to be had, the sweep has none either and removes nothing.
        let _ = rustix::fs::flock(&dir, FlockOperation::NonBlockingLockExclusive);
        Ok(Self {
            profiles,
            dir,
            name,
            published: false,
        })
    }

    /// The directory itself.
    pub(crate) fn dir(&self) -> &Dir {
        &self.dir
    }

    /// Makes it a profile. The rename is the whole transaction; what is inside was made durable by
    /// whoever wrote it.
    pub(crate) fn publish(mut self, name: &ProfileName) -> Result<(), HomeError> {
        self.dir
            .sync()
            .map_err(|e| HomeError::io("sync", self.profiles.path_of(&self.name), e))?;
        if !self.profiles.rename_to_free(&self.name, name.as_str())? {
            return Err(HomeError::Exists {
                name: name.to_string(),
            });
        }
        self.published = true;
        Ok(())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.published {
            // What can't be removed now is left for the sweep.
            let _ = remove_tree(&self.profiles, &self.name);
        }
    }
}

/// A name under `profiles/` that discovery passes over and nobody has.
pub(crate) fn free_name(profiles: &Dir) -> String {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-{number}", std::process::id());
        if !profiles.exists(&name) {
            return name;
        }
    }
}

/// Removes what interrupted creations, imports and deletions left. Work in progress of a living
/// process is left alone. Returns how many there were.
pub fn sweep_unfinished(home: &Home) -> Result<usize, HomeError> {
    let Some(profiles) = Dir::open(home.root())?.child(PROFILES)? else {
        return Ok(0);
    };
    let mut swept = 0;
    for name in profiles
        .names()?
        .into_iter()
        .filter(|name| name.starts_with(PREFIX))
    {
        let Ok(Some(dir)) = profiles.child(&name) else {
            continue;
        };
        // Also where locks aren't to be had: better a leftover than half of someone's work gone.
        if rustix::fs::flock(&dir, FlockOperation::NonBlockingLockExclusive).is_ok() {
            remove_tree(&profiles, &name)?;
            swept += 1;
        }
    }
    Ok(swept)
}

/// Removes a directory and all in it, without following symlinks. A process that still writes
/// into it, and directories without write permission, are overcome a few times.
pub(crate) fn remove_tree(parent: &Dir, name: &str) -> Result<(), HomeError> {
    let path = parent.path_of(name);
    let mut tries = 0;
    loop {
        let error = match fs::remove_dir_all(&path) {
            Ok(()) => break,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => break,
            Err(e) => e,
        };
        tries += 1;
        if tries == REMOVE_TRIES {
            return Err(HomeError::io("remove", &path, error));
        }
        if error.kind() == std::io::ErrorKind::PermissionDenied {
            make_writable(parent, name)?;
        }
    }
    parent.sync().map_err(|e| HomeError::io("sync", &path, e))
}

/// Gives this user write permission on every directory of a tree.
fn make_writable(parent: &Dir, name: &str) -> Result<(), HomeError> {
    let Some(dir) = parent.child(name)? else {
        return Ok(());
    };
    dir.set_mode(PRIVATE_DIR)?;
    for entry in dir.names()? {
        if dir.kind(&entry) == Some(rustix::fs::FileType::Directory) {
            make_writable(&dir, &entry)?;
        }
    }
    Ok(())
}
