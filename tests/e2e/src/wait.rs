//! Waiting for something outside the test to become so.

use std::time::{Duration, Instant};

/// How long anything may take before the test counts as hung. It says nothing about how fast
/// anything must be.
pub const HANG_GUARD: Duration = Duration::from_secs(180);

/// How often a condition without an event of its own is looked at.
pub(crate) const POLL: Duration = Duration::from_millis(50);

/// Returns once the condition holds; fails the test if it still does not after [`HANG_GUARD`].
///
/// For what has no event that a test could follow. Inside herm nothing polls.
#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(
            start.elapsed() < HANG_GUARD,
            "still not so after {HANG_GUARD:?}: {what}"
        );
        std::thread::sleep(POLL);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_condition_is_asked_until_it_holds() {
        let mut asked = 0;
        super::wait_until("asked three times", || {
            asked += 1;
            asked == 3
        });
        assert_eq!(asked, 3);
    }
}
