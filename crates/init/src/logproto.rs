//! The protocol between PID 1 and the log daemon: one message, in the engine's [`codec`], per
//! packet of a `SOCK_SEQPACKET` socket pair, with a pipe's read end beside `Open` (`SCM_RIGHTS`).
//!
//! A packet is a message: nothing is framed and nothing can be half read. Both ends are
//! bounded ([`MESSAGE_BYTES_MAX`]), and a packet that can't be decoded is an `Err` to report and
//! go on from, never the end of the connection. A log daemon of another version, which PID 1 may
//! have after its re-execution, understands nothing; so it doesn't answer, and is replaced.
//!
//! # How PID 1 drives it
//!
//! 1. It makes a socket pair ([`pair`]) and, once in its life, a memfd (a plain one, without
//!    seals). It spawns `herm-init` with [`arguments`] (argv[0] is [`ARGV0`]), as root where it is
//!    root, in a session of its own, cwd `/`. Standard input is one end of the pair, 1 and 2 are
//!    the container's stdout and stderr, and there are no other descriptors. The log daemon
//!    blocks the signals that end or stop a process, but for the two that can't be.
//! 2. It sends [`ToLogd::Hold`] with the memfd, [`ToLogd::Config`], then [`ToLogd::Open`] for each
//!    run with a duplicate of the read end, and keeps its own duplicate until [`FromLogd::Eof`]
//!    names the run. The memfd is the same one for every log daemon in PID 1's life: it carries a
//!    line of which only the beginning was written so far over a log daemon's death.
//!    The log daemon makes the read end non-blocking, for both.
//! 3. When the log daemon died it spawns another, and sends `Hold`, `Config` and every live run
//!    again, with [`Open::resumed`] set and [`Open::dropped`] as last heard. Two would read the
//!    same pipes: the old one is to be reaped first. If it can't be, for it sleeps in the kernel
//!    for a disk that hangs, it is enough that it was sent SIGKILL, after which it runs no further
//!    instruction.
//! 4. [`ToLogd::Flush`] is also the ping: a log daemon that doesn't answer with
//!    [`FromLogd::Flushed`] within 2 s of the request, or of the last [`FromLogd::Alive`] (a slow
//!    disk is no reason), is to be killed and replaced. It costs no wake-up while
//!    all services are quiet to ask only when one has written: each read end in PID 1's epoll
//!    set with `EPOLLONESHOT`, a `Flush` one second after the first event, and the fired
//!    descriptors armed again at its answer.
//! 5. A [`FromLogd::Problem`] is on the container's stderr already. PID 1 keeps it for who asks;
//!    written by PID 1 it could block PID 1.
//! 6. At shutdown it sends [`ToLogd::Finish`], waits for [`FromLogd::Finished`] or the end of
//!    its patience, and kills what is left.
//!
//! [`send`] and [`receive`] never block. When `send` says [`SendError::Full`], keep the message
//! and wait until the socket is writable.

use std::ffi::OsStr;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use herm_engine::codec::{self, Bytes, Field, Reader};
use herm_engine::{BadRecord, record_enum, record_struct};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg,
    sendmsg, socketpair,
};

/// The name (argv[0]) by which `herm-init` is the log daemon.
pub const ARGV0: &str = "herm-logd";

/// The log daemon's end of the socket pair: its standard input.
pub const CONTROL_FD: i32 = 0;

/// The version of the messages' layout, with which each begins.
const VERSION: u8 = 2;

/// The longest message: two paths of 4,096 bytes each, a name of 251, and some numbers.
pub const MESSAGE_BYTES_MAX: usize = 16 * 1024;

/// The longest text of a [`FromLogd::Problem`].
pub const PROBLEM_BYTES_MAX: usize = 1024;

/// Who a log daemon started by root becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// Its own user, which no agent has: who may signal and trace it.
    pub uid: u32,
    /// Its own group, kept as a supplementary one too: root's services log in a directory that
    /// is `root:<this group>` 2770, which agents can't enter.
    pub gid: u32,
    /// The service user, as whom files are opened and created.
    pub fs_uid: u32,
    /// The service user's group.
    pub fs_gid: u32,
}

