//! Profiles: making, showing, renaming and removing them.

mod clone;
mod create;
mod info;
mod remove;
mod rename;

pub(crate) use create::ensure_free;
pub use create::{CreateOptions, Created, Source, create};
pub use info::{ProfileInfo, description, is_fresh, list, show};
pub use remove::{begin_delete, finish_delete, is_deleting};
pub(crate) use rename::{Renaming, renaming_of};
pub use rename::{begin_rename, give_up_rename, mend_rename, rename};

pub use crate::staging::sweep_unfinished;

/// Present in a profile that wants none of the bundled skills; the agent looks for it, too.
pub const NO_SKILLS: &str = ".no-bundled-skills";
/// The profile's description, the agent's format: `description`, `description_auto`.
pub const META: &str = "profile.yaml";
/// The agent's sticky choice of a profile, in the home's root.
pub const ACTIVE: &str = "active_profile";
