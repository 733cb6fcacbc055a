//! From sources to a database.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use super::database::{Database, Kind, Service};
use super::resolve::{check_pipelines, expand_bundles, in_order, to_atomics};
use super::source::{CompileError, Definition, Named};

/// What came of the sources.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compiled {
    /// The services.
    pub database: Database,
    /// What is odd but no error.
    pub warnings: Vec<CompileError>,
}

/// A name that something refers to, and where it does.
#[derive(Clone, Debug)]
pub(super) struct Reference {
    pub(super) name: String,
    pub(super) from: CompileError,
}

/// A service or bundle, its references not looked up yet.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) service: Service,
    pub(super) references: Vec<Reference>,
    pub(super) is_bundle: bool,
    pub(super) producer_for: Option<Reference>,
    pub(super) consumer_for: Vec<Reference>,
    pub(super) pipeline_name: Option<String>,
}

/// Compiles definitions; `own` are names that exist beside them and stand for nothing.
pub fn compile(definitions: &[Definition], own: &[&str]) -> Result<Compiled, CompileError> {
    let mut warnings = Vec::new();
    let mut drafts: Vec<Draft> = Vec::new();
    for definition in definitions {
        definition.check_name()?;
        let twice = drafts
            .iter()
            .find(|draft| draft.service.name == definition.name);
        if let Some(first) = twice {
            let text = format!(
                "{} is defined already in {}",
                definition.name, first.service.path
            );
            return Err(definition.error("", 0, &text));
        }
        drafts.push(draft(definition, &mut warnings)?);
    }
    for name in own {
        if !drafts.iter().any(|draft| draft.service.name == *name) {
            drafts.push(empty_bundle(name));
        }
    }
    name_pipelines(&mut drafts, &mut warnings)?;
    check_pipelines(&mut drafts)?;
    let bundles = expand_bundles(&drafts)?;
    let mut services = Vec::new();
    for draft in drafts.iter().filter(|draft| !draft.is_bundle) {
        let mut service = draft.service.clone();
        for reference in &draft.references {
            for name in to_atomics(&drafts, &bundles, reference)? {
                if !service.dependencies.contains(&name) {
                    service.dependencies.push(name);
                }
            }
        }
        let in_essential_bundle = drafts.iter().any(|bundle| {
            let contents = bundles
                .iter()
                .find(|(name, _)| *name == bundle.service.name);
            bundle.is_bundle
                && bundle.service.essential
                && contents.is_some_and(|(_, members)| members.contains(&service.name))
        });
        service.essential |= in_essential_bundle;
        service.producer_for = draft.producer_for.as_ref().map(|to| to.name.clone());
        service.consumer_for = draft
            .consumer_for
            .iter()
            .map(|from| from.name.clone())
            .collect();
        services.push(service);
    }
    Ok(Compiled {
        database: Database {
            services: in_order(services)?,
            bundles,
        },
        warnings,
    })
}

fn empty_bundle(name: &str) -> Draft {
    Draft {
        service: blank(name, ""),
        references: Vec::new(),
        is_bundle: true,
        producer_for: None,
        consumer_for: Vec::new(),
        pipeline_name: None,
    }
}

fn blank(name: &str, path: &str) -> Service {
    Service {
        name: name.to_string(),
        kind: Kind::Longrun,
        path: path.to_string(),
        dependencies: Vec::new(),
        essential: false,
        timeout_up: 0,
        timeout_down: 0,
        producer_for: None,
        consumer_for: Vec::new(),
        up: Vec::new(),
        down: Vec::new(),
    }
}

fn references(
    definition: &Definition,
    directory: &str,
    file: &str,
) -> Result<Option<Vec<Reference>>, CompileError> {
    let names = definition.names(directory, file)?;
    let refer = |(name, file, line): Named| Reference {
        from: definition.error(&file, line, ""),
        name,
    };
    Ok(names.map(|names| names.into_iter().map(refer).collect()))
}

