//! Variables and substitution: `export`, `importas`, `define`, `backtick` and their kin.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use herm_s6::execline::substitute::{Cut, Substitution, is_key, substitute};

use super::loops::output_of;
use super::script;
use crate::applets::call::{Call, Outcome, Row, exit_code};
use crate::applets::complain::{SYSTEM, USAGE};
use crate::applets::glob;

pub(in crate::applets) const ROWS: &[Row] = &[
    ("export variable value prog...", export),
    ("unexport variable prog...", unexport),
    (
        "importas [ -i | -D default ] [ -u ] [ -S ] [ -N | -n ] [ -s ] [ -C | -c ] [ -d delim ] key var prog...",
        importas,
    ),
    (
        "define [ -N | -n ] [ -s ] [ -C | -c ] [ -d delim ] key value prog...",
        define,
    ),
    (
        "multidefine [ -0 ] [ -r ] [ -N | -n ] [ -C | -c ] [ -d delim ] value { vars... } prog...",
        multidefine,
    ),
    ("multisubstitute { directives... } prog...", multisubstitute),
    (
        "elglob [ -v ] [ -w ] [ -s ] [ -m ] [ -e ] [ -0 ] key pattern prog...",
        elglob,
    ),
    ("elgetpositionals [ -P num ] prog...", elgetpositionals),
    (
        "backtick [ -i | -I | -x | -D default ] [ -N | -n ] [ -E | -e ] var { prog... } prog...",
        backtick,
    ),
    (
        "withstdinas [ -i | -I | -D default ] [ -N | -n ] [ -E | -e ] var prog...",
        withstdinas,
    ),
    ("getpid [ -E | -e ] [ -P | -p ] variable prog...", getpid),
    ("getcwd [ -E | -e ] variable prog...", getcwd),
    ("emptyenv [ -p | -c | -o | -P ] prog...", emptyenv),
    ("elgetopt [ -D default ] optstring prog...", elgetopt),
];

/// Ends the command where this can't be a variable's name.
pub(super) fn check_name(call: &Call<'_>, name: &OsStr) -> Result<(), u8> {
    if name.as_bytes().contains(&b'=') {
        let text = format_args!("invalid variable name: {}", name.display());
        return Err(call.fatal(&text, USAGE));
    }
    Ok(())
}

/// A command line with keys replaced.
pub(super) fn substituted(
    call: &Call<'_>,
    argv: &[OsString],
    keys: &[Substitution],
) -> Result<Vec<OsString>, u8> {
    let argv: Vec<&[u8]> = argv.iter().map(|word| word.as_bytes()).collect();
    let words = substitute(&argv, keys);
    let words = words.ok_or_else(|| call.fatal(&"the command line becomes too long", SYSTEM))?;
    Ok(words.into_iter().map(OsString::from_vec).collect())
}

fn exec_substituted(call: &Call<'_>, keys: &[Substitution]) -> Outcome {
    call.exec(&substituted(call, call.rest(), keys)?)
}

fn export(call: &mut Call<'_>) -> Outcome {
    let (name, value) = (call.word()?, call.word()?);
    check_name(call, name)?;
    call.env.set(name, value);
    call.exec_needed()
}

fn unexport(call: &mut Call<'_>) -> Outcome {
    let name = call.word()?;
    check_name(call, name)?;
    call.env.unset(name);
    call.exec_needed()
}

/// Takes an option about how a value is cut.
fn cut_option<'a>(call: &mut Call<'a>, cut: &mut Cut<'a>, letter: u8) -> Result<(), u8> {
    match letter {
        b's' => cut.split = true,
        b'C' => cut.crunch = true,
        b'c' => cut.crunch = false,
        b'n' => cut.chomp = true,
        b'N' => cut.chomp = false,
        b'0' => cut.delimiters = b"\0",
        b'd' => cut.delimiters = call.argument()?.as_bytes(),
        _ => return Err(call.usage()),
    }
    Ok(())
}

