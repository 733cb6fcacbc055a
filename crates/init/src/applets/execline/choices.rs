//! `case`, and `runblock`: which of several blocks is executed.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use herm_s6::execline::block;
use herm_s6::glob;
use herm_s6::log::regex::Regex;

use super::script::{arguments_of, restore_variables};
use crate::applets::call::{Call, Outcome, Row};
use crate::applets::complain::USAGE;

pub(in crate::applets) const ROWS: &[Row] = &[
    (
        "case [ -S | -s ] [ -E | -e ] [ -i ] [ -n | -N ] value { [ regex { prog... } ... ] } progdefault...",
        case,
    ),
    (
        "runblock [ -P ] [ -n argshift ] [ -r ] n [ cmd... ]",
        runblock,
    ),
];

fn case(call: &mut Call<'_>) -> Outcome {
    let (mut shell, mut plain, mut insensitive, mut parts) = (false, false, false, false);
    while let Some(letter) = call.option(b"SsEeinN")? {
        match letter {
            b's' => shell = true,
            b'S' => shell = false,
            b'e' => plain = true,
            b'E' => plain = false,
            b'i' => insensitive = true,
            b'N' => parts = true,
            _ => parts = false,
        }
    }
    if parts || !shell && plain || shell && insensitive {
        let text = "basic expressions, subexpressions, and -i and -N of shell patterns are not \
                    supported";
        return Err(call.fatal(&text, USAGE));
    }
    let fold = |text: &OsStr| {
        let bytes = text.as_bytes();
        if insensitive {
            bytes.to_ascii_lowercase()
        } else {
            bytes.to_vec()
        }
    };
    let value = fold(call.word()?);
    let directives = call.block()?;
    let mut inner = call.over(&directives);
    while let Some(pattern) = inner.rest().first() {
        inner.word()?;
        let program = inner.block()?;
        let is_it = if shell {
            glob::matches_text(pattern.as_bytes(), &value, plain)
        } else {
            whole(&fold(pattern)).matches(&inner, &value)?
        };
        if is_it {
            return call.exec(&program);
        }
    }
    call.exec_rest()
}

/// A pattern that has to match the whole of a value.
struct Whole(Vec<u8>);

fn whole(pattern: &[u8]) -> Whole {
    Whole([b"^(", pattern, b")$"].concat())
}

impl Whole {
    fn matches(&self, call: &Call<'_>, value: &[u8]) -> Result<bool, u8> {
        let pattern = Regex::new(&self.0);
        let pattern = pattern.map_err(|_| call.fatal(&"there is a pattern that is none", USAGE))?;
        Ok(pattern.matches(value))
    }
}

fn runblock(call: &mut Call<'_>) -> Outcome {
    let (mut pops, mut shift, mut remainder) = (true, 0, false);
    while let Some(letter) = call.option(b"Pnr")? {
        match letter {
            b'P' => pops = false,
            b'n' => shift = call.number()?,
            _ => remainder = true,
        }
    }
    let number = call.number_word()?;
    let arguments = arguments_of(call)?;
    let mut rest = usize::try_from(shift)
        .ok()
        .and_then(|shift| arguments.get(shift..))
        .ok_or_else(|| call.fatal(&"too few arguments", USAGE))?;
    let mut chosen: Vec<OsString> = Vec::new();
    for _ in 0..number {
        let words: Vec<&[u8]> = rest.iter().map(Vec::as_slice).collect();
        let end = block::end(&words);
        let end = end.ok_or_else(|| call.fatal(&"there are fewer blocks than that", USAGE))?;
        let words = words.iter().take(end);
        chosen = words
            .map(|word| OsString::from_vec(block::unblock(word).to_vec()))
            .collect();
        rest = rest.get(end.saturating_add(1)..).unwrap_or_default();
    }
    if remainder {
        let words = rest.iter().map(|word| OsString::from_vec(word.clone()));
        chosen = words.collect();
    } else if number == 0 {
        return Err(call.usage());
    }
    if pops {
        restore_variables(call);
    }
    call.exec(&[call.rest(), &chosen].concat())
}
