//! Control groups, version 2, where we may make our own (`cgroups(7)`).
//!
//! A service in a group of its own can be ended whole, whatever sessions and parents its processes gave themselves. Most
//! containers mount the hierarchy read-only: then there is none, and services are followed by other means.
//!
//! No controller is switched on for the groups: a group with controllers for its children may have no process of its own
//! ("no internal processes"), and ours has PID 1 and whatever `docker exec` brings. Processor time is counted without; for
//! memory see [`Cgroup::memory_bytes`].

use std::ffi::{CStr, CString};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::inotify::{self, WatchFlags};
use rustix::fs::{Access, AtFlags, Dir, FileType, Mode, OFlags};
use rustix::fs::{accessat, fgetxattr, mkdirat, open, openat, unlinkat};
use rustix::io::Errno;
use rustix::process::Pid;

use crate::process;

/// The most that is read of a file of a group.
const GROUP_FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Groups within groups that are followed; a service of root's may make some.
const DEPTH_MAX: u32 = 8;

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC)
    .union(OFlags::NOFOLLOW);

/// The group we are in, if we may make groups under it.
#[derive(Debug)]
pub struct CgroupRoot {
    dir: Rc<OwnedFd>,
    path: PathBuf,
}

/// Where a child makes a group for itself.
#[derive(Clone, Debug)]
pub struct Place {
    parent: Rc<OwnedFd>,
    name: CString,
}

impl Place {
    pub(crate) fn parent(&self) -> &OwnedFd {
        &self.parent
    }

    pub(crate) fn name(&self) -> &CStr {
        &self.name
    }
}

impl CgroupRoot {
    /// Our own group; `None` if there is no version 2 hierarchy, if it is mounted read-only, or if it isn't ours to change.
    /// Tried by making a group and removing it: permissions alone don't tell (`nsdelegate`, user namespaces).
    pub fn detect() -> Option<Self> {
        let own = process::read_small(c"/proc/self/cgroup").ok()?;
        let mounts = process::read_small(c"/proc/self/mountinfo").ok()?;
        let path = locate(&own, &mounts)?;
        let dir = Rc::new(open(&path, DIRECTORY, Mode::empty()).ok()?);
        let root = Self { dir, path };
        let probe = format!("herm-probe-{}", rustix::process::getpid().as_raw_pid());
        mkdirat(&root.dir, probe.as_str(), Mode::from_raw_mode(0o755)).ok()?;
        let usable = root.open(&probe).is_ok_and(|group| group.can_be_entered());
        root.remove(&probe).ok()?;
        usable.then_some(root)
    }

    /// Whether systemd has left it to us (`Delegate=yes`, systemd.resource-control(5)): elsewhere on a host the hierarchy is
    /// systemd's alone to change. The init of a container needs no such mark.
    pub fn is_delegated(&self) -> bool {
        let marked = |name: &str| {
            let mut value = [0; 2];
            fgetxattr(&self.dir, name, &mut value).is_ok_and(|len| value.get(..len) == Some(b"1"))
        };
        marked("user.delegate") || marked("trusted.delegate")
    }

    /// Where it is mounted, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What a child needs to make a group of this name for itself ([`crate::spawn::Launch::cgroup`]). The name is one path
    /// component.
    pub fn place(&self, name: &str) -> Result<Place, Errno> {
        check_name(name)?;
        let name = CString::new(name).map_err(|_| Errno::INVAL)?;
        let parent = Rc::clone(&self.dir);
        Ok(Place { parent, name })
    }

    /// Opens a group that is there.
    pub fn open(&self, name: &str) -> Result<Cgroup, Errno> {
        check_name(name)?;
        openat(&self.dir, name, DIRECTORY, Mode::empty()).map(|dir| Cgroup { dir })
    }

