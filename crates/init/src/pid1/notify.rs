//! How services say that they are ready: a newline on a descriptor (s6's protocol), or `READY=1`
//! on a datagram socket (`sd_notify(3)`).

use std::fs;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use herm_engine::{Event, RunId};
use herm_sys::Errno;
use rustix::fs::{Gid, Uid};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketAddrUnix,
    SocketFlags, SocketType,
};

use super::supervisor::Supervisor;

/// Longest notification read.
const DATAGRAM_BYTES: usize = 4096;

/// Notifications of a run that is not ready yet after which it is not listened to any longer: each wakes
/// PID 1, and a service may send without end.
const NOTIFICATIONS_MAX: u32 = 4096;

/// Where a run's socket is.
pub(crate) fn path(runtime_dir: &Path, run: u64) -> PathBuf {
    runtime_dir.join(format!("notify.{run}"))
}

/// A datagram socket that only the service's user can send to.
pub(crate) fn socket(runtime_dir: &Path, run: u64, uid: u32) -> Result<OwnedFd, Errno> {
    let path = path(runtime_dir, run);
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
    rustix::net::sockopt::set_socket_passcred(&socket, true)?;
    forget(runtime_dir, run);
    rustix::net::bind(&socket, &SocketAddrUnix::new(&path)?)?;
    rustix::fs::chmod(&path, 0o600.into())?;
    if uid != rustix::process::geteuid().as_raw() {
        rustix::fs::chown(&path, Some(Uid::from_raw(uid)), None::<Gid>)?;
    }
    Ok(socket)
}

/// Removes a run's socket.
pub(crate) fn forget(runtime_dir: &Path, run: u64) {
    // Most runs have none.
    let _ = fs::remove_file(path(runtime_dir, run));
}

impl Supervisor {
    /// Counts what a run has notified us of, and stops listening to one that never ends.
    fn is_too_talkative(&mut self, number: u64) -> bool {
        let Some(run) = self.runs.get_mut(&number) else {
            return true;
        };
        run.notified = run.notified.saturating_add(1);
        if run.notified <= NOTIFICATIONS_MAX {
            return false;
        }
        let name = run.record.service.clone();
        self.output.warn(&format!(
            "{name}: notifies without end; no longer listened to"
        ));
        self.close_notifications(number);
        true
    }

    /// A notification descriptor can be read, or was closed.
    pub(crate) fn notified(&mut self, number: u64) {
        if self.is_too_talkative(number) {
            return;
        }
        let Some(fd) = self.runs.get(&number).and_then(|run| run.notify.as_ref()) else {
            return;
        };
        let mut bytes = [0_u8; 512];
        let read = rustix::io::read(fd, &mut bytes);
        match read {
            Ok(count) if count > 0 => {
                if bytes.get(..count).unwrap_or_default().contains(&b'\n') {
                    // All it can say is said (s6's protocol).
                    self.close_notifications(number);
                    self.ready(number);
                }
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Ok(_) | Err(_) => self.close_notifications(number),
        }
    }

    /// A datagram has arrived on a notification socket.
    pub(crate) fn datagram(&mut self, number: u64) {
        if self.is_too_talkative(number) {
            return;
        }
        let Some(run) = self.runs.get(&number) else {
            return;
        };
        let uid = run.record.uid;
        let Some(socket) = run.notify.as_ref() else {
            return;
        };
        let mut bytes = [0_u8; DATAGRAM_BYTES];
        let mut space =
            [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1), ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let Ok(packet) = rustix::net::recvmsg(socket.as_fd(), &mut parts, &mut ancillary, flags)
        else {
            return;
        };
        let sender = ancillary.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmCredentials(credentials) => Some(credentials.uid.as_raw()),
            _ => None,
        });
        let text = bytes.get(..packet.bytes).unwrap_or_default();
        let says_ready = text
            .split(|byte| *byte == b'\n')
            .any(|line| line == b"READY=1");
        if says_ready && sender.is_some_and(|sender| sender == uid || sender == 0) {
            // Nothing else it may say means anything to us, and who sends to nobody is told at once,
            // where an unread queue would stop it.
            self.close_notifications(number);
            self.ready(number);
        }
    }

    fn ready(&mut self, number: u64) {
        self.settle_starts();
        self.tell(Event::Ready {
            run: RunId::from_number(number),
        });
    }
}
