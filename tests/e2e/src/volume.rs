//! A volume of a test's own.

use crate::command::docker;
use crate::leftovers::{label, unique_name};

/// A Docker volume, removed when dropped. Declare it before the containers that use it: a volume
/// in use cannot be removed, and values are dropped in reverse order.
#[derive(Debug)]
pub struct Volume {
    name: String,
}

impl Volume {
    /// Makes an empty volume.
    #[expect(
        clippy::new_without_default,
        reason = "it makes something outside the program"
    )]
    #[track_caller]
    pub fn new() -> Self {
        let name = unique_name();
        docker(&["volume", "create", &label(), &name]).succeeds();
        Self { name }
    }

    /// Its name, as `docker` takes it.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        docker(&["volume", "rm", "--force", &self.name]);
    }
}
