//! Which lines `--grep` picks.

use regex_lite::{Regex, RegexBuilder};

/// A regular expression; without a capital letter in it, capitals don't matter.
#[derive(Debug, Clone)]
pub(crate) struct Pattern(Regex);

impl Pattern {
    /// Whether a line has it.
    pub(super) fn matches(&self, line: &str) -> bool {
        self.0.is_match(line)
    }
}

/// A pattern as typed.
pub(crate) fn pattern(text: &str) -> Result<Pattern, String> {
    let any_case = !text.chars().any(char::is_uppercase);
    let regex = RegexBuilder::new(text).case_insensitive(any_case).build();
    regex
        .map(Pattern)
        .map_err(|error| format!("{text:?} is no regular expression: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capitals_matter_only_where_the_pattern_has_one() {
        assert!(pattern("token").unwrap().matches("no TOKEN"));
        assert!(!pattern("Token").unwrap().matches("no TOKEN"));
        assert!(pattern("exit (75|78)$").unwrap().matches("exit 78"));
        assert!(pattern("(").is_err());
    }
}
