//! What setup tells: one line per change, one per thing it could not do.

use std::time::Instant;

use herm_wire::BootStep;

/// Collects what the steps did and prints it as it happens.
#[derive(Debug)]
pub(super) struct Reporter {
    dry_run: bool,
    changed: bool,
    started: Instant,
    steps: Vec<BootStep>,
    warnings: Vec<String>,
}

impl Reporter {
    /// A reporter; in a dry run the steps tell what they would do and do nothing.
    pub(super) fn new(dry_run: bool) -> Self {
        Self {
            dry_run,
            changed: false,
            started: Instant::now(),
            steps: Vec::new(),
            warnings: Vec::new(),
        }
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
        let would = if self.dry_run { "would change: " } else { "" };
        println!("setup: {would}{}", plain(what));
    }

    /// Tells of something that could not be done, and what that means or how to mend it.
    pub(super) fn warn(&mut self, what: &str) {
        let what = plain(what);
        println!("setup: warning: {what}");
        self.warnings.push(what);
    }

    /// Runs a step and notes how long it took and how it ended.
    pub(super) fn step<T, E: std::fmt::Display>(
        &mut self,
        name: &str,
        work: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        let start = self.now_us();
        let result = work(self);
        self.note(name, start, result.as_ref().err());
        result
    }

    /// Microseconds since setup began, to be given to [`Reporter::note`] when a step ends.
    pub(super) fn now_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Notes a step that began at `start_us` and ends now.
    pub(super) fn note(
        &mut self,
        name: &str,
        start_us: u64,
        error: Option<&impl std::fmt::Display>,
    ) {
        self.steps.push(BootStep {
            name: name.to_owned(),
            start_us,
            took_us: self.now_us().saturating_sub(start_us),
            error: error.map(ToString::to_string),
        });
    }

    /// The steps and the warnings, for the plan.
    pub(super) fn into_parts(self) -> (Vec<BootStep>, Vec<String>) {
        (self.steps, self.warnings)
    }
}

/// Names in the home are anybody's to choose: none may begin a line of its own, or steer a terminal.
fn plain(text: &str) -> String {
    text.replace(char::is_control, " ")
}
