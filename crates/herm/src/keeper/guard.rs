//! The guard of the lease: stops the gateways of an instance that may not be their owner any more.
//!
//! It speaks to PID 1 only, over a connection of its own, because whatever touches the volume may
//! hang just when it is needed.

use std::time::Duration;

use herm_home::lease::Standing;
use herm_wire::{Body, Kind, Op, ServiceView, VerbOptions};

use super::leases::Shared;
use crate::client::{Client, unexpected};
use crate::failure::{Failure, Outcome};

/// What gateways get to stop in before they are killed. With the fence it is less than the silence
/// after which others take over.
const STOP_WITHIN: Duration = Duration::from_secs(8);
/// Between two looks while gateways stop: somebody may order one to start meanwhile, and nothing
/// else here would tell.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);
/// An end by force, by its name on the control socket.
const KILL: &str = "KILL";

/// Waits for the fence to be reached, and acts; for ever.
pub(super) fn guard(shared: &Shared) {
    loop {
        let now = shared.now();
        let machine = shared.machine();
        if machine.standing(now) != Standing::Fenced {
            let left = machine.fence_at().map(|at| at.saturating_sub(now));
            drop(shared.wait_for_news(machine, left));
            continue;
        }
        drop(machine);
        shared.remark(
            "lease: it could not be renewed in time, and another instance may take over: \
             the gateways are stopped here"
                .to_owned(),
        );
        fence(shared);
    }
}

/// Keeps everything down until the standing is another one.
fn fence(shared: &Shared) {
    let began = shared.now();
    while shared.machine().standing(shared.now()) == Standing::Fenced {
        let is_late = shared.now().saturating_sub(began) >= STOP_WITHIN;
        if let Err(failure) = stop_gateways(shared, is_late) {
            shared.remark(format!("lease: {failure}"));
        }
        let machine = shared.machine();
        drop(shared.wait_for_news(machine, Some(BETWEEN_LOOKS)));
    }
}

fn stop_gateways(shared: &Shared, kill: bool) -> Outcome {
    let Some(mut client) = Client::connect(&shared.socket)? else {
        return Err(Failure::failed("no supervisor answers"));
    };
    let services = match client.ask(&Op::Status)? {
        Body::Services { services, .. } => services,
        other => return Err(unexpected(&other)),
    };
    let mut ops = Vec::new();
    for service in services.iter().filter(|service| is_up(service)) {
        let name = service.name.clone();
        let options = VerbOptions {
            reconcile: true,
            ..VerbOptions::default()
        };
        let signal = KILL.to_owned();
        ops.push(Op::Stop { name, options });
        if kill && service.pid.is_some() {
            let name = service.name.clone();
            ops.push(Op::Signal { name, signal });
        }
    }
    client
        .ask_all(&ops)
        .into_iter()
        .find_map(Result::err)
        .map_or(Ok(()), Err)
}

fn is_up(service: &ServiceView) -> bool {
    let wanted = service.desired == herm_wire::Desired::Up;
    service.kind == Kind::Gateway && (wanted || service.pid.is_some())
}
