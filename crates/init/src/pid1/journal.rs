//! What PID 1 must not forget when it replaces its own program.
//!
//! A journal in a memfd: each entry replaces the earlier one of the same key whole, and is written
//! before the effect it tells of. It survives `execve` as a descriptor, so that a deliberate
//! re-execution and one out of a panic read the same thing and nothing has to be saved at the
//! moment of the panic. Entries carry a checksum; reading stops at the first one that is not
//! whole, which can only be the last.
//!
//! An entry is `length, key, checksum` (little-endian, 4 bytes each) and then the payload; an
//! empty payload removes the key.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use herm_engine::SortedMap;
use rustix::fs::MemfdFlags;
use rustix::io::{DupFlags, Errno, FdFlags, fcntl_getfd};

/// Bytes of an entry before its payload.
const HEADER_BYTES: u64 = 12;

/// The journal is rewritten when it is larger than this and mostly superseded.
const COMPACT_ABOVE_BYTES: u64 = 256 * 1024;

/// Where a key's current payload is.
#[derive(Clone, Copy, Debug)]
struct Place {
    offset: u64,
    length: u32,
}

/// The journal.
#[derive(Debug)]
pub(crate) struct Journal {
    fd: OwnedFd,
    end: u64,
    /// The current places, in a table for each kind of key (its two highest bits): within a kind
    /// most keys are given in ascending order.
    live: [SortedMap<u32, Place>; 4],
    live_bytes: u64,
}

impl Journal {
    /// An empty journal.
    pub(crate) fn create() -> io::Result<Self> {
        let fd = rustix::fs::memfd_create("herm-state", MemfdFlags::CLOEXEC)?;
        Ok(Self {
            fd,
            end: 0,
            live: Default::default(),
            live_bytes: 0,
        })
    }

    /// The journal in a descriptor that came through `execve`, or from the program that is about
    /// to be replaced (`--check-state`).
    pub(crate) fn adopt(fd: OwnedFd) -> io::Result<Self> {
        let mut journal = Self {
            fd,
            end: 0,
            live: Default::default(),
            live_bytes: 0,
        };
        let size = u64::try_from(rustix::fs::fstat(&journal.fd)?.st_size).unwrap_or(0);
        while let Some((key, place)) = journal.entry_at(journal.end, size)? {
            journal.note(key, place);
            journal.end = place.offset + u64::from(place.length);
        }
        Ok(journal)
    }

    /// The descriptor, to be kept through `execve`.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The keys that have a payload.
    pub(crate) fn keys(&self) -> impl Iterator<Item = u32> {
        self.live.iter().flat_map(SortedMap::keys).copied()
    }

    /// A key's payload.
    pub(crate) fn get(&self, key: u32) -> io::Result<Option<Vec<u8>>> {
        let place = self.live[kind(key)].get(&key);
        place.map(|place| self.payload(*place)).transpose()
    }

