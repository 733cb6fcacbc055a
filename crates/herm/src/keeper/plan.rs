//! What to do about the difference between the home and what is supervised. Pure: the world is an
//! argument, actions are the result, and carrying them out makes the next plan empty.
//!
//! | the home says | and is supervised | then |
//! | --- | --- | --- |
//! | a profile | not, or otherwise | register |
//! | a profile | taken out of the scan directory | nothing, until somebody wants it |
//! | no profile | a gateway | unregister |
//! | another instance runs it | anything | register switched off, and say who |
//! | running, nothing in the way | wanted down | start |
//! | stopped | wanted up | stop |
//! | a foreign gateway runs, or its claims are another's | wanted up, no process | stop |
//! | other inputs than after the failed exit | parked | wake |

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use herm_home::inputs::Inputs;
use herm_home::{Desired, ProfileName};
use herm_wire::{Desired as Want, Kind, ServiceSpec, ServiceView, State};

/// How the supervisor says that a service has not run since it began.
const NEVER_STARTED: &str = "not started yet";

/// What the home says of one profile.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Profile {
    /// Its name.
    pub(crate) name: ProfileName,
    /// How its gateway is launched; `initial` is the plan's to fill in.
    pub(crate) spec: ServiceSpec,
    /// The record of intent.
    pub(crate) intent: Option<Desired>,
    /// What the agent's state file says is desired.
    pub(crate) mirrored: Option<Desired>,
    /// Whether its gateway starts by itself; not for profiles that another's gateway serves.
    pub(crate) starts_by_itself: bool,
    /// Who holds what it needs, in words.
    pub(crate) clash: Option<String>,
    /// Whether it holds the claims it was started with.
    pub(crate) holds_claims: bool,
    /// Whose running gateway serves it.
    pub(crate) served_by: Option<ProfileName>,
    /// A gateway of it that runs outside supervision, in words.
    pub(crate) foreign: Option<String>,
    /// Another instance runs the gateways of this home, or nobody does and this one is not to.
    /// What is in its files is that one's to change.
    pub(crate) elsewhere: bool,
    /// Which one, where it is known.
    pub(crate) owner: Option<String>,
    /// The fingerprint of what it is configured with.
    pub(crate) inputs: Inputs,
    /// When that was last written, in the form of PID 1's times.
    pub(crate) inputs_written: String,
}

/// The keeper's own words on a service, as last sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Annotation {
    /// See [`Profile::served_by`].
    pub(crate) served_by: Option<String>,
    /// See [`Profile::owner`].
    pub(crate) owner: Option<String>,
    /// Where it serves.
    pub(crate) port: Option<u16>,
    /// A remark on what is in its way.
    pub(crate) note: Option<String>,
}

/// What a parked gateway was configured with after the exit that parked it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parked {
    /// When it exited; names the exit.
    pub(crate) exit_at: String,
    /// The fingerprint then.
    pub(crate) inputs: Inputs,
}

/// What the keeper did before and PID 1 does not tell.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Memory {
    /// What each service was registered with.
    pub(crate) registered: BTreeMap<String, ServiceSpec>,
    /// What was said of each service.
    pub(crate) annotations: BTreeMap<String, Annotation>,
    /// Parked gateways, by profile.
    pub(crate) parked: BTreeMap<ProfileName, Parked>,
    /// Services that are being unregistered.
    pub(crate) leaving: BTreeSet<String>,
    /// Whose gateways somebody took out of the scan directory: until they are wanted again, they
    /// are left out.
    pub(crate) withdrawn: BTreeSet<ProfileName>,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Action {
    /// Supervise, or publish with another launch.
    Register(Box<ServiceSpec>),
    /// Stop and forget.
    Unregister(String),
    /// Bring about what was ordered before.
    Start(String),
    /// The same.
    Stop(String),
    /// Tell what only the home tells.
    Annotate(String, Annotation),
    /// Remember what a parked gateway failed with.
    NoteParked(ProfileName, Parked),
    /// Try a parked gateway again; its inputs are these now.
    Wake(ProfileName, Parked),
    /// Put the mirror of intent right.
    Mirror(ProfileName, Desired),
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Register(spec) if spec.initial == Want::Up => {
                write!(f, "register {} and start it", spec.name)
            }
            Self::Register(spec) => write!(f, "register {}", spec.name),
            Self::Unregister(name) => write!(f, "unregister {name}"),
            Self::Start(name) => write!(f, "start {name}"),
            Self::Stop(name) => write!(f, "stop {name}"),
            Self::Annotate(
                name,
                Annotation {
                    note: Some(note), ..
                },
            ) => write!(f, "remark on {name}: {note}"),
            Self::Annotate(name, _) => write!(f, "remark on {name}"),
            Self::NoteParked(name, _) => write!(f, "remember the inputs with which {name} failed"),
            Self::Wake(name, _) => write!(f, "try {name} again: its inputs have changed"),
            Self::Mirror(name, desired) => {
                write!(f, "write {desired} into the state file of {name}")
            }
        }
    }
}