    /// Removes a group with the empty ones in it; `BUSY` while a process is in one.
    pub fn remove(&self, name: &str) -> Result<(), Errno> {
        check_name(name)?;
        match unlinkat(&self.dir, name, AtFlags::REMOVEDIR) {
            Err(Errno::BUSY | Errno::NOTEMPTY) => {
                self.open(name)?.remove_inner(DEPTH_MAX)?;
                unlinkat(&self.dir, name, AtFlags::REMOVEDIR)
            }
            other => other,
        }
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
    fn can_be_entered(&self) -> bool {
        let none = AtFlags::empty();
        accessat(&self.dir, "cgroup.procs", Access::WRITE_OK, none).is_ok()
    }

    /// The processes in it and below. Those of other PID namespaces are shown as 0 and left out.
    pub fn members(&self) -> io::Result<Vec<Pid>> {
        let mut found = Vec::new();
        self.collect(&mut found, DEPTH_MAX)?;
        Ok(found)
    }

    fn collect(&self, found: &mut Vec<Pid>, depth: u32) -> io::Result<()> {
        let text = self.read("cgroup.procs")?;
        let numbers = text.lines().filter_map(|line| line.parse().ok());
        found.extend(numbers.filter(|n| *n > 0).filter_map(Pid::from_raw));
        for inner in self.inner(depth)? {
            // It may be gone by now, with everyone in it.
            if let Ok(inner) = self.enter(&inner) {
                inner.collect(found, depth - 1)?;
            }
        }
        Ok(())
    }

    /// The groups right below; none when that is too deep.
    fn inner(&self, depth: u32) -> io::Result<Vec<CString>> {
        let mut found = Vec::new();
        if depth == 0 {
            return Ok(found);
        }
        for entry in Dir::read_from(&self.dir)? {
            let entry = entry?;
            let name = entry.file_name();
            if entry.file_type() == FileType::Directory && !name.to_bytes().starts_with(b".") {
                found.push(name.to_owned());
            }
        }
        Ok(found)
    }

    fn enter(&self, name: &CStr) -> Result<Self, Errno> {
        openat(&self.dir, name, DIRECTORY, Mode::empty()).map(|dir| Self { dir })
    }

    fn remove_inner(&self, depth: u32) -> Result<(), Errno> {
        for name in self.inner(depth).map_err(|_| Errno::IO)? {
            self.enter(&name)?.remove_inner(depth - 1)?;
            unlinkat(&self.dir, &name, AtFlags::REMOVEDIR)?;
        }
        Ok(())
    }

    /// Whether no process is in it or in a group below.
    pub fn is_empty(&self) -> io::Result<bool> {
        Ok(self
            .read("cgroup.events")?
            .lines()
            .any(|line| line == "populated 0"))
    }

    /// Kills everything in it and below, forks in progress included. Before Linux 5.14 the members are held still (where
    /// that can be, 5.2) and killed one by one; whoever was missed is there at the next look.
    pub fn kill(&self) -> Result<(), Errno> {
        match self.write("cgroup.kill", b"1") {
            Err(Errno::NOENT) => {}
            other => return other,
        }
        let _ = self.write("cgroup.freeze", b"1");
        for member in self.members().map_err(|_| Errno::IO)? {
            // It may be gone already.
            let _ = crate::signals::kill(member, crate::signals::Signal::KILL);
        }
        let _ = self.write("cgroup.freeze", b"0");
        Ok(())
    }

    /// Processor time of everyone who is or was in it, microseconds.
    pub fn cpu_us(&self) -> Option<u64> {
        let text = self.read("cpu.stat").ok()?;
        let used = text
            .lines()
            .find_map(|line| line.strip_prefix("usage_usec "))?;
        used.parse().ok()
    }

    /// Memory, bytes: what is charged to the group where the memory controller is on for it, else what its processes have
    /// resident, pages they share counted once for each.
    pub fn memory_bytes(&self) -> Option<u64> {
        if let Ok(text) = self.read("memory.current") {
            return text.trim().parse().ok();
        }
        let members = self.members().ok()?;
        let resident = |pid: Pid| {
            process::stat(pid)
                .ok()
                .map(|stat| process::memory_bytes(&stat))
        };
        Some(members.into_iter().filter_map(resident).sum())
    }

    fn write(&self, name: &str, text: &[u8]) -> Result<(), Errno> {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let file = openat(&self.dir, name, flags, Mode::empty())?;
        rustix::io::write(file, text).map(drop)
    }

    fn read(&self, name: &str) -> io::Result<String> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = openat(&self.dir, name, flags, Mode::empty())?;
        let mut text = String::new();
        std::fs::File::from(file)
            .take(GROUP_FILE_BYTES_MAX)
            .read_to_string(&mut text)?;
        Ok(text)
    }
}

/// Tells when groups become empty. That is an event of its own: a group may be empty only some time after its last process
/// was reaped (the kernel takes a dead task out of its group when it is done with it).
#[derive(Debug)]
pub struct Emptiness {
    inotify: OwnedFd,
}

impl Emptiness {
    /// Watches nothing yet.
    pub fn new() -> Result<Self, Errno> {
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        inotify::init(flags).map(|inotify| Self { inotify })
    }

    /// Watches a group of `root`'s until it is removed; once more is as good as once.
    pub fn watch(&self, root: &CgroupRoot, name: &str) -> Result<(), Errno> {
        let file = root.path.join(name).join("cgroup.events");
        inotify::add_watch(&self.inotify, file.as_path(), WatchFlags::MODIFY).map(drop)
    }

