//! From sources to a database.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use super::database::{Database, Kind, Service};
use super::resolve::{check_pipelines, expand_bundles, in_order, to_atomics};
use super::source::{CompileError, Definition, Named, bad_name};

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
    /// Of the bundle to be made of the pipeline that ends here.
    pub(super) pipeline_name: Option<Reference>,
}

/// Compiles definitions; `own` are names that exist beside them and stand for nothing.
pub fn compile(definitions: &[Definition], own: &[&str]) -> Result<Compiled, CompileError> {
    let mut warnings = Vec::new();
    let mut drafts: Vec<Draft> = Vec::new();
    for definition in definitions {
        if let Some(problem) = bad_name(&definition.name) {
            return Err(definition.error("", 0, problem));
        }
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
    name_pipelines(&mut drafts)?;
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
            let why = "a bundle needs this directory, or a file contents";
            definition.error("contents.d", 0, why)
        })?;
        return Ok(draft);
    }
    draft.is_bundle = false;
    draft.references =
        references(definition, "dependencies.d", "dependencies")?.unwrap_or_default();
    draft.service.timeout_up = definition.number("timeout-up", true)?.unwrap_or(0);
    draft.service.timeout_down = definition.number("timeout-down", true)?.unwrap_or(0);
    if kind == "oneshot" {
        draft.service.kind = Kind::Oneshot;
        definition.required("up", "a oneshot needs this file")?;
        draft.service.up = definition.script("up")?.unwrap_or_default();
        draft.service.down = definition.script("down")?.unwrap_or_default();
        return Ok(draft);
    }
    definition.required("run", "a longrun needs this regular file")?;
    definition.content("finish")?;
    check_settings(definition, warnings)?;
    draft.producer_for = only_name(definition, "producer-for")?;
    draft.consumer_for = references(definition, "", "consumer-for")?.unwrap_or_default();
    if draft.producer_for.is_none() && !draft.consumer_for.is_empty() {
        draft.pipeline_name = only_name(definition, "pipeline-name")?;
    } else if definition.has("pipeline-name") {
        let text = "this is not the last consumer of a pipeline: ignored";
        warnings.push(definition.error("pipeline-name", 0, text));
    }
    Ok(draft)
}

/// The one name in a file; nothing if there is no file.
fn only_name(definition: &Definition, file: &str) -> Result<Option<Reference>, CompileError> {
    let Some(mut names) = references(definition, "", file)? else {
        return Ok(None);
    };
    match (names.pop(), names.as_slice()) {
        (Some(name), []) => Ok(Some(name)),
        _ => Err(definition.error(file, 0, "it must hold one name and no more")),
    }
}

/// The same place with something wrong there.
pub(super) fn at(place: &CompileError, problem: &str) -> CompileError {
    CompileError {
        problem: problem.to_string(),
        ..place.clone()
    }
}

fn check_settings(
    definition: &Definition,
    warnings: &mut Vec<CompileError>,
) -> Result<(), CompileError> {
    for file in ["timeout-kill", "timeout-finish", "max-death-tally"] {
        definition.number(file, false)?;
    }
    for name in ["data", "env", "template"] {
        definition.directory(name)?;
    }
    let mut taken = None;
    for file in ["notification-fd", "lock-fd"] {
        match definition.number(file, false)? {
            Some(..3) => {
                let text = "numbers below 3 are standard input, output and error";
                warnings.push(definition.error(file, 1, text));
            }
            Some(number) if taken == Some(number) => {
                let text = "it is the same number as in notification-fd";
                return Err(definition.error(file, 1, text));
            }
            number => taken = number,
        }
    }
    Ok(())
}

/// Makes a bundle of each pipeline whose last consumer names it.
fn name_pipelines(drafts: &mut Vec<Draft>) -> Result<(), CompileError> {
    let mut made: Vec<Draft> = Vec::new();
    for draft in drafts.iter() {
        let Some(Reference { name, from: place }) = &draft.pipeline_name else {
            continue;
        };
        if let Some(problem) = bad_name(name) {
            return Err(at(place, problem));
        }
        let taken = drafts
            .iter()
            .chain(&made)
            .any(|other| other.service.name == *name);
        if taken {
            return Err(at(place, &format!("{name} is defined already")));
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