/// The log daemon's argv. `None`: it stays who it is (PID 1 isn't root).
pub fn arguments(identity: Option<Identity>) -> Vec<String> {
    let mut argv = vec![ARGV0.to_owned()];
    if let Some(id) = identity {
        argv.extend([id.uid, id.gid, id.fs_uid, id.fs_gid].map(|n| n.to_string()));
    }
    argv
}

/// What [`arguments`] made, argv[0] left out.
///
/// # Errors
/// When it is anything else.
pub fn parse_arguments(args: &[String]) -> Result<Option<Identity>, String> {
    let usage = || format!("usage: {ARGV0} [uid gid fs-uid fs-gid], started by PID 1");
    let numbers = args
        .iter()
        .map(|arg| arg.parse::<u32>())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| usage())?;
    match *numbers.as_slice() {
        [] => Ok(None),
        [uid, gid, user, group] => Ok(Some(Identity {
            uid,
            gid,
            fs_uid: user,
            fs_gid: group,
        })),
        _ => Err(usage()),
    }
}

/// What PID 1 says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToLogd {
    /// The memfd that outlives log daemons comes with the packet. To be sent before the first
    /// `Open`. Without it a log daemon that is killed takes the beginnings of unfinished lines
    /// with it.
    Hold,
    /// Settings for all runs. May be sent again at any time.
    Config(Config),
    /// A run's output starts. The read end of its pipe comes with the packet.
    Open(Box<Open>),
    /// Close the run's pipe without waiting for its end. What is in it already is logged first.
    Forget {
        /// Which run.
        run: u64,
    },
    /// Begin a new file for the run's directory now.
    Rotate {
        /// Which run.
        run: u64,
    },
    /// Log what is in the pipes at this moment, then answer [`FromLogd::Flushed`].
    Flush {
        /// Comes back in the answer.
        token: u64,
    },
    /// Answer with [`FromLogd::Stats`].
    Stats {
        /// Which run.
        run: u64,
    },
    /// Log what is in the pipes, end unfinished lines, answer [`FromLogd::Finished`] and exit.
    Finish,
}

/// Settings for all runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// Bytes that all log directories opened so far may take together; `None` for no cap. When
    /// it is passed, the largest directory loses its oldest rotated file, and so on.
    pub total_bytes: Option<u64>,
}

/// A run's output starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// PID 1's number for this run of this service, never used again.
    pub run: u64,
    /// The service's name, for prefixes and messages.
    pub service: String,
    /// Where the kept copy goes; `None` keeps none (the output is only forwarded).
    pub target: Option<Target>,
    /// When the kept copy rotates, and how much of it is kept.
    pub limits: Limits,
    /// How lines appear on the container's stdout.
    pub forward: Forward,
    /// A log daemon read this pipe before and died.
    pub resumed: bool,
    /// Lines of this run that earlier log daemons reported as dropped ([`FromLogd::Dropped`])
    /// and not yet as announced in the log.
    pub dropped: u64,
}

/// The directory of a kept copy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// An absolute path that exists and is trusted as it is, symbolic links included.
    pub base: PathBuf,
    /// A path below it without `..`. What is missing is created (0750); a component that is a
    /// symbolic link, or no directory, is refused.
    pub dir: PathBuf,
}

/// When a kept copy rotates, and how much of it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// `current` is rotated rather than grow past this many bytes (a longer line gets through).
    pub file_bytes: u64,
    /// How many rotated files are kept beside `current`.
    pub files: u32,
    /// `current` is rotated once its first line is older than this, in seconds, at the next line.
    pub file_age_s: Option<u64>,
    /// Rotated files older than this, in seconds, are removed at the next rotation.
    pub keep_age_s: Option<u64>,
    /// Bytes that the directory's files may take together.
    pub total_bytes: Option<u64>,
}

impl Default for Limits {
    /// The contract's, section 2: 10 files of 1,000,000 bytes.
    fn default() -> Self {
        Self {
            file_bytes: 1_000_000,
            files: 10,
            file_age_s: None,
            keep_age_s: None,
            total_bytes: None,
        }
    }
}

