//! Times and durations in words.

use std::time::{Duration, SystemTime};

/// `850 ms`, `4.2 s`, `3 min`, `2 h 5 min`, `3 d 4 h`: two figures are enough for people.
pub(crate) fn human_duration(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0 => format!("{} ms", span.as_millis()),
        1..=9 => format!("{}.{} s", seconds, span.subsec_millis() / 100),
        10..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => pair(seconds / 3600, "h", seconds % 3600 / 60, "min"),
        _ => pair(seconds / 86_400, "d", seconds % 86_400 / 3600, "h"),
    }
}

fn pair(large: u64, large_unit: &str, small: u64, small_unit: &str) -> String {
    if small == 0 {
        format!("{large} {large_unit}")
    } else {
        format!("{large} {large_unit} {small} {small_unit}")
    }
}

/// An RFC 3339 time with its fraction.
fn instant(text: &str) -> Option<SystemTime> {
    let whole = herm_home::clock::parse(text)?;
    let fraction = text.split_once('.').map_or("", |(_, fraction)| fraction);
    let fraction = fraction.trim_end_matches('Z');
    let seconds = format!("0.{fraction}0").parse().unwrap_or(0.0);
    whole.checked_add(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

/// The supervisor's words on what comes next, with the time at their end as a distance.
pub(crate) fn coming(next: &str, now: SystemTime) -> String {
    let Some((what, at)) = next.rsplit_once(" at ") else {
        return next.to_owned();
    };
    let Some(then) = instant(at) else {
        return next.to_owned();
    };
    let what = match what {
        "it is started" => "it starts again",
        other => other,
    };
    match then.duration_since(now) {
        Ok(span) if !span.is_zero() => format!("{what} in {}", human_duration(span)),
        _ => format!("{what} now"),
    }
}

/// A cause in words, without the error numbers that programs put behind them.
pub(crate) fn cause(reason: &str) -> String {
    let Some((words, numbers)) = reason.split_once(" (os error ") else {
        return reason.to_owned();
    };
    let rest = numbers.split_once(')').map_or("", |(_, rest)| rest);
    let rest = match rest.strip_prefix(" (errno ") {
        Some(errno) => errno.split_once(')').map_or("", |(_, rest)| rest),
        None => rest,
    };
    let (before, error) = match words.rsplit_once(": ") {
        Some((before, error)) => (format!("{before}: "), error),
        None => (String::new(), words),
    };
    let mut letters = error.chars();
    let first = letters.next().map(char::to_lowercase);
    let error: String = first.into_iter().flatten().chain(letters).collect();
    format!("{before}{error}{rest}")
}

/// How long ago an RFC 3339 time was, or the text itself where it is no time.
pub(crate) fn ago(at: &str, now: SystemTime) -> String {
    match instant(at) {
        Some(then) => {
            let span = now.duration_since(then).unwrap_or_default();
            format!("{} ago", human_duration(span))
        }
        None => at.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_the_precision_people_need() {
        for (seconds, text) in [
            (0.85, "850 ms"),
            (4.25, "4.2 s"),
            (59.0, "59 s"),
            (180.0, "3 min"),
            (7500.0, "2 h 5 min"),
            (86_400.0 * 3.0, "3 d"),
        ] {
            assert_eq!(human_duration(Duration::from_secs_f64(seconds)), text);
        }
    }

    #[test]
    fn what_comes_next_is_told_as_a_distance() {
        let now = instant("2026-11-20T20:31:10.500Z").unwrap();
        assert_eq!(
            coming("it is started at 2026-11-20T20:31:11.400Z", now),
            "it starts again in 900 ms"
        );
        assert_eq!(
            coming("what is left of it is killed at 2026-11-20T20:31:00Z", now),
            "what is left of it is killed now"
        );
        assert_eq!(coming("nothing", now), "nothing");
    }

    #[test]
    fn a_cause_is_told_without_numbers() {
        assert_eq!(
            cause("could not execute /x: No such file or directory (os error 2) (errno 2); note"),
            "could not execute /x: no such file or directory; note"
        );
        assert_eq!(cause("exit 78"), "exit 78");
    }

    #[test]
    fn a_time_is_told_as_a_distance_and_junk_as_it_is() {
        let now = herm_home::clock::parse("2026-11-20T20:31:10Z").unwrap();
        assert_eq!(ago("2026-11-20T20:30:55Z", now), "15 s ago");
        assert_eq!(ago("soon", now), "soon");
    }
}
