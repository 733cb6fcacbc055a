//! Control groups, version 2, where we may make our own (`cgroups(7)`).
//!
//! A service in a group of its own can be ended whole, whatever sessions and parents its processes gave themselves. Most
//! containers mount the hierarchy read-only: then there is none, and services are followed by other means.

use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, Mode, OFlags, accessat, mkdirat, open, openat, unlinkat};
use rustix::io::Errno;
use rustix::process::Pid;

/// The most that is read of a file of a group.
const GROUP_FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The group we are in, if we may make groups under it.
#[derive(Debug)]
pub struct CgroupRoot {
    dir: OwnedFd,
    path: PathBuf,
}

impl CgroupRoot {
    /// Our own group; `None` if there is no version 2 hierarchy, if it is mounted read-only, or if it isn't ours to change.
    /// Tried by making a group and removing it: permissions alone don't tell (`nsdelegate`, user namespaces).
    pub fn detect() -> Option<Self> {
        let own = crate::process::read_small(c"/proc/self/cgroup").ok()?;
        let mounts = crate::process::read_small(c"/proc/self/mountinfo").ok()?;
        let path = locate(&own, &mounts)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = open(&path, flags, Mode::empty()).ok()?;
        let root = Self { dir, path };
        let probe = format!("herm-probe-{}", rustix::process::getpid().as_raw_pid());
        let group = root.create(&probe).ok()?;
        let usable = accessat(
            &group.dir,
            "cgroup.procs",
            Access::WRITE_OK,
            AtFlags::empty(),
        )
        .is_ok();
        drop(group);
        root.remove(&probe).ok()?;
        usable.then_some(root)
    }

    /// Where it is mounted, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a group, or opens it if it is there. The name is one path component.
    pub fn create(&self, name: &str) -> Result<Cgroup, Errno> {
        check_name(name)?;
        match mkdirat(&self.dir, name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        openat(&self.dir, name, flags, Mode::empty()).map(|dir| Cgroup { dir })
    }

    /// Removes a group; `BUSY` while a process, or a group, is in it.
    pub fn remove(&self, name: &str) -> Result<(), Errno> {
        check_name(name)?;
        unlinkat(&self.dir, name, AtFlags::REMOVEDIR)
    }
}

fn check_name(name: &str) -> Result<(), Errno> {
    let plain = !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\0']);
    if plain { Ok(()) } else { Err(Errno::INVAL) }
}

/// A group of ours.
#[derive(Debug)]
pub struct Cgroup {
    dir: OwnedFd,
}

impl Cgroup {
    /// What a child needs to enter it ([`crate::spawn::Launch::cgroup`]).
    pub fn entrance(&self) -> Result<OwnedFd, Errno> {
        openat(
            &self.dir,
            "cgroup.procs",
            OFlags::WRONLY | OFlags::CLOEXEC,
            Mode::empty(),
        )
    }

    /// The processes in it. Those of other PID namespaces are shown as 0 and left out.
    pub fn members(&self) -> io::Result<Vec<Pid>> {
        let text = self.read("cgroup.procs")?;
        Ok(text
            .lines()
            .filter_map(|line| line.parse().ok().filter(|n| *n > 0).and_then(Pid::from_raw))
            .collect())
    }

    /// Whether no process is in it or in a group below.
    pub fn is_empty(&self) -> io::Result<bool> {
        Ok(self
            .read("cgroup.events")?
            .lines()
            .any(|line| line == "populated 0"))
    }

