//! Who owns the gateways, decided from what is seen and when. Pure: looks and times are arguments.
//!
//! | state | what is seen | then |
//! | --- | --- | --- |
//! | any | the epoch is another's, and that one lives | watch it |
//! | any but owner | it is nobody's, or its holder is dead or silent | take the next epoch |
//! | the same | the same, and the home takes no writes | run without a lease |
//! | owner | its own epoch, renewed in time, or nobody else is there | renew |
//! | owner | its own epoch, renewed too late | take the next epoch |
//!
//! Why there is one owner at most: whoever takes over by silence saw no renewal for
//! [`Timing::silence`], so the owner's last one began before that; [`Timing::fence`] after it the
//! owner has counted itself out, and what is left until the silence is over is for its gateways to
//! stop in. It is never in again without an epoch of its own making, and two can't make the same.
//! An owner that is alone on a local disk renews nothing until it is told of a change. While it
//! looks it counts from the moment it began to, because the disk may hang before it has seen who
//! came; where a look ends with an error it looks again.
//! A process that was stopped for longer than that (`docker pause`) can't count itself out; it does
//! so with the first thing it does again, or if its disk hangs then, [`Timing::fence`] later.

use std::time::Duration;

/// A point on the observer's own monotonic clock.
pub type Time = Duration;

/// How long is long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// From one renewal to the next.
    pub beat: Duration,
    /// After this without a renewal an owner counts itself out.
    pub fence: Duration,
    /// After this without a renewal others may take over.
    pub silence: Duration,
    /// A lock that was seen held and is free has to stay free for this long: the keeper may have
    /// died alone and be on its way back. Also how long an unfinished epoch is waited for.
    pub settle: Duration,
}

impl Timing {
    /// Contract section 10.
    pub const STANDARD: Self = Self {
        beat: Duration::from_secs(5),
        fence: Duration::from_secs(20),
        silence: Duration::from_secs(30),
        settle: Duration::from_secs(2),
    };
}

/// What is known of an instance without waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// On this kernel somebody holds its lock.
    Alive,
    /// On this kernel nobody does.
    Dead,
    /// It left the gateways to others.
    Released,
    /// Only time tells.
    Unknown,
}

/// Another instance's lease as it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// The file's bytes: they change with each renewal.
    pub bytes: Vec<u8>,
    /// What else is known.
    pub proof: Proof,
}

/// Who holds the highest epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// There is no epoch yet.
    Nobody,
    /// This instance.
    Me,
    /// The epoch names nobody yet, or an instance that has no lease.
    Unfinished,
    /// Another instance.
    Other(String, Sighting),
}

/// The home at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// The highest epoch; 0 where there is none.
    pub epoch: u64,
    /// Its holder.
    pub holder: Holder,
    /// Whether another instance is there that may live.
    pub others: bool,
}

/// Whether the own lease was renewed before a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrote {
    /// It was.
    Yes,
    /// The home takes no writes: it is full, read-only or another's.
    Refused,
    /// Something else went wrong, which may pass.
    Failed,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Stay,
    /// Create this epoch.
    Take(u64),
}

/// What this instance is to the gateways of the home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Not known, or not settled: what runs goes on, nothing is started.
    Undecided,
    /// It runs them.
    Owner,
    /// It ran them and can't say any more that it may: they are to be stopped.
    Fenced,
    /// It runs them, and can't keep others from doing so.
    Unleased,
    /// This instance does.
    Remote(String),
    /// Nobody does, and this one is not to.
    Unowned,
}

impl Standing {
    /// Whether gateways may be started here.
    pub fn runs_gateways(&self) -> bool {
        matches!(self, Self::Owner | Self::Unleased)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Unknown,
    Owner { epoch: u64, from: Time },
    Watching(Watched),
    Unleased,
}

/// The holder of an epoch, and what is known of it over time.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Watched {
    epoch: u64,
    holder: Holder,
    /// When it last changed.
    changed: Time,
    /// Its lock was seen held.
    was_alive: bool,
    /// Since when it is seen dead.
    dead_since: Option<Time>,
}

/// What came of the last look at the home.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LastLook {
    Over,
    /// It began then, and has shown nothing yet.
    Since(Time),
    Failed,
}

/// One instance.
#[derive(Debug, Clone)]
pub struct Machine {
    timing: Timing,
    /// Its role allows it to own gateways.
    may_own: bool,
    /// Nobody tells of changes of this file system, and locks on it prove nothing.
    blind: bool,
    state: State,
    /// When the last renewal that counts began.
    renewed: Time,
    /// Another instance that may live was seen, ever.
    exposed: bool,
    last_look: LastLook,
}