    /// Forgets what was told: who wants to know which group it was looks.
    pub fn clear(&self) {
        let mut bytes = [0; 1024];
        while rustix::io::read(&self.inotify, &mut bytes).is_ok_and(|count| count > 0) {}
    }
}

impl AsFd for Emptiness {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
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

    fn root() -> Option<CgroupRoot> {
        let root = CgroupRoot::detect();
        if root.is_none() {
            eprintln!("skipped: no writable cgroup v2 here");
        }
        root
    }

    fn shell(script: &CStr) -> Launch {
        let argv = vec![c"sh".into(), c"-c".into(), script.to_owned()];
        let mut launch = Launch::new(Program::Paths(vec![c"/bin/sh".into()]), argv);
        launch.env = vec![c"PATH=/usr/bin:/bin".into()];
        launch
    }

    #[test]
    fn everything_in_a_group_is_killed() {
        let Some(root) = root() else {
            return;
        };
        let name = format!("herm-test-{}", std::process::id());
        let mut launch = shell(c"setsid sleep 60 & sleep 60");
        launch.cgroup = Some(root.place(&name).unwrap());
        let mut spawner = Spawner::new().unwrap();
        let pid = spawner.spawn(launch, None).unwrap();
        let executed = loop {
            if let Some(executed) = spawner.take_executed().pop() {
                break executed;
            }
        };
        assert_eq!((executed.pid, executed.placed), (pid, Ok(true)));
        let group = root.open(&name).unwrap();
        while group.members().unwrap().len() < 3 {
            std::thread::yield_now();
        }
        assert!(group.members().unwrap().contains(&pid));
        assert!(group.memory_bytes().unwrap() > 0);
        assert!(group.cpu_us().is_some());
        assert_eq!(root.remove(&name), Err(Errno::BUSY));

        let emptiness = Emptiness::new().unwrap();
        emptiness.watch(&root, &name).unwrap();
        let mut poller = crate::poll::Poller::new().unwrap();
        let token = crate::poll::Token::new(0, 0);
        poller
            .add(&emptiness, token, crate::poll::Interest::READ)
            .unwrap();
        group.kill().unwrap();
        let mut ready = Vec::new();
        while !group.is_empty().unwrap() {
            poller.wait(None, &mut ready).unwrap();
            emptiness.clear();
        }
        reap::wait_for(pid).unwrap();
        assert_eq!(spawner.reaped(pid), None);
        root.remove(&name).unwrap();
        assert_eq!(root.open(&name).unwrap_err(), Errno::NOENT);
    }

    #[test]
    fn a_group_in_a_group_is_seen_and_removed_with_it() {
        let Some(root) = root() else {
            return;
        };
        let name = format!("herm-nest-{}", std::process::id());
        let mode = Mode::from_raw_mode(0o755);
        mkdirat(&root.dir, name.as_str(), mode).unwrap();
        let group = root.open(&name).unwrap();
        mkdirat(&group.dir, "inner", mode).unwrap();
        let inner = Place {
            parent: Rc::new(group.dir.try_clone().unwrap()),
            name: c"inner/leaf".into(),
        };
        let mut launch = shell(c"sleep 60");
        launch.cgroup = Some(inner);
        let mut spawner = Spawner::new().unwrap();
        let pid = spawner.spawn(launch, None).unwrap();
        while group.members().unwrap() != [pid] {
            std::thread::yield_now();
        }
        assert!(!group.is_empty().unwrap());
        group.kill().unwrap();
        reap::wait_for(pid).unwrap();
        spawner.reaped(pid);
        while root.remove(&name).is_err() {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_child_that_can_not_have_its_group_runs_without_and_says_so() {
        let Some(root) = root() else {
            return;
        };
        let mut launch = shell(c"exit 7");
        launch.cgroup = Some(Place {
            name: c"herm-none/inner".into(),
            ..root.place("x").unwrap()
        });
        let mut spawner = Spawner::new().unwrap();
        let pid = spawner.spawn(launch, None).unwrap();
        let executed = loop {
            if let Some(executed) = spawner.take_executed().pop() {
                break executed;
            }
        };
        assert_eq!(executed.placed, Err(Errno::NOENT));
        assert_eq!(reap::wait_for(pid).unwrap(), reap::Exit::Code(7));
        spawner.reaped(pid);
    }

    #[test]
    fn a_name_can_not_leave_the_group() {
        for bad in ["", "..", ".", "a/b", "/", "a\0b"] {
            assert_eq!(check_name(bad), Err(Errno::INVAL), "{bad:?}");
        }
    }
}
