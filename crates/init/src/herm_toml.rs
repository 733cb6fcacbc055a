//! The part of TOML that root's settings are written in, for PID 1 (`docs/decisions/0009`).
//!
//! Tables, dotted keys, texts in quotes, decimal numbers, true and false, and lists of these. What is
//! accepted here means the same to every reader of TOML 1.0; whatever else TOML knows is refused with
//! its line, never guessed.

use std::fmt;

/// What a value was written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// In quotes.
    Text,
    /// Decimal digits, perhaps with a sign and a fraction.
    Number,
    /// `true` or `false`.
    Flag,
    /// In brackets. Which values are in it is for other readers to know.
    List,
}

/// A value as text: what was in the quotes, a number without its plus and underscores, `true` or `false`,
/// nothing for a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// What it was written as.
    pub kind: Kind,
    /// Its text.
    pub text: String,
}

/// Why a file can't be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// Where, from 1.
    pub line: usize,
    /// What is wrong there.
    pub what: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

impl std::error::Error for Error {}

/// Hands every key, dotted, and its value to `take`, in the order of the file. An error of `take`'s ends
/// the reading and gets the line.
pub fn read(
    text: &str,
    take: &mut dyn FnMut(&str, &Value) -> Result<(), String>,
) -> Result<(), Error> {
    let mut reader = Reader {
        rest: text,
        line: 1,
    };
    reader.file(take).map_err(|what| Error {
        line: reader.line,
        what,
    })
}

struct Reader<'a> {
    rest: &'a str,
    line: usize,
}

/// What has a name already: a second one of the same name would be an error in TOML.
#[derive(Default)]
struct Names {
    tables: Vec<String>,
    keys: Vec<String>,
}

impl Names {
    /// A `[table]`: not there yet, and no value's name is a part of it.
    fn table(&mut self, name: &str) -> Result<(), String> {
        if self.tables.iter().any(|table| table == name) || self.is_implied(name) {
            return Err(format!("[{name}] is there twice"));
        }
        self.under_a_value(name)?;
        self.tables.push(name.to_owned());
        Ok(())
    }

    /// A key of a table, which it may not reach beyond: what has its own `[table]` is complete with it.
    fn key(&mut self, name: &str, table: &str) -> Result<(), String> {
        let reaches = |other: &&String| other.len() > table.len() && is_below(name, other);
        if let Some(other) = self.tables.iter().find(reaches) {
            return Err(format!("[{other}] is there already"));
        }
        let is_table = || {
            let mut others = self.tables.iter().chain(&self.keys);
            others.any(|other| other == name || is_below(other, name))
        };
        if is_table() {
            return Err(format!("{name} is there twice"));
        }
        self.under_a_value(name)?;
        self.keys.push(name.to_owned());
        Ok(())
    }

    /// Dotted keys have made it a table.
    fn is_implied(&self, name: &str) -> bool {
        self.keys.iter().any(|key| is_below(key, name))
    }

    fn under_a_value(&self, name: &str) -> Result<(), String> {
        match self
            .keys
            .iter()
            .find(|key| is_below(name, key) || *key == name)
        {
            Some(key) => Err(format!("{key} is a value, and can't be a table as well")),
            None => Ok(()),
        }
    }
}

fn is_below(name: &str, table: &str) -> bool {
    name.strip_prefix(table)
        .is_some_and(|rest| rest.starts_with('.'))
}

