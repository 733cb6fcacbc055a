//! What PID 1 waits for: one epoll set, and a name for everything in it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;

/// Who has something for PID 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    /// A signal to PID 1.
    Signals,
    /// A child got through its start, or didn't.
    Spawner,
    /// A client connects.
    Listener,
    /// A client's request, or room for its answer.
    Client(u64),
    /// A service's notification descriptor.
    Notify(u64),
    /// A service's `NOTIFY_SOCKET`.
    Datagram(u64),
    /// A service has written to its log.
    LogPipe(u64),
    /// The log daemon answers, or can be told more.
    Logd,
    /// What setup found out.
    Plan,
    /// What a helper that looks for cookies found.
    Cookies,
    /// A control group is empty.
    Cgroups,
    /// Orders to the scanner of the scan directory.
    ScanControl,
    /// Orders to a service, in the tongue of s6.
    ServiceControl(u64),
}

const ID_BITS: u32 = 56;

impl Source {
    fn to_word(self) -> u64 {
        let (kind, id) = match self {
            Self::Signals => (0, 0),
            Self::Spawner => (1, 0),
            Self::Listener => (2, 0),
            Self::Client(id) => (3, id),
            Self::Notify(run) => (4, run),
            Self::Datagram(run) => (5, run),
            Self::LogPipe(run) => (6, run),
            Self::Logd => (7, 0),
            Self::Plan => (8, 0),
            Self::Cookies => (9, 0),
            Self::Cgroups => (10, 0),
            Self::ScanControl => (11, 0),
            Self::ServiceControl(slot) => (12, slot),
        };
        (kind << ID_BITS) | (id & ((1 << ID_BITS) - 1))
    }

    fn from_word(word: u64) -> Option<Self> {
        let id = word & ((1 << ID_BITS) - 1);
        Some(match word >> ID_BITS {
            0 => Self::Signals,
            1 => Self::Spawner,
            2 => Self::Listener,
            3 => Self::Client(id),
            4 => Self::Notify(id),
            5 => Self::Datagram(id),
            6 => Self::LogPipe(id),
            7 => Self::Logd,
            8 => Self::Plan,
            9 => Self::Cookies,
            10 => Self::Cgroups,
            11 => Self::ScanControl,
            12 => Self::ServiceControl(id),
            _ => return None,
        })
    }
}

/// What about a source is of interest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interest {
    /// It can be read, or has ended.
    Read,
    /// It can be written.
    Write,
    /// Either.
    Both,
    /// It can be read; told once, until asked for again.
    ReadOnce,
}

impl Interest {
    fn flags(self) -> EventFlags {
        match self {
            Self::Read => EventFlags::IN,
            Self::Write => EventFlags::OUT,
            Self::Both => EventFlags::IN | EventFlags::OUT,
            Self::ReadOnce => EventFlags::IN | EventFlags::ONESHOT,
        }
    }
}

/// What is known of a source.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Readiness {
    /// Whose.
    pub(crate) source: Source,
    /// It can be written, or has failed.
    pub(crate) writable: bool,
    /// It can be read, has ended, or has failed.
    pub(crate) readable: bool,
}

/// Sources told of at once; the rest come with the next wait, so that none can starve the others.
const BATCH: usize = 64;

/// The epoll set.
pub(crate) struct Reactor {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

impl std::fmt::Debug for Reactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reactor")
            .field("epoll", &self.epoll)
            .finish_non_exhaustive()
    }
}

impl Reactor {
    /// An empty set.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            events: Vec::with_capacity(BATCH),
        })
    }

    /// Begins to watch a descriptor.
    pub(crate) fn add(&self, fd: impl AsFd, source: Source, interest: Interest) -> io::Result<()> {
        let data = EventData::new_u64(source.to_word());
        epoll::add(&self.epoll, fd, data, interest.flags()).map_err(Into::into)
    }

    /// Changes what is of interest, or asks again after [`Interest::ReadOnce`].
    pub(crate) fn change(
        &self,
        fd: impl AsFd,
        source: Source,
        interest: Interest,
    ) -> io::Result<()> {
        let data = EventData::new_u64(source.to_word());
        epoll::modify(&self.epoll, fd, data, interest.flags()).map_err(Into::into)
    }

    /// Stops watching. Needed before a descriptor is closed of which a duplicate stays open.
    pub(crate) fn remove(&self, fd: impl AsFd) {
        // It fails only where the descriptor was not watched, which is what is wanted.
        let _ = epoll::delete(&self.epoll, fd);
    }

    /// Waits until a source has something or the time is over (`None`: however long it takes).
    pub(crate) fn wait(&mut self, timeout: Option<Duration>) -> io::Result<Vec<Readiness>> {
        let timeout = timeout.map(to_timespec);
        self.events.clear();
        match epoll::wait(
            &self.epoll,
            rustix::buffer::spare_capacity(&mut self.events),
            timeout.as_ref(),
        ) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        }
        Ok(self.events.iter().filter_map(decode).collect())
    }
}

fn decode(event: &epoll::Event) -> Option<Readiness> {
    let (data, flags) = (event.data, event.flags);
    let ended = flags.intersects(EventFlags::HUP | EventFlags::ERR);
    Some(Readiness {
        source: Source::from_word(data.u64())?,
        readable: ended || flags.contains(EventFlags::IN),
        writable: ended || flags.contains(EventFlags::OUT),
    })
}

fn to_timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_source_survives_its_word() {
        for source in [
            Source::Signals,
            Source::Spawner,
            Source::Listener,
            Source::Client(7),
            Source::Notify(1 << 40),
            Source::Datagram(3),
            Source::LogPipe(9),
            Source::Logd,
            Source::Plan,
            Source::Cookies,
            Source::Cgroups,
            Source::ScanControl,
            Source::ServiceControl(5),
        ] {
            assert_eq!(Source::from_word(source.to_word()), Some(source));
        }
        assert_eq!(Source::from_word(u64::MAX), None);
    }

    #[test]
    fn an_ended_writer_is_told_as_readable() {
        let mut reactor = Reactor::new().unwrap();
        let (read, write) = rustix::pipe::pipe().unwrap();
        reactor.add(&read, Source::Plan, Interest::Read).unwrap();
        assert!(reactor.wait(Some(Duration::ZERO)).unwrap().is_empty());
        drop(write);
        let told = reactor.wait(None).unwrap();
        assert!(matches!(
            told.as_slice(),
            [Readiness {
                source: Source::Plan,
                readable: true,
                ..
            }]
        ));
    }
}
