//! Blocks in a command line: words with a blank in front, up to an empty one.

/// Where the first block of a command line ends.
///
/// Its words are `words[..end]`, without the blank that [`unblock`] takes off; `words[end + 1..]`
/// is what follows. `None` if nothing ends it.
pub fn end<W: AsRef<[u8]>>(words: &[W]) -> Option<usize> {
    words.iter().position(|word| word.as_ref().is_empty())
}

/// A word of a block without the blank that says so. One without is taken as it is.
pub fn unblock(word: &[u8]) -> &[u8] {
    word.strip_prefix(b" ").unwrap_or(word)
}

#[cfg(test)]
mod tests {
    use super::super::lexer::parse;
    use super::*;

    #[test]
    fn a_block_of_a_parsed_script_is_a_command_line_again() {
        let outer = parse(b"{ foreground { a } b } c").unwrap();
        let end_of_block = end(&outer).unwrap();
        let inner: alloc::vec::Vec<_> = outer[..end_of_block]
            .iter()
            .map(|w| unblock(w).to_vec())
            .collect();
        assert_eq!(inner, parse(b"foreground { a } b").unwrap());
        assert_eq!(outer[end_of_block + 1..], parse(b"c").unwrap());
    }

    #[test]
    fn a_block_without_an_end_is_none() {
        assert_eq!(end(&[&b" a"[..], b" b"]), None);
        assert_eq!(unblock(b"bare"), b"bare");
    }
}
