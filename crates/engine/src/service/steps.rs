//! The schedule of an end: ask, ask the group, kill, and keep killing.

use core::time::Duration;

use crate::model::{Action, Next, RunId, ServiceId, Target, signal};
use crate::time::Time;

/// After KILL a process has this long until it is reported as unkillable.
const UNKILLABLE_AFTER: Duration = Duration::from_secs(1);
/// KILL is repeated at this interval: forks race with it, and a lost report is asked for again.
const KILL_AGAIN_EVERY: Duration = Duration::from_secs(5);

/// How far an end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The main process was asked; its group is asked at this time.
    Asked { group_at: Time },
    /// Everybody who gets asked was asked.
    AllAsked,
    /// Everybody was killed; whoever is left at this time is unkillable.
    Killed { unkillable_at: Time },
    /// Somebody survived KILL; it is repeated at this time.
    Unkillable { again_at: Time },
}

/// The schedule, and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Steps {
    pub(crate) step: Step,
    /// When the grace ends.
    pub(crate) kill_at: Time,
}

impl Steps {
    /// The main process is asked now, everybody is killed at `kill_at`.
    pub(crate) fn ask(now: Time, kill_at: Time) -> Self {
        let half = kill_at.since(now) / 2;
        Self {
            step: Step::Asked {
                group_at: now + half,
            },
            kill_at,
        }
    }

    /// Nobody is asked any more; everybody is killed at `kill_at`.
    pub(crate) const fn kill(kill_at: Time) -> Self {
        Self {
            step: Step::AllAsked,
            kill_at,
        }
    }

    /// Moves the end of the grace forward, never back; the group is asked half-way to it.
    pub(crate) fn hasten(&mut self, now: Time, kill_at: Time) {
        self.kill_at = self.kill_at.min(kill_at);
        let half = self.kill_at.since(now) / 2;
        if let Step::Asked { group_at } = &mut self.step {
            *group_at = (*group_at).min(now + half);
        }
    }

    /// The schedule for the rest of a set whose main process is gone: `fresh`, unless this one is
    /// stricter or has come to killing.
    pub(crate) fn for_the_rest(self, fresh: Self) -> Self {
        if self.has_killed() {
            self
        } else {
            Self::kill(self.kill_at.min(fresh.kill_at))
        }
    }

    pub(crate) const fn has_killed(&self) -> bool {
        match self.step {
            Step::Asked { .. } | Step::AllAsked => false,
            Step::Killed { .. } | Step::Unkillable { .. } => true,
        }
    }

    pub(crate) fn deadline(&self) -> Time {
        match self.step {
            Step::Asked { group_at } => group_at.min(self.kill_at),
            Step::AllAsked => self.kill_at,
            Step::Killed { unkillable_at } => unkillable_at,
            Step::Unkillable { again_at } => again_at,
        }
    }

    pub(crate) const fn next(&self) -> Option<Next> {
        match self.step {
            Step::Asked { group_at } => Some(Next::SignalGroup(group_at)),
            Step::AllAsked => Some(Next::Kill(self.kill_at)),
            Step::Killed { unkillable_at: _ } => None,
            Step::Unkillable { again_at } => Some(Next::Kill(again_at)),
        }
    }

    pub(crate) const fn is_unkillable(&self) -> bool {
        matches!(self.step, Step::Unkillable { again_at: _ })
    }

    /// Takes the step that is due, if one is, and says what it consists of.
    pub(crate) fn advance(
        &mut self,
        now: Time,
        id: ServiceId,
        run: RunId,
        stop_signal: u8,
    ) -> Option<[Option<Action>; 2]> {
        if now < self.deadline() {
            return None;
        }
        let kill = Action::Signal {
            id,
            run,
            target: Target::Set,
            signal: signal::KILL,
            cont: false,
        };
        Some(match self.step {
            Step::Asked { group_at } if group_at <= now => {
                self.step = Step::AllAsked;
                let target = Target::Group;
                [
                    Some(Action::Signal {
                        id,
                        run,
                        target,
                        signal: stop_signal,
                        cont: true,
                    }),
                    None,
                ]
            }
            Step::Asked { group_at: _ } | Step::AllAsked => {
                self.step = Step::Killed {
                    unkillable_at: now + UNKILLABLE_AFTER,
                };
                [Some(Action::Overran { id, run }), Some(kill)]
            }
            Step::Killed { unkillable_at: _ } => {
                self.step = Step::Unkillable {
                    again_at: now + KILL_AGAIN_EVERY,
                };
                [Some(Action::Unkillable { id, run }), Some(kill)]
            }
            Step::Unkillable { again_at: _ } => {
                self.step = Step::Unkillable {
                    again_at: now + KILL_AGAIN_EVERY,
                };
                [Some(kill), None]
            }
        })
    }
}
