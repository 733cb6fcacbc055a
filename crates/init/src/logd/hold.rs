//! The beginnings of lines whose end isn't written yet, where a killed log daemon can't lose
//! them.
//!
//! Whole lines are written to the log before they leave the pipe. The beginning of a line can't
//! be: the log would show half a line. It can't stay in the pipe either, where it would hold up
//! the writer once the pipe is full (at 8 KiB, or 4 KiB on older kernels). So it moves, by
//! `splice(2)`, from the pipe to the end of a memfd that PID 1 keeps and hands to each log
//! daemon. A splice into a memory file takes from the pipe exactly what it adds to the file, also
//! when the process is killed in the middle, and the file's size says how much that was. Nothing
//! is lost and nothing is there twice.
//!
//! The file is a header (magic, and the offset of the first record), then records: kind, run,
//! length, each 8 bytes little-endian, then the data. The last record may say [`OPEN_END`]: its
//! data goes on to the end of the file. A release forgets what a run holds; when no run holds
//! anything the file is emptied. A file with too many records that no longer count is compacted:
//! what is held is appended again, the header's offset moves there, and what lies before it is
//! given back to the kernel.

use std::os::fd::{BorrowedFd, OwnedFd};

use herm_engine::SortedMap;
use rustix::fs::{FallocateFlags, fallocate, fstat, ftruncate};
use rustix::io::{Errno, pread, pwrite, retry_on_intr};
use rustix::pipe::{SpliceFlags, splice};

/// All runs together hold no more than this; a run that would pass it has its line split.
pub(crate) const HELD_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Records that no longer count may take this much before the file is compacted.
const WASTE_BYTES_MAX: u64 = 1024 * 1024;

/// `herm-log` in ASCII.
const MAGIC: u64 = u64::from_le_bytes(*b"herm-log");
const FILE_HEADER_BYTES: u64 = 16;
const RECORD_HEADER_BYTES: u64 = 24;
const OPEN_END: u64 = u64::MAX;

/// More of a run's line.
const DATA: u64 = 1;
/// The run's line is in the log.
const RELEASE: u64 = 2;
/// All that the run holds, instead of what the records before say.
const REPLACE: u64 = 3;

/// The last record, if it is data that may grow.
#[derive(Debug, Clone, Copy)]
struct Growing {
    run: u64,
    header_at: u64,
    data_at: u64,
}

/// What each run holds, in memory and in the memfd.
#[derive(Debug)]
pub(crate) struct Hold {
    /// `None` when there is no memfd, or it failed: then a kill loses what is held.
    file: Option<OwnedFd>,
    start: u64,
    end: u64,
    growing: Option<Growing>,
    held: SortedMap<u64, Vec<u8>>,
    total: usize,
}

impl Hold {
    /// Continues what an earlier log daemon left in the memfd.
    pub(crate) fn adopt(file: Option<OwnedFd>) -> Self {
        let mut hold = Self {
            file,
            start: 0,
            end: 0,
            growing: None,
            held: SortedMap::new(),
            total: 0,
        };
        if hold.read_back().is_err() {
            hold.file = None;
        }
        hold.total = hold.held.values().map(Vec::len).sum();
        hold.keep(Self::compact);
        hold
    }

    /// The beginning of the run's next line.
    pub(crate) fn get(&self, run: u64) -> &[u8] {
        self.held.get(&run).map_or(&[], Vec::as_slice)
    }

    /// Whether no more should be held.
    pub(crate) fn is_full(&self) -> bool {
        self.total >= HELD_BYTES_MAX
    }

    /// Moves the next bytes from the run's pipe to what it holds. `bytes` is what they are, which
    /// the caller has seen by `tee(2)`. Says how many have left the pipe; fewer than there are in
    /// `bytes` only if somebody else reads the pipe. `None`: the caller is to take them from the
    /// pipe himself, for they are only held in memory.
    pub(crate) fn take(&mut self, run: u64, pipe: BorrowedFd<'_>, bytes: &[u8]) -> Option<usize> {
        if self.end - self.start > WASTE_BYTES_MAX + 2 * self.total as u64 {
            self.keep(Self::compact);
        }
        let moved = self.keep(|hold, file| hold.splice_in(file, run, pipe, bytes.len()));
        let bytes = bytes.get(..moved.unwrap_or(bytes.len())).unwrap_or(bytes);
        self.held.get_or_default(run).extend_from_slice(bytes);
        self.total += bytes.len();
        moved
    }

