//! Files of `key = value` lines, as `envfile` reads them.

use alloc::vec::Vec;

use super::lexer::escaped;

/// A file that makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadFile {
    /// The line, counted from 1.
    pub line: usize,
}

/// A key and its value.
pub type Assignment = (Vec<u8>, Vec<u8>);

/// The assignments of a file, in their order.
pub fn parse(text: &[u8]) -> Result<Vec<Assignment>, BadFile> {
    let mut reader = Reader {
        rest: text,
        line: 1,
    };
    let mut found = Vec::new();
    while let Some(byte) = reader.skip_blank(true) {
        if byte == b'#' {
            reader.skip_line();
        } else {
            found.push((reader.key()?, reader.value()?));
        }
    }
    Ok(found)
}

struct Reader<'a> {
    rest: &'a [u8],
    line: usize,
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\x0c' | b'\r')
}

impl Reader<'_> {
    fn bad<T>(&self) -> Result<T, BadFile> {
        Err(BadFile { line: self.line })
    }

    /// What comes next; a null character ends the file as its end does.
    fn peek(&self) -> Option<u8> {
        self.rest.first().copied().filter(|byte| *byte != 0)
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.rest = self.rest.get(1..).unwrap_or_default();
        self.line = self.line.saturating_add(usize::from(byte == b'\n'));
        Some(byte)
    }

    fn skip_blank(&mut self, newlines_too: bool) -> Option<u8> {
        while let Some(byte) = self.peek() {
            if !(is_blank(byte) || newlines_too && byte == b'\n') {
                return Some(byte);
            }
            self.next();
        }
        None
    }

    fn skip_line(&mut self) {
        while self.next().is_some_and(|byte| byte != b'\n') {}
    }

    /// The key, and the sign after it.
    fn key(&mut self) -> Result<Vec<u8>, BadFile> {
        let mut key = Vec::new();
        while let Some(byte) = self.peek() {
            if byte == b'=' || is_blank(byte) {
                break;
            }
            if matches!(byte, b'\n' | b'\\' | b'"') {
                return self.bad();
            }
            key.push(byte);
            self.next();
        }
        match self.skip_blank(false) {
            Some(b'=') if !key.is_empty() => {
                self.next();
                Ok(key)
            }
            _ => self.bad(),
        }
    }

    /// The value up to the end of the line, without the blanks around it that aren't quoted.
    fn value(&mut self) -> Result<Vec<u8>, BadFile> {
        let mut value = Vec::new();
        // What is as long as this ends in something that counts.
        let mut kept = 0;
        self.skip_blank(false);
        while let Some(byte) = self.peek() {
            match byte {
                b'\n' => break,
                b'"' => self.quoted(&mut value)?,
                b'\\' => {
                    let line = self.line;
                    self.next();
                    match self.next() {
                        Some(b'\n') => continue,
                        Some(byte) if is_blank(byte) || matches!(byte, b'=' | b'\\' | b'"') => {
                            value.push(byte);
                        }
                        _ => return Err(BadFile { line }),
                    }
                }
                byte => {
                    value.push(byte);
                    self.next();
                    if is_blank(byte) {
                        continue;
                    }
                }
            }
            kept = value.len();
        }
        value.truncate(kept);
        self.next();
        Ok(value)
    }

    fn quoted(&mut self, value: &mut Vec<u8>) -> Result<(), BadFile> {
        self.next();
        loop {
            match self.peek() {
                None | Some(b'\n') => return self.bad(),
                Some(b'"') => {
                    self.next();
                    return Ok(());
                }
                Some(b'\\') => {
                    self.next();
                    self.escape(value)?;
                }
                Some(byte) => {
                    value.push(byte);
                    self.next();
                }
            }
        }
    }

    /// What follows a backslash in quotes, as in C.
    fn escape(&mut self, value: &mut Vec<u8>) -> Result<(), BadFile> {
        let Some(byte) = self.peek() else {
            return self.bad();
        };
        if byte.is_ascii_digit() && byte < b'8' {
            value.push(self.digits(8, 3));
            return Ok(());
        }
        self.next();
        value.push(match byte {
            b'\n' => return Ok(()),
            b'x' => {
                let is_hex = |at: usize| self.rest.get(at).is_some_and(u8::is_ascii_hexdigit);
                if !is_hex(0) || !is_hex(1) {
                    return self.bad();
                }
                self.digits(16, 2)
            }
            byte => escaped(byte),
        });
        Ok(())
    }

    /// A byte of so many digits at most.
    fn digits(&mut self, base: u32, most: usize) -> u8 {
        let mut number = 0_u32;
        for _ in 0..most {
            let digit = self.peek().and_then(|byte| char::from(byte).to_digit(base));
            let Some(digit) = digit else { break };
            number = number.wrapping_mul(base).wrapping_add(digit);
            self.next();
        }
        u8::try_from(number & 0xff).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use alloc::vec;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<Vec<(String, String)>, BadFile> {
        let text_of = |bytes| String::from_utf8(bytes).unwrap();
        let pairs = parse(text.as_bytes())?.into_iter();
        Ok(pairs
            .map(|(key, value)| (text_of(key), text_of(value)))
            .collect())
    }

    #[test]
    fn keys_values_comments_and_quotes_are_read() {
        let text =
            "# c\n\n A = 1 2  \nB=\n  # d\nC = \" x \" y\\\n z\nD=it's#1 \nE=\"\\x41\\102\\n\\\"\"";
        let expected = [
            ("A", "1 2"),
            ("B", ""),
            ("C", " x  y z"),
            ("D", "it's#1"),
            ("E", "AB\n\""),
        ];
        let expected = expected.map(|(key, value)| (key.into(), value.into()));
        assert_eq!(read(text), Ok(expected.into()));
    }

    #[test]
    fn what_makes_no_sense_is_named_with_its_line() {
        for text in [
            "A",
            "A B=1",
            "=1",
            "A=\"x",
            "A=\"\\xg1\"",
            "A=\\q",
            "\"A\"=1",
        ] {
            let text = alloc::format!("X=1\n{text}\n");
            assert_eq!(read(&text), Err(BadFile { line: 2 }), "{text:?}");
        }
    }

    #[test]
    fn a_null_character_ends_the_file() {
        assert_eq!(parse(b"A=1\0B=2"), Ok(vec![(b"A".to_vec(), b"1".to_vec())]));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(text: Vec<u8>) {
            let _ = parse(&text);
        }
    }
}
