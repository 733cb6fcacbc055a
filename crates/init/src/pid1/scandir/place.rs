//! The files that tools of the s6 family look for, and where they are.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use herm_engine::{ServiceId, SortedMap, SortedSet};
use herm_sys::descriptors::out_of_the_way;
use herm_sys::fs_at::{Dir, file_type};
use herm_sys::{Errno, record_lock};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid};

use super::entry::Entry;
use super::{Record, ScanDir, Slot};
use crate::pid1::records::inherit;
use crate::setup::{Ids, LEFT_BEHIND};

/// The directory of the files in PID 1's runtime directory.
const STATE: &str = "scan";
/// The lock that every service's is a link to.
const LOCK: &str = ".lock";
/// The scanner's own directory.
pub(super) const SCANNER: &str = ".s6-svscan";

impl ScanDir {
    /// Makes the scan directory, with nothing supervised in it yet.
    pub(crate) fn create(path: PathBuf, runtime_dir: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(&path)?;
        let dir = Dir::open_trusted(&path)?;
        let runtime = Dir::open_trusted(runtime_dir)?;
        // What a supervisor before this one left behind: setup removes it, and nobody waits for that.
        if runtime.rename(STATE, LEFT_BEHIND).is_err() {
            runtime.remove_tree(STATE)?;
        }
        runtime.make_dir(STATE, 0o755)?;
        let state = runtime.open_dir(STATE)?;
        rustix::fs::fchmod(&state, Mode::from_raw_mode(0o755))?;
        sweep(&dir, &runtime_dir.join(STATE));
        let scanner = make_scanner(&dir)?;
        let own = lock(&scanner, "lock")?;
        let services = lock(&state, LOCK)?;
        let control = make_fifo(&scanner, "control", None)?;
        let made = Self {
            state_path: runtime_dir.join(STATE),
            path,
            dir,
            state,
            control,
            locks: [own, services],
            slots: SortedMap::new(),
            pending: None,
            strangers: SortedSet::new(),
            prune_at: None,
            next_number: 0,
        };
        made.keep();
        Ok(made)
    }

    /// Goes on with one that came through re-execution.
    pub(crate) fn adopt(record: &Record, runtime_dir: &Path) -> Option<Self> {
        let path = PathBuf::from(&record.path);
        let adopted = Self {
            dir: Dir::open_trusted(&path).ok()?,
            state: Dir::open_trusted(&runtime_dir.join(STATE)).ok()?,
            state_path: runtime_dir.join(STATE),
            path,
            control: inherit(Some(record.control))?,
            locks: [
                File::from(inherit(Some(record.locks.0))?),
                File::from(inherit(Some(record.locks.1))?),
            ],
            slots: SortedMap::new(),
            pending: None,
            strangers: SortedSet::new(),
            prune_at: None,
            next_number: 0,
        };
        // The program that replaced the one before it has its own name again.
        let _ = herm_sys::process::set_name(c"s6-svscan");
        Some(adopted)
    }

    fn keep(&self) {
        crate::pid1::records::keep(&self.control);
        self.locks.iter().for_each(crate::pid1::records::keep);
    }

    /// Makes what belongs to the supervision of one service, and returns its control FIFO.
    /// Its user may look, wait and give orders; so may the users of this group, where there is one.
    pub(super) fn make_state(
        &self,
        slot: &str,
        ids: &Ids,
        group: Option<u32>,
    ) -> io::Result<OwnedFd> {
        let mut dir = self.state.try_clone()?;
        for part in slot.split('/') {
            dir.make_dir(part, 0o755)?;
            dir = dir.open_dir(part)?;
            rustix::fs::fchmod(&dir, Mode::from_raw_mode(0o755))?;
        }
        dir.make_dir("supervise", 0o700)?;
        dir.make_dir("event", 0o700)?;
        let supervise = dir.open_dir("supervise")?;
        let event = dir.open_dir("event")?;
        let is_root = rustix::process::geteuid().is_root();
        let others = group.or_else(|| (ids.uid != 0).then_some(ids.gid));
        if let Some(gid) = others.filter(|_| is_root).map(Gid::from_raw) {
            // They may look and wait; only root makes, removes and renames.
            rustix::fs::fchown(&supervise, None, Some(gid))?;
            rustix::fs::fchmod(&supervise, Mode::from_raw_mode(0o750))?;
            rustix::fs::fchown(&event, None, Some(gid))?;
        }
        rustix::fs::fchmod(&event, Mode::from_raw_mode(0o3730))?;
        supervise.remove("lock")?;
        rustix::fs::linkat(&self.state, LOCK, &supervise, "lock", AtFlags::empty())?;
        let user = (is_root && ids.uid != 0).then_some(ids);
        let control = make_fifo(&supervise, "control", user)?;
        if let Some(gid) = group.filter(|_| is_root).map(Gid::from_raw) {
            rustix::fs::fchown(&control, None, Some(gid))?;
            rustix::fs::fchmod(&control, Mode::from_raw_mode(0o660))?;
        }
        Ok(control)
    }

    /// Shows them in the service directory, where something else of their name is put aside.
    pub(super) fn link_state(&self, entry: &Entry, slot: &str, owner: u32) -> io::Result<()> {
        if !entry.is_open_to(owner) {
            return Ok(());
        }
        let dir = &entry.dir;
        for name in ["supervise", "event"] {
            let target = self.state_of(slot).join(name);
            if let Some(found) = dir.stat(name)? {
                if file_type(&found) == FileType::Symlink
                    && rustix::fs::readlinkat(dir, name, Vec::new())?.as_bytes()
                        == target.as_os_str().as_encoded_bytes()
                {
                    continue;
                }
                put_aside(dir, name, self.next_number)?;
            }
            rustix::fs::symlinkat(&target, dir, name)?;
        }
        Ok(())
    }

