//! What marks the instructions that `cargo xtask counts` counts.

use std::hint::black_box;

/// Does the work. Under callgrind only what happens in here counts, by this function's name; a test
/// prepares what it needs outside. Not to be nested.
#[inline(never)]
pub fn counted<T>(work: impl FnOnce() -> T) -> T {
    black_box(work())
}
