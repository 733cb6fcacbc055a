//! Who the gateways run as: the service user, found and remapped.

use std::fs;
use std::io::{self, Write as _};
use std::ops::RangeInclusive;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use herm_sys::users::{User, Users};

use super::plan::Ids;
use super::report::Reporter;
use super::users::{self, BadId};
use crate::environment::Environment;

/// The service user where `HERM_USER` names no other.
const DEFAULT_USER: &str = "hermes";
/// The log daemon's user.
pub(crate) const LOG_USER: &str = "herm-log";
/// What its number is taken from, the highest that is free, where there is no such user: above what
/// distributions hand out, and within the 65,536 ids that rootless containers have.
const LOG_IDS: RangeInclusive<u32> = 64_000..=64_999;

/// The user and group database, at its usual place or a test's.
#[derive(Clone, Debug)]
pub(super) struct Accounts {
    etc: PathBuf,
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
            etc: etc.to_owned(),
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
        let obstacle = service_user.as_ref().and_then(|ids| {
            let obstacle = herm_sys::credentials::obstacle_to(ids.uid, ids.gid)?;
            Some((ids.uid, ids.gid, obstacle))
        });
        if let Some((uid, gid, why)) = obstacle {
            reporter.warn(&format!(
                "{name} (uid {uid}) is out of reach: {why}; everything runs as uid 0 of this \
                 container; start it with --user {uid}:{gid}, or give it what is missing"
            ));
            return Ok(Identities {
                service_user: Some(root()),
                log_user: None,
            });
        }
        let log_user = self.log_user(service_user.as_ref());
        Ok(Identities {
            service_user,
            log_user,
        })
    }

    /// Who the log daemon is: a user of its own, also in an image that was made for another init
    /// and has none. As root it would write wherever the service user has it write, and as the
    /// service user agents could stop it. The files are read as they are after the remap.
    fn log_user(&self, service_user: Option<&Ids>) -> Option<Ids> {
        let users = self.load();
        let is_free = |uid| service_user.is_none_or(|ids| ids.uid != uid);
        let (name, uid, gid) = match users.by_name(LOG_USER) {
            Some(own) if is_free(own.uid) => (Some(LOG_USER.to_owned()), own.uid, own.gid),
            _ => {
                service_user?;
                let id = LOG_IDS.rev().find(|id| {
                    is_free(*id) && users.by_uid(*id).is_none() && users.group_by_gid(*id).is_none()
                })?;
                (None, id, id)
            }
        };
        Some(Ids {
            name,
            uid,
            gid,
            groups: Vec::new(),
        })
    }

    fn service_user(
        &self,
        name: &str,
        requested: &Requested,
        reporter: &mut Reporter,
    ) -> Option<Ids> {
        let users = self.load();
        let Some(user) = users.by_name(name) else {
            if requested.any() {
                reporter.warn(&format!(
                    "HERMES_UID/HERMES_GID are ignored: there is no user {name:?} in this image"
                ));
            }
            return None;
        };
        let uid = requested.uid.unwrap_or(user.uid);
        let gid = requested.gid.unwrap_or(user.gid);
        if (uid, gid) != (user.uid, user.gid) {
            self.remap(&users, user, (uid, gid), reporter);
        }
        let mut groups = users.identity(user).groups;
        groups.retain(|group| *group != user.gid && *group != gid);
        Some(Ids {
            name: Some(name.to_owned()),
            uid,
            gid,
            groups,
        })
    }

    /// Rewrites the group's line first: the user's line, which says what is still to do, is the last
    /// to change, so that an interrupted remap is taken up again.
    fn remap(&self, users: &Users, user: &User, to: (u32, u32), reporter: &mut Reporter) {
        let (name, (uid, gid)) = (user.name.as_str(), to);
        reporter.did(&format!(
            "user {name}: uid {} -> {uid}, gid {} -> {gid}",
            user.uid, user.gid
        ));
        let group = users
            .group_by_gid(user.gid)
            .map_or(name, |group| group.name.as_str());
        self.edit("group", reporter, |text| {
            users::remap_group(text, group, gid)
        });
        self.edit("passwd", reporter, |text| {
            users::remap_passwd(text, name, uid, gid)
        });
    }

    /// Makes the user a member of a group by the group's number, also for who looks it up in the
    /// file later (`docker exec --user`).
    pub(super) fn join(&self, user: &mut Ids, gid: u32, reporter: &mut Reporter) {
        if user.gid == gid || user.groups.contains(&gid) {
            return;
        }
        user.groups.push(gid);
        let Some(name) = &user.name else { return };
        reporter.did(&format!("make {name} a member of group {gid}"));
        self.edit("group", reporter, |text| users::add_member(text, gid, name));
    }

    fn load(&self) -> Users {
        Users::load_from(&self.etc).unwrap_or_default()
    }

    fn edit(
        &self,
        file: &str,
        reporter: &mut Reporter,
        change: impl FnOnce(&[u8]) -> Option<Vec<u8>>,
    ) {
        if reporter.is_dry_run() {
            return;
        }
        let path = self.etc.join(file);
        if let Err(error) = edit(&path, change) {
            reporter.warn(&format!(
                "{} can't be rewritten ({error}); the ids are used as numbers, without a name",
                path.display()
            ));
        }
    }
}

/// Who we are where we can be nobody else.
fn root() -> Ids {
    Ids {
        name: Some("root".to_owned()),
        uid: 0,
        gid: 0,
        groups: herm_sys::credentials::ids().groups,
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
    fn an_interrupted_remap_is_taken_up_again() {
        if !is_root() {
            return;
        }
        let (etc, accounts) = accounts();
        let variables = environment(&[("HERMES_UID", "1234"), ("HERMES_GID", "1235")]);
        let passwd = fs::read(etc.path().join("passwd")).unwrap();
        let resolve = || {
            let mut reporter = Reporter::new(false);
            accounts.resolve(&variables, &mut reporter).unwrap()
        };
        resolve();
        let group = fs::read(etc.path().join("group")).unwrap();
        // Between the two files, with the next one's temporary left behind.
        fs::write(etc.path().join("passwd"), &passwd).unwrap();
        fs::write(etc.path().join("passwd.herm-new"), "half").unwrap();
        resolve();
        assert_eq!(fs::read(etc.path().join("group")).unwrap(), group);
        let passwd = fs::read_to_string(etc.path().join("passwd")).unwrap();
        assert!(passwd.contains("hermes:x:1234:1235:"), "{passwd}");
        assert_eq!(fs::read_dir(etc.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_user_joins_a_group_once() {
        if !is_root() {
            return;
        }
        let (etc, accounts) = accounts();
        let mut reporter = Reporter::new(false);
        let mut user = accounts
            .resolve(&environment(&[]), &mut reporter)
            .unwrap()
            .service_user
            .unwrap();
        accounts.join(&mut user, 999, &mut reporter);
        assert_eq!(user.groups, [29, 999]);
        let group = fs::read_to_string(etc.path().join("group")).unwrap();
        assert!(group.ends_with("herm-docker:x:999:hermes\n"), "{group}");
        let mut again = Reporter::new(false);
        let mut user = accounts
            .resolve(&environment(&[]), &mut again)
            .unwrap()
            .service_user
            .unwrap();
        accounts.join(&mut user, 999, &mut again);
        assert_eq!(user.groups, [29, 999]);
        assert!(!again.changed());
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
