//! Times, spans and sizes as the pages show them.

use std::time::{Duration, SystemTime};

/// `0s`, `42s`, `3m`, `2h 05m`, `3d 4h`: short, and of a width that hardly changes while it grows.
pub(crate) fn span(seconds: f64) -> String {
    let whole = Duration::try_from_secs_f64(seconds)
        .unwrap_or_default()
        .as_secs();
    match whole {
        0..=119 => format!("{whole}s"),
        120..=7199 => format!("{}m", whole / 60),
        7200..=172_799 => format!("{}h {:02}m", whole / 3600, whole % 3600 / 60),
        _ => format!("{}d {}h", whole / 86_400, whole % 86_400 / 3600),
    }
}

/// `850 µs`, `4.2 ms`, `1.30 s`: for steps of a boot.
pub(crate) fn micros(us: u64) -> String {
    match us {
        0..=999 => format!("{us} µs"),
        1000..=999_999 => format!("{}.{} ms", us / 1000, us % 1000 / 100),
        _ => format!("{}.{:02} s", us / 1_000_000, us % 1_000_000 / 10_000),
    }
}

/// `512 B`, `4.0 kB`, `12 MB`, `1.5 GB`; decimal units, as disks are sold.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut whole = count;
    let mut tenth = 0;
    let mut unit = 0;
    while whole >= 1000 && unit + 1 < UNITS.len() {
        tenth = whole % 1000 / 100;
        whole /= 1000;
        unit += 1;
    }
    let name = UNITS.get(unit).copied().unwrap_or("TB");
    if unit > 0 && whole < 10 {
        format!("{whole}.{tenth} {name}")
    } else {
        format!("{whole} {name}")
    }
}

/// Milliseconds since 1970 of an RFC 3339 time in UTC.
pub(crate) fn unix_ms(at: &str) -> Option<i64> {
    let seconds = herm_home::clock::unix_seconds(herm_home::clock::parse(at)?);
    let fraction = at
        .split_once('.')
        .map_or("", |(_, rest)| rest)
        .trim_end_matches('Z');
    let mut millis = 0;
    for index in 0..3 {
        let digit = fraction
            .as_bytes()
            .get(index)
            .filter(|byte| byte.is_ascii_digit());
        millis = millis * 10 + digit.map_or(0, |byte| i64::from(byte - b'0'));
    }
    Some(seconds * 1000 + millis)
}

/// Milliseconds since 1970 now.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// How long ago a time was, as a span; the text itself where it is no time.
pub(crate) fn ago(at: &str, now_ms: i64) -> String {
    unix_ms(at).map_or_else(|| at.to_owned(), |then| span(seconds_between(then, now_ms)))
}

/// Seconds from one time to a later one; none where it isn't later.
pub(crate) fn seconds_between(then_ms: i64, now_ms: i64) -> f64 {
    let ms = u32::try_from(now_ms.saturating_sub(then_ms).max(0) / 1000).unwrap_or(u32::MAX);
    f64::from(ms)
}

/// A signal's name, where it is one of the usual.
pub(crate) fn signal(number: u8) -> String {
    let name = match number {
        1 => "HUP",
        2 => "INT",
        3 => "QUIT",
        4 => "ILL",
        6 => "ABRT",
        7 => "BUS",
        8 => "FPE",
        9 => "KILL",
        11 => "SEGV",
        13 => "PIPE",
        15 => "TERM",
        _ => return format!("signal {number}"),
    };
    format!("SIG{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_sizes_are_short() {
        assert_eq!(span(0.4), "0s");
        assert_eq!(span(119.0), "119s");
        assert_eq!(span(7500.0), "2h 05m");
        assert_eq!(span(f64::NAN), "0s");
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(4096), "4.0 kB");
        assert_eq!(bytes(123_456_789), "123 MB");
        assert_eq!(micros(1_304_000), "1.30 s");
    }

    #[test]
    fn times_are_read_to_the_millisecond() {
        assert_eq!(unix_ms("1970-01-01T00:00:01.250Z"), Some(1250));
        assert_eq!(unix_ms("1970-01-01T00:00:01Z"), Some(1000));
        assert_eq!(unix_ms("yesterday"), None);
        assert_eq!(ago("1970-01-01T00:00:01Z", 61_000), "60s");
    }
}
