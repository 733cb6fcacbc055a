//! `eltest`: an expression about strings, numbers and files, judged by the exit code.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;

use herm_s6::log::regex::Regex;
use rustix::fs::{Access, AtFlags, CWD, FileType, Stat};

use crate::applets::call::{Call, Outcome, Row};
use crate::applets::complain::USAGE;

pub(in crate::applets) const ROWS: &[Row] = &[("eltest expression...", eltest)];

/// No expression of use is nested deeper.
const DEPTH_MAX: u32 = 200;

/// Tests of one file, string or variable, by their letters.
const UNARY: &[u8] = b"bcdefghkLOUGNprSstuwxznv";
const BINARY: &[&str] = &[
    "=", "==", "!=", "<", ">", "-eq", "-ne", "-gt", "-ge", "-lt", "-le", "-nt", "-ot", "-ef", "=~",
];

fn eltest(call: &mut Call<'_>) -> Outcome {
    let mut reader = Reader {
        call,
        rest: call.rest(),
        depth: 0,
    };
    if reader.rest.is_empty() {
        return Ok(1);
    }
    let holds = reader.alternatives()?;
    if !reader.rest.is_empty() {
        return Err(reader.bad());
    }
    Ok(u8::from(!holds))
}

struct Reader<'a, 'b> {
    call: &'a Call<'b>,
    rest: &'b [OsString],
    depth: u32,
}

impl<'b> Reader<'_, 'b> {
    fn bad(&self) -> u8 {
        self.call.fatal(&"syntax error in the expression", USAGE)
    }

    fn peek(&self) -> Option<&'b [u8]> {
        self.rest.first().map(|word| word.as_bytes())
    }

    fn next(&mut self) -> Result<&'b [u8], u8> {
        let (word, rest) = self.rest.split_first().ok_or_else(|| self.bad())?;
        self.rest = rest;
        Ok(word.as_bytes())
    }

    fn takes(&mut self, word: &str) -> bool {
        let is_next = self.peek() == Some(word.as_bytes());
        if is_next {
            self.rest = self.rest.get(1..).unwrap_or_default();
        }
        is_next
    }

    fn alternatives(&mut self) -> Result<bool, u8> {
        self.depth = self.depth.saturating_add(1);
        if self.depth > DEPTH_MAX {
            return Err(self.bad());
        }
        let mut holds = self.conjunction()?;
        while self.takes("-o") {
            holds |= self.conjunction()?;
        }
        self.depth = self.depth.saturating_sub(1);
        Ok(holds)
    }

    fn conjunction(&mut self) -> Result<bool, u8> {
        let mut holds = self.negation()?;
        while self.takes("-a") {
            holds &= self.negation()?;
        }
        Ok(holds)
    }

    fn negation(&mut self) -> Result<bool, u8> {
        let mut negated = false;
        while self.takes("!") {
            negated = !negated;
        }
        Ok(self.primary()? != negated)
    }

    fn primary(&mut self) -> Result<bool, u8> {
        if self.takes("(") {
            let holds = self.alternatives()?;
            return if self.takes(")") {
                Ok(holds)
            } else {
                Err(self.bad())
            };
        }
        let word = self.next()?;
        if let [b'-', letter] = word
            && UNARY.contains(letter)
        {
            let operand = data(self.next()?);
            return unary(self.call, *letter, operand);
        }
        if is_operator(word) {
            return Err(self.bad());
        }
        let left = data(word);
        let next = self.peek().unwrap_or_default();
        let Some(operator) = BINARY.iter().find(|name| name.as_bytes() == next) else {
            return Ok(!left.is_empty());
        };
        self.next()?;
        let right = data(self.next()?);
        binary(self.call, left, operator, right)
    }
}

fn is_operator(word: &[u8]) -> bool {
    BINARY.iter().any(|name| name.as_bytes() == word)
        || matches!(word, b"-a" | b"-o" | b"!" | b"(" | b")")
}

/// A word that begins with a backslash is no operator; it loses that.
fn data(word: &[u8]) -> &OsStr {
    OsStr::from_bytes(word.strip_prefix(b"\\").unwrap_or(word))
}