/// The actions that bring `services` into line with `profiles`.
pub(crate) fn plan(
    profiles: &[Profile],
    services: &BTreeMap<String, ServiceView>,
    memory: &Memory,
) -> Vec<Action> {
    let mut actions = Vec::new();
    let known: BTreeSet<String> = profiles
        .iter()
        .map(|profile| profile.name.service())
        .collect();
    for service in services.values() {
        let gone = service.kind == Kind::Gateway && !known.contains(&service.name);
        if gone && !memory.leaving.contains(&service.name) {
            actions.push(Action::Unregister(service.name.clone()));
        }
    }
    for profile in profiles {
        about(
            profile,
            services.get(&profile.name.service()),
            memory,
            &mut actions,
        );
    }
    actions
}

fn about(
    profile: &Profile,
    view: Option<&ServiceView>,
    memory: &Memory,
    actions: &mut Vec<Action>,
) {
    let name = profile.name.service();
    let leaving = memory.leaving.contains(&name);
    let published = memory.registered.get(&name) == Some(&profile.spec);
    if leaving && view.is_some() {
        // It comes back under the same name: registered again when the old one has gone.
        return;
    }
    if view.is_none() && memory.withdrawn.contains(&profile.name) {
        return;
    }
    if view.is_none() || !published {
        let mut spec = profile.spec.clone();
        spec.initial = if profile.may_run() {
            Want::Up
        } else {
            Want::Down
        };
        actions.push(Action::Register(Box::new(spec)));
    }
    if let Some(view) = view {
        actions.extend(profile.correction(view));
        actions.extend(profile.parked(view, memory.parked.get(&profile.name)));
    }
    let annotation = profile.annotation(view);
    if memory.annotations.get(&name).cloned().unwrap_or_default() != annotation {
        actions.push(Action::Annotate(name, annotation));
    }
    match profile.intent {
        Some(desired) if profile.mirrored != Some(desired) && !profile.elsewhere => {
            actions.push(Action::Mirror(profile.name.clone(), desired));
        }
        _ => {}
    }
}

impl Profile {
    /// Whether it should be up and nothing is in the way.
    fn may_run(&self) -> bool {
        self.intent == Some(Desired::Running)
            && !self.elsewhere
            && self.starts_by_itself
            && self.clash.is_none()
            && self.served_by.is_none()
            && self.foreign.is_none()
    }

    /// What PID 1 wants and should not, or the reverse. A service it can't start (disabled) or
    /// that another instance runs is left alone.
    fn correction(&self, view: &ServiceView) -> Option<Action> {
        let name = view.name.clone();
        if self.elsewhere {
            // Its registration, switched off, has seen to it.
            return None;
        }
        match view.desired {
            Want::Down
                if self.may_run() && !matches!(view.state, State::Disabled | State::Remote) =>
            {
                Some(Action::Start(name))
            }
            Want::Up if self.intent == Some(Desired::Stopped) => Some(Action::Stop(name)),
            // A gateway that runs is never stopped for a clash it did not start with.
            Want::Up if self.clash.is_some() && !self.holds_claims => Some(Action::Stop(name)),
            Want::Up if self.foreign.is_some() && is_between_runs(view) => Some(Action::Stop(name)),
            Want::Up | Want::Down => None,
        }
    }