fn draft(definition: &Definition, warnings: &mut Vec<CompileError>) -> Result<Draft, CompileError> {
    let mut draft = empty_bundle(&definition.name);
    draft.service.path.clone_from(&definition.path);
    draft.service.essential = definition.has("flag-essential");
    let kind = definition.kind()?;
    if kind == "bundle" {
        let contents = references(definition, "contents.d", "contents")?;
        draft.references = contents.ok_or_else(|| {
            definition.missing(
                "contents.d",
                "a bundle needs this directory, or a file contents",
            )
        })?;
        return Ok(draft);
    }
    draft.is_bundle = false;
    draft.references =
        references(definition, "dependencies.d", "dependencies")?.unwrap_or_default();
    draft.service.timeout_up = definition.milliseconds("timeout-up")?;
    draft.service.timeout_down = definition.milliseconds("timeout-down")?;
    if kind == "oneshot" {
        draft.service.kind = Kind::Oneshot;
        let up = definition.script("up")?;
        draft.service.up =
            up.ok_or_else(|| definition.missing("up", "a oneshot needs this file"))?;
        draft.service.down = definition.script("down")?.unwrap_or_default();
        for file in ["producer-for", "consumer-for"] {
            if definition.has(file) {
                return Err(definition.error(file, 0, "only a longrun can be in a pipeline"));
            }
        }
        return Ok(draft);
    }
    if definition.content("run").is_none() {
        return Err(definition.error("run", 0, "a longrun needs this regular file"));
    }
    check_descriptors(definition, warnings)?;
    let mut producer = references(definition, "", "producer-for")?.unwrap_or_default();
    if let [_, second, ..] = producer.as_slice() {
        return Err(at(&second.from, "only one consumer can be named"));
    }
    draft.producer_for = producer.pop();
    draft.consumer_for = references(definition, "", "consumer-for")?.unwrap_or_default();
    let name = references(definition, "", "pipeline-name")?.and_then(|mut names| names.pop());
    draft.pipeline_name = name.map(|name| name.name);
    Ok(draft)
}

/// The same place with something wrong there.
pub(super) fn at(place: &CompileError, problem: &str) -> CompileError {
    CompileError {
        problem: problem.to_string(),
        ..place.clone()
    }
}

fn check_descriptors(
    definition: &Definition,
    warnings: &mut Vec<CompileError>,
) -> Result<(), CompileError> {
    let number = |file: &str| -> Option<u32> {
        let content = core::str::from_utf8(definition.content(file)?).ok()?;
        content.lines().next()?.parse().ok()
    };
    let (notification, lock) = (number("notification-fd"), number("lock-fd"));
    if notification.is_some() && notification == lock {
        let text = "it is the same number as in notification-fd";
        return Err(definition.error("lock-fd", 1, text));
    }
    if notification.is_some_and(|number| number < 3) {
        let text = "numbers below 3 are standard input, output and error";
        warnings.push(definition.error("notification-fd", 1, text));
    }
    Ok(())
}

/// Makes a bundle of each pipeline whose last consumer names it.
fn name_pipelines(
    drafts: &mut Vec<Draft>,
    warnings: &mut Vec<CompileError>,
) -> Result<(), CompileError> {
    let mut made: Vec<Draft> = Vec::new();
    for draft in drafts.iter() {
        let Some(name) = &draft.pipeline_name else {
            continue;
        };
        let place = CompileError {
            file: format!("{}/pipeline-name", draft.service.path),
            line: 1,
            problem: String::new(),
            is_system: false,
        };
        if draft.consumer_for.is_empty() || draft.producer_for.is_some() {
            warnings.push(at(
                &place,
                "this is not the last consumer of a pipeline: ignored",
            ));
            continue;
        }
        let taken = drafts
            .iter()
            .chain(&made)
            .any(|other| other.service.name == *name);
        if taken {
            return Err(at(&place, &format!("{name} is defined already")));
        }
        let mut bundle = empty_bundle(name);
        bundle.service.path.clone_from(&draft.service.path);
        let mut members = alloc::vec![draft.service.name.clone()];
        let mut next = 0;
        while let Some(member) = members.get(next).cloned() {
            let member = drafts.iter().find(|other| other.service.name == member);
            let producers = member.map(|member| member.consumer_for.as_slice());
            for producer in producers.unwrap_or_default() {
                if !members.contains(&producer.name) {
                    members.push(producer.name.clone());
                }
            }
            next = next.saturating_add(1);
        }
        let refer = |name: String| Reference {
            name,
            from: place.clone(),
        };
        bundle.references = members.into_iter().map(refer).collect();
        made.push(bundle);
    }
    drafts.append(&mut made);
    Ok(())
}

#[cfg(test)]
mod tests;
