//! Leases and epochs as files.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::os::unix::fs::FileExt as _;

use herm_sys::file_lock;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::machine::{Holder, Look, Proof, Sighting};
use crate::error::HomeError;
use crate::files::{Dir, PRIVATE, PRIVATE_DIR};
use crate::handover::REQUESTS;
use crate::layout::{HERM_DIR, Home};

/// Leases of instances, in the home's `.herm`.
const INSTANCES: &str = "instances";
/// Who owned the gateways when, in the home's `.herm`.
const EPOCHS: &str = "epochs";
/// A lease has this size from its beginning to its end, so that it is overwritten whole in place.
const LEASE_BYTES: usize = 256;
/// Largest lease or epoch that is read.
const MAX_BYTES: u64 = 1024;
/// Leases that are looked at, at most: more are forged.
const MAX_LEASES: usize = 64;
/// Characters of a host's name that are kept.
const HOST_CHARS: usize = 64;
/// Looks at a lease of another kernel without a change, after which its file is removed.
const QUIET_LOOKS: u32 = 360;

/// What a lease says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The instance: one run of a supervisor.
    #[serde(skip)]
    pub id: String,
    /// `/proc/sys/kernel/random/boot_id` where it runs.
    pub boot: String,
    /// The host name there: in Docker the first digits of the container's id.
    pub host: String,
    /// The epoch it owned when it wrote this; 0 for none.
    pub epoch: u64,
    /// Grows with each renewal.
    pub beat: u64,
    /// It ended in order and left the gateways to others.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub released: bool,
}

impl Lease {
    /// Reads a lease's bytes.
    pub fn parse(id: &str, bytes: &[u8]) -> Option<Self> {
        let lease: Self = serde_json::from_slice(bytes).ok()?;
        Some(Self {
            id: id.to_owned(),
            host: lease
                .host
                .chars()
                .filter(|c| !c.is_control())
                .take(HOST_CHARS)
                .collect(),
            ..lease
        })
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::json!(self).to_string().into_bytes();
        bytes.resize(LEASE_BYTES.max(bytes.len() + 1) - 1, b' ');
        bytes.push(b'\n');
        bytes
    }
}

/// The leases of a home, as one instance sees and keeps them.
#[derive(Debug)]
pub struct Store {
    home: Home,
    own: Lease,
    /// Locks on this file system prove nothing, and what is written is seen elsewhere only when it
    /// has been sent there.
    blind: bool,
    /// The own lease, open and locked for as long as this instance lives.
    file: Option<File>,
    /// Others' leases as they were first seen, and for how many looks they have not changed.
    known: BTreeMap<String, Known>,
    looked: bool,
}

#[derive(Debug)]
struct Known {
    bytes: Vec<u8>,
    quiet: u32,
    lives: bool,
}

impl Store {
    /// Of this instance, whose id is a word of letters, digits and dashes. Touches nothing.
    pub fn new(home: &Home, id: &str, blind: bool) -> Self {
        let word = |path| {
            let text = fs::read_to_string(path).unwrap_or_default();
            text.trim().chars().take(HOST_CHARS).collect::<String>()
        };
        Self {
            home: home.clone(),
            own: Lease {
                id: id.to_owned(),
                boot: word("/proc/sys/kernel/random/boot_id"),
                host: word("/proc/sys/kernel/hostname"),
                epoch: 0,
                beat: 0,
                released: false,
            },
            blind,
            file: None,
            known: BTreeMap::new(),
            looked: false,
        }
    }

    /// Writes the own lease, which is made and locked if it isn't there.
    pub fn renew(&mut self, epoch: u64) -> Result<(), HomeError> {
        self.own.epoch = epoch;
        self.own.beat += 1;
        let dir = self.make_dir(INSTANCES)?;
        let file = match self
            .file
            .take()
            .filter(|file| is_still(&dir, &self.own.id, file))
        {
            Some(file) => file,
            None => open_lease(&dir, &self.own.id)?,
        };
        // An old keeper of this instance may be about to die, or somebody else hold it: then only
        // the counter speaks for us.
        let _ = file_lock::try_lock(&file);
        let written = file.write_all_at(&self.own.to_bytes(), 0);
        let failed = |e| HomeError::io("write", dir.path_of(&self.own.id), e);
        written.and_then(|()| self.send(&file)).map_err(failed)?;
        self.file = Some(file);
        Ok(())
    }

