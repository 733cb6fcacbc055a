//! Opening a directory by a path that somebody configured.
//!
//! The path is trusted, what lies on it need not be: the home may be below a volume that agents write
//! to, who could put a link to `/etc` in its place. So links on the way are followed only where
//! nobody but root or ourselves can have made them.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::{Dir, Made};

/// As many links as the kernel follows in one path (`path_resolution(7)`).
const LINKS_MAX: usize = 40;

const STEP: OFlags = OFlags::PATH
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

impl Dir {
    /// Opens the directory that a configured path names. A link on the way is followed only where
    /// no other user could have put it there. With `make`, what is missing is made with that mode.
    ///
    /// # Errors
    /// Also where a link is not to be trusted; the message then names it.
    pub fn open_configured(path: &Path, make: Option<u32>) -> io::Result<(Self, Made)> {
        let mut way = Way {
            at: rustix::fs::open(start(path), STEP, Mode::empty())?,
            is_ours: true,
            links: 0,
            rest: Vec::new(),
        };
        way.push(path);
        let mut made = Made::Existed;
        while let Some(name) = way.rest.pop() {
            if way.step(&name, make)? == Made::New {
                made = Made::New;
            }
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::openat(&way.at, ".", flags, Mode::empty())?;
        Ok((Self::from(dir), made))
    }
}

fn start(path: &Path) -> &'static str {
    if path.is_absolute() { "/" } else { "." }
}

/// How far a path has been followed.
struct Way {
    at: OwnedFd,
    /// Nobody else could have put anything on the way so far.
    is_ours: bool,
    links: usize,
    /// Names still to come, the next one last.
    rest: Vec<OsString>,
}

impl Way {
    fn push(&mut self, path: &Path) {
        let names = path.components().rev().filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        });
        self.rest.extend(names);
    }

    fn step(&mut self, name: &OsStr, make: Option<u32>) -> io::Result<Made> {
        self.is_ours &= is_ours(&rustix::fs::fstat(&self.at)?);
        match rustix::fs::openat(&self.at, name, STEP, Mode::empty()) {
            Ok(next) => self.at = next,
            // What a link opened so answers.
            Err(Errno::NOTDIR | Errno::LOOP) => self.follow(name)?,
            Err(Errno::NOENT) => {
                let mode = Mode::from_raw_mode(make.ok_or(Errno::NOENT)?);
                match rustix::fs::mkdirat(&self.at, name, mode) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => return Err(error.into()),
                }
                self.at = rustix::fs::openat(&self.at, name, STEP, Mode::empty())?;
                return Ok(Made::New);
            }
            Err(error) => return Err(error.into()),
        }
        Ok(Made::Existed)
    }

    fn follow(&mut self, name: &OsStr) -> io::Result<()> {
        let target = match rustix::fs::readlinkat(&self.at, name, Vec::new()) {
            Ok(target) => PathBuf::from(OsString::from_vec(target.into_bytes())),
            // It is no link.
            Err(Errno::INVAL) => return Err(Errno::NOTDIR.into()),
            Err(error) => return Err(error.into()),
        };
        let link = rustix::fs::statat(&self.at, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if !self.is_ours || !is_mine(&link) {
            return Err(io::Error::other(format!(
                "{} on the way to it is a link that another user can have made",
                name.display()
            )));
        }
        self.links += 1;
        if self.links > LINKS_MAX {
            return Err(Errno::LOOP.into());
        }
        if target.is_absolute() {
            self.at = rustix::fs::open("/", STEP, Mode::empty())?;
        }
        self.push(&target);
        Ok(())
    }
}

fn is_mine(stat: &Stat) -> bool {
    stat.st_uid == 0 || stat.st_uid == rustix::process::geteuid().as_raw()
}

/// Whether nobody else can put another thing in the place of what is in this directory. In a sticky
/// one they can't touch what isn't theirs.
fn is_ours(dir: &Stat) -> bool {
    is_mine(dir) && (dir.st_mode & 0o022 == 0 || dir.st_mode & 0o1000 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{chown, symlink};

    fn names(path: &Path) -> io::Result<Vec<OsString>> {
        Dir::open_configured(path, None)?.0.names()
    }

    #[test]
    fn l27_a_link_on_the_way_counts_only_where_nobody_else_can_have_made_it() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        fs::create_dir_all(at("real/home")).unwrap();
        fs::write(at("real/home/it"), "").unwrap();
        symlink("real", at("ours")).unwrap();
        symlink(at("ours/home"), at("real/absolute")).unwrap();
        assert_eq!(names(&at("ours/home")).unwrap(), ["it"]);
        assert_eq!(names(&at("ours/absolute")).unwrap(), ["it"]);
        assert_eq!(names(&at("ours/../real/./home")).unwrap(), ["it"]);
        symlink("loop", at("loop")).unwrap();
        assert!(names(&at("loop")).is_err());
        if !rustix::process::geteuid().is_root() {
            println!("the rest is skipped: only root gives directories away");
            return;
        }
        chown(at("real"), Some(4711), None).unwrap();
        let error = names(&at("ours/absolute")).unwrap_err().to_string();
        assert!(error.contains("absolute"), "{error}");
        assert_eq!(names(&at("ours/home")).unwrap(), ["it"]);
    }

    #[test]
    fn what_is_missing_is_made_and_a_file_in_the_way_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a/b");
        assert_eq!(
            Dir::open_configured(&path, None).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
        assert_eq!(
            Dir::open_configured(&path, Some(0o755)).unwrap().1,
            Made::New
        );
        assert_eq!(
            Dir::open_configured(&path, Some(0o755)).unwrap().1,
            Made::Existed
        );
        fs::write(root.path().join("file"), "").unwrap();
        assert!(Dir::open_configured(&root.path().join("file/x"), Some(0o755)).is_err());
    }
}
