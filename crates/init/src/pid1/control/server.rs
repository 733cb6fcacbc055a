//! The control socket: who is connected, and what they have asked.
//!
//! Bounded in every direction: connections per uid, bytes per request, bytes unread per client.
//! A client can only ever cost itself its connection.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;

use herm_engine::SortedMap;
use herm_wire::{ErrorBody, ErrorCode, Reply, frame};

use super::authority::Peer;
use super::connection::{Connection, Input};
use crate::pid1::reactor::{Interest, Reactor, Source};

/// Connections altogether where descriptors are plenty …
const CONNECTIONS_MAX: u64 = 1024;
/// … and where they are not.
const CONNECTIONS_FEW: u64 = 128;
/// This many descriptors are plenty.
const PLENTY: u64 = 8192;

/// How many connections there may be under a limit on descriptors.
pub(crate) fn connections_max(limit: u64) -> u64 {
    if limit >= PLENTY {
        CONNECTIONS_MAX
    } else {
        CONNECTIONS_FEW
    }
}

/// Bytes that all clients of a user together may leave unread, root's excepted …
const UNREAD_BYTES_PER_USER: usize = 64 * 1024 * 1024;
/// … before those with more than this of them are dropped.
const UNREAD_BYTES_SLOW: usize = 64 * 1024;

/// Requests of one client taken in one go, so that a pipelining client can't keep the loop.
const REQUESTS_PER_TURN: usize = 16;

/// Which client; never given twice.
pub(crate) type ClientId = u64;

/// The control socket and its clients.
#[derive(Debug)]
pub(crate) struct Server {
    listener: UnixListener,
    clients: SortedMap<ClientId, Connection>,
    next_id: ClientId,
    /// Given up for a moment to take and refuse a client when there are no descriptors left;
    /// otherwise the unaccepted client would wake PID 1 for ever.
    spare: Option<OwnedFd>,
}

