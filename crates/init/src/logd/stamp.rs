//! Times as a log shows them: the prefix of a line, and the name of a rotated file. Pure.

/// Microseconds since the Unix epoch.
pub(crate) type Micros = u64;

/// The prefix of a line: `2026-11-20T20:31:10.123456Z ` (RFC 3339, UTC), one space included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp([u8; Stamp::BYTES]);

impl Stamp {
    /// The length of every prefix.
    pub(crate) const BYTES: usize = 28;

    /// The prefix for a moment. The year 9999 is the last one it can write.
    pub(crate) fn new(at: Micros) -> Self {
        Self(rfc3339(at))
    }

    /// The prefix itself.
    pub(crate) fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    /// The time without the space.
    pub(crate) fn time(&self) -> &[u8] {
        self.0.trim_ascii_end()
    }
}

/// The name of the file that was `current` until `at`: `2026-11-20T20-31-10.123456Z.log`. Names
/// sort by time, and have no colon, which volumes shared with other systems don't take.
pub(crate) fn rotated_name(at: Micros) -> String {
    let stamp = Stamp::new(at);
    let time = stamp.time().iter();
    let name = time.map(|byte| {
        if *byte == b':' {
            '-'
        } else {
            char::from(*byte)
        }
    });
    name.chain(".log".chars()).collect()
}

/// What the keeper adds to the name of a rotated file that it has compressed.
pub(crate) const COMPRESSED: &str = ".gz";

/// The moment in the name of a rotated file, or `None` for a file that isn't ours.
pub(crate) fn parse_rotated_name(name: &[u8]) -> Option<Micros> {
    let text = std::str::from_utf8(name).ok()?.strip_suffix("Z.log")?;
    let (date, time) = text.split_once('T')?;
    let (clock, micros) = time.split_once('.')?;
    let mut numbers = date.split('-').chain(clock.split('-')).map(str::parse);
    let mut next = || numbers.next()?.ok();
    let (year, month, day): (u64, u64, u64) = (next()?, next()?, next()?);
    let (hour, minute, second): (u64, u64, u64) = (next()?, next()?, next()?);
    let days = days_from_civil(year, month, day)?;
    let micros: u64 = micros.parse().ok()?;
    // Others can make files here: numbers may be of any size.
    if hour > 23 || minute > 59 || second > 59 || micros > 999_999 {
        return None;
    }
    let at = (((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000 + micros;
    // Whatever else the name could be read as, it is ours only if we would write it so.
    (rotated_name(at).as_bytes() == name).then_some(at)
}

/// By hand: there is one for each chunk of each log, and formatting takes ten times as long.
fn rfc3339(at: Micros) -> [u8; Stamp::BYTES] {
    let (seconds, micros) = (at / 1_000_000, at % 1_000_000);
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil_from_days(days);
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    let mut text = *b"0000-00-00T00:00:00.000000Z ";
    let mut put = |at: usize, width: usize, value: u64| {
        let mut left = value;
        for digit in text.iter_mut().skip(at).take(width).rev() {
            *digit = b'0' + u8::try_from(left % 10).unwrap_or(0);
            left /= 10;
        }
    };
    put(0, 4, year);
    put(5, 2, month);
    put(8, 2, day);
    put(11, 2, hour);
    put(14, 2, minute);
    put(17, 2, second);
    put(20, 6, micros);
    text
}

/// The date of a day since 1970-01-01 in the proleptic Gregorian calendar. Years are counted from
/// March, so that the leap day is a year's last one.
pub(crate) fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

/// The inverse of [`civil_from_days`], for dates from 1970 to 9999.
pub(crate) fn days_from_civil(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let year = year - u64::from(month <= 2);
    let march_month = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * march_month + 2) / 5 + day - 1;
    let of_era = year % 400;
    let days = year / 400 * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    days.checked_sub(719_468)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_line_prefix_is_an_iso_8601_time_and_a_space() {
        let at = 1_795_206_670_123_456;
        assert_eq!(Stamp::new(at).as_bytes(), b"2026-11-20T20:31:10.123456Z ");
        assert_eq!(Stamp::new(0).time(), b"1970-01-01T00:00:00.000000Z");
        assert_eq!(
            Stamp::new(951_782_400_000_000).time(),
            b"2000-02-29T00:00:00.000000Z"
        );
    }

    #[test]
    fn only_names_we_would_give_are_names_of_rotated_files() {
        for name in [
            "current",
            "lock",
            "2026-11-20.log",
            "2026-11-20T20-31-10.1Z.log",
            "2026-02-30T20-31-10.123456Z.log",
            "2026-11-20T20-31-61.123456Z.log",
            "2026-11-20T20-31-10-00.123456Z.log",
            "99999999999999999999-11-20T20-31-10.123456Z.log",
            "2026-11-20T18446744073709551615-31-10.123456Z.log",
            "2026-11-20T20-31-10.18446744073709551615Z.log",
        ] {
            assert_eq!(parse_rotated_name(name.as_bytes()), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn names_of_rotated_files_sort_by_time_and_tell_it(
            a in 0u64..253_402_300_800_000_000, b in 0u64..253_402_300_800_000_000,
        ) {
            prop_assert_eq!(parse_rotated_name(rotated_name(a).as_bytes()), Some(a));
            prop_assert_eq!(a.cmp(&b), rotated_name(a).cmp(&rotated_name(b)));
        }

        #[test]
        fn any_bytes_are_a_name_or_not(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = parse_rotated_name(&bytes);
        }
    }
}
