//! A profile's `.env` as the agent reads it (python-dotenv): `export ` prefix, single and double
//! quotes (both may span lines), escapes in double quotes, comments. Variables in values (`${X}`)
//! are left as they stand: nothing herm reads is written with them.

use crate::secret::Secret;

/// Largest `.env` that is read, in bytes.
pub const MAX_BYTES: u64 = 1 << 20;

/// The assignments of a file, in order; the last one of a key counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dotenv {
    entries: Vec<Entry>,
}

/// One assignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The variable.
    pub key: String,
    /// Its value.
    pub value: Secret,
    /// Line of the key, counted from 0.
    pub line: usize,
    /// Lines the assignment covers; none if it isn't from a file.
    pub lines: usize,
}

impl Dotenv {
    /// Reads a file's bytes; what isn't UTF-8 is read as Latin-1, as the agent does. Lines that
    /// are no assignment are passed over.
    pub fn parse(bytes: &[u8]) -> Self {
        let text = decode(bytes);
        Self {
            entries: Scanner {
                rest: &text,
                line: 0,
            }
            .entries(),
        }
    }

    /// The file's assignments over an environment's, as the agent applies them: what the file says
    /// goes before, also where it says nothing (`KEY=`). For the default profile, which inherits the
    /// container's environment.
    #[must_use]
    pub fn over(self, environment: impl IntoIterator<Item = (String, String)>) -> Self {
        let inherited = environment.into_iter().map(|(key, value)| Entry {
            key,
            value: Secret::new(value),
            line: 0,
            lines: 0,
        });
        Self {
            entries: inherited.chain(self.entries).collect(),
        }
    }

    /// The value of a key, if it has one that isn't empty.
    pub fn get(&self, key: &str) -> Option<&Secret> {
        let entry = self.entries.iter().rev().find(|entry| entry.key == key)?;
        (!entry.value.expose().is_empty()).then_some(&entry.value)
    }

    /// Whether a key has one of the words the agent takes for yes.
    pub fn is_true(&self, key: &str) -> bool {
        self.get(key).is_some_and(|value| is_truthy(value.expose()))
    }

    /// All assignments, in order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }
}

/// A text file of the agent's as text: UTF-8, else Latin-1; without a byte order mark, lines ended
/// by `\n`.
pub(crate) fn decode(bytes: &[u8]) -> String {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect(),
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    text.replace("\r\n", "\n").replace('\r', "\n")
}

/// The agent's words for yes, any case.
pub fn is_truthy(word: &str) -> bool {
    ["1", "true", "yes", "on"]
        .iter()
        .any(|yes| word.trim().eq_ignore_ascii_case(yes))
}

/// White space within a line.
const BLANK: [char; 2] = [' ', '\t'];

struct Scanner<'a> {
    rest: &'a str,
    line: usize,
}

impl Scanner<'_> {
    fn entries(mut self) -> Vec<Entry> {
        let mut entries = Vec::new();
        loop {
            let blank = self.rest.len() - self.rest.trim_start().len();
            self.advance(blank);
            if self.rest.is_empty() {
                return entries;
            }
            let line = self.line;
            if let Some((key, value)) = self.assignment() {
                let lines = self.line - line + 1;
                entries.push(Entry {
                    key,
                    value: Secret::new(value),
                    line,
                    lines,
                });
            }
            let end = self.rest.find('\n').unwrap_or(self.rest.len());
            self.advance(end);
        }
    }

    /// `[export ]key = value`. Where it fails, what is left of the line is to be passed over.
    fn assignment(&mut self) -> Option<(String, String)> {
        if let Some(after) = self.rest.strip_prefix("export")
            && after.starts_with(BLANK)
        {
            self.rest = after.trim_start_matches(BLANK);
        }
        let key = self.key()?;
        let value = self.rest.trim_start_matches(BLANK).strip_prefix('=')?;
        self.rest = value.trim_start_matches(BLANK);
        let quote = self
            .rest
            .chars()
            .next()
            .filter(|first| ['\'', '"'].contains(first));
        let Some(quote) = quote else {
            return Some((key, self.bare()));
        };
        let value = self.quoted(quote)?;
        let after = self.rest.trim_start_matches(BLANK);
        (after.is_empty() || after.starts_with(['\n', '#'])).then_some((key, value))
    }

    fn key(&mut self) -> Option<String> {
        let (key, rest) = if let Some(quoted) = self.rest.strip_prefix('\'') {
            quoted.split_once('\'')?
        } else {
            let end = |c: char| c == '=' || c == '#' || c.is_whitespace();
            self.rest
                .split_at(self.rest.find(end).unwrap_or(self.rest.len()))
        };
        self.advance(self.rest.len() - rest.len());
        (!key.is_empty()).then(|| key.to_owned())
    }

    /// Up to the first quote with no backslash right before it, else up to the last quote.
    fn quoted(&mut self, quote: char) -> Option<String> {
        let inside = self.rest.strip_prefix(quote)?;
        let is_end = |at: &usize| !inside.get(..*at).unwrap_or_default().ends_with('\\');
        let mut quotes = inside.match_indices(quote).map(|(at, _)| at);
        let end = quotes.find(is_end).or_else(|| inside.rfind(quote))?;
        let mut value = String::new();
        let mut chars = inside.get(..end)?.chars();
        while let Some(c) = chars.next() {
            match (c, chars.clone().next()) {
                ('\\', Some(escaped)) => {
                    unescape(escaped, quote, &mut value);
                    chars.next();
                }
                _ => value.push(c),
            }
        }
        self.advance(quote.len_utf8() + end + quote.len_utf8());
        Some(value)
    }

    /// Up to the end of the line, or to a `#` after white space in the value itself.
    fn bare(&mut self) -> String {
        let end = self.rest.find('\n').unwrap_or(self.rest.len());
        let line = self.rest.get(..end).unwrap_or_default();
        self.advance(end);
        let mut before = '=';
        let comment = line.char_indices().find(|(_, c)| {
            let begins = *c == '#' && before.is_whitespace();
            before = *c;
            begins
        });
        let end = comment.map_or(line.len(), |(at, _)| at);
        line.get(..end).unwrap_or_default().trim_end().to_owned()
    }

    fn advance(&mut self, bytes: usize) {
        let (used, rest) = self.rest.split_at_checked(bytes).unwrap_or((self.rest, ""));
        self.line += used.matches('\n').count();
        self.rest = rest;
    }
}