    /// Holds bytes that are in no pipe any more.
    pub(crate) fn put(&mut self, run: u64, bytes: &[u8]) {
        self.keep(|hold, file| hold.append(file, DATA, run, bytes));
        self.held.get_or_default(run).extend_from_slice(bytes);
        self.total += bytes.len();
    }

    /// Forgets what the run holds: it is in the log.
    pub(crate) fn release(&mut self, run: u64) {
        let Some(bytes) = self.held.remove(&run) else {
            return;
        };
        self.total = self.total.saturating_sub(bytes.len());
        if self.held.is_empty() {
            self.keep(Self::clear);
        } else {
            self.keep(|hold, file| hold.append(file, RELEASE, run, &[]));
        }
    }

    /// Does something with the file; a file that fails is not used again.
    fn keep<T>(
        &mut self,
        act: impl FnOnce(&mut Self, BorrowedFd<'_>) -> Result<T, Errno>,
    ) -> Option<T> {
        use std::os::fd::AsFd;
        let file = self.file.take()?;
        let result = act(self, file.as_fd());
        if let Ok(value) = result {
            self.file = Some(file);
            Some(value)
        } else {
            // What it says must not count for the next log daemon either.
            let _ = ftruncate(&file, 0);
            None
        }
    }

    fn read_back(&mut self) -> Result<(), Errno> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        let size = u64::try_from(fstat(file)?.st_size).unwrap_or(0);
        let mut header = [0u8; 16];
        pread(file, &mut header, 0)?;
        let [magic, start] = words(&header);
        if magic != MAGIC || start > size {
            return Ok(());
        }
        let length = usize::try_from(size - start).map_err(|_| Errno::FBIG)?;
        let mut records = vec![0u8; length];
        let mut read = 0;
        while let Some(rest) = records.get_mut(read..).filter(|rest| !rest.is_empty()) {
            match retry_on_intr(|| pread(file, &mut *rest, start + read as u64))? {
                0 => break,
                n => read += n,
            }
        }
        let replayed = replay(&records);
        // What is left behind it is a record that was never finished.
        ftruncate(file, start + replayed.length)?;
        self.held = replayed.held;
        (self.start, self.end) = (start, start + replayed.length);
        self.growing = replayed.growing.map(|(run, at)| Growing {
            run,
            header_at: start + at,
            data_at: start + at + RECORD_HEADER_BYTES,
        });
        Ok(())
    }

    fn splice_in(
        &mut self,
        file: BorrowedFd<'_>,
        run: u64,
        pipe: BorrowedFd<'_>,
        length: usize,
    ) -> Result<usize, Errno> {
        if self.growing.is_none_or(|growing| growing.run != run) {
            let header_at = self.begin(file, DATA, run, OPEN_END)?;
            self.growing = Some(Growing {
                run,
                header_at,
                data_at: self.end,
            });
        }
        let mut moved = 0;
        while moved < length {
            let mut at = self.end;
            let flags = SpliceFlags::NONBLOCK;
            match splice(pipe, None, file, Some(&mut at), length - moved, flags) {
                Ok(0) | Err(Errno::AGAIN) => break,
                Ok(n) => {
                    moved += n;
                    self.end += n as u64;
                }
                Err(Errno::INTR) => {}
                // Part of it is gone from the pipe, and in the file: that part counts.
                Err(_) if moved > 0 => break,
                Err(errno) => return Err(errno),
            }
        }
        Ok(moved)
    }

    /// Appends a record of known length.
    fn append(
        &mut self,
        file: BorrowedFd<'_>,
        kind: u64,
        run: u64,
        data: &[u8],
    ) -> Result<(), Errno> {
        self.begin(file, kind, run, data.len() as u64)?;
        write_all(file, data, self.end)?;
        self.end += data.len() as u64;
        Ok(())
    }

    /// Appends a record's header, and says where it is.
    fn begin(
        &mut self,
        file: BorrowedFd<'_>,
        kind: u64,
        run: u64,
        length: u64,
    ) -> Result<u64, Errno> {
        if self.end < FILE_HEADER_BYTES {
            // All in one: a line that comes in two halves is nothing rare.
            let header = bytes([MAGIC, FILE_HEADER_BYTES, kind, run, length]);
            write_all(file, &header, 0)?;
            self.start = FILE_HEADER_BYTES;
            self.end = FILE_HEADER_BYTES + RECORD_HEADER_BYTES;
            return Ok(FILE_HEADER_BYTES);
        }
        if let Some(last) = self.growing.take() {
            let length = self.end - last.data_at;
            write_all(file, &length.to_le_bytes(), last.header_at + 16)?;
        }
        let at = self.end;
        write_all(file, &bytes([kind, run, length]), at)?;
        self.end += RECORD_HEADER_BYTES;
        Ok(at)
    }