    /// Takes the links away again, and the files with them.
    pub(super) fn remove_state(&self, dir: Option<&Dir>, slot: &str) {
        for name in ["supervise", "event"] {
            let target = self.state_of(slot).join(name);
            let ours = dir.and_then(|dir| {
                let link = rustix::fs::readlinkat(dir, name, Vec::new()).ok()?;
                (link.as_bytes() == target.as_os_str().as_encoded_bytes()).then_some(dir)
            });
            // What can't be removed is swept at the next start.
            let _ = ours.map(|dir| dir.remove(name));
        }
        let removed = match slot.rsplit_once('/') {
            Some((parent, name)) => self
                .state
                .open_dir(parent)
                .and_then(|parent| parent.remove_tree(name)),
            None => self.state.remove_tree(slot),
        };
        let _ = removed;
    }

    /// A place for a new slot.
    pub(super) fn add(&mut self, id: ServiceId, slot: Slot) {
        self.slots.insert(id, slot);
        self.next_number += 1;
    }

    /// The service has another user: so have its orders. Those of a shared one stay what they are.
    pub(super) fn own_control(&self, id: ServiceId, ids: &Ids) -> io::Result<()> {
        let slot = self.slots.get(&id).filter(|slot| !slot.shared);
        slot.map_or(Ok(()), |slot| give(&slot.control, ids))
    }

    /// Whether orders in `.s6-svscan/control` are root's alone: nobody else can write it.
    pub(super) fn is_roots(&self) -> bool {
        rustix::fs::fstat(&self.control).is_ok_and(|stat| {
            stat.st_uid == rustix::process::geteuid().as_raw() && stat.st_mode & 0o022 == 0
        })
    }

    /// Lets the home's user publish services, and have them looked for.
    pub(crate) fn open_to(&self, ids: &Ids) -> io::Result<()> {
        give(&self.dir, ids)?;
        give(&self.control, ids)
    }
}

/// Removes what showed services registered with a supervisor before this one: directories with
/// nothing but links to its files. In plain Docker `/run` survives a restart (L88), and what has no
/// `run` in it would be tried for ever.
fn sweep(dir: &Dir, state: &Path) {
    for name in dir.names().unwrap_or_default() {
        let Ok(shown) = dir.open_dir(&name) else {
            continue;
        };
        let inside = shown.names().unwrap_or_default();
        let is_link = |inner: &std::ffi::OsString| {
            let target = rustix::fs::readlinkat(&shown, inner, Vec::new());
            target.is_ok_and(|target| {
                Path::new(OsStr::from_bytes(target.as_bytes())).starts_with(state)
            })
        };
        if !inside.is_empty() && inside.iter().all(is_link) {
            // What can't be removed is refused when it is looked at, and told.
            let _ = inside.iter().try_for_each(|link| shown.remove(link));
            let _ = dir.remove_empty(&name);
        }
    }
}

fn make_scanner(scan: &Dir) -> io::Result<Dir> {
    let is_ours = scan.stat(SCANNER)?.is_some_and(|found| {
        file_type(&found) == FileType::Directory
            && found.st_uid == rustix::process::geteuid().as_raw()
    });
    if !is_ours {
        scan.remove_tree(SCANNER)?;
    }
    scan.make_dir(SCANNER, 0o700)?;
    let scanner = scan.open_dir(SCANNER)?;
    // Searchable: who may write the FIFO in it is the FIFO's to say.
    rustix::fs::fchmod(&scanner, Mode::from_raw_mode(0o711))?;
    Ok(scanner)
}

/// A file that is locked for as long as PID 1 lives.
fn lock(dir: &Dir, name: &str) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(dir, name, flags, Mode::from_raw_mode(0o644))?;
    if record_lock::try_hold(&fd)? {
        Ok(File::from(fd))
    } else {
        Err(io::Error::other("another supervisor has it"))
    }
}

/// A FIFO of whose two ends PID 1 holds both, so that it never ends.
fn make_fifo(dir: &Dir, name: &str, user: Option<&Ids>) -> io::Result<OwnedFd> {
    dir.remove(name)?;
    rustix::fs::mknodat(dir, name, FileType::Fifo, Mode::from_raw_mode(0o600), 0)?;
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fifo = rustix::fs::openat(dir, name, flags, Mode::empty())?;
    if let Some(ids) = user {
        give(&fifo, ids)?;
    }
    Ok(out_of_the_way(fifo))
}

/// Makes something another user's, where one may.
pub(super) fn give(what: impl AsFd, ids: &Ids) -> io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let (uid, gid) = (Uid::from_raw(ids.uid), Gid::from_raw(ids.gid));
    Ok(rustix::fs::fchown(what, Some(uid), Some(gid))?)
}

/// Renames what has a name that is needed: to remove a tree of somebody else's making can take
/// for ever.
fn put_aside(dir: &Dir, name: &str, number: u64) -> io::Result<()> {
    if dir.remove(name).is_ok() {
        return Ok(());
    }
    match rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(_) => {}
    }
    let mut random = [0; 4];
    let _ = rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::NONBLOCK);
    let unique = u32::from_ne_bytes(random);
    dir.rename(name, format!(".{name}.{number}.{unique:x}"))
}

/// The number of a descriptor, for the record.
pub(super) fn number_of(fd: &OwnedFd) -> i32 {
    fd.as_raw_fd()
}
