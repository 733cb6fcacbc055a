//! Who a peer is, who we are, and becoming someone else for good.
//!
//! # Safety
//!
//! `unsafe` for calls `rustix` doesn't have: saved ids, `SO_PEERGROUPS`, and the C library's `set*id`, which change all
//! threads of the process and not only the caller's. They take numbers, or a buffer with its length.
#![expect(unsafe_code, reason = "ids of the whole process, and of peers")]

use std::os::fd::{AsFd, AsRawFd};

use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Pid, getgroups, set_dumpable_behavior};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set, set_capabilities,
    set_keep_capabilities, set_no_new_privs,
};

use crate::signals::last_errno;
use crate::spawn::Identity;

/// The kernel's "nobody": what an id reads as that has no mapping into our user namespace. It must match no one.
pub const OVERFLOW_ID: u32 = 65534;

/// Most supplementary groups a process can have (`NGROUPS_MAX`).
const GROUPS_MAX: usize = 65536;

/// Who connected to a unix socket, as of then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// For display only: the process may be gone and its number another's. `None` if it is outside our PID namespace.
    pub pid: Option<Pid>,
    /// Effective user.
    pub uid: u32,
    /// Effective group.
    pub gid: u32,
    /// Supplementary groups; none on kernels before 4.13, which don't tell.
    pub groups: Vec<u32>,
}

/// The peer of a connected unix stream socket (`SO_PEERCRED`, `SO_PEERGROUPS`, `unix(7)`).
pub fn peer(socket: impl AsFd) -> Result<Peer, Errno> {
    let mut raw = libc::ucred {
        pid: 0,
        uid: OVERFLOW_ID,
        gid: OVERFLOW_ID,
    };
    let mut len = socklen(size_of::<libc::ucred>());
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: writes at most `len` bytes into a local of that size. By hand, because the pid may be 0, which `rustix` can't
    // express.
    let done = unsafe {
        libc::getsockopt(
            fd,
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut raw).cast(),
            &raw mut len,
        )
    };
    if done != 0 {
        return Err(last_errno());
    }
    // A socket without a peer answers with -1.
    if raw.uid == u32::MAX {
        return Err(Errno::NOTCONN);
    }
    Ok(Peer {
        pid: Pid::from_raw(raw.pid),
        uid: raw.uid,
        gid: raw.gid,
        groups: peer_groups(fd)?,
    })
}

fn peer_groups(fd: i32) -> Result<Vec<u32>, Errno> {
    let mut groups = vec![0_u32; 64];
    loop {
        let mut len = socklen(groups.len() * size_of::<u32>());
        // SAFETY: writes at most `len` bytes into a buffer of that length.
        let done = unsafe {
            let buffer = groups.as_mut_ptr().cast();
            libc::getsockopt(
                fd,
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                buffer,
                &raw mut len,
            )
        };
        let count = usize::try_from(len).unwrap_or(0) / size_of::<u32>();
        if done == 0 {
            groups.truncate(count);
            return Ok(groups);
        }
        match last_errno() {
            // Too small: the kernel said how much it takes.
            Errno::RANGE if count > groups.len() && count <= GROUPS_MAX => groups.resize(count, 0),
            Errno::NOPROTOOPT => return Ok(Vec::new()),
            errno => return Err(errno),
        }
    }
}

fn socklen(bytes: usize) -> libc::socklen_t {
    libc::socklen_t::try_from(bytes).unwrap_or(0)
}

/// All ids of ours that matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ids {
    /// Real, effective and saved user.
    pub uids: [u32; 3],
    /// Real, effective and saved group.
    pub gids: [u32; 3],
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

/// Our ids.
pub fn ids() -> Ids {
    let mut uids = [0_u32; 3];
    let mut gids = [0_u32; 3];
    let [real, effective, saved] = &mut uids;
    // SAFETY: writes three locals; can't fail with valid pointers.
    unsafe { libc::getresuid(real, effective, saved) };
    let [real, effective, saved] = &mut gids;
    // SAFETY: as above.
    unsafe { libc::getresgid(real, effective, saved) };
    let groups = getgroups()
        .unwrap_or_default()
        .into_iter()
        .map(rustix::process::Gid::as_raw)
        .collect();
    Ids { uids, gids, groups }
}

/// Whether we have the capability that setting groups takes.
pub fn may_set_groups() -> bool {
    capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SETGID))
}

/// Why nothing we start can be this user and group; `None` where it can (`credentials(7)`, `user_namespaces(7)`).
pub fn obstacle_to(uid: u32, gid: u32) -> Option<&'static str> {
    let ours = ids();
    if ours.uids == [uid; 3] && ours.gids == [gid; 3] {
        return None;
    }
    let effective = capabilities(None).map(|sets| sets.effective);
    if !effective.is_ok_and(|held| held.contains(CapabilitySet::SETUID | CapabilitySet::SETGID)) {
        return Some("the capabilities SETUID and SETGID are missing");
    }
    // Where these files are not to be read there are no user namespaces, and every id is there.
    let read = |name: &str| std::fs::read_to_string(format!("/proc/self/{name}"));
    let has = |name: &str, id: u32| read(name).map_or(true, |map| is_mapped(&map, id));
    if !has("uid_map", uid) || !has("gid_map", gid) {
        return Some("its ids are not mapped into this user namespace");
    }
    let denied = read("setgroups").is_ok_and(|word| word.trim() == "deny");
    denied.then_some("this user namespace may not set groups")
}