    fn clear(&mut self, file: BorrowedFd<'_>) -> Result<(), Errno> {
        ftruncate(file, 0)?;
        self.growing = None;
        (self.start, self.end) = (0, 0);
        Ok(())
    }

    fn compact(&mut self, file: BorrowedFd<'_>) -> Result<(), Errno> {
        if self.held.is_empty() {
            return self.clear(file);
        }
        let held = std::mem::take(&mut self.held);
        let from = self.end;
        let copied = held
            .iter()
            .try_for_each(|(run, data)| self.append(file, REPLACE, *run, data));
        self.held = held;
        copied?;
        write_all(file, &from.to_le_bytes(), 8)?;
        self.start = from;
        // Memory only; the offsets stay. Where it can't be done the file just stays larger.
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        let length = from.saturating_sub(FILE_HEADER_BYTES);
        let _ = fallocate(file, flags, FILE_HEADER_BYTES, length);
        Ok(())
    }
}

/// What a file's records come to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Replayed {
    held: SortedMap<u64, Vec<u8>>,
    /// How far the records are whole.
    length: u64,
    /// The run and the place of the last record, if that is data without an end.
    growing: Option<(u64, u64)>,
}

/// What runs hold after `records`. The last record counts if it is data that has no end yet, and
/// else only if it is complete.
fn replay(mut records: &[u8]) -> Replayed {
    let mut replayed = Replayed::default();
    let held = &mut replayed.held;
    while let Some((header, rest)) = records.split_first_chunk::<24>() {
        let [kind, run, length] = words(header);
        let length = match (kind, length) {
            (DATA, OPEN_END) => {
                replayed.growing = Some((run, replayed.length));
                rest.len()
            }
            (DATA | RELEASE | REPLACE, length) => usize::try_from(length).unwrap_or(usize::MAX),
            _ => break,
        };
        let Some((data, after)) = rest.split_at_checked(length) else {
            break;
        };
        if kind != DATA {
            held.remove(&run);
        }
        if !data.is_empty() {
            held.get_or_default(run).extend_from_slice(data);
        }
        replayed.length += RECORD_HEADER_BYTES + data.len() as u64;
        records = after;
    }
    replayed
}

fn words<const N: usize>(bytes: &[u8]) -> [u64; N] {
    let mut words = [0; N];
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = bytes.try_into().map_or(0, u64::from_le_bytes);
    }
    words
}

fn bytes<const N: usize>(words: [u64; N]) -> Vec<u8> {
    words.into_iter().flat_map(u64::to_le_bytes).collect()
}