/// How a run's lines appear on the container's stdout.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Forward {
    /// Not at all.
    None,
    /// As the service wrote them.
    Raw,
    /// After the service's name: `name | line`.
    #[default]
    Prefix,
    /// As one JSON object per line: `time`, `service`, `line`.
    Json,
}

/// What the log daemon says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromLogd {
    /// It is up and reads its messages.
    Ready,
    /// Every writer of the run has let go, and all that they wrote is logged or counted as
    /// dropped. The log daemon has closed the pipe.
    Eof {
        /// What this log daemon did for the run.
        run: u64,
        /// Bytes read from the pipe.
        bytes: u64,
        /// Lines that could not be kept.
        dropped: u64,
    },
    /// A `Flush` or `Finish` takes longer, for a disk is slow; it goes on.
    Alive,
    /// The answer to [`ToLogd::Flush`].
    Flushed {
        /// The request's.
        token: u64,
    },
    /// Lines of the run that could not be kept (a full disk, a directory that can't be opened)
    /// and that the log doesn't tell of yet. Zero once it does.
    Dropped {
        /// Which run.
        run: u64,
        /// How many.
        lines: u64,
        /// Lines dropped for good since the last such message, whether the log tells of them or not.
        lost: u64,
    },
    /// The answer to [`ToLogd::Stats`]; not sent for a run that isn't open.
    Stats(Stats),
    /// Something the operator should know.
    Problem {
        /// The run it concerns, if one.
        run: Option<u64>,
        /// What failed, why, and what follows.
        text: String,
    },
    /// The answer to [`ToLogd::Finish`], and the last message.
    Finished,
}

/// What one log daemon did for one run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Which run.
    pub run: u64,
    /// Bytes read from the pipe.
    pub bytes: u64,
    /// Lines read from the pipe.
    pub lines: u64,
    /// Lines that could not be kept.
    pub dropped: u64,
    /// Lines that a stuck reader of stdout never got, of all runs.
    pub stdout_dropped: u64,
}

/// Why a message could not be sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The socket's buffer is full: send it again when the socket is writable.
    #[error("the log socket is full")]
    Full,
    /// The other side is gone.
    #[error("the other end of the log socket is gone")]
    Closed,
    /// The message can't be put in a packet; sending it again is of no use.
    #[error("a log message can't be encoded: {0}")]
    Unencodable(String),
    /// Anything else.
    #[error("sending on the log socket failed: {0}")]
    Os(Errno),
}

/// One call of [`receive`].
#[derive(Debug)]
pub enum Received<T> {
    /// A message, and the descriptor that came with it.
    Message(T, Option<OwnedFd>),
    /// A packet that is no message, with what is wrong with it.
    Malformed(String),
    /// Nothing to read now.
    Empty,
    /// The other side is gone.
    Closed,
}

/// A connected pair of sockets for the protocol, closed on exec.
pub fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
}

record_enum! {
    ToLogd {
        0 => Hold,
        1 => Config(config),
        2 => Open(open),
        3 => Forget { run },
        4 => Rotate { run },
        5 => Flush { token },
        6 => Stats { run },
        7 => Finish,
    }
    FromLogd {
        0 => Ready,
        1 => Eof { run, bytes, dropped },
        2 => Alive,
        3 => Flushed { token },
        4 => Dropped { run, lines, lost },
        5 => Stats(stats),
        6 => Problem { run, text },
        7 => Finished,
    }
    Forward { 0 => None, 1 => Raw, 2 => Prefix, 3 => Json }
}

record_struct! {
    Config { total_bytes }
    Open { run, service, target, limits, forward, resumed, dropped }
    Limits { file_bytes, files, file_age_s, keep_age_s, total_bytes }
    Stats { run, bytes, lines, dropped, stdout_dropped }
}

/// Paths are bytes, which need not be UTF-8.
impl Field for Target {
    fn put(&self, bytes: &mut Bytes) {
        for path in [&self.base, &self.dir] {
            codec::put_slice(path.as_os_str().as_bytes(), bytes);
        }
    }

