//! Which profiles a home has.
//!
//! One odd directory never ends the pass (contract section 2): it is skipped, and said so.

use std::io;

use herm_wire::nearest;
use rustix::fs::FileType;

use crate::error::HomeError;
use crate::files::Dir;
use crate::layout::{HERM_DIR, Home, PROFILES, SOUL, TOMBSTONE};
use crate::name::ProfileName;
use crate::profile::{Renaming, renaming_of};

/// What a look at the home found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovery {
    /// The profiles: `default` first, then by name. `default` is always there (L55).
    pub profiles: Vec<ProfileName>,
    /// Profiles whose deletion began and was not finished.
    pub deleting: Vec<ProfileName>,
    /// Profiles that a process is renaming now: none for as long as it lives.
    pub renaming: Vec<ProfileName>,
    /// Of the profiles those whose renaming was interrupted.
    pub half_renamed: Vec<ProfileName>,
    /// Directories that could be profiles but lack their SOUL.md, yet or for good.
    pub unmarked: Vec<ProfileName>,
    /// Entries that look like profiles and can't be used.
    pub skipped: Vec<Skipped>,
}

/// A directory that is passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Its name, with everything unprintable escaped.
    pub name: String,
    /// Why, and what to do about it.
    pub why: String,
}

impl Discovery {
    /// The profile of this name, or an error that lists those that exist and names the nearest.
    pub fn find(&self, name: &ProfileName) -> Result<&ProfileName, HomeError> {
        self.profiles
            .iter()
            .find(|known| *known == name)
            .ok_or_else(|| {
                let known: Vec<String> = self.profiles.iter().map(ToString::to_string).collect();
                let nearest =
                    nearest(name.as_str(), known.iter().map(String::as_str)).map(str::to_owned);
                HomeError::NoSuchProfile {
                    name: name.to_string(),
                    nearest,
                    known,
                }
            })
    }
}

/// Looks through the home. Fails only if the home itself can't be opened.
pub fn discover(home: &Home) -> Result<Discovery, HomeError> {
    let root = Dir::open(home.root())?;
    let mut found = Discovery {
        profiles: vec![ProfileName::default_profile()],
        deleting: Vec::new(),
        renaming: Vec::new(),
        half_renamed: Vec::new(),
        unmarked: Vec::new(),
        skipped: Vec::new(),
    };
    let profiles = match root.child(PROFILES) {
        Ok(Some(dir)) => dir,
        Ok(None) => return Ok(found),
        Err(e) => {
            found.skip(PROFILES, e.to_string());
            return Ok(found);
        }
    };
    match profiles.entries() {
        Ok(entries) => entries
            .iter()
            .for_each(|(entry, kind)| found.look_at(&profiles, entry, *kind)),
        Err(e) => found.skip(PROFILES, e.to_string()),
    }
    Ok(found)
}

impl Discovery {
    fn look_at(&mut self, profiles: &Dir, entry: &str, kind: FileType) {
        // Dot-names are herm's own work in progress (creation, import, deletion).
        if entry.starts_with('.') {
            return;
        }
        let kind = match kind {
            FileType::Unknown => profiles.kind(entry),
            known => Some(known),
        };
        match kind {
            Some(FileType::Directory) => {}
            Some(FileType::Symlink) => {
                return self.skip(
                    entry,
                    "it is a symlink: mount or move the directory there instead",
                );
            }
            _ => return,
        }
        let name = match ProfileName::parse(entry) {
            Ok(name) if name.is_default() => {
                return self.skip(entry, "'default' is the root profile: rename the directory");
            }
            Ok(name) => name,
            Err(e) => return self.skip(entry, format!("{e}; rename the directory")),
        };
        match marks(profiles, entry) {
            Ok(Marks { deleting: true, .. }) => self.deleting.push(name),
            Ok(Marks {
                renaming: Some(renaming),
                ..
            }) if renaming.is_under_way() => {
                self.renaming.push(name);
            }
            Ok(Marks {
                soul: true,
                renaming,
                ..
            }) => {
                self.half_renamed.extend(renaming.map(|_| name.clone()));
                self.profiles.push(name);
            }
            // It may be a backup, a stray mkdir, or a profile in the making.
            Ok(Marks { soul: false, .. }) => self.unmarked.push(name),
            Err(e) => self.skip(entry, e.to_string()),
        }
    }

