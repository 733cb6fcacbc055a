//! What setup tells: one line per change, one per thing it could not do, and what takes long.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;
use std::time::{Duration, Instant};

use herm_wire::BootStep;

/// A step that takes longer is named, and named again when it has taken twice as long.
const LONG: Duration = Duration::from_secs(10);

/// Collects what the steps did and prints it as it happens.
#[derive(Debug)]
pub(super) struct Reporter {
    dry_run: bool,
    /// How much is told: 0 nothing, 1 what could not be done, 2 also what was.
    verbosity: u64,
    changed: bool,
    started: Instant,
    steps: Vec<BootStep>,
    warnings: Vec<String>,
    current: Arc<Mutex<Option<Current>>>,
    watched: bool,
}

/// The step under way.
#[derive(Debug)]
struct Current {
    name: String,
    began: Instant,
    /// It sees to its own limit.
    unlimited: bool,
    /// How long it had taken when it was last named.
    named_after: Duration,
}

impl Reporter {
    /// A reporter; in a dry run the steps tell what they would do and do nothing.
    pub(super) fn new(dry_run: bool) -> Self {
        Self {
            dry_run,
            verbosity: 2,
            changed: false,
            started: Instant::now(),
            steps: Vec::new(),
            warnings: Vec::new(),
            current: Arc::default(),
            watched: false,
        }
    }

    /// Tells no more than asked for (`S6_VERBOSITY`). The boot report has all of it.
    pub(super) fn keep_to(&mut self, verbosity: Option<u64>) {
        self.verbosity = verbosity.unwrap_or(self.verbosity);
    }

    /// Names steps that take long, and ends the boot with `code` at one that takes longer than
    /// `limit`: a hung volume hangs whoever looks at it, and only another thread can say so (L51).
    pub(super) fn watch(&mut self, limit: Option<Duration>, code: u8) {
        if std::mem::replace(&mut self.watched, true) {
            return;
        }
        let current = Arc::clone(&self.current);
        let tick = limit.map_or(LONG, |limit| limit.min(LONG));
        let watcher = Builder::new().spawn(move || {
            loop {
                std::thread::park_timeout(tick);
                if look_at(&mut lock(&current), limit) {
                    std::process::exit(code.into());
                }
            }
        });
        // Without a thread to spare the boot goes on, unwatched.
        drop(watcher);
    }

    /// Whether the steps shall only tell what they would do.
    pub(super) fn is_dry_run(&self) -> bool {
        self.dry_run
    }

    /// Whether anything was, or would be, changed.
    pub(super) fn changed(&self) -> bool {
        self.changed
    }

    /// Tells of a change.
    pub(super) fn did(&mut self, what: &str) {
        self.changed = true;
        let what = plain(what);
        if self.dry_run {
            // What was asked for; at a boot, standard output is the main program's.
            println!("setup: would change: {what}");
        } else if self.verbosity >= 2 {
            eprintln!("setup: {what}");
        }
    }

    /// Tells of something that could not be done, and what that means or how to mend it.
    pub(super) fn warn(&mut self, what: &str) {
        let what = plain(what);
        if self.verbosity >= 1 {
            eprintln!("setup: warning: {what}");
        }
        self.warnings.push(what);
    }

    /// Tells how far long work has come.
    #[expect(clippy::unused_self, reason = "whoever tells needs a reporter")]
    pub(super) fn progress(&self, what: &str) {
        eprintln!("setup: {}", plain(what));
    }

    /// Runs a step and notes how long it took and how it ended.
    pub(super) fn step<T, E: std::fmt::Display>(
        &mut self,
        name: &str,
        work: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        let start = self.begin(name);
        let result = work(self);
        self.end(name, start, result.as_ref().err());
        result
    }

    /// Begins a step; the answer is for [`Reporter::end`].
    pub(super) fn begin(&mut self, name: &str) -> u64 {
        self.begin_step(name, false)
    }

