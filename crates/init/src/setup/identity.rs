//! Who the gateways run as: the service user, found and remapped.

use std::fs;
use std::io::{self, Write as _};
use std::ops::RangeInclusive;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::plan::Ids;
use super::report::Reporter;
use super::users::{self, BadId};
use crate::environment::Environment;

/// The service user where `HERM_USER` names no other.
const DEFAULT_USER: &str = "hermes";
/// The log daemon's user.
const LOG_USER: &str = "herm-log";
/// What its number is taken from, the highest that is free, where there is no such user: above what
/// distributions hand out, and within the 65,536 ids that rootless containers have.
const LOG_IDS: RangeInclusive<u32> = 64_000..=64_999;

/// The user and group database, at its usual place or a test's.
#[derive(Clone, Debug)]
pub(super) struct Accounts {
    passwd: PathBuf,
    group: PathBuf,
}

/// A passwd(5) entry as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    uid: u32,
    gid: u32,
}

/// Who runs what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Identities {
    /// Runs the gateways; absent: there is no such user, or we are not root and stay who we are.
    pub(super) service_user: Option<Ids>,
    /// Runs the log daemon; absent as above.
    pub(super) log_user: Option<Ids>,
}

impl Accounts {
    /// The files in `etc`.
    pub(super) fn in_dir(etc: &Path) -> Self {
        Self {
            passwd: etc.join("passwd"),
            group: etc.join("group"),
        }
    }

    /// Finds the users, remapped as the environment asks (`HERMES_UID`/`HERMES_GID`, else
    /// `PUID`/`PGID`). Where the files can't be written (read-only root) the ids hold all the same:
    /// everything herm starts gets them as numbers.
    pub(super) fn resolve(
        &self,
        environment: &Environment,
        reporter: &mut Reporter,
    ) -> Result<Identities, BadId> {
        let requested = Requested::from(environment)?;
        if !rustix::process::geteuid().is_root() {
            if requested.any() {
                reporter.warn(
                    "HERMES_UID/HERMES_GID are ignored: only root can change ids; \
                     start the container as root, or with --user and without them",
                );
            }
            return Ok(Identities::default());
        }
        let name = environment
            .get_nonempty("HERM_USER")
            .unwrap_or(DEFAULT_USER);
        let service_user = self.service_user(name, &requested, reporter);
        let log_user = self.log_user(service_user.as_ref());
        Ok(Identities {
            service_user,
            log_user,
        })
    }

    /// Who the log daemon is: a user of its own, also in an image that was made for another init
    /// and has none. As root it would write wherever the service user has it write, and as the
    /// service user agents could stop it.
    fn log_user(&self, service_user: Option<&Ids>) -> Option<Ids> {
        let is_free = |uid| service_user.is_none_or(|ids| ids.uid != uid);
        let own = self.lookup(LOG_USER).filter(|entry| is_free(entry.uid));
        if let Some(entry) = own {
            return Some(Ids {
                name: Some(LOG_USER.to_owned()),
                uid: entry.uid,
                gid: entry.gid,
                groups: Vec::new(),
            });
        }
        service_user?;
        let (users, groups) = (ids_in(&self.passwd), ids_in(&self.group));
        let id = LOG_IDS
            .rev()
            .find(|id| is_free(*id) && !users.contains(id) && !groups.contains(id))?;
        Some(Ids {
            name: None,
            uid: id,
            gid: id,
            groups: Vec::new(),
        })
    }

    fn service_user(
        &self,
        name: &str,
        requested: &Requested,
        reporter: &mut Reporter,
    ) -> Option<Ids> {
        let Some(entry) = self.lookup(name) else {
            if requested.any() {
                reporter.warn(&format!(
                    "HERMES_UID/HERMES_GID are ignored: there is no user {name:?} in this image"
                ));
            }
            return None;
        };
        let wanted = Entry {
            uid: requested.uid.unwrap_or(entry.uid),
            gid: requested.gid.unwrap_or(entry.gid),
        };
        if wanted != entry {
            self.remap(name, &entry, &wanted, reporter);
        }
        Some(Ids {
            name: Some(name.to_owned()),
            uid: wanted.uid,
            gid: wanted.gid,
            groups: self.supplementary(name),
        })
    }

