//! What this process may do here: facts for the boot's capability report (contract, section 10).

use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD, StatVfsMountFlags, accessat, statvfs};
use rustix::process::{Pid, getpid};
use rustix::thread::{CapabilitySet, capabilities, no_new_privs};

use crate::credentials::{Ids, ids};
use crate::rlimit::{self, Limit, Resource};

/// What we are and may do, as of one look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Our pid: 1 makes us the init of a PID namespace.
    pub pid: Pid,
    /// Our ids.
    pub ids: Ids,
    /// Effective capabilities, one bit each, numbered as in `capabilities(7)`.
    pub effective: u64,
    /// Whether no program we execute can gain privileges.
    pub no_new_privs: bool,
    /// The limit on open descriptors.
    pub open_files: Limit,
}

impl Report {
    /// Looks.
    pub fn collect() -> Self {
        Self {
            pid: getpid(),
            ids: ids(),
            effective: effective().bits(),
            no_new_privs: no_new_privs().unwrap_or(false),
            open_files: rlimit::get(Resource::OpenFiles),
        }
    }

    /// Whether services can run as other users than ours.
    pub fn can_change_users(&self) -> bool {
        self.has(CapabilitySet::SETUID) && self.has(CapabilitySet::SETGID)
    }

    /// Whether files can be given to other users.
    pub fn can_change_owners(&self) -> bool {
        self.has(CapabilitySet::CHOWN)
    }

    /// Whether processes of other users can be signalled.
    pub fn can_signal_others(&self) -> bool {
        self.has(CapabilitySet::KILL)
    }

    /// Whether other users' `/proc/<pid>/{environ,exe,fd}` can be read.
    pub fn can_inspect_others(&self) -> bool {
        self.has(CapabilitySet::SYS_PTRACE)
    }

    /// The names of our capabilities, as `capabilities(7)` writes them, without `CAP_`.
    pub fn capability_names(&self) -> Vec<&'static str> {
        CapabilitySet::from_bits_retain(self.effective)
            .iter_names()
            .map(|(name, _)| name)
            .collect()
    }

    fn has(&self, capability: CapabilitySet) -> bool {
        CapabilitySet::from_bits_retain(self.effective).contains(capability)
    }
}

fn effective() -> CapabilitySet {
    capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective)
}

/// How a directory can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirectoryUse {
    /// Files can be made in it, and executed.
    Writable,
    /// Files can be made in it, but none can be executed: it is mounted `noexec`.
    WritableNoExec,
    /// It can't be written to.
    ReadOnly,
    /// There is none, or it can't be reached.
    Missing,
}

/// How a directory can be used by our effective user. Asks the file system, so not for PID 1 and volumes.
pub fn directory_use(path: &Path) -> DirectoryUse {
    match accessat(
        CWD,
        path,
        Access::WRITE_OK | Access::EXEC_OK,
        AtFlags::EACCESS,
    ) {
        Ok(()) => match statvfs(path) {
            Ok(mount) if mount.f_flag.contains(StatVfsMountFlags::NOEXEC) => {
                DirectoryUse::WritableNoExec
            }
            _ => DirectoryUse::Writable,
        },
        Err(_) if path.is_dir() => DirectoryUse::ReadOnly,
        Err(_) => DirectoryUse::Missing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_root_can_do_is_reported() {
        let report = Report::collect();
        assert_eq!(report.pid, getpid());
        if report.ids.uids[1] == 0
            && report.effective == effective().bits()
            && report.effective != 0
        {
            assert!(report.can_change_users() && report.can_change_owners());
            assert!(report.capability_names().contains(&"SETUID"));
        } else {
            assert!(!report.can_change_users());
        }
    }

    #[test]
    fn directories_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(directory_use(dir.path()), DirectoryUse::Writable);
        assert_eq!(
            directory_use(&dir.path().join("none")),
            DirectoryUse::Missing
        );
        let mode = rustix::fs::Mode::from_raw_mode(0o555);
        rustix::fs::chmod(dir.path(), mode).unwrap();
        // Permissions don't stop root.
        let expected = if effective().contains(CapabilitySet::DAC_OVERRIDE) {
            DirectoryUse::Writable
        } else {
            DirectoryUse::ReadOnly
        };
        assert_eq!(directory_use(dir.path()), expected);
    }
}
