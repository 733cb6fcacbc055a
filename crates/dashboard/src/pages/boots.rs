//! Each boot: what was restored and why, and how long each step took.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use herm_wire::{Body, BootReport, BootStep, Op};
use maud::{Markup, html};

use super::Page;
use super::parts::clock;
use crate::app::App;
use crate::history::{Boot, Reader};
use crate::words::micros;

/// Boots that are shown.
const SHOWN: usize = 20;

/// `GET /boots`.
pub(crate) async fn page(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    let page = match Page::new(&app, &headers, "/boots", "Boots") {
        Ok(page) => page,
        Err(problem) => return problem.answer(&headers, "/boots"),
    };
    let home = app.options.home.clone();
    let kept = tokio::task::spawn_blocking(move || {
        let reader = Reader::open(&home).ok().flatten()?;
        reader.boots().ok()
    });
    let boots = kept.await.ok().flatten().unwrap_or_default();
    let current = app
        .live
        .picture()
        .hello
        .as_ref()
        .map(|hello| hello.instance.clone());
    let report = match app.control.ask(Op::Boot).await {
        Ok(Body::Boot(report)) => Some(report),
        _ => None,
    };
    let unrecorded = report.filter(|_| {
        !boots
            .iter()
            .any(|boot| Some(&boot.instance) == current.as_ref())
    });
    let content = html! {
        h1 { "Boots" }
        p.lead { "What each start of the supervisor brought back, and where the time went." }
        @if let Some(report) = &unrecorded {
            section.card { h2 { "This boot" } (waterfall(report)) (warnings(report)) }
        }
        @for boot in boots.iter().take(SHOWN) { (shown(boot, current.as_deref())) }
        @if boots.is_empty() && unrecorded.is_none() { p.card.hint { "No boot is recorded yet." } }
    };
    page.answer(&content)
}

fn shown(boot: &Boot, current: Option<&str>) -> Markup {
    let report: BootReport = serde_json::from_str(&boot.report).unwrap_or_default();
    let restored: Vec<Restored<'_>> = boot.restored.lines().map(Restored::parse).collect();
    let started = restored
        .iter()
        .filter(|line| line.action == "started")
        .count();
    let is_current = Some(boot.instance.as_str()) == current;
    html! {
        details.card open[is_current] {
            summary {
                h2 { (clock(boot.at_ms)) @if is_current { " " b.p.sr { "this one" } } }
                span.hint { (total(&report)) " · " (started) " of " (restored.len()) " started" }
            }
            (waterfall(&report))
            (warnings(&report))
            @if !restored.is_empty() {
                h3 { "Restored" }
                div.scroll tabindex="0" role="group" aria-label="Restored" {
                    table.events {
                        thead { tr { th scope="col" { "Profile" } th scope="col" { "It was" } th scope="col" { "So it was" } } }
                        tbody { @for line in &restored {
                            tr {
                                td { a href={ "/profiles/" (line.profile) } { (line.profile) } }
                                td { (line.prior) }
                                td { b class={ "p " (if line.action == "started" { "sr" } else { "sd" }) } { (line.action) } }
                            }
                        } }
                    }
                }
            }
        }
    }
}

/// A line of the boot log.
struct Restored<'a> {
    profile: &'a str,
    prior: &'a str,
    action: &'a str,
}

impl<'a> Restored<'a> {
    fn parse(line: &'a str) -> Self {
        let field = |name: &str| {
            let mut words = line.split(' ').filter_map(|word| word.split_once('='));
            words
                .find(|(key, _)| *key == name)
                .map_or("", |(_, value)| value)
        };
        let prior = match field("prior_state") {
            "None" => "unknown",
            prior => prior,
        };
        Self {
            profile: field("profile"),
            prior,
            action: field("action"),
        }
    }
}

fn total(report: &BootReport) -> String {
    let end = report
        .steps
        .iter()
        .map(|step| step.start_us.saturating_add(step.took_us))
        .max();
    micros(end.unwrap_or(0))
}

/// What PID 1 does itself after setup; what stands between are setup's own steps.
const AFTER_SETUP: [&str; 4] = ["keeper", "scan", "main program", "log daemon"];

/// The steps on one scale of time. Setup counts from its own start, so its steps are moved there.
pub(crate) fn waterfall(report: &BootReport) -> Markup {
    let setup = report.steps.iter().position(|step| step.name == "setup");
    let after = report
        .steps
        .iter()
        .position(|step| AFTER_SETUP.contains(&step.name.as_str()));
    let inside = setup.map_or(0, |index| index + 1)..after.unwrap_or(report.steps.len());
    let offset = setup
        .and_then(|index| report.steps.get(index))
        .map_or(0, |step| step.start_us);
    let steps: Vec<(bool, u64, &BootStep)> = report
        .steps
        .iter()
        .enumerate()
        .map(|(index, step)| {
            let nested = setup.is_some() && inside.contains(&index);
            let start = if nested {
                offset.saturating_add(step.start_us)
            } else {
                step.start_us
            };
            (nested, start, step)
        })
        .collect();
    let ends = steps
        .iter()
        .map(|(_, start, step)| start.saturating_add(step.took_us));
    let end = ends.max().unwrap_or(0).max(1);
    html! {
        table.waterfall {
            thead { tr { th scope="col" { "Step" } th scope="col" { "Took" } th scope="col" { span.vh { "When" } } } }
            tbody { @for (nested, start, step) in &steps { (bar(*nested, *start, step, end)) } }
        }
    }
}

fn bar(nested: bool, start: u64, step: &BootStep, end: u64) -> Markup {
    let x = |us: u64| us.saturating_mul(1000) / end;
    html! {
        tr {
            th scope="row" class=[nested.then_some("in")] { (step.name) }
            td { (micros(step.took_us)) }
            td {
                svg.bar viewBox="0 0 1000 16" preserveAspectRatio="none" aria-hidden="true" {
                    rect class=(if step.error.is_some() { "sf" } else if nested { "sv" } else { "sb" })
                        x=(x(start).min(992)) y="0" width=(x(step.took_us).max(8)) height="16" {}
                }
                @if let Some(error) = &step.error { small { (error) } }
            }
        }
    }
}

fn warnings(report: &BootReport) -> Markup {
    html! {
        @if !report.warnings.is_empty() {
            h3 { "Warnings" }
            ul.warnings { @for warning in &report.warnings { li { (warning) } } }
        }
    }
}