fn number(call: &Call<'_>, text: &OsStr) -> Result<i64, u8> {
    let number = text.to_str().and_then(|text| text.parse().ok());
    number.ok_or_else(|| {
        let text = format_args!("{} is not a number", text.display());
        call.fatal(&text, USAGE)
    })
}

fn unary(call: &Call<'_>, letter: u8, operand: &OsStr) -> Result<bool, u8> {
    let can = |access| rustix::fs::accessat(CWD, operand, access, AtFlags::EACCESS).is_ok();
    Ok(match letter {
        b'z' => operand.is_empty(),
        b'n' => !operand.is_empty(),
        b'v' => call.env.get(operand).is_some(),
        b't' => {
            let fd = i32::try_from(number(call, operand)?).unwrap_or(-1);
            herm_sys::descriptors::is_terminal(fd)
        }
        b'r' => can(Access::READ_OK),
        b'w' => can(Access::WRITE_OK),
        b'x' => can(Access::EXEC_OK),
        b'h' | b'L' => {
            let found = rustix::fs::lstat(operand);
            found.is_ok_and(|stat| herm_sys::fs_at::file_type(&stat) == FileType::Symlink)
        }
        letter => rustix::fs::stat(operand).is_ok_and(|stat| is_such(&stat, letter)),
    })
}

fn is_such(stat: &Stat, letter: u8) -> bool {
    let kind = herm_sys::fs_at::file_type(stat);
    let bit = |bit: u32| stat.st_mode & bit != 0;
    match letter {
        b'b' => kind == FileType::BlockDevice,
        b'c' => kind == FileType::CharacterDevice,
        b'd' => kind == FileType::Directory,
        b'f' => kind == FileType::RegularFile,
        b'p' => kind == FileType::Fifo,
        b'S' => kind == FileType::Socket,
        b'u' => bit(0o4000),
        b'g' => bit(0o2000),
        b'k' => bit(0o1000),
        b's' => stat.st_size > 0,
        b'O' | b'U' => stat.st_uid == rustix::process::geteuid().as_raw(),
        b'G' => stat.st_gid == rustix::process::getegid().as_raw(),
        b'N' => (stat.st_atime, stat.st_atime_nsec) < (stat.st_mtime, stat.st_mtime_nsec),
        _ => true,
    }
}

fn binary(call: &Call<'_>, left: &OsStr, operator: &str, right: &OsStr) -> Result<bool, u8> {
    let numbers = || -> Result<(i64, i64), u8> { Ok((number(call, left)?, number(call, right)?)) };
    let stats = || Some((rustix::fs::stat(left).ok()?, rustix::fs::stat(right).ok()?));
    let time = |stat: &Stat| (stat.st_mtime, stat.st_mtime_nsec);
    Ok(match operator {
        "=" | "==" => left == right,
        "!=" => left != right,
        "<" => left.as_bytes() < right.as_bytes(),
        ">" => left.as_bytes() > right.as_bytes(),
        "-eq" => numbers().map(|(left, right)| left == right)?,
        "-ne" => numbers().map(|(left, right)| left != right)?,
        "-gt" => numbers().map(|(left, right)| left > right)?,
        "-ge" => numbers().map(|(left, right)| left >= right)?,
        "-lt" => numbers().map(|(left, right)| left < right)?,
        "-le" => numbers().map(|(left, right)| left <= right)?,
        "-nt" => stats().is_some_and(|(left, right)| time(&left) > time(&right)),
        "-ot" => stats().is_some_and(|(left, right)| time(&left) < time(&right)),
        "-ef" => stats().is_some_and(|(left, right)| {
            (left.st_dev, left.st_ino) == (right.st_dev, right.st_ino)
        }),
        _ => {
            let pattern = Regex::new(right.as_bytes()).map_err(|_| {
                let text = format_args!("{} is no pattern", right.display());
                call.fatal(&text, USAGE)
            })?;
            pattern.matches(left.as_bytes())
        }
    })
}
