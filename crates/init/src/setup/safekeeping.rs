//! What the image's scripts change of a home's settings is kept as it was (lesson L54).
//!
//! A script may be meant to change `.env`, so nothing is undone; but one that strips it, at one start or at
//! every start, must not be the end of what was in it. Scripts are foreign programs of root's and can't be
//! made to work on copies, so the copies are made before they run.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use herm_sys::fs_at::{Dir, Made, Owner};

use super::home::{MAX_FILE_BYTES, PROFILES};
use super::plan::Ids;
use super::report::Reporter;
use crate::environment::Environment;

/// What people and agents write by hand, and can't get back from anywhere else.
const FILES: [&str; 3] = [".env", "config.yaml", "auth.json"];
/// Where copies are kept, in each profile.
const PLACE: [&str; 2] = [".herm", "backups"];
/// Copies kept of one file, each of another content.
const COPIES_MAX: usize = 10;

const DIR_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// The settings of a home as they were before a script.
#[derive(Debug)]
pub(super) struct Safekeeping {
    home: Dir,
    owner: Option<Owner>,
    /// Profile's directory in the home, file's name, content.
    before: Vec<(PathBuf, &'static str, Vec<u8>)>,
}

impl Safekeeping {
    /// For the configured home; one that can't be looked at has nothing to lose.
    pub(super) fn begin(environment: &Environment, user: Option<&Ids>) -> Option<Self> {
        let home = environment.get_nonempty("HERMES_HOME")?;
        Self::of(Path::new(home), user.map(Ids::owner)).ok()
    }

    /// Reads the settings of all profiles. What can't be read is not kept.
    fn of(home: &Path, owner: Option<Owner>) -> io::Result<Self> {
        let (home, _) = Dir::open_configured(home, None)?;
        let mut before = Vec::new();
        let named = home.open_dir(PROFILES).and_then(|dir| dir.names());
        let named = named.unwrap_or_default().into_iter();
        let named = named.map(|name| Path::new(PROFILES).join(name));
        for profile in std::iter::once(PathBuf::from(".")).chain(named) {
            let Ok(dir) = open(&home, &profile) else {
                continue;
            };
            for name in FILES {
                if let Ok(Some(content)) = dir.read_if_present(name, MAX_FILE_BYTES) {
                    before.push((profile.clone(), name, content));
                }
            }
        }
        Ok(Self {
            home,
            owner,
            before,
        })
    }

