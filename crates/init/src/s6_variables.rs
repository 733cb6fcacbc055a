//! The variables of s6-overlay (`s6.md` section 6.8), as far as more than one place reads them.

use std::time::Duration;

use crate::environment::Environment;

/// A variable's number; `None` where it is unset or no number, as s6-overlay takes it.
pub(crate) fn number(environment: &Environment, name: &str) -> Option<u64> {
    let text = environment.get(name)?.trim();
    text.parse()
        .ok()
        .filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Whether a variable says yes: any number but 0.
pub(crate) fn is_on(environment: &Environment, name: &str) -> bool {
    number(environment, name).unwrap_or(0) != 0
}

/// The span that a variable says in milliseconds; none where it is unset.
pub(crate) fn millis(environment: &Environment, name: &str) -> Option<Duration> {
    number(environment, name).map(Duration::from_millis)
}

/// The same where 0 means no end.
pub(crate) fn limit(environment: &Environment, name: &str) -> Option<Duration> {
    millis(environment, name).filter(|limit| !limit.is_zero())
}

/// The words of a variable.
pub(crate) fn words(environment: &Environment, name: &str) -> Vec<String> {
    let text = environment.get(name).unwrap_or_default();
    text.split_ascii_whitespace().map(str::to_owned).collect()
}

/// What a failing script or service of the image means (`S6_BEHAVIOUR_IF_STAGE2_FAILS`, `s6.md`
/// section 6.3). s6-overlay's 0 and 1 differ in that 1 says so; here it is always said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnFailure {
    /// Say so and go on (0 and 1).
    GoOn,
    /// Say so and end the boot (2).
    Stop,
}

impl OnFailure {
    /// As the environment says; what can't be read is the default, 0.
    pub(crate) fn of(environment: &Environment) -> Self {
        match number(environment, "S6_BEHAVIOUR_IF_STAGE2_FAILS") {
            Some(level) if level >= 2 => Self::Stop,
            Some(_) | None => Self::GoOn,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &str, value: &str) -> Environment {
        Environment::from_variables([(name.into(), value.into())])
    }

    #[test]
    fn a_number_is_digits_only_and_on_is_any_but_zero() {
        for (text, expected) in [
            ("0", Some(0)),
            ("07 ", Some(7)),
            ("-1", None),
            ("+1", None),
            ("", None),
            ("yes", None),
        ] {
            assert_eq!(number(&with("X", text), "X"), expected, "{text:?}");
        }
        assert!(is_on(&with("X", "2"), "X"));
        assert!(!is_on(&with("X", "0"), "X") && !is_on(&with("Y", "1"), "X"));
        assert_eq!(limit(&with("X", "0"), "X"), None);
        assert_eq!(millis(&with("X", "0"), "X"), Some(Duration::ZERO));
    }

    #[test]
    fn the_policy_stops_the_boot_only_from_two_on() {
        let name = "S6_BEHAVIOUR_IF_STAGE2_FAILS";
        for (text, expected) in [
            ("", OnFailure::GoOn),
            ("1", OnFailure::GoOn),
            ("junk", OnFailure::GoOn),
            ("2", OnFailure::Stop),
            ("3", OnFailure::Stop),
        ] {
            assert_eq!(OnFailure::of(&with(name, text)), expected, "{text:?}");
        }
    }
}
