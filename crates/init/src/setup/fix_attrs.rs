//! `/etc/fix-attrs.d`: owners and modes that the image wants of its paths (`s6.md` section 6.2).
//!
//! What the rules name may lie in a volume that others write to while this runs. So everything is
//! opened first and changed by that descriptor: no link is followed but those that only root can
//! have made, and a file with another hard link, which may be anybody's under a planted name, is
//! given to nobody whose it isn't.

use std::ffi::OsStr;
use std::fs::Permissions;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use herm_s6::fix_attrs::{Rule, parse};
use herm_sys::fs_at::{Dir, Entry, Owner, Visit, file_type};
use herm_sys::users::Users;
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid};

use super::hooks;
use super::report::Reporter;
use crate::applets::glob;

/// As many links as the kernel follows in one path.
const LINKS_MAX: usize = 40;

/// What the rules are applied with.
struct Fixer<'a> {
    users: &'a Users,
    /// Also names that begin with a dot (`S6_FIX_ATTRS_HIDDEN`).
    hidden: bool,
    problems: Vec<String>,
}

/// Applies the rules of all files in a directory, in the order of their names. What can't be done is
/// told and doesn't keep the rest from being done; whether all was.
pub(super) fn apply(dir: &Path, users: &Users, hidden: bool, reporter: &mut Reporter) -> bool {
    let files = match hooks::scripts(dir) {
        Ok(files) => files,
        Err(error) => {
            reporter.warn(&format!("{} can't be read: {error}", dir.display()));
            return false;
        }
    };
    let mut is_done = true;
    for file in files {
        reporter.did(&format!("apply {}", file.display()));
        if reporter.is_dry_run() {
            continue;
        }
        let mut fixer = Fixer {
            users,
            hidden,
            problems: Vec::new(),
        };
        match std::fs::read(&file) {
            Ok(text) => fixer.apply_text(&text),
            Err(error) => fixer.problems.push(error.to_string()),
        }
        for problem in fixer.problems {
            is_done = false;
            reporter.warn(&format!("{}: {problem}", file.display()));
        }
    }
    is_done
}

impl Fixer<'_> {
    fn apply_text(&mut self, text: &[u8]) {
        for rule in parse(text) {
            match rule {
                Err(bad) => self
                    .problems
                    .push(format!("line {}: {}", bad.line, bad.problem)),
                Ok(rule) => self.apply_rule(&rule),
            }
        }
    }

    fn apply_rule(&mut self, rule: &Rule) {
        let Some(owner) = self.owner(rule) else {
            let (line, account) = (rule.line, &rule.account);
            let text = format!("line {line}: there is no account {account}");
            return self.problems.push(text);
        };
        let found = glob::expand(&rule.pattern, glob::Options::default());
        if found.is_empty() {
            let pattern = OsStr::from_bytes(&rule.pattern).display();
            let text = format!("line {}: there is no {pattern}", rule.line);
            self.problems.push(text);
        }
        for path in found {
            let path = Path::new(OsStr::from_bytes(&path));
            if let Err(error) = self.apply_path(rule, owner, path) {
                let text = format!("line {}: {}: {error}", rule.line, path.display());
                self.problems.push(text);
            }
        }
    }

    /// Whom the account is: a user has its group, and pairs are names or numbers.
    fn owner(&self, rule: &Rule) -> Option<Owner> {
        let by_number = || {
            rule.account
                .contains(':')
                .then(|| self.users.resolve(&rule.account))?
        };
        let user = self.users.by_name(&rule.account);
        let found = user.map(|user| (user.uid, user.gid));
        let found = found.or_else(|| by_number().map(|ids| (ids.uid, ids.gid)));
        let (uid, gid) = found.or(rule.fallback)?;
        Some(Owner { uid, gid })
    }

    fn apply_path(&mut self, rule: &Rule, owner: Owner, path: &Path) -> io::Result<()> {
        let place = Place::find(path)?;
        set(&place.fd, rule, owner, place.is_guarded)?;
        if !rule.recursive || !place.is_directory()? {
            return Ok(());
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = Dir::from(rustix::fs::openat(&place.fd, c".", flags, Mode::empty())?);
        let hidden = self.hidden;
        let mut refused: Option<String> = None;
        let walked = dir.walk(&mut |entry: &Entry<'_>| {
            if !hidden && entry.name.as_bytes().starts_with(b".") {
                return Ok(Visit::Skip);
            }
            if file_type(&entry.stat) == FileType::Symlink {
                return Ok(Visit::Skip);
            }
            match look(entry.dir, entry.name).and_then(|fd| set(&fd, rule, owner, false)) {
                Ok(()) => Ok(Visit::Enter),
                // It has gone meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Visit::Skip),
                Err(error) => {
                    refused.get_or_insert(format!("{}: {error}", entry.name.display()));
                    Ok(Visit::Skip)
                }
            }
        });
        match refused {
            Some(text) => Err(io::Error::other(text)),
            None => walked,
        }
    }
}