    fn get(reader: &mut Reader<'_>) -> Result<Self, BadRecord> {
        let mut path = || Ok(OsStr::from_bytes(codec::get_slice(reader)?).into());
        Ok(Self {
            base: path()?,
            dir: path()?,
        })
    }
}

/// The bytes of a message.
///
/// # Errors
/// When it is longer than [`MESSAGE_BYTES_MAX`].
pub fn encode<T: Field>(message: &T) -> Result<Vec<u8>, SendError> {
    let bytes = codec::to_bytes(VERSION, message);
    if bytes.len() > MESSAGE_BYTES_MAX {
        return Err(SendError::Unencodable(format!(
            "{} bytes, where {MESSAGE_BYTES_MAX} are the limit",
            bytes.len()
        )));
    }
    Ok(bytes)
}

/// The message in a packet's bytes, whatever they are.
///
/// # Errors
/// What is wrong with them, in words.
pub fn decode<T: Field>(bytes: &[u8]) -> Result<T, String> {
    if bytes.len() > MESSAGE_BYTES_MAX {
        return Err(format!("longer than {MESSAGE_BYTES_MAX} bytes"));
    }
    codec::from_bytes(VERSION, bytes).map_err(|error| error.to_string())
}

/// Sends a message, with a duplicate of `fd` if there is one. Never blocks.
pub fn send<T: Field>(
    socket: BorrowedFd<'_>,
    message: &T,
    fd: Option<BorrowedFd<'_>>,
) -> Result<(), SendError> {
    let bytes = encode(message)?;
    let fds: Vec<BorrowedFd<'_>> = fd.into_iter().collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(&fds)) {
        return Err(SendError::Os(Errno::NOMEM));
    }
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    loop {
        return match sendmsg(socket, &[IoSlice::new(&bytes)], &mut ancillary, flags) {
            Ok(_) => Ok(()),
            Err(Errno::INTR) => continue,
            // Too many descriptors in flight passes as soon as the other side has taken some.
            Err(Errno::AGAIN | Errno::NOBUFS | Errno::TOOMANYREFS) => Err(SendError::Full),
            Err(Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN) => Err(SendError::Closed),
            Err(errno) => Err(SendError::Os(errno)),
        };
    }
}

