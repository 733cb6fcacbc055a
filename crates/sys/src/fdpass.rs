//! Descriptors between our own processes: whole messages over a pair of sockets, each with a few descriptors.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg,
    sendmsg, socketpair,
};

/// Most descriptors in one message; the kernel's own limit is 253.
pub const FDS_PER_MESSAGE_MAX: usize = 16;
/// Room for that many descriptors and a header.
const CONTROL_BYTES: usize = rustix::cmsg_space!(ScmRights(FDS_PER_MESSAGE_MAX));

/// A connected pair of non-blocking, close-on-exec sockets that keep messages whole and in order.
pub fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
}

/// Sends one message, never waiting: `AGAIN` if the socket is full, `PIPE` if nobody is left to receive, `INVAL` for too
/// many descriptors. The descriptors stay ours; the receiver gets copies.
pub fn send(socket: impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    if fds.len() > FDS_PER_MESSAGE_MAX {
        return Err(Errno::INVAL);
    }
    let mut space = [MaybeUninit::uninit(); CONTROL_BYTES];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(Errno::INVAL);
    }
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    let sent =
        rustix::io::retry_on_intr(|| sendmsg(&socket, &[IoSlice::new(bytes)], &mut control, flags));
    let sent = match sent {
        // What a peer that left messages unread says first.
        Err(Errno::CONNRESET) => return Err(Errno::PIPE),
        sent => sent?,
    };
    if sent == bytes.len() {
        Ok(())
    } else {
        Err(Errno::MSGSIZE)
    }
}

/// A received message.
#[derive(Debug)]
pub struct Message {
    /// How much of the buffer it filled.
    pub len: usize,
    /// The descriptors that came with it, close-on-exec.
    pub fds: Vec<OwnedFd>,
    /// Whether bytes or descriptors were lost: the buffer was too small, or we have no room for more descriptors.
    pub truncated: bool,
}

/// Receives one message, never waiting: `AGAIN` if there is none, `Ok(None)` if the other end is closed. An empty message
/// without descriptors can't be told from that, so nobody sends one.
pub fn receive(socket: impl AsFd, buffer: &mut [u8]) -> Result<Option<Message>, Errno> {
    let mut space = [MaybeUninit::uninit(); CONTROL_BYTES];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let mut parts = [IoSliceMut::new(buffer)];
    let got = rustix::io::retry_on_intr(|| recvmsg(&socket, &mut parts, &mut control, flags))?;
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    if got.bytes == 0 && fds.is_empty() {
        return Ok(None);
    }
    let truncated = got
        .flags
        .intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC);
    Ok(Some(Message {
        len: got.bytes,
        fds,
        truncated,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::{FdFlags, fcntl_getfd};
    use std::io::Read;

    /// Asks until the other end is really closed: a child that another test is just starting may have a copy of it for a
    /// moment.
    fn once_alone<T>(mut ask: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
        loop {
            match ask() {
                Err(Errno::AGAIN) => std::thread::yield_now(),
                answer => return answer,
            }
        }
    }

    #[test]
    fn descriptors_arrive_with_their_message_and_close_on_exec() {
        let (ours, theirs) = pair().unwrap();
        let (mut reader, writer) = std::io::pipe().unwrap();
        send(&ours, b"take this", &[writer.as_fd()]).unwrap();
        send(&ours, b"second", &[]).unwrap();
        let mut buffer = [0; 64];
        let message = receive(&theirs, &mut buffer).unwrap().unwrap();
        assert_eq!(&buffer[..message.len], b"take this");
        assert!(!message.truncated);
        assert!(
            fcntl_getfd(&message.fds[0])
                .unwrap()
                .contains(FdFlags::CLOEXEC)
        );
        drop(writer);
        rustix::io::write(&message.fds[0], b"hello").unwrap();
        drop(message);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello");
        let message = receive(&theirs, &mut buffer).unwrap().unwrap();
        assert_eq!(
            (&buffer[..message.len], message.fds.len()),
            (&b"second"[..], 0)
        );
        assert_eq!(receive(&theirs, &mut buffer).err(), Some(Errno::AGAIN));
        drop(ours);
        assert!(
            once_alone(|| receive(&theirs, &mut buffer))
                .unwrap()
                .is_none()
        );
    }

    #[test]
    fn a_full_socket_never_blocks_and_a_dead_one_never_kills() {
        let (ours, theirs) = pair().unwrap();
        let chunk = [0; 1024];
        let full = loop {
            if let Err(errno) = send(&ours, &chunk, &[]) {
                break errno;
            }
        };
        assert_eq!(full, Errno::AGAIN);
        drop(theirs);
        assert_eq!(once_alone(|| send(&ours, &chunk, &[])), Err(Errno::PIPE));
    }

    #[test]
    fn what_does_not_fit_is_said_to_be_truncated() {
        let (ours, theirs) = pair().unwrap();
        send(&ours, b"0123456789", &[]).unwrap();
        let message = receive(&theirs, &mut [0; 4]).unwrap().unwrap();
        assert!(message.truncated);
        assert_eq!(message.len, 4);
    }
}
