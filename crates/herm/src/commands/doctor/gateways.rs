//! The gateways: what they need, who has it, and what is wrong with those that don't run.

use std::collections::BTreeMap;
use std::time::SystemTime;

use herm_home::ProfileName;
use herm_home::claims::Claims;
use herm_wire::{ServiceView, State};

use super::processes::{holder_of, listeners};
use super::{Findings, Patient};
use crate::commands::is_free;
use crate::keeper::needs;
use crate::output::explain;

pub(super) fn services(patient: &mut Patient<'_>, findings: &mut Findings) {
    for service in patient.services() {
        let remedy = match service.state {
            State::Failed | State::Parked | State::Backoff => {
                let name = service.profile.as_deref().unwrap_or(&service.name);
                format!("`herm logs {name}` has its last words")
            }
            _ if service.survivors.is_empty() => continue,
            _ => "end them yourself if they are stuck (`kill -9`); one that can't be ended waits for \
                  the kernel, mostly for a disk"
                .to_owned(),
        };
        let sentence = if service.survivors.is_empty() {
            explain(service, SystemTime::now())
        } else {
            format!(
                "{}: processes of an earlier run live: {:?}",
                service.name, service.survivors
            )
        };
        findings.problem(sentence, remedy);
    }
}

/// L14: what two profiles want shows before the second one is started.
pub(super) fn duplicates(patient: &mut Patient<'_>, findings: &mut Findings) {
    let home = patient.context.home();
    let mut claims = Claims::default();
    for name in patient.found.iter().flat_map(|found| &found.profiles) {
        let Ok(needs) = needs(home, name) else {
            continue;
        };
        if let Err(clashes) = claims.claim(name, needs) {
            for clash in clashes {
                findings.problem(
                    format!(
                        "profiles '{}' and '{}' need {} ({})",
                        clash.holder, clash.asker, clash.what, clash.setting
                    ),
                    format!(
                        "give '{}' another one: only one of them can run",
                        clash.asker
                    ),
                );
            }
        }
    }
}

/// Ports that a gateway will want, and that another program has.
pub(super) fn ports(patient: &mut Patient<'_>, findings: &mut Findings) {
    let home = patient.context.home();
    let running: BTreeMap<&str, &ServiceView> = patient
        .services()
        .iter()
        .filter_map(|service| Some((service.profile.as_deref()?, service)))
        .filter(|(_, service)| service.pid.is_some() || service.owner.is_some())
        .collect();
    let table = listeners();
    let names: Vec<&ProfileName> = patient
        .found
        .iter()
        .flat_map(|found| &found.profiles)
        .filter(|name| !running.contains_key(name.as_str()))
        .collect();
    for name in names {
        let Ok(needs) = needs(home, name) else {
            continue;
        };
        for (port, setting) in &needs.ports {
            let ours = patient
                .services()
                .iter()
                .any(|service| service.port == Some(*port) && service.pid.is_some());
            if is_free(*port) || ours {
                continue;
            }
            let holder = holder_of(&table, *port).map_or_else(
                || "another program".to_owned(),
                |process| process.to_string(),
            );
            findings.problem(
                format!("port {port} of {name} ({setting}) is taken by {holder}"),
                format!("end that program, or give {name} another port"),
            );
        }
    }
}
