//! The keeper: brings what is supervised into line with the home, and is the one writer of intent
//! (contract sections 2 to 5).
//!
//! It is level-triggered. Whatever woke it (the boot, a change of a file, an event of PID 1, a
//! request, the passing of time), it looks at what is so, makes a [`plan`](mod@plan) and carries
//! it out; nothing depends on having seen every single change. [`session`] waits and acts,
//! [`facts`] reads the home, [`boot`] decides what a restart brings back, [`orders`] records what
//! operators want. Where several instances share the home, one of them runs its gateways:
//! [`leases`] keeps this one's lease, [`guard`] stops the gateways when it is lost, [`serve`] carries
//! out verbs that the others hand over. [`compress`] shrinks rotated logs where that is wanted.

mod boot;
mod compress;
mod dashboard;
mod facts;
mod files;
mod guard;
mod leases;
mod orders;
mod plan;
mod port;
mod serve;
mod session;
mod steps;

use std::collections::BTreeMap;

use herm_home::ProfileName;
use herm_home::ports::Ports;
use herm_wire::ServiceView;

pub(crate) use facts::{clash, instant_text, needs};
pub(crate) use port::{names_its_port, renew_its_port, renew_port};
pub(crate) use serve::HANDED_OVER;

use crate::context::{Context, home_failure};
use crate::failure::Outcome;
use crate::launch::LaunchFacts;
use facts::{Access, Elsewhere, Facts, Remarks};
use plan::Memory;

/// `herm keeper`: runs until the supervisor has gone.
pub(crate) fn run(context: &Context) -> Outcome {
    session::run(context)
}

/// What a pass would do now, in words, without doing it. What was registered before isn't known
/// here, so a launch that has changed is not told.
pub(crate) fn what_would_be_done(
    context: &Context,
    services: &[ServiceView],
) -> Outcome<Vec<String>> {
    let home = context.home();
    let launch = LaunchFacts::current(home)?;
    let mut remarks = Remarks::new();
    let mut facts: BTreeMap<ProfileName, Facts> = BTreeMap::new();
    let mut ports = Ports::of(home);
    for name in context.discover()?.profiles {
        let look = (Access::Look, &mut ports);
        let read = Facts::read(home, &name, &launch, look, &mut remarks).map_err(home_failure)?;
        facts.insert(name, read);
    }
    let services: BTreeMap<String, ServiceView> = services
        .iter()
        .map(|service| (service.name.clone(), service.clone()))
        .collect();
    let claims = facts::foresee_claims(home, &facts, &services);
    // Where another instance runs them the supervisor says so.
    let owner = services.values().find_map(|service| service.owner.clone());
    let elsewhere = owner.map(Elsewhere::by);
    let profiles = facts::profiles(
        home,
        &launch,
        &facts,
        &services,
        &claims,
        elsewhere.as_ref(),
    );
    let mut memory = Memory::default();
    for profile in &profiles {
        memory.assume(profile, services.get(&profile.spec.name));
    }
    let actions = plan::plan(&profiles, &services, &memory);
    Ok(remarks
        .into_iter()
        .chain(actions.iter().map(ToString::to_string))
        .collect())
}
