//! `execlineb`, and what deals with a script's arguments.

use std::ffi::{OsStr, OsString};
use std::io::{Read as _, Write as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use herm_s6::execline::lexer;
use herm_s6::execline::substitute::Substitution;

use super::variables::substituted;
use crate::applets::call::{Call, Outcome, Row};
use crate::applets::complain::{USAGE, warning};
use crate::applets::options::{BadOption, Options};

pub(in crate::applets) const ROWS: &[Row] = &[
    (
        "execlineb [ -p | -P | -S nmin | -s nmin ] [ -q | -w | -W ] [ -e ] [ -c commandline ] script args",
        execlineb,
    ),
    ("shift [ -n arg# ] prog...", shift),
    ("dollarat [ -n ] [ -0 | -d delimchar ]", dollarat),
];

/// Most bytes of a script: more than any command line can have.
const SCRIPT_BYTES_MAX: u64 = 1 << 26;

/// What is done with the arguments of the script.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Positionals {
    /// They become variables, after those of a script around this one are saved.
    Saved,
    /// They become variables.
    Variables,
    /// They are ignored.
    Ignored,
    /// They are substituted, at least so many; `$@` has those after so many.
    Substituted { at_least: u32, skipped: u32 },
}

fn execlineb(call: &mut Call<'_>) -> Outcome {
    let mut mode = Positionals::Saved;
    let (mut strict, mut quiet, mut exported, mut line) = (false, false, false, None);
    while let Some(letter) = call.option(b"pPSsqwWec")? {
        match letter {
            b'p' => mode = Positionals::Variables,
            b'P' => mode = Positionals::Ignored,
            b'S' | b's' => {
                let at_least = call.number()?;
                let skipped = if letter == b's' { at_least } else { 0 };
                mode = Positionals::Substituted { at_least, skipped };
            }
            b'q' => (quiet, strict) = (true, false),
            b'w' => (quiet, strict) = (false, false),
            b'W' => (quiet, strict) = (false, true),
            b'e' => exported = true,
            _ => line = Some(call.argument()?.as_bytes().to_vec()),
        }
    }
    let (name, text) = if let Some(line) = line {
        (call.name.into(), line)
    } else {
        let path = call.word()?;
        (path.to_owned(), read_script(call, path)?)
    };
    let argv = match lexer::parse(&text) {
        Ok(argv) => argv.into_iter().map(OsString::from_vec).collect::<Vec<_>>(),
        Err(error) => return Err(call.fatal(&format_args!("{}: {error}", name.display()), USAGE)),
    };
    let arguments: Vec<Vec<u8>> = call.rest().iter().map(|a| a.as_bytes().to_vec()).collect();
    match mode {
        Positionals::Ignored => call.exec(&argv),
        Positionals::Substituted { at_least, skipped } => {
            let given = arguments.len();
            if given < usize::try_from(at_least).unwrap_or(usize::MAX) && !quiet {
                let text = format_args!(
                    "too few arguments: expecting at least {at_least} but got {given}"
                );
                if strict {
                    return Err(call.fatal(&text, USAGE));
                }
                warning(call.name, &text);
            }
            if exported {
                set_variables(call, &name, &arguments);
            }
            let keys = positionals(name.into_vec(), &arguments, skipped, at_least);
            call.exec(&substituted(call, &argv, &keys)?)
        }
        Positionals::Saved | Positionals::Variables => {
            if mode == Positionals::Saved {
                save_variables(call);
            }
            set_variables(call, &name, &arguments);
            call.exec(&argv)
        }
    }
}

fn read_script(call: &Call<'_>, path: &OsStr) -> Result<Vec<u8>, u8> {
    let mut text = Vec::new();
    let read = std::fs::File::open(path)
        .and_then(|file| file.take(SCRIPT_BYTES_MAX).read_to_end(&mut text));
    read.map_err(|error| {
        let what = format_args!("open {} for reading", path.display());
        call.refused(&what, &error)
    })?;
    Ok(text)
}

/// What `$#`, `$0`, `$1` … and `$@` stand for.
pub(super) fn positionals(
    name: Vec<u8>,
    arguments: &[Vec<u8>],
    skipped: u32,
    at_least: u32,
) -> Vec<Substitution> {
    let key = |key: String, words: Vec<Vec<u8>>| Substitution {
        key: key.into_bytes(),
        words,
    };
    let count = arguments.len();
    let skipped = usize::try_from(skipped).unwrap_or(usize::MAX);
    let mut keys = vec![
        key("#".to_owned(), vec![count.to_string().into_bytes()]),
        key(
            "@".to_owned(),
            arguments.get(skipped..).unwrap_or_default().to_vec(),
        ),
        key("0".to_owned(), vec![name]),
    ];
    let wanted = count.max(usize::try_from(at_least).unwrap_or(0).min(1 << 16));
    for n in 1..=wanted {
        let value = arguments
            .get(n.saturating_sub(1))
            .cloned()
            .unwrap_or_default();
        keys.push(key(n.to_string(), vec![value]));
    }
    keys
}

fn set_variables(call: &mut Call<'_>, name: &OsStr, arguments: &[Vec<u8>]) {
    let count = arguments.len();
    call.env.set("#".as_ref(), count.to_string().as_ref());
    call.env.set("0".as_ref(), name);
    for (argument, n) in arguments.iter().zip(1_usize..) {
        call.env
            .set(n.to_string().as_ref(), OsStr::from_bytes(argument));
    }
}

