//! The local time zone: how far its clocks are from UTC at a moment (RFC 8536, POSIX `TZ`).
//!
//! Read by hand: the C library's reader would bring its formatted input along, a fortieth of the
//! whole program.

use std::ffi::OsStr;
use std::path::Path;

use crate::logd::stamp::{civil_from_days, days_from_civil};

const DATABASE: &str = "/usr/share/zoneinfo";
const DAY: i64 = 86_400;

/// A time zone's rules.
pub(super) struct Zone(Source);

enum Source {
    /// A file of the database.
    File(Vec<u8>),
    /// Text like `CET-1CEST,M3.5.0,M10.5.0/3`.
    Rule(Vec<u8>),
}

impl Zone {
    /// As `TZ` says, else `/etc/localtime`, else UTC.
    pub(super) fn local() -> Self {
        let name = std::env::var_os("TZ");
        let name = name.as_deref().map(OsStr::as_encoded_bytes);
        let name = name.map(|name| name.strip_prefix(b":").unwrap_or(name));
        let path = match name {
            None => Path::new("/etc/localtime").to_owned(),
            // Joining an absolute path gives that path.
            Some(name) => Path::new(DATABASE).join(String::from_utf8_lossy(name).as_ref()),
        };
        match std::fs::read(path) {
            Ok(file) => Self(Source::File(file)),
            Err(_) => Self(Source::Rule(name.unwrap_or_default().to_vec())),
        }
    }

    /// Seconds east of UTC at so many seconds since 1970.
    pub(super) fn offset(&self, at: i64) -> i64 {
        match &self.0 {
            Source::File(file) => of_file(file, at).unwrap_or(0),
            Source::Rule(rule) => of_rule(rule, at).unwrap_or(0),
        }
    }
}

fn number(bytes: &[u8], at: usize, size: usize) -> Option<i64> {
    let field = bytes.get(at..at.checked_add(size)?)?;
    let negative = field.first().is_some_and(|byte| *byte > 127);
    let start = if negative { -1 } else { 0 };
    Some(
        field
            .iter()
            .fold(start, |value: i64, byte| (value << 8) | i64::from(*byte)),
    )
}

fn count(bytes: &[u8], at: usize) -> Option<usize> {
    usize::try_from(number(bytes, at, 4)?).ok()
}

/// The second part of a file, with times of eight bytes, and the rule at its end.
fn of_file(file: &[u8], at: i64) -> Option<i64> {
    let header = |file: &[u8]| -> Option<[usize; 6]> {
        file.strip_prefix(b"TZif")?;
        let mut counts = [0; 6];
        for (place, value) in counts.iter_mut().enumerate() {
            *value = count(file, place.checked_mul(4)?.checked_add(20)?)?;
        }
        Some(counts)
    };
    let length = |counts: [usize; 6], size: usize| -> Option<usize> {
        let [utc, std, leap, times, types, names] = counts;
        times
            .checked_mul(size.checked_add(1)?)?
            .checked_add(types.checked_mul(6)?)?
            .checked_add(leap.checked_mul(size.checked_add(4)?)?)?
            .checked_add(names)?
            .checked_add(utc)?
            .checked_add(std)
    };
    let first = length(header(file)?, 4)?.checked_add(44)?;
    let file = file.get(first..)?;
    let counts = header(file)?;
    let [_, _, _, times, _, _] = counts;
    let body = file.get(44..)?;
    let before = (0..times).take_while(|place| {
        number(body, place.saturating_mul(8), 8).is_some_and(|time| time <= at)
    });
    let passed = before.count();
    if passed == times {
        let footer = body.get(length(counts, 8)?..)?;
        let rule = footer
            .split(|byte| *byte == b'\n')
            .nth(1)
            .unwrap_or_default();
        if !rule.is_empty() {
            return of_rule(rule, at);
        }
    }
    let kinds = times.checked_mul(8)?;
    let kind = match passed.checked_sub(1) {
        Some(last) => usize::from(*body.get(kinds.checked_add(last)?)?),
        None => 0,
    };
    let place = kinds
        .checked_add(times)?
        .checked_add(kind.checked_mul(6)?)?;
    number(body, place, 4)
}

/// A name and, where there is one, an offset, which POSIX counts to the west.
fn name_and_offset(text: &[u8]) -> Option<(Option<i64>, &[u8])> {
    let rest = if let Some(quoted) = text.strip_prefix(b"<") {
        let end = quoted.iter().position(|byte| *byte == b'>')?;
        quoted.get(end.checked_add(1)?..)?
    } else {
        let letters = text
            .iter()
            .take_while(|byte| byte.is_ascii_alphabetic())
            .count();
        text.get(letters..).filter(|_| letters > 0)?
    };
    match seconds(rest) {
        Some((west, rest)) => Some((Some(west.checked_neg()?), rest)),
        None => Some((None, rest)),
    }
}

