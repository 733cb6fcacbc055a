//! Times as the files of a home write them: RFC 3339 in UTC, and the agent's two dialects
//! (ISO 8601 with an offset, or whole seconds since 1970).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const DAY_S: i64 = 86_400;

/// `2026-11-20T20:41:04Z`: whole seconds, UTC. Times before 1970 read as 1970.
pub fn rfc3339(at: SystemTime) -> String {
    let (y, mo, d, h, mi, s) = civil(unix_seconds(at));
    format!("{y:04}-{mo:02}-{d:02}T{h:02}:{mi:02}:{s:02}Z")
}

/// `20261120T204104Z`: the same without separators, for file names.
pub fn compact(at: SystemTime) -> String {
    let (y, mo, d, h, mi, s) = civil(unix_seconds(at));
    format!("{y:04}{mo:02}{d:02}T{h:02}{mi:02}{s:02}Z")
}

/// Whole seconds since 1970; 0 for anything before.
pub fn unix_seconds(at: SystemTime) -> i64 {
    let seconds = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

/// The time that many seconds after 1970; `None` where it can't be expressed or is negative.
pub fn from_unix(seconds: i64) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(seconds).ok()?))
}

/// Reads RFC 3339 and Python's `isoformat()`: any fraction, `Z` or an offset, a missing offset is
/// UTC. Fractions are dropped. `None` for anything else.
pub fn parse(text: &str) -> Option<SystemTime> {
    let text = text.trim();
    let (date, clock) = text.split_at_checked(10)?;
    let [year, month, day] = numbers(date, '-')?;
    let clock = clock.strip_prefix(['T', 't', ' '])?;
    let (clock, offset_s) = split_offset(clock)?;
    let clock = clock.split('.').next()?;
    let [hour, minute, second] = numbers(clock, ':')?;
    let in_range = (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    if !in_range {
        return None;
    }
    let days = days_from_civil(year, month, day);
    from_unix(days * DAY_S + hour * 3600 + minute * 60 + second - offset_s)
}

fn split_offset(clock: &str) -> Option<(&str, i64)> {
    if let Some(rest) = clock.strip_suffix(['Z', 'z']) {
        return Some((rest, 0));
    }
    let Some(at) = clock.rfind(['+', '-']) else {
        return Some((clock, 0));
    };
    let (clock, offset) = clock.split_at_checked(at)?;
    let sign = if offset.starts_with('-') { -1 } else { 1 };
    let digits: String = offset.chars().filter(char::is_ascii_digit).collect();
    let (hours, minutes) = digits.split_at_checked(2)?;
    let minutes = if minutes.is_empty() {
        0
    } else {
        minutes.get(..2)?.parse().ok()?
    };
    Some((
        clock,
        sign * (hours.parse::<i64>().ok()? * 3600 + minutes * 60),
    ))
}

fn numbers(text: &str, separator: char) -> Option<[i64; 3]> {
    let mut parts = text.split(separator).map(|part| {
        let digits =
            !part.is_empty() && part.len() <= 4 && part.bytes().all(|b| b.is_ascii_digit());
        if digits { part.parse().ok() } else { None }
    });
    let all = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(all)
}

/// Days since 1970-01-01 of a date in the proleptic Gregorian calendar, counted in eras of 400
/// years that begin in March, so that the leap day is the last of its year.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Year, month, day, hour, minute, second of a number of seconds since 1970.
fn civil(seconds: i64) -> (i64, i64, i64, i64, i64, i64) {
    let days = seconds.div_euclid(DAY_S) + 719_468;
    let of_day = seconds.rem_euclid(DAY_S);
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (
        year,
        month,
        day,
        of_day / 3600,
        of_day % 3600 / 60,
        of_day % 60,
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_times_are_written_as_everyone_writes_them() {
        let at = from_unix(1_795_202_464).unwrap();
        assert_eq!(rfc3339(at), "2026-11-20T19:21:04Z");
        assert_eq!(compact(at), "20261120T192104Z");
        assert_eq!(rfc3339(UNIX_EPOCH), "1970-01-01T00:00:00Z");
        assert_eq!(
            rfc3339(from_unix(951_782_400).unwrap()),
            "2000-02-29T00:00:00Z"
        );
    }

    #[test]
    fn pythons_dialects_are_read() {
        let expected = from_unix(1_795_202_464);
        for text in [
            "2026-11-20T19:21:04Z",
            "2026-11-20T19:21:04.123456+00:00",
            "2026-11-20 21:21:04+02:00",
            "2026-11-20T13:51:04-0530",
            "2026-11-20T19:21:04",
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
        for text in [
            "",
            "yesterday",
            "2026-13-01T00:00:00Z",
            "2026-11-20",
            "1900-01-01T00:00:00Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(seconds in 0i64..253_402_300_799) {
            let at = from_unix(seconds).unwrap();
            prop_assert_eq!(parse(&rfc3339(at)), Some(at));
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "\\PC*") {
            parse(&text);
        }
    }
}