    /// Where others look from another machine, a write counts when it is there.
    fn send(&self, file: &File) -> std::io::Result<()> {
        if self.blind { file.sync_data() } else { Ok(()) }
    }

    /// How the home is now. Leases of other instances are remembered from look to look.
    pub fn look(&mut self) -> Result<Look, HomeError> {
        let Some(herm) = Dir::open(self.home.root())?.child(HERM_DIR)? else {
            return Ok(Look {
                epoch: 0,
                holder: Holder::Nobody,
                others: false,
            });
        };
        let (epoch, id) = highest(&herm)?;
        let instances = herm.child(INSTANCES)?;
        let holder = match (epoch, id) {
            (0, _) => Holder::Nobody,
            (_, None) => Holder::Unfinished,
            (_, Some(id)) if id == self.own.id => Holder::Me,
            (_, Some(id)) => match instances.as_ref().and_then(|dir| self.sight_in(dir, &id)) {
                Some(seen) => Holder::Other(id, seen),
                None => Holder::Unfinished,
            },
        };
        let others = match &instances {
            Some(dir) => self.look_at_others(dir)?,
            None => false,
        };
        Ok(Look {
            epoch,
            holder,
            others,
        })
    }

    /// Whether another instance is there that lives, as far as is known.
    fn look_at_others(&mut self, dir: &Dir) -> Result<bool, HomeError> {
        let mut names = dir.names()?;
        names.retain(|name| is_id(name) && *name != self.own.id);
        names.truncate(MAX_LEASES);
        self.known.retain(|id, _| names.contains(id));
        for id in names {
            let Some(seen) = self.sight_in(dir, &id) else {
                continue;
            };
            // One that comes while we are here is alive, and so is one whose counter moves.
            let fresh = Known {
                bytes: seen.bytes.clone(),
                quiet: 0,
                lives: self.looked,
            };
            let known = self.known.entry(id).or_insert(fresh);
            if known.bytes == seen.bytes {
                known.quiet = known.quiet.saturating_add(1);
            } else {
                known.bytes = seen.bytes;
                known.quiet = 0;
                known.lives = true;
            }
            match seen.proof {
                Proof::Alive => known.lives = true,
                Proof::Dead | Proof::Released => known.lives = false,
                Proof::Unknown => {}
            }
        }
        self.looked = true;
        Ok(self.known.values().any(|known| known.lives))
    }

    /// Another instance's lease; `None` if it has none.
    pub fn sight(&self, id: &str) -> Option<Sighting> {
        let herm = Dir::open(self.home.root()).ok()?.child(HERM_DIR).ok()??;
        self.sight_in(&herm.child(INSTANCES).ok()??, id)
    }

    fn sight_in(&self, dir: &Dir, id: &str) -> Option<Sighting> {
        let content = dir.read(id, MAX_BYTES).ok()??;
        let proof = match Lease::parse(id, &content.bytes) {
            Some(lease) if lease.released => Proof::Released,
            Some(lease) if !self.blind && !lease.boot.is_empty() && lease.boot == self.own.boot => {
                proof_of_lock(dir, id)
            }
            Some(_) | None => Proof::Unknown,
        };
        Some(Sighting {
            bytes: content.bytes,
            proof,
        })
    }