    /// Replaces a key's payload; an empty one removes the key.
    pub(crate) fn put(&mut self, key: u32, payload: &[u8]) -> io::Result<()> {
        let length = u32::try_from(payload.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let mut entry = Vec::with_capacity(payload.len() + 12);
        entry.extend_from_slice(&length.to_le_bytes());
        entry.extend_from_slice(&key.to_le_bytes());
        entry.extend_from_slice(&checksum(key, payload).to_le_bytes());
        entry.extend_from_slice(payload);
        self.write_at(&entry, self.end)?;
        let place = Place {
            offset: self.end + HEADER_BYTES,
            length,
        };
        self.end = place.offset + u64::from(length);
        self.note(key, place);
        if self.end > COMPACT_ABOVE_BYTES && self.end / 4 > self.live_bytes {
            self.compact()?;
        }
        Ok(())
    }

    fn note(&mut self, key: u32, place: Place) {
        let size = |place: Place| u64::from(place.length) + HEADER_BYTES;
        let live = &mut self.live[kind(key)];
        let old = if place.length == 0 {
            live.remove(&key)
        } else {
            self.live_bytes += size(place);
            live.insert(key, place)
        };
        self.live_bytes = self.live_bytes.saturating_sub(old.map_or(0, size));
    }

    /// Copies what is current into a new memfd and puts that in the old one's place, under the
    /// same descriptor number, in one step. Whether it is kept through `execve` stays as it was: the
    /// panic hook knows the number and nothing else.
    fn compact(&mut self) -> io::Result<()> {
        let mut fresh = Self::create()?;
        for (key, place) in self.live.iter().flat_map(SortedMap::iter) {
            fresh.put(*key, &self.payload(*place)?)?;
        }
        let flags = if fcntl_getfd(&self.fd)?.contains(FdFlags::CLOEXEC) {
            DupFlags::CLOEXEC
        } else {
            DupFlags::empty()
        };
        rustix::io::dup3(&fresh.fd, &mut self.fd, flags)?;
        self.end = fresh.end;
        self.live = fresh.live;
        self.live_bytes = fresh.live_bytes;
        Ok(())
    }

    fn payload(&self, place: Place) -> io::Result<Vec<u8>> {
        let length = usize::try_from(place.length).map_err(|_| io::ErrorKind::InvalidData)?;
        let mut payload = vec![0; length];
        self.read_at(&mut payload, place.offset)?;
        Ok(payload)
    }

    fn read_at(&self, mut into: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !into.is_empty() {
            match rustix::io::pread(&self.fd, &mut *into, offset) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    into = into.get_mut(count..).unwrap_or_default();
                    offset += count as u64;
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn write_at(&self, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            match rustix::io::pwrite(&self.fd, bytes, offset) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    bytes = bytes.get(count..).unwrap_or_default();
                    offset += count as u64;
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn entry_at(&self, start: u64, size: u64) -> io::Result<Option<(u32, Place)>> {
        if start + HEADER_BYTES > size {
            return Ok(None);
        }
        let word = |at: u64| -> io::Result<u32> {
            let mut bytes = [0; 4];
            self.read_at(&mut bytes, start + at)?;
            Ok(u32::from_le_bytes(bytes))
        };
        let (length, key, sum) = (word(0)?, word(4)?, word(8)?);
        let place = Place {
            offset: start + HEADER_BYTES,
            length,
        };
        if place.offset + u64::from(length) > size {
            return Ok(None);
        }
        let payload = self.payload(place)?;
        Ok((checksum(key, &payload) == sum).then_some((key, place)))
    }
}

/// The table that a key is in.
const fn kind(key: u32) -> usize {
    (key >> 30) as usize
}

/// FNV-1a over key and payload: it has to notice an entry cut short, not an adversary.
fn checksum(key: u32, payload: &[u8]) -> u32 {
    let mut hash = 0x811c_9dc5_u32;
    for byte in key.to_le_bytes().iter().chain(payload) {
        hash = (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(journal: &Journal) -> Vec<(u32, Vec<u8>)> {
        journal
            .keys()
            .map(|key| (key, journal.get(key).unwrap().unwrap()))
            .collect()
    }

    fn reopened(journal: &Journal) -> Journal {
        Journal::adopt(journal.fd().try_clone_to_owned().unwrap()).unwrap()
    }

    /// A busy minute and a panic after it once ended in a fresh boot: the descriptor was gone.
    #[test]
    fn a_compacted_journal_is_still_kept_through_execve() {
        for kept in [FdFlags::empty(), FdFlags::CLOEXEC] {
            let mut journal = Journal::create().unwrap();
            rustix::io::fcntl_setfd(journal.fd(), kept).unwrap();
            let number = std::os::fd::AsRawFd::as_raw_fd(&journal.fd());
            let mut ends = Vec::new();
            while ends.last().is_none_or(|end| *end <= journal.end) {
                ends.push(journal.end);
                journal.put(1, &[7; 1000]).unwrap();
            }
            assert_eq!(fcntl_getfd(journal.fd()).unwrap(), kept);
            assert_eq!(std::os::fd::AsRawFd::as_raw_fd(&journal.fd()), number);
            assert_eq!(contents(&reopened(&journal)), vec![(1, vec![7; 1000])]);
        }
    }

    #[test]
    fn the_last_entry_of_each_key_is_what_comes_back() {
        let mut journal = Journal::create().unwrap();
        journal.put(1, b"one").unwrap();
        journal.put(2, b"two").unwrap();
        journal.put(1, b"uno").unwrap();
        journal.put(2, b"").unwrap();
        journal.put(3, b"three").unwrap();
        let expected = vec![(1, b"uno".to_vec()), (3, b"three".to_vec())];
        assert_eq!(contents(&reopened(&journal)), expected);
    }

    #[test]
    fn an_entry_cut_short_is_as_if_it_had_not_been_begun() {
        let mut journal = Journal::create().unwrap();
        journal.put(1, b"old").unwrap();
        let before = journal.end;
        journal.put(1, b"new and longer").unwrap();
        for end in before..journal.end {
            let copy = Journal::create().unwrap();
            let mut bytes = vec![0; usize::try_from(end).unwrap()];
            journal.read_at(&mut bytes, 0).unwrap();
            copy.write_at(&bytes, 0).unwrap();
            let expected = vec![(1, b"old".to_vec())];
            assert_eq!(contents(&reopened(&copy)), expected, "cut at {end}");
        }
    }

    #[test]
    fn what_is_superseded_does_not_pile_up_and_the_descriptor_stays_the_same() {
        use std::os::fd::AsRawFd as _;
        let mut journal = Journal::create().unwrap();
        let number = journal.fd().as_raw_fd();
        let payload = vec![7; 1000];
        for round in 0..10_000_u32 {
            journal.put(round % 5, &payload).unwrap();
        }
        assert!(journal.end <= COMPACT_ABOVE_BYTES + 2000);
        assert_eq!(journal.fd().as_raw_fd(), number);
        assert_eq!(contents(&reopened(&journal)).len(), 5);
    }
}
