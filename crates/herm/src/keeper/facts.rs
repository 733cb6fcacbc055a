//! Reading the home: what the plan has to know of each profile.

use std::collections::BTreeMap;
use std::env;
use std::path::Path;
use std::time::SystemTime;

use herm_home::claims::{Claims, Needs};
use herm_home::config::Config;
use herm_home::dotenv::{Dotenv, is_truthy};
use herm_home::inputs::Inputs;
use herm_home::owner::Owner;
use herm_home::ports::Ports;
use herm_home::state::AgentState;
use herm_home::unique::API_SERVER;
use herm_home::{Desired, Home, HomeError, ProfileName, claims, owner, served};
use herm_wire::{ServiceSpec, ServiceView};

use super::files::Files;
use super::plan::Profile;
use super::port::{AUTO_PORT, Port, api_port};
use crate::context::home_failure;
use crate::failure::{Failure, Outcome};
use crate::launch::{Endpoint, LaunchFacts};

/// One profile's files, read at one time.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    /// The record of intent.
    pub(crate) intent: Option<Desired>,
    /// The agent's state file.
    pub(crate) agent: Option<AgentState>,
    /// What it will take for itself when it runs.
    needs: Needs,
    /// Where it serves HTTP.
    endpoint: Option<Endpoint>,
    /// The fingerprint of what it is configured with.
    inputs: Inputs,
    /// When that was last written.
    inputs_written: SystemTime,
    /// The living gateway that its pid file names: the supervised one, unless it was found to be
    /// another.
    owner: Option<Owner>,
    /// Whose that one is.
    standing: Standing,
}

/// Whose a living gateway is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Ours, as far as is known.
    Unknown,
    /// Somebody's who started it outside supervision.
    Foreign,
    /// It is the container's main program.
    Main,
}

/// What is said about the reading: for the boot's output and the answer to `herm reconcile`.
pub(crate) type Remarks = Vec<String>;

impl Elsewhere {
    /// Another instance runs them.
    pub(crate) fn by(owner: String) -> Self {
        Self {
            why: format!("run by instance {owner}"),
            owner: Some(owner),
        }
    }

    /// Nobody does.
    pub(crate) fn nowhere() -> Self {
        Self {
            owner: None,
            why:
                "no instance of herm runs the gateways of this home, and this container's role is \
                  `dashboard`: start a container that runs them"
                    .to_owned(),
        }
    }
}

/// Whether the home is this process's to change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// It is: what is corrupt is set aside, ports are given.
    Keep,
    /// It is another instance's, or somebody only wants to know.
    Look,
}

/// Why the gateways of the home don't run here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Elsewhere {
    /// The instance that runs them, where one does.
    pub(crate) owner: Option<String>,
    /// The same in words.
    pub(crate) why: String,
}