impl Machine {
    /// An instance that has not looked yet.
    pub fn new(timing: Timing, may_own: bool, blind: bool) -> Self {
        Self {
            timing,
            may_own,
            blind,
            state: State::Unknown,
            renewed: Time::ZERO,
            exposed: false,
            last_look: LastLook::Over,
        }
    }

    /// The home is about to be looked at, which may take for ever. On a local disk that is because
    /// of a change; elsewhere it says nothing about who came, and whoever is alone there goes on.
    pub fn looks(&mut self, now: Time) {
        if !self.blind && !matches!(self.last_look, LastLook::Since(_)) {
            self.last_look = LastLook::Since(now);
        }
    }

    /// The look ended with an error: that is no disk that hangs.
    pub fn saw_nothing(&mut self) {
        self.last_look = LastLook::Failed;
    }

    /// A renewal that began at `began`, then a look that ended at `now`.
    pub fn cycle(&mut self, began: Time, now: Time, wrote: Wrote, look: &Look) -> Step {
        self.last_look = LastLook::Over;
        self.exposed |= look.others;
        if look.holder == Holder::Me {
            return self.mine(began, wrote, look);
        }
        let watched = self.watch(now, look);
        let free = self.is_free(&watched, now);
        self.state = State::Watching(watched);
        if !free || !self.may_own {
            return Step::Stay;
        }
        match (wrote, look.epoch.checked_add(1)) {
            (Wrote::Yes, Some(next)) => Step::Take(next),
            (Wrote::Refused, _) => {
                self.state = State::Unleased;
                Step::Stay
            }
            (Wrote::Failed, _) | (Wrote::Yes, None) => Step::Stay,
        }
    }

    fn mine(&mut self, began: Time, wrote: Wrote, look: &Look) -> Step {
        let known = matches!(self.state, State::Owner { epoch, .. } if epoch == look.epoch);
        let in_time = began.saturating_sub(self.renewed) < self.timing.fence || !look.others;
        match wrote {
            Wrote::Yes if known && in_time => {
                self.renewed = began;
                Step::Stay
            }
            // A keeper that was restarted, or one that was away for too long.
            Wrote::Yes => look.epoch.checked_add(1).map_or(Step::Stay, Step::Take),
            Wrote::Refused if !known => {
                self.state = State::Unleased;
                Step::Stay
            }
            Wrote::Refused | Wrote::Failed => Step::Stay,
        }
    }

    /// What is watched now, with what was known of it before.
    fn watch(&self, now: Time, look: &Look) -> Watched {
        let fresh = Watched {
            epoch: look.epoch,
            holder: look.holder.clone(),
            changed: now,
            was_alive: false,
            dead_since: None,
        };
        let mut watched = match &self.state {
            State::Watching(before) if before.is_about(look) => Watched {
                changed: if before.holder.bytes() == look.holder.bytes() {
                    before.changed
                } else {
                    now
                },
                was_alive: before.was_alive,
                dead_since: before.dead_since,
                ..fresh
            },
            _ => fresh,
        };
        let dead = match &look.holder {
            Holder::Other(_, seen) => {
                watched.was_alive |= seen.proof == Proof::Alive;
                matches!(seen.proof, Proof::Dead | Proof::Released)
            }
            Holder::Nobody | Holder::Unfinished | Holder::Me => false,
        };
        watched.dead_since = if dead {
            Some(watched.dead_since.unwrap_or(now))
        } else {
            None
        };
        watched
    }

    fn is_free(&self, watched: &Watched, now: Time) -> bool {
        self.free_at(watched).is_some_and(|at| at <= now)
    }

    /// When what is watched may be taken over if nothing changes; `None`: never.
    fn free_at(&self, watched: &Watched) -> Option<Time> {
        match (&watched.holder, watched.dead_since) {
            (Holder::Nobody, _) => Some(Time::ZERO),
            (Holder::Me, _) => None,
            (Holder::Unfinished, _) => Some(watched.changed + self.timing.settle),
            (Holder::Other(_, seen), Some(since))
                if watched.was_alive && seen.proof == Proof::Dead =>
            {
                Some(since + self.timing.settle)
            }
            (Holder::Other(..), Some(since)) => Some(since),
            (Holder::Other(..), None) => Some(watched.changed + self.timing.silence),
        }
    }

