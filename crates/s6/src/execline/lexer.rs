//! From a script's text to the one command line that it is.

use alloc::vec::Vec;
use core::fmt;

/// What is wrong with a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// The line it was found on, counted from 1.
    pub line: usize,
    /// What it is.
    pub problem: Problem,
}

/// What can be wrong with a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The script ends inside quotes or after a backslash.
    Unfinished,
    /// An escape like `\0x` that names no byte from 1 to 255.
    BadEscape,
    /// A block that isn't closed.
    OpenBlock,
    /// A `}` that closes nothing.
    UnmatchedBrace,
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let problem = match self.problem {
            Problem::Unfinished => "syntax error: it ends inside a word",
            Problem::BadEscape => "syntax error: an escape that is no byte from 1 to 255",
            Problem::OpenBlock => "unmatched {",
            Problem::UnmatchedBrace => "unmatched }",
        };
        write!(f, "line {}: {problem}", self.line)
    }
}

impl core::error::Error for SyntaxError {}

/// The script's command line: each word with as many blanks in front as the blocks it is in, an
/// empty word (with the blanks of what is around it) for each end of a block.
pub fn parse(script: &[u8]) -> Result<Vec<Vec<u8>>, SyntaxError> {
    let end = script.iter().position(|byte| *byte == 0);
    let mut lexer = Lexer {
        script: script
            .get(..end.unwrap_or(script.len()))
            .unwrap_or_default(),
        at: 0,
    };
    let mut words = Vec::new();
    let mut depth = 0_usize;
    loop {
        match lexer.next_word(depth)? {
            Word::Open => depth = depth.saturating_add(1),
            Word::Close => {
                depth = depth
                    .checked_sub(1)
                    .ok_or_else(|| lexer.error(Problem::UnmatchedBrace))?;
                words.push(blanks(depth));
            }
            Word::Plain(word) => words.push(word),
            Word::End if depth == 0 => return Ok(words),
            Word::End => return Err(lexer.error(Problem::OpenBlock)),
        }
    }
}

enum Word {
    Plain(Vec<u8>),
    Open,
    Close,
    End,
}

struct Lexer<'a> {
    script: &'a [u8],
    at: usize,
}

impl Lexer<'_> {
    fn peek(&self) -> Option<u8> {
        self.script.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at = self.at.saturating_add(1);
        Some(byte)
    }

    fn error(&self, problem: Problem) -> SyntaxError {
        let before = self.script.get(..self.at).unwrap_or_default();
        let line = before.split(|byte| *byte == b'\n').count();
        SyntaxError { line, problem }
    }

    fn next_word(&mut self, depth: usize) -> Result<Word, SyntaxError> {
        self.skip_blanks();
        let mut word = blanks(depth);
        let Some(first) = self.peek() else {
            return Ok(Word::End);
        };
        let is_alone = self.script.get(self.at.saturating_add(1));
        let is_alone = is_alone.is_none_or(|next| is_blank(*next));
        if is_alone && (first == b'{' || first == b'}') {
            self.next();
            return match first {
                b'}' => Ok(Word::Close),
                _ => Ok(Word::Open),
            };
        }
        while let Some(byte) = self.next() {
            match byte {
                b'"' => self.quoted(&mut word)?,
                b'\\' => match self.next() {
                    Some(escaped) => word.push(escaped),
                    None => return Err(self.error(Problem::Unfinished)),
                },
                byte if is_blank(byte) => {
                    // It ends the word, and counts as read for the line of an error after it.
                    self.at = self.at.saturating_sub(1);
                    break;
                }
                byte => word.push(byte),
            }
        }
        Ok(Word::Plain(word))
    }

    /// Blanks, comments, and backslashes that stand alone at the end of a line or of the script.
    fn skip_blanks(&mut self) {
        loop {
            let rest = self.script.get(self.at..).unwrap_or_default();
            match rest {
                [b'\\'] => self.at = self.script.len(),
                [b'\\', b'\n', ..] => self.at = self.at.saturating_add(2),
                [b'#', ..] => {
                    let length = rest.iter().position(|byte| *byte == b'\n');
                    self.at = self.at.saturating_add(length.unwrap_or(rest.len()));
                }
                [byte, ..] if is_blank(*byte) => self.at = self.at.saturating_add(1),
                _ => return,
            }
        }
    }

    fn quoted(&mut self, word: &mut Vec<u8>) -> Result<(), SyntaxError> {
        loop {
            match self.next() {
                Some(b'"') => return Ok(()),
                Some(b'\\') => self.escape(word)?,
                Some(byte) => word.push(byte),
                None => return Err(self.error(Problem::Unfinished)),
            }
        }
    }

    fn escape(&mut self, word: &mut Vec<u8>) -> Result<(), SyntaxError> {
        let Some(byte) = self.next() else {
            return Err(self.error(Problem::Unfinished));
        };
        word.push(match byte {
            b'\n' => return Ok(()),
            b'0' if self.peek() == Some(b'x') => {
                self.next();
                self.number(0, 16, 2)?
            }
            b'0' => self.number(0, 8, 3)?,
            b'1'..=b'9' => self.number(u32::from(byte - b'0'), 10, 2)?,
            byte => escaped(byte),
        });
        Ok(())
    }

    /// At most `digits` more digits of a number that began with `value`.
    fn number(&mut self, value: u32, radix: u32, digits: usize) -> Result<u8, SyntaxError> {
        let mut value = value;
        for _ in 0..digits {
            let digit = self
                .peek()
                .and_then(|byte| char::from(byte).to_digit(radix));
            let Some(digit) = digit else { break };
            value = value.saturating_mul(radix).saturating_add(digit);
            self.next();
        }
        match u8::try_from(value) {
            Ok(byte) if byte != 0 => Ok(byte),
            _ => Err(self.error(Problem::BadEscape)),
        }
    }
}