    /// As [`Reporter::begin`], a step that sees to its own limit.
    pub(super) fn begin_unlimited(&mut self, name: &str) -> u64 {
        self.begin_step(name, true)
    }

    fn begin_step(&mut self, name: &str, unlimited: bool) -> u64 {
        *lock(&self.current) = Some(Current {
            name: plain(name),
            began: Instant::now(),
            unlimited,
            named_after: Duration::ZERO,
        });
        self.now_us()
    }

    /// Microseconds since setup began.
    fn now_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Notes a step that began at `start_us` and ends now.
    pub(super) fn end(
        &mut self,
        name: &str,
        start_us: u64,
        error: Option<&impl std::fmt::Display>,
    ) {
        *lock(&self.current) = None;
        self.steps.push(BootStep {
            name: name.to_owned(),
            start_us,
            took_us: self.now_us().saturating_sub(start_us),
            error: error.map(|error| plain(&error.to_string())),
        });
    }

    /// The steps and the warnings so far, for the plan.
    pub(super) fn take_parts(&mut self) -> (Vec<BootStep>, Vec<String>) {
        (
            std::mem::take(&mut self.steps),
            std::mem::take(&mut self.warnings),
        )
    }
}

/// Names a step that takes long; whether it takes longer than it may.
fn look_at(current: &mut Option<Current>, limit: Option<Duration>) -> bool {
    let Some(step) = current else {
        return false;
    };
    let took = step.began.elapsed();
    let (name, seconds) = (&step.name, took.as_secs());
    if !step.unlimited && limit.is_some_and(|limit| took >= limit) {
        eprintln!("setup: {name} takes longer than HERM_SETUP_TIMEOUT allows ({seconds} s)");
        return true;
    }
    if took >= LONG.max(step.named_after * 2) {
        eprintln!("setup: {name} has taken {seconds} s and is not done");
        step.named_after = took;
    }
    false
}

fn lock(current: &Mutex<Option<Current>>) -> MutexGuard<'_, Option<Current>> {
    current.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What to do about an error, where there is something.
pub(super) fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied if !rustix::process::geteuid().is_root() => {
            "; mount a volume that the container's user can write, or start it as the user that owns this one"
        }
        io::ErrorKind::PermissionDenied => {
            "; where root may not change owners (rootless Podman, NFS), give the volume to the \
             container's user from outside"
        }
        io::ErrorKind::ReadOnlyFilesystem => "; the volume is mounted read-only",
        io::ErrorKind::StorageFull => "; make room on the volume",
        _ => "",
    }
}

/// Names in the home are anybody's to choose: none may begin a line of its own, or steer a terminal.
fn plain(text: &str) -> String {
    text.replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(took: Duration) -> Current {
        Current {
            name: "ownership".to_owned(),
            began: Instant::now().checked_sub(took).unwrap(),
            unlimited: false,
            named_after: Duration::ZERO,
        }
    }

    #[test]
    fn l51_a_step_that_takes_long_is_named_again_only_when_it_has_taken_twice_as_long() {
        let mut current = Some(step(LONG));
        assert!(!look_at(&mut current, None));
        let named_after = current.as_ref().unwrap().named_after;
        assert!(named_after >= LONG);
        assert!(!look_at(&mut current, None));
        assert_eq!(current.unwrap().named_after, named_after);
        let mut short = Some(step(Duration::ZERO));
        assert!(!look_at(&mut short, None));
        assert_eq!(short.unwrap().named_after, Duration::ZERO);
    }

    #[test]
    fn l51_only_a_limit_that_was_asked_for_ends_a_step() {
        let hour = Duration::from_secs(3600);
        assert!(!look_at(&mut Some(step(hour)), None));
        assert!(!look_at(&mut Some(step(LONG)), Some(hour)));
        assert!(look_at(&mut Some(step(hour)), Some(LONG)));
        assert!(!look_at(&mut None, Some(Duration::ZERO)));
    }
}
