//! System calls without a C library between.
//!
//! # Safety
//!
//! What runs between `clone` and `execve` shares the parent's memory, the C library's thread-local `errno` included. So
//! it may call nothing of the C library; these functions are the instruction itself, and hand the kernel's answer back
//! as a value. Which memory a call reads or writes is the caller's to argue.
#![expect(unsafe_code, reason = "the system call instruction")]

use core::arch::asm;

/// The kernel's answer: a value, or an error number in `1..=4095`.
pub(crate) type Answer = Result<usize, i32>;

/// The kernel returns errors as small negative numbers.
fn decode(ret: usize) -> Answer {
    let signed = ret.cast_signed();
    if (-4095..0).contains(&signed) {
        // The range check makes the negation fit.
        Err(i32::try_from(signed.wrapping_neg()).unwrap_or(libc::EINVAL))
    } else {
        Ok(ret)
    }
}

/// A system call of up to six arguments; the ones a call doesn't take are ignored by the kernel.
///
/// Indexing an array by a constant within its length is checked by the compiler and can't panic.
///
/// # Safety
///
/// The call, with these arguments, must be sound where it is made: pointers valid for what the kernel does with them,
/// and no effect on descriptors or memory that other code owns.
#[inline]
pub(crate) unsafe fn syscall(number: libc::c_long, args: [usize; 6]) -> Answer {
    let ret: usize;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the instruction clobbers rcx and r11, which are declared; the memory it touches is the caller's promise.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number.cast_unsigned() => ret,
            in("rdi") args[0], in("rsi") args[1], in("rdx") args[2], in("r10") args[3], in("r8") args[4], in("r9") args[5],
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: the kernel preserves every register but x0; the memory it touches is the caller's promise.
    unsafe {
        asm!(
            "svc 0",
            in("x8") number.cast_unsigned(),
            inlateout("x0") args[0] => ret,
            in("x1") args[1], in("x2") args[2], in("x3") args[3], in("x4") args[4], in("x5") args[5],
            options(nostack),
        );
    }
    decode(ret)
}

/// What [`clone_onto`] needs to know.
pub(crate) struct CloneCall<T> {
    /// `CLONE_*` and the exit signal.
    pub(crate) flags: usize,
    /// One past the highest byte of the child's stack, 16-byte aligned.
    pub(crate) stack_top: *mut u8,
    /// Where the kernel writes the child's pid in the parent's memory, before the child runs (`CLONE_PARENT_SETTID`).
    pub(crate) parent_tid: *mut i32,
    /// Which word the kernel clears when the child lets go of the memory (`CLONE_CHILD_CLEARTID`).
    pub(crate) child_tid: *mut i32,
    /// What the child runs.
    pub(crate) entry: unsafe extern "C" fn(*const T) -> !,
    /// What `entry` is given.
    pub(crate) argument: *const T,
}

/// Legacy `clone(2)` with a stack of the child's own, on which it calls `entry(argument)`.
///
/// `clone3` would be tidier but is refused by Docker's seccomp profile. The argument order differs between the two
/// architectures (`man 2 clone`, "C library/kernel differences").
///
/// # Safety
///
/// `stack_top`, `parent_tid`, `child_tid` must be valid for as long as the child may use them, and `entry` must obey the
/// rules of [`crate::spawn`]'s child when the memory is shared: no C library, no allocation, no panics.
pub(crate) unsafe fn clone_onto<T>(call: &CloneCall<T>) -> Answer {
    let ret: usize;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: in the parent this is an ordinary system call. In the child the stack pointer is `stack_top` (aligned, so
    // that `call` leaves the alignment a function expects), nothing of the parent's frame is used but the two registers
    // named, and `entry` does not return; should it, `ud2` ends the child alone.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r12",
            "call r13",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone.cast_unsigned() => ret,
            in("rdi") call.flags,
            in("rsi") call.stack_top,
            in("rdx") call.parent_tid,
            in("r10") call.child_tid,
            in("r8") 0_usize,
            in("r12") call.argument,
            in("r13") call.entry,
            lateout("rcx") _, lateout("r11") _,
        );
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above; `brk` is what `ud2` is there.
    unsafe {
        asm!(
            "svc 0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x30, xzr",
            "mov x0, x20",
            "blr x21",
            "brk 1",
            "2:",
            in("x8") libc::SYS_clone.cast_unsigned(),
            inlateout("x0") call.flags => ret,
            in("x1") call.stack_top,
            in("x2") call.parent_tid,
            in("x3") 0_usize,
            in("x4") call.child_tid,
            in("x20") call.argument,
            in("x21") call.entry,
        );
    }
    decode(ret)
}
