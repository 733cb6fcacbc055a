//! `s6-tai64n` and `s6-tai64nlocal`: time stamps put on lines, and made readable.

use std::io::{self, BufRead as _, Write as _};
use std::time::Duration;

use herm_s6::tai::Tain;

use super::call::{Call, Outcome, Row};
use super::service::now;
use super::zone::Zone;
use crate::logd::stamp::civil_from_days;

pub(super) const ROWS: &[Row] = &[
    ("s6-tai64n", tai64n),
    ("s6-tai64nlocal [ -g ]", tai64nlocal),
];

/// Writes each line with a change, at once.
fn each_line(call: &Call<'_>, change: &dyn Fn(&[u8]) -> Vec<u8>) -> Outcome {
    let copy = || -> io::Result<()> {
        let mut input = io::stdin().lock();
        let mut line = Vec::new();
        while input.read_until(b'\n', &mut line)? > 0 {
            // One write a line: standard output may be a line that others write to as well.
            io::stdout().lock().write_all(&change(&line))?;
            line.clear();
        }
        io::stdout().flush()
    };
    copy().map_err(|error| call.refused(&"copy lines", &error))?;
    Ok(0)
}

fn tai64n(call: &mut Call<'_>) -> Outcome {
    each_line(call, &|line| {
        let mut stamped = now().label().to_vec();
        stamped.push(b' ');
        stamped.extend_from_slice(line);
        if !line.ends_with(b"\n") {
            stamped.push(b'\n');
        }
        stamped
    })
}

fn tai64nlocal(call: &mut Call<'_>) -> Outcome {
    let mut greenwich = false;
    while call.option(b"g")?.is_some() {
        greenwich = true;
    }
    let zone = (!greenwich).then(Zone::local);
    each_line(call, &|line| {
        let label = line
            .split_at_checked(Tain::LABEL)
            .filter(|(_, rest)| !rest.is_empty());
        let time =
            label.and_then(|(label, rest)| Some((Tain::from_label(label)?.to_unix()?, rest)));
        match time.and_then(|(time, rest)| Some((readable(time, zone.as_ref())?, rest))) {
            Some((text, rest)) => [text.as_bytes(), rest].concat(),
            None => line.to_vec(),
        }
    })
}

/// `YYYY-MM-DD HH:MM:SS.nnnnnnnnn`, in a time zone or in UTC.
pub(super) fn readable(since_epoch: Duration, zone: Option<&Zone>) -> Option<String> {
    let at = i64::try_from(since_epoch.as_secs()).ok()?;
    let at = at.saturating_add(zone.map_or(0, |zone| zone.offset(at)));
    let at = u64::try_from(at).ok()?;
    let (days, second) = (at / 86_400, at % 86_400);
    let (year, month, day) = civil_from_days(days);
    Some(format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}.{:09}",
        second / 3600,
        second / 60 % 60,
        second % 60,
        since_epoch.subsec_nanos()
    ))
}
