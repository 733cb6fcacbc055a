//! The programs of execline (<https://skarnet.org/software/execline/>).

pub(super) mod choices;
pub(super) mod conditions;
pub(super) mod descriptors;
pub(super) mod loops;
pub(super) mod process;
pub(super) mod script;
pub(super) mod standard;
pub(super) mod test;
pub(super) mod variables;
