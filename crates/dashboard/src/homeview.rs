//! What the pages show of the home, read as the service user and kept for a moment, so that a flood
//! of visitors costs the disk no more than one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use herm_home::Home;
use herm_home::profile::{self, ProfileInfo};
use tokio::sync::Mutex;

use crate::history::Reader;
use crate::words::now_ms;

/// How long an answer may be old.
const FRESH: Duration = Duration::from_secs(3);
/// What "today" means for restarts, in milliseconds.
const DAY_MS: i64 = 24 * 3600 * 1000;

/// The home at one moment.
#[derive(Debug, Default)]
pub(crate) struct HomeView {
    /// Profiles, `default` first.
    pub(crate) profiles: Vec<ProfileInfo>,
    /// Why they are not known.
    pub(crate) trouble: Option<String>,
    /// Restarts of each service in the last 24 hours, where a history is kept.
    pub(crate) restarts: Option<BTreeMap<String, u64>>,
}

/// The last answer.
#[derive(Debug)]
pub(crate) struct HomeCache {
    home: Home,
    last: Mutex<Option<(Instant, Arc<HomeView>)>>,
}

impl HomeCache {
    pub(crate) fn new(home: &Home) -> Self {
        Self {
            home: home.clone(),
            last: Mutex::default(),
        }
    }

    /// The home as it was a moment ago at most. One reads, the others wait for it.
    pub(crate) async fn view(&self) -> Arc<HomeView> {
        let mut last = self.last.lock().await;
        if let Some((at, view)) = last.as_ref()
            && at.elapsed() < FRESH
        {
            return view.clone();
        }
        let home = self.home.clone();
        let read = tokio::task::spawn_blocking(move || read(&home)).await;
        let view = Arc::new(read.unwrap_or_default());
        *last = Some((Instant::now(), view.clone()));
        view
    }

    /// It has been changed.
    pub(crate) async fn forget(&self) {
        *self.last.lock().await = None;
    }
}

fn read(home: &Home) -> HomeView {
    let restarts = Reader::open(home)
        .ok()
        .flatten()
        .and_then(|reader| reader.restarts_since(now_ms() - DAY_MS).ok());
    match profile::list(home) {
        Ok(profiles) => HomeView {
            profiles,
            trouble: None,
            restarts,
        },
        Err(error) => HomeView {
            profiles: Vec::new(),
            trouble: Some(error.to_string()),
            restarts,
        },
    }
}
