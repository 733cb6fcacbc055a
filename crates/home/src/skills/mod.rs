//! The skills that come with the agent, brought into a home by the agent's own manifest.
//!
//! `skills/.bundled_manifest` has a line `name:md5` for each skill that was ever offered: the MD5 of
//! what was copied. So what the user changed or removed is known and respected. The rules are those of
//! the agent's `tools/skills_sync.py` (hermes-agent 0.19.0), because the agent syncs by the same file
//! at its own start; two differ, so that an interrupted sync can be repeated: a copy is complete
//! before it has its name, and a skill that already is as the image has it counts as updated.
//!
//! This runs as the home's user and gives no file away, so it needs none of root's caution.

mod bundle;
mod hash;
mod manifest;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::error::HomeError;
use crate::files::Dir;
use crate::layout::CONFIG;
use crate::staging::remove_tree;
use crate::tree;
use bundle::{Description, Skill, discover};
use hash::hash;
use manifest::Manifest;

/// In a home: none of the bundled skills is wanted.
const OPT_OUT: &str = ".no-bundled-skills";
/// Where a home's skills are.
const SKILLS: &str = "skills";
/// In a home's skills: those that the agent's curator has put away.
const SUPPRESSED: &str = ".curator_suppressed";
/// Largest list or description that is read, in bytes.
const TEXT_BYTES_MAX: u64 = 1 << 20;

/// What a sync did, by the skills' names.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Synced {
    /// New ones.
    pub copied: Vec<String>,
    /// Unmodified ones, of which the image has another version.
    pub updated: Vec<String>,
    /// Modified ones, of which the image has another version: left as they are.
    pub kept: Vec<String>,
    /// Ones that the image has no more: forgotten, not removed.
    pub dropped: Vec<String>,
    /// What could not be brought over, and why.
    pub failed: Vec<(String, String)>,
    /// Why nothing was looked at.
    pub skipped: Option<&'static str>,
}

/// Brings the skills of `bundle` into the home at `home`. In a dry run it only says what it would do.
///
/// # Errors
/// Where the home or the manifest can't be read or written; one skill's failure is its own.
pub fn sync(home: &Path, bundle: &Path, dry_run: bool) -> Result<Synced, HomeError> {
    let home = Dir::open(home)?;
    if let Some(why) = opted_out(&home)? {
        return Ok(Synced {
            skipped: Some(why),
            ..Synced::default()
        });
    }
    let bundle = Dir::open(bundle)?;
    let found = discover(&bundle)?;
    if dry_run && !home.exists(SKILLS) {
        let names = found.skills.into_iter().map(|skill| skill.name);
        return Ok(Synced {
            copied: names.collect(),
            ..Synced::default()
        });
    }
    let skills = home.ensure_child(SKILLS, 0o755)?;
    let mut sync = Sync {
        manifest: Manifest::read(&skills)?,
        suppressed: lines(&skills, SUPPRESSED)?,
        root: skills.path_of(""),
        skills,
        dry_run,
        synced: Synced::default(),
    };
    for skill in &found.skills {
        if let Err(error) = sync.one(skill) {
            let failure = (skill.name.clone(), error.to_string());
            sync.synced.failed.push(failure);
        }
    }
    let is_bundled = |name: &str| found.skills.iter().any(|skill| skill.name == name);
    sync.synced.dropped = sync.manifest.drop_unless(is_bundled);
    for description in &found.descriptions {
        sync.describe(description)?;
    }
    if !dry_run {
        sync.manifest.write(&sync.skills)?;
    }
    Ok(sync.synced)
}

/// Why the bundled skills are not for this home.
fn opted_out(home: &Dir) -> Result<Option<&'static str>, HomeError> {
    if home.exists(OPT_OUT) {
        return Ok(Some("the home has a .no-bundled-skills"));
    }
    let config = home.read_input(CONFIG, crate::config::MAX_BYTES)?;
    let config = config.and_then(|content| Config::parse(&content.bytes).ok());
    let names_others = config.is_some_and(|config| {
        config
            .at(&["skills", "external_dirs"])
            .is_some_and(|dirs| dirs.as_array().is_none_or(|dirs| !dirs.is_empty()))
    });
    // What is in those comes first, and only the agent knows what that is.
    Ok(names_others.then_some("config.yaml has skills.external_dirs, which the agent sees to"))
}

struct Sync {
    skills: Dir,
    root: PathBuf,
    manifest: Manifest,
    suppressed: Vec<String>,
    dry_run: bool,
    synced: Synced,
}