fn write_all(file: BorrowedFd<'_>, mut data: &[u8], mut at: u64) -> Result<(), Errno> {
    while !data.is_empty() {
        let n = retry_on_intr(|| pwrite(file, data, at))?;
        data = data.get(n..).unwrap_or_default();
        at += n as u64;
        if n == 0 {
            return Err(Errno::NOSPC);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rustix::fs::{MemfdFlags, memfd_create};
    use std::os::fd::AsFd;

    struct World {
        memfd: OwnedFd,
        read: OwnedFd,
        write: OwnedFd,
    }

    impl World {
        fn new() -> Self {
            let (read, write) = rustix::pipe::pipe().unwrap();
            let memfd = memfd_create("hold", MemfdFlags::CLOEXEC).unwrap();
            Self { memfd, read, write }
        }

        /// What the next log daemon gets.
        fn adopt(&self) -> Hold {
            Hold::adopt(Some(self.memfd.try_clone().unwrap()))
        }

        fn take(&self, hold: &mut Hold, run: u64, text: &[u8]) {
            rustix::io::write(&self.write, text).unwrap();
            assert_eq!(hold.take(run, self.read.as_fd(), text), Some(text.len()));
        }

        fn size(&self) -> i64 {
            fstat(&self.memfd).unwrap().st_size
        }
    }

    #[test]
    fn the_next_log_daemon_finds_what_each_run_held() {
        let world = World::new();
        let mut hold = world.adopt();
        world.take(&mut hold, 1, b"one ");
        world.take(&mut hold, 2, b"other");
        world.take(&mut hold, 1, b"line");
        hold.put(1, b" more");
        assert_eq!(hold.get(1), b"one line more");
        let mut next = world.adopt();
        assert_eq!(
            (next.get(1), next.get(2)),
            (&b"one line more"[..], &b"other"[..])
        );
        next.release(1);
        assert_eq!(world.adopt().get(1), b"");
        assert_eq!(world.adopt().get(2), b"other");
    }

    #[test]
    fn what_a_killed_log_daemon_spliced_without_accounting_for_it_is_held() {
        let world = World::new();
        let mut hold = world.adopt();
        world.take(&mut hold, 1, b"abc");
        // The kernel moved two bytes, and then the process was gone.
        rustix::io::write(&world.write, b"de").unwrap();
        let mut end = u64::try_from(world.size()).unwrap();
        splice(
            &world.read,
            None,
            &world.memfd,
            Some(&mut end),
            2,
            SpliceFlags::NONBLOCK,
        )
        .unwrap();
        assert_eq!(world.adopt().get(1), b"abcde");
    }

    #[test]
    fn nothing_held_takes_no_memory() {
        let world = World::new();
        let mut hold = world.adopt();
        world.take(&mut hold, 1, b"abc");
        assert!(world.size() > 0);
        hold.release(1);
        assert_eq!(world.size(), 0);
        world.take(&mut hold, 1, b"def");
        assert_eq!(world.adopt().get(1), b"def");
    }

    #[test]
    fn a_prompt_that_never_ends_does_not_let_the_others_records_pile_up() {
        let world = World::new();
        let mut hold = world.adopt();
        world.take(&mut hold, 1, b"password: ");
        for _ in 0..4_000 {
            world.take(&mut hold, 2, &[b'x'; 1000]);
            hold.release(2);
        }
        let stat = fstat(&world.memfd).unwrap();
        assert!(
            stat.st_blocks * 512 < 2_200_000,
            "{} blocks",
            stat.st_blocks
        );
        assert_eq!(world.adopt().get(1), b"password: ");
    }

    #[test]
    fn without_a_memfd_lines_are_held_in_memory() {
        let world = World::new();
        let mut hold = Hold::adopt(None);
        assert_eq!(hold.take(1, world.read.as_fd(), b"abc"), None);
        assert_eq!(hold.get(1), b"abc");
        hold.release(1);
        assert_eq!(hold.get(1), b"");
    }

    proptest! {
        #[test]
        fn any_bytes_replay_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            replay(&bytes);
        }

        #[test]
        fn a_log_daemon_killed_at_any_record_leaves_a_file_that_can_be_continued(
            cut in 0usize..28, data in proptest::collection::vec(any::<u8>(), 1..50),
        ) {
            let world = World::new();
            let mut left = bytes([MAGIC, FILE_HEADER_BYTES, DATA, 7, 3]);
            left.extend_from_slice(b"abc");
            let mut unfinished = bytes([REPLACE, 7, 5]);
            unfinished.extend_from_slice(b"wxyz");
            left.extend_from_slice(&unfinished[..cut]);
            pwrite(&world.memfd, &left, 0).unwrap();
            let mut expected = b"abc".to_vec();
            for _ in 0..3 {
                let mut hold = world.adopt();
                prop_assert_eq!(hold.get(7), &expected[..]);
                world.take(&mut hold, 7, &data);
                expected.extend_from_slice(&data);
            }
        }

        /// Compaction writes behind data that has no end yet, and may be cut short.
        #[test]
        fn an_adoption_cut_short_anywhere_changes_nothing(cut in 0usize..100) {
            let world = World::new();
            let mut hold = world.adopt();
            world.take(&mut hold, 1, b"password: ");
            world.take(&mut hold, 2, b"half a li");
            let contents = |from: u64| {
                let size = u64::try_from(world.size()).unwrap();
                let mut contents = vec![0u8; usize::try_from(size - from).unwrap()];
                pread(&world.memfd, &mut contents, from).unwrap();
                contents
            };
            let mut left = contents(0);
            let size = left.len();
            drop(world.adopt());
            let appended = contents(size as u64);
            // The open end of the last record, "half a li", is closed before anything is appended.
            left[size - 9 - 8..size - 9].copy_from_slice(&9u64.to_le_bytes());
            left.extend_from_slice(&appended[..cut.min(appended.len())]);
            ftruncate(&world.memfd, 0).unwrap();
            pwrite(&world.memfd, &left, 0).unwrap();
            let hold = world.adopt();
            prop_assert_eq!(hold.get(1), b"password: ");
            prop_assert_eq!(hold.get(2), b"half a li");
        }
    }
}
