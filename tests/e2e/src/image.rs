//! The images under test.

use crate::command::docker;

/// An image the engine has.
#[derive(Debug, Clone)]
pub struct Image {
    tag: String,
}

impl Image {
    /// Debian slim with herm.
    #[track_caller]
    pub fn herm_dev() -> Self {
        Self::named("herm:dev")
    }

    /// The same with the real Hermes Agent.
    #[track_caller]
    pub fn hermes() -> Self {
        Self::named("herm-hermes:dev")
    }

    /// An image by its tag. A missing one fails the test: there is nothing these tests could check
    /// without it.
    #[track_caller]
    pub fn named(tag: &str) -> Self {
        let found = docker(&["image", "inspect", "--format", "{{.Id}}", tag]);
        assert!(
            found.is_success(),
            "no image {tag}; `cargo xtask image` builds it, or `cargo xtask test e2e`: {found}"
        );
        Self {
            tag: tag.to_owned(),
        }
    }

    /// Its tag.
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// A field of `docker image inspect`, by its path in Go's template language (`.Config.Env`).
    #[track_caller]
    pub fn inspect(&self, field: &str) -> serde_json::Value {
        docker(&[
            "image",
            "inspect",
            "--format",
            &format!("{{{{json {field}}}}}"),
            &self.tag,
        ])
        .json()
    }
}
