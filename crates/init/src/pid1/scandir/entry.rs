//! Looking at a service directory that anybody may have put there: what it is, and whose.

use std::ffi::{CStr, OsStr};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use herm_s6::service_directory::{Definition, Source};
use herm_sys::fs_at::{Dir, file_type};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};

/// No file of a service directory but its scripts is longer.
const FILE_BYTES_MAX: u64 = 4096;

/// More services than that are not named by one.
const NAMES_MAX: usize = 1024;

/// Bits of a mode that let others than the owner write.
const OTHERS_WRITE: u32 = 0o022;

/// A service directory, held open.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) dir: Dir,
    /// What tells it from every other directory, see [`identity`].
    pub(super) identity: (u64, u64),
    /// What else decides which directory it is: the link of its name, where that is one, and of a
    /// logger all that decides which service's it is.
    above: Vec<Stat>,
}

/// Why nothing is supervised here.
#[derive(Debug)]
pub(super) enum Refusal {
    /// It is no directory: ignored, as s6 does.
    NoDirectory,
    /// The kernel said no.
    Io(io::Error),
    /// Two users have a hand in it.
    TwoOwners(u32, u32),
    /// Others than its owner can write this.
    WritableByOthers(String),
    /// A link in it leads through a directory that another user can write.
    Astray(String),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<herm_sys::Errno> for Refusal {
    fn from(error: herm_sys::Errno) -> Self {
        Self::Io(error.into())
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoDirectory => write!(f, "it is no directory"),
            Self::Io(error) => write!(f, "{error}"),
            Self::TwoOwners(one, other) => write!(
                f,
                "users {one} and {other} both own a part of it, so it runs as neither; \
                 give all of it to one of them"
            ),
            Self::WritableByOthers(what) => write!(
                f,
                "others than its owner can write {what}, so it does not run as its owner; chmod go-w"
            ),
            Self::Astray(what) => write!(
                f,
                "{what} is a link through a directory that others than root can write; \
                 replace it by the file"
            ),
        }
    }
}

impl Refusal {
    /// What is to be said of it: nothing of what s6 ignores, and nothing where the name is gone by
    /// now, for whoever removed it meant it not to be supervised.
    pub(super) fn told(&self, scan: &Dir, name: &OsStr) -> Option<String> {
        let is_gone = || {
            let there = rustix::fs::statat(scan, name, AtFlags::SYMLINK_NOFOLLOW);
            there.is_err_and(|error| error == herm_sys::Errno::NOENT)
        };
        match self {
            Self::NoDirectory => None,
            _ if is_gone() => None,
            refusal => Some(refusal.to_string()),
        }
    }
}

const LOOK: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

impl Entry {
    /// Opens an entry of the scan directory, following it where it is a link: the very link that
    /// was looked at, whatever has its name by then.
    pub(super) fn open(scan: &Dir, name: &OsStr) -> Result<Self, Refusal> {
        let named = rustix::fs::openat(scan, name, LOOK, Mode::empty())?;
        let named_by = rustix::fs::fstat(&named)?;
        let dir = match file_type(&named_by) {
            FileType::Directory => reopen(&named, c".")?,
            FileType::Symlink => follow(scan, &named, &named_by)?,
            _ => return Err(Refusal::NoDirectory),
        };
        Ok(Self {
            identity: identity(&dir)?,
            dir,
            above: vec![named_by],
        })
    }