    /// Keeps what a script has changed as it was before it, and tells where.
    pub(super) fn after(&mut self, script: &str, reporter: &mut Reporter) {
        for (profile, name, before) in &mut self.before {
            let dir = open(&self.home, profile);
            let now = dir
                .as_ref()
                .map(|dir| dir.read_if_present(*name, MAX_FILE_BYTES));
            let now = now.ok().and_then(Result::ok).flatten();
            if before.is_empty() || now.as_ref() == Some(before) {
                continue;
            }
            let file = profile.join(*name);
            let file = file.strip_prefix(".").unwrap_or(&file).display();
            match dir.and_then(|dir| keep(&dir, name, before, self.owner)) {
                Ok(kept) => {
                    let [records, backups] = PLACE;
                    let place = profile.join(records).join(backups).join(kept);
                    let place = place.strip_prefix(".").unwrap_or(&place).display();
                    reporter.warn(&format!(
                        "{script} changed {file} of the home; as it was before, it is kept as {place}"
                    ));
                }
                Err(error) => reporter.warn(&format!(
                    "{script} changed {file} of the home, and what was there before can't be kept: {error}"
                )),
            }
            *before = now.unwrap_or_default();
        }
    }
}

fn open(home: &Dir, profile: &Path) -> io::Result<Dir> {
    if profile == Path::new(".") {
        return home.try_clone();
    }
    home.open_dir(profile)
}

/// Writes a copy, unless there is one of the same content, and removes the oldest beyond the bound; answers
/// its name.
fn keep(profile: &Dir, name: &str, content: &[u8], owner: Option<Owner>) -> io::Result<String> {
    let mut dir = profile.try_clone()?;
    for component in PLACE {
        if dir.make_dir(component, DIR_MODE)? == Made::New
            && let Some(owner) = owner
        {
            dir.set_owner(component, owner)?;
        }
        dir = dir.open_dir(component)?;
    }
    let is_copy = |found: &String| {
        let stamp = found
            .strip_prefix(name)
            .and_then(|rest| rest.strip_prefix('.'));
        stamp.is_some_and(|stamp| stamp.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let found = dir.names()?.into_iter();
    let mut copies: Vec<String> = found.filter_map(|found| found.into_string().ok()).collect();
    copies.retain(is_copy);
    copies.sort();
    for copy in &copies {
        if dir
            .read(copy, MAX_FILE_BYTES)
            .is_ok_and(|kept| kept == content)
        {
            return Ok(copy.clone());
        }
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let kept = format!("{name}.{:020}", now.unwrap_or_default().as_nanos());
    dir.write_atomic(&kept, content, FILE_MODE, owner)?;
    let excess = (copies.len() + 1).saturating_sub(COPIES_MAX);
    for oldest in copies.iter().take(excess) {
        dir.remove(oldest)?;
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::MetadataExt as _;

    /// Lets a script do its worst, and answers what is kept of it.
    fn run(home: &Path, script: impl FnOnce()) -> Vec<PathBuf> {
        let mut reporter = Reporter::new(false);
        let mut kept = Safekeeping::of(home, None).unwrap();
        script();
        kept.after("/etc/cont-init.d/02-migrate", &mut reporter);
        copies(home)
    }

    fn copies(profile: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(profile.join(".herm/backups"));
        let entries = entries.into_iter().flatten().flatten();
        let mut found: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        found.sort();
        found
    }

    fn write(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn l54_what_a_script_strips_is_kept_once_and_only_for_its_user() {
        let home = tempfile::tempdir().unwrap();
        let env = home.path().join(".env");
        write(&env, "TOKEN=1\n");
        for _ in 0..3 {
            write(&env, "TOKEN=1\n");
            let kept = run(home.path(), || fs::write(&env, "").unwrap());
            assert_eq!(kept.len(), 1, "{kept:?}");
            assert_eq!(fs::read_to_string(&kept[0]).unwrap(), "TOKEN=1\n");
            assert_eq!(fs::metadata(&kept[0]).unwrap().mode() & 0o777, 0o600);
        }
        // Removed altogether, it is no different; what nobody touched is not copied.
        write(&env, "TOKEN=2\n");
        write(&home.path().join("config.yaml"), "a: 1\n");
        assert_eq!(run(home.path(), || fs::remove_file(&env).unwrap()).len(), 2);
        assert_eq!(run(home.path(), || {}).len(), 2);
    }

    #[test]
    fn l54_named_profiles_are_kept_too_and_copies_are_bounded() {
        let home = tempfile::tempdir().unwrap();
        let profile = home.path().join("profiles/writer");
        let config = profile.join("config.yaml");
        for number in 0..COPIES_MAX + 3 {
            write(&config, &format!("number: {number}\n"));
            run(home.path(), || write(&config, "stripped: true\n"));
        }
        let kept = copies(&profile);
        assert_eq!(kept.len(), COPIES_MAX);
        let texts: Vec<String> = kept
            .iter()
            .map(|copy| fs::read_to_string(copy).unwrap())
            .collect();
        assert_eq!(
            (texts[0].as_str(), texts[9].as_str()),
            ("number: 3\n", "number: 12\n")
        );
    }

    #[test]
    fn a_link_in_place_of_the_copies_leads_nowhere() {
        let home = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        let env = home.path().join(".env");
        write(&env, "TOKEN=1\n");
        fs::create_dir(home.path().join(".herm")).unwrap();
        std::os::unix::fs::symlink(outside.path(), home.path().join(".herm/backups")).unwrap();
        run(home.path(), || fs::write(&env, "").unwrap());
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    }
}
