//! What std asks of the C library about a thread's stack, answered with "not known".
//!
//! std wants to know where each stack ends only to name a stack overflow before the process dies of it anyway. glibc's answer
//! reads `/proc/self/maps` with `sscanf(3)`, which links 80 kB of formatted input and number conversion into a static
//! binary: a twenty-fifth of what PID 1 may have (`docs/decisions/0012-no-bounds-of-stacks.md`).
//!
//! # Safety
//!
//! `unsafe` for defining a symbol of the C library. It keeps to that function's contract: an error is a value it may return,
//! and `attr` is then left alone (`pthread_getattr_np(3)`).
#![expect(unsafe_code, reason = "defines a symbol of the C library")]

/// Answers that the bounds are not known.
// SAFETY: the name is glibc's own, for a function of this signature; nothing else in the program defines it.
#[unsafe(no_mangle)]
extern "C" fn pthread_getattr_np(
    _thread: libc::pthread_t,
    _attr: *mut libc::pthread_attr_t,
) -> libc::c_int {
    libc::ENOENT
}

#[cfg(test)]
mod tests {
    #[test]
    fn threads_start_and_end_although_nobody_knows_where_their_stacks_end() {
        let sum = std::thread::spawn(|| (1..=10).sum::<i32>()).join().unwrap();
        assert_eq!(sum, 55);
    }
}