    /// The logger's directory in it, if there is one.
    pub(super) fn logger(&self) -> Result<Option<Self>, Refusal> {
        match Self::open(&self.dir, OsStr::new("log")) {
            Ok(mut logger) => {
                logger.above.extend(&self.above);
                logger.above.push(self.dir.stat_self()?);
                Ok(Some(logger))
            }
            Err(Refusal::NoDirectory) => Ok(None),
            Err(Refusal::Io(error)) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whom it runs as: root, if all that decides what runs is root's and nobody else can change
    /// it; else the one other user who owns a part of it.
    pub(super) fn owner(&self, own: u32) -> Result<u32, Refusal> {
        self.owner_with(own, &["run", "finish"])
    }

    /// The same where these scripts are what runs.
    pub(super) fn owner_with(&self, own: u32, scripts: &[&str]) -> Result<u32, Refusal> {
        let dir = self.dir.stat_self()?;
        let mut parts: Vec<(&str, Stat)> = vec![("its directory", dir)];
        parts.extend(self.above.iter().map(|stat| ("its name", *stat)));
        for script in scripts.iter().copied() {
            if let Some(stat) = self.dir.stat(script)? {
                parts.push((script, stat));
                if file_type(&stat) == FileType::Symlink {
                    let target = rustix::fs::statat(&self.dir, script, AtFlags::empty());
                    parts.extend(target.ok().map(|stat| (script, stat)));
                }
            }
        }
        // Whoever supervises without being root can give nobody more than it has itself.
        if own != 0 {
            return Ok(own);
        }
        let mut owner = 0;
        for (_, part) in &parts {
            match part.st_uid {
                0 => {}
                uid if owner == 0 || owner == uid => owner = uid,
                uid => return Err(Refusal::TwoOwners(owner, uid)),
            }
        }
        let loose = |(_, stat): &&(&str, Stat)| {
            file_type(stat) != FileType::Symlink && stat.st_mode & OTHERS_WRITE != 0
        };
        match parts.iter().find(loose) {
            Some((what, _)) if owner == 0 => Err(Refusal::WritableByOthers((*what).to_owned())),
            _ => Ok(owner),
        }
    }

    /// Whether something may be made in the directory for a service of this user: it is that
    /// user's own, or root's and named by nobody else. A user's link to root's directory gets
    /// nothing written there.
    pub(super) fn is_open_to(&self, owner: u32) -> bool {
        self.dir.stat_self().is_ok_and(|dir| {
            dir.st_uid == owner || dir.st_uid == 0 && self.above.iter().all(|name| name.st_uid == 0)
        })
    }

    /// Opens a script to be executed as this user. What is not there is no error of the kind that
    /// says so.
    pub(super) fn script(&self, name: &str, owner: u32) -> Result<OwnedFd, Refusal> {
        let file = rustix::fs::openat(&self.dir, name, LOOK, Mode::empty())?;
        if file_type(&rustix::fs::fstat(&file)?) != FileType::Symlink {
            self.check_script(name, &file, owner)?;
            return Ok(file);
        }
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let target = rustix::fs::openat(&self.dir, name, flags, Mode::empty())?;
        self.check_script(name, &target, owner)?;
        if owner == 0 && !leads_straight(&target) {
            return Err(Refusal::Astray(name.to_owned()));
        }
        Ok(target)
    }

    /// It is as it was when the owner was found out.
    fn check_script(&self, name: &str, file: &OwnedFd, owner: u32) -> Result<(), Refusal> {
        if rustix::process::geteuid().as_raw() != 0 {
            return Ok(());
        }
        let dir = self.dir.stat_self()?;
        for (what, stat) in [(name, rustix::fs::fstat(file)?), ("its directory", dir)] {
            if stat.st_uid != 0 && stat.st_uid != owner {
                return Err(Refusal::TwoOwners(owner, stat.st_uid));
            }
            if owner == 0 && stat.st_mode & OTHERS_WRITE != 0 {
                return Err(Refusal::WritableByOthers(what.to_owned()));
            }
        }
        Ok(())
    }

    /// Its files besides the scripts; those that make no sense are named.
    pub(super) fn definition(&self) -> (Definition, Vec<&'static str>) {
        let mut bad = Vec::new();
        let definition = Definition::read(&mut Files(&self.dir), &mut bad);
        (definition, bad)
    }

    /// The names in a directory of it, by which other services are meant: what it needs, or starts
    /// after. Only setup makes such directories; a service of others has none that count.
    pub(super) fn names(&self, directory: &str) -> Vec<String> {
        let names = self.dir.open_dir(directory).and_then(|dir| dir.names());
        let names = names.unwrap_or_default().into_iter();
        let mut names: Vec<String> = names.filter_map(|name| name.into_string().ok()).collect();
        names.retain(|name| !name.starts_with('.'));
        names.truncate(NAMES_MAX);
        names
    }

    /// Whether it has a file of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.dir.has(name).unwrap_or(false)
    }
}

struct Files<'a>(&'a Dir);