    fn remap(&self, name: &str, from: &Entry, to: &Entry, reporter: &mut Reporter) {
        reporter.did(&format!(
            "user {name}: uid {} -> {}, gid {} -> {}",
            from.uid, to.uid, from.gid, to.gid
        ));
        if reporter.is_dry_run() {
            return;
        }
        let group_name = self.group_name(from.gid).unwrap_or_else(|| name.to_owned());
        let passwd = edit(&self.passwd, |text| {
            users::remap_passwd(text, name, to.uid, to.gid)
        });
        let group = edit(&self.group, |text| {
            users::remap_group(text, &group_name, to.gid)
        });
        for (path, result) in [(&self.passwd, passwd), (&self.group, group)] {
            if let Err(error) = result {
                reporter.warn(&format!(
                    "{} can't be rewritten ({error}); the ids are used as numbers, without a name",
                    path.display()
                ));
            }
        }
    }

    fn lookup(&self, name: &str) -> Option<Entry> {
        let text = fs::read(&self.passwd).ok()?;
        fields_of(&text, |fields| fields.first() == Some(&name.as_bytes())).and_then(|fields| {
            Some(Entry {
                uid: number(fields.get(2)?)?,
                gid: number(fields.get(3)?)?,
            })
        })
    }

    fn group_name(&self, gid: u32) -> Option<String> {
        let text = fs::read(&self.group).ok()?;
        let gid = gid.to_string();
        let fields = fields_of(&text, |fields| fields.get(2) == Some(&gid.as_bytes()))?;
        String::from_utf8(fields.first()?.to_vec()).ok()
    }

    /// Ids of the groups that list `name` as a member.
    fn supplementary(&self, name: &str) -> Vec<u32> {
        let text = fs::read(&self.group).unwrap_or_default();
        text.split(|b| *b == b'\n')
            .filter_map(|line| {
                let fields: Vec<&[u8]> = line.split(|b| *b == b':').collect();
                let members = fields.get(3)?;
                members
                    .split(|b| *b == b',')
                    .any(|member| member == name.as_bytes())
                    .then(|| number(fields.get(2)?))?
            })
            .collect()
    }
}

/// The ids the container's environment asks for.
struct Requested {
    uid: Option<u32>,
    gid: Option<u32>,
}

impl Requested {
    fn from(environment: &Environment) -> Result<Self, BadId> {
        let id = |names: [&str; 2]| {
            names
                .iter()
                .find_map(|name| Some((*name, environment.get_nonempty(name)?)))
                .map(|(name, value)| users::parse_id(name, value))
                .transpose()
        };
        Ok(Self {
            uid: id(["HERMES_UID", "PUID"])?,
            gid: id(["HERMES_GID", "PGID"])?,
        })
    }

    fn any(&self) -> bool {
        self.uid.is_some() || self.gid.is_some()
    }
}

fn fields_of(text: &[u8], wanted: impl Fn(&[&[u8]]) -> bool) -> Option<Vec<&[u8]>> {
    text.split(|b| *b == b'\n')
        .map(|line| line.split(|b| *b == b':').collect::<Vec<_>>())
        .find(|fields| wanted(fields))
}

/// All ids of a passwd(5) or group(5) file: the third field of both.
fn ids_in(path: &Path) -> Vec<u32> {
    let text = fs::read(path).unwrap_or_default();
    text.split(|b| *b == b'\n')
        .filter_map(|line| number(line.split(|b| *b == b':').nth(2)?))
        .collect()
}

