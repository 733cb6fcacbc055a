//! What programs print, as HTML: colours (ECMA-48, SGR) become classes, every other control
//! sequence is left out, and everything else is text. Nothing of it is ever markup.

use maud::{Markup, PreEscaped};

/// Longest control sequence that is looked for the end of, in bytes. An unended one is text.
const MAX_SEQUENCE: usize = 256;

/// What is in force.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of its own on the terminal"
)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Style {
    bold: bool,
    dim: bool,
    italic: bool,
    underline: bool,
    /// 0 to 7, 8 to 15 the bright ones.
    colour: Option<u8>,
}

impl Style {
    fn classes(self) -> String {
        let mut classes = Vec::new();
        if let Some(colour) = self.colour {
            classes.push(format!("c{colour}"));
        }
        for (on, class) in [
            (self.bold, "cb"),
            (self.dim, "cd"),
            (self.italic, "ci"),
            (self.underline, "cu"),
        ] {
            if on {
                classes.push(class.to_owned());
            }
        }
        classes.join(" ")
    }

    /// Applies the parameters of an SGR sequence. Of extended colours the 16 named ones are shown.
    fn apply(&mut self, parameters: &str) {
        let mut numbers = parameters
            .split([';', ':'])
            .map(|text| text.parse::<u16>().unwrap_or(0));
        while let Some(number) = numbers.next() {
            match number {
                0 => *self = Self::default(),
                1 => self.bold = true,
                2 => self.dim = true,
                3 => self.italic = true,
                4 => self.underline = true,
                22 => (self.bold, self.dim) = (false, false),
                23 => self.italic = false,
                24 => self.underline = false,
                30..=37 => self.colour = u8::try_from(number - 30).ok(),
                90..=97 => self.colour = u8::try_from(number - 90 + 8).ok(),
                39 => self.colour = None,
                38 => self.colour = extended(&mut numbers),
                48 => drop(extended(&mut numbers)),
                _ => {}
            }
        }
    }
}

/// `5;n` or `2;r;g;b`.
fn extended(numbers: &mut impl Iterator<Item = u16>) -> Option<u8> {
    match numbers.next() {
        Some(5) => numbers
            .next()
            .and_then(|n| u8::try_from(n).ok())
            .filter(|n| *n < 16),
        Some(2) => {
            let _ = (numbers.next(), numbers.next(), numbers.next());
            None
        }
        _ => None,
    }
}

/// A line as HTML.
pub(crate) fn show(line: &str) -> Markup {
    let mut out = String::with_capacity(line.len() + line.len() / 8);
    let mut style = Style::default();
    let mut open = false;
    for piece in pieces(line) {
        match piece {
            Piece::Text(text) => escape(&mut out, text),
            Piece::Sgr(parameters) => {
                let before = style;
                style.apply(parameters);
                if style == before {
                    continue;
                }
                if open {
                    out.push_str("</span>");
                }
                open = style != Style::default();
                if open {
                    out.push_str("<span class=\"");
                    out.push_str(&style.classes());
                    out.push_str("\">");
                }
            }
        }
    }
    if open {
        out.push_str("</span>");
    }
    PreEscaped(out)
}

/// A line without any control sequence, for searching in it.
pub(crate) fn plain(line: &str) -> String {
    let text = pieces(line).into_iter().filter_map(|piece| match piece {
        Piece::Text(text) => Some(text),
        Piece::Sgr(_) => None,
    });
    text.collect::<String>().replace(is_control, "\u{fffd}")
}

enum Piece<'a> {
    Text(&'a str),
    Sgr(&'a str),
}

fn pieces(line: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = line;
    while let Some(at) = rest.find('\u{1b}') {
        let (text, sequence) = rest.split_at(at);
        if !text.is_empty() {
            pieces.push(Piece::Text(text));
        }
        let length = sequence_length(sequence.as_bytes());
        let (sequence, after) = sequence.split_at(length);
        let sgr = sequence
            .strip_prefix("\u{1b}[")
            .and_then(|inner| inner.strip_suffix('m'));
        if let Some(parameters) = sgr
            && parameters
                .bytes()
                .all(|byte| byte.is_ascii_digit() || matches!(byte, b';' | b':'))
        {
            pieces.push(Piece::Sgr(parameters));
        }
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest));
    }
    pieces
}