/// What a letter after a backslash means, as in C; any other byte is itself.
pub(super) fn escaped(byte: u8) -> u8 {
    match byte {
        b'a' => 7,
        b'b' => 8,
        b't' => b'\t',
        b'n' => b'\n',
        b'v' => 11,
        b'f' => 12,
        b'r' => b'\r',
        byte => byte,
    }
}

fn is_blank(byte: u8) -> bool {
    byte <= b' '
}

fn blanks(depth: usize) -> Vec<u8> {
    alloc::vec![b' '; depth]
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use proptest::prelude::*;

    fn words(script: &str) -> String {
        match parse(script.as_bytes()) {
            Ok(words) => words.iter().fold(String::new(), |text, word| {
                text + "<" + &String::from_utf8_lossy(word) + ">"
            }),
            Err(error) => alloc::format!("{error}"),
        }
    }

    #[test]
    fn words_are_parted_by_blanks_and_joined_by_quotes() {
        assert_eq!(words("a \"b c\"\td\"e f\"g \"\""), "<a><b c><de fg><>");
        assert_eq!(words("a'b $x;|&`*"), "<a'b><$x;|&`*>");
        assert_eq!(words(""), "");
        assert_eq!(words("a\0b"), "<a>");
    }

    #[test]
    fn a_comment_starts_a_word() {
        assert_eq!(
            words("#!/bin/x\na #b\nc#d \\#e \"#f\" {#g"),
            "<a><c#d><#e><#f><{#g>"
        );
    }

    #[test]
    fn a_block_is_words_with_a_blank_in_front_and_an_empty_one() {
        assert_eq!(words("args { a { b } c } d"), "<args>< a><  b>< >< c><><d>");
        assert_eq!(words("a{ {b \"{\" \\} {} }x"), "<a{><{b><{><}><{}><}x>");
    }

    #[test]
    fn backslashes_outside_quotes_take_the_next_byte_as_it_is() {
        assert_eq!(words("\\n \\\" a\\ b \\\\"), "<n><\"><a b><\\>");
        assert_eq!(words("a \\\n b \\"), "<a><b>");
        assert_eq!(words("a\\\nb"), "<a\nb>");
    }

    #[test]
    fn escapes_in_quotes_name_bytes() {
        assert_eq!(
            words(r#""\t\n\q\"\\" "\0x41B\0101B\65B\0x141""#),
            "<\t\nq\"\\><ABABAB\u{14}1>"
        );
        assert_eq!(words("\"a\\\nb\""), "<ab>");
        for bad in [r"\0", r"\0xg", r"\08", r"\256", r"\0777"] {
            let script = alloc::format!("a\n\"{bad}\"");
            let problem = parse(script.as_bytes()).map_err(|error| (error.line, error.problem));
            assert_eq!(problem, Err((2, Problem::BadEscape)), "{bad}");
        }
    }

    #[test]
    fn what_is_not_closed_is_named_with_its_line() {
        assert_eq!(words("a\n}"), "line 2: unmatched }");
        assert_eq!(words("a {\nb"), "line 2: unmatched {");
        assert_eq!(words("\"b"), "line 1: syntax error: it ends inside a word");
        assert_eq!(words("b\\"), "line 1: syntax error: it ends inside a word");
    }

    proptest! {
        #[test]
        fn any_word_survives_quoting(list in proptest::collection::vec("[^\0]{0,12}", 0..6)) {
            let quoted: Vec<String> = list.iter().map(|word| word.replace('\\', "\\\\").replace('"', "\\\"")).collect();
            let script = alloc::format!("\"{}\"", quoted.join("\"\n\""));
            let script = if list.is_empty() { String::new() } else { script };
            let parsed = parse(script.as_bytes()).unwrap();
            prop_assert_eq!(parsed, list.iter().map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>());
        }

        #[test]
        fn blocks_are_balanced_in_every_script_that_parses(script in r#"[ab{} "\\\n]{0,40}"#) {
            if let Ok(words) = parse(script.as_bytes()) {
                let depth = |word: &Vec<u8>| word.iter().take_while(|byte| **byte == b' ').count();
                prop_assert!(words.last().is_none_or(|word| depth(word) == 0 || word.len() > depth(word) || script.contains('"') || script.contains('\\')));
            }
        }
    }
}
