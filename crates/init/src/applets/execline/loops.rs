//! `forx`, `forstdin`, `forbacktickx`, `loopwhilex`: run a program again and again.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{BufReader, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt};
use std::process::Child;

use herm_s6::execline::substitute::Substitution;

use super::variables::{check_name, substituted};
use crate::applets::call::{Call, Outcome, Row, exit_code};
use crate::applets::complain::SYSTEM;

pub(in crate::applets) const ROWS: &[Row] = &[
    (
        "forx [ -E | -e ] [ -p ] [ -o okcode,okcode,... | -x breakcode,breakcode,... ] var { values... } prog...",
        forx,
    ),
    (
        "forstdin [ -E | -e ] [ -p | -o okcode,okcode,... | -x breakcode,breakcode,... ] [ -N | -n ] [ -C | -c ] [ -0 | -d delim ] var prog...",
        forstdin,
    ),
    (
        "forbacktickx [ -p | -o okcode,okcode,... | -x breakcode,breakcode,... ] [ -E | -e ] [ -N | -n ] [ -C | -c ] [ -0 | -d delim ] var { prog... } prog...",
        forbacktickx,
    ),
    (
        "loopwhilex [ -n ] [ -o okcode,okcode,... | -x exitcode,exitcode,... ] prog...",
        loopwhilex,
    ),
];

/// Which exit codes go on, and how values are read.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of its own"
)]
struct Loop<'a> {
    codes: Vec<u32>,
    /// The codes are those that go on, not those that end it.
    codes_go_on: bool,
    parallel: bool,
    substitutes: bool,
    crunch: bool,
    chomp: bool,
    negated: bool,
    delimiters: &'a [u8],
}

impl<'a> Loop<'a> {
    fn read(call: &mut Call<'a>, letters: &[u8]) -> Result<Self, u8> {
        let mut options = Self {
            codes: Vec::new(),
            codes_go_on: false,
            parallel: false,
            substitutes: false,
            crunch: false,
            chomp: true,
            negated: false,
            delimiters: b"\n",
        };
        while let Some(letter) = call.option(letters)? {
            match letter {
                b'p' => options.parallel = true,
                b'o' | b'x' => {
                    options.codes_go_on = letter == b'o';
                    let list = call.argument()?.to_owned();
                    for code in list.as_bytes().split(|byte| *byte == b',') {
                        options.codes.push(call.parse(OsStr::from_bytes(code))?);
                    }
                }
                b'E' => options.substitutes = true,
                b'e' => options.substitutes = false,
                b'C' => options.crunch = true,
                b'c' => options.crunch = false,
                b'n' => (options.chomp, options.negated) = (true, true),
                b'N' => options.chomp = false,
                b'0' => options.delimiters = b"\0",
                _ => options.delimiters = call.argument()?.as_bytes(),
            }
        }
        Ok(options)
    }

    fn goes_on(&self, code: u8) -> bool {
        self.codes.contains(&u32::from(code)) == self.codes_go_on
    }

    /// Runs the rest of the command line once for each value.
    fn each(&self, call: &mut Call<'_>, name: &OsStr, values: &mut dyn Values) -> Outcome {
        let argv = call.rest();
        let mut children: Vec<Child> = Vec::new();
        let mut any = false;
        while let Some(value) = values.next(call)? {
            any = true;
            let argv = if self.substitutes {
                let key = Substitution {
                    key: name.as_bytes().to_vec(),
                    words: vec![value],
                };
                substituted(call, argv, &[key])?
            } else {
                call.env.set(name, OsStr::from_bytes(&value));
                argv.to_vec()
            };
            if argv.is_empty() {
                continue;
            }
            let mut child = call.start(&argv, None, None)?;
            if self.parallel {
                children.push(child);
                continue;
            }
            let code = exit_code(call.wait(&mut child)?);
            if !self.goes_on(code) {
                return Ok(code);
            }
        }
        for child in &mut children {
            call.wait(child)?;
        }
        Ok(u8::from(!any && !values.may_be_none()))
    }
}

/// Where values come from.
trait Values {
    fn next(&mut self, call: &Call<'_>) -> Result<Option<Vec<u8>>, u8>;
    /// Whether having none is fine.
    fn may_be_none(&self) -> bool;
}

/// Words of the command line.
struct Given(std::vec::IntoIter<OsString>);

impl Values for Given {
    fn next(&mut self, _: &Call<'_>) -> Result<Option<Vec<u8>>, u8> {
        Ok(self.0.next().map(OsStringExt::into_vec))
    }

    fn may_be_none(&self) -> bool {
        true
    }
}

/// Text that is read as it comes.
struct Streamed<'a> {
    input: BufReader<File>,
    options: &'a Loop<'a>,
}

impl<'a> Streamed<'a> {
    fn new(input: OwnedFd, options: &'a Loop<'a>) -> Self {
        Self {
            input: BufReader::new(File::from(input)),
            options,
        }
    }