fn number(digits: &[u8]) -> Option<u32> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Rewrites a file of root's through a temporary one beside it, keeping owner and mode.
fn edit(path: &Path, change: impl FnOnce(&[u8]) -> Option<Vec<u8>>) -> io::Result<()> {
    let text = fs::read(path)?;
    let Some(changed) = change(&text) else {
        return Ok(());
    };
    let before = fs::metadata(path)?;
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".herm-new");
    let temporary = PathBuf::from(temporary);
    match fs::remove_file(&temporary) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(before.permissions().mode())
        .open(&temporary)?;
    file.write_all(&changed)?;
    std::os::unix::fs::fchown(&file, Some(before.uid()), Some(before.gid()))?;
    file.set_permissions(before.permissions())?;
    file.sync_all()?;
    fs::rename(&temporary, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;

    fn accounts() -> (tempfile::TempDir, Accounts) {
        let etc = tempfile::tempdir().unwrap();
        fs::write(
            etc.path().join("passwd"),
            "root:x:0:0::/root:/bin/sh\nhermes:x:10000:10000::/opt/data:/bin/sh\nherm-log:x:10001:10001::/:/bin/false\n",
        )
        .unwrap();
        fs::write(
            etc.path().join("group"),
            "root:x:0:\naudio:x:29:hermes,other\nhermes:x:10000:\n",
        )
        .unwrap();
        let accounts = Accounts::in_dir(etc.path());
        (etc, accounts)
    }

    fn environment(variables: &[(&str, &str)]) -> Environment {
        Environment::from_variables(
            variables
                .iter()
                .map(|(name, value)| (OsString::from(name), OsString::from(value))),
        )
    }

    fn is_root() -> bool {
        let root = rustix::process::geteuid().is_root();
        if !root {
            println!("skipped: only root remaps");
        }
        root
    }

    #[test]
    fn the_service_user_is_found_with_its_groups() {
        if !is_root() {
            return;
        }
        let (_etc, accounts) = accounts();
        let mut reporter = Reporter::new(false);
        let found = accounts.resolve(&environment(&[]), &mut reporter).unwrap();
        let user = found.service_user.unwrap();
        assert_eq!(
            (user.uid, user.gid, user.groups),
            (10_000, 10_000, vec![29])
        );
        assert_eq!(found.log_user.unwrap().uid, 10_001);
        assert!(!reporter.changed());
    }

    #[test]
    fn the_log_daemon_is_neither_root_nor_an_agent_in_any_image() {
        if !is_root() {
            return;
        }
        let (etc, accounts) = accounts();
        let log_uid = |variables: &[(&str, &str)]| {
            let found = accounts.resolve(&environment(variables), &mut Reporter::new(true));
            found.unwrap().log_user.map(|ids| ids.uid)
        };
        assert_eq!(log_uid(&[]), Some(10_001));
        assert_eq!(log_uid(&[("HERMES_UID", "10001")]), Some(64_999));
        fs::write(
            etc.path().join("passwd"),
            "hermes:x:10000:10000::/:/bin/sh\nx:x:64999:1::/:/bin/sh\n",
        )
        .unwrap();
        assert_eq!(log_uid(&[]), Some(64_998));
        assert_eq!(log_uid(&[("HERM_USER", "nobody-here")]), None);
    }

    #[test]
    fn a_remap_rewrites_both_files_and_a_second_one_changes_nothing() {
        if !is_root() {
            return;
        }
        let (etc, accounts) = accounts();
        let variables = environment(&[("HERMES_UID", "1234"), ("PUID", "7"), ("PGID", "29")]);
        let mut reporter = Reporter::new(false);
        let user = accounts
            .resolve(&variables, &mut reporter)
            .unwrap()
            .service_user
            .unwrap();
        assert_eq!((user.uid, user.gid), (1234, 29));
        let read = |name: &str| fs::read_to_string(etc.path().join(name)).unwrap();
        assert!(read("passwd").contains("hermes:x:1234:29:"));
        assert!(read("group").contains("hermes:x:29:"));
        let mut again = Reporter::new(false);
        accounts.resolve(&variables, &mut again).unwrap();
        assert!(!again.changed());
    }

    #[test]
    fn a_dry_run_changes_no_file() {
        if !is_root() {
            return;
        }
        let (etc, accounts) = accounts();
        let before = fs::read(etc.path().join("passwd")).unwrap();
        let mut reporter = Reporter::new(true);
        accounts
            .resolve(&environment(&[("HERMES_UID", "1234")]), &mut reporter)
            .unwrap();
        assert!(reporter.changed());
        assert_eq!(fs::read(etc.path().join("passwd")).unwrap(), before);
    }

    #[test]
    fn a_bad_id_is_refused_by_name() {
        let (_etc, accounts) = accounts();
        let error = accounts
            .resolve(&environment(&[("PUID", "root")]), &mut Reporter::new(false))
            .unwrap_err();
        assert!(error.to_string().contains("PUID=\"root\""), "{error}");
    }
}
