//! `supervise/death_tally`: when and how the last runs of a service died.

use alloc::vec::Vec;

use crate::status::Ended;
use crate::tai::Tain;

/// How many bytes one death takes.
pub const RECORD: usize = Tain::SIZE + 2;

/// Adds a death at the end of a tally, and drops the oldest beyond `limit`. What is left of a
/// record at the end of a torn tally is dropped, too.
pub fn push(tally: &mut Vec<u8>, at: Tain, ended: Ended, limit: u32) {
    tally.truncate(tally.len() - tally.len() % RECORD);
    tally.extend_from_slice(&at.to_bytes());
    let (code, signal) = match ended {
        Ended::Exited(code) => (code, 0),
        Ended::Killed(signal) => (128_u8.saturating_add(signal), signal),
    };
    tally.extend_from_slice(&[code, signal]);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let excess = (tally.len() / RECORD).saturating_sub(limit);
    tally.drain(..excess * RECORD);
}

/// The deaths in a tally, oldest first.
pub fn read(tally: &[u8]) -> impl Iterator<Item = (Tain, Ended)> {
    tally.chunks_exact(RECORD).filter_map(|record| {
        let (at, rest) = record.split_first_chunk::<{ Tain::SIZE }>()?;
        let ended = match rest {
            [code, 0] => Ended::Exited(*code),
            [_, signal] => Ended::Killed(*signal),
            _ => return None,
        };
        Some((Tain::from_bytes(*at)?, ended))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;
    use proptest::prelude::*;

    #[test]
    fn a_killed_run_has_both_its_signal_and_the_shells_code() {
        let mut tally = Vec::new();
        push(&mut tally, Tain::default(), Ended::Killed(9), 1);
        assert_eq!(tally.get(12..), Some(&[137, 9][..]));
    }

    #[test]
    fn without_a_limit_nothing_is_kept() {
        let mut tally = Vec::new();
        push(&mut tally, Tain::default(), Ended::Exited(1), 0);
        assert!(tally.is_empty());
    }

    proptest! {
        #[test]
        fn the_newest_deaths_are_read_back(
            codes in proptest::collection::vec(any::<u8>(), 0..20),
            limit in 0..10_u32,
            torn in proptest::collection::vec(any::<u8>(), 0..RECORD),
        ) {
            let mut tally = torn;
            for (second, code) in codes.iter().enumerate() {
                let at = Tain::from_unix(Duration::from_secs(second as u64));
                push(&mut tally, at, Ended::Exited(*code), limit);
            }
            if !codes.is_empty() {
                let kept: Vec<u8> = read(&tally)
                    .filter_map(|(_, ended)| match ended { Ended::Exited(code) => Some(code), Ended::Killed(_) => None })
                    .collect();
                let newest = codes.len().saturating_sub(limit as usize);
                prop_assert_eq!(&kept[..], &codes[newest..]);
            }
        }
    }
}