    fn parked(&self, view: &ServiceView, known: Option<&Parked>) -> Option<Action> {
        if view.state != State::Parked {
            return None;
        }
        let exit_at = view.last_exit.as_ref().map_or(&view.since, |exit| &exit.at);
        let now = Parked {
            exit_at: exit_at.clone(),
            inputs: self.inputs.clone(),
        };
        match known {
            Some(known) if known.exit_at == *exit_at => {
                let changed = known.inputs != self.inputs;
                changed.then(|| Action::Wake(self.name.clone(), now))
            }
            // Seen for the first time. What was written since the exit is another content already.
            _ if self.inputs_written >= *exit_at => Some(Action::Wake(self.name.clone(), now)),
            _ => Some(Action::NoteParked(self.name.clone(), now)),
        }
    }

    /// The supervisor knows nothing of orders that were given before it began.
    fn stopped_before(&self, view: Option<&ServiceView>) -> Option<String> {
        let never_ran = view.is_some_and(|view| view.reason.starts_with(NEVER_STARTED));
        let stopped = self.intent == Some(Desired::Stopped) && never_ran;
        stopped.then(|| "recorded as stopped by an operator".to_owned())
    }

    /// What is in its way, in words.
    fn note(&self, view: Option<&ServiceView>) -> Option<String> {
        let in_the_way = self.clash.clone().or_else(|| self.foreign.clone());
        in_the_way.or_else(|| self.stopped_before(view))
    }

    fn annotation(&self, view: Option<&ServiceView>) -> Annotation {
        Annotation {
            served_by: self
                .served_by
                .as_ref()
                .filter(|_| !self.elsewhere)
                .map(ToString::to_string),
            owner: self.owner.clone(),
            port: self.spec.port,
            note: self.note(view).filter(|_| !self.elsewhere),
        }
    }
}

/// Wanted up, and no process of it is there: what is seen running is somebody else's.
fn is_between_runs(view: &ServiceView) -> bool {
    view.pid.is_none()
        && matches!(
            view.state,
            State::Down | State::Backoff | State::Parked | State::Failed
        )
}

impl Memory {
    /// Remembers that an action was carried out.
    pub(crate) fn done(&mut self, action: &Action) {
        match action {
            Action::Register(spec) => {
                let mut spec = (**spec).clone();
                spec.initial = Want::Down;
                if self
                    .registered
                    .insert(spec.name.clone(), spec.clone())
                    .is_none()
                {
                    self.annotations.remove(&spec.name);
                }
            }
            Action::Unregister(name) => {
                self.leaving.insert(name.clone());
            }
            Action::Annotate(name, annotation) => {
                self.annotations.insert(name.clone(), annotation.clone());
            }
            Action::NoteParked(profile, parked) | Action::Wake(profile, parked) => {
                self.parked.insert(profile.clone(), parked.clone());
            }
            Action::Start(_) | Action::Stop(_) | Action::Mirror(..) => {}
        }
    }

    /// Takes what PID 1 shows for what was done: for those who only look.
    pub(crate) fn assume(&mut self, profile: &Profile, view: Option<&ServiceView>) {
        let Some(view) = view else { return };
        let spec = &profile.spec;
        self.registered.insert(spec.name.clone(), spec.clone());
        let note = profile.annotation(Some(view)).note;
        let note = note.filter(|note| view.reason.ends_with(note.as_str()));
        let annotation = Annotation {
            served_by: view.served_by.clone(),
            owner: view.owner.clone(),
            port: view.port,
            note,
        };
        self.annotations.insert(spec.name.clone(), annotation);
    }

    /// After a new snapshot: what PID 1 doesn't have was not registered, or is gone.
    pub(crate) fn keep_registered(&mut self, has: impl Fn(&str) -> bool) {
        self.registered.retain(|name, _| has(name));
        self.annotations.retain(|name, _| has(name));
        self.leaving.clear();
    }

    /// Forgets a service that is gone.
    pub(crate) fn gone(&mut self, name: &str) {
        self.leaving.remove(name);
        self.registered.remove(name);
        self.annotations.remove(name);
    }
}

#[cfg(test)]
mod tests;