impl Source for Files<'_> {
    fn content(&mut self, name: &'static str) -> Option<Vec<u8>> {
        self.0.read_if_present(name, FILE_BYTES_MAX).ok().flatten()
    }

    fn signal(&self, name: &str) -> Option<u8> {
        herm_sys::Signal::parse(name).map(herm_sys::Signal::number)
    }
}

/// Device and inode of a directory, the latter mixed with the time it was made, where the file
/// system knows: a new directory often has the number of the one that was removed last.
fn identity(dir: &Dir) -> io::Result<(u64, u64)> {
    use rustix::fs::StatxFlags;
    let stat = dir.stat_self()?;
    let made = rustix::fs::statx(dir, c"", AtFlags::EMPTY_PATH, StatxFlags::BTIME).ok();
    let made = made
        .filter(|made| StatxFlags::from_bits_retain(made.stx_mask).contains(StatxFlags::BTIME))
        .map_or(0, |made| {
            let seconds = u64::try_from(made.stx_btime.tv_sec).unwrap_or(0);
            (seconds << 30) | u64::from(made.stx_btime.tv_nsec)
        });
    Ok((stat.st_dev, stat.st_ino ^ made.rotate_left(17)))
}

/// What was opened only to be looked at, opened to be read.
fn reopen(directory: &OwnedFd, name: &CStr) -> Result<Dir, Refusal> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    Ok(rustix::fs::openat(directory, name, flags, Mode::empty())?.into())
}

/// Where a link leads. One that is not root's leads to nothing on another file system: a user
/// could make PID 1 wait for a server that doesn't answer.
fn follow(scan: &Dir, link: &OwnedFd, stat: &Stat) -> Result<Dir, Refusal> {
    let target = rustix::fs::readlinkat(link, c"", Vec::new())?;
    let target = Path::new(OsStr::from_bytes(target.as_bytes()));
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    if stat.st_uid == 0 {
        return match rustix::fs::openat(scan, target, flags, Mode::empty()) {
            Err(herm_sys::Errno::NOTDIR) => Err(Refusal::NoDirectory),
            other => Ok(other?.into()),
        };
    }
    let resolve = rustix::fs::ResolveFlags::NO_XDEV | rustix::fs::ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(scan, target, flags, Mode::empty(), resolve) {
        Err(herm_sys::Errno::NOTDIR) => Err(Refusal::NoDirectory),
        other => Ok(other?.into()),
    }
}