impl Reader<'_> {
    fn file(
        &mut self,
        take: &mut dyn FnMut(&str, &Value) -> Result<(), String>,
    ) -> Result<(), String> {
        let mut names = Names::default();
        let mut table = String::new();
        loop {
            self.skip_lines()?;
            if self.rest.is_empty() {
                return Ok(());
            }
            if self.eat('[') {
                table = self.key()?;
                self.demand(']')?;
                self.end_of_line()?;
                names.table(&table)?;
                continue;
            }
            let mut name = self.key()?;
            if !table.is_empty() {
                name = format!("{table}.{name}");
            }
            self.demand('=')?;
            let value = self.value(true)?;
            self.end_of_line()?;
            names.key(&name, &table)?;
            take(&name, &value)?;
        }
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.rest = self.rest.get(next.len_utf8()..).unwrap_or_default();
        Some(next)
    }

    fn eat(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.next();
        }
        found
    }

    /// The same, after blanks.
    fn demand(&mut self, wanted: char) -> Result<(), String> {
        self.skip_blanks();
        if self.eat(wanted) {
            self.skip_blanks();
            return Ok(());
        }
        Err(format!("here should be a '{wanted}'"))
    }

    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
    }

    /// A comment, if there is one, and the end of the line. False at the end of the file.
    fn skip_line(&mut self) -> Result<bool, String> {
        self.skip_blanks();
        if self.peek() == Some('#') {
            let end = self.rest.find('\n').unwrap_or(self.rest.len());
            let (comment, rest) = self.rest.split_at_checked(end).unwrap_or_default();
            let comment = comment.strip_suffix('\r').filter(|_| !rest.is_empty());
            let text = comment.unwrap_or(self.rest.get(..end).unwrap_or_default());
            if text.contains(is_forbidden) {
                return Err("control characters have no place in a comment".to_owned());
            }
            self.rest = rest;
        }
        let rest = self.rest.strip_prefix('\r').unwrap_or(self.rest);
        let Some(rest) = rest.strip_prefix('\n') else {
            return Ok(false);
        };
        self.rest = rest;
        Ok(true)
    }

    fn skip_lines(&mut self) -> Result<(), String> {
        while self.skip_line()? {
            self.line += 1;
        }
        Ok(())
    }

    /// What follows belongs to the next line, which is counted only then: errors about a value are told
    /// with its own.
    fn end_of_line(&mut self) -> Result<(), String> {
        self.skip_blanks();
        match self.peek() {
            None | Some('\n' | '#') => Ok(()),
            Some('\r') if self.rest.starts_with("\r\n") => Ok(()),
            Some(_) => Err("there is more on this line than one setting".to_owned()),
        }
    }

    fn key(&mut self) -> Result<String, String> {
        let mut key = String::new();
        loop {
            self.skip_blanks();
            let before = key.len();
            while let Some(c) = self
                .peek()
                .filter(|c| c.is_ascii_alphanumeric() || "-_".contains(*c))
            {
                key.push(c);
                self.next();
            }
            if key.len() == before {
                return Err("here should be a name of letters, digits, - and _".to_owned());
            }
            self.skip_blanks();
            if !self.eat('.') {
                return Ok(key);
            }
            key.push('.');
        }
    }

    fn value(&mut self, may_be_list: bool) -> Result<Value, String> {
        let (kind, text) = match self.peek() {
            Some('"') => (Kind::Text, self.quoted()?),
            Some('\'') => (Kind::Text, self.literal()?),
            Some('[') if may_be_list => {
                self.list()?;
                (Kind::List, String::new())
            }
            Some('t' | 'f') => (Kind::Flag, self.flag()?),
            Some('0'..='9' | '+' | '-') => (Kind::Number, self.number()?),
            _ => {
                let text =
                    "here should be a text in quotes, a number, true, false, or a list of these";
                return Err(text.to_owned());
            }
        };
        Ok(Value { kind, text })
    }

    fn list(&mut self) -> Result<(), String> {
        self.next();
        loop {
            self.skip_lines()?;
            if self.eat(']') {
                return Ok(());
            }
            self.value(false)?;
            self.skip_lines()?;
            if !self.eat(',') {
                return if self.eat(']') {
                    Ok(())
                } else {
                    Err("here should be a ',' or a ']'".to_owned())
                };
            }
        }
    }

    fn flag(&mut self) -> Result<String, String> {
        for word in ["true", "false"] {
            if let Some(rest) = self.rest.strip_prefix(word) {
                self.rest = rest;
                return Ok(word.to_owned());
            }
        }
        Err("here should be true or false".to_owned())
    }

    fn literal(&mut self) -> Result<String, String> {
        self.next();
        let mut text = String::new();
        loop {
            match self.next() {
                Some('\'') => break,
                Some(c) if !is_forbidden(c) => text.push(c),
                _ => return Err(UNENDED.to_owned()),
            }
        }
        self.no_third('\'', &text)?;
        Ok(text)
    }

    fn quoted(&mut self) -> Result<String, String> {
        self.next();
        let mut text = String::new();
        loop {
            match self.next() {
                Some('"') => break,
                Some('\\') => text.push(self.escaped()?),
                Some(c) if !is_forbidden(c) => text.push(c),
                _ => return Err(UNENDED.to_owned()),
            }
        }
        self.no_third('"', &text)?;
        Ok(text)
    }

    /// Two quotes and a third begin a text of several lines.
    fn no_third(&self, quote: char, text: &str) -> Result<(), String> {
        if text.is_empty() && self.peek() == Some(quote) {
            return Err("texts of several lines are not understood here".to_owned());
        }
        Ok(())
    }

    fn escaped(&mut self) -> Result<char, String> {
        let digits = match self.next() {
            Some('b') => return Ok('\u{8}'),
            Some('t') => return Ok('\t'),
            Some('n') => return Ok('\n'),
            Some('f') => return Ok('\u{c}'),
            Some('r') => return Ok('\r'),
            Some(c @ ('"' | '\\')) => return Ok(c),
            Some('u') => 4,
            Some('U') => 8,
            _ => return Err("there is no such escape".to_owned()),
        };
        let mut number = 0;
        for _ in 0..digits {
            let digit = self.next().and_then(|c| c.to_digit(16));
            number = number * 16 + digit.ok_or("an escaped character needs hexadecimal digits")?;
        }
        char::from_u32(number).ok_or_else(|| "there is no such character".to_owned())
    }

    fn number(&mut self) -> Result<String, String> {
        let mut text = String::new();
        if self.eat('-') {
            text.push('-');
        } else {
            self.eat('+');
        }
        let whole = self.digits(&mut text)?;
        if whole.len() > 1 && whole.starts_with('0') {
            return Err("a number doesn't begin with 0".to_owned());
        }
        if self.eat('.') {
            text.push('.');
            self.digits(&mut text)?;
        }
        match self.peek() {
            Some(c) if c.is_alphanumeric() || "-:_.".contains(c) => {
                Err("here should be a decimal number".to_owned())
            }
            _ => Ok(text),
        }
    }

    /// Digits, with single underscores between them.
    fn digits(&mut self, text: &mut String) -> Result<String, String> {
        let mut digits = String::new();
        loop {
            match self.next() {
                Some(c) if c.is_ascii_digit() => digits.push(c),
                _ => return Err("here should be a digit".to_owned()),
            }
            if !self.eat('_') && !self.peek().is_some_and(|c| c.is_ascii_digit()) {
                break;
            }
        }
        text.push_str(&digits);
        // More would not be a number to everyone who reads the file.
        if digits.len() > 18 {
            return Err("the number is too large".to_owned());
        }
        Ok(digits)
    }
}

