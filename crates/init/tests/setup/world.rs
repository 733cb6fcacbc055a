//! A container's worth of files, and setup run in it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Everything about a file that setup may change.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    kind_and_mode: u32,
    owner: (u32, u32),
    content: Vec<u8>,
}

/// A home, an image's own files and an `/etc`.
pub(crate) struct World {
    root: tempfile::TempDir,
}

const SEEDED: [&str; 10] = [
    "cron",
    "sessions",
    "logs",
    "hooks",
    "memories",
    "skills",
    "skins",
    "plans",
    "workspace",
    "home",
];

impl World {
    /// A home of so many profiles, all of it root's, and an image that has templates.
    pub(crate) fn new(profiles: usize) -> Self {
        // Many worlds are made: none of them needs a disk.
        let memory = Path::new("/dev/shm");
        let root = if memory.is_dir() {
            tempfile::tempdir_in(memory)
        } else {
            tempfile::tempdir()
        };
        let world = Self {
            root: root.unwrap(),
        };
        for dir in ["image/docker", "image/.venv", "etc", "home/profiles"] {
            fs::create_dir_all(world.path(dir)).unwrap();
        }
        world.put("image/.env.example", "# keys\n");
        world.put("image/cli-config.yaml.example", "model: x\n");
        world.put("image/docker/SOUL.md", "soul\n");
        world.put("image/.install_method", "docker\n");
        world.put("home/.install_method", "docker\n");
        world.put(
            "etc/passwd",
            "root:x:0:0::/root:/bin/sh\nhermes:x:10000:10000::/:/bin/sh\n",
        );
        world.put("etc/group", "root:x:0:\nhermes:x:10000:\n");
        for number in 0..profiles {
            for dir in SEEDED {
                fs::create_dir_all(world.path(&format!("home/profiles/p{number}/{dir}"))).unwrap();
            }
            for file in ["SOUL.md", "config.yaml", ".env", "gateway_state.json"] {
                world.put(&format!("home/profiles/p{number}/{file}"), "x");
            }
        }
        world
    }

    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.root.path().join(relative)
    }

    fn put(&self, relative: &str, content: &str) {
        fs::write(self.path(relative), content).unwrap();
    }

    /// Runs setup behind `before`, in a mount namespace where `/etc` is this world's.
    pub(crate) fn setup(&self, before: &[&str]) -> Output {
        let script = "mount --bind \"$1\" /etc && shift && exec \"$@\"";
        let setup = self.path("herm-setup");
        if !setup.exists() {
            std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_herm-init"), &setup).unwrap();
        }
        Command::new("unshare")
            .args(["--mount", "sh", "-c", script, "sh"])
            .arg(self.path("etc"))
            .args(before)
            .arg(&setup)
            .args(["--", "sleep", "infinity"])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HERMES_HOME", self.path("home"))
            .env("HERM_INSTALL_DIR", self.path("image"))
            .env("HERMES_UID", "4711")
            .env("HERMES_GID", "4712")
            .env("HERMES_AUTH_JSON_BOOTSTRAP", "{}")
            .process_group(0)
            .output()
            .unwrap()
    }

    /// Home and `/etc` as they are now, by relative path.
    pub(crate) fn look(&self) -> BTreeMap<PathBuf, Seen> {
        let mut seen = BTreeMap::new();
        for dir in ["home", "etc"] {
            self.look_into(&self.path(dir), &mut seen);
        }
        seen
    }

    fn look_into(&self, path: &Path, seen: &mut BTreeMap<PathBuf, Seen>) {
        let found = fs::symlink_metadata(path).unwrap();
        let is_dir = found.is_dir();
        seen.insert(
            path.strip_prefix(self.root.path()).unwrap().to_owned(),
            Seen {
                kind_and_mode: found.permissions().mode(),
                owner: (found.uid(), found.gid()),
                content: if is_dir {
                    Vec::new()
                } else {
                    fs::read(path).unwrap()
                },
            },
        );
        if is_dir {
            for entry in fs::read_dir(path).unwrap() {
                self.look_into(&entry.unwrap().path(), seen);
            }
        }
    }

    /// Gives all of the home to root again.
    pub(crate) fn give_to_root(&self) {
        for path in self.look().into_keys() {
            chown(self.root.path().join(path), Some(0), Some(0)).unwrap();
        }
    }
}

pub(crate) fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("skipped: only root sets a home up for another user");
    }
    root
}

/// The system calls of a trace that `strace -f -o` wrote, in order, without those by which a debug
/// build makes sure that what it closes is open.
pub(crate) fn calls(trace: &str) -> Vec<&str> {
    trace
        .lines()
        .filter_map(|line| {
            let (_, call) = line.split_once(' ')?;
            if call.contains("F_GETFD") {
                return None;
            }
            let name = call.trim_start().split('(').next()?;
            let is_name = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            (is_name && !name.is_empty()).then_some(name)
        })
        .collect()
}
