//! Where things are: the home, and the control socket of the supervisor that serves it
//! (contract section 1).

use std::env;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::failure::{Failure, Outcome};

/// Home of an image.
pub(crate) const IMAGE_HOME: &str = "/opt/data";
/// Runtime directory in a container.
pub(crate) const CONTAINER_RUN_DIR: &str = "/run/herm";
/// Runtime directory in a container with a read-only root. Anyone may make it, so it counts only if
/// it is root's.
const READ_ONLY_RUN_DIR: &str = "/dev/shm/herm";
/// Where a supervisor that is not root's listens if it can write neither `/run` nor the home: in
/// `herm-<its uid>`. Anyone may make that, so it counts only if it is that user's.
const LAST_RESORTS: [&str; 2] = ["/dev/shm", "/tmp"];
/// The socket's name in a runtime directory.
pub(crate) const SOCKET_NAME: &str = "control.sock";
/// Names the runtime directory of a supervisor started by `herm up`.
pub(crate) const RUN_DIR_VARIABLE: &str = "HERM_RUN_DIR";
/// Bytes of a Unix socket's path, with the zero at its end (`unix(7)`, `sun_path`).
const SOCKET_PATH_BYTES: usize = 108;

/// What the lookups depend on, so that they can be tested without an environment.
#[derive(Debug, Default, Clone)]
pub(crate) struct Surroundings {
    /// `--home`.
    pub(crate) home_option: Option<PathBuf>,
    /// `HERMES_HOME`.
    pub(crate) hermes_home: Option<PathBuf>,
    /// `HERM_RUN_DIR`.
    pub(crate) run_dir: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`.
    pub(crate) xdg_runtime_dir: Option<PathBuf>,
    /// `XDG_DATA_HOME`.
    pub(crate) xdg_data_home: Option<PathBuf>,
    /// `HOME`.
    pub(crate) user_home: Option<PathBuf>,
    /// Whether [`IMAGE_HOME`] is there.
    pub(crate) in_image: bool,
}

impl Surroundings {
    /// This process's, with the home named on the command line.
    pub(crate) fn current(home_option: Option<PathBuf>) -> Self {
        Self {
            home_option,
            hermes_home: path_variable("HERMES_HOME"),
            run_dir: path_variable(RUN_DIR_VARIABLE),
            xdg_runtime_dir: path_variable("XDG_RUNTIME_DIR"),
            xdg_data_home: path_variable("XDG_DATA_HOME"),
            user_home: path_variable("HOME"),
            in_image: Path::new(IMAGE_HOME).is_dir(),
        }
    }

    /// The home, absolute, whether it exists or not. A profile's directory stands for the home it
    /// is in, because the agent sets `HERMES_HOME` to it.
    pub(crate) fn home(&self) -> Outcome<PathBuf> {
        let named = self.home_option.as_ref().or(self.hermes_home.as_ref());
        let home = match named {
            Some(path) => path.clone(),
            None if self.in_image => PathBuf::from(IMAGE_HOME),
            None => self.data_home()?.join("herm"),
        };
        let home = std::path::absolute(&home)
            .map_err(|error| Failure::file("make absolute the path", &home, &error))?;
        Ok(root_of(&home).unwrap_or(home))
    }

    fn data_home(&self) -> Outcome<PathBuf> {
        let own = self
            .user_home
            .as_ref()
            .map(|home| home.join(".local/share"));
        self.xdg_data_home.clone().or(own).ok_or_else(|| {
            Failure::usage("no home is named and HOME is not set")
                .hint("name the home: --home DIR, or set HERMES_HOME")
        })
    }

    /// Runtime directories in which a supervisor of `home` may listen, the likeliest first.
    pub(crate) fn run_dirs(&self, home: &Path) -> Vec<PathBuf> {
        if let Some(dir) = &self.run_dir {
            return vec![dir.clone()];
        }
        let mut dirs = vec![
            PathBuf::from(CONTAINER_RUN_DIR),
            PathBuf::from(READ_ONLY_RUN_DIR),
        ];
        dirs.extend(self.own_run_dirs(home));
        let uid = rustix::process::geteuid().as_raw();
        dirs.extend(LAST_RESORTS.map(|dir| PathBuf::from(format!("{dir}/herm-{uid}"))));
        dirs
    }

    /// The runtime directory for a supervisor of `home` that isn't a container's: the first whose
    /// socket path the kernel accepts.
    pub(crate) fn own_run_dir(&self, home: &Path) -> Outcome<PathBuf> {
        let fits = |dir: &PathBuf| socket_in(dir).as_os_str().len() < SOCKET_PATH_BYTES;
        self.own_run_dirs(home)
            .into_iter()
            .find(fits)
            .ok_or_else(|| {
                Failure::failed(format!(
                    "no path for the control socket of {} is short enough (107 bytes)",
                    home.display()
                ))
                .hint("set XDG_RUNTIME_DIR to a directory with a short path, or move the home")
            })
    }

    fn own_run_dirs(&self, home: &Path) -> Vec<PathBuf> {
        if let Some(dir) = &self.run_dir {
            return vec![dir.clone()];
        }
        let session = self.xdg_runtime_dir.as_ref().filter(|dir| dir.is_dir());
        let mut dirs: Vec<PathBuf> = session
            .map(|dir| dir.join("herm").join(home_hash(home)))
            .into_iter()
            .collect();
        dirs.push(home.join(".herm/run"));
        dirs
    }
}

/// Whether a runtime directory is in one that anyone can write, and so may be anyone's.
pub(crate) fn is_in_a_public_place(run_dir: &Path) -> bool {
    let parent = run_dir.parent();
    LAST_RESORTS
        .iter()
        .any(|dir| parent == Some(Path::new(dir)))
}

/// The control socket in a runtime directory.
pub(crate) fn socket_in(run_dir: &Path) -> PathBuf {
    run_dir.join(SOCKET_NAME)
}

fn path_variable(name: &str) -> Option<PathBuf> {
    env::var_os(name)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}

/// The home around `<home>/profiles/<name>`.
fn root_of(path: &Path) -> Option<PathBuf> {
    let parent = path.parent()?;
    (parent.file_name()? == "profiles").then(|| parent.parent().map(Path::to_path_buf))?
}

/// Names a home in a few characters: 64 bits of the SHA-256 of its canonical path.
fn home_hash(home: &Path) -> String {
    let canonical = home.canonicalize().unwrap_or_else(|_| home.to_path_buf());
    let digest = Sha256::digest(canonical.as_os_str().as_encoded_bytes());
    digest.iter().take(8).fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn surroundings() -> Surroundings {
        Surroundings {
            user_home: Some("/home/ann".into()),
            ..Surroundings::default()
        }
    }

    #[test]
    fn the_home_is_the_option_then_the_variable_then_the_image_then_the_users_own() {
        let mut at = surroundings();
        assert_eq!(at.home().unwrap(), Path::new("/home/ann/.local/share/herm"));
        at.in_image = true;
        assert_eq!(at.home().unwrap(), Path::new("/opt/data"));
        at.hermes_home = Some("/data/hermes".into());
        assert_eq!(at.home().unwrap(), Path::new("/data/hermes"));
        at.home_option = Some("/srv/h".into());
        assert_eq!(at.home().unwrap(), Path::new("/srv/h"));
    }

    #[test]
    fn a_profiles_directory_stands_for_its_home() {
        let mut at = surroundings();
        at.hermes_home = Some("/opt/data/profiles/writer".into());
        assert_eq!(at.home().unwrap(), Path::new("/opt/data"));
    }

    #[test]
    fn the_socket_is_looked_for_in_run_then_in_the_session_then_in_the_home() {
        let session = tempfile::tempdir().unwrap();
        let mut at = surroundings();
        at.xdg_runtime_dir = Some(session.path().to_path_buf());
        let dirs = at.run_dirs(Path::new("/srv/h"));
        assert_eq!(dirs[0], Path::new("/run/herm"));
        assert_eq!(dirs[1], Path::new("/dev/shm/herm"));
        assert!(dirs[2].starts_with(session.path().join("herm")), "{dirs:?}");
        assert_eq!(dirs[3], Path::new("/srv/h/.herm/run"));
        let public = dirs.iter().filter(|dir| is_in_a_public_place(dir));
        assert_eq!(public.count(), 3, "{dirs:?}");
        at.run_dir = Some("/x".into());
        assert_eq!(at.run_dirs(Path::new("/srv/h")), [PathBuf::from("/x")]);
    }

    #[test]
    fn a_home_with_a_long_path_has_its_socket_in_the_session_or_none() {
        let session = tempfile::tempdir().unwrap();
        let long = PathBuf::from(format!("/srv/{}", "x".repeat(120)));
        let mut at = surroundings();
        assert!(at.own_run_dir(&long).is_err());
        at.xdg_runtime_dir = Some(session.path().to_path_buf());
        let dir = at.own_run_dir(&long).unwrap();
        assert!(socket_in(&dir).as_os_str().len() < SOCKET_PATH_BYTES);
    }
}
