//! The protocol's version and its ledger.
//!
//! | version | what changed |
//! | --- | --- |
//! | 1 | the first protocol |
//!
//! Within a version fields and operations are only added; a peer ignores fields it does not know.
//! A test compares the generated schema with the checked-in one and fails when a type changes
//! without a line here.

/// The version every request carries as `v`.
pub const PROTOCOL_VERSION: u32 = 1;
