//! One service: its state, what it is wanted to do, and how the two meet.
//!
//! Rows are states, columns inputs, a cell is the state that follows; a dot is "no other". The
//! first table has the orders, the second what is reported or due. A service that has to wait for
//! nobody passes through `Waiting` on its way to `Spawning`; `Starting` is `Running` before it is
//! ready. Where `Draining` and `Finishing` lead depends on how the run ended (here: exit 1) and on
//! what is wanted by then. Every pair that has no cell of its own is a late or repeated report,
//! which changes nothing.
//!
//! ```text
//!            up         once       restart    let_end    down       wake       unregister
//! Down       Spawning   Spawning   Spawning   .          .          .          gone
//! Waiting    .          .          .          Down       Down       .          gone
//! Backoff    Spawning   Spawning   Spawning   Down       Down       .          gone
//! Parked     Spawning   Spawning   Spawning   Down       Down       Backoff    gone
//! Failed     Spawning   Spawning   Spawning   Down       Down       .          gone
//! Done       .          Spawning   Spawning   Down       Down       .          gone
//! Spawning   .          .          Stopping   .          Stopping   .          Stopping
//! Starting   .          .          Stopping   .          Stopping   .          Stopping
//! Running    .          .          Stopping   .          Stopping   .          Stopping
//! Stopping   .          .          .          .          .          .          .
//! Draining   .          .          .          .          .          .          .
//! Finishing  .          .          .          .          .          .          .
//!
//!            spawned    no spawn   ready      exited     emptied    deadline
//! Down       .          .          .          .          .          .
//! Waiting    .          .          .          .          .          .
//! Backoff    .          .          .          .          .          Spawning
//! Parked     .          .          .          .          .          .
//! Failed     .          .          .          .          .          .
//! Done       .          .          .          .          .          .
//! Spawning   Starting   Backoff    .          Draining   .          Stopping
//! Starting   .          .          Running    Draining   .          Stopping
//! Running    .          .          .          Draining   .          .
//! Stopping   .          .          .          Draining   .          .
//! Draining   .          .          .          .          Backoff    .
//! Finishing  .          Backoff    .          .          .          .
//! ```
//!
//! Rules that the table can't show:
//!
//! * A new main process is asked for in `Waiting` only, and `Waiting` is only reached when nothing
//!   of the previous run lives.
//! * Being stopped, a service follows the last order: `up` while stopping starts it again at the
//!   end, `down` while starting stops it, and neither prolongs a grace that has begun.
//! * A finish script runs between `Draining` and the next state, if the service has one.

mod drive;
pub(crate) mod phase;
mod report;
mod settle;
pub(crate) mod steps;
#[cfg(test)]
mod table;
pub(crate) mod tally;
pub(crate) mod watch;

use alloc::collections::VecDeque;
use core::time::Duration;

use self::phase::{DownWhy, Phase};
use self::tally::Tally;
use self::watch::Stage;
use crate::engine::Config;
use crate::model::{Action, LastExit, ProbeId, RunId, ServiceId, Spec, StateName, Want};
use crate::rng::Rng;
use crate::sorted::SortedMap;
use crate::time::Time;

/// What services share, and where what they want done goes.
#[derive(Debug)]
pub(crate) struct Outlet {
    pub(crate) config: Config,
    pub(crate) rng: Rng,
    pub(crate) actions: VecDeque<Action>,
    /// Which slot each run that is not over belongs to.
    pub(crate) runs: SortedMap<RunId, u32>,
    pub(crate) next_run: u64,
    /// In a shutdown, the time at which every grace has ended.
    pub(crate) graces_end: Option<Time>,
}

impl Outlet {
    pub(crate) fn new_run(&mut self, id: ServiceId) -> RunId {
        let run = RunId(self.next_run);
        self.next_run = self.next_run.wrapping_add(1);
        self.runs.insert(run, id.slot);
        run
    }
}

/// One registered service.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) id: ServiceId,
    pub(crate) spec: Spec,
    pub(crate) want: Want,
    /// It is being unregistered: it goes down, then away.
    pub(crate) removing: bool,
    pub(crate) phase: Phase,
    /// The name under which the state was last shown, and since when it has had it.
    pub(crate) shown: (StateName, Time),
    pub(crate) tally: Tally,
    pub(crate) restarts: u64,
    pub(crate) last_exit: Option<LastExit>,
    /// The last signal an operator sent to the running process that may end it, and when.
    pub(crate) signalled: Option<(u8, Time)>,
    pub(crate) next_probe: u64,
    /// Whether its id is in the engine's list of changes.
    pub(crate) changed: bool,
    /// Whether it waits in the engine's queue to be looked at.
    pub(crate) queued: bool,
    /// What it was for its dependents when they were last told.
    pub(crate) standing: Standing,
}

/// What a service is for those that come after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Ready, or done.
    Up,
    /// On its way.
    Coming,
    /// Neither, and nothing to wait for in a start order.
    Away,
}

impl Service {
    pub(crate) fn new(now: Time, id: ServiceId, spec: Spec, want: Want) -> Self {
        let phase = if matches!(want, Want::Up | Want::Once) {
            Phase::Waiting {
                automatic: false,
                stuck: false,
            }
        } else {
            Phase::Down(DownWhy::NeverStarted)
        };
        let shown = (phase.name(want == Want::Disabled), now);
        Self {
            id,
            spec,
            want,
            removing: false,
            phase,
            shown,
            tally: Tally::default(),
            restarts: 0,
            last_exit: None,
            signalled: None,
            next_probe: 0,
            changed: false,
            queued: false,
            standing: Standing::Away,
        }
    }

    /// What it is for its dependents now.
    pub(crate) fn current_standing(&self) -> Standing {
        let comes_back = matches!(self.want, Want::Up) && !self.removing;
        match &self.phase {
            Phase::Done
            | Phase::Running {
                stage: Stage::Ready { .. },
                ..
            } => Standing::Up,
            Phase::Running { .. } | Phase::Spawning { .. } => Standing::Coming,
            Phase::Waiting { stuck, .. } if !stuck => Standing::Coming,
            Phase::Stopping { .. } | Phase::Draining { .. } | Phase::Finishing { .. }
                if comes_back =>
            {
                Standing::Coming
            }
            Phase::Waiting { .. }
            | Phase::Stopping { .. }
            | Phase::Draining { .. }
            | Phase::Finishing { .. }
            | Phase::Down(_)
            | Phase::Backoff { .. }
            | Phase::Parked { .. }
            | Phase::Failed { .. } => Standing::Away,
        }
    }

    /// Its grace as a span that ends: `Duration::MAX` means the grace of survivors where
    /// something is waiting for the end.
    pub(crate) fn survivor_grace(&self, config: &Config) -> Duration {
        if self.spec.stop.grace == Duration::MAX {
            config.survivor_grace
        } else {
            self.spec.stop.grace
        }
    }

    /// Whether its run is coming to an end: being stopped, or being cleaned up after.
    pub(crate) const fn is_ending(&self) -> bool {
        match &self.phase {
            Phase::Stopping { .. } | Phase::Draining { .. } | Phase::Finishing { .. } => true,
            Phase::Down(_)
            | Phase::Waiting { .. }
            | Phase::Backoff { .. }
            | Phase::Parked { .. }
            | Phase::Failed { .. }
            | Phase::Done
            | Phase::Spawning { .. }
            | Phase::Running { .. } => false,
        }
    }

    pub(crate) fn new_probe(&mut self) -> ProbeId {
        self.next_probe = self.next_probe.wrapping_add(1);
        ProbeId(self.next_probe)
    }
}
