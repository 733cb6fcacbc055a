//! Files of the home that are not the service user's (L25): commands of `docker exec` as root leave
//! them, and agents then can't write them, or not even read them.
//!
//! Looked at is what setup repairs at the next boot: herm's and the agent's own files and
//! directories, on one file system, no symlink followed. What users put into `workspace` and `home`
//! is theirs.

use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType};

use crate::error::HomeError;
use crate::files::Dir;
use crate::layout::{HERM_DIR, Home, PROFILES, SEEDED_DIRS};

/// Entries that are looked at, at most.
const MAX_ENTRIES: usize = 200_000;
/// Paths that are returned, at most.
const MAX_FOUND: usize = 100;
/// How deep directories lie, at most.
const MAX_DEPTH: usize = 32;
/// Directories that are the user's, not herm's.
const USERS: [&str; 2] = ["workspace", "home"];
/// What a file system itself has in its root.
const LOST_AND_FOUND: &str = "lost+found";

/// What is not the owner's.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Foreign {
    /// The paths, up to a bound.
    pub paths: Vec<PathBuf>,
    /// Whether that is all there is.
    pub is_all: bool,
}

/// Looks through a home for what does not belong to `uid`. What can't be entered is passed over:
/// its own entry tells.
pub fn foreign(home: &Home, uid: u32) -> Foreign {
    let Ok(root) = Dir::open(home.root()) else {
        return Foreign::default();
    };
    let Ok(device) = rustix::fs::fstat(root.as_fd()).map(|stat| stat.st_dev) else {
        return Foreign::default();
    };
    let mut walk = Walk {
        uid,
        device,
        left: MAX_ENTRIES,
        found: Vec::new(),
    };
    walk.top(&root, home.root());
    if let Ok(Some(profiles)) = root.child(PROFILES) {
        let dir = home.profiles_dir();
        for name in profiles.names().unwrap_or_default() {
            if let Ok(Some(profile)) = profiles.child(&name) {
                walk.top(&profile, &dir.join(&name));
            }
        }
    }
    Foreign {
        is_all: walk.left > 0 && walk.found.len() < MAX_FOUND,
        paths: walk.found,
    }
}

/// Looks at what lies directly in a profile's directory and its `.herm`: little enough to be done
/// with each look at the profile.
pub fn foreign_in_profile(dir: &Path, uid: u32) -> Result<Vec<PathBuf>, HomeError> {
    let top = Dir::open(dir)?;
    let device = rustix::fs::fstat(top.as_fd()).map(|stat| stat.st_dev);
    let herm = top.child(HERM_DIR)?;
    let mut found = Vec::new();
    for (dir, at) in [(Some(top), dir.to_owned()), (herm, dir.join(HERM_DIR))] {
        let Some(dir) = dir else { continue };
        for name in dir.names()? {
            let Ok(stat) = rustix::fs::statat(dir.as_fd(), &name, AtFlags::SYMLINK_NOFOLLOW) else {
                continue;
            };
            let is_ours = device == Ok(stat.st_dev) && !is_users(&name);
            if is_ours && stat.st_uid != uid {
                found.push(at.join(name));
            }
        }
    }
    Ok(found)
}

fn is_users(name: &str) -> bool {
    USERS.contains(&name) || name == LOST_AND_FOUND
}

struct Walk {
    uid: u32,
    device: u64,
    left: usize,
    found: Vec<PathBuf>,
}

impl Walk {
    /// A profile's directory: its files, and of its directories those that are seeded.
    fn top(&mut self, dir: &Dir, at: &Path) {
        for name in dir.names().unwrap_or_default() {
            if name == LOST_AND_FOUND {
                continue;
            }
            let is_known = SEEDED_DIRS.contains(&name.as_str()) || name == HERM_DIR;
            let enter = is_known && !USERS.contains(&name.as_str());
            self.entry(dir, at, &name, if enter { MAX_DEPTH } else { 0 });
        }
    }

    fn entry(&mut self, dir: &Dir, at: &Path, name: &str, depth: usize) {
        if self.left == 0 || self.found.len() >= MAX_FOUND {
            return;
        }
        self.left -= 1;
        let Ok(stat) = rustix::fs::statat(dir.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW) else {
            return;
        };
        if stat.st_dev != self.device {
            // The user's own mount.
            return;
        }
        let path = at.join(name);
        if stat.st_uid != self.uid {
            self.found.push(path.clone());
        }
        if depth == 0 || FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            return;
        }
        if let Ok(Some(child)) = dir.child(name) {
            for name in child.names().unwrap_or_default() {
                self.entry(&child, &path, &name, depth - 1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Without being root no file of another user can be made; asking for another user's is the
    /// same question.
    #[test]
    fn l25_what_is_not_the_owners_is_found_deep_down_and_what_is_the_users_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path());
        for path in [
            "profiles/a/logs/deep/er",
            "profiles/a/.herm",
            "workspace/w",
            "backup/b",
            "cron",
        ] {
            fs::create_dir_all(dir.path().join(path)).unwrap();
        }
        for path in [
            "profiles/a/logs/deep/er/f",
            "profiles/a/.herm/desired.json",
            "workspace/w/f",
            "backup/b/f",
            "x",
        ] {
            fs::write(dir.path().join(path), "").unwrap();
        }
        let own = rustix::process::geteuid().as_raw();
        assert_eq!(
            foreign(&home, own),
            Foreign {
                paths: Vec::new(),
                is_all: true
            }
        );
        let found = foreign(&home, own + 1);
        let has = |path: &str| found.paths.contains(&dir.path().join(path));
        assert!(
            has("x") && has("profiles/a/logs/deep/er/f") && has("profiles/a/.herm/desired.json")
        );
        assert!(has("workspace") && !has("workspace/w") && !has("backup/b"));
        let here = foreign_in_profile(&dir.path().join("profiles/a"), own + 1).unwrap();
        assert!(here.contains(&dir.path().join("profiles/a/.herm/desired.json")));
        assert!(!here.contains(&dir.path().join("profiles/a/logs/deep")));
    }

    #[test]
    fn a_home_that_is_not_there_has_no_drift() {
        assert_eq!(
            foreign(&Home::new("/nonexistent/home"), 0),
            Foreign::default()
        );
    }
}
