//! Text that services wrote: shown, coloured, and never obeyed by the terminal.

use super::Tone;

/// How far into a line a level is looked for.
const LEVEL_WITHIN: usize = 96;

/// The text without anything a terminal would act on: control characters, their sequences, and
/// what changes the direction of writing.
pub(crate) fn plain(text: &str) -> String {
    filtered(text, false)
}

/// The same with colours kept.
pub(crate) fn safe(text: &str) -> String {
    let kept = filtered(text, true);
    if kept.contains('\x1b') {
        kept + "\x1b[0m"
    } else {
        kept
    }
}

fn filtered(text: &str, colours: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        if letter == '\x1b' {
            let sequence = sequence_length(rest);
            let (sequence, after) = rest.split_at(sequence);
            if colours && is_colour(sequence) {
                out.push_str(sequence);
            }
            rest = after;
            continue;
        }
        if letter == '\t' {
            out.push_str("    ");
        } else if !letter.is_control() && !turns_writing(letter) {
            out.push(letter);
        }
        rest = rest.get(letter.len_utf8()..).unwrap_or_default();
    }
    out
}

/// Bytes of the escape sequence that the text begins with (ECMA-48, sections 5.4 and 5.6).
fn sequence_length(text: &str) -> usize {
    let mut letters = text.char_indices().skip(1);
    match letters.next() {
        Some((_, '[')) => letters
            .find(|(_, letter)| ('\x40'..='\x7e').contains(letter))
            .map_or(text.len(), |(at, letter)| at + letter.len_utf8()),
        // Strings (titles, links) end with BEL or ST.
        Some((_, ']' | 'P' | 'X' | '^' | '_')) => letters
            .find(|(_, letter)| matches!(letter, '\x07' | '\u{9c}' | '\x1b'))
            .map_or(text.len(), |(at, letter)| {
                if letter == '\x1b' {
                    (at + 2).min(text.len())
                } else {
                    at + letter.len_utf8()
                }
            }),
        Some((at, letter)) => at + letter.len_utf8(),
        None => text.len(),
    }
}

fn is_colour(sequence: &str) -> bool {
    let parameters = sequence
        .strip_prefix("\x1b[")
        .and_then(|rest| rest.strip_suffix('m'));
    parameters.is_some_and(|text| {
        text.bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b';')
    })
}

/// Unicode's bidirectional controls (UAX #9, section 2).
fn turns_writing(letter: char) -> bool {
    matches!(letter, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// What a line is about, by the words that loggers begin their lines with.
pub(crate) fn level_of(line: &str) -> Tone {
    let head: String = line.chars().take(LEVEL_WITHIN).collect();
    let has = |words: &[&str]| words.iter().any(|word| head.contains(word));
    if has(&["ERROR", "CRITICAL", "FATAL", "Traceback", "panicked at"]) {
        Tone::Bad
    } else if has(&["WARN"]) {
        Tone::Busy
    } else if has(&["DEBUG", "TRACE"]) {
        Tone::Dim
    } else {
        Tone::Plain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_stay_and_orders_to_the_terminal_go() {
        let nasty = "a\x1b[31mred\x1b[0m\x1b[2J\x1b]0;title\x07b\x1b]8;;http\x1b\\c\x07\td\u{202e}";
        assert_eq!(plain(nasty), "aredbc    d");
        assert_eq!(safe(nasty), "a\x1b[31mred\x1b[0mbc    d\x1b[0m");
    }

    #[test]
    fn a_sequence_cut_short_takes_the_rest_with_it() {
        for text in ["x\x1b", "x\x1b[31", "x\x1b]0;ti", "x\x1b]0;ti\x1b"] {
            assert_eq!(plain(text), "x");
        }
    }

    #[test]
    fn levels_are_told_by_the_words_of_loggers() {
        assert_eq!(level_of("INFO started"), Tone::Plain);
        assert_eq!(level_of("[ERROR] no token"), Tone::Bad);
        assert_eq!(level_of("WARNING: slow"), Tone::Busy);
    }
}
