//! The images under test.

use crate::command::docker;

/// The variable that names another tag than `dev`, for several checkouts that share one engine; `cargo xtask image` obeys it too.
const TAG_VARIABLE: &str = "HERM_IMAGE_TAG";

fn built(name: &str) -> String {
    let tag = std::env::var(TAG_VARIABLE);
    format!("{name}:{}", tag.as_deref().unwrap_or("dev"))
}

/// An image the engine has.
#[derive(Debug, Clone)]
pub struct Image {
    tag: String,
}

impl Image {
    /// Debian slim with herm.
    #[track_caller]
    pub fn herm_dev() -> Self {
        Self::named(&built("herm"))
    }

    /// The same with the real Hermes Agent.
    #[track_caller]
    pub fn hermes() -> Self {
        Self::named(&built("herm-hermes"))
    }

    /// One that only tests run (`cargo xtask image --for-tests`).
    #[track_caller]
    pub fn built_for_tests(name: &str) -> Self {
        Self::named(&built(name))
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
