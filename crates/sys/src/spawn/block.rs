//! The memory a child borrows: a stack, and a page it shares with us to say how far it came.
//!
//! # Safety
//!
//! `unsafe` because this is memory with two users. The stack is the child's alone from clone to exec; the report is only
//! ever read and written as atomics. [`Block`] owns both mappings; the spawner doesn't drop or reuse one before its
//! child is known to have let go.
#![expect(unsafe_code, reason = "mappings shared with a child")]

use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicI32, Ordering};

use rustix::io::Errno;
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};

use super::failure::Stage;

/// Enough for a debug build's frames many times over; pages that aren't touched cost nothing.
const STACK_BYTES: usize = 64 * 1024;

/// What the child tells us.
#[repr(C)]
pub(super) struct Report {
    /// Not zero while the child uses the parent's memory. The kernel clears it when the child executes or ends.
    pub(super) holds_memory: AtomicI32,
    /// The stage it is in.
    pub(super) stage: AtomicI32,
    /// The error that ended it there, or zero.
    pub(super) errno: AtomicI32,
    /// [`NOT_PLACED`], zero once it is in the control group it was to have, or the error that kept it out.
    pub(super) placed: AtomicI32,
}

/// No control group was asked for.
pub(super) const NOT_PLACED: i32 = -1;

/// One child's stack and report.
#[derive(Debug)]
pub(super) struct Block {
    stack: Mapping,
    report: Mapping,
    guard_bytes: usize,
}

#[derive(Debug)]
struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

impl Mapping {
    fn new(len: usize, flags: MapFlags) -> Result<Self, Errno> {
        // SAFETY: a new anonymous mapping where the kernel finds room touches nothing that exists.
        let start = unsafe {
            mmap_anonymous(
                ptr::null_mut(),
                len,
                ProtFlags::READ | ProtFlags::WRITE,
                flags,
            )
        }?;
        NonNull::new(start.cast())
            .map(|start| Self { start, len })
            .ok_or(Errno::NOMEM)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: exactly what `new` mapped; `Block` hands out no reference that outlives it, and is kept while a child
        // uses it.
        let unmapped = unsafe { munmap(self.start.as_ptr().cast(), self.len) };
        debug_assert_eq!(unmapped, Ok(()));
    }
}

fn page_bytes() -> usize {
    // SAFETY: asks for a constant.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).unwrap_or(4096)
}

impl Block {
    pub(super) fn new() -> Result<Self, Errno> {
        let guard_bytes = page_bytes();
        let stack = Mapping::new(
            STACK_BYTES + guard_bytes,
            MapFlags::PRIVATE | MapFlags::STACK | MapFlags::NORESERVE,
        )?;
        // SAFETY: the lowest page of our own new mapping, which nobody uses yet. Stacks grow down into it.
        unsafe {
            mprotect(
                stack.start.as_ptr().cast(),
                guard_bytes,
                MprotectFlags::empty(),
            )
        }?;
        // Shared, so that it is one page for both sides also where the child got a copy of the memory.
        let report = Mapping::new(guard_bytes, MapFlags::SHARED)?;
        Ok(Self {
            stack,
            report,
            guard_bytes,
        })
    }

    /// Ready for a new child.
    pub(super) fn reset(&self) {
        let report = self.report();
        report.holds_memory.store(1, Ordering::SeqCst);
        report.stage.store(Stage::Created as i32, Ordering::SeqCst);
        report.errno.store(0, Ordering::SeqCst);
        report.placed.store(NOT_PLACED, Ordering::SeqCst);
    }

    pub(super) fn report(&self) -> &Report {
        // SAFETY: a page-aligned mapping, larger than a `Report`, zeroed by the kernel (a valid `Report`), alive as long
        // as `self`, and accessed through atomics only.
        unsafe { self.report.start.cast::<Report>().as_ref() }
    }

    /// One past the stack's highest byte; page-aligned.
    pub(super) fn stack_top(&self) -> *mut u8 {
        // SAFETY: the end of one allocation.
        unsafe {
            self.stack
                .start
                .as_ptr()
                .add(STACK_BYTES + self.guard_bytes)
        }
    }
}
