//! Names that no other test has, and removing what a killed test run left behind.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::command::docker;

/// The label of everything made by a test run; its value is the run's [`Process`].
const LABEL: &str = "herm.e2e";

static NEXT: AtomicU32 = AtomicU32::new(0);
static SWEPT: Once = Once::new();

/// A process, told from every other one on this machine, now and later: its PID namespace, its number
/// there, and when it began. Others may use the same Docker engine from namespaces of their own, where
/// our numbers mean nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Process {
    namespace: u64,
    pid: u32,
    start_time: u64,
}

impl Process {
    fn own() -> Self {
        let pid = std::process::id();
        Self {
            namespace: own_namespace(),
            pid,
            start_time: start_time(pid).expect("this process has begun"),
        }
    }

    /// Whether it can be seen from here that it is no more.
    fn is_gone(&self) -> bool {
        self.namespace == own_namespace() && start_time(self.pid) != Some(self.start_time)
    }

    fn to_label(&self) -> String {
        format!("{}.{}.{}", self.namespace, self.pid, self.start_time)
    }

    fn parse(label: &str) -> Option<Self> {
        let mut numbers = label.split('.');
        let parsed = Self {
            namespace: numbers.next()?.parse().ok()?,
            pid: numbers.next()?.parse().ok()?,
            start_time: numbers.next()?.parse().ok()?,
        };
        numbers.next().is_none().then_some(parsed)
    }
}

fn own_namespace() -> u64 {
    fs::metadata("/proc/self/ns/pid").map_or(0, |meta| meta.ino())
}

/// Field 22 of `proc_pid_stat(5)`, in clock ticks since the machine's boot; none for a zombie.
fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let is_zombie = fields.next()? == "Z";
    let start_time = fields.nth(18)?.parse().ok()?;
    (!is_zombie).then_some(start_time)
}

/// A name for a container, volume or image that nothing else has.
pub(crate) fn unique_name() -> String {
    SWEPT.call_once(sweep);
    format!(
        "herm-e2e-{:x}-{}-{}",
        own_namespace(),
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    )
}

/// The `--label` argument of everything that has such a name.
pub(crate) fn label() -> String {
    format!("--label={LABEL}={}", Process::own().to_label())
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

/// The second words of those lines whose first word is a process that is gone.
fn orphans(lines: &str) -> impl Iterator<Item = &str> {
    lines
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter(|(label, _)| Process::parse(label).is_some_and(|process| process.is_gone()))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_belongs_to_a_process_that_is_gone_is_left_over() {
        let own = Process::own();
        let dead = Process {
            pid: 4_194_305,
            ..own.clone()
        };
        let number_reused = Process {
            start_time: own.start_time + 1,
            ..own.clone()
        };
        let elsewhere = Process {
            namespace: own.namespace + 1,
            ..dead.clone()
        };
        let line = |process: &Process, name: &str| format!("{} {name}\n", process.to_label());
        let lines = [
            line(&own, "mine"),
            line(&dead, "dead"),
            line(&number_reused, "reused"),
            line(&elsewhere, "elsewhere"),
            "4194305 unknown\n".to_owned(),
        ]
        .concat();
        assert_eq!(orphans(&lines).collect::<Vec<_>>(), ["dead", "reused"]);
    }

    #[test]
    fn names_differ() {
        assert_ne!(
            NEXT.fetch_add(1, Ordering::Relaxed),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
    }
}