/// Whether everything above a file, as it is really called, is root's and nobody else's to write.
fn leads_straight(file: impl AsFd) -> bool {
    let fd = std::os::fd::AsRawFd::as_raw_fd(&file.as_fd());
    let Ok(real) = std::fs::read_link(format!("/proc/self/fd/{fd}")) else {
        return false;
    };
    let is_roots = |dir: &Path| {
        rustix::fs::lstat(dir).is_ok_and(|stat| {
            stat.st_uid == 0 && (stat.st_mode & OTHERS_WRITE == 0 || stat.st_mode & 0o1000 != 0)
        })
    };
    real.is_absolute() && real.ancestors().skip(1).all(is_roots)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::PathBuf;

    const USER: u32 = 12_345;
    const OTHER: u32 = 12_346;

    #[test]
    fn what_went_while_it_was_looked_at_is_not_told_and_a_broken_link_is() {
        let scan = tempfile::tempdir().unwrap();
        let told = |name: &str| {
            let dir = Dir::open_trusted(scan.path()).unwrap();
            let name = OsStr::new(name);
            Entry::open(&dir, name).unwrap_err().told(&dir, name)
        };
        assert_eq!(told("gone"), None);
        std::fs::write(scan.path().join("file"), "").unwrap();
        assert_eq!(told("file"), None);
        symlink("nowhere", scan.path().join("broken")).unwrap();
        assert!(told("broken").is_some_and(|why| why.contains("No such file")));
    }

    /// A scan directory with one service, all of it root's.
    struct World {
        scan: tempfile::TempDir,
    }

    impl World {
        fn new() -> Option<Self> {
            rustix::process::geteuid().is_root().then(|| {
                let scan = tempfile::tempdir().unwrap();
                let service = scan.path().join("a");
                std::fs::create_dir(&service).unwrap();
                std::fs::write(service.join("run"), "#!/bin/sh\n").unwrap();
                std::fs::set_permissions(service.join("run"), PermissionsExt::from_mode(0o755))
                    .unwrap();
                Self { scan }
            })
        }
        fn path(&self, name: &str) -> PathBuf {
            self.scan.path().join(name)
        }
        fn give(&self, name: &str, uid: u32) {
            std::os::unix::fs::lchown(self.path(name), Some(uid), Some(uid)).unwrap();
        }
        fn entry(&self, name: &str) -> Result<Entry, Refusal> {
            let scan = Dir::open_trusted(self.scan.path()).unwrap();
            Entry::open(&scan, OsStr::new(name))
        }
        fn owner(&self, name: &str) -> Result<u32, Refusal> {
            self.entry(name)?.owner(0)
        }
    }

    #[test]
    fn l23_one_part_that_is_a_users_makes_it_that_users() {
        for part in ["a", "a/run"] {
            let Some(world) = World::new() else { return };
            assert_eq!(world.owner("a").unwrap(), 0);
            world.give(part, USER);
            assert_eq!(world.owner("a").unwrap(), USER, "{part}");
        }
    }

    #[test]
    fn l79_a_users_link_to_roots_directory_runs_as_the_user() {
        let Some(world) = World::new() else { return };
        symlink("a", world.path("planted")).unwrap();
        assert_eq!(world.owner("planted").unwrap(), 0);
        world.give("planted", USER);
        assert_eq!(world.owner("planted").unwrap(), USER);
    }

    #[test]
    fn a_users_link_has_nothing_written_into_roots_directory() {
        let Some(world) = World::new() else { return };
        assert!(world.entry("a").unwrap().is_open_to(USER));
        symlink("a", world.path("planted")).unwrap();
        world.give("planted", USER);
        assert!(!world.entry("planted").unwrap().is_open_to(USER));
        world.give("a", USER);
        assert!(world.entry("planted").unwrap().is_open_to(USER));
    }

    #[test]
    fn two_users_with_a_hand_in_it_are_refused() {
        let Some(world) = World::new() else { return };
        world.give("a", USER);
        world.give("a/run", OTHER);
        assert!(matches!(
            world.owner("a"),
            Err(Refusal::TwoOwners(USER, OTHER))
        ));
    }

    #[test]
    fn what_others_can_write_does_not_run_as_root() {
        let Some(world) = World::new() else { return };
        std::fs::set_permissions(world.path("a/run"), PermissionsExt::from_mode(0o775)).unwrap();
        assert!(matches!(
            world.owner("a"),
            Err(Refusal::WritableByOthers(what)) if what == "run"
        ));
    }

    #[test]
    fn a_script_that_changed_hands_after_the_look_is_not_opened() {
        let Some(world) = World::new() else { return };
        let entry = world.entry("a").unwrap();
        let owner = entry.owner(0).unwrap();
        assert!(entry.script("run", owner).is_ok());
        world.give("a/run", USER);
        assert!(matches!(
            entry.script("run", owner),
            Err(Refusal::TwoOwners(0, USER))
        ));
    }

    #[test]
    fn roots_script_is_not_found_through_a_directory_of_a_user() {
        let Some(world) = World::new() else { return };
        std::fs::remove_file(world.path("a/run")).unwrap();
        std::fs::create_dir(world.path("users")).unwrap();
        std::fs::copy("/bin/true", world.path("users/run")).unwrap();
        symlink(world.path("users/run"), world.path("a/run")).unwrap();
        world.give("users", USER);
        let entry = world.entry("a").unwrap();
        assert!(matches!(
            entry.script("run", 0),
            Err(Refusal::Astray(what)) if what == "run"
        ));
    }

    #[test]
    fn what_is_no_directory_is_none_of_ours() {
        let Some(world) = World::new() else { return };
        std::fs::write(world.path("file"), "").unwrap();
        symlink("file", world.path("link")).unwrap();
        for name in ["file", "link"] {
            assert!(matches!(world.entry(name), Err(Refusal::NoDirectory)));
        }
        symlink("nowhere", world.path("dangling")).unwrap();
        assert!(matches!(world.entry("dangling"), Err(Refusal::Io(_))));
    }
}
