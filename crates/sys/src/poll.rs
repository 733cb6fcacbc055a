//! Waiting for many descriptors at once, and telling a late event from one for the slot's next user.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;

/// Events taken from the kernel per wait; more are delivered by the next one.
const EVENTS_PER_WAIT_MAX: usize = 256;
/// Longer waits are cut to this: waking once a day for nothing is cheaper than thinking about overflow.
const WAIT_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Names a source: a slot, and which of its successive users. See [`Slots`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token {
    index: u32,
    generation: u32,
}

impl Token {
    /// The user `generation` of slot `index`.
    pub const fn new(index: u32, generation: u32) -> Self {
        Self { index, generation }
    }

    /// Its slot.
    pub const fn index(self) -> u32 {
        self.index
    }

    fn to_u64(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    fn from_u64(data: u64) -> Self {
        let half = |bits: u64| u32::try_from(bits & 0xffff_ffff).unwrap_or(0);
        Self {
            index: half(data),
            generation: half(data >> 32),
        }
    }
}

/// What to be told about a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest {
    /// When it can be read.
    pub readable: bool,
    /// When it can be written.
    pub writable: bool,
    /// Only when that changes, not as long as it is so.
    pub edge: bool,
}

impl Interest {
    /// As long as it can be read.
    pub const READ: Self = Self {
        readable: true,
        writable: false,
        edge: false,
    };
    /// As long as it can be written.
    pub const WRITE: Self = Self {
        readable: false,
        writable: true,
        edge: false,
    };
    /// As long as it can be read or written.
    pub const BOTH: Self = Self {
        readable: true,
        writable: true,
        edge: false,
    };
    /// Only when the other end is gone.
    pub const HANGUP: Self = Self {
        readable: false,
        writable: false,
        edge: false,
    };

    fn flags(self) -> EventFlags {
        let mut flags = EventFlags::empty();
        flags.set(EventFlags::IN | EventFlags::RDHUP, self.readable);
        flags.set(EventFlags::OUT, self.writable);
        flags.set(EventFlags::ET, self.edge);
        flags
    }
}

/// What happened to a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// Which one.
    pub token: Token,
    /// It can be read, or its end be seen.
    pub readable: bool,
    /// It can be written.
    pub writable: bool,
    /// The other end is gone, or it has an error. What was sent before may still be read.
    pub hangup: bool,
}

/// An epoll instance.
pub struct Poller {
    epoll: OwnedFd,
    events: Vec<Event>,
}

impl Poller {
    /// A new one, close-on-exec.
    pub fn new() -> Result<Self, Errno> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        Ok(Self {
            epoll,
            events: Vec::with_capacity(EVENTS_PER_WAIT_MAX),
        })
    }

    /// Watches a source. `PERM` for what is always ready, as regular files are.
    pub fn add(&self, source: impl AsFd, token: Token, interest: Interest) -> Result<(), Errno> {
        epoll::add(
            &self.epoll,
            source,
            EventData::new_u64(token.to_u64()),
            interest.flags(),
        )
    }

    /// Watches it for something else, or under another token.
    pub fn modify(&self, source: impl AsFd, token: Token, interest: Interest) -> Result<(), Errno> {
        epoll::modify(
            &self.epoll,
            source,
            EventData::new_u64(token.to_u64()),
            interest.flags(),
        )
    }

    /// No longer watches it. Closing a source is not enough where another process has the same open file.
    pub fn remove(&self, source: impl AsFd) -> Result<(), Errno> {
        epoll::delete(&self.epoll, source)
    }

    /// Waits until a source is ready or `timeout` has passed (`None`: for ever), and appends what happened to `ready`.
    /// Returns early, with nothing, when a signal interrupts it.
    pub fn wait(&mut self, timeout: Option<Duration>, ready: &mut Vec<Ready>) -> Result<(), Errno> {
        let timeout = timeout.map(whole_milliseconds);
        self.events.clear();
        match epoll::wait(
            &self.epoll,
            spare_capacity(&mut self.events),
            timeout.as_ref(),
        ) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(()),
            Err(errno) => return Err(errno),
        }
        ready.extend(self.events.iter().map(|event| {
            let flags = event.flags;
            Ready {
                token: Token::from_u64(event.data.u64()),
                readable: flags.intersects(
                    EventFlags::IN | EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR,
                ),
                writable: flags.intersects(EventFlags::OUT | EventFlags::ERR),
                hangup: flags.intersects(EventFlags::HUP | EventFlags::RDHUP | EventFlags::ERR),
            }
        }));
        Ok(())
    }
}

/// Rounded up: to wake before a deadline, find nothing due, and wait for zero until it is, would be a busy loop.
fn whole_milliseconds(timeout: Duration) -> Timespec {
    let timeout = timeout.min(WAIT_MAX);
    let millis = timeout.as_nanos().div_ceil(1_000_000);
    let millis = i64::try_from(millis).unwrap_or(i64::MAX);
    Timespec {
        tv_sec: millis / 1000,
        tv_nsec: (millis % 1000) * 1_000_000,
    }
}

