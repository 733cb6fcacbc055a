//! Names looked up: pipelines, bundles, dependencies, and an order without cycles.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::compile::{Draft, Reference, at};
use super::database::{Kind, Service};
use super::source::CompileError;

fn find<'a>(drafts: &'a [Draft], reference: &Reference) -> Result<&'a Draft, CompileError> {
    let found = drafts
        .iter()
        .find(|draft| draft.service.name == reference.name);
    found.ok_or_else(|| {
        let text = format!("{:?} is not defined in any source", reference.name);
        at(&reference.from, &text)
    })
}

/// Both sides of each pipe name the other and are longruns; each producer depends on its consumer.
pub(super) fn check_pipelines(drafts: &mut [Draft]) -> Result<(), CompileError> {
    for draft in &*drafts {
        let name = &draft.service.name;
        for (reference, is_producer) in draft
            .producer_for
            .iter()
            .map(|to| (to, true))
            .chain(draft.consumer_for.iter().map(|from| (from, false)))
        {
            let other = find(drafts, reference)?;
            if other.is_bundle || other.service.kind != Kind::Longrun {
                let text = format!("{} is not a longrun", reference.name);
                return Err(at(&reference.from, &text));
            }
            let answers = if is_producer {
                other.consumer_for.iter().any(|back| back.name == *name)
            } else {
                other
                    .producer_for
                    .as_ref()
                    .is_some_and(|back| back.name == *name)
            };
            if !answers {
                let file = if is_producer {
                    "consumer-for"
                } else {
                    "producer-for"
                };
                let text = format!("{} does not name {name} in its {file}", reference.name);
                return Err(at(&reference.from, &text));
            }
        }
    }
    for draft in drafts.iter_mut() {
        draft.references.extend(draft.producer_for.clone());
    }
    Ok(())
}

/// Each bundle with the services it stands for.
pub(super) fn expand_bundles(drafts: &[Draft]) -> Result<Vec<(String, Vec<String>)>, CompileError> {
    let mut bundles = Vec::new();
    for draft in drafts.iter().filter(|draft| draft.is_bundle) {
        let mut members = Vec::new();
        let mut seen = Vec::new();
        let path = [draft.service.name.as_str()];
        collect(drafts, draft, &path, &mut seen, &mut members)?;
        bundles.push((draft.service.name.clone(), members));
    }
    Ok(bundles)
}

fn collect<'a>(
    drafts: &'a [Draft],
    bundle: &'a Draft,
    path: &[&'a str],
    seen: &mut Vec<&'a str>,
    members: &mut Vec<String>,
) -> Result<(), CompileError> {
    for reference in &bundle.references {
        let member = find(drafts, reference)?;
        let name = member.service.name.as_str();
        if path.contains(&name) {
            let text = format!("{name} contains itself: {} -> {name}", path.join(" -> "));
            return Err(at(&reference.from, &text));
        }
        if !member.is_bundle {
            if !members.iter().any(|member| member == name) {
                members.push(member.service.name.clone());
            }
        } else if !seen.contains(&name) {
            seen.push(name);
            let path = [path, &[name]].concat();
            collect(drafts, member, &path, seen, members)?;
        }
    }
    Ok(())
}

/// The services that a reference means.
pub(super) fn to_atomics(
    drafts: &[Draft],
    bundles: &[(String, Vec<String>)],
    reference: &Reference,
) -> Result<Vec<String>, CompileError> {
    let found = find(drafts, reference)?;
    let members = bundles.iter().find(|(name, _)| *name == reference.name);
    Ok(match members {
        Some((_, members)) => members.clone(),
        None => alloc::vec![found.service.name.clone()],
    })
}

/// Services in an order in which each comes after what it depends on.
pub(super) fn in_order(services: Vec<Service>) -> Result<Vec<Service>, CompileError> {
    let mut waiting = services;
    let mut ordered: Vec<Service> = Vec::new();
    while !waiting.is_empty() {
        let is_free = |service: &Service| {
            let placed = |name: &String| ordered.iter().any(|done| done.name == *name);
            service.dependencies.iter().all(placed)
        };
        let (mut free, stuck): (Vec<_>, Vec<_>) = waiting.into_iter().partition(is_free);
        if free.is_empty() {
            return Err(cycle(&stuck));
        }
        ordered.append(&mut free);
        waiting = stuck;
    }
    Ok(ordered)
}

/// Every one of these waits for another of them, so following them comes back somewhere.
fn cycle(stuck: &[Service]) -> CompileError {
    let mut path: Vec<&str> = Vec::new();
    let mut next = stuck.first();
    while let Some(service) = next {
        if path.contains(&service.name.as_str()) {
            break;
        }
        path.push(&service.name);
        let waits_for = |other: &&Service| service.dependencies.contains(&other.name);
        next = stuck.iter().find(waits_for);
    }
    let back = next.map_or("", |service| service.name.as_str());
    let start = path.iter().position(|name| *name == back).unwrap_or(0);
    let circle = path.get(start..).unwrap_or_default().join(" -> ");
    CompileError {
        file: next.map_or_else(String::new, |service| service.path.clone()),
        line: 0,
        problem: format!("it depends on itself: {circle} -> {back}"),
    }
}