const UNENDED: &str = "the text has no end on this line, or a control character in it";

/// Control characters but the tab.
fn is_forbidden(c: char) -> bool {
    c.is_ascii_control() && c != '\t'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Result<Vec<(String, Kind, String)>, Error> {
        let mut found = Vec::new();
        read(text, &mut |name, value| {
            found.push((name.to_owned(), value.kind, value.text.clone()));
            Ok(())
        })?;
        Ok(found)
    }

    #[test]
    fn tables_dots_and_every_kind_of_value_are_read() {
        let text = "# root's\na = 1\r\n\n[init] # PID 1's\nlog = \"de\\u0062ug\"\nother.b = 'C:\\x'\n\
                    t=true\n\tf = false\n[x . y]\nn = +1_000.50\nm = -7\nl = [ \"a\", # one\n 2,\n]\ne = []\n";
        let found = all(text).unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|(name, kind, text)| (name.as_str(), *kind, text.as_str()))
            .collect();
        assert_eq!(
            found,
            [
                ("a", Kind::Number, "1"),
                ("init.log", Kind::Text, "debug"),
                ("init.other.b", Kind::Text, "C:\\x"),
                ("init.t", Kind::Flag, "true"),
                ("init.f", Kind::Flag, "false"),
                ("x.y.n", Kind::Number, "1000.50"),
                ("x.y.m", Kind::Number, "-7"),
                ("x.y.l", Kind::List, ""),
                ("x.y.e", Kind::List, ""),
            ]
        );
    }

    #[test]
    fn what_is_not_understood_is_refused_with_its_line() {
        for (text, line) in [
            ("\n\na = {b = 1}\n", 3),
            ("a = 1\n[[t]]\n", 2),
            ("a = \"\"\"x\"\"\"", 1),
            ("a = '''x'''", 1),
            ("a = 2026-11-21\n", 1),
            ("a = 0x10", 1),
            ("a = 1e3", 1),
            ("a = 05", 1),
            ("a = 1_", 1),
            ("a = .5", 1),
            ("a = nan", 1),
            ("a = 1 b = 2", 1),
            ("a 1", 1),
            ("= 1", 1),
            ("[a", 1),
            ("a = \"x\n\"", 1),
            ("a = \"\\q\"", 1),
            ("a = \"\\ud800\"", 1),
            ("a = 1\n\na = 2\n", 3),
            ("[t]\n[t]\n", 2),
            ("t.a = 1\n[t]\nb = 1\n", 2),
            ("t = 1\n[t.b]\n", 2),
            ("a = [[1]]", 1),
            ("a = [1 2]", 1),
            ("\"a\" = 1", 1),
            ("# \u{1}\n", 1),
            ("a = 9999999999999999999", 1),
        ] {
            let error = all(text).unwrap_err();
            assert_eq!(error.line, line, "{text:?}: {error}");
        }
    }

    #[test]
    fn who_takes_the_values_can_refuse_one_and_the_line_is_told() {
        let refuse = |_: &str, _: &Value| Err("no".to_owned());
        let error = read("\na = [1,\n2]\n", &mut { refuse }).unwrap_err();
        assert_eq!(error.to_string(), "line 3: no");
    }
}
