//! A look at an inode: no more is asked than a repair of ownership needs to know.

use std::ffi::CStr;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{AtFlags, FileType, StatxFlags};
use rustix::io::Errno;

use super::Owner;

/// Set once the kernel (before 4.11) or a seccomp profile has refused `statx`.
static NO_STATX: AtomicBool = AtomicBool::new(false);

/// Write permission of the group and of all others. Access lists give nobody more than the group's bits.
const OTHERS_WRITE: u32 = 0o022;

/// What matters of an inode here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    pub(super) kind: FileType,
    pub(super) uid: u32,
    pub(super) links: u64,
    pub(super) gid: u32,
    mode: u32,
    pub(super) device: (u32, u32),
    /// Kernels before 5.8 don't tell. Two binds of one file system differ only in it, and parts of
    /// one overlay only in the device.
    mount: Option<u64>,
}

impl Look {
    pub(super) fn at(dir: BorrowedFd<'_>, name: &CStr, flags: AtFlags) -> Result<Self, Errno> {
        if !NO_STATX.load(Ordering::Relaxed) {
            let flags = flags | AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC;
            let wanted = StatxFlags::TYPE
                | StatxFlags::MODE
                | StatxFlags::UID
                | StatxFlags::GID
                | StatxFlags::NLINK
                | StatxFlags::MNT_ID;
            match rustix::fs::statx(dir, name, flags, wanted) {
                Ok(found) => {
                    let told = StatxFlags::from_bits_retain(found.stx_mask);
                    return Ok(Self {
                        kind: FileType::from_raw_mode(found.stx_mode.into()),
                        uid: found.stx_uid,
                        links: found.stx_nlink.into(),
                        gid: found.stx_gid,
                        mode: found.stx_mode.into(),
                        device: (found.stx_dev_major, found.stx_dev_minor),
                        mount: told
                            .contains(StatxFlags::MNT_ID)
                            .then_some(found.stx_mnt_id),
                    });
                }
                Err(Errno::NOSYS | Errno::PERM) => NO_STATX.store(true, Ordering::Relaxed),
                Err(error) => return Err(error),
            }
        }
        Self::at_without_statx(dir, name, flags)
    }

    pub(super) fn at_without_statx(
        dir: BorrowedFd<'_>,
        name: &CStr,
        flags: AtFlags,
    ) -> Result<Self, Errno> {
        let found = rustix::fs::statat(dir, name, flags)?;
        let device = found.st_dev;
        Ok(Self {
            kind: FileType::from_raw_mode(found.st_mode),
            uid: found.st_uid,
            links: found.st_nlink,
            gid: found.st_gid,
            mode: found.st_mode,
            device: (rustix::fs::major(device), rustix::fs::minor(device)),
            mount: None,
        })
    }

    pub(super) fn belongs_to(&self, owner: Owner) -> bool {
        self.uid == owner.uid && self.gid == owner.gid
    }

    pub(super) fn is_on(&self, mount: &Self) -> bool {
        match self.mount.zip(mount.mount) {
            Some((ours, theirs)) => ours == theirs,
            None => self.device == mount.device,
        }
    }

    /// Whether it is a directory whose names nobody but root can change.
    pub(super) fn stands_still(&self) -> bool {
        self.uid == 0 && !self.others_write()
    }

    /// Whether anybody but its owner may write to it.
    pub(super) fn others_write(&self) -> bool {
        self.mode & OTHERS_WRITE != 0
    }
}
