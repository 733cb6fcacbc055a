//! `s6-svdt` and `s6-permafailon`: what the tally of a service's deaths says.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use herm_s6::death_tally::read;
use herm_s6::status::Ended;
use herm_s6::tai::Tain;
use herm_sys::Signal;

use super::call::{Call, Outcome, Row};
use super::complain::{USAGE, say};
use super::service::now;

pub(super) const ROWS: &[Row] = &[
    ("s6-svdt [ -S | -s ] [ -n maxrecords ] servicedir", svdt),
    ("s6-svdt-clear servicedir", svdt_clear),
    (
        "s6-permafailon [ -f | -F | -e | -E ] seconds deathcount statuslist prog...",
        permafailon,
    ),
];

/// s6's word for a service that is not to be started again.
const FINAL: u8 = 125;

fn tally(call: &Call<'_>, dir: &Path) -> Result<Vec<(Tain, Ended)>, u8> {
    let path = dir.join("supervise/death_tally");
    let bytes = std::fs::read(&path);
    let bytes =
        bytes.map_err(|error| call.refused(&format_args!("read {}", path.display()), &error))?;
    Ok(read(&bytes).collect())
}

fn svdt(call: &mut Call<'_>) -> Outcome {
    let (mut by_number, mut most) = (false, None);
    while let Some(letter) = call.option(b"Ssn")? {
        match letter {
            b'n' => most = usize::try_from(call.number()?).ok(),
            letter => by_number = letter == b's',
        }
    }
    let dir = Path::new(call.word()?);
    let deaths = tally(call, dir)?;
    let skipped = deaths.len().saturating_sub(most.unwrap_or(deaths.len()));
    for (at, ended) in deaths.iter().skip(skipped) {
        let label = at.label();
        let label = String::from_utf8_lossy(&label);
        match ended {
            Ended::Exited(code) => say(&format!("{label} exitcode {code}")),
            Ended::Killed(number) => match Signal::new(*number).and_then(Signal::name) {
                Some(name) if !by_number => say(&format!("{label} signal SIG{name}")),
                _ => say(&format!("{label} signal {number}")),
            },
        };
    }
    Ok(0)
}

fn svdt_clear(call: &mut Call<'_>) -> Outcome {
    let path = Path::new(call.word()?).join("supervise/death_tally");
    let file = std::fs::OpenOptions::new().write(true).open(&path);
    let cleared = file.and_then(|file| file.set_len(0));
    cleared.map_err(|error| call.refused(&format_args!("truncate {}", path.display()), &error))?;
    Ok(0)
}

/// In a `finish`: ends with 125 after so many deaths of such a kind within so many seconds.
fn permafailon(call: &mut Call<'_>) -> Outcome {
    let (seconds, count) = (call.number_word()?, call.number_word()?);
    let list = call.word()?;
    if call.rest().is_empty() {
        return Err(call.usage());
    }
    let kinds = kinds(list)
        .ok_or_else(|| call.fatal(&format_args!("invalid list: {}", list.display()), USAGE))?;
    let now = now();
    let is_one = |(at, ended): &&(Tain, Ended)| {
        now.since(*at).as_secs() <= u64::from(seconds) && kinds.iter().any(|kind| kind.has(*ended))
    };
    // Without a record it is no reason to give a service up.
    let deaths = tally(call, Path::new(".")).unwrap_or_default();
    if deaths.iter().filter(is_one).count() >= usize::try_from(count).unwrap_or(usize::MAX) {
        return Ok(FINAL);
    }
    call.exec_rest()
}

/// What a word of the list means.
enum Kind {
    Codes(u8, u8),
    Signal(u8),
}

impl Kind {
    fn has(&self, ended: Ended) -> bool {
        match (self, ended) {
            (Self::Codes(least, most), Ended::Exited(code)) => (*least..=*most).contains(&code),
            (Self::Signal(number), Ended::Killed(signal)) => *number == signal,
            _ => false,
        }
    }
}

fn kinds(list: &OsStr) -> Option<Vec<Kind>> {
    let text = std::str::from_utf8(list.as_bytes()).ok()?;
    let words = text.split([',', ';', ' ', '\t', '\n', '\r']);
    let words = words.filter(|word| !word.is_empty());
    words
        .map(|word| {
            if !word.starts_with(|first: char| first.is_ascii_digit()) {
                return Signal::parse(word).map(|signal| Kind::Signal(signal.number()));
            }
            let (least, most) = word.split_once('-').unwrap_or((word, word));
            Some(Kind::Codes(least.parse().ok()?, most.parse().ok()?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_codes_ranges_and_signals() {
        let kinds = kinds("1,3-5;SIGKILL term".as_ref()).unwrap();
        let has = |ended| kinds.iter().any(|kind| kind.has(ended));
        for code in [1, 3, 5] {
            assert!(has(Ended::Exited(code)));
        }
        assert!(has(Ended::Killed(9)) && has(Ended::Killed(15)));
        assert!(!has(Ended::Exited(2)) && !has(Ended::Exited(9)) && !has(Ended::Killed(1)));
        assert!(super::kinds("x".as_ref()).is_none() && super::kinds("300".as_ref()).is_none());
    }
}