impl Server {
    /// Serves a listening, non-blocking socket.
    pub(crate) fn new(listener: UnixListener, reactor: &Reactor) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        reactor.add(&listener, Source::Listener, Interest::Read)?;
        Ok(Self {
            listener,
            clients: SortedMap::new(),
            next_id: 1,
            spare: spare_descriptor(),
        })
    }

    /// The listening socket, which is kept through re-execution.
    pub(crate) fn listener(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }

    /// A client.
    pub(crate) fn client(&self, id: ClientId) -> Option<&Connection> {
        self.clients.get(&id)
    }

    /// A client, to be changed.
    pub(crate) fn client_mut(&mut self, id: ClientId) -> Option<&mut Connection> {
        self.clients.get_mut(&id)
    }

    /// Clients that get events.
    pub(crate) fn subscribers(&self) -> Vec<ClientId> {
        let subscribed = self
            .clients
            .iter()
            .filter(|(_, client)| client.role.subscriber);
        subscribed.map(|(id, _)| *id).collect()
    }

    /// Takes one waiting client. Returns what went wrong, for the log.
    pub(crate) fn accept(&mut self, reactor: &Reactor) -> Result<(), String> {
        let stream = match self.listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) => return self.not_accepted(&error),
        };
        let adopt = || -> io::Result<Peer> {
            stream.set_nonblocking(true)?;
            let peer = herm_sys::credentials::peer(stream.as_fd())?;
            Ok(Peer {
                uid: peer.uid,
                gid: peer.gid,
                groups: peer.groups,
                pid: peer
                    .pid
                    .map_or(0, |pid| u32::try_from(pid.as_raw_pid()).unwrap_or(0)),
            })
        };
        let peer = adopt().map_err(|error| format!("cannot identify a client: {error}"))?;
        let theirs = self.clients.values();
        let theirs = theirs.filter(|c| c.peer.uid == peer.uid).count();
        let limit = herm_sys::rlimit::get(herm_sys::rlimit::Resource::OpenFiles).soft;
        let most =
            usize::try_from(connections_max(limit.unwrap_or(u64::MAX))).unwrap_or(usize::MAX);
        // Nobody but root, who could do worse, may take more than half of all.
        let crowded = peer.uid != 0 && theirs >= most / 2;
        let mut client = Connection::new(stream, peer);
        if crowded || self.clients.len() >= most {
            refuse(&mut client);
            return Ok(());
        }
        let id = self.next_id;
        self.next_id += 1;
        reactor
            .add(client.fd(), Source::Client(id), Interest::Read)
            .map_err(|error| format!("cannot watch a client: {error}"))?;
        self.clients.insert(id, client);
        Ok(())
    }

    fn not_accepted(&mut self, error: &io::Error) -> Result<(), String> {
        match error.kind() {
            io::ErrorKind::WouldBlock
            | io::ErrorKind::Interrupted
            | io::ErrorKind::ConnectionAborted => return Ok(()),
            _ => {}
        }
        // Out of descriptors: make room for a moment to turn the client away.
        self.spare = None;
        drop(self.listener.accept());
        self.spare = spare_descriptor();
        Err(format!("cannot accept a client: {error}"))
    }

    /// Reads from a client; whether it is still there.
    pub(crate) fn read(&mut self, id: ClientId) -> bool {
        let Some(client) = self.clients.get_mut(&id) else {
            return false;
        };
        matches!(client.fill(), Ok(Input::Open))
    }

    /// The requests of a client that are whole by now, at most a turn's worth, and whether the
    /// client must go because of what it sent.
    pub(crate) fn lines(&mut self, id: ClientId) -> (Vec<Vec<u8>>, bool) {
        let mut lines = Vec::new();
        let Some(client) = self.clients.get_mut(&id) else {
            return (lines, true);
        };
        while lines.len() < REQUESTS_PER_TURN {
            match client.next_line() {
                Ok(Some(line)) => lines.push(line),
                Ok(None) => break,
                Err(too_long) => {
                    let error = ErrorBody {
                        code: ErrorCode::BadRequest,
                        message: format!(
                            "a request has at most {} bytes, newline included",
                            too_long.limit
                        ),
                        hint: None,
                    };
                    let _ = client.queue(&encoded(&Reply::err(0, error)));
                    client.closing = true;
                    return (lines, false);
                }
            }
        }
        (lines, false)
    }

    /// Sends a message to a client, which is dropped if it is gone or too slow. Whether it is
    /// still there.
    pub(crate) fn send(&mut self, id: ClientId, message: &[u8], reactor: &Reactor) -> bool {
        let Some(client) = self.clients.get_mut(&id) else {
            return false;
        };
        if !client.queue(message) {
            self.drop_client(id, reactor);
            return false;
        }
        self.write(id, reactor) && self.keep_unless_greedy(id, reactor)
    }

    /// Drops a client that reads slowly while all of its user's together have too much unread.
    fn keep_unless_greedy(&mut self, id: ClientId, reactor: &Reactor) -> bool {
        let slow = self.clients.get(&id);
        let Some(slow) = slow.filter(|client| client.pending() > UNREAD_BYTES_SLOW) else {
            return true;
        };
        let theirs = self
            .clients
            .values()
            .filter(|c| c.peer.uid == slow.peer.uid);
        let unread: usize = theirs.map(Connection::pending).sum();
        if slow.peer.uid == 0 || unread <= UNREAD_BYTES_PER_USER {
            return true;
        }
        self.drop_client(id, reactor);
        false
    }

    /// Writes what a client takes now, and asks to be told when it takes more. Whether the client
    /// is still there.
    pub(crate) fn write(&mut self, id: ClientId, reactor: &Reactor) -> bool {
        let Some(client) = self.clients.get_mut(&id) else {
            return false;
        };
        let flushed = client.flush();
        let done = client.closing && !client.wants_write();
        if flushed.is_err() || done {
            self.drop_client(id, reactor);
            return false;
        }
        let interest = match (
            client.wants_write(),
            client.is_backlogged() || client.closing,
        ) {
            (false, _) => Interest::Read,
            (true, false) => Interest::Both,
            (true, true) => Interest::Write,
        };
        if reactor
            .change(client.fd(), Source::Client(id), interest)
            .is_err()
        {
            self.drop_client(id, reactor);
            return false;
        }
        true
    }

    /// Ends a connection.
    pub(crate) fn drop_client(&mut self, id: ClientId, reactor: &Reactor) -> Option<Connection> {
        let client = self.clients.remove(&id)?;
        reactor.remove(client.fd());
        Some(client)
    }
}

/// A message as a line; these types can't fail to be written as JSON.
pub(crate) fn encoded<T: serde::Serialize>(message: &T) -> Vec<u8> {
    frame::encode(message).unwrap_or_default()
}

fn refuse(client: &mut Connection) {
    let error = ErrorBody {
        code: ErrorCode::NoCapacity,
        message: "too many connections are open".to_owned(),
        hint: Some("close some, or wait for their end".to_owned()),
    };
    if client.queue(&encoded(&Reply::err(0, error))) {
        // What the socket doesn't take at once is lost with the connection.
        let _ = client.flush();
    }
}

fn spare_descriptor() -> Option<OwnedFd> {
    use rustix::fs::{Mode, OFlags};
    rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()
}
