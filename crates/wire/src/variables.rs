//! Variables whose names begin as herm's do: which of them are, and which were meant to be.

use crate::near::nearest;

/// How herm's variables begin.
const PREFIX: &str = "HERM_";

/// herm's variables without their beginning, those left out that are a setting's of a file. The last
/// ones herm sets itself for what it starts.
const OWN: [&str; 22] = [
    "DOCKER_SOCKET",
    "INSTALL_DIR",
    "LOG",
    "LOG_STDOUT",
    "LOG_TOTAL",
    "MAIN",
    "OWNERSHIP_BUDGET",
    "ROOT_ENV",
    "RUN_DIR",
    "SCAN_DIR",
    "SETUP",
    "SETUP_TIMEOUT",
    "STOP_TIMEOUT",
    "USER",
    "BIN",
    "CMD",
    "GATEWAY_RUN",
    "HANDED_OVER",
    "NOTIFY_FD",
    "PROFILE",
    "RUN",
    "UP",
];

/// A variable that begins as herm's do and is none of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stranger<'a> {
    /// The name of herm's that was probably meant, without its beginning.
    near: Option<&'a str>,
}

impl core::fmt::Display for Stranger<'_> {
    /// Goes on after the variable's name.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("is no variable of herm's")?;
        match self.near {
            Some(near) => write!(f, "; did you mean {PREFIX}{near}?"),
            None => Ok(()),
        }
    }
}

impl Stranger<'_> {
    /// Whether it looks like a typing error. What looks like nothing of herm's may be somebody else's.
    pub fn is_misspelt(&self) -> bool {
        self.near.is_some()
    }
}

/// Whether a variable is none of herm's and looks as if it were. `settings` are variables of settings,
/// whole. Kubernetes has such names for a service that is called `herm` (`HERM_SERVICE_HOST`).
pub fn stranger<'a>(
    variable: &str,
    settings: impl Iterator<Item = &'a str> + Clone,
) -> Option<Stranger<'a>> {
    let name = variable.strip_prefix(PREFIX)?;
    let settings = settings.filter_map(|setting| setting.strip_prefix(PREFIX));
    let mut known = OWN.into_iter().chain(settings);
    if is_kubernetes(name) || known.clone().any(|known| known == name) {
        return None;
    }
    Some(Stranger {
        near: nearest(name, &mut known),
    })
}

/// `…SERVICE_HOST`, `…SERVICE_PORT`, `…SERVICE_PORT_HTTP`, `…PORT`, `…PORT_9119_TCP_ADDR`.
fn is_kubernetes(name: &str) -> bool {
    let is_port = |(at, port): (usize, &str)| {
        let after = name.get(at + port.len()..).unwrap_or_default();
        let number = after.strip_prefix('_').unwrap_or_default();
        after.is_empty() || number.starts_with(|first: char| first.is_ascii_digit())
    };
    name.ends_with("SERVICE_HOST")
        || name.contains("SERVICE_PORT")
        || name.match_indices("PORT").any(is_port)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString as _;

    fn found(variable: &str) -> Option<alloc::string::String> {
        let settings = ["HERM_STOP_GRACE", "HERM_ROLE"];
        stranger(variable, settings.into_iter()).map(|stranger| stranger.to_string())
    }

    #[test]
    fn a_typing_error_in_a_variable_names_the_one_that_was_meant() {
        let near = "is no variable of herm's; did you mean HERM_STOP_GRACE?";
        assert_eq!(found("HERM_STPO_GRACE").as_deref(), Some(near));
        assert!(
            found("HERM_SETUP_TIMOUT")
                .unwrap()
                .contains("HERM_SETUP_TIMEOUT")
        );
        assert_eq!(
            found("HERM_IMAGE_TAG").as_deref(),
            Some("is no variable of herm's")
        );
    }

    #[test]
    fn what_is_herms_or_kubernetes_or_begins_otherwise_is_no_stranger() {
        for known in [
            "HERM_STOP_GRACE",
            "HERM_SETUP",
            "HERM_PROFILE",
            "HERMES_HOME",
            "PATH",
            "HERM_SERVICE_HOST",
            "HERM_SERVICE_PORT_DASHBOARD",
            "HERM_PORT",
            "HERM_PORT_9119_TCP_ADDR",
            "HERM_WEB_PORT_80_TCP",
        ] {
            assert_eq!(found(known), None, "{known}");
        }
    }
}
