//! An image's files in a directory, and containers in it that are made by `unshare` alone: an engine
//! would add a hundred times what is measured.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};

use crate::Bench;
use crate::docker::{docker, label};
use crate::scratch::Scratch;

pub(crate) struct ImageRoot {
    scratch: Scratch,
}

impl ImageRoot {
    /// The image's files, with the init under test, the peers and this program beside them.
    pub(crate) fn new(bench: &Bench) -> Result<Self> {
        let scratch = Scratch::new()?;
        let root = scratch.dir("root")?;
        let id = docker(&["create", &label(), &bench.image])?;
        let exported = Command::new("sh")
            .arg("-c")
            .arg("docker export \"$1\" | tar --extract --directory \"$2\"")
            .args(["sh", id.trim()])
            .arg(&root)
            .status();
        docker(&["rm", "--volumes", id.trim()])?;
        ensure!(
            exported?.success(),
            "could not export the image {}",
            bench.image
        );
        std::fs::copy(&bench.init, root.join("init"))?;
        std::fs::copy(std::env::current_exe()?, root.join("stamp"))?;
        for peer in ["tini-static", "dumb-init"] {
            std::fs::copy(Path::new("/usr/bin").join(peer), root.join(peer))?;
        }
        // Whoever runs the main program can write here.
        let shared = scratch.dir("root/shared")?;
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        std::fs::set_permissions(shared, open)?;
        Ok(Self { scratch })
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.scratch.path().join("root")
    }

    /// A container of these files. Its command and variables are the caller's to add; there are none but `PATH`.
    pub(crate) fn container(&self) -> Command {
        let mut command = Command::new("unshare");
        command
            .args([
                "--pid",
                "--fork",
                "--kill-child",
                "--mount",
                "--uts",
                "--ipc",
            ])
            .arg("--root")
            .arg(self.path())
            .arg("--mount-proc")
            .env_clear()
            .env(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            );
        command
    }
}
