//! Substitution of `$KEY` and `${KEY}` in a command line, as `define`, `importas` and their kin do.

use alloc::vec::Vec;

/// The characters that part words of a value, unless a command is told others.
pub const BLANKS: &[u8] = b" \n\r\t";

/// How a value is cut into words before it is put in.
#[derive(Clone, Copy, Debug)]
pub struct Cut<'a> {
    /// Several delimiters in a row count as one (`-C`).
    pub crunch: bool,
    /// One delimiter at the end is taken off (`-n`).
    pub chomp: bool,
    /// Delimiters part it into words (`-s`); else it is one.
    pub split: bool,
    /// The delimiters (`-d`). Without any, a value that is split is a row of netstrings.
    pub delimiters: &'a [u8],
}

impl Default for Cut<'_> {
    fn default() -> Self {
        Self {
            crunch: false,
            chomp: false,
            split: false,
            delimiters: BLANKS,
        }
    }
}

impl Cut<'_> {
    /// The words of a value; `None` if it should be netstrings and is not.
    pub fn apply(&self, value: &[u8]) -> Option<Vec<Vec<u8>>> {
        if self.split && self.delimiters.is_empty() {
            return netstrings(value);
        }
        let is_delimiter = |byte: &u8| self.delimiters.contains(byte);
        let mut value = value.to_vec();
        if self.crunch {
            let mut previous = false;
            value.retain(|byte| {
                let repeated = is_delimiter(byte) && previous;
                previous = is_delimiter(byte);
                !repeated
            });
        }
        if self.chomp && value.last().is_some_and(is_delimiter) {
            value.pop();
        }
        if !self.split {
            return Some(alloc::vec![value]);
        }
        if value.is_empty() {
            return Some(Vec::new());
        }
        // A delimiter ends a word; what follows the last one is a word unless it is empty.
        if value.last().is_some_and(is_delimiter) {
            value.pop();
        }
        Some(value.split(is_delimiter).map(<[u8]>::to_vec).collect())
    }
}

/// `5:hello,2:ab,` and so on.
fn netstrings(value: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut rest = value;
    let mut words = Vec::new();
    while !rest.is_empty() {
        let colon = rest.iter().position(|byte| *byte == b':')?;
        let digits = rest.get(..colon)?;
        let length: usize = core::str::from_utf8(digits).ok()?.parse().ok()?;
        rest = rest.get(colon.checked_add(1)?..)?;
        words.push(rest.get(..length)?.to_vec());
        rest = rest.get(length..)?.strip_prefix(b",")?;
    }
    Some(words)
}

/// A key and the words that its value is.
#[derive(Clone, Debug)]
pub struct Substitution {
    /// What is written after the `$`.
    pub key: Vec<u8>,
    /// What comes in its place: a word that has the key is repeated for each of them, and vanishes
    /// for none.
    pub words: Vec<Vec<u8>>,
}

/// Most words a command line may grow to.
const WORDS_MAX: usize = 1 << 20;
/// Most keys of several words that a word can have within that.
const REPEATED_MAX: usize = 20;
/// Most bytes a command line may grow to: more than the kernel takes.
const BYTES_MAX: usize = 1 << 26;

/// Whether text can be a key: it is not empty and has nothing in it that ends a key.
pub fn is_key(key: &[u8]) -> bool {
    !key.is_empty() && !key.iter().any(|byte| ends_key(*byte))
}

fn ends_key(byte: u8) -> bool {
    matches!(byte, b'\\' | b'$' | b'{' | b'}')
}

/// A command line with all keys replaced at once; what was put in is not looked at again. `None`
/// if it would grow beyond what can be executed.
pub fn substitute<W: AsRef<[u8]>>(words: &[W], keys: &[Substitution]) -> Option<Vec<Vec<u8>>> {
    let mut done = Done::default();
    for word in words {
        expand(word.as_ref(), Vec::new(), keys, &mut done)?;
    }
    Some(done.words)
}

/// The command line so far.
#[derive(Default)]
struct Done {
    words: Vec<Vec<u8>>,
    bytes: usize,
    /// How many keys of several words the word at hand has had.
    repeated: usize,
}

impl Done {
    fn push(&mut self, word: Vec<u8>) -> Option<()> {
        self.bytes = self.bytes.saturating_add(word.len());
        self.words.push(word);
        (self.words.len() <= WORDS_MAX && self.bytes <= BYTES_MAX).then_some(())
    }
}

/// Adds `prefix` + every expansion of `rest`.
fn expand(rest: &[u8], mut prefix: Vec<u8>, keys: &[Substitution], done: &mut Done) -> Option<()> {
    let mut at = 0;
    while let Some(byte) = rest.get(at).copied() {
        let tail = rest.get(at..).unwrap_or_default();
        let backslashes = tail.iter().take_while(|byte| **byte == b'\\').count();
        let reference = tail.get(backslashes..).unwrap_or_default();
        let Some((length, key)) = find_key(reference, keys) else {
            let step = backslashes.max(1);
            if backslashes == 0 {
                prefix.push(byte);
            }
            prefix.resize(prefix.len().saturating_add(backslashes), b'\\');
            at = at.saturating_add(step);
            continue;
        };
        prefix.resize(prefix.len().saturating_add(backslashes / 2), b'\\');
        at = at.saturating_add(backslashes).saturating_add(length);
        if backslashes % 2 == 1 {
            prefix.extend_from_slice(reference.get(..length).unwrap_or_default());
            continue;
        }
        if let [value] = key.words.as_slice() {
            prefix.extend_from_slice(value);
            continue;
        }
        if key.words.is_empty() {
            return Some(());
        }
        let suffix = rest.get(at..).unwrap_or_default();
        // Each doubles the words at least, so it needn't go deeper than their number's logarithm.
        done.repeated = done.repeated.saturating_add(1);
        if done.repeated > REPEATED_MAX {
            return None;
        }
        for value in &key.words {
            let mut longer = prefix.clone();
            longer.extend_from_slice(value);
            expand(suffix, longer, keys, done)?;
        }
        done.repeated = done.repeated.saturating_sub(1);
        return Some(());
    }
    done.push(prefix)
}