    /// Creates an epoch for this instance; `false` if it exists.
    pub fn take(&mut self, epoch: u64) -> Result<bool, HomeError> {
        let dir = self.make_dir(EPOCHS)?;
        let name = epoch.to_string();
        let failed = |e: std::io::Error| HomeError::io("create", dir.path_of(&name), e);
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let fd = match rustix::fs::openat(dir.as_fd(), &name, flags, Mode::from_raw_mode(PRIVATE)) {
            Ok(fd) => fd,
            Err(Errno::EXIST) => return Ok(false),
            Err(e) => return Err(failed(e.into())),
        };
        let file = File::from(fd);
        let written = file.write_all_at(self.own.id.as_bytes(), 0);
        if let Err(error) = written.and_then(|()| self.send(&file)) {
            // Nobody's epoch would have to be waited for.
            dir.remove(&name)?;
            return Err(failed(error));
        }
        Ok(true)
    }

    /// Removes what tells nobody anything any more: epochs before this one, which is ours, and
    /// leases of the dead.
    pub fn sweep(&mut self, epoch: u64) -> Result<(), HomeError> {
        let epochs = self.make_dir(EPOCHS)?;
        for name in epochs.names()? {
            if name.parse().is_ok_and(|other: u64| other < epoch) {
                epochs.remove(&name)?;
            }
        }
        let instances = self.make_dir(INSTANCES)?;
        let known: Vec<String> = self.known.keys().cloned().collect();
        for id in known {
            let seen = self.sight_in(&instances, &id);
            let quiet = self.known.get(&id).map_or(0, |known| known.quiet);
            let gone = seen.is_some_and(|seen| match seen.proof {
                Proof::Dead | Proof::Released => true,
                Proof::Alive => false,
                Proof::Unknown => quiet >= QUIET_LOOKS,
            });
            if gone {
                instances.remove(&id)?;
            }
        }
        Ok(())
    }

    /// Leaves the gateways to whoever comes next, who need not wait. The lock goes with it.
    pub fn release(&mut self) -> Result<(), HomeError> {
        let Some(file) = self.file.take() else {
            return Ok(());
        };
        self.own.released = true;
        let failed = |e| HomeError::io("write", self.home.herm_dir().join(INSTANCES), e);
        file.write_all_at(&self.own.to_bytes(), 0)
            .and_then(|()| self.send(&file))
            .map_err(failed)
    }

    /// The directories in which instances come and go, epochs are made and verbs are handed over;
    /// made if they aren't there and can be.
    pub fn directories(&self) -> [std::path::PathBuf; 3] {
        [INSTANCES, EPOCHS, REQUESTS].map(|name| {
            // Where the home takes no writes, the caller finds that there is none.
            let _ = self.make_dir(name);
            self.home.herm_dir().join(name)
        })
    }

    fn make_dir(&self, name: &str) -> Result<Dir, HomeError> {
        Dir::open(self.home.root())?
            .ensure_child(HERM_DIR, PRIVATE_DIR)?
            .ensure_child(name, PRIVATE_DIR)
    }
}

/// The instance that owns a home's gateways by its files, and its lease, for those who only look.
/// Whether it lives, they don't tell.
pub fn owner(home: &Home) -> Result<Option<Lease>, HomeError> {
    let Some(herm) = Dir::open(home.root())?.child(HERM_DIR)? else {
        return Ok(None);
    };
    let (_, id) = highest(&herm)?;
    let (Some(id), Some(dir)) = (id, herm.child(INSTANCES)?) else {
        return Ok(None);
    };
    let content = dir.read(&id, MAX_BYTES)?;
    Ok(content.and_then(|content| Lease::parse(&id, &content.bytes)))
}

/// The highest epoch and who it names; `(0, None)` where there is none.
fn highest(herm: &Dir) -> Result<(u64, Option<String>), HomeError> {
    let Some(dir) = herm.child(EPOCHS)? else {
        return Ok((0, None));
    };
    let names = dir.names()?;
    let Some(epoch) = names
        .iter()
        .filter_map(|name| name.parse::<u64>().ok())
        .max()
    else {
        return Ok((0, None));
    };
    let content = dir.read(&epoch.to_string(), MAX_BYTES)?;
    let id = content.and_then(|content| String::from_utf8(content.bytes).ok());
    Ok((epoch, id.filter(|id| is_id(id))))
}

