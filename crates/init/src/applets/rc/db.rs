//! `s6-rc-db`: what the database says.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use herm_s6::rc::database::{Database, Kind, Service};

use super::{LIVE, WRONG_KIND, load, selected};
use crate::applets::call::{Call, Outcome};
use crate::applets::complain::{USAGE, say};

pub(super) fn db(call: &mut Call<'_>) -> Outcome {
    let (mut live, mut compiled, mut down) = (PathBuf::from(LIVE), None, false);
    while let Some(letter) = call.option(b"udlcbEe")? {
        match letter {
            b'd' => down = true,
            b'u' => down = false,
            b'l' => live = call.argument()?.into(),
            b'c' => compiled = Some(PathBuf::from(call.argument()?)),
            _ => {}
        }
    }
    let verb = call.word()?.to_str().unwrap_or_default();
    if verb == "help" {
        return Ok(say(call.usage_line()));
    }
    let compiled = compiled.unwrap_or_else(|| live.join("compiled"));
    let database = load(call, &compiled)?;
    match verb {
        "check" => Ok(0),
        "list" => list_kind(call, &database),
        "type" | "contents" | "pipeline" | "timeout" | "script" | "flags" => {
            let name = call.word()?;
            show(call, &database, &live, verb, name, down)
        }
        "atomics" => {
            let chosen = selected(call, &database, call.rest())?;
            for service in chosen {
                say(&service.name);
            }
            Ok(0)
        }
        "dependencies" | "all-dependencies" => {
            let chosen = selected(call, &database, call.rest())?;
            let names: Vec<&str> = chosen.iter().map(|service| service.name.as_str()).collect();
            let all = if down {
                database.with_dependents(&names)
            } else {
                database.with_dependencies(&names)
            };
            let is_direct = |service: &&&Service| {
                chosen.iter().any(|one| {
                    if down {
                        service.dependencies.contains(&one.name)
                    } else {
                        one.dependencies.contains(&service.name)
                    }
                })
            };
            if verb == "dependencies" {
                for service in all.iter().filter(is_direct) {
                    say(&service.name);
                }
            } else {
                for service in all {
                    say(&service.name);
                }
            }
            Ok(0)
        }
        _ => Err(call.usage()),
    }
}

fn list_kind(call: &mut Call<'_>, database: &Database) -> Outcome {
    let what = call.word()?.to_str().unwrap_or_default();
    let (services, bundles) = match what {
        "all" => (true, true),
        "services" | "oneshots" | "longruns" => (true, false),
        "bundles" => (false, true),
        _ => return Err(call.usage()),
    };
    for service in database.services.iter().filter(|_| services) {
        let left_out = match service.kind {
            Kind::Longrun => what == "oneshots",
            Kind::Oneshot => what == "longruns",
        };
        if !left_out {
            say(&service.name);
        }
    }
    for (name, _) in database.bundles.iter().filter(|_| bundles) {
        say(name);
    }
    Ok(0)
}

/// All pipes of the pipeline that a service is in, from its last consumer back.
fn pipeline(database: &Database, service: &Service) {
    let mut last = service;
    while let Some(next) = last.producer_for.as_ref() {
        let Some(next) = database.service(next) else {
            break;
        };
        last = next;
    }
    let mut consumers = vec![last];
    while let Some(consumer) = consumers.pop() {
        for producer in &consumer.consumer_for {
            say(&format!("{producer}/{}", consumer.name));
            consumers.extend(database.service(producer));
        }
    }
}

fn show(
    call: &Call<'_>,
    database: &Database,
    live: &Path,
    verb: &str,
    name: &OsStr,
    down: bool,
) -> Outcome {
    let text = name.to_str().unwrap_or_default();
    let bundle = database.bundles.iter().find(|(bundle, _)| bundle == text);
    let service = database.service(text);
    let wrong = |what: &str| call.fatal(&format_args!("{text} is not a {what}"), WRONG_KIND);
    if service.is_none() && bundle.is_none() {
        selected(call, database, &[name.to_owned()])?;
    }
    match (verb, service, bundle) {
        ("type", Some(service), _) => Ok(say(match service.kind {
            Kind::Longrun => "longrun",
            Kind::Oneshot => "oneshot",
        })),
        ("type", None, _) => Ok(say("bundle")),
        ("contents", _, Some((_, members))) => {
            for member in members {
                say(member);
            }
            Ok(0)
        }
        ("contents", ..) => Err(wrong("bundle")),
        (_, None, _) => Err(wrong("service")),
        ("timeout", Some(service), _) => {
            let timeout = if down {
                service.timeout_down
            } else {
                service.timeout_up
            };
            Ok(say(&timeout.to_string()))
        }
        ("flags", Some(service), _) => Ok(say(&format!("{:08x}", u32::from(service.essential)))),
        ("pipeline", Some(service), _) => {
            if service.kind == Kind::Oneshot {
                return Err(wrong("longrun"));
            }
            pipeline(database, service);
            Ok(0)
        }
        (_, Some(service), _) if service.kind == Kind::Oneshot => {
            let which = if down { "down" } else { "up" };
            let path = live
                .join("servicedirs")
                .join(text)
                .join("oneshot")
                .join(which);
            let mut script =
                std::fs::read(path).map_err(|error| call.refused(&"read it", &error))?;
            if !script.is_empty() {
                script.push(0);
            }
            let written = std::io::stdout().write_all(&script);
            written.map(|()| 0).map_err(|_| USAGE)
        }
        _ => Err(wrong("oneshot")),
    }
}