/// `[+-]hh[:mm[:ss]]`.
fn seconds(text: &[u8]) -> Option<(i64, &[u8])> {
    let (sign, mut rest) = match text {
        [b'-', rest @ ..] => (-1, rest),
        [b'+', rest @ ..] | rest => (1, rest),
    };
    let (mut total, mut unit) = (0, 3600);
    loop {
        let (value, after) = decimal(rest)?;
        total += value * unit;
        unit /= 60;
        match after {
            [b':', after @ ..] if unit > 0 => rest = after,
            after => return Some((sign * total, after)),
        }
    }
}

fn decimal(text: &[u8]) -> Option<(i64, &[u8])> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, rest) = text.split_at_checked(digits.min(4))?;
    let number = std::str::from_utf8(number).ok()?.parse().ok()?;
    Some((number, rest))
}

fn of_rule(rule: &[u8], at: i64) -> Option<i64> {
    let (standard, rest) = name_and_offset(rule)?;
    let standard = standard?;
    if rest.is_empty() {
        return Some(standard);
    }
    let (summer, rest) = name_and_offset(rest)?;
    let summer = summer.unwrap_or(standard + 3600);
    let mut changes = rest.strip_prefix(b",")?.split(|byte| *byte == b',');
    let days = u64::try_from((at + standard).div_euclid(DAY)).ok()?;
    let (year, _, _) = civil_from_days(days);
    let start = change(changes.next()?, year)? - standard;
    let end = change(changes.next()?, year)? - summer;
    let is_summer = if start < end {
        (start..end).contains(&at)
    } else {
        !(end..start).contains(&at)
    };
    Some(if is_summer { summer } else { standard })
}

/// `Mmonth.week.day[/time]` in a year, in seconds of the clock that is in use then.
fn change(text: &[u8], year: u64) -> Option<i64> {
    let (month, rest) = decimal(text.strip_prefix(b"M")?)?;
    let (week, rest) = decimal(rest.strip_prefix(b".")?)?;
    let (day, rest) = decimal(rest.strip_prefix(b".")?)?;
    let time = match rest.strip_prefix(b"/") {
        Some(time) => seconds(time)?.0,
        None => 2 * 3600,
    };
    let month = u64::try_from(month).ok()?;
    let first = i64::try_from(days_from_civil(year, month, 1)?).ok()?;
    let next = if month == 12 {
        days_from_civil(year + 1, 1, 1)?
    } else {
        days_from_civil(year, month + 1, 1)?
    };
    // 1970-01-01 was a Thursday.
    let weekday = (first + 4).rem_euclid(7);
    let mut found = first + (day - weekday).rem_euclid(7) + (week - 1) * 7;
    while found >= i64::try_from(next).ok()? {
        found -= 7;
    }
    Some(found * DAY + time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(rule: &str, at: i64) -> Option<i64> {
        of_rule(rule.as_bytes(), at).map(|offset| offset / 3600)
    }

    #[test]
    fn a_rule_tells_summer_from_winter_on_both_halves_of_the_earth() {
        let (january, july) = (1_705_000_000, 1_720_000_000);
        let berlin = "CET-1CEST,M3.5.0,M10.5.0/3";
        assert_eq!(
            (hours(berlin, january), hours(berlin, july)),
            (Some(1), Some(2))
        );
        let sydney = "AEST-10AEDT,M10.1.0,M4.1.0/3";
        assert_eq!(
            (hours(sydney, january), hours(sydney, july)),
            (Some(11), Some(10))
        );
        assert_eq!(of_rule(b"<+0530>-5:30", july), Some(19_800));
        assert_eq!(hours("XXX-3", july), Some(3));
        // The last second of winter in 2024, and the first of summer.
        assert_eq!(
            (hours(berlin, 1_711_846_799), hours(berlin, 1_711_846_800)),
            (Some(1), Some(2))
        );
        assert_eq!(hours("", july), None);
    }

    #[test]
    fn a_file_of_the_database_is_read_where_there_is_one() {
        let Ok(file) = std::fs::read("/usr/share/zoneinfo/America/New_York") else {
            return;
        };
        assert_eq!(of_file(&file, 935_467_423), Some(-4 * 3600));
        assert_eq!(of_file(&file, 1_705_000_000), Some(-5 * 3600));
        assert_eq!(of_file(&file, 4_100_000_000), Some(-5 * 3600));
        for length in 0..file.len().min(400) {
            of_file(&file[..length], 0);
        }
    }
}