/// Names of instances; whatever else lies there is none of ours.
fn is_id(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

fn proof_of_lock(dir: &Dir, id: &str) -> Proof {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let locked = rustix::fs::openat(dir.as_fd(), id, flags, Mode::empty())
        .and_then(|fd| file_lock::is_locked(&fd));
    match locked {
        Ok(true) => Proof::Alive,
        Ok(false) => Proof::Dead,
        Err(_) => Proof::Unknown,
    }
}

fn open_lease(dir: &Dir, id: &str) -> Result<File, HomeError> {
    let failed = |e: Errno| HomeError::io("open", dir.path_of(id), e);
    let flags =
        OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let fd =
        rustix::fs::openat(dir.as_fd(), id, flags, Mode::from_raw_mode(PRIVATE)).map_err(failed)?;
    let stat = rustix::fs::fstat(&fd).map_err(failed)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || stat.st_nlink != 1 {
        // What others put there is replaced by our own.
        dir.remove(id)?;
        return Err(failed(Errno::AGAIN));
    }
    Ok(File::from(fd))
}

/// Whether the name still leads to the file that is open.
fn is_still(dir: &Dir, id: &str, file: &File) -> bool {
    let at = rustix::fs::statat(dir.as_fd(), id, rustix::fs::AtFlags::SYMLINK_NOFOLLOW);
    match (at, rustix::fs::fstat(file)) {
        (Ok(at), Ok(open)) => (at.st_dev, at.st_ino) == (open.st_dev, open.st_ino),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use proptest::prelude::*;

    use super::*;

    fn home() -> (tempfile::TempDir, Home) {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path());
        (dir, home)
    }

    #[test]
    fn a_lease_is_overwritten_in_place_and_moves_with_each_renewal() {
        let (dir, home) = home();
        let mut a = Store::new(&home, "a", false);
        a.renew(0).unwrap();
        let path = dir.path().join(".herm/instances/a");
        let (first, size) = (fs::read(&path).unwrap(), LEASE_BYTES as u64);
        a.renew(7).unwrap();
        assert_ne!(fs::read(&path).unwrap(), first);
        assert_eq!(fs::metadata(&path).unwrap().len(), size);
        let lease = Lease::parse("a", &fs::read(&path).unwrap()).unwrap();
        assert_eq!((lease.epoch, lease.beat, lease.released), (7, 2, false));
        assert!(!lease.boot.is_empty() && !lease.host.is_empty());
    }

    #[test]
    fn l35_death_is_proven_by_a_free_lock_where_locks_can_be_trusted() {
        let (_dir, home) = home();
        let proof = |blind| Store::new(&home, "b", blind).sight("a").unwrap().proof;
        let mut a = Store::new(&home, "a", false);
        a.renew(1).unwrap();
        assert_eq!((proof(false), proof(true)), (Proof::Alive, Proof::Unknown));
        drop(a);
        assert_eq!((proof(false), proof(true)), (Proof::Dead, Proof::Unknown));
    }

    #[test]
    fn a_released_lease_need_not_be_waited_for_anywhere() {
        let (_dir, home) = home();
        let mut a = Store::new(&home, "a", true);
        a.renew(1).unwrap();
        a.release().unwrap();
        let b = Store::new(&home, "b", true);
        assert_eq!(b.sight("a").unwrap().proof, Proof::Released);
    }

    #[test]
    fn one_instance_only_can_take_an_epoch_and_the_highest_counts() {
        let (_dir, home) = home();
        let mut a = Store::new(&home, "a", false);
        let mut b = Store::new(&home, "b", false);
        assert_eq!(a.look().unwrap().holder, Holder::Nobody);
        a.renew(0).unwrap();
        b.renew(0).unwrap();
        assert!(a.take(1).unwrap() && !b.take(1).unwrap());
        assert_eq!(a.look().unwrap().holder, Holder::Me);
        let seen = b.look().unwrap();
        assert!(
            matches!(&seen.holder, Holder::Other(id, _) if id == "a"),
            "{seen:?}"
        );
        assert!(seen.others);
        assert!(b.take(10).unwrap() && a.take(9).unwrap());
        assert_eq!(a.look().unwrap().epoch, 10);
        assert_eq!(owner(&home).unwrap().unwrap().id, "b");
    }

    #[test]
    fn an_epoch_without_a_name_or_of_an_instance_without_a_lease_is_unfinished() {
        let (dir, home) = home();
        let mut a = Store::new(&home, "a", false);
        a.renew(0).unwrap();
        let epochs = dir.path().join(".herm/epochs");
        fs::create_dir(&epochs).unwrap();
        for content in ["", "nobody", "../../etc/passwd", "\0"] {
            fs::write(epochs.join("3"), content).unwrap();
            let look = a.look().unwrap();
            assert_eq!(
                (look.epoch, look.holder),
                (3, Holder::Unfinished),
                "{content:?}"
            );
        }
        assert_eq!(owner(&home).unwrap(), None);
    }

    #[test]
    fn a_lease_that_lies_there_from_before_is_no_other_until_it_moves() {
        let (_dir, home) = home();
        let mut old = Store::new(&home, "old", true);
        old.renew(0).unwrap();
        let mut me = Store::new(&home, "me", true);
        me.renew(0).unwrap();
        assert!(!me.look().unwrap().others && !me.look().unwrap().others);
        old.renew(0).unwrap();
        assert!(me.look().unwrap().others);
        let mut me = Store::new(&home, "me", true);
        me.look().unwrap();
        Store::new(&home, "new", true).renew(0).unwrap();
        assert!(me.look().unwrap().others, "it came while we were here");
    }

    #[test]
    fn the_owner_sweeps_old_epochs_and_the_leases_of_the_dead_only() {
        let (dir, home) = home();
        let mut alive = Store::new(&home, "alive", false);
        alive.renew(0).unwrap();
        Store::new(&home, "dead", false).renew(0).unwrap();
        let mut me = Store::new(&home, "me", false);
        me.renew(0).unwrap();
        for epoch in 1..4 {
            assert!(me.take(epoch).unwrap());
        }
        me.look().unwrap();
        me.sweep(3).unwrap();
        let names = |dir: std::path::PathBuf| Dir::open(&dir).unwrap().names().unwrap();
        assert_eq!(names(dir.path().join(".herm/epochs")), ["3"]);
        assert_eq!(names(dir.path().join(".herm/instances")), ["alive", "me"]);
    }

    #[test]
    fn a_lease_that_was_removed_or_replaced_is_made_anew_and_no_symlink_is_followed() {
        let (dir, home) = home();
        let mut a = Store::new(&home, "a", false);
        a.renew(0).unwrap();
        let path = dir.path().join(".herm/instances/a");
        let victim = dir.path().join("victim");
        fs::write(&victim, "keep").unwrap();
        fs::remove_file(&path).unwrap();
        a.renew(0).unwrap();
        assert!(path.exists());
        fs::remove_file(&path).unwrap();
        symlink(&victim, &path).unwrap();
        assert!(a.renew(0).is_err());
        fs::remove_file(&path).unwrap();
        fs::hard_link(&victim, &path).unwrap();
        assert!(
            a.renew(0).is_err(),
            "a foreign file is taken out of the way"
        );
        a.renew(0).unwrap();
        assert_eq!(fs::read(&victim).unwrap(), b"keep");
        assert_eq!(a.look().unwrap().holder, Holder::Nobody);
    }

    #[test]
    fn a_flood_of_forged_leases_is_not_read_to_its_end() {
        let (dir, home) = home();
        let mut a = Store::new(&home, "a", false);
        a.renew(0).unwrap();
        for number in 0..200 {
            fs::write(dir.path().join(format!(".herm/instances/x{number}")), "{").unwrap();
        }
        a.look().unwrap();
        assert_eq!(a.known.len(), MAX_LEASES);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Lease::parse("x", &bytes);
        }
    }
}
