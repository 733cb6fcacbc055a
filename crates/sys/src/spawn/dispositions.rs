//! Which signals have another effect on us than the default one.
//!
//! A child has to give exactly these their default effect before it executes: a handler of ours would run on our memory, and an
//! ignored signal would stay ignored. Asking for each of the 64 once, and not in every child, is a tenth of what a start costs.
//!
//! # Safety
//!
//! `unsafe` for the system call, which writes into a local.
#![expect(
    unsafe_code,
    reason = "reads a signal's disposition without changing it"
)]

use crate::raw::syscall;

/// A bit for each signal, the lowest for the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Altered(u64);

/// A kernel `struct sigaction`; its first word is the handler, 0 for the default. Two architectures, one size.
pub(super) type Action = [u64; 4];

impl Altered {
    /// As it is now.
    pub(super) fn now() -> Self {
        let is_altered = |signal: &u32| {
            let mut action: Action = [0; 4];
            let args = [
                *signal as usize,
                0,
                (&raw mut action).addr(),
                size_of::<u64>(),
                0,
                0,
            ];
            // SAFETY: changes nothing, and writes one `struct sigaction` into a local of that size.
            let asked = unsafe { syscall(libc::SYS_rt_sigaction, args) };
            // One that can't be asked for is put right in vain.
            asked.is_err() || action[0] != 0
        };
        let altered = (1..=64).filter(is_altered);
        Self(altered.fold(0, |set, signal| set | 1 << (signal - 1)))
    }

    /// The lowest signal of the set, and the set without it. For a child: neither allocates nor panics.
    pub(super) const fn next(self) -> Option<(usize, Self)> {
        if self.0 == 0 {
            return None;
        }
        let signal = self.0.trailing_zeros() as usize;
        Some((
            signal.wrapping_add(1),
            Self(self.0 & self.0.wrapping_sub(1)),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_signal_of_a_set_comes_once_in_order() {
        let mut left = Altered(1 | 1 << 12 | 1 << 63);
        let mut signals = Vec::new();
        while let Some((signal, rest)) = left.next() {
            signals.push(signal);
            left = rest;
        }
        assert_eq!(signals, [1, 13, 64]);
    }

    #[test]
    fn what_rust_ignores_is_seen() {
        let mut left = Altered::now();
        let pipe = usize::try_from(libc::SIGPIPE).unwrap();
        let mut found = false;
        while let Some((signal, rest)) = left.next() {
            found |= signal == pipe;
            left = rest;
        }
        assert!(found);
    }
}
