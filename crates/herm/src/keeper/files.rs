//! Reading profiles' files: what needs nothing but the home, and can be done for many at a time.

use std::env;
use std::path::Path;
use std::thread;
use std::time::SystemTime;

use herm_home::config::{self, Config};
use herm_home::dotenv::{self, Dotenv};
use herm_home::files::{Dir, PRIVATE, PRIVATE_DIR};
use herm_home::inputs::{Inputs, fingerprint};
use herm_home::layout::{DOTENV, HERM_DIR};
use herm_home::markers::clear_spent_planned_stop;
use herm_home::owner::Owner;
use herm_home::state::{self, AgentState};
use herm_home::unique::is_unique;
use herm_home::{Home, HomeError, Intent, ProfileName, ProfilePaths, drift, intent, owner};

use super::facts::{Access, Remarks};
use super::plan::Parked;

/// In a profile's `.herm`: what a parked gateway failed with, so that a keeper that was killed
/// knows it still.
const PARKED: &str = "parked.json";

/// With fewer than these a thread costs more than it saves.
const WORTH_A_THREAD: usize = 64;
/// More threads than these wait for each other in the file system.
const THREADS_MAX: usize = 4;

/// Does something for each, on several processors where there are many; the results are in the
/// order of the items.
pub(super) fn each<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let threads = processors
        .min(THREADS_MAX)
        .min(items.len() / WORTH_A_THREAD);
    if threads < 2 {
        return items.iter().map(work).collect();
    }
    let do_all = |items: &[T]| items.iter().map(&work).collect::<Vec<R>>();
    thread::scope(|scope| {
        let chunks = items.chunks(items.len().div_ceil(threads));
        let started: Vec<_> = chunks
            .map(|chunk| scope.spawn(move || do_all(chunk)))
            .collect();
        let results = started.into_iter().map(thread::ScopedJoinHandle::join);
        results
            .flat_map(|result| result.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}

/// One profile's files, read at one time.
#[derive(Debug)]
pub(crate) struct Files {
    pub(super) intent: Option<Intent>,
    pub(super) agent: Option<AgentState>,
    pub(super) dotenv: Dotenv,
    pub(super) config: Option<Config>,
    pub(super) inputs: Inputs,
    pub(super) inputs_written: SystemTime,
    pub(super) owner: Option<Owner>,
    /// What is wrong with them.
    pub(super) remarks: Remarks,
}

impl Files {
    pub(super) fn read(home: &Home, name: &ProfileName, access: Access) -> Result<Self, HomeError> {
        let paths = home.profile(name);
        let mut remarks = Remarks::new();
        let (intent, agent) = records(name, &paths, access, &mut remarks)?;
        let dotenv = environment_of(home, name)?;
        let config = match config::load(&paths)? {
            Ok(config) => Some(config),
            Err(error) => {
                remarks.push(format!("{name}: {error}"));
                None
            }
        };
        Ok(Self {
            intent,
            agent,
            dotenv,
            config,
            owner: owner::find(&paths, Path::new("/proc"))?,
            inputs: fingerprint(&paths)?,
            inputs_written: last_written(&paths),
            remarks,
        })
    }
}

/// What a look at a profile shows.
pub(super) struct Seen {
    pub(super) files: Result<Files, HomeError>,
    /// What its parked gateway failed with, if that was asked for and there is one.
    pub(super) parked: Option<Parked>,
    pub(super) remarks: Remarks,
}

impl Seen {
    pub(super) fn of(home: &Home, name: &ProfileName, access: Access, wants_parked: bool) -> Self {
        let files = Files::read(home, name, access);
        let mut remarks = Remarks::new();
        if files.is_ok() && access == Access::Keep {
            remarks.extend(drifted(home, name));
            // Herm's own gateway doesn't consume it, and the next TERM may not be planned.
            let cleared = clear_spent_planned_stop(&home.profile(name), Path::new("/proc"));
            remarks.extend(cleared.err().map(|error| format!("{name}: {error}")));
        }
        let parked = wants_parked.then(|| load_parked(home, name)).flatten();
        Self {
            files,
            parked,
            remarks,
        }
    }
}

/// A profile's record of intent and its agent's state.
fn records(
    name: &ProfileName,
    paths: &ProfilePaths,
    access: Access,
    remarks: &mut Remarks,
) -> Result<(Option<Intent>, Option<AgentState>), HomeError> {
    if access == Access::Look {
        return Ok((intent::peek(paths)?, state::peek(paths)?));
    }
    let now = SystemTime::now();
    let record = intent::load(paths, now)?;
    let agent = state::load(paths, now)?;
    for aside in [&record.corrupt, &agent.corrupt].into_iter().flatten() {
        remarks.push(format!(
            "{name}: a corrupt file is kept as {}: {}",
            aside.kept_as, aside.why
        ));
    }
    Ok((record.value, agent.value))
}

/// A profile's `.env`; for the default profile over the container's own variables, which are its
/// (L53: and no other profile's).
pub(super) fn environment_of(home: &Home, name: &ProfileName) -> Result<Dotenv, HomeError> {
    let mut bytes = Vec::new();
    if name.is_default() {
        for (key, value) in env::vars().filter(|(key, _)| is_unique(key)) {
            let value = value.replace('\\', "\\\\").replace('\'', "\\'");
            bytes.extend_from_slice(format!("{key}='{value}'\n").as_bytes());
        }
    }
    let file = Dir::open(home.profile(name).dir())?.read_input(DOTENV, dotenv::MAX_BYTES)?;
    bytes.extend(file.map(|content| content.bytes).unwrap_or_default());
    Ok(Dotenv::parse(&bytes))
}

/// When the youngest of a profile's inputs was written; long ago, where it has none.
fn last_written(paths: &ProfilePaths) -> SystemTime {
    let written = |path| {
        std::fs::metadata(path)
            .and_then(|meta| meta.modified())
            .ok()
    };
    paths
        .inputs()
        .iter()
        .filter_map(written)
        .max()
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

/// What somebody else left in a profile, in words (L25): it is given back at the next boot, and
/// until then the agent may not be able to use it.
fn drifted(home: &Home, name: &ProfileName) -> Option<String> {
    let own = rustix::process::geteuid().as_raw();
    let found = drift::foreign_in_profile(home.profile(name).dir(), own).ok()?;
    let first = found.first()?;
    let more = match found.len() {
        1 => String::new(),
        count => format!(" and {} more", count - 1),
    };
    Some(format!(
        "{name}: not this user's: {}{more}; `herm doctor` has all of it and the remedy",
        first.display()
    ))
}

pub(super) fn save_parked(
    home: &Home,
    profile: &ProfileName,
    parked: &Parked,
) -> Result<(), HomeError> {
    let dir = Dir::open(home.profile(profile).dir())?.ensure_child(HERM_DIR, PRIVATE_DIR)?;
    let record = serde_json::json!({ "exit_at": parked.exit_at, "inputs": parked.inputs.as_str() });
    dir.write_atomic(PARKED, record.to_string().as_bytes(), PRIVATE)
}

/// A record nobody can read is none: the next look makes another.
fn load_parked(home: &Home, profile: &ProfileName) -> Option<Parked> {
    let dir = Dir::open(home.profile(profile).dir())
        .ok()?
        .child(HERM_DIR)
        .ok()??;
    let content = dir.read(PARKED, 4096).ok()??;
    let record: serde_json::Value = serde_json::from_slice(&content.bytes).ok()?;
    let text = |name: &str| record.get(name)?.as_str().map(str::to_owned);
    Some(Parked {
        exit_at: text("exit_at")?,
        inputs: Inputs::from_text(text("inputs")?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_the_order_of_their_items_however_many_threads_there_are() {
        for count in [0, 1, WORTH_A_THREAD - 1, 10 * WORTH_A_THREAD + 1] {
            let items: Vec<usize> = (0..count).collect();
            assert_eq!(each(&items, |item| *item), items);
        }
    }

    #[test]
    fn l78_what_a_parked_gateway_failed_with_outlives_the_keeper() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path());
        let name = ProfileName::default_profile();
        assert_eq!(load_parked(&home, &name), None);
        let parked = Parked {
            exit_at: "t1".into(),
            inputs: Inputs::from_text("f"),
        };
        save_parked(&home, &name, &parked).unwrap();
        assert_eq!(load_parked(&home, &name), Some(parked));
    }
}