impl Sync {
    fn one(&mut self, skill: &Skill) -> Result<(), HomeError> {
        let name = skill.name.as_str();
        if self.suppressed.iter().any(|suppressed| suppressed == name) {
            return Ok(());
        }
        let bundled = hash(&skill.dir)?;
        let origin = self.manifest.get(name).map(str::to_owned);
        if origin.as_deref() == Some(&bundled) {
            // Offered before, and not changed since: whatever the user did with it stands.
            return Ok(());
        }
        let at = Place::of(&self.root, &skill.path);
        if !self.dry_run {
            at.tidy_up()?;
        }
        match (at.current()?, origin) {
            (None, None) => {
                self.bring(skill, &at, false)?;
                self.synced.copied.push(name.to_owned());
            }
            (Some(current), _) if current == bundled => {}
            // The user has removed it, or has one of their own by the name.
            (None, Some(_)) | (Some(_), None) => return Ok(()),
            // As the first version of the manifest had it.
            (Some(current), Some(origin)) if origin.is_empty() => {
                self.manifest.set(name, &current);
                return Ok(());
            }
            (Some(current), Some(origin)) if current == origin => {
                self.bring(skill, &at, true)?;
                self.synced.updated.push(name.to_owned());
            }
            (Some(_), Some(_)) => {
                self.synced.kept.push(name.to_owned());
                return Ok(());
            }
        }
        self.manifest.set(name, &bundled);
        Ok(())
    }

    /// Copies a skill to its place, whole or not at all.
    fn bring(&self, skill: &Skill, at: &Place, replace: bool) -> Result<(), HomeError> {
        if self.dry_run {
            return Ok(());
        }
        let failed = |error: io::Error| HomeError::io("bring", &at.dest, error);
        let parent = self.skills.descend(&at.parent)?;
        if replace && at.backup.is_dir() {
            // What is in use is the copy that counts; the agent clears it, too.
            remove_tree(&parent, &at.backup_name)?;
        }
        let copy = parent.create_child(&at.new_name, 0o755)?;
        let copied = tree::copy(&skill.dir, &copy, &|_, _| true);
        let placed = copied.and_then(|()| {
            copy.sync_all()?;
            if replace {
                fs::rename(&at.dest, &at.backup).map_err(failed)?;
            }
            fs::rename(&at.new, &at.dest).map_err(failed)
        });
        if let Err(error) = placed {
            // What matters is the failure above.
            if replace && !at.dest.exists() {
                let _ = fs::rename(&at.backup, &at.dest);
            }
            let _ = remove_tree(&parent, &at.new_name);
            return Err(error);
        }
        if replace {
            remove_tree(&parent, &at.backup_name)?;
        }
        parent.sync().map_err(failed)
    }

    /// Copies what describes a category of skills, where it isn't there.
    fn describe(&self, description: &Description) -> Result<(), HomeError> {
        let at = self.root.join(&description.path);
        if self.dry_run || at.symlink_metadata().is_ok() {
            return Ok(());
        }
        let Some(content) = description
            .dir
            .read_input(&description.name, TEXT_BYTES_MAX)?
        else {
            return Ok(());
        };
        let (parent, name) = self.skills.descend_to_parent(&description.path)?;
        parent.write_atomic(name, &content.bytes, 0o644)
    }
}

/// Where a skill belongs, and what is beside it while it is replaced.
struct Place {
    parent: String,
    dest: PathBuf,
    backup: PathBuf,
    backup_name: String,
    new: PathBuf,
    new_name: String,
}

impl Place {
    fn of(root: &Path, path: &str) -> Self {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let dest = root.join(path);
        // As the agent names it.
        let backup = dest.with_extension("bak");
        let backup_name = backup.file_name().unwrap_or_default();
        let new_name = format!(".{name}.herm-new");
        Self {
            parent: parent.to_owned(),
            backup_name: backup_name.to_string_lossy().into_owned(),
            new: dest.with_file_name(&new_name),
            backup,
            dest,
            new_name,
        }
    }

    /// Undoes what an interrupted sync left: half a copy, or the user's only copy as a backup.
    fn tidy_up(&self) -> Result<(), HomeError> {
        let failed = |error| HomeError::io("restore", &self.dest, error);
        if !self.dest.exists() && self.backup.join(bundle::MARKER).exists() {
            fs::rename(&self.backup, &self.dest).map_err(failed)?;
        }
        if self.new.exists() {
            fs::remove_dir_all(&self.new).map_err(failed)?;
        }
        Ok(())
    }

    /// The hash of what is there.
    fn current(&self) -> Result<Option<String>, HomeError> {
        match fs::metadata(&self.dest) {
            Ok(found) if found.is_dir() => hash(&Dir::open(&self.dest)?).map(Some),
            Ok(_) => Ok(Some(String::new())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(HomeError::io("look at", &self.dest, error)),
        }
    }
}

/// The lines of a list that are no comments.
fn lines(dir: &Dir, name: &str) -> Result<Vec<String>, HomeError> {
    let content = dir.read_input(name, TEXT_BYTES_MAX)?;
    let bytes = content.map(|content| content.bytes).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines = text.lines().map(str::trim);
    Ok(lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect())
}

#[cfg(test)]
mod tests;