/// Whether an id is in the first column's ranges of `/proc/<pid>/uid_map` (`user_namespaces(7)`).
fn is_mapped(map: &str, id: u32) -> bool {
    map.lines().any(|line| {
        let mut numbers = line.split_ascii_whitespace().map(str::parse::<u32>);
        match (numbers.next(), numbers.nth(1)) {
            (Some(Ok(first)), Some(Ok(count))) => id >= first && id - first < count,
            _ => false,
        }
    })
}

fn checked(result: i32) -> Result<(), Errno> {
    if result == 0 {
        Ok(())
    } else {
        Err(last_errno())
    }
}

/// Sets the supplementary groups of this whole process.
pub fn set_groups(groups: &[u32]) -> Result<(), Errno> {
    // SAFETY: reads `groups.len()` ids.
    checked(unsafe { libc::setgroups(groups.len(), groups.as_ptr()) })
}

fn set_all_gids(gid: u32) -> Result<(), Errno> {
    // SAFETY: numbers only.
    checked(unsafe { libc::setresgid(gid, gid, gid) })
}

fn set_all_uids(uid: u32) -> Result<(), Errno> {
    // SAFETY: numbers only.
    checked(unsafe { libc::setresuid(uid, uid, uid) })
}

/// Makes this whole process, all threads of it, another user for good. What we are already is not set again (L28).
pub fn become_identity(identity: &Identity) -> Result<(), Errno> {
    let ours = ids();
    if ours.uids == [identity.uid; 3] && ours.gids == [identity.gid; 3] {
        return Ok(());
    }
    set_groups(&identity.groups)?;
    set_all_gids(identity.gid)?;
    set_all_uids(identity.uid)
}

/// As whom files are opened and made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileOwner {
    /// Their user.
    pub uid: u32,
    /// Their group.
    pub gid: u32,
}

/// Makes this single-threaded process the log daemon: a user of its own, whom no agent may signal or trace, who yet makes
/// and opens files as the service user does. Then there are no capabilities left to change any of it.
///
/// Without the privileges for that (`PERM`) nothing but the last steps is done, and the caller goes on as who it is.
pub fn become_logd(own: &Identity, files_of: FileOwner) -> Result<(), Errno> {
    let changed = change_to_logd(own, files_of);
    let sealed = seal();
    changed.and(sealed)
}

fn change_to_logd(own: &Identity, files_of: FileOwner) -> Result<(), Errno> {
    if !may_set_groups() {
        return Err(Errno::PERM);
    }
    drop_bounds();
    set_keep_capabilities(true)?;
    set_groups(&own.groups)?;
    set_all_gids(own.gid)?;
    set_all_uids(own.uid)?;
    // The change of user emptied the effective set and kept the permitted one.
    let needed = CapabilitySet::SETUID | CapabilitySet::SETGID;
    let sets = CapabilitySets {
        effective: needed,
        permitted: needed,
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, sets)?;
    set_file_ids(files_of)
}

/// Nothing that is executed later shall bring a capability back.
fn drop_bounds() {
    for capability in 0..64_u32 {
        // SAFETY: numbers only. Refused past the last capability, and without the right to; then there is nothing to drop, or
        // the sealing that follows has to do.
        unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
    }
}

/// These calls never fail as such: they return the id before. So what is set is asked by a second one, for an id that can't
/// be set.
fn set_file_ids(wanted: FileOwner) -> Result<(), Errno> {
    let set_group = |gid| {
        // SAFETY: numbers only.
        unsafe { libc::setfsgid(gid) }.cast_unsigned()
    };
    let set_user = |uid| {
        // SAFETY: numbers only.
        unsafe { libc::setfsuid(uid) }.cast_unsigned()
    };
    set_group(wanted.gid);
    set_user(wanted.uid);
    let same = set_group(u32::MAX) == wanted.gid && set_user(u32::MAX) == wanted.uid;
    if same { Ok(()) } else { Err(Errno::PERM) }
}

/// No capabilities, none to be had, nobody to look inside.
fn seal() -> Result<(), Errno> {
    // Kernels before 4.3 have no ambient set.
    let _ = clear_ambient_capability_set();
    let none = CapabilitySet::empty();
    set_capabilities(
        None,
        CapabilitySets {
            effective: none,
            permitted: none,
            inheritable: none,
        },
    )?;
    set_no_new_privs(true)?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn an_id_outside_the_maps_ranges_is_out_of_reach() {
        let map = "         0       1000          1\n         1     100000      65536\n";
        for (id, expected) in [(0, true), (1, true), (65_536, true), (65_537, false)] {
            assert_eq!(is_mapped(map, id), expected, "{id}");
        }
        assert!(is_mapped("0 0 4294967295\n", 10_000));
        assert!(!is_mapped("", 0) && !is_mapped("nonsense", 0));
    }

    #[test]
    fn nothing_stands_in_the_way_of_staying_who_we_are() {
        let ours = ids();
        assert_eq!(obstacle_to(ours.uids[1], ours.gids[1]), None);
    }

    #[test]
    fn the_peer_of_our_own_socket_is_us() {
        let (a, _b) = UnixStream::pair().unwrap();
        let peer = peer(&a).unwrap();
        let ours = ids();
        assert_eq!((peer.uid, peer.gid), (ours.uids[1], ours.gids[1]));
        assert_eq!(peer.pid, Some(rustix::process::getpid()));
        let sorted = |mut groups: Vec<u32>| {
            groups.sort_unstable();
            groups
        };
        assert_eq!(sorted(peer.groups), sorted(ours.groups));
    }

    #[test]
    fn what_is_no_unix_socket_has_no_peer() {
        let (reader, _writer) = std::io::pipe().unwrap();
        assert_eq!(peer(&reader), Err(Errno::NOTSOCK));
    }
}
