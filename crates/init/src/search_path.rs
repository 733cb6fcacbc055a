//! `PATH` for root's own processes.
//!
//! An image for agents has directories of theirs on `PATH`, so that they find what they install.
//! Whoever can write to one of those chooses what a hook of root's runs as `chown`.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::environment::DEFAULT_PATH;

/// `path` without the directories that anyone but `owner` (root) can change.
pub(crate) fn trusted(path: &str, owner: u32) -> String {
    let kept: Vec<&str> = path
        .split(':')
        .filter(|dir| is_only_of(Path::new(dir), owner))
        .collect();
    if kept.is_empty() {
        DEFAULT_PATH.to_owned()
    } else {
        kept.join(":")
    }
}

/// `path` with the directories first that nobody but `owner` (root) can change: what is in them can't
/// be replaced by what is in the others.
pub(crate) fn trusted_first(path: &str, owner: u32) -> String {
    let (mut first, mut others): (Vec<&str>, Vec<&str>) = path
        .split(':')
        .partition(|dir| is_only_of(Path::new(dir), owner));
    first.append(&mut others);
    first.join(":")
}

/// Whether nobody but `owner` can put anything there, or something else in its place: neither by
/// the name it is called by nor where that leads. What isn't there is judged by what is above it.
fn is_only_of(dir: &Path, owner: u32) -> bool {
    let Some(real) = dir.ancestors().find_map(|part| part.canonicalize().ok()) else {
        return false;
    };
    let is_owners = |part: &Path| match fs::symlink_metadata(part) {
        Ok(found) => found.uid() == owner && (found.is_symlink() || found.mode() & 0o022 == 0),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    };
    dir.is_absolute() && dir.ancestors().all(is_owners) && real.ancestors().all(is_owners)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

    #[test]
    fn an_agents_directories_are_not_roots() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: only root has anything to lose");
            return;
        }
        let world = tempfile::Builder::new().tempdir_in("/").unwrap();
        fs::set_permissions(world.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let at = |name: &str| world.path().join(name).display().to_string();
        for name in ["ours", "open", "theirs"] {
            fs::create_dir(at(name)).unwrap();
        }
        fs::set_permissions(at("open"), fs::Permissions::from_mode(0o777)).unwrap();
        symlink(at("ours"), at("theirs/link")).unwrap();
        symlink(at("theirs"), at("ours/link")).unwrap();
        chown(at("theirs"), Some(10_000), Some(10_000)).unwrap();
        let path = [
            at("theirs/missing/bin"),
            at("theirs/link"),
            at("ours/link"),
            at("open"),
            "bin".to_owned(),
            String::new(),
            at("ours"),
            at("missing"),
        ];
        let kept = [at("ours"), at("missing")].join(":");
        assert_eq!(trusted(&path.join(":"), 0), kept);
        assert_eq!(trusted(&at("open"), 0), DEFAULT_PATH);
        let mixed = [at("theirs"), at("ours"), at("open"), at("missing")].join(":");
        let first = [at("ours"), at("missing"), at("theirs"), at("open")].join(":");
        assert_eq!(trusted_first(&mixed, 0), first);
    }
}
