//! `posix-cd` and `posix-umask`: two commands of a shell, as programs.

use std::ffi::OsStr;
use std::path::Path;

use rustix::fs::Mode;

use crate::applets::call::{Call, Outcome, Row, describe};
use crate::applets::complain::say;

pub(in crate::applets) const ROWS: &[Row] = &[
    ("posix-cd [ -L | -P ] [ dir [ prog... ] ]", cd),
    ("posix-umask [ -S ] [ mask [ prog... ] ]", umask),
];

/// Whom a symbolic mask can name, with the place of their bits.
const WHO: [(char, u32); 3] = [('u', 6), ('g', 3), ('o', 0)];
const WHAT: [(char, u32); 3] = [('r', 4), ('w', 2), ('x', 1)];

fn cd(call: &mut Call<'_>) -> Outcome {
    let mut physical = false;
    while let Some(letter) = call.option(b"LP")? {
        physical = letter == b'P';
    }
    let variable = |call: &Call<'_>, name: &str| {
        let value = call.env.get(name).map(OsStr::to_owned);
        value.ok_or_else(|| call.fatal(&format_args!("{name} not set"), 1))
    };
    let dir = match call.rest().first() {
        None => variable(call, "HOME")?,
        Some(dir) if dir == "-" => {
            call.word()?;
            let dir = variable(call, "OLDPWD")?;
            say(&dir.to_string_lossy());
            dir
        }
        Some(_) => call.word()?.to_owned(),
    };
    let before = std::env::current_dir().unwrap_or_default();
    rustix::process::chdir(Path::new(&dir)).map_err(|errno| {
        let what = format_args!("chdir to {}", dir.display());
        call.refused(&what, &describe(errno))
    })?;
    let real = std::env::current_dir().unwrap_or_default();
    let now = if physical || !Path::new(&dir).is_absolute() {
        real
    } else {
        dir.into()
    };
    call.env.set("OLDPWD".as_ref(), before.as_os_str());
    call.env.set("PWD".as_ref(), now.as_os_str());
    call.exec_rest()
}

fn umask(call: &mut Call<'_>) -> Outcome {
    let mut symbolic = false;
    while call.option(b"S")?.is_some() {
        symbolic = true;
    }
    let now = rustix::process::umask(Mode::from_raw_mode(0o077)).as_raw_mode();
    let mask = match call.rest().first().and_then(|mask| mask.to_str()) {
        None if call.rest().is_empty() => None,
        None => return Err(call.usage()),
        Some(text) => Some(parse(text, now).ok_or_else(|| call.fatal(&"invalid mask", 1))?),
    };
    rustix::process::umask(Mode::from_raw_mode(mask.unwrap_or(now)));
    if mask.is_some() {
        call.word()?;
        return call.exec_rest();
    }
    Ok(if symbolic {
        say(&symbols(now))
    } else {
        say(&format!("{now:04o}"))
    })
}

fn symbols(mask: u32) -> String {
    let of = |(who, shift): (char, u32)| {
        let may = WHAT.iter().filter(|(_, bit)| mask & (bit << shift) == 0);
        let letters: String = may.map(|(letter, _)| *letter).collect();
        format!("{who}={letters}")
    };
    WHO.map(of).join(",")
}

/// An octal mask, or clauses like `u=rwx,go-w`, which say what stays allowed.
fn parse(text: &str, now: u32) -> Option<u32> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        let mask = u32::from_str_radix(text, 8).ok()?;
        return Some(mask & 0o777);
    }
    let mut allowed = !now & 0o777;
    for clause in text.split(',') {
        let at = clause.find(['=', '+', '-'])?;
        let (who, rest) = clause.split_at_checked(at)?;
        let (operator, what) = rest.split_at_checked(1)?;
        let mut bits = 0;
        for letter in what.chars() {
            bits |= WHAT.iter().find(|(other, _)| *other == letter)?.1;
        }
        let who = if who.is_empty() || who == "a" {
            "ugo"
        } else {
            who
        };
        for letter in who.chars() {
            let (_, shift) = WHO.iter().find(|(other, _)| *other == letter)?;
            let (bits, all) = (bits << shift, 7 << shift);
            match operator {
                "+" => allowed |= bits,
                "-" => allowed &= !bits,
                _ => allowed = allowed & !all | bits,
            }
        }
    }
    Some(!allowed & 0o777)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_are_read_and_printed_in_both_forms() {
        for (text, now, mask) in [
            ("027", 0, Some(0o027)),
            ("u=rwx,go=rx", 0o777, Some(0o022)),
            ("g-w,o=", 0, Some(0o027)),
            ("+x", 0o777, Some(0o666)),
            ("u=q", 0, None),
            ("x", 0, None),
        ] {
            assert_eq!(parse(text, now), mask, "{text}");
        }
        assert_eq!(symbols(0o027), "u=rwx,g=rx,o=");
    }
}
