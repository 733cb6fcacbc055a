//! Clients that are answered later: when a service is as they asked, and their order is recorded.
//!
//! Pure: a waiter is shown a service's status whenever that changes and at its own deadlines, and
//! makes up its mind once.

use std::time::Duration;

use herm_engine::{Reason, RunEnd, RunId, StateName, Status, Time, Want};
use herm_wire::{ErrorBody, ErrorCode};

use super::server::ClientId;

/// A service that can't say that it is ready has started when it was up for this long.
const UP_LONG_ENOUGH: Duration = Duration::from_secs(1);

/// How long an answer that is known waits for the keeper to record the order.
const RECORD_WITHIN: Duration = Duration::from_secs(10);

/// Waiters one client may have.
pub(crate) const WAITERS_PER_CLIENT: usize = 256;

/// Waiters one user may have with all its clients: each is looked at in every turn. Root, who could
/// do worse, has no bound of its own.
pub(crate) const WAITERS_PER_USER: usize = 1024;

/// What is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    /// Nothing but the record.
    Nothing,
    /// A run from this number on is up and, where it can say so, ready.
    Started {
        /// The first run that counts.
        from: u64,
        /// Its end with success is as good: it was to run once.
        once: bool,
    },
    /// It runs.
    Up,
    /// It is ready.
    Ready,
    /// No process of it lives.
    Stopped {
        /// Somebody's wanting it up again is the end of the wait.
        ordered: bool,
    },
    /// It is registered.
    Registered,
    /// It is not registered.
    Gone,
    /// The keeper has looked at the whole home.
    Reconciled {
        /// The request's number.
        seq: u64,
    },
}

/// A client that waits.
#[derive(Clone, Debug)]
pub(crate) struct Waiter {
    /// Who.
    pub(crate) client: ClientId,
    /// The number of its request.
    pub(crate) request: u64,
    /// The service's name; empty for [`Goal::Reconciled`].
    pub(crate) name: String,
    /// What for.
    pub(crate) goal: Goal,
    /// When it gives up.
    pub(crate) deadline: Option<Time>,
    /// The order that has to be recorded before it is answered.
    pub(crate) order: Option<u64>,
    /// What it will be answered.
    pub(crate) outcome: Option<Result<(), ErrorBody>>,
    /// When something may have changed without an event: an uptime reached, a record too late.
    pub(crate) look_again: Option<Time>,
}

impl Waiter {
    /// Looks at the service; decides at most once.
    fn look(&mut self, status: Option<&Status>, says_ready: bool, now: Time) {
        if self.outcome.is_some() {
            return;
        }
        self.look_again = None;
        let judged = match status {
            None => self.judge_absent(),
            Some(status) => self.judge(status, says_ready, now),
        };
        let timed_out = self.deadline.is_some_and(|deadline| deadline <= now);
        self.outcome = judged.or_else(|| timed_out.then(|| Err(timeout(status))));
        if self.outcome.is_some() && self.order.is_some() {
            self.look_again = Some(now + RECORD_WITHIN);
        }
    }

    fn judge_absent(&self) -> Option<Result<(), ErrorBody>> {
        match self.goal {
            Goal::Gone | Goal::Nothing | Goal::Stopped { .. } => Some(Ok(())),
            Goal::Registered | Goal::Reconciled { .. } | Goal::Up | Goal::Ready => None,
            Goal::Started { .. } => Some(Err(error(
                ErrorCode::Superseded,
                "it was unregistered meanwhile",
            ))),
        }
    }

    fn judge(
        &mut self,
        status: &Status,
        says_ready: bool,
        now: Time,
    ) -> Option<Result<(), ErrorBody>> {
        match self.goal {
            Goal::Nothing | Goal::Registered => Some(Ok(())),
            Goal::Gone | Goal::Reconciled { .. } => None,
            Goal::Up => status.pid.is_some().then_some(Ok(())),
            Goal::Ready => status.ready.then_some(Ok(())),
            Goal::Stopped { ordered } => {
                if is_down(status) {
                    Some(Ok(()))
                } else if ordered && status.want.is_up() && !status.removing {
                    Some(Err(error(
                        ErrorCode::Superseded,
                        "a later order wants it up",
                    )))
                } else {
                    None
                }
            }
            Goal::Started { from, once } => {
                self.judge_started(status, says_ready, (from, once), now)
            }
        }
    }

    fn judge_started(
        &mut self,
        status: &Status,
        says_ready: bool,
        (from, once): (u64, bool),
        now: Time,
    ) -> Option<Result<(), ErrorBody>> {
        let runs = status.pid.is_some() && status.run.map(RunId::get) >= Some(from);
        if status.ready && matches!(status.reason, Reason::Done) {
            return Some(Ok(()));
        }
        if let Some(last) = &status.last_exit
            && last.run.get() >= from
        {
            let ended_well = once && matches!(last.end, RunEnd::Exited(exit) if exit.is_success());
            return Some(if ended_well {
                Ok(())
            } else {
                Err(error(ErrorCode::Failed, &last.end.to_string()))
            });
        }
        if runs && says_ready {
            return status.ready.then_some(Ok(()));
        }
        if let (true, Some(uptime)) = (runs, status.uptime) {
            let left = UP_LONG_ENOUGH.saturating_sub(uptime);
            if left.is_zero() {
                return Some(Ok(()));
            }
            self.look_again = Some(now + left);
            return None;
        }
        match status.want {
            Want::Up | Want::Once => None,
            Want::Down | Want::Disabled => Some(Err(error(
                ErrorCode::Superseded,
                "a later order wants it down",
            ))),
        }
    }
}

