//! A directory of the engine's machine.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

/// A directory to be mounted into containers, removed when dropped.
#[derive(Debug)]
pub struct HostDir(tempfile::TempDir);

impl HostDir {
    /// Makes an empty directory that anybody may read.
    #[expect(
        clippy::new_without_default,
        reason = "it makes something outside the program"
    )]
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("its mode");
        Self(dir)
    }

    /// Where something in it is on this machine.
    pub fn path(&self, relative: &str) -> PathBuf {
        self.0.path().join(relative)
    }

    /// Writes a file, and the directories on its way.
    pub fn put(&self, relative: &str, content: &str, mode: u32) -> &Self {
        let path = self.path(relative);
        let parent = path.parent().expect("a parent");
        fs::create_dir_all(parent).expect("its directories");
        fs::write(&path, content).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("its mode");
        self
    }

    /// Writes a shell script that can be executed.
    pub fn put_script(&self, relative: &str, script: &str) -> &Self {
        self.put(relative, &format!("#!/bin/sh\n{script}\n"), 0o755)
    }

    /// The flag of `docker run` that mounts it.
    pub fn at(&self, target: &str) -> String {
        format!("--volume={}:{target}", self.0.path().display())
    }
}
