//! `s6-envdir`, `with-contenv`, `printcontenv`: variables from files.

use std::ffi::OsStr;
use std::io::{self, Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use herm_s6::execline::envfile;
use herm_sys::Errno;

use super::call::{Call, Environment, Outcome, Row, describe};
use super::complain::{SYSTEM, USAGE};
use crate::search_path::trusted_first;

pub(super) const ROWS: &[Row] = &[
    (
        "s6-envdir [ -I | -i ] [ -n ] [ -f ] [ -L ] [ -c nullchar ] dir prog...",
        envdir,
    ),
    ("envfile [ -I | -i ] file prog...", env_file),
    ("with-contenv prog...", with_contenv),
    ("printcontenv variable", printcontenv),
];

/// The container's environment, one file per variable.
const CONTAINER_ENVIRONMENT: &str = "/run/s6/container_environment";
/// How much of a file is read unless told otherwise.
const VALUE_BYTES: u64 = 4095;
/// More than any environment may have.
const LONG_VALUE_BYTES: u64 = 1 << 26;

/// How a file becomes a value.
#[derive(Clone, Copy)]
struct Reading {
    /// The file as a whole, not its first line.
    whole: bool,
    /// Blanks at the end, or the last newline of a whole file, stay.
    keep_end: bool,
    long: bool,
    /// What a null character becomes.
    null: u8,
}

impl Reading {
    fn value(self, mut bytes: Vec<u8>) -> Vec<u8> {
        if !self.whole {
            let end = bytes.iter().position(|byte| *byte == b'\n');
            bytes.truncate(end.unwrap_or(bytes.len()));
        }
        if !self.keep_end && self.whole {
            if bytes.last() == Some(&b'\n') {
                bytes.pop();
            }
        } else if !self.keep_end {
            let is_end = |byte: &u8| !matches!(byte, b' ' | b'\t' | b'\r');
            let length = bytes
                .iter()
                .rposition(is_end)
                .map_or(0, |last| last.saturating_add(1));
            bytes.truncate(length);
        }
        for byte in &mut bytes {
            if *byte == 0 {
                *byte = self.null;
            }
        }
        bytes
    }

    /// Sets what the files of a directory say; an empty file unsets.
    fn load(self, dir: &Path, env: &mut Environment) -> io::Result<()> {
        for entry in std::fs::read_dir(dir)? {
            let name = entry?.file_name();
            if name.as_bytes().starts_with(b".") || name.as_bytes().contains(&b'=') {
                continue;
            }
            let limit = if self.long {
                LONG_VALUE_BYTES
            } else {
                VALUE_BYTES
            };
            let mut bytes = Vec::new();
            let file = std::fs::File::open(dir.join(&name))?;
            file.take(limit).read_to_end(&mut bytes)?;
            if bytes.is_empty() {
                env.unset(&name);
            } else {
                env.set(&name, OsStr::from_bytes(&self.value(bytes)));
            }
        }
        Ok(())
    }
}

fn envdir(call: &mut Call<'_>) -> Outcome {
    let mut reading = Reading {
        whole: false,
        keep_end: false,
        long: false,
        null: b'\n',
    };
    let mut may_be_missing = false;
    while let Some(letter) = call.option(b"IinfLc")? {
        match letter {
            b'I' => may_be_missing = true,
            b'i' => may_be_missing = false,
            b'n' => reading.keep_end = true,
            b'f' => reading.whole = true,
            b'L' => reading.long = true,
            _ => reading.null = call.argument()?.as_bytes().first().copied().unwrap_or(0),
        }
    }
    let dir = call.word()?;
    if call.rest().is_empty() {
        return Err(call.usage());
    }
    match reading.load(Path::new(dir), &mut call.env) {
        Err(error) if may_be_missing && error.kind() == io::ErrorKind::NotFound => {}
        loaded => loaded.map_err(|error| not_loaded(call, dir, &error))?,
    }
    call.exec_rest()
}

fn not_loaded(call: &Call<'_>, dir: &OsStr, error: &io::Error) -> u8 {
    let errno = Errno::from_io_error(error).unwrap_or(Errno::IO);
    let what = format_args!("envdir {}", dir.display());
    call.refused(&what, &describe(errno))
}

fn env_file(call: &mut Call<'_>) -> Outcome {
    let mut may_be_missing = false;
    while let Some(letter) = call.option(b"Ii")? {
        may_be_missing = letter == b'I';
    }
    let path = call.word()?;
    if call.rest().is_empty() {
        return Err(call.usage());
    }
    let mut text = Vec::new();
    let read = if path == "-" {
        io::stdin().lock().read_to_end(&mut text)
    } else {
        std::fs::File::open(path)
            .and_then(|file| file.take(LONG_VALUE_BYTES).read_to_end(&mut text))
    };
    match read {
        Err(error) if may_be_missing && error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
            let what = format_args!("read {}", path.display());
            return Err(call.refused(&what, &describe(errno)));
        }
        Ok(_) => {
            let found = envfile::parse(&text).map_err(|bad| {
                let text = format_args!("in {}: syntax error line {}", path.display(), bad.line);
                call.fatal(&text, 1)
            })?;
            for (name, value) in found {
                call.env
                    .set(OsStr::from_bytes(&name), OsStr::from_bytes(&value));
            }
        }
    }
    call.exec_rest()
}

