//! Service names.

use alloc::borrow::ToOwned;
use alloc::string::String;
use core::fmt;

/// Longest service name in bytes: s6's limit (`s6.md` section 3).
pub const MAX_NAME_BYTES: usize = 251;

/// A name under which a service can be supervised: 1 to 251 bytes of ASCII letters, digits and
/// `_ - . @ : +`, not starting with `.` or `-`. It is safe as a file name and as an argument.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceName(String);

/// Why a string is no service name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameError {
    /// It is empty.
    Empty,
    /// It has more than [`MAX_NAME_BYTES`] bytes.
    TooLong,
    /// It starts with a dot or a dash.
    BadStart(char),
    /// It contains a character that names may not have.
    BadCharacter(char),
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "a name can't be empty"),
            Self::TooLong => write!(f, "a name has at most {MAX_NAME_BYTES} bytes"),
            Self::BadStart(c) => write!(f, "a name can't start with {c:?}"),
            Self::BadCharacter(c) => write!(
                f,
                "a name can't contain {c:?} (allowed: letters, digits and _ - . @ : +)"
            ),
        }
    }
}

impl ServiceName {
    /// Checks a name strictly.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let first = text.chars().next().ok_or(NameError::Empty)?;
        if text.len() > MAX_NAME_BYTES {
            return Err(NameError::TooLong);
        }
        if first == '.' || first == '-' {
            return Err(NameError::BadStart(first));
        }
        match text.chars().find(|c| !Self::allowed(*c)) {
            Some(bad) => Err(NameError::BadCharacter(bad)),
            None => Ok(Self(text.to_owned())),
        }
    }

    fn allowed(c: char) -> bool {
        c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '@' | ':' | '+')
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True for names that only root may control whoever registered them
    /// (contract section 5, authority).
    pub fn is_reserved_to_root(&self) -> bool {
        self.0.starts_with("s6rc-") || self.0.starts_with("s6-linux-")
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_be_paths_or_options_are_refused() {
        for bad in [
            "", ".", "..", "../x", "a/b", "-rf", "A B", "a\n", "a\0", "ä",
        ] {
            assert!(ServiceName::parse(bad).is_err(), "{bad:?} was accepted");
        }
        assert_eq!(
            ServiceName::parse(&"x".repeat(252)),
            Err(NameError::TooLong)
        );
    }

    #[test]
    fn gateway_names_and_s6_names_are_accepted() {
        for good in [
            "gateway-writer",
            "getty@tty1",
            "s6rc-fdholder",
            "a",
            "x.log",
        ] {
            assert!(ServiceName::parse(good).is_ok(), "{good:?} was refused");
        }
    }
}
