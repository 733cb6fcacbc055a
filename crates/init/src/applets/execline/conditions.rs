//! `foreground`, `if` and its kin: run one program, then become another.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use crate::applets::call::{Call, Outcome, Row, exit_code};
use crate::applets::complain::USAGE;

pub(in crate::applets) const ROWS: &[Row] = &[
    ("foreground { prog... } prog...", foreground),
    ("background [ -d ] { prog... } prog...", background),
    (
        "if [ -n ] [ -X ] [ -t | -x exitcode ] { prog... } prog...",
        if_succeeds,
    ),
    (
        "ifelse [ -n ] [ -X ] { prog... } { prog... } prog...",
        ifelse,
    ),
    ("ifte [ -X ] [ -n ] { prog... } { prog... } prog...", ifte),
    (
        "ifthenelse [ -X ] [ -s ] { prog... } { prog... } { prog... } [ prog... ]",
        ifthenelse,
    ),
];

fn foreground(call: &mut Call<'_>) -> Outcome {
    let first = call.block()?;
    call.run_told(&first)?;
    call.exec_rest()
}

fn background(call: &mut Call<'_>) -> Outcome {
    let mut detached = false;
    while call.option(b"d")?.is_some() {
        detached = true;
    }
    let first = call.block()?;
    if first.is_empty() {
        return Err(call.fatal(&"empty block", USAGE));
    }
    if detached {
        call.run(&detaching(&first))?;
    } else {
        let pid = call.start(&first, None, None)?.id();
        call.env.set("!".as_ref(), pid.to_string().as_ref());
    }
    call.exec_rest()
}

/// A command line that starts another one and ends at once, so that the program has not us as its
/// parent.
pub(super) fn detaching(words: &[OsString]) -> Vec<OsString> {
    let mut argv = vec![OsString::from("background")];
    for word in words {
        let mut quoted = OsString::from(" ");
        quoted.push(word);
        argv.push(quoted);
    }
    argv.push(OsString::new());
    argv
}

/// Options that all of them share.
#[derive(Default)]
struct Judge {
    negated: bool,
    /// A killed program counts as one that failed.
    crash_is_failure: bool,
}

impl Judge {
    /// Takes a letter of its own.
    fn take(&mut self, letter: u8) {
        match letter {
            b'n' => self.negated = true,
            _ => self.crash_is_failure = true,
        }
    }

    fn says_yes(&self, call: &Call<'_>, status: ExitStatus) -> Result<bool, u8> {
        match status.signal() {
            Some(signal) if !self.crash_is_failure => Err(call.fatal(
                &format_args!("child crashed with signal {signal}"),
                exit_code(status),
            )),
            _ => Ok(status.success() != self.negated),
        }
    }
}

fn if_succeeds(call: &mut Call<'_>) -> Outcome {
    let mut judge = Judge::default();
    let mut code = None;
    while let Some(letter) = call.option(b"nXtx")? {
        match letter {
            b't' => code = Some(0),
            b'x' => code = Some(u8::try_from(call.number()? & 0xff).unwrap_or(USAGE)),
            letter => judge.take(letter),
        }
    }
    let test = call.block()?;
    let status = call.run(&test)?;
    if judge.says_yes(call, status)? {
        return call.exec_rest();
    }
    // Of a success that had to be a failure, 1 is made.
    let own = if status.success() {
        1
    } else {
        exit_code(status)
    };
    Ok(code.unwrap_or(own))
}

fn judge_of(call: &mut Call<'_>) -> Result<Judge, u8> {
    let mut judge = Judge::default();
    while let Some(letter) = call.option(b"nX")? {
        judge.take(letter);
    }
    Ok(judge)
}

fn ifelse(call: &mut Call<'_>) -> Outcome {
    let judge = judge_of(call)?;
    let test = call.block()?;
    if call.rest().is_empty() {
        return Err(call.fatal(&"then block required", USAGE));
    }
    let then = call.block()?;
    let status = call.run(&test)?;
    if judge.says_yes(call, status)? {
        return call.exec(&then);
    }
    call.exec_rest()
}

fn ifte(call: &mut Call<'_>) -> Outcome {
    let judge = judge_of(call)?;
    let (then, otherwise) = (call.block()?, call.block()?);
    if call.rest().is_empty() {
        return Err(call.fatal(&"empty command-if", USAGE));
    }
    let status = call.run(call.rest())?;
    let chosen = if judge.says_yes(call, status)? {
        then
    } else {
        otherwise
    };
    call.exec(&chosen)
}

fn ifthenelse(call: &mut Call<'_>) -> Outcome {
    let mut judge = Judge::default();
    let mut sequential = false;
    while let Some(letter) = call.option(b"Xs")? {
        match letter {
            b's' => sequential = true,
            letter => judge.take(letter),
        }
    }
    let (test, then, otherwise) = (call.block()?, call.block()?, call.block()?);
    let status = call.run(&test)?;
    let chosen = if judge.says_yes(call, status)? {
        then
    } else {
        otherwise
    };
    if sequential {
        return call.exec(&[&chosen, call.rest()].concat());
    }
    call.run_told(&chosen)?;
    call.exec_rest()
}
