//! Names that no other test has, and removing what a killed test run left behind.

use std::path::Path;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::command::docker;

/// The label of everything made by a test run; its value is the pid of that run's process.
const LABEL: &str = "herm.e2e";

static NEXT: AtomicU32 = AtomicU32::new(0);
static SWEPT: Once = Once::new();

/// A name for a container, volume or image that nothing else has.
pub(crate) fn unique_name() -> String {
    SWEPT.call_once(sweep);
    format!(
        "herm-e2e-{}-{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    )
}

/// The `--label` argument of everything that has such a name.
pub(crate) fn label() -> String {
    format!("--label={LABEL}={}", std::process::id())
}

/// Removes what belongs to test runs that no longer are.
fn sweep() {
    let filter = format!("label={LABEL}");
    let format = format!("{{{{.Label \"{LABEL}\"}}}} {{{{.ID}}}}");
    let containers = docker(&["ps", "--all", "--filter", &filter, "--format", &format]);
    for id in orphans(&containers.stdout) {
        docker(&["rm", "--force", "--volumes", id]);
    }
    let format = format!("{{{{.Label \"{LABEL}\"}}}} {{{{.Name}}}}");
    let volumes = docker(&["volume", "ls", "--filter", &filter, "--format", &format]);
    for name in orphans(&volumes.stdout) {
        docker(&["volume", "rm", "--force", name]);
    }
}

/// The second words of those lines whose first word is the pid of no process.
fn orphans(lines: &str) -> impl Iterator<Item = &str> {
    lines
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter(|(pid, _)| !Path::new("/proc").join(pid).exists())
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_belongs_to_no_living_process_is_left_over() {
        let lines = format!("{} mine\n4194305 theirs\n", std::process::id());
        assert_eq!(orphans(&lines).collect::<Vec<_>>(), ["theirs"]);
    }

    #[test]
    fn names_differ() {
        assert_ne!(
            NEXT.fetch_add(1, Ordering::Relaxed),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
    }
}