    /// Kills everything in it and below, forks in progress included. `NOENT` before Linux 5.14: then the members have to be
    /// killed one by one until it is empty.
    pub fn kill(&self) -> Result<(), Errno> {
        let file = openat(
            &self.dir,
            "cgroup.kill",
            OFlags::WRONLY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        rustix::io::write(file, b"1").map(drop)
    }

    fn read(&self, name: &str) -> io::Result<String> {
        let file = openat(
            &self.dir,
            name,
            OFlags::RDONLY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let mut text = String::new();
        std::fs::File::from(file)
            .take(GROUP_FILE_BYTES_MAX)
            .read_to_string(&mut text)?;
        Ok(text)
    }
}

/// Where our group is found: our path within the hierarchy, under where (a part of) that is mounted.
fn locate(own: &[u8], mounts: &[u8]) -> Option<PathBuf> {
    let text = |bytes: &[u8]| PathBuf::from(std::ffi::OsStr::from_bytes(bytes));
    let own = own
        .split(|byte| *byte == b'\n')
        .find_map(|line| line.strip_prefix(b"0::"))?;
    let own = text(own);
    mounts.split(|byte| *byte == b'\n').find_map(|line| {
        // proc_pid_mountinfo(5): id parent major:minor root mount-point options [optional…] - type …
        let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
        let dash = fields.iter().position(|field| *field == b"-")?;
        let is_cgroup2 = fields.get(dash + 1).copied() == Some(b"cgroup2");
        let read_only = fields
            .get(5)?
            .split(|byte| *byte == b',')
            .any(|option| option == b"ro");
        if !is_cgroup2 || read_only {
            return None;
        }
        let (root, mount_point) = (text(fields.get(3)?), text(fields.get(4)?));
        // Without a cgroup namespace of our own, both paths may begin outside; then ours can't be reached by this mount.
        let below = own.strip_prefix(&root).ok()?;
        Some(mount_point.join(below))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reap;
    use crate::spawn::{Launch, Program, Spawner};

    #[test]
    fn our_group_is_found_under_the_mount_that_shows_it() {
        let mount = |root: &str, options: &str| {
            format!(
                "25 20 0:22 / /proc rw,nosuid - proc proc rw\n30 20 0:26 {root} /sys/fs/cgroup {options},nosuid shared:4 - cgroup2 cgroup rw\n"
            )
        };
        let found = |own: &str, mounts: String| locate(own.as_bytes(), mounts.as_bytes());
        let at = |path: &str| Some(PathBuf::from(path));
        assert_eq!(found("0::/\n", mount("/", "rw")), at("/sys/fs/cgroup"));
        assert_eq!(
            found("1:cpu:/x\n0::/a/b\n", mount("/", "rw")),
            at("/sys/fs/cgroup/a/b")
        );
        assert_eq!(
            found("0::/docker/x/sub\n", mount("/docker/x", "rw")),
            at("/sys/fs/cgroup/sub")
        );
        assert_eq!(found("0::/elsewhere\n", mount("/docker/x", "rw")), None);
        assert_eq!(found("0::/\n", mount("/", "ro")), None);
        assert_eq!(found("1:cpu:/\n", mount("/", "rw")), None);
        assert_eq!(found("", String::new()), None);
    }

    #[test]
    fn everything_in_a_group_is_killed() {
        let Some(root) = CgroupRoot::detect() else {
            eprintln!("skipped: no writable cgroup v2 here");
            return;
        };
        let name = format!("herm-test-{}", std::process::id());
        let group = root.create(&name).unwrap();
        assert!(group.is_empty().unwrap());
        let script = c"setsid sleep 60 & sleep 60".to_owned();
        let mut launch = Launch::new(
            Program::Paths(vec![c"/bin/sh".into()]),
            vec![c"sh".into(), c"-c".into(), script],
        );
        launch.env = vec![c"PATH=/usr/bin:/bin".into()];
        launch.cgroup = Some(group.entrance().unwrap());
        let mut spawner = Spawner::new().unwrap();
        let pid = spawner.spawn(launch, None).unwrap();
        while group.members().unwrap().len() < 3 {
            std::thread::yield_now();
        }
        assert!(group.members().unwrap().contains(&pid));
        assert_eq!(root.remove(&name), Err(Errno::BUSY));
        group.kill().unwrap();
        reap::wait_for(pid).unwrap();
        assert_eq!(spawner.reaped(pid), None);
        while !group.is_empty().unwrap() {
            std::thread::yield_now();
        }
        root.remove(&name).unwrap();
    }

    #[test]
    fn a_name_can_not_leave_the_group() {
        for bad in ["", "..", ".", "a/b", "/", "a\0b"] {
            assert_eq!(check_name(bad), Err(Errno::INVAL), "{bad:?}");
        }
    }
}
