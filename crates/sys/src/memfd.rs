//! Memory in a file that has no name: it survives an exec by descriptor, and the kernel can write into it.
//!
//! # Safety
//!
//! `unsafe` because a mapping is shared with whoever else has the file: other processes may write at any time, so no
//! reference into it is ever made. Bytes are copied in and out through atomics, bounds-checked.
#![expect(unsafe_code, reason = "a shared mapping")]

use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicI32, AtomicU8, Ordering};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fstat, ftruncate, memfd_create};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// A memory file and our mapping of it.
#[derive(Debug)]
pub struct SharedMemory {
    file: OwnedFd,
    start: NonNull<u8>,
    len: usize,
}

impl SharedMemory {
    /// A new one of `len` bytes, all zero, close-on-exec until [`crate::exec`] says otherwise. `name` shows in `/proc`.
    pub fn create(name: &str, len: usize) -> Result<Self, Errno> {
        let file = memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&file, u64::try_from(len).map_err(|_| Errno::FBIG)?)?;
        Self::map(file, len)
    }

    /// Takes over one that was inherited, at the size it has. `PERM` for a file that was not made by [`Self::create`].
    pub fn adopt(file: OwnedFd) -> Result<Self, Errno> {
        let len = usize::try_from(fstat(&file)?.st_size).map_err(|_| Errno::FBIG)?;
        Self::map(file, len)
    }

    fn map(file: OwnedFd, len: usize) -> Result<Self, Errno> {
        if len == 0 {
            return Err(Errno::INVAL);
        }
        // Reading a mapping beyond the end of a file that someone made shorter is a fatal signal.
        fcntl_add_seals(&file, SealFlags::SHRINK)?;
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping where the kernel finds room; unmapped only in `drop`.
        let start = unsafe { mmap(ptr::null_mut(), len, protection, MapFlags::SHARED, &file, 0) }?;
        let start = NonNull::new(start.cast()).ok_or(Errno::NOMEM)?;
        Ok(Self { file, start, len })
    }

    /// Its size in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Never: an empty one can't be mapped.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn byte(&self, offset: usize) -> &AtomicU8 {
        debug_assert!(offset < self.len);
        // SAFETY: both callers have checked the range against `len`.
        let byte = unsafe { self.start.add(offset) };
        // SAFETY: the mapping lives as long as `self`, and is accessed through atomics only.
        unsafe { AtomicU8::from_ptr(byte.as_ptr()) }
    }

    fn check(&self, offset: usize, len: usize) -> Result<(), Errno> {
        let end = offset.checked_add(len).ok_or(Errno::INVAL)?;
        if end <= self.len {
            Ok(())
        } else {
            Err(Errno::INVAL)
        }
    }

    /// Copies `bytes` in at `offset`; `INVAL`, and nothing is copied, unless all fit.
    pub fn write_at(&self, offset: usize, bytes: &[u8]) -> Result<(), Errno> {
        self.check(offset, bytes.len())?;
        for (index, byte) in bytes.iter().enumerate() {
            self.byte(offset + index).store(*byte, Ordering::Relaxed);
        }
        std::sync::atomic::fence(Ordering::SeqCst);
        Ok(())
    }

    /// Copies out into `bytes` from `offset`; `INVAL` unless all are there.
    pub fn read_at(&self, offset: usize, bytes: &mut [u8]) -> Result<(), Errno> {
        self.check(offset, bytes.len())?;
        std::sync::atomic::fence(Ordering::SeqCst);
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = self.byte(offset + index).load(Ordering::Relaxed);
        }
        Ok(())
    }

    /// The four aligned bytes at `offset`, as a place for a child's pid; `INVAL` if they aren't there or aligned.
    pub fn pid_word(&self, offset: usize) -> Result<PidWord<'_>, Errno> {
        self.check(offset, size_of::<i32>())?;
        if !offset.is_multiple_of(align_of::<i32>()) {
            return Err(Errno::INVAL);
        }
        // SAFETY: in range, as just checked.
        let word = unsafe { self.start.add(offset) };
        Ok(PidWord {
            word: word.cast(),
            memory: PhantomData,
        })
    }
}

impl AsFd for SharedMemory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        // SAFETY: what `map` mapped; every borrow of it has ended.
        let unmapped = unsafe { munmap(self.start.as_ptr().cast(), self.len) };
        debug_assert_eq!(unmapped, Ok(()));
    }
}

/// Four bytes of a [`SharedMemory`] (a native-endian `i32`), where the kernel writes the pid of a child as it makes it
/// ([`crate::spawn::Spawner::spawn`]): so a successor finds it even if we die before we could note it ourselves.
#[derive(Debug)]
pub struct PidWord<'a> {
    word: NonNull<i32>,
    memory: PhantomData<&'a SharedMemory>,
}

impl PidWord<'_> {
    pub(crate) fn as_ptr(&self) -> *mut i32 {
        self.word.as_ptr()
    }

    fn atomic(&self) -> &AtomicI32 {
        // SAFETY: aligned and in range (`pid_word`), alive as long as the memory that is borrowed, accessed through atomics.
        unsafe { AtomicI32::from_ptr(self.word.as_ptr()) }
    }

    /// What it holds; 0 if no pid was ever written.
    pub fn get(&self) -> i32 {
        self.atomic().load(Ordering::SeqCst)
    }

    /// Forgets the pid.
    pub fn clear(&self) {
        self.atomic().store(0, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_by_whoever_adopts_the_file() {
        let ours = SharedMemory::create("test", 8192).unwrap();
        ours.write_at(4090, b"0123456789").unwrap();
        let theirs = SharedMemory::adopt(ours.as_fd().try_clone_to_owned().unwrap()).unwrap();
        let mut bytes = [0; 10];
        theirs.read_at(4090, &mut bytes).unwrap();
        assert_eq!(&bytes, b"0123456789");
        assert_eq!(theirs.len(), 8192);
    }

    #[test]
    fn nothing_outside_can_be_named() {
        let memory = SharedMemory::create("test", 16).unwrap();
        assert_eq!(memory.write_at(10, b"1234567"), Err(Errno::INVAL));
        assert_eq!(memory.write_at(usize::MAX, b"1"), Err(Errno::INVAL));
        assert_eq!(memory.read_at(16, &mut [0]), Err(Errno::INVAL));
        assert_eq!(memory.read_at(16, &mut []), Ok(()));
        assert_eq!(memory.pid_word(2).err(), Some(Errno::INVAL));
        assert_eq!(memory.pid_word(16).err(), Some(Errno::INVAL));
        assert_eq!(memory.pid_word(12).unwrap().get(), 0);
    }
}
