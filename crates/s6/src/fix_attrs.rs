//! Lines of `/etc/fix-attrs.d`: to whom paths are given, and with which modes.
//!
//! A line is `path recurse account fmode dmode`, its fields parted by blanks.

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

/// Bits that a mode may have.
const MODE_MAX: u32 = 0o7777;

/// What is to be done with the paths that a pattern matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The line it stands in, counted from 1.
    pub line: usize,
    /// The pattern, as a shell's.
    pub pattern: Vec<u8>,
    /// Also what lies in directories.
    pub recursive: bool,
    /// Whom they are given to: `user`, `user:group` or numbers.
    pub account: String,
    /// The ids that count where there is no such account.
    pub fallback: Option<(u32, u32)>,
    /// What everything but directories has.
    pub file_mode: u32,
    /// What directories have.
    pub directory_mode: u32,
}

/// A line that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: &'static str,
}

/// The rules of a file, in their order. Blank lines, and those whose first word begins with `#`, say
/// nothing.
pub fn parse(text: &[u8]) -> Vec<Result<Rule, BadLine>> {
    let mut rules = Vec::new();
    for (words, line) in text.split(|byte| *byte == b'\n').zip(1..) {
        let mut words = words
            .split(u8::is_ascii_whitespace)
            .filter(|word| !word.is_empty())
            .peekable();
        if words.peek().is_some_and(|first| !first.starts_with(b"#")) {
            rules.push(rule(line, &mut words).map_err(|problem| BadLine { line, problem }));
        }
    }
    rules
}

fn rule<'a>(line: usize, words: &mut impl Iterator<Item = &'a [u8]>) -> Result<Rule, &'static str> {
    let mut next = || {
        words
            .next()
            .ok_or("it needs five words: path recurse account fmode dmode")
    };
    let (pattern, recurse, account) = (next()?, next()?, next()?);
    let (file_mode, directory_mode) = (mode(next()?)?, mode(next()?)?);
    let account = core::str::from_utf8(account).map_err(|_| "the account is not UTF-8")?;
    let (account, fallback) = match account.split_once(',') {
        None => (account, None),
        Some((account, ids)) => (account, Some(pair(ids)?)),
    };
    Ok(Rule {
        line,
        pattern: pattern.to_vec(),
        recursive: recurse == b"true",
        account: account.to_string(),
        fallback,
        file_mode,
        directory_mode,
    })
}

fn pair(ids: &str) -> Result<(u32, u32), &'static str> {
    let (uid, gid) = ids.split_once(':').unwrap_or((ids, ids));
    let (uid, gid) = (uid.parse(), gid.parse());
    uid.ok()
        .zip(gid.ok())
        .ok_or("after the comma belong two numbers, uid:gid")
}

fn mode(word: &[u8]) -> Result<u32, &'static str> {
    let text = core::str::from_utf8(word).ok();
    let number = text.and_then(|text| u32::from_str_radix(text, 8).ok());
    number
        .filter(|mode| *mode <= MODE_MAX && word.first() != Some(&b'+'))
        .ok_or("a mode is an octal number")
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    #[test]
    fn a_line_says_what_whose_and_how() {
        let text = b"# comment\n\n /var/lib/db\ttrue  db,32768:32769 0600 2700\n\
                     /srv/* false 10:11 644 755 and more\n#x y\n";
        let rule = Rule {
            line: 3,
            pattern: b"/var/lib/db".to_vec(),
            recursive: true,
            account: "db".into(),
            fallback: Some((32768, 32769)),
            file_mode: 0o600,
            directory_mode: 0o2700,
        };
        let second = Rule {
            line: 4,
            pattern: b"/srv/*".to_vec(),
            recursive: false,
            account: "10:11".into(),
            fallback: None,
            file_mode: 0o644,
            directory_mode: 0o755,
        };
        assert_eq!(parse(text), vec![Ok(rule), Ok(second)]);
    }

    #[test]
    fn what_makes_no_sense_is_named_with_its_line() {
        for line in [
            "/a true root",
            "/a true root 8 7",
            "/a true root 0 10000",
            "/a true x,y 0 0",
        ] {
            let read = parse(alloc::format!("\n{line}\n").as_bytes());
            assert!(
                matches!(&read[..], [Err(BadLine { line: 2, .. })]),
                "{read:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(text: Vec<u8>) {
            let lines = text.split(|byte| *byte == b'\n').count();
            prop_assert!(parse(&text).len() <= lines);
        }
    }
}
