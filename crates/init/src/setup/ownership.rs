//! Whose the home is: only what is wrong is given to the service user (lessons L25 and L26).

use std::ffi::OsStr;
use std::io;
use std::time::{Duration, Instant};

use herm_sys::fs_at::{Depth, Dir, Owner, Repair, Repaired};

use super::home::{PROFILES, SEEDED_DIRS};
use super::report::{Reporter, advice};
use crate::environment::Environment;

/// Seeded, but the user's own: what is in them is never given to anybody.
const USERS_OWN_DIRS: [&str; 2] = ["workspace", "home"];

/// herm's own records. PID 1 makes it as root where it has nowhere else to listen.
const RECORDS: &str = ".herm";

/// How long the boot waits for a repair (`HERM_OWNERSHIP_BUDGET`, seconds).
const BUDGET: Duration = Duration::from_secs(30);

/// How often a long repair tells how far it is.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// A repair that goes on beside the services.
#[derive(Debug)]
pub(super) struct Unfinished {
    repair: Repair,
    owner: Owner,
}

/// Gives the home, its top-level files and herm's directories to `owner`: on this mount only, never
/// what the user mounted or keeps in `workspace` and `home`.
pub(super) fn give_home(
    home: &Dir,
    owner: Owner,
    environment: &Environment,
    reporter: &mut Reporter,
) -> io::Result<Option<Unfinished>> {
    let mut repair = Repair::of(home, owner, reporter.is_dry_run())?;
    repair.take_top();
    for name in home.names()? {
        repair.take(&name, depth(&name));
    }
    let budget = environment
        .get("HERM_OWNERSHIP_BUDGET")
        .and_then(|text| text.trim().parse().ok())
        .map_or(BUDGET, Duration::from_secs);
    let until = Instant::now().checked_add(budget);
    let is_done = repair.run(until, TELL_EVERY, &mut |done| tell_progress(done, reporter));
    if is_done || reporter.is_dry_run() {
        tell("of the home", &repair.finish(), owner, reporter);
        return Ok(None);
    }
    reporter.warn(&format!(
        "the repair of ownership has taken {} s and goes on beside the services, which may not be \
         able to read everything until it is done; a higher HERM_OWNERSHIP_BUDGET makes them wait",
        budget.as_secs()
    ));
    Ok(Some(Unfinished { repair, owner }))
}

impl Unfinished {
    /// Sees the repair through.
    pub(super) fn finish(mut self, reporter: &mut Reporter) {
        self.repair
            .run(None, TELL_EVERY, &mut |done| tell_progress(done, reporter));
        tell("of the home", &self.repair.finish(), self.owner, reporter);
    }
}

/// Gives a directory with all that is in it, itself last: while that is to be done, it shows.
pub(super) fn give_tree(
    dir: &Dir,
    what: &str,
    owner: Owner,
    reporter: &mut Reporter,
) -> io::Result<()> {
    let mut repair = Repair::of(dir, owner, reporter.is_dry_run())?;
    for name in dir.names()? {
        repair.take(&name, Depth::Everything);
    }
    repair.run(None, TELL_EVERY, &mut |done| tell_progress(done, reporter));
    repair.take_top();
    tell(what, &repair.finish(), owner, reporter);
    Ok(())
}

fn depth(name: &OsStr) -> Depth {
    if USERS_OWN_DIRS.iter().any(|dir| name == *dir) {
        return Depth::Itself;
    }
    let is_ours = name == PROFILES || name == RECORDS;
    if is_ours || SEEDED_DIRS.iter().any(|dir| name == *dir) {
        return Depth::Everything;
    }
    Depth::FilesOnly
}

fn tell_progress(done: &Repaired, reporter: &Reporter) {
    reporter.progress(&format!(
        "ownership: {} entries looked at, {} given",
        done.seen, done.given
    ));
}

fn tell(what: &str, done: &Repaired, owner: Owner, reporter: &mut Reporter) {
    if done.given > 0 {
        reporter.did(&format!(
            "give {} entries {what} to {}:{}",
            done.given, owner.uid, owner.gid
        ));
    }
    if let Some((name, error)) = &done.refused {
        reporter.warn(&format!(
            "{} entries {what} keep their owner, {} first: {error}{}",
            done.refusals,
            name.display(),
            advice(error)
        ));
    }
}