/// Whether `S6_KEEP_ENV` says that every process has the environment already.
fn is_kept(call: &Call<'_>) -> bool {
    let kept = call.env.get("S6_KEEP_ENV").and_then(OsStr::to_str);
    kept.and_then(|text| text.trim().parse::<i64>().ok())
        .unwrap_or(0)
        != 0
}

fn with_contenv(call: &mut Call<'_>) -> Outcome {
    if call.rest().is_empty() {
        return Err(call.usage());
    }
    if !is_kept(call) {
        call.env.retain(&|name| name == b"PATH");
        let reading = Reading {
            whole: true,
            keep_end: false,
            long: true,
            null: b'\n',
        };
        let loaded = reading.load(Path::new(CONTAINER_ENVIRONMENT), &mut call.env);
        loaded.map_err(|error| not_loaded(call, CONTAINER_ENVIRONMENT.as_ref(), &error))?;
    }
    spare_root(&mut call.env);
    call.exec_rest()
}

/// A home's user has directories on `PATH`, often the first: what root's scripts call is not to be
/// found there.
fn spare_root(env: &mut Environment) {
    let has_home = env.get("HERMES_HOME").is_some_and(|home| !home.is_empty());
    let path = env.get("PATH").and_then(OsStr::to_str);
    if let Some(path) = path.filter(|_| has_home && rustix::process::geteuid().is_root()) {
        let spared = trusted_first(path, 0);
        env.set(OsStr::new("PATH"), OsStr::new(&spared));
    }
}

fn printcontenv(call: &mut Call<'_>) -> Outcome {
    let name = call.word()?;
    if name.as_bytes().contains(&b'/') {
        return Err(USAGE);
    }
    let missing = if is_kept(call) { 1 } else { 2 };
    let value = container_variable(call, name).ok_or(missing)?;
    let written = io::stdout().write_all(&[&value[..], b"\n"].concat());
    written.map_err(|_| SYSTEM)?;
    Ok(0)
}

/// A variable of the container's environment, as scripts may have changed it since.
pub(super) fn container_variable(call: &Call<'_>, name: &OsStr) -> Option<Vec<u8>> {
    if is_kept(call) {
        return Some(call.env.get(name)?.as_bytes().to_vec());
    }
    std::fs::read(Path::new(CONTAINER_ENVIRONMENT).join(name)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_becomes_the_value_that_s6_envdir_makes_of_it() {
        let read = |options: &str, content: &str| {
            let reading = Reading {
                whole: options.contains('f'),
                keep_end: options.contains('n'),
                long: false,
                null: b'\n',
            };
            String::from_utf8(reading.value(content.into())).unwrap()
        };
        for (content, plain, whole, exact) in [
            ("v\n", "v", "v", "v\n"),
            ("v", "v", "v", "v"),
            ("a\nb\n", "a", "a\nb", "a\nb\n"),
            ("v \n", "v", "v ", "v \n"),
            ("\n", "", "", "\n"),
            ("a\t \r\nb", "a", "a\t \r\nb", "a\t \r\nb"),
            ("x\0y\n", "x\ny", "x\ny", "x\ny\n"),
        ] {
            assert_eq!(read("", content), plain, "{content:?}");
            assert_eq!(read("f", content), whole, "{content:?}");
            assert_eq!(read("fn", content), exact, "{content:?}");
        }
        assert_eq!(read("n", "v \nb"), "v ");
    }
}