fn key_of(call: &Call<'_>, key: &OsStr) -> Result<Vec<u8>, u8> {
    if !is_key(key.as_bytes()) && key.is_empty() {
        return Err(call.fatal(&"bad substitution key", SYSTEM));
    }
    Ok(key.as_bytes().to_vec())
}

fn cut_words(call: &Call<'_>, cut: &Cut<'_>, value: &OsStr) -> Result<Vec<Vec<u8>>, u8> {
    let words = cut.apply(value.as_bytes());
    words.ok_or_else(|| call.fatal(&"the value is not made of netstrings", SYSTEM))
}

/// Reads one directive (the options and words of a command) into its keys.
type Directive = fn(&mut Call<'_>) -> Result<Vec<Substitution>, u8>;

fn read_define(call: &mut Call<'_>) -> Result<Vec<Substitution>, u8> {
    let mut cut = Cut::default();
    while let Some(letter) = call.option(b"NnsCcd")? {
        cut_option(call, &mut cut, letter)?;
    }
    let (key, value) = (call.word()?, call.word()?);
    Ok(vec![Substitution {
        key: key_of(call, key)?,
        words: cut_words(call, &cut, value)?,
    }])
}

fn read_importas(call: &mut Call<'_>) -> Result<Vec<Substitution>, u8> {
    let mut cut = Cut::default();
    let (mut insist, mut unexported, mut same, mut default) = (false, false, false, None);
    while let Some(letter) = call.option(b"iDuSNnsCcd")? {
        match letter {
            b'i' => insist = true,
            b'D' => default = Some(call.argument()?.to_owned()),
            b'u' => unexported = true,
            b'S' => same = true,
            letter => cut_option(call, &mut cut, letter)?,
        }
    }
    let key = call.word()?;
    let name = if same { key } else { call.word()? };
    let value = call.env.get(name).map(OsStr::to_owned);
    if value.is_none() && insist {
        return Err(call.fatal(&format_args!("{} not set", name.display()), USAGE));
    }
    let words = match value.or(default) {
        Some(value) => cut_words(call, &cut, &value)?,
        None => Vec::new(),
    };
    if unexported {
        call.env.unset(name);
    }
    Ok(vec![Substitution {
        key: key_of(call, key)?,
        words,
    }])
}

fn read_elglob(call: &mut Call<'_>) -> Result<Vec<Substitution>, u8> {
    let mut options = glob::Options::default();
    let mut keep_pattern = true;
    while let Some(letter) = call.option(b"vwsme0")? {
        match letter {
            b'm' => options.mark_directories = true,
            b'e' => options.backslash_is_plain = true,
            b'0' => keep_pattern = false,
            // Verbosity, strictness and unsorted results: ours are sorted always.
            _ => {}
        }
    }
    let (key, pattern) = (call.word()?, call.word()?);
    let mut words = glob::expand(pattern.as_bytes(), options);
    if words.is_empty() && keep_pattern {
        words.push(pattern.as_bytes().to_vec());
    }
    Ok(vec![Substitution {
        key: key_of(call, key)?,
        words,
    }])
}

fn read_multidefine(call: &mut Call<'_>) -> Result<Vec<Substitution>, u8> {
    let mut cut = Cut {
        split: true,
        ..Cut::default()
    };
    let mut rest_follows = false;
    while let Some(letter) = call.option(b"0rNnCcd")? {
        match letter {
            b'r' => rest_follows = true,
            letter => cut_option(call, &mut cut, letter)?,
        }
    }
    let value = call.word()?;
    let names = call.block()?;
    let mut values = cut_words(call, &cut, value)?.into_iter();
    let mut keys = Vec::new();
    for name in &names {
        let words: Vec<_> = values.next().into_iter().collect();
        if !name.is_empty() {
            let key = key_of(call, name)?;
            keys.push(Substitution { key, words });
        }
    }
    if rest_follows {
        let count = values.len();
        call.env.set("#".as_ref(), count.to_string().as_ref());
        for (value, n) in values.zip(1_usize..) {
            call.env
                .set(n.to_string().as_ref(), OsStr::from_bytes(&value));
        }
    }
    Ok(keys)
}

fn read_elgetpositionals(call: &mut Call<'_>) -> Result<Vec<Substitution>, u8> {
    let mut skipped = 0;
    while call.option(b"P")?.is_some() {
        skipped = call.number()?;
    }
    let count = call.env.get("#").map(OsStr::to_owned);
    let count = count.ok_or_else(|| call.fatal(&"# not set", USAGE))?;
    let count = call.parse(&count)?;
    let mut arguments = Vec::new();
    for n in 0..=count {
        let value = call.env.get(n.to_string()).map(OsStr::to_owned);
        let missing = || call.fatal(&format_args!("{n} not set"), USAGE);
        arguments.push(value.ok_or_else(missing)?.into_vec());
    }
    let name = if arguments.is_empty() {
        Vec::new()
    } else {
        arguments.remove(0)
    };
    Ok(script::positionals(name, &arguments, skipped, 0))
}

fn define(call: &mut Call<'_>) -> Outcome {
    let keys = read_define(call)?;
    exec_substituted(call, &keys)
}

fn importas(call: &mut Call<'_>) -> Outcome {
    let keys = read_importas(call)?;
    exec_substituted(call, &keys)
}

fn elglob(call: &mut Call<'_>) -> Outcome {
    let keys = read_elglob(call)?;
    exec_substituted(call, &keys)
}

fn multidefine(call: &mut Call<'_>) -> Outcome {
    let keys = read_multidefine(call)?;
    exec_substituted(call, &keys)
}

fn elgetpositionals(call: &mut Call<'_>) -> Outcome {
    let keys = read_elgetpositionals(call)?;
    exec_substituted(call, &keys)
}

const DIRECTIVES: &[(&str, Directive)] = &[
    ("define", read_define),
    ("importas", read_importas),
    ("elglob", read_elglob),
    ("multidefine", read_multidefine),
    ("elgetpositionals", read_elgetpositionals),
];

fn multisubstitute(call: &mut Call<'_>) -> Outcome {
    let block = call.block()?;
    let mut keys = Vec::new();
    let mut inner = call.over(&block);
    while let Some(word) = inner.rest().first() {
        let of_name = |(name, _): &&(&str, Directive)| word == name;
        let Some((_, read)) = DIRECTIVES.iter().find(of_name) else {
            let text = format_args!("syntax error: unrecognized directive {}", word.display());
            return Err(inner.fatal(&text, USAGE));
        };
        inner.word()?;
        keys.append(&mut read(&mut inner)?);
    }
    call.env = inner.env;
    exec_substituted(call, &keys)
}

fn backtick(call: &mut Call<'_>) -> Outcome {
    let mut reading = Reading::default();
    while let Some(letter) = call.option(b"iIxDNnEe")? {
        reading.take(call, letter)?;
    }
    let name = call.word()?;
    check_name(call, name)?;
    let program = call.block()?;
    if program.is_empty() {
        return Err(call.fatal(&"empty block", USAGE));
    }
    let (text, status) = output_of(call, &program)?;
    let failed = !status.success();
    let has_null = text.contains(&0);
    let value = match (failed || has_null, reading.on_failure) {
        (false, _) | (true, OnFailure::Keep) => Some(reading.value(text)),
        (true, OnFailure::Unset) => None,
        (true, OnFailure::Default(default)) => Some(default.to_owned()),
        (true, OnFailure::End) => {
            let (what, code) = match status.code() {
                Some(0) => ("child wrote a null character", 1),
                Some(_) => ("child process exited non-zero", exit_code(status)),
                None => ("child process crashed", exit_code(status)),
            };
            return Err(call.fatal(&what, code));
        }
    };
    put(call, name, value, reading.substitutes)
}

/// Makes a variable, or a substitution, of a value, and goes on.
fn put(call: &mut Call<'_>, name: &OsStr, value: Option<OsString>, substitutes: bool) -> Outcome {
    match value {
        Some(value) if substitutes => {
            let key = Substitution {
                key: key_of(call, name)?,
                words: vec![value.into_vec()],
            };
            return exec_substituted(call, &[key]);
        }
        Some(value) => call.env.set(name, &value),
        None if substitutes => {
            return Err(call.fatal(&format_args!("{} not set", name.display()), USAGE));
        }
        None => call.env.unset(name),
    }
    call.exec_rest()
}

#[derive(Clone, Copy, Default)]
enum OnFailure<'a> {
    #[default]
    End,
    Keep,
    Unset,
    Default(&'a OsStr),
}

/// How what a program writes becomes a value.
#[derive(Default)]
struct Reading<'a> {
    on_failure: OnFailure<'a>,
    keeps_newline: bool,
    substitutes: bool,
}

