//! Patterns for file names, as `glob(7)` has them.

/// Whether a name (no slash in it) matches a pattern. A dot at the front matches only itself.
pub fn matches(pattern: &[u8], name: &[u8], backslash_is_plain: bool) -> bool {
    if name.first() == Some(&b'.') && pattern.first() != Some(&b'.') {
        let escaped = pattern.get(..2) == Some(br"\.") && !backslash_is_plain;
        if !escaped {
            return false;
        }
    }
    matches_rest(pattern, name, backslash_is_plain)
}

/// Whether a text matches a pattern, where neither dots nor slashes are special.
pub fn matches_text(pattern: &[u8], text: &[u8], backslash_is_plain: bool) -> bool {
    matches_rest(pattern, text, backslash_is_plain)
}

/// Greedy with one place to go back to, so that no pattern takes more than the product of both
/// lengths.
fn matches_rest(pattern: &[u8], name: &[u8], backslash_is_plain: bool) -> bool {
    let (mut pattern, mut name) = (pattern, name);
    let mut star: Option<(&[u8], &[u8])> = None;
    loop {
        if let Some(rest) = pattern.strip_prefix(b"*") {
            star = Some((rest, name));
            pattern = rest;
            continue;
        }
        if let Some((byte, rest)) = name.split_first() {
            if let Some(left) = one(pattern, *byte, backslash_is_plain) {
                (pattern, name) = (left, rest);
                continue;
            }
        } else if pattern.is_empty() {
            return true;
        }
        let Some((after, [_, tried @ ..])) = star else {
            return false;
        };
        star = Some((after, tried));
        (pattern, name) = (after, tried);
    }
}

/// What is left of the pattern after it took this byte.
fn one(pattern: &[u8], byte: u8, backslash_is_plain: bool) -> Option<&[u8]> {
    match pattern {
        [b'?', rest @ ..] => Some(rest),
        [b'[', rest @ ..] => match set(rest, byte, backslash_is_plain) {
            Some((true, rest)) => Some(rest),
            Some((false, _)) => None,
            None => (byte == b'[').then_some(rest),
        },
        [b'\\', literal, rest @ ..] if !backslash_is_plain => (*literal == byte).then_some(rest),
        [literal, rest @ ..] => (*literal == byte).then_some(rest),
        [] => None,
    }
}

/// A set after its `[`: whether the byte is in it, and what follows; `None` if it isn't closed.
fn set(pattern: &[u8], byte: u8, backslash_is_plain: bool) -> Option<(bool, &[u8])> {
    let (negated, mut rest) = match pattern {
        [b'!' | b'^', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let mut found = false;
    let mut first = true;
    loop {
        match rest {
            [b']', after @ ..] if !first => return Some((found != negated, after)),
            [b'[', b':', after @ ..] => {
                let end = after.windows(2).position(|pair| pair == b":]")?;
                found |= in_class(after.get(..end)?, byte);
                rest = after.get(end.checked_add(2)?..)?;
            }
            _ => {
                let (low, after) = literal(rest, backslash_is_plain)?;
                rest = after;
                let mut high = low;
                if let [b'-', next, ..] = rest
                    && *next != b']'
                {
                    (high, rest) = literal(rest.get(1..)?, backslash_is_plain)?;
                }
                found |= (low..=high).contains(&byte);
            }
        }
        first = false;
    }
}

fn literal(pattern: &[u8], backslash_is_plain: bool) -> Option<(u8, &[u8])> {
    match pattern {
        [b'\\', byte, rest @ ..] if !backslash_is_plain => Some((*byte, rest)),
        [byte, rest @ ..] => Some((*byte, rest)),
        [] => None,
    }
}

/// Whether a byte is in a class of `[:name:]`, in the C locale; unknown ones have no members.
pub(crate) fn in_class(name: &[u8], byte: u8) -> bool {
    match name {
        b"alnum" => byte.is_ascii_alphanumeric(),
        b"alpha" => byte.is_ascii_alphabetic(),
        b"blank" => byte == b' ' || byte == b'\t',
        b"cntrl" => byte.is_ascii_control(),
        b"digit" => byte.is_ascii_digit(),
        b"graph" => byte.is_ascii_graphic(),
        b"lower" => byte.is_ascii_lowercase(),
        b"print" => byte.is_ascii_graphic() || byte == b' ',
        b"punct" => byte.is_ascii_punctuation(),
        b"space" => byte.is_ascii_whitespace() || byte == 11,
        b"upper" => byte.is_ascii_uppercase(),
        b"xdigit" => byte.is_ascii_hexdigit(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(pattern: &str, yes: &[&str], no: &[&str]) {
        for name in yes {
            assert!(
                matches(pattern.as_bytes(), name.as_bytes(), false),
                "{pattern} {name}"
            );
        }
        for name in no {
            assert!(
                !matches(pattern.as_bytes(), name.as_bytes(), false),
                "{pattern} {name}"
            );
        }
    }

    #[test]
    fn stars_question_marks_and_sets_match() {
        check("*.c", &["a.c", "a.b.c"], &["a.cc", ".c", ""]);
        check("a?c*", &["abc", "abcd"], &["ac", "a.d"]);
        check("[ab].c", &["a.c", "b.c"], &["c.c"]);
        check("[!a-c]x", &["dx"], &["ax", "cx"]);
        check("[]x]", &["]", "x"], &["a"]);
        check("[[:digit:]_]*", &["1a", "_"], &["a"]);
        check("[a", &["[a"], &["a"]);
    }

    #[test]
    fn a_backslash_takes_the_meaning_away() {
        check(r"\*\[x]", &["*[x]"], &["a[x]"]);
        assert!(matches(br"\*", br"\x", true));
    }

    #[test]
    fn a_dot_at_the_front_is_matched_by_a_dot_only() {
        check(".*", &[".", ".x"], &["x"]);
        check("[.]x", &[], &[".x"]);
        check(r"\.x", &[".x"], &[]);
    }

    proptest! {
        #[test]
        fn a_name_matches_itself_and_a_star(name in "[a-z0-9.-]{1,12}", pattern in r"[*?a\[\]!\\-]{0,12}") {
            prop_assert!(matches(name.as_bytes(), name.as_bytes(), false));
            prop_assert_eq!(matches(b"*", name.as_bytes(), false), !name.starts_with('.'));
            matches(pattern.as_bytes(), name.as_bytes(), false);
        }
    }
}
