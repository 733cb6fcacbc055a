//! When a kept copy rotates, and which rotated files go. Pure: times are arguments.

use std::collections::VecDeque;

use super::frame;
use super::stamp::Micros;
use crate::logproto::Limits;

/// A rotated file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rotated {
    /// When it stopped being `current`; its name says so.
    pub(crate) at: Micros,
    /// Its size.
    pub(crate) bytes: u64,
}

/// What to do with the next lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fit {
    /// Write this many bytes (whole lines) to `current`.
    Write(usize),
    /// Rotate first.
    Rotate,
}

/// How many of `lines` (whole ones, not empty) `current` still takes. An empty file takes at
/// least one line, however long.
pub(crate) fn fit(
    lines: &[u8],
    current_bytes: u64,
    current_since: Micros,
    limits: &Limits,
    now: Micros,
) -> Fit {
    if current_bytes > 0 && is_too_old(current_since, limits.file_age_s, now) {
        return Fit::Rotate;
    }
    let room = limits.file_bytes.saturating_sub(current_bytes);
    let room = usize::try_from(room).unwrap_or(usize::MAX);
    if lines.len() <= room {
        return Fit::Write(lines.len());
    }
    let (fitting, _) = frame::split_whole(lines.get(..room).unwrap_or_default());
    if !fitting.is_empty() {
        Fit::Write(fitting.len())
    } else if current_bytes > 0 {
        Fit::Rotate
    } else {
        Fit::Write(frame::first_line(lines).unwrap_or(lines.len()))
    }
}

/// How many of a directory's rotated files, oldest first, its limits don't allow.
pub(crate) fn surplus(
    rotated: &VecDeque<Rotated>,
    current_bytes: u64,
    limits: &Limits,
    now: Micros,
) -> usize {
    let by_count = rotated.len().saturating_sub(limits.files as usize);
    let by_age = rotated
        .iter()
        .take_while(|file| is_too_old(file.at, limits.keep_age_s, now))
        .count();
    let mut total = current_bytes + rotated.iter().map(|file| file.bytes).sum::<u64>();
    let cap = limits.total_bytes.unwrap_or(u64::MAX);
    let by_total = rotated
        .iter()
        .take_while(|file| {
            let over = total > cap;
            total = total.saturating_sub(file.bytes);
            over
        })
        .count();
    by_count.max(by_age).max(by_total)
}

/// The directory that loses its oldest file when all together take more than `cap`: the largest
/// that can give one. `sizes` is each directory's total and whether it can.
pub(crate) fn victim<K>(cap: u64, sizes: impl Iterator<Item = (K, u64, bool)>) -> Option<K> {
    let mut total = 0u64;
    let mut largest: Option<(K, u64)> = None;
    for (key, bytes, can_give) in sizes {
        total = total.saturating_add(bytes);
        if can_give && largest.as_ref().is_none_or(|(_, most)| bytes > *most) {
            largest = Some((key, bytes));
        }
    }
    (total > cap).then_some(largest?.0)
}

/// The time for the next rotated file's name: now, but always after the newest one, so that names
/// stay in order when the clock was set back.
pub(crate) fn next_rotation(newest: Option<Micros>, now: Micros) -> Micros {
    newest.map_or(now, |newest| now.max(newest.saturating_add(1)))
}

