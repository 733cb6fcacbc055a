//! How the parent hears of an exec: a pipe that lives from clone to exec.
//!
//! The kernel tells nobody of a successful exec but those who wait for it. It does close what is marked so, and a pipe
//! whose last writer is gone is an event. So each child is given the write end of a pipe of its own, marked
//! close-on-exec: its end of file says that the child has executed, or is dead. The child's memory was let go by then
//! in both cases (`begin_new_exec` and `do_exit` of the kernel give the memory up before the descriptors).
//!
//! One thing stands in the way: a child that starts on our descriptor table shares our write end as well, and as long
//! as that is open there is no end of file. We may not close it before the child has its own table, and we can't wait
//! for that. So the child says when it has, by one byte, as its second act.
//!
//! All these pipes hang in one epoll set, which is one descriptor to wait for.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::{Errno, read};
use rustix::pipe::{PipeFlags, pipe_with};

/// Events taken at a time; the rest stays for the next look.
const EVENTS_AT_ONCE: usize = 64;

/// One child's pipe.
#[derive(Debug)]
pub(super) struct Witness {
    reader: OwnedFd,
    /// Ours, until the child has its own.
    writer: Option<OwnedFd>,
}

impl Witness {
    /// By which it is told from others.
    pub(super) fn number(&self) -> RawFd {
        self.reader.as_raw_fd()
    }

    /// The number of the end that is the child's.
    pub(super) fn writer(&self) -> Option<RawFd> {
        self.writer.as_ref().map(AsRawFd::as_raw_fd)
    }

    /// The child has a descriptor table of its own: ours of its end goes, and so does the byte that may have said so.
    pub(super) fn detach(&mut self) {
        if self.writer.take().is_some() {
            // Never waits. Nothing is there where the child had no byte to send.
            let _ = read(&self.reader, &mut [0; 1]);
        }
    }
}

/// What was heard by a witness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Its child has a descriptor table of its own.
    OwnTable(RawFd),
    /// Its child has executed its program, or is dead.
    LetGo(RawFd),
}

/// The pipes of all children under way.
#[derive(Debug)]
pub(super) struct Witnesses {
    epoll: OwnedFd,
}

impl Witnesses {
    pub(super) fn new() -> Result<Self, Errno> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        Ok(Self { epoll })
    }

    /// Readable while something is to be heard.
    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }

    /// One for a child to be.
    pub(super) fn open(&self) -> Result<Witness, Errno> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let data = EventData::new_u64(u64::from(reader.as_raw_fd().cast_unsigned()));
        epoll::add(&self.epoll, &reader, data, EventFlags::IN)?;
        let writer = Some(writer);
        Ok(Witness { reader, writer })
    }

    /// Nothing more is to be heard of. Taken out by hand: another child may have a copy of the descriptor for a moment,
    /// and would keep the pipe in the set.
    pub(super) fn close(&self, witness: &Witness) {
        // Can't fail for what is in the set.
        let _ = epoll::delete(&self.epoll, &witness.reader);
    }

    /// What is to be heard now, at most [`EVENTS_AT_ONCE`].
    pub(super) fn listen(&mut self) -> Vec<Heard> {
        let mut events: Vec<Event> = Vec::with_capacity(EVENTS_AT_ONCE);
        let at_once = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // It fails only if interrupted, and then there is something to be heard later.
        let _ = epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&at_once));
        let heard = |event: &Event| {
            let number = RawFd::try_from(event.data.u64()).ok()?;
            let (flags, over) = (event.flags, EventFlags::HUP | EventFlags::ERR);
            Some(if flags.intersects(over) {
                Heard::LetGo(number)
            } else {
                Heard::OwnTable(number)
            })
        };
        events.iter().filter_map(heard).collect()
    }
}