/// Things by [`Token`]. A slot is used again, its token never: events that were already on their way for a source that is
/// gone find nothing.
#[derive(Debug)]
pub struct Slots<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<T> Slots<T> {
    /// Puts a thing in a free slot.
    pub fn insert(&mut self, value: T) -> Token {
        self.insert_with(|_| value)
    }

    /// Puts a thing in a free slot that knows its own token.
    pub fn insert_with(&mut self, make: impl FnOnce(Token) -> T) -> Token {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot {
                generation: 0,
                value: None,
            });
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        let generation = self.slot(index).map_or(0, |slot| slot.generation);
        let token = Token { index, generation };
        let value = make(token);
        if let Some(slot) = self.slot_mut(index) {
            slot.value = Some(value);
        }
        token
    }

    /// The thing of this token, if it is still there.
    pub fn get(&self, token: Token) -> Option<&T> {
        self.slot(token.index)
            .filter(|slot| slot.generation == token.generation)?
            .value
            .as_ref()
    }

    /// The thing of this token, if it is still there.
    pub fn get_mut(&mut self, token: Token) -> Option<&mut T> {
        self.slot_mut(token.index)
            .filter(|slot| slot.generation == token.generation)?
            .value
            .as_mut()
    }

    /// Takes it out; its token is never valid again.
    pub fn remove(&mut self, token: Token) -> Option<T> {
        let slot = self
            .slot_mut(token.index)
            .filter(|slot| slot.generation == token.generation)?;
        let value = slot.value.take()?;
        // After 2^32 users of one slot it is retired rather than wrapped.
        if let Some(next) = slot.generation.checked_add(1) {
            slot.generation = next;
            self.free.push(token.index);
        }
        Some(value)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (Token, &T)> {
        (0_u32..).zip(&self.slots).filter_map(|(index, slot)| {
            let token = Token {
                index,
                generation: slot.generation,
            };
            slot.value.as_ref().map(|value| (token, value))
        })
    }

    /// All of them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Token, &mut T)> {
        (0_u32..).zip(&mut self.slots).filter_map(|(index, slot)| {
            let token = Token {
                index,
                generation: slot.generation,
            };
            slot.value.as_mut().map(|value| (token, value))
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    fn slot(&self, index: u32) -> Option<&Slot<T>> {
        self.slots.get(usize::try_from(index).ok()?)
    }

    fn slot_mut(&mut self, index: u32) -> Option<&mut Slot<T>> {
        self.slots.get_mut(usize::try_from(index).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn a_token_of_a_slot_used_again_finds_nothing() {
        let mut slots = Slots::default();
        let first = slots.insert("first");
        assert_eq!(slots.remove(first), Some("first"));
        let second = slots.insert_with(|token| {
            assert_eq!(token.index(), first.index());
            "second"
        });
        assert_eq!(slots.get(first), None);
        assert_eq!(slots.remove(first), None);
        assert_eq!(slots.get(second), Some(&"second"));
        assert_eq!(slots.iter().collect::<Vec<_>>(), [(second, &"second")]);
        assert_eq!(slots.len(), 1);
    }

    #[test]
    fn tokens_survive_the_kernel() {
        let token = Token::new(u32::MAX, 7);
        assert_eq!(Token::from_u64(token.to_u64()), token);
    }

    #[test]
    fn waits_are_rounded_up_and_cut() {
        let parts = |timeout| {
            let spec = whole_milliseconds(timeout);
            (spec.tv_sec, spec.tv_nsec)
        };
        assert_eq!(parts(Duration::ZERO), (0, 0));
        assert_eq!(parts(Duration::from_nanos(1)), (0, 1_000_000));
        assert_eq!(parts(Duration::from_millis(1500)), (1, 500_000_000));
        assert_eq!(parts(Duration::MAX), (86400, 0));
    }

    #[test]
    fn a_pipe_is_ready_when_written_and_hangs_up_when_closed() {
        let (mut reader, mut writer) = std::io::pipe().unwrap();
        let mut poller = Poller::new().unwrap();
        let token = Token::new(3, 4);
        poller.add(&reader, token, Interest::READ).unwrap();
        let mut ready = Vec::new();
        poller.wait(Some(Duration::ZERO), &mut ready).unwrap();
        assert!(ready.is_empty());
        writer.write_all(b"x").unwrap();
        poller.wait(None, &mut ready).unwrap();
        assert_eq!(
            ready,
            [Ready {
                token,
                readable: true,
                writable: false,
                hangup: false
            }]
        );
        reader.read_exact(&mut [0]).unwrap();
        drop(writer);
        ready.clear();
        poller.wait(None, &mut ready).unwrap();
        assert_eq!(
            ready,
            [Ready {
                token,
                readable: true,
                writable: false,
                hangup: true
            }]
        );
        poller.remove(&reader).unwrap();
        ready.clear();
        poller.wait(Some(Duration::ZERO), &mut ready).unwrap();
        assert!(ready.is_empty());
    }
}