    fn skip(&mut self, name: &str, why: impl Into<String>) {
        self.skipped.push(Skipped {
            name: name.escape_default().to_string(),
            why: why.into(),
        });
    }
}

/// What a directory says of itself.
struct Marks {
    /// It has its SOUL.md.
    soul: bool,
    /// Its deletion has begun.
    deleting: bool,
    /// Its renaming has begun.
    renaming: Option<Renaming>,
}

fn marks(profiles: &Dir, entry: &str) -> Result<Marks, HomeError> {
    let Some(dir) = profiles.child(entry)? else {
        return Err(HomeError::io(
            "open",
            profiles.path_of(entry),
            io::Error::from(io::ErrorKind::NotFound),
        ));
    };
    let herm = dir.child(HERM_DIR).ok().flatten();
    Ok(Marks {
        soul: dir.exists(SOUL),
        deleting: herm.as_ref().is_some_and(|herm| herm.exists(TOMBSTONE)),
        renaming: herm.as_ref().and_then(renaming_of),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn home() -> (tempfile::TempDir, Home) {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path());
        (dir, home)
    }

    fn profile(home: &Home, name: &str) {
        let dir = home.profiles_dir().join(name);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join(SOUL), "hello").unwrap();
    }

    fn names(found: &Discovery) -> Vec<&str> {
        found.profiles.iter().map(ProfileName::as_str).collect()
    }

    #[test]
    fn l55_default_is_always_there_and_comes_first() {
        let (_dir, home) = home();
        assert_eq!(names(&discover(&home).unwrap()), ["default"]);
        profile(&home, "b");
        profile(&home, "a");
        assert_eq!(names(&discover(&home).unwrap()), ["default", "a", "b"]);
    }

    #[test]
    fn l04_a_directory_becomes_a_profile_when_its_soul_appears() {
        let (_dir, home) = home();
        fs::create_dir_all(home.profiles_dir().join("backup")).unwrap();
        let found = discover(&home).unwrap();
        assert_eq!((names(&found), found.skipped.len()), (vec!["default"], 0));
        profile(&home, "backup");
        assert_eq!(names(&discover(&home).unwrap()), ["default", "backup"]);
    }

    #[test]
    fn odd_entries_are_skipped_with_a_reason_and_end_nothing() {
        let (_dir, home) = home();
        profile(&home, "good");
        for odd in [
            "default",
            "UPPER",
            "-rf",
            "a b",
            "new\nline",
            ".herm-work-1-1",
        ] {
            profile(&home, odd);
        }
        symlink("good", home.profiles_dir().join("link")).unwrap();
        fs::write(home.profiles_dir().join("file"), "").unwrap();
        let found = discover(&home).unwrap();
        assert_eq!(names(&found), ["default", "good"]);
        let skipped: Vec<&str> = found
            .skipped
            .iter()
            .map(|skipped| skipped.name.as_str())
            .collect();
        assert_eq!(
            skipped,
            ["-rf", "UPPER", "a b", "default", "link", "new\\nline"]
        );
    }

    #[test]
    fn profiles_that_is_no_directory_leaves_the_root_profile() {
        let (_dir, home) = home();
        fs::write(home.profiles_dir(), "").unwrap();
        let found = discover(&home).unwrap();
        assert_eq!((names(&found), found.skipped.len()), (vec!["default"], 1));
    }

    #[test]
    fn a_profile_with_a_tombstone_is_none() {
        let (_dir, home) = home();
        profile(&home, "gone");
        let herm = home.profiles_dir().join("gone").join(HERM_DIR);
        fs::create_dir_all(&herm).unwrap();
        fs::write(herm.join(TOMBSTONE), "").unwrap();
        let found = discover(&home).unwrap();
        assert_eq!(names(&found), ["default"]);
        assert_eq!(found.deleting, [ProfileName::parse("gone").unwrap()]);
    }

    #[test]
    fn an_unknown_profile_is_answered_with_the_names_that_exist_and_the_nearest() {
        let (_dir, home) = home();
        profile(&home, "writer");
        let asked = ProfileName::parse("wirter").unwrap();
        let error = discover(&home).unwrap().find(&asked).unwrap_err();
        assert_eq!(error.exit_code(), 4);
        assert_eq!(
            error.to_string(),
            "there is no profile 'wirter' (did you mean 'writer'?); profiles here: default, writer"
        );
    }
}
