//! The container's environment: captured once, given on whole, recorded for tools.
//!
//! s6-overlay scrubs it and so hides `docker run -e` from CMD and hooks (lesson L84); here it
//! reaches everything, except what `HERM_ROOT_ENV` keeps for root's processes.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use herm_engine::SortedMap;

/// Names of the variables that only root's processes get, separated by spaces or commas.
const ROOT_ONLY_LIST: &str = "HERM_ROOT_ENV";

/// Where programs are looked for when nobody says.
pub(crate) const DEFAULT_PATH: &str =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Longest name of a file on Linux (`NAME_MAX`, `limits.h`).
const FILE_NAME_BYTES_MAX: usize = 255;

/// Where images built on s6-overlay have its commands.
const COMMANDS: &str = "/command";

/// Makes sure that the commands are found, and first, as s6-overlay does.
fn add_commands(variables: &mut Vec<(OsString, OsString)>) {
    let path = variables.iter_mut().find(|(name, _)| name == "PATH");
    let Some((_, path)) = path else {
        let default = OsString::from("/command:/usr/bin:/bin");
        return variables.push(("PATH".into(), default));
    };
    let is_commands = |dir: &[u8]| dir == COMMANDS.as_bytes();
    if !path
        .as_encoded_bytes()
        .split(|byte| *byte == b':')
        .any(is_commands)
    {
        let mut with = OsString::from(COMMANDS);
        with.push(":");
        with.push(&*path);
        *path = with;
    }
}

/// The environment PID 1 was started with.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    variables: SortedMap<OsString, OsString>,
    root_only: Vec<OsString>,
    /// What the container wasn't started with.
    added: Vec<OsString>,
}

impl Environment {
    /// Captures what PID 1 was started with. Every engine sets `PATH`; a kernel that starts its init
    /// doesn't.
    pub fn capture() -> Self {
        let mut variables: Vec<(OsString, OsString)> = std::env::vars_os().collect();
        if Path::new(COMMANDS).is_dir() {
            add_commands(&mut variables);
        }
        let mut environment = Self::from_variables(variables);
        if environment.get("PATH").is_none() {
            environment.add("PATH", DEFAULT_PATH);
        }
        environment
    }

    /// An environment of the given variables.
    pub fn from_variables(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let variables: SortedMap<OsString, OsString> = variables.into_iter().collect();
        let root_only = variables
            .get(OsStr::new(ROOT_ONLY_LIST))
            .and_then(|list| list.to_str())
            .map(|list| {
                list.split([' ', ','])
                    .filter(|name| !name.is_empty())
                    .map(OsString::from)
                    .collect()
            })
            .unwrap_or_default();
        Self {
            variables,
            root_only,
            added: Vec::new(),
        }
    }

    /// Adds a variable that setup found to be needed.
    pub fn add(&mut self, name: &str, value: &str) {
        self.added.push(name.into());
        self.variables.insert(name.into(), value.into());
    }