fn is_too_old(since: Micros, age_s: Option<u64>, now: Micros) -> bool {
    age_s.is_some_and(|age| now.saturating_sub(since) > age.saturating_mul(1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn limits(file_bytes: u64, files: u32) -> Limits {
        Limits {
            file_bytes,
            files,
            ..Limits::default()
        }
    }

    fn rotated(sizes: &[(Micros, u64)]) -> VecDeque<Rotated> {
        sizes
            .iter()
            .map(|&(at, bytes)| Rotated { at, bytes })
            .collect()
    }

    #[test]
    fn a_file_takes_the_lines_that_fit_and_then_rotates() {
        let limits = limits(8, 10);
        assert_eq!(fit(b"aa\nbb\ncc\n", 0, 0, &limits, 0), Fit::Write(6));
        assert_eq!(fit(b"cc\n", 6, 0, &limits, 0), Fit::Rotate);
        assert_eq!(fit(b"c\n", 6, 0, &limits, 0), Fit::Write(2));
    }

    #[test]
    fn a_line_longer_than_a_file_gets_a_file_of_its_own() {
        let limits = limits(4, 10);
        assert_eq!(fit(b"long line\nb\n", 1, 0, &limits, 0), Fit::Rotate);
        assert_eq!(fit(b"long line\nb\n", 0, 0, &limits, 0), Fit::Write(10));
    }

    #[test]
    fn a_file_rotates_when_it_is_old_enough_but_never_empty() {
        let limits = Limits {
            file_age_s: Some(1),
            ..limits(100, 10)
        };
        assert_eq!(fit(b"a\n", 2, 0, &limits, 1_000_000), Fit::Write(2));
        assert_eq!(fit(b"a\n", 2, 0, &limits, 1_000_001), Fit::Rotate);
        assert_eq!(fit(b"a\n", 0, 0, &limits, 9_000_000), Fit::Write(2));
    }

    #[test]
    fn rotated_files_go_by_count_by_age_and_by_size_the_oldest_first() {
        let files = rotated(&[(1_000_000, 5), (2_000_000, 5), (9_000_000, 5)]);
        let now = 10_000_000;
        assert_eq!(surplus(&files, 5, &limits(10, 3), now), 0);
        assert_eq!(surplus(&files, 5, &limits(10, 1), now), 2);
        let by_age = Limits {
            keep_age_s: Some(8),
            ..limits(10, 3)
        };
        assert_eq!(surplus(&files, 5, &by_age, now), 1);
        let by_total = Limits {
            total_bytes: Some(12),
            ..limits(10, 3)
        };
        assert_eq!(surplus(&files, 5, &by_total, now), 2);
    }

    #[test]
    fn the_largest_directory_with_a_rotated_file_pays_for_the_total_cap() {
        let sizes = [("a", 10, true), ("b", 30, true), ("c", 90, false)];
        assert_eq!(victim(129, sizes.into_iter()), Some("b"));
        assert_eq!(victim(130, sizes.into_iter()), None);
        assert_eq!(victim(1, [("c", 90, false)].into_iter()), None);
    }

    #[test]
    fn names_stay_in_order_when_the_clock_is_set_back() {
        assert_eq!(next_rotation(None, 5), 5);
        assert_eq!(next_rotation(Some(4), 5), 5);
        assert_eq!(next_rotation(Some(9), 5), 10);
    }

    proptest! {
        #[test]
        fn every_line_is_written_once_and_no_file_of_several_lines_passes_its_limit(
            lines in proptest::collection::vec(1usize..40, 1..60), file_bytes in 0u64..100,
        ) {
            let limits = limits(file_bytes, 10);
            let text: Vec<u8> = lines.iter().flat_map(|n| {
                let mut line = vec![b'x'; n - 1];
                line.push(b'\n');
                line
            }).collect();
            let (mut rest, mut files) = (&text[..], vec![Vec::new()]);
            while !rest.is_empty() {
                let current = files.last_mut().unwrap();
                match fit(rest, current.len() as u64, 0, &limits, 0) {
                    Fit::Rotate => {
                        prop_assert!(!current.is_empty());
                        files.push(Vec::new());
                    }
                    Fit::Write(n) => {
                        prop_assert!(n > 0);
                        current.extend_from_slice(&rest[..n]);
                        rest = &rest[n..];
                    }
                }
            }
            for file in &files {
                prop_assert_eq!(file.last(), Some(&b'\n'));
                prop_assert!(file.len() as u64 <= file_bytes || frame::count(file) == 1);
            }
            prop_assert_eq!(files.concat(), text);
        }
    }
}