impl<'a> Reading<'a> {
    fn take(&mut self, call: &mut Call<'a>, letter: u8) -> Result<(), u8> {
        match letter {
            b'i' => self.on_failure = OnFailure::End,
            b'I' => self.on_failure = OnFailure::Keep,
            b'x' => self.on_failure = OnFailure::Unset,
            b'D' => self.on_failure = OnFailure::Default(call.argument()?),
            b'N' => self.keeps_newline = true,
            b'n' => self.keeps_newline = false,
            b'E' => self.substitutes = true,
            _ => self.substitutes = false,
        }
        Ok(())
    }

    /// Up to a null character, which no variable can hold; without the last line's end.
    fn value(&self, mut text: Vec<u8>) -> OsString {
        if !self.keeps_newline && text.last() == Some(&b'\n') {
            text.pop();
        }
        let end = text.iter().position(|byte| *byte == 0);
        text.truncate(end.unwrap_or(text.len()));
        OsString::from_vec(text)
    }
}

fn withstdinas(call: &mut Call<'_>) -> Outcome {
    let mut reading = Reading::default();
    while let Some(letter) = call.option(b"iIDNnEe")? {
        reading.take(call, letter)?;
    }
    let name = call.word()?;
    check_name(call, name)?;
    let mut text = Vec::new();
    let read = std::io::Read::read_to_end(&mut std::io::stdin().lock(), &mut text);
    read.map_err(|error| call.refused(&"read standard input", &error))?;
    let value = reading.value(text);
    put(call, name, Some(value), reading.substitutes)
}