/// Renames the arguments of the script around this one: `1` becomes `1:3` at the third level.
fn save_variables(call: &mut Call<'_>) {
    let level = call.env.get("EXLVL").and_then(OsStr::to_str);
    let level = level
        .and_then(|level| level.parse().ok())
        .unwrap_or(0_u32)
        .saturating_add(1);
    let saved: Vec<(OsString, OsString)> = call
        .env
        .iter()
        .filter(|(name, _)| is_positional(name.as_bytes()))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    for (name, value) in saved {
        call.env.unset(&name);
        let mut renamed = name;
        renamed.push(format!(":{level}"));
        call.env.set(&renamed, &value);
    }
    call.env.set("EXLVL".as_ref(), level.to_string().as_ref());
}

/// The other way round: the arguments of the script around this one are the variables again.
pub(super) fn restore_variables(call: &mut Call<'_>) {
    let level = call.env.get("EXLVL").and_then(OsStr::to_str);
    let level: u32 = level.and_then(|level| level.parse().ok()).unwrap_or(0);
    if level == 0 {
        return;
    }
    call.env.retain(&|name| !is_positional(name));
    let suffix = format!(":{level}");
    let saved: Vec<(OsString, OsString)> = call
        .env
        .iter()
        .filter_map(|(name, value)| {
            let name = name.to_str()?;
            let plain = name.strip_suffix(&suffix)?;
            is_positional(plain.as_bytes()).then(|| (plain.into(), value.to_owned()))
        })
        .collect();
    for (name, value) in saved {
        let mut renamed = name.clone();
        renamed.push(&suffix);
        call.env.unset(&renamed);
        call.env.set(&name, &value);
    }
    match level.checked_sub(1).filter(|level| *level > 0) {
        Some(level) => call.env.set("EXLVL".as_ref(), level.to_string().as_ref()),
        None => call.env.unset("EXLVL".as_ref()),
    }
}

fn is_positional(name: &[u8]) -> bool {
    name == b"#" || (!name.is_empty() && name.iter().all(u8::is_ascii_digit))
}

/// The arguments that the variables tell.
pub(super) fn arguments_of(call: &Call<'_>) -> Result<Vec<Vec<u8>>, u8> {
    let count = call.env.get("#").map(OsStr::to_owned);
    let count = count.ok_or_else(|| call.fatal(&"# not set", USAGE))?;
    let count = call.parse(&count)?;
    let mut arguments = Vec::new();
    for n in 1..=count {
        let value = call.env.get(n.to_string());
        let missing = || call.fatal(&format_args!("{n} not set"), USAGE);
        arguments.push(value.ok_or_else(missing)?.as_bytes().to_vec());
    }
    Ok(arguments)
}

/// Makes other arguments of them, `$0` as it was.
fn replace_arguments(call: &mut Call<'_>, arguments: &[Vec<u8>]) {
    let name = call.env.get("0").unwrap_or_default().to_owned();
    call.env.retain(&|name| !is_positional(name));
    set_variables(call, &name, arguments);
}

fn shift(call: &mut Call<'_>) -> Outcome {
    let mut by = 1;
    while call.option(b"n")?.is_some() {
        by = call.number()?;
    }
    let arguments = arguments_of(call)?;
    let by = usize::try_from(by).unwrap_or(usize::MAX);
    replace_arguments(call, arguments.get(by..).unwrap_or_default());
    call.exec_needed()
}

fn dollarat(call: &mut Call<'_>) -> Outcome {
    let (mut delimiter, mut last_one) = (b'\n', true);
    while let Some(letter) = call.option(b"n0d")? {
        match letter {
            b'n' => last_one = false,
            b'0' => delimiter = 0,
            _ => delimiter = call.argument()?.as_bytes().first().copied().unwrap_or(0),
        }
    }
    let mut text = arguments_of(call)?.join(&delimiter);
    if last_one && !text.is_empty() {
        text.push(delimiter);
    }
    let written = std::io::stdout().write_all(&text);
    written.map_err(|error| call.refused(&"write", &error))?;
    Ok(0)
}

/// Reads the script's options into variables, and takes them off its arguments.
pub(super) fn getopt(call: &mut Call<'_>, letters: &[u8], default: &OsStr) -> Result<(), u8> {
    let arguments: Vec<OsString> = arguments_of(call)?
        .into_iter()
        .map(OsString::from_vec)
        .collect();
    call.env.retain(&|name| !name.starts_with(b"ELGETOPT_"));
    let plain: Vec<u8> = letters
        .iter()
        .copied()
        .filter(|letter| *letter != b':')
        .collect();
    let mut options = Options::new(&arguments);
    loop {
        let next = options.next(&plain).map_err(|BadOption| 1)?;
        let Some(letter) = next else { break };
        let at = letters.iter().position(|other| *other == letter);
        let takes = at.and_then(|at| letters.get(at.saturating_add(1))) == Some(&b':');
        let value = if takes {
            options.argument().map_err(|BadOption| 1)?
        } else {
            default
        };
        let name = format!("ELGETOPT_{}", char::from(letter));
        call.env.set(name.as_ref(), value);
    }
    let rest: Vec<Vec<u8>> = options
        .rest()
        .iter()
        .map(|word| word.as_bytes().to_vec())
        .collect();
    replace_arguments(call, &rest);
    Ok(())
}
