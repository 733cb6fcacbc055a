//! The agent as the image has it: `HERM_INSTALL_DIR`, root's, and what in the home depends on it.

use std::io;
use std::path::{Path, PathBuf};

use herm_sys::fs_at::{Dir, Owner};

use super::ownership;
use super::report::Reporter;
use crate::environment::Environment;

/// Where the image has the agent, where `HERM_INSTALL_DIR` names no other place.
const DEFAULT_DIR: &str = "/opt/hermes";
/// The agent's Python.
const VENV: &str = ".venv";
/// Who installed an agent: `docker` in an image.
const STAMP: &str = ".install_method";
const STAMP_BYTES_MAX: u64 = 256;
const IN_DOCKER: &[u8] = b"docker";
/// Where the agent installs what it finds out late that it needs.
const LAZY_TARGET: &str = "HERMES_LAZY_INSTALL_TARGET";
/// The same, in the home.
const LAZY_DIR: &str = "lazy-packages";
/// Skills that come with the agent.
const SKILLS: &str = "skills";

/// `HERM_INSTALL_DIR`. What is there is the image's, but what is in it may be anybody's to write: it
/// is read as the home is.
#[derive(Debug)]
pub(super) struct Installed {
    path: PathBuf,
    dir: Option<Dir>,
}

impl Installed {
    /// Opens the directory; an image may have none.
    pub(super) fn open(environment: &Environment, reporter: &mut Reporter) -> Self {
        let named = environment.get_nonempty("HERM_INSTALL_DIR");
        let path = PathBuf::from(named.unwrap_or(DEFAULT_DIR));
        let dir = match Dir::open_configured(&path, None) {
            Ok((dir, _)) => Some(dir),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                reporter.warn(&format!(
                    "nothing is taken from {}: {error}",
                    path.display()
                ));
                None
            }
        };
        Self { path, dir }
    }

    /// A file of the image's; `None` where it has none.
    pub(super) fn read(&self, relative: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
        self.dir
            .as_ref()
            .map_or(Ok(None), |dir| dir.read_if_present(relative, limit))
    }

    /// Whether skills come with the agent.
    pub(super) fn has_skills(&self) -> bool {
        let found = self.dir.as_ref().map(|dir| dir.has(SKILLS));
        matches!(found, Some(Ok(true)))
    }

    /// Removes a stamp `docker` from the home where the image has its own: the home may be shared
    /// with an agent on the host, which would believe it.
    pub(super) fn heal_stamp(&self, home: &Dir, reporter: &mut Reporter) -> io::Result<()> {
        let is_docker = |stamp: Option<Vec<u8>>| {
            stamp.is_some_and(|stamp| stamp.trim_ascii().eq_ignore_ascii_case(IN_DOCKER))
        };
        if !is_docker(home.read_if_present(STAMP, STAMP_BYTES_MAX)?)
            || !is_docker(self.read(STAMP, STAMP_BYTES_MAX)?)
        {
            return Ok(());
        }
        reporter.did(&format!(
            "remove {STAMP} from the home: the image says itself that it is Docker's"
        ));
        if reporter.is_dry_run() {
            return Ok(());
        }
        home.remove(STAMP)
    }

    /// Where lazy installs go. Where they are asked to go into the agent's own Python, that is given
    /// to the service user, who may have been remapped; else, and where it isn't that user's
    /// already, a directory in the home is named for them.
    pub(super) fn lazy_target(
        &self,
        home: &Path,
        owner: Owner,
        environment: &Environment,
        reporter: &mut Reporter,
    ) -> io::Result<Option<(String, String)>> {
        let Some(dir) = &self.dir else {
            return Ok(None);
        };
        let Some(venv) = dir.stat(VENV)? else {
            return Ok(None);
        };
        let is_theirs = venv.st_uid == owner.uid;
        let asked = environment.get_nonempty(LAZY_TARGET);
        if asked.is_some_and(|target| Path::new(target).starts_with(self.path.join(VENV))) {
            if !is_theirs {
                let venv = dir.open_dir(VENV)?;
                ownership::give_tree(&venv, "of the agent's .venv", owner, reporter)?;
            }
            return Ok(None);
        }
        if asked.is_some() || is_theirs {
            return Ok(None);
        }
        let target = home.join(LAZY_DIR).to_str().map(str::to_owned);
        Ok(target.map(|target| (LAZY_TARGET.to_owned(), target)))
    }
}