    /// Where a variable came from, as `herm service env` tells it.
    pub fn origin(&self, name: &OsStr) -> &'static str {
        if self.added.iter().any(|added| added == name) {
            "herm: setup"
        } else {
            "container"
        }
    }

    /// A variable's value, where it is set and is UTF-8.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(OsStr::new(name))?.to_str()
    }

    /// A variable's value where it is set, is UTF-8 and is not empty.
    pub fn get_nonempty(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// What a process of root gets: everything.
    pub fn for_root(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.variables
            .iter()
            .map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }

    /// What a process of any other user gets: all but what `HERM_ROOT_ENV` names.
    pub fn for_user(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.for_root()
            .filter(|(name, _)| !self.root_only.iter().any(|hidden| hidden == name))
    }

    /// Whether everything gets the variables and nothing reads a record (`S6_KEEP_ENV`, as
    /// s6-overlay has it; `s6.md` section 6.6).
    pub fn keeps_itself(&self) -> bool {
        let number = self
            .get("S6_KEEP_ENV")
            .and_then(|text| text.trim().parse().ok());
        number.is_some_and(|number: u64| number != 0)
    }

    /// Removes what [`Environment::record`] has written.
    ///
    /// # Errors
    /// Where something is there that can't be removed.
    pub fn remove_record(dir: &Path) -> io::Result<()> {
        match fs::remove_dir_all(dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Writes one file per variable into `dir`, which is made anew with `mode` (files without its
    /// execute bits), as s6-overlay's `/run/s6/container_environment`. Group and owner are the
    /// caller's to set afterwards. A name that can't be a file name is left out.
    ///
    /// # Errors
    /// Where the directory can't be made or a file can't be written.
    pub fn record(&self, dir: &Path, mode: u32) -> io::Result<()> {
        Self::remove_record(dir)?;
        if let Some(parent) = dir.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::DirBuilder::new().mode(mode).create(dir)?;
        self.write_to(dir, mode, |_| true)
    }

    /// Writes what was added since to the same directory.
    ///
    /// # Errors
    /// As [`Environment::record`].
    pub fn record_added(&self, dir: &Path, mode: u32) -> io::Result<()> {
        self.write_to(dir, mode, |name| {
            self.added.iter().any(|added| added == name) && !dir.join(name).exists()
        })
    }

    fn write_to(&self, dir: &Path, mode: u32, wanted: impl Fn(&OsStr) -> bool) -> io::Result<()> {
        for (name, value) in self.for_user() {
            if !wanted(name) {
                continue;
            }
            let bytes = name.as_encoded_bytes();
            let is_odd = bytes.is_empty() || bytes.contains(&b'/') || bytes.starts_with(b".");
            if is_odd || bytes.len() > FILE_NAME_BYTES_MAX {
                continue;
            }
            let mut file = fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(mode & 0o666)
                .open(dir.join(name))?;
            io::Write::write_all(&mut file, value.as_encoded_bytes())?;
        }
        Ok(())
    }
}

/// Opens a recorded environment to a group, or to everyone where there is none: it holds secrets.
///
/// # Errors
/// Where it can't be read, or owner or mode of something in it can't be set.
pub fn share(dir: &Path, group: Option<u32>) -> io::Result<()> {
    let (dir_mode, file_mode) = if group.is_some() {
        (0o750, 0o640)
    } else {
        (0o755, 0o644)
    };
    let open = |path: &Path, mode: u32| {
        std::os::unix::fs::chown(path, None, group)?;
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
    };
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        // Hooks may leave anything there; only plain files are variables.
        if entry.file_type()?.is_file() {
            open(&entry.path(), file_mode)?;
        }
    }
    open(dir, dir_mode)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        Environment::from_variables(
            variables
                .iter()
                .map(|(name, value)| (OsString::from(name), OsString::from(value))),
        )
    }

    #[test]
    fn l84_the_whole_environment_is_given_on() {
        let environment = environment(&[("FOO", "bar"), ("EMPTY", ""), ("LINES2", "a\nb")]);
        let given: Vec<_> = environment.for_user().collect();
        assert_eq!(given.len(), 3);
        assert_eq!(environment.get("FOO"), Some("bar"));
        assert_eq!(environment.get_nonempty("EMPTY"), None);
    }

    #[test]
    fn roots_own_variables_are_withheld_from_users() {
        let environment = environment(&[
            ("HERM_ROOT_ENV", "TOKEN, OTHER"),
            ("TOKEN", "secret"),
            ("PLAIN", "x"),
        ]);
        assert!(environment.for_root().any(|(name, _)| name == "TOKEN"));
        assert!(environment.for_user().all(|(name, _)| name != "TOKEN"));
        assert!(environment.for_user().any(|(name, _)| name == "PLAIN"));
    }

    #[test]
    fn a_container_that_keeps_its_environment_has_no_record_of_it() {
        for (value, keeps) in [("1", true), ("0", false), ("", false), ("yes", false)] {
            let environment = environment(&[("S6_KEEP_ENV", value)]);
            assert_eq!(environment.keeps_itself(), keeps, "{value:?}");
        }
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("container_environment");
        environment(&[("A", "1")]).record(&dir, 0o700).unwrap();
        Environment::remove_record(&dir).unwrap();
        Environment::remove_record(&dir).unwrap();
        assert!(!dir.exists());
    }

    #[test]
    fn what_setup_added_is_told_from_what_the_container_was_started_with() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("container_environment");
        let mut environment = environment(&[("PLAIN", "x")]);
        environment.record(&dir, 0o700).unwrap();
        environment.add("LATE", "y");
        environment.add("HOOKS", "ours");
        fs::write(dir.join("HOOKS"), "a hook's").unwrap();
        environment.record_added(&dir, 0o700).unwrap();
        assert_eq!(fs::read(dir.join("LATE")).unwrap(), b"y");
        assert_eq!(fs::read(dir.join("HOOKS")).unwrap(), b"a hook's");
        assert_eq!(environment.origin(OsStr::new("PLAIN")), "container");
        assert_eq!(environment.origin(OsStr::new("LATE")), "herm: setup");
        assert!(environment.for_user().any(|(name, _)| name == "LATE"));
    }

    #[test]
    fn the_record_has_one_file_per_variable_with_its_exact_bytes() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("run/container_environment");
        let long = "L".repeat(256);
        let environment = environment(&[
            ("A", "1\n2"),
            ("B", ""),
            (".hidden", "x"),
            (long.as_str(), "x"),
        ]);
        environment.record(&dir, 0o750).unwrap();
        environment.record(&dir, 0o750).unwrap();
        assert_eq!(fs::read(dir.join("A")).unwrap(), b"1\n2");
        assert_eq!(fs::read(dir.join("B")).unwrap(), b"");
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 2);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&dir.join("A")) & 0o007, 0);
        assert_eq!(mode(&dir) & 0o007, 0);
    }
}
