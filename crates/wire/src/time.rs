//! Wall-clock time as text.

use alloc::string::String;
use core::fmt::Write as _;

const SECONDS_PER_DAY: i64 = 86_400;

/// `unix_ms` (milliseconds since 1970-01-01 UTC) as RFC 3339 with milliseconds, e.g.
/// `2026-11-20T20:31:10.123Z`.
pub fn rfc3339(unix_ms: i64) -> String {
    let seconds = unix_ms.div_euclid(1000);
    let millis = unix_ms.rem_euclid(1000);
    let (year, month, day) = civil_from_days(seconds.div_euclid(SECONDS_PER_DAY));
    let of_day = seconds.rem_euclid(SECONDS_PER_DAY);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    let mut text = String::with_capacity(24);
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z"
    );
    text
}

/// Year, month and day of a day count since 1970-01-01 in the proleptic Gregorian calendar.
///
/// Years are counted from 1 March so that the leap day is a year's last, which makes month
/// lengths a linear function; 400-year eras make the leap rule exact.
pub fn civil_from_days(days: i64) -> (i64, u8, u8) {
    const DAYS_PER_ERA: i64 = 146_097;
    const DAYS_TO_EPOCH_FROM_MARCH_0000: i64 = 719_468;
    let shifted = days + DAYS_TO_EPOCH_FROM_MARCH_0000;
    let era = shifted.div_euclid(DAYS_PER_ERA);
    let day_of_era = shifted.rem_euclid(DAYS_PER_ERA);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    // Both are in 1..=31 by construction.
    (
        year,
        u8::try_from(month).unwrap_or(u8::MAX),
        u8::try_from(day).unwrap_or(u8::MAX),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_instants_read_as_the_calendar_says() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(951_827_696_789), "2000-02-29T12:34:56.789Z");
        assert_eq!(rfc3339(1_795_206_670_123), "2026-11-20T20:31:10.123Z");
        assert_eq!(rfc3339(-1), "1969-12-31T23:59:59.999Z");
    }

    #[test]
    fn days_follow_each_other_without_gaps_for_a_thousand_years() {
        let mut previous = civil_from_days(-1);
        for day in 0..365_250 {
            let (y, m, d) = civil_from_days(day);
            let next_day = (y, m) == (previous.0, previous.1) && d == previous.2 + 1;
            let next_month = d == 1 && previous.2 >= 28 && (y, m) != (previous.0, previous.1);
            assert!(next_day || next_month, "{previous:?} then {:?}", (y, m, d));
            previous = (y, m, d);
        }
    }
}