/// Bytes of the control sequence that begins here (ECMA-48: CSI, OSC and the other strings, else
/// one character after ESC). All of them are ASCII, so this is where a character begins.
fn sequence_length(bytes: &[u8]) -> usize {
    let limit = bytes.len().min(MAX_SEQUENCE);
    let tail = |from: usize| bytes.get(from..limit).unwrap_or_default();
    match bytes.get(1) {
        Some(b'[') => {
            let end = tail(2).iter().position(|byte| !matches!(byte, 0x20..=0x3f));
            match end {
                Some(end) if matches!(bytes.get(2 + end), Some(0x40..=0x7e)) => end + 3,
                _ => 1,
            }
        }
        Some(b']' | b'P' | b'_' | b'^' | b'X') => {
            let body = tail(2);
            let bell = body
                .iter()
                .position(|byte| *byte == 0x07)
                .map(|end| end + 3);
            let string_end = body
                .windows(2)
                .position(|two| two == b"\x1b\\")
                .map(|end| end + 4);
            bell.into_iter().chain(string_end).min().unwrap_or(1)
        }
        Some(0x20..=0x7e) => 2,
        _ => 1,
    }
}

/// Controls, and what makes text read in another order than it is written (U+202A to U+202E,
/// U+2066 to U+2069): it would show other words than the log holds.
fn is_control(c: char) -> bool {
    (c.is_control() && c != '\t') || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if is_control(c) => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(line: &str) -> String {
        show(line).into_string()
    }

    #[test]
    fn colours_become_classes_and_text_is_escaped() {
        assert_eq!(
            shown("a \u{1b}[1;31m<b>\u{1b}[0m c"),
            "a <span class=\"c1 cb\">&lt;b&gt;</span> c"
        );
        assert_eq!(
            shown("\u{1b}[38;5;2mx\u{1b}[39my"),
            "<span class=\"c2\">x</span>y"
        );
        assert_eq!(shown("\u{1b}[38;2;1;2;3mx"), "x");
    }

    #[test]
    fn what_steers_a_terminal_is_left_out() {
        assert_eq!(
            shown("\u{1b}]0;title\u{7}a\u{1b}[2Jb\u{1b}]8;;http://x\u{1b}\\c"),
            "abc"
        );
        assert_eq!(shown("\u{7}a\rb\u{0}"), "\u{fffd}a\u{fffd}b\u{fffd}");
        assert_eq!(shown("user\u{202e}txt"), "user\u{fffd}txt");
        assert_eq!(plain("\u{1b}[31merror\u{1b}[0m: x"), "error: x");
    }

    #[test]
    fn an_unended_sequence_hides_nothing_that_follows() {
        assert_eq!(shown("\u{1b}]0;evil <script>"), "]0;evil &lt;script&gt;");
        assert_eq!(shown("\u{1b}"), "");
        assert_eq!(shown("\u{1b}[ä"), "[ä");
    }

    #[test]
    fn no_bytes_make_markup_or_a_panic() {
        let alphabet = [
            "\u{1b}", "[", "]", "m", "31", ";", "<", "\"", "ä", "\u{7}", "\\", "P", " ",
        ];
        let mut state = 7_usize;
        for _ in 0..3000 {
            let mut line = String::new();
            for _ in 0..12 {
                state = state.wrapping_mul(1_103_515_245).wrapping_add(12_345);
                line.push_str(alphabet[state / 65_536 % alphabet.len()]);
            }
            let html = shown(&line);
            assert!(
                !html
                    .replace("<span class=\"c", "")
                    .replace("</span>", "")
                    .contains('<'),
                "{line:?}"
            );
        }
    }
}