/// Takes the next message from the socket. Never blocks.
///
/// A descriptor that comes with a malformed packet is closed.
///
/// # Errors
/// Those of `recvmsg`, but for the ones that are a [`Received`].
pub fn receive<T: Field>(socket: BorrowedFd<'_>) -> Result<Received<T>, Errno> {
    let mut bytes = [0u8; MESSAGE_BYTES_MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let packet = loop {
        let mut parts = [IoSliceMut::new(&mut bytes)];
        match recvmsg(socket, &mut parts, &mut ancillary, flags) {
            Ok(packet) => break packet,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(Received::Empty),
            Err(Errno::CONNRESET) => return Ok(Received::Closed),
            Err(errno) => return Err(errno),
        }
    };
    let fd = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    if packet.bytes == 0 {
        // Neither side ever sends an empty packet, so this is the end.
        return Ok(Received::Closed);
    }
    if packet.flags.contains(ReturnFlags::TRUNC) {
        return Ok(Received::Malformed(format!(
            "longer than {MESSAGE_BYTES_MAX} bytes"
        )));
    }
    Ok(
        match decode(bytes.get(..packet.bytes).unwrap_or_default()) {
            Ok(message) => Received::Message(message, fd),
            Err(reason) => Received::Malformed(reason),
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::fd::AsFd;

    fn open() -> ToLogd {
        ToLogd::Open(Box::new(Open {
            run: u64::MAX,
            service: "gateway-writer".into(),
            target: Some(Target {
                base: "/opt/data".into(),
                dir: "logs/gateways/writer".into(),
            }),
            limits: Limits::default(),
            forward: Forward::Json,
            resumed: true,
            dropped: 3,
        }))
    }

    #[test]
    fn a_message_arrives_with_a_duplicate_of_its_descriptor() {
        let (here, there) = pair().unwrap();
        let (read, write) = rustix::pipe::pipe().unwrap();
        send(here.as_fd(), &open(), Some(read.as_fd())).unwrap();
        drop(read);
        let Received::Message(message, Some(fd)) = receive::<ToLogd>(there.as_fd()).unwrap() else {
            panic!("no message with a descriptor");
        };
        assert_eq!(message, open());
        rustix::io::write(&write, b"x").unwrap();
        assert_eq!(rustix::io::read(&fd, &mut [0u8; 2]).unwrap(), 1);
    }

    #[test]
    fn the_arguments_parse_to_the_identity_they_were_made_from() {
        let identity = Identity {
            uid: 9_999,
            gid: 9_998,
            fs_uid: 10_000,
            fs_gid: 10_001,
        };
        for who in [None, Some(identity)] {
            assert_eq!(parse_arguments(&arguments(who)[1..]), Ok(who));
        }
        assert!(parse_arguments(&["1".into()]).is_err());
        assert!(parse_arguments(&["-1".into(), "0".into(), "0".into(), "0".into()]).is_err());
    }

    #[test]
    fn an_empty_socket_a_closed_one_and_a_full_one_are_told_apart() {
        let (here, there) = pair().unwrap();
        assert!(matches!(
            receive::<ToLogd>(there.as_fd()).unwrap(),
            Received::Empty
        ));
        let full = loop {
            if let Err(error) = send(here.as_fd(), &ToLogd::Finish, None) {
                break error;
            }
        };
        assert!(matches!(full, SendError::Full));
        drop(there);
        assert!(matches!(
            send(here.as_fd(), &ToLogd::Finish, None),
            Err(SendError::Closed)
        ));
        assert!(matches!(
            receive::<FromLogd>(here.as_fd()),
            Ok(Received::Closed)
        ));
    }

    #[test]
    fn a_packet_that_is_no_message_is_reported_and_the_next_one_arrives() {
        let (here, there) = pair().unwrap();
        let long = vec![b' '; MESSAGE_BYTES_MAX + 1];
        for packet in [&[VERSION][..], b"\xff\x00", &[VERSION, 99], &long] {
            rustix::io::write(&here, packet).unwrap();
            assert!(matches!(
                receive::<ToLogd>(there.as_fd()).unwrap(),
                Received::Malformed(_)
            ));
        }
        send(here.as_fd(), &ToLogd::Flush { token: 7 }, None).unwrap();
        assert!(matches!(
            receive::<ToLogd>(there.as_fd()).unwrap(),
            Received::Message(ToLogd::Flush { token: 7 }, None)
        ));
    }

    #[test]
    fn a_message_too_long_for_a_packet_is_refused_before_it_is_sent() {
        let text = "x".repeat(MESSAGE_BYTES_MAX);
        let error = encode(&FromLogd::Problem { run: None, text }).unwrap_err();
        assert!(matches!(error, SendError::Unencodable(_)));
    }

    #[test]
    fn a_message_of_another_version_is_refused() {
        let mut bytes = encode(&ToLogd::Finish).unwrap();
        bytes[0] += 1;
        assert!(decode::<ToLogd>(&bytes).unwrap_err().contains("version"));
    }

    #[test]
    fn a_path_that_is_not_text_arrives_as_it_is() {
        let mut message = open();
        if let ToLogd::Open(open) = &mut message {
            let dir = OsStr::from_bytes(b"a\xff/b").into();
            open.target = Some(Target {
                base: "/".into(),
                dir,
            });
        }
        let bytes = encode(&message).unwrap();
        assert_eq!(decode::<ToLogd>(&bytes).unwrap(), message);
    }

    proptest! {
        #[test]
        fn no_bytes_make_either_side_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode::<ToLogd>(&bytes);
            let _ = decode::<FromLogd>(&bytes);
        }

        #[test]
        fn what_is_encoded_is_decoded(run in any::<u64>(), lines in any::<u64>(), text in ".{0,200}") {
            for message in [
                FromLogd::Dropped { run, lines, lost: lines / 2 },
                FromLogd::Problem { run: Some(run), text: text.clone() },
            ] {
                prop_assert_eq!(decode::<FromLogd>(&encode(&message).unwrap()).unwrap(), message);
            }
        }
    }
}