/// Whether no process of the service lives.
pub(crate) fn is_down(status: &Status) -> bool {
    status.run.is_none() && status.pid.is_none() && status.finish_pid.is_none()
}

/// The first run that a start ordered now is answered for.
pub(crate) fn first_run(status: &Status, fresh: bool) -> u64 {
    let current = status.run.map(RunId::get);
    let ended = status.last_exit.as_ref().map(|last| last.run.get());
    let goes_on = !fresh && status.state != StateName::Stopping;
    match current {
        Some(run) if goes_on && ended.is_none_or(|ended| ended < run) => run,
        _ => current.max(ended).map_or(0, |run| run + 1),
    }
}

fn error(code: ErrorCode, message: &str) -> ErrorBody {
    ErrorBody {
        code,
        message: message.to_owned(),
        hint: None,
    }
}

fn timeout(status: Option<&Status>) -> ErrorBody {
    let so_far = match status {
        Some(status) => format!("it is {}: {}", status.state.as_str(), status.reason),
        None => "it is not registered".to_owned(),
    };
    ErrorBody {
        code: ErrorCode::TimedOut,
        message: format!("the time allowed is over, and {so_far}"),
        hint: Some("the order stands; ask for the status, or wait longer".to_owned()),
    }
}

/// All waiters.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    list: Vec<Waiter>,
}

impl Waiters {
    /// Adds one.
    pub(crate) fn add(&mut self, waiter: Waiter) {
        self.list.push(waiter);
    }

    /// How many there are of such clients.
    pub(crate) fn count(&self, is_counted: impl Fn(ClientId) -> bool) -> usize {
        let theirs = self.list.iter().filter(|w| is_counted(w.client));
        theirs.count()
    }

    /// Forgets those of a client that is gone. Its orders stand.
    pub(crate) fn forget_client(&mut self, client: ClientId) {
        self.list.retain(|waiter| waiter.client != client);
    }

    /// Whether anyone waits for this service.
    pub(crate) fn any_for(&self, name: &str) -> bool {
        self.list.iter().any(|waiter| waiter.name == name)
    }

    /// Shows all who wait for a service how it is.
    pub(crate) fn look(
        &mut self,
        name: &str,
        status: Option<&Status>,
        says_ready: bool,
        now: Time,
    ) {
        for waiter in self.list.iter_mut().filter(|waiter| waiter.name == name) {
            waiter.look(status, says_ready, now);
        }
    }

    /// Names for which a deadline has come.
    pub(crate) fn due(&self, now: Time) -> Vec<String> {
        let due = self
            .list
            .iter()
            .filter(|w| w.next_time().is_some_and(|at| at <= now));
        let mut names: Vec<String> = due.map(|w| w.name.clone()).collect();
        names.dedup();
        names
    }

    /// When the next deadline comes.
    pub(crate) fn next_deadline(&self) -> Option<Time> {
        self.list.iter().filter_map(Waiter::next_time).min()
    }

    /// Tells those whose order another one overrides.
    pub(crate) fn supersede(&mut self, name: &str, by: &Goal) {
        let overridden = |w: &&mut Waiter| {
            w.name == name && w.outcome.is_none() && w.order.is_some() && conflicts(&w.goal, by)
        };
        for waiter in self.list.iter_mut().filter(overridden) {
            waiter.outcome = Some(Err(error(ErrorCode::Superseded, "a later order won")));
            // The later order's record is the one that counts.
            waiter.order = None;
        }
    }

    /// The keeper has done the pass of this number.
    pub(crate) fn reconciled(&mut self, up_to: u64, outcome: &Result<(), ErrorBody>) {
        for waiter in &mut self.list {
            if let Goal::Reconciled { seq } = waiter.goal
                && seq <= up_to
            {
                waiter.outcome = Some(outcome.clone());
            }
        }
    }

    /// Takes those that can be answered, each with whether its order is recorded.
    pub(crate) fn take_settled(
        &mut self,
        now: Time,
        keeper: bool,
        is_recorded: impl Fn(&str, u64) -> bool,
    ) -> Vec<(Waiter, Option<bool>)> {
        let mut settled = Vec::new();
        let mut waiting = Vec::with_capacity(self.list.len());
        for waiter in self.list.drain(..) {
            let recorded = waiter.order.map(|seq| is_recorded(&waiter.name, seq));
            let too_late = waiter.look_again.is_some_and(|at| at <= now);
            let hold = recorded == Some(false) && keeper && !too_late;
            if waiter.outcome.is_some() && !hold {
                settled.push((waiter, recorded));
            } else {
                waiting.push(waiter);
            }
        }
        self.list = waiting;
        settled
    }
}

impl Waiter {
    fn next_time(&self) -> Option<Time> {
        let deadline = self.deadline.filter(|_| self.outcome.is_none());
        match (deadline, self.look_again) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }
}

/// Whether an order for one goal makes another one moot. Two starts, or two stops, agree.
fn conflicts(earlier: &Goal, later: &Goal) -> bool {
    match (earlier, later) {
        (Goal::Started { from: a, once: x }, Goal::Started { from: b, once: y }) => {
            a != b || x != y
        }
        (Goal::Stopped { .. }, Goal::Stopped { .. }) => false,
        _ => true,
    }
}