/// Adds what a backslash and a character mean inside quotes: in single quotes only the quote and
/// the backslash itself are special.
fn unescape(c: char, quote: char, to: &mut String) {
    let special = match (c, quote) {
        ('\\' | '\'', _) | ('"', '"') => c,
        ('a', '"') => '\x07',
        ('b', '"') => '\x08',
        ('f', '"') => '\x0c',
        ('n', '"') => '\n',
        ('r', '"') => '\r',
        ('t', '"') => '\t',
        ('v', '"') => '\x0b',
        _ => {
            to.push('\\');
            c
        }
    };
    to.push(special);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        let pair = |entry: &Entry| (entry.key.clone(), entry.value.expose().to_owned());
        Dotenv::parse(text.as_bytes())
            .entries()
            .iter()
            .map(pair)
            .collect()
    }

    fn check(text: &str, expected: &[(&str, &str)]) {
        let expected: Vec<_> = expected
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        assert_eq!(pairs(text), expected, "{text:?}");
    }

    #[test]
    fn assignments_are_read_as_the_agents_reader_reads_them() {
        check("A=1\n", &[("A", "1")]);
        check("  export A = b c  # note\n", &[("A", "b c")]);
        check(
            "A=b#c\nB= #d\nC=x #y#z",
            &[("A", "b#c"), ("B", "#d"), ("C", "x")],
        );
        check(
            "A='b #c' # d\nB=\"x\\n\\\"y\\\"\"\n",
            &[("A", "b #c"), ("B", "x\n\"y\"")],
        );
        check("A='it\\'s \\n'\n", &[("A", "it's \\n")]);
        check(
            "A=\"two\nlines\"\r\nB=\n\nC=3\r",
            &[("A", "two\nlines"), ("B", ""), ("C", "3")],
        );
        check(
            "\u{feff}A=1\n# B=2\n'C'=3\nexport=4",
            &[("A", "1"), ("C", "3"), ("export", "4")],
        );
    }

    #[test]
    fn a_backslash_before_the_closing_quote_is_an_escape_only_where_another_quote_follows() {
        check("A='C:\\'\nB=1\n", &[("A", "C:\\"), ("B", "1")]);
        check("A=\"\\\\\"\nB=1\n", &[("A", "\\"), ("B", "1")]);
        check("A='x\\'y'\nB=1\n", &[("A", "x'y"), ("B", "1")]);
    }

    #[test]
    fn what_is_no_assignment_is_passed_over_and_hides_nothing_after_it() {
        check(
            "nonsense\nA B=1\n=x\nC='open\nD=\"x\" y\nE=5\n",
            &[("E", "5")],
        );
    }

    #[test]
    fn the_last_assignment_of_a_key_counts_and_an_empty_one_is_none() {
        let dotenv = Dotenv::parse(b"A=1\nA=2\nB=x\nB=\nON=Yes\n");
        assert_eq!(dotenv.get("A").map(Secret::expose), Some("2"));
        assert_eq!(dotenv.get("B"), None);
        assert!(dotenv.is_true("ON") && !dotenv.is_true("A"));
    }

    #[test]
    fn an_entry_knows_the_lines_it_covers() {
        let dotenv = Dotenv::parse(b"# top\n\nA='x\ny'\nB=1\n");
        let lines: Vec<_> = dotenv
            .entries()
            .iter()
            .map(|entry| (entry.line, entry.lines))
            .collect();
        assert_eq!(lines, [(2, 2), (4, 1)]);
    }

    #[test]
    fn a_file_goes_before_the_environment_even_where_it_unsets() {
        let environment = [("A", "env"), ("B", "env"), ("C", "env")];
        let environment = environment.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let dotenv = Dotenv::parse(b"A=file\nB=\n").over(environment);
        let get = |key| dotenv.get(key).map(Secret::expose);
        assert_eq!(
            (get("A"), get("B"), get("C")),
            (Some("file"), None, Some("env"))
        );
    }

    #[test]
    fn secrets_do_not_show_in_debug_output() {
        let dotenv = Dotenv::parse(b"TELEGRAM_BOT_TOKEN=123:abcdef\n");
        assert!(!format!("{dotenv:?}").contains("abcdef"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic_or_hang(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            Dotenv::parse(&bytes);
        }

        #[test]
        fn entries_cover_lines_of_the_file_in_order(text in "[A-C='\"# \\\\\n\t$x]{0,80}") {
            let lines = decode(text.as_bytes()).lines().count();
            let mut next = 0;
            for entry in Dotenv::parse(text.as_bytes()).entries() {
                prop_assert!(entry.line >= next && entry.lines >= 1);
                next = entry.line + entry.lines;
                prop_assert!(next <= lines.max(1) + 1);
            }
        }
    }
}