    fn byte(&mut self, call: &Call<'_>) -> Result<Option<u8>, u8> {
        let byte = self.input.by_ref().bytes().next().transpose();
        byte.map_err(|error| call.refused(&"read values", &error))
    }

    fn netstring(&mut self, call: &Call<'_>) -> Result<Option<Vec<u8>>, u8> {
        let bad = || call.fatal(&"the input is not made of netstrings", SYSTEM);
        let mut text = Vec::new();
        let mut wanted = None;
        while let Some(byte) = self.byte(call)? {
            text.push(byte);
            if wanted.is_none() && byte == b':' {
                let digits = OsString::from_vec(std::mem::take(&mut text));
                let digits = digits.to_str().and_then(|text| text.strip_suffix(':'));
                let length: usize = digits.and_then(|text| text.parse().ok()).ok_or_else(bad)?;
                wanted = Some(length);
            } else if Some(text.len()) == wanted.and_then(|length| length.checked_add(1)) {
                return match text.pop() {
                    Some(b',') => Ok(Some(text)),
                    _ => Err(bad()),
                };
            }
        }
        if text.is_empty() && wanted.is_none() {
            return Ok(None);
        }
        Err(bad())
    }
}

impl Values for Streamed<'_> {
    fn next(&mut self, call: &Call<'_>) -> Result<Option<Vec<u8>>, u8> {
        if self.options.delimiters.is_empty() {
            return self.netstring(call);
        }
        let mut value = Vec::new();
        while let Some(byte) = self.byte(call)? {
            if !self.options.delimiters.contains(&byte) {
                value.push(byte);
                continue;
            }
            if self.options.crunch && value.is_empty() {
                continue;
            }
            if !self.options.chomp {
                value.push(byte);
            }
            return Ok(Some(value));
        }
        // What no delimiter ends is a value only where they are kept.
        Ok(Some(value).filter(|value| !value.is_empty() && !self.options.chomp))
    }

    fn may_be_none(&self) -> bool {
        false
    }
}

fn forx(call: &mut Call<'_>) -> Outcome {
    let options = Loop::read(call, b"Eepox")?;
    let name = call.word()?;
    check_name(call, name)?;
    let values = call.block()?;
    options.each(call, name, &mut Given(values.into_iter()))
}

const READING: &[u8] = b"EepoxNnCc0d";

fn forstdin(call: &mut Call<'_>) -> Outcome {
    let options = Loop::read(call, READING)?;
    let name = call.word()?;
    check_name(call, name)?;
    // The programs get nothing of it: what we have read ahead would be missing to them.
    let (input, nothing) = (
        rustix::io::dup(rustix::stdio::stdin()),
        File::open("/dev/null"),
    );
    let input = input.map_err(|error| call.refused(&"read standard input", &error))?;
    let nothing = nothing.map_err(|error| call.refused(&"open /dev/null", &error))?;
    rustix::stdio::dup2_stdin(nothing).map_err(|error| call.refused(&"open /dev/null", &error))?;
    let _ = rustix::io::fcntl_setfd(&input, rustix::io::FdFlags::CLOEXEC);
    options.each(call, name, &mut Streamed::new(input, &options))
}

fn forbacktickx(call: &mut Call<'_>) -> Outcome {
    let options = Loop::read(call, READING)?;
    let name = call.word()?;
    check_name(call, name)?;
    let program = call.block()?;
    let (reader, writer) = pipe(call)?;
    let mut child = call.start(&program, None, Some(writer))?;
    let code = options.each(call, name, &mut Streamed::new(reader, &options))?;
    call.wait(&mut child)?;
    Ok(code)
}

/// A pipe: its read end and its write end.
pub(super) fn pipe(call: &Call<'_>) -> Result<(OwnedFd, OwnedFd), u8> {
    let pipe = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC);
    pipe.map_err(|error| call.refused(&"make a pipe", &error))
}

/// What a program writes to its standard output, and how it ended.
pub(super) fn output_of(
    call: &Call<'_>,
    program: &[OsString],
) -> Result<(Vec<u8>, std::process::ExitStatus), u8> {
    let (reader, writer) = pipe(call)?;
    let mut child = call.start(program, None, Some(writer))?;
    let mut text = Vec::new();
    let read = File::from(reader).read_to_end(&mut text);
    read.map_err(|error| call.refused(&"read from a pipe", &error))?;
    Ok((text, call.wait(&mut child)?))
}

fn loopwhilex(call: &mut Call<'_>) -> Outcome {
    let mut options = Loop::read(call, b"nox")?;
    // `-n` has no other meaning here: go on while it fails.
    let negated = options.negated;
    if options.codes.is_empty() {
        (options.codes, options.codes_go_on) = (vec![0], true);
    }
    let argv = call.rest();
    if argv.is_empty() {
        return Err(call.usage());
    }
    loop {
        let code = exit_code(call.run(argv)?);
        if options.goes_on(code) == negated {
            return Ok(code);
        }
    }
}