fn put_text(call: &mut Call<'_>, letters: &[u8], make: &dyn Fn() -> OsString) -> Outcome {
    let mut substitutes = false;
    while let Some(letter) = call.option(letters)? {
        substitutes = letter == b'E';
    }
    let name = call.word()?;
    check_name(call, name)?;
    put(call, name, Some(make()), substitutes)
}

fn getpid(call: &mut Call<'_>) -> Outcome {
    put_text(call, b"EePp", &|| std::process::id().to_string().into())
}

fn getcwd(call: &mut Call<'_>) -> Outcome {
    put_text(call, b"Ee", &|| {
        std::env::current_dir().unwrap_or_default().into()
    })
}

fn emptyenv(call: &mut Call<'_>) -> Outcome {
    let mut what = 0;
    while let Some(letter) = call.option(b"pcoP")? {
        what = letter;
    }
    call.env.retain(&|name| {
        let is_positional = name == b"#" || name.iter().all(u8::is_ascii_digit);
        let is_option = name.starts_with(b"ELGETOPT_");
        let is_other = matches!(name, b"!" | b"?" | b"EXLVL");
        match what {
            b'p' => name == b"PATH",
            b'P' => !is_positional,
            b'o' => !is_option,
            b'c' => !is_positional && !is_option && !is_other,
            _ => false,
        }
    });
    call.exec_needed()
}

fn elgetopt(call: &mut Call<'_>) -> Outcome {
    let mut default: &OsStr = "1".as_ref();
    while call.option(b"D")?.is_some() {
        default = call.argument()?;
    }
    let letters = call.word()?.as_bytes();
    script::getopt(call, letters, default)?;
    call.exec_rest()
}