/// What a configured path leads to, held open to be looked at and changed.
struct Place {
    fd: OwnedFd,
    /// Nobody but root could have put it there.
    is_guarded: bool,
}

impl Place {
    /// Follows links only where nobody but root, or whoever runs this, can have made them.
    fn find(path: &Path) -> io::Result<Self> {
        let mut path = PathBuf::from(path);
        for _ in 0..LINKS_MAX {
            let Some(name) = path.file_name() else {
                let (dir, _) = Dir::open_configured(&path, None)?;
                return Ok(Self {
                    fd: dir.into(),
                    is_guarded: true,
                });
            };
            let parent = path.parent().unwrap_or(Path::new("."));
            let (parent, _) = Dir::open_configured(parent, None)?;
            let stat = parent.stat_self()?;
            let own = rustix::process::geteuid().as_raw();
            let is_guarded = (stat.st_uid == 0 || stat.st_uid == own) && stat.st_mode & 0o022 == 0;
            let fd = look(&parent, name)?;
            if file_type(&rustix::fs::fstat(&fd)?) != FileType::Symlink {
                return Ok(Self { fd, is_guarded });
            }
            if !is_guarded {
                return Err(io::Error::other(
                    "it is a link that another user can have made",
                ));
            }
            let target = rustix::fs::readlinkat(&fd, c"", Vec::new())?;
            path.set_file_name(OsStr::from_bytes(target.as_bytes()));
        }
        Err(rustix::io::Errno::LOOP.into())
    }

    fn is_directory(&self) -> io::Result<bool> {
        Ok(file_type(&rustix::fs::fstat(&self.fd)?) == FileType::Directory)
    }
}

fn look(dir: &Dir, name: &OsStr) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(dir, name, flags, Mode::empty())?)
}