impl Facts {
    /// Reads a profile. Corrupt files count as absent; where the home is ours they are set aside
    /// and reported.
    pub(crate) fn read(
        home: &Home,
        name: &ProfileName,
        launch: &LaunchFacts,
        (access, ports): (Access, &mut Ports<'_>),
        remarks: &mut Remarks,
    ) -> Result<Self, HomeError> {
        let files = Files::read(home, name, access)?;
        Ok(Self::of(files, name, launch, (access, ports), remarks))
    }

    /// What is to be known of a profile with these files.
    pub(crate) fn of(
        files: Files,
        name: &ProfileName,
        launch: &LaunchFacts,
        (access, ports): (Access, &mut Ports<'_>),
        remarks: &mut Remarks,
    ) -> Self {
        remarks.extend(files.remarks);
        let (dotenv, config) = (files.dotenv, files.config.as_ref());
        let mut needs = Needs::of(&dotenv, config);
        let port = if launch.is_built_in() {
            let port = Port {
                ports,
                name,
                access,
            };
            port.of_built_in(&dotenv, config, &mut needs, remarks)
        } else {
            api_port(&needs)
        };
        let host = text(&dotenv, config, "API_SERVER_HOST", "host");
        Self {
            intent: files.intent.map(|intent| intent.state),
            agent: files.agent,
            needs,
            endpoint: port.map(|port| Endpoint { host, port }),
            inputs: files.inputs,
            inputs_written: files.inputs_written,
            owner: files.owner,
            standing: Standing::Unknown,
        }
    }

    /// What the state file says is desired.
    pub(crate) fn mirrored(&self) -> Option<Desired> {
        match self.agent.as_ref()?.desired_state()? {
            "running" => Some(Desired::Running),
            "stopped" => Some(Desired::Stopped),
            _ => None,
        }
    }

    /// Whether a gateway of it runs outside supervision, or did when this was read.
    pub(crate) fn has_foreign(&self) -> bool {
        self.standing == Standing::Foreign
    }

    /// Whether a gateway of it lives, of which it is not known whose it is.
    pub(crate) fn has_unknown_owner(&self) -> bool {
        self.owner.is_some() && self.standing == Standing::Unknown
    }

    /// Told that no supervised gateway ran after the owner was read: if it still lives it is
    /// somebody else's.
    pub(crate) fn nothing_supervised_runs(&mut self, home: &Home, name: &ProfileName) {
        let now = owner::find(&home.profile(name), Path::new("/proc"))
            .ok()
            .flatten();
        if now.is_some() && now == self.owner {
            self.standing = Standing::Foreign;
        }
        self.owner = now;
    }

    /// Told that the main program is a gateway of this profile, whatever its files say by now.
    pub(crate) fn main_program_is(&mut self, owner: Owner) {
        self.owner = Some(owner);
        self.standing = Standing::Main;
    }

    /// The port that was given to it.
    pub(super) fn given_port(&self) -> Option<u16> {
        let mut ports = self.needs.ports.iter();
        ports
            .find(|(_, key)| *key == AUTO_PORT)
            .map(|(port, _)| *port)
    }

    /// Whether it should run and no process of it lives.
    pub(super) fn is_missing(&self) -> bool {
        self.intent == Some(Desired::Running) && self.owner.is_none()
    }

    /// The gateway that runs outside supervision, in words.
    pub(crate) fn foreign(&self) -> Option<String> {
        let owner = self.owner.as_ref()?;
        let process = format!("pid {}: {}", owner.pid, owner.argv.join(" "));
        match self.standing {
            Standing::Unknown => None,
            Standing::Foreign => Some(format!(
                "a gateway of this profile runs outside supervision ({process}); starting takes it over"
            )),
            Standing::Main => Some(format!(
                "the main program is a gateway of this profile ({process})"
            )),
        }
    }

    /// Where it serves.
    pub(crate) fn endpoint(&self) -> Option<&Endpoint> {
        self.endpoint.as_ref()
    }
}

pub(super) fn text(
    dotenv: &Dotenv,
    config: Option<&Config>,
    key: &str,
    extra: &str,
) -> Option<String> {
    let configured = || config?.text(&["platforms", API_SERVER.platform, "extra", extra]);
    dotenv
        .get(key)
        .map(|value| value.expose().trim().to_owned())
        .or_else(configured)
}

/// A time in the form of PID 1's, so that the two compare as text.
pub(crate) fn instant_text(at: SystemTime) -> String {
    let since_epoch = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    herm_wire::time::rfc3339(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}

/// Whether one gateway serves all profiles: the container says so.
pub(crate) fn is_multiplexed() -> bool {
    env::var("GATEWAY_MULTIPLEX_PROFILES").is_ok_and(|word| is_truthy(&word))
}

/// What the plan is made of.
pub(crate) fn profiles(
    home: &Home,
    launch: &LaunchFacts,
    facts: &BTreeMap<ProfileName, Facts>,
    services: &BTreeMap<String, ServiceView>,
    claims: &Settled,
    elsewhere: Option<&Elsewhere>,
) -> Vec<Profile> {
    let running = |name: &ProfileName| runs(services, name);
    let states: BTreeMap<ProfileName, AgentState> = facts
        .iter()
        .filter(|(name, _)| running(name))
        .filter_map(|(name, facts)| Some((name.clone(), facts.agent.clone()?)))
        .collect();
    let served = served::served_by(&states);
    let multiplexed = is_multiplexed();
    facts
        .iter()
        .map(|(name, facts)| Profile {
            spec: ServiceSpec {
                disabled: elsewhere.map(|elsewhere| elsewhere.why.clone()),
                ..launch.spec(home, name, facts.endpoint.as_ref())
            },
            elsewhere: elsewhere.is_some(),
            owner: elsewhere.and_then(|elsewhere| elsewhere.owner.clone()),
            name: name.clone(),
            intent: facts.intent,
            mirrored: facts.mirrored(),
            starts_by_itself: name.is_default() || !multiplexed,
            clash: claims.refused.get(name).cloned(),
            holds_claims: claims.holders.contains(name),
            served_by: served.get(name).cloned(),
            foreign: facts.foreign(),
            inputs: facts.inputs.clone(),
            inputs_written: instant_text(facts.inputs_written),
        })
        .collect()
}

/// Who holds and who was refused.
#[derive(Debug, Default)]
pub(crate) struct Settled {
    refused: BTreeMap<ProfileName, String>,
    holders: Vec<ProfileName>,
}

/// Takes claims and gives them back; on a disk that takes no writes, only as far as this look goes.
pub(crate) fn take_claims(
    home: &Home,
    facts: &BTreeMap<ProfileName, Facts>,
    services: &BTreeMap<String, ServiceView>,
    remarks: &mut Remarks,
) -> Settled {
    let running = |name: &ProfileName| runs(services, name);
    let settle = |claims: &mut Claims| settle_claims(claims, facts, &running);
    claims::update(home, SystemTime::now(), settle).unwrap_or_else(|error| {
        remarks.push(error.to_string());
        foresee_claims(home, facts, services)
    })
}

/// Who would hold what, without taking anything.
pub(crate) fn foresee_claims(
    home: &Home,
    facts: &BTreeMap<ProfileName, Facts>,
    services: &BTreeMap<String, ServiceView>,
) -> Settled {
    let read = claims::peek(home).ok().flatten();
    settle_claims(&mut read.unwrap_or_default(), facts, &|name| {
        runs(services, name)
    })
}

fn runs(services: &BTreeMap<String, ServiceView>, name: &ProfileName) -> bool {
    services
        .get(&name.service())
        .is_some_and(|view| view.pid.is_some())
}

/// Those who should run or do claim what they need, those who are down for good give it back.
/// Who held something before goes first, then in order of names.
fn settle_claims(
    claims: &mut Claims,
    facts: &BTreeMap<ProfileName, Facts>,
    running: &dyn Fn(&ProfileName) -> bool,
) -> Settled {
    claims.retain(|name| facts.contains_key(name));
    let mut settled = Settled::default();
    let (mut holders, mut others): (Vec<_>, Vec<_>) = facts
        .iter()
        .partition(|(name, _)| claims.of(name).is_some());
    holders.append(&mut others);
    for (name, facts) in holders {
        if facts.intent != Some(Desired::Running) && !running(name) {
            claims.release(name);
        } else if let Err(clashes) = claims.claim(name, facts.needs.clone()) {
            let words: Vec<String> = clashes.iter().map(ToString::to_string).collect();
            settled.refused.insert(name.clone(), words.join("; "));
        }
    }
    settled.holders = facts
        .keys()
        .filter(|name| claims.of(name).is_some())
        .cloned()
        .collect();
    settled
}

/// The ports and tokens a profile's gateway takes for itself.
pub(crate) fn needs(home: &Home, name: &ProfileName) -> Outcome<Needs> {
    let launch = LaunchFacts::current(home)?;
    let look = (Access::Look, &mut Ports::of(home));
    let facts = Facts::read(home, name, &launch, look, &mut Remarks::new());
    facts.map(|facts| facts.needs).map_err(home_failure)
}

/// What stands in the way of starting a profile: another's claim on what it needs (L14).
pub(crate) fn clash(home: &Home, name: &ProfileName) -> Outcome<Option<Failure>> {
    let needs = needs(home, name)?;
    let claims = claims::peek(home)
        .map_err(home_failure)?
        .unwrap_or_default();
    let clashes = claims.clashes(name, &needs);
    Ok(clashes
        .first()
        .map(|clash| Failure::failed(clash.to_string())))
}