/// The key that a `$` at the front refers to, and how long that reference is.
fn find_key<'a>(text: &[u8], keys: &'a [Substitution]) -> Option<(usize, &'a Substitution)> {
    let after = text.strip_prefix(b"$")?;
    let (body, around) = match after.strip_prefix(b"{") {
        Some(body) => (body, 3_usize),
        None => (after, 1),
    };
    let end = body.iter().position(|byte| ends_key(*byte));
    if around == 3 && body.get(end?) != Some(&b'}') {
        return None;
    }
    let name = body.get(..end.unwrap_or(body.len()))?;
    let key = keys
        .iter()
        .find(|key| key.key == name && !name.is_empty())?;
    Some((name.len().saturating_add(around), key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use proptest::prelude::*;

    fn key(name: &str, words: &[&str]) -> Substitution {
        Substitution {
            key: name.into(),
            words: words.iter().map(|word| word.as_bytes().to_vec()).collect(),
        }
    }

    fn put(word: &str, keys: &[Substitution]) -> String {
        let words = substitute(&[word.as_bytes()], keys).unwrap();
        words.iter().fold(String::new(), |text, word| {
            text + "<" + &String::from_utf8_lossy(word) + ">"
        })
    }

    #[test]
    fn a_key_is_replaced_only_where_it_ends() {
        let keys = [key("A", &["v"])];
        for (word, expected) in [
            ("$A", "<v>"),
            ("x${A}b", "<xvb>"),
            ("$Ab", "<$Ab>"),
            ("$A b", "<$A b>"),
            ("$A$A", "<vv>"),
            ("$A{", "<v{>"),
            ("{$A}", "<{v}>"),
            ("${$A}", "<${v}>"),
            ("$$A", "<$v>"),
            ("${A", "<${A>"),
            ("$", "<$>"),
            ("$}A", "<$}A>"),
            (" $A", "< v>"),
            ("$B", "<$B>"),
        ] {
            assert_eq!(put(word, &keys), expected, "{word}");
        }
    }

    #[test]
    fn backslashes_before_a_key_are_halved_and_an_odd_one_keeps_it() {
        let keys = [key("A", &["v"])];
        for (word, expected) in [
            (r"a\${A}", r"<a${A}>"),
            (r"a\\${A}", r"<a\v>"),
            (r"a\\\${A}", r"<a\${A}>"),
            (r"\\$B", r"<\\$B>"),
            (r"\$Ax", r"<\$Ax>"),
            (r"\\$A\\", r"<\v\\>"),
            (r"a\b$A", r"<a\bv>"),
        ] {
            assert_eq!(put(word, &keys), expected, "{word}");
        }
    }

    #[test]
    fn a_word_is_repeated_for_each_word_of_a_value() {
        let keys = [key("A", &["1", "2"]), key("B", &["3", "$A"]), key("N", &[])];
        assert_eq!(put("p${A}s", &keys), "<p1s><p2s>");
        assert_eq!(put("$A${B}c", &keys), "<13c><1$Ac><23c><2$Ac>");
        assert_eq!(put("a$N", &keys), "");
    }

    #[test]
    fn values_are_crunched_then_chomped_then_split() {
        let cut = |flags: &str, value: &str| {
            let cut = Cut {
                crunch: flags.contains('C'),
                chomp: flags.contains('n'),
                split: flags.contains('s'),
                delimiters: if flags.contains('d') { b"" } else { b" :" },
            };
            cut.apply(value.as_bytes()).map(|words| {
                let words: Vec<_> = words.iter().map(|w| String::from_utf8_lossy(w)).collect();
                words.join("|")
            })
        };
        assert_eq!(cut("", " x  y ").as_deref(), Some(" x  y "));
        assert_eq!(cut("s", " x  y ").as_deref(), Some("|x||y"));
        assert_eq!(cut("sC", " x  y ").as_deref(), Some("|x|y"));
        assert_eq!(cut("sn", " x  y  ").as_deref(), Some("|x||y"));
        assert_eq!(cut("n", "ab:").as_deref(), Some("ab"));
        assert_eq!(cut("sd", "2:ab,0:,").as_deref(), Some("ab|"));
        assert_eq!(cut("sd", "2:a,"), None);
        assert_eq!(
            Cut {
                split: true,
                ..Cut::default()
            }
            .apply(b""),
            Some(Vec::new())
        );
    }

    proptest! {
        #[test]
        fn words_without_a_dollar_sign_are_left_alone(word in r"[a-c{}\\ ]{0,12}") {
            let keys = [key("a", &["x", "y"])];
            prop_assert_eq!(substitute(&[word.as_bytes()], &keys).unwrap(), [word.as_bytes()]);
        }

        #[test]
        fn a_word_grows_by_the_product_of_its_values(word in r"[$a{}\\]{0,12}", n in 0..4_usize) {
            let values = ["1"; 4];
            let keys = [key("a", &values[..n])];
            let grown = substitute(&[word.as_bytes()], &keys).unwrap().len();
            let one = [key("a", &["\u{1}"])];
            let marked = put(&word, &one).matches('\u{1}').count();
            prop_assert_eq!(grown, n.pow(u32::try_from(marked).unwrap()));
        }
    }
}