/// Gives what is held open its owner and mode. The owner comes first: giving away clears bits.
fn set(fd: &OwnedFd, rule: &Rule, owner: Owner, is_guarded: bool) -> io::Result<()> {
    let stat = rustix::fs::fstat(fd)?;
    let is_directory = file_type(&stat) == FileType::Directory;
    if !is_directory && !is_guarded && stat.st_nlink > 1 && stat.st_uid != owner.uid {
        return Err(io::Error::other(
            "it has another hard link, and may be another user's file in disguise",
        ));
    }
    let (uid, gid) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
    if (stat.st_uid, stat.st_gid) != (owner.uid, owner.gid) {
        rustix::fs::chownat(fd.as_fd(), c"", Some(uid), Some(gid), AtFlags::EMPTY_PATH)?;
    }
    let mode = if is_directory {
        rule.directory_mode
    } else {
        rule.file_mode
    };
    // A descriptor that only looks can't change a mode; its link in /proc leads to the very file.
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    if rustix::fs::fstat(fd)?.st_mode & 0o7777 != mode {
        std::fs::set_permissions(path, Permissions::from_mode(mode))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, chown, symlink};

    const USER: u32 = 12_345;
    const OTHER: u32 = 12_346;

    struct World {
        root: tempfile::TempDir,
        users: Users,
    }

    impl World {
        /// Only root gives files away.
        fn new() -> Option<Self> {
            rustix::process::geteuid().is_root().then(|| Self {
                root: tempfile::tempdir().unwrap(),
                users: Users::parse(
                    format!("db:x:{USER}:{USER}::/:/bin/sh\n").as_bytes(),
                    format!("db:x:{USER}:\nstaff:x:50:\n").as_bytes(),
                ),
            })
        }
        fn at(&self, name: &str) -> PathBuf {
            self.root.path().join(name)
        }
        fn apply(&self, line: &str, hidden: bool) -> Vec<String> {
            let mut fixer = Fixer {
                users: &self.users,
                hidden,
                problems: Vec::new(),
            };
            fixer.apply_text(format!("{}/{line}\n", self.root.path().display()).as_bytes());
            fixer.problems
        }
        fn is(&self, name: &str) -> (u32, u32, u32) {
            let found = fs::symlink_metadata(self.at(name)).unwrap();
            (found.uid(), found.gid(), found.mode() & 0o7777)
        }
    }

    #[test]
    fn paths_are_given_and_opened_as_the_rules_say() {
        let Some(world) = World::new() else { return };
        fs::create_dir_all(world.at("data/deep/.git")).unwrap();
        fs::write(world.at("data/deep/file"), "").unwrap();
        fs::write(world.at("data/deep/.git/config"), "").unwrap();
        assert!(world.apply("d* true db 0640 02750", false).is_empty());
        for (name, mode) in [
            ("data", 0o2750),
            ("data/deep", 0o2750),
            ("data/deep/file", 0o640),
        ] {
            assert_eq!(world.is(name), (USER, USER, mode), "{name}");
        }
        assert_eq!(world.is("data/deep/.git").0, 0, "hidden ones are left out");
        assert!(world.apply("data true none,7:8 0600 0700", true).is_empty());
        assert_eq!(world.is("data/deep/.git/config"), (7, 8, 0o600));
        assert!(
            world
                .apply("data false db:staff 0600 0711", true)
                .is_empty()
        );
        assert_eq!(world.is("data"), (USER, 50, 0o711));
        assert_eq!(world.is("data/deep"), (7, 8, 0o700), "not asked for");
        assert!(
            world
                .apply("data/deep/file false 1:2 0755 0", true)
                .is_empty()
        );
        assert_eq!(world.is("data/deep/file"), (1, 2, 0o755));
    }

    #[test]
    fn what_can_not_be_done_is_named_and_does_not_hold_up_the_rest() {
        let Some(world) = World::new() else { return };
        fs::create_dir(world.at("a")).unwrap();
        let problems = world.apply("none true db 0 0", false);
        assert!(problems[0].contains("line 1: there is no"), "{problems:?}");
        let problems = world.apply("a true nobody-known 0 0", false);
        assert!(problems[0].contains("there is no account"), "{problems:?}");
        let two = format!(
            "x true db 0 0\n{}/a false db 0 0700",
            world.root.path().display()
        );
        assert_eq!(world.apply(&two, false).len(), 1);
        assert_eq!(world.is("a"), (USER, USER, 0o700));
    }

    #[test]
    fn no_link_and_no_foreign_hard_link_in_a_users_directory_is_given_away() {
        let Some(world) = World::new() else { return };
        fs::create_dir(world.at("data")).unwrap();
        for name in ["secret", "shadow"] {
            fs::write(world.at(name), "").unwrap();
            fs::set_permissions(world.at(name), Permissions::from_mode(0o600)).unwrap();
        }
        chown(world.at("data"), Some(OTHER), Some(OTHER)).unwrap();
        symlink(world.at("secret"), world.at("data/link")).unwrap();
        symlink(world.at("data"), world.at("data/loop")).unwrap();
        fs::hard_link(world.at("shadow"), world.at("data/hard")).unwrap();
        let problems = world.apply("data true db 0666 0777", true);
        assert!(
            problems[0].contains("hard: it has another hard link"),
            "{problems:?}"
        );
        let problems = world.apply("data/link false db 0666 0777", true);
        assert!(problems[0].contains("is a link"), "{problems:?}");
        for name in ["secret", "shadow"] {
            assert_eq!(world.is(name), (0, 0, 0o600), "{name}");
        }
    }

    #[test]
    fn roots_own_links_are_followed() {
        let Some(world) = World::new() else { return };
        fs::create_dir(world.at("real")).unwrap();
        symlink("real", world.at("link")).unwrap();
        assert!(world.apply("link false db 0600 0750", false).is_empty());
        assert_eq!(world.is("real"), (USER, USER, 0o750));
    }
}
