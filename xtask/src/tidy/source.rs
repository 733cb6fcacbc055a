//! Rust source with what is no shipped code blanked out.
//!
//! No parser: comments and literals become spaces of the same length, so that what remains can be
//! searched for words and braces, and every place keeps its line.

/// One source file.
pub(crate) struct Source {
    /// Without comments and the contents of literals.
    pub(crate) masked: String,
    /// The same without tests: empty lines where they were.
    pub(crate) code: String,
    /// Modules in files of their own that exist for tests only.
    pub(crate) test_modules: Vec<String>,
}

impl Source {
    /// Takes a file apart; all of a file that is `only_tests` is test code.
    pub(crate) fn parse(text: &str, only_tests: bool) -> Self {
        let masked = mask(text);
        let (mut code, test_modules) = without_tests(&masked);
        if only_tests {
            code = blank(&code);
        }
        Self {
            masked,
            code,
            test_modules,
        }
    }

    /// Every occurrence of `word` in shipped code that is not part of a longer word: line numbers.
    pub(crate) fn lines_with(&self, word: &str) -> Vec<usize> {
        occurrences(&self.code, word)
            .map(|at| line_of(&self.code, at))
            .collect()
    }
}

/// The offsets of `word` where neither neighbour continues a word that its own edge is part of.
pub(crate) fn occurrences<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word)
        .map(|(at, _)| at)
        .filter(move |&at| {
            let joined_before = word.starts_with(is_word) && text[..at].ends_with(is_word);
            let joined_after =
                word.ends_with(is_word) && text[at + word.len()..].starts_with(is_word);
            !joined_before && !joined_after
        })
}

/// The number, from 1, of the line that an offset is in.
pub(crate) fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// The offset of the brace that closes the one at `open`; the end of the text if none does.
pub(crate) fn closing(text: &str, open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, c) in text[open..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => return open + at,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    text.len()
}

/// Blanks every item under `#[cfg(test)]`, and names the modules among them that are files.
fn without_tests(masked: &str) -> (String, Vec<String>) {
    let mut code = masked.to_owned();
    let mut modules = Vec::new();
    for marker in ["#[cfg(test)]", "#[cfg(any(test"] {
        while let Some(start) = code.find(marker) {
            let body = start + marker.len();
            let end = code[body..]
                .find(['{', ';'])
                .map_or(code.len(), |at| body + at);
            let end = if code[end..].starts_with('{') {
                closing(&code, end)
            } else {
                end
            };
            let item = &code[body..end];
            if let Some(name) = item
                .trim()
                .strip_prefix("mod ")
                .filter(|name| !name.contains('{'))
            {
                modules.push(name.trim().to_owned());
            }
            let stop = code.len().min(end + 1);
            let blanked = blank(&code[start..stop]);
            code.replace_range(start..stop, &blanked);
        }
    }
    (code, modules)
}

fn blank(text: &str) -> String {
    text.chars()
        .map(|c| if c == '\n' { '\n' } else { ' ' })
        .collect()
}

/// Replaces comments and the contents of literals by spaces.
fn mask(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let hidden = comment(rest).or_else(|| literal(rest, &out));
        let length = hidden.unwrap_or_else(|| first.len_utf8()).min(rest.len());
        let (piece, after) = rest.split_at(length);
        if hidden.is_some() {
            out.push_str(&blank(piece));
        } else {
            out.push_str(piece);
        }
        rest = after;
    }
    out
}

/// The length of the comment that `text` begins with.
fn comment(text: &str) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if !text.starts_with("/*") {
        return None;
    }
    let (mut depth, mut at) = (0_usize, 0);
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return Some(at);
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    Some(text.len())
}

/// The length of the string or character literal that `text` begins with; `before` is what precedes it.
fn literal(text: &str, before: &str) -> Option<usize> {
    if let Some(length) = raw_string(text, before) {
        return Some(length);
    }
    if text.starts_with('"') {
        return Some(quoted(text, '"'));
    }
    let inside = text.strip_prefix('\'')?;
    let first = inside.chars().next()?;
    if first == '\\' {
        return Some(quoted(text, '\''));
    }
    // A quote two characters on makes it a character; otherwise it is a lifetime.
    inside[first.len_utf8()..]
        .starts_with('\'')
        .then(|| first.len_utf8() + 2)
}

/// `r"…"`, `r#"…"#`, and the same after `b` or `c`, which stay as words of their own.
fn raw_string(text: &str, before: &str) -> Option<usize> {
    let inner = text.strip_prefix('r')?;
    let hashes = inner.len() - inner.trim_start_matches('#').len();
    if !inner[hashes..].starts_with('"')
        || before.ends_with(|c: char| c.is_alphanumeric() && c != 'b' && c != 'c' || c == '_')
    {
        return None;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    let body = 1 + hashes + 1;
    Some(
        text[body..]
            .find(&end)
            .map_or(text.len(), |at| body + at + end.len()),
    )
}

fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked_and_lines_kept() {
        let text = "a(); // b\n/* c /* d */ e */ f(\"g \\\" h\", 'i', b'\\'', r#\"j\"k\"#);\n";
        let masked = mask(text);
        assert_eq!(masked.lines().count(), text.lines().count());
        assert_eq!(
            masked.split_whitespace().collect::<String>(),
            "a();f(,,b,);"
        );
    }

    #[test]
    fn a_lifetime_is_no_character() {
        assert_eq!(mask("fn a<'b>(c: &'b str) {}"), "fn a<'b>(c: &'b str) {}");
    }

    #[test]
    fn items_for_tests_are_no_code() {
        let source = Source::parse(
            "fn a() {}\n#[cfg(test)]\nmod tests {\n fn b() { if c {} }\n}\nfn d() {}\n",
            false,
        );
        assert_eq!(
            source.code.split_whitespace().collect::<Vec<_>>(),
            ["fn", "a()", "{}", "fn", "d()", "{}"]
        );
        assert_eq!(source.lines_with("d"), [6]);
    }

    #[test]
    fn a_module_file_for_tests_is_named() {
        assert_eq!(
            Source::parse("#[cfg(test)]\nmod world;\nfn a() {}", false).test_modules,
            ["world"]
        );
    }

    #[test]
    fn a_word_is_not_found_inside_another() {
        assert_eq!(
            occurrences("unsafe unsafe_code is_unsafe", "unsafe").collect::<Vec<_>>(),
            [0]
        );
        assert_eq!(
            occurrences("a.unwrap() b.unwrap_or()", ".unwrap()").collect::<Vec<_>>(),
            [1]
        );
    }
}