    /// The instance whose epoch was to be followed, to be looked at once more after the next one
    /// was created.
    pub fn predecessor(&self) -> Option<&str> {
        match &self.state {
            State::Watching(Watched {
                holder: Holder::Other(id, _),
                ..
            }) => Some(id),
            _ => None,
        }
    }

    /// The epoch of [`Step::Take`] was created. `look` is how the home is since, `predecessor` how
    /// that one's lease is now: if it shows life, this process was stopped between its look and its
    /// deed, and the other one may believe in its epoch for a while yet.
    pub fn took(&mut self, began: Time, now: Time, look: &Look, predecessor: Option<&Sighting>) {
        if look.holder != Holder::Me {
            self.state = State::Watching(self.watch(now, look));
            return;
        }
        let from = match &self.state {
            State::Owner { from, .. } => *from,
            State::Watching(watched) if watched.shows_life(predecessor) => {
                now + self.timing.silence
            }
            State::Watching(_) | State::Unknown | State::Unleased => now,
        };
        self.exposed |= look.others;
        self.renewed = began;
        let epoch = look.epoch;
        self.state = State::Owner { epoch, from };
    }

    /// The epoch could not be created because the home takes no writes.
    pub fn refused(&mut self) {
        if !matches!(self.state, State::Owner { .. }) {
            self.state = State::Unleased;
        }
    }

    /// What this instance is now.
    pub fn standing(&self, now: Time) -> Standing {
        match &self.state {
            State::Unknown => Standing::Undecided,
            State::Unleased => Standing::Unleased,
            State::Owner { from, .. } if now < *from => Standing::Undecided,
            State::Owner { .. } if self.fence_at().is_some_and(|at| at <= now) => Standing::Fenced,
            State::Owner { .. } => Standing::Owner,
            State::Watching(watched) => match &watched.holder {
                Holder::Other(id, _) if self.may_own || !self.is_free(watched, now) => {
                    Standing::Remote(id.clone())
                }
                _ if self.may_own => Standing::Undecided,
                _ => Standing::Unowned,
            },
        }
    }

    /// When this instance counts itself out, if it renews nothing until then.
    pub fn fence_at(&self) -> Option<Time> {
        match self.state {
            State::Owner { .. } => {
                let since = match self.last_look {
                    _ if self.exposed => self.renewed,
                    LastLook::Since(began) => began,
                    LastLook::Over | LastLook::Failed => return None,
                };
                Some(since + self.timing.fence)
            }
            State::Unknown | State::Watching(_) | State::Unleased => None,
        }
    }

    /// The highest epoch that was seen to be this instance's; 0 where none was.
    pub fn epoch(&self) -> u64 {
        match self.state {
            State::Owner { epoch, .. } => epoch,
            State::Unknown | State::Watching(_) | State::Unleased => 0,
        }
    }

    /// Whether another instance was ever seen, which may be waiting to take over.
    pub fn is_exposed(&self) -> bool {
        self.exposed
    }

    /// When to look again if nothing tells of a change; `None`: no need to. An owner that is alone
    /// on a local disk neither looks nor writes.
    pub fn next_cycle(&self, now: Time) -> Option<Time> {
        let soon = now + self.timing.beat;
        let due = match &self.state {
            State::Unknown | State::Unleased => soon,
            State::Owner { from, .. } if now < *from => soon.min(*from),
            State::Owner { .. } if self.blind || self.exposed => soon,
            State::Owner { .. } if self.last_look == LastLook::Failed => soon,
            State::Owner { .. } => return None,
            State::Watching(watched) => {
                let free = self.free_at(watched).filter(|at| *at > now);
                let again = self.blind || (self.may_own && free.is_none());
                return free.into_iter().chain(again.then_some(soon)).min();
            }
        };
        Some(due)
    }
}

impl Watched {
    fn is_about(&self, look: &Look) -> bool {
        let same = match (&self.holder, &look.holder) {
            (Holder::Other(a, _), Holder::Other(b, _)) => a == b,
            (a, b) => a == b,
        };
        same && self.epoch == look.epoch
    }

    /// Whether the holder that was held to be gone is not.
    fn shows_life(&self, now: Option<&Sighting>) -> bool {
        match (&self.holder, now) {
            (Holder::Other(_, before), Some(now)) => {
                before.bytes != now.bytes
                    || (before.proof != Proof::Alive && now.proof == Proof::Alive)
            }
            _ => false,
        }
    }
}

impl Holder {
    fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Other(_, seen) => Some(&seen.bytes),
            Self::Nobody | Self::Me | Self::Unfinished => None,
        }
    }
}

#[cfg(test)]
mod tests;
