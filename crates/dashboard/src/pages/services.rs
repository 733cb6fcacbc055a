//! Everything that is supervised, as a tree of what needs what.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use herm_wire::{Kind, ServiceView};
use maud::{Markup, html};

use super::Page;
use super::overview::why;
use super::parts::{DASH, act_form, buttons, is_ordered_here, percent, pill, prose, since};
use crate::app::App;
use crate::homeview::HomeView;
use crate::words::{bytes, now_ms};

/// Deepest branch that is shown.
const MAX_DEPTH: usize = 16;

/// `GET /services`.
pub(crate) async fn page(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    let page = match Page::new(&app, &headers, "/services", "Services") {
        Ok(page) => page,
        Err(problem) => return problem.answer(&headers, "/services"),
    };
    let services = app.services();
    let view = app.home.view().await;
    let content = html! {
        h1 { "Services" }
        p.lead { "Everything the supervisor runs. What a service needs stands above it." }
        (act_form("a", &page.visit.csrf, "/services"))
        div #services data-part data-of="*" {
            @for (kind, title) in [
                (Kind::Main, "Main program"), (Kind::Gateway, "Gateways"),
                (Kind::Service, "Services"), (Kind::Helper, "herm itself"),
            ] {
                (branch(&app, &view, kind, title, &services))
            }
        }
    };
    page.answer(&content)
}

fn branch(app: &App, view: &HomeView, kind: Kind, title: &str, services: &[ServiceView]) -> Markup {
    let ours: Vec<&ServiceView> = services
        .iter()
        .filter(|service| service.kind == kind)
        .collect();
    if ours.is_empty() {
        return html! {};
    }
    let mut lines = Vec::new();
    let mut seen = BTreeSet::new();
    // Roots need nothing of the same kind; what is in a circle by mistake comes last.
    let is_root = |service: &ServiceView| {
        !service
            .requires
            .iter()
            .any(|needed| ours.iter().any(|other| other.name == *needed))
    };
    for service in ours.iter().filter(|service| is_root(service)) {
        walk(service, 0, &ours, &mut seen, &mut lines);
    }
    for service in &ours {
        walk(service, 0, &ours, &mut seen, &mut lines);
    }
    html! {
        section.card.wide {
            h2 { (title) " " span.count { (ours.len()) } }
            table.services {
                caption.vh { (title) }
                thead { tr { th scope="col" { "Name" } th scope="col" { "State" } th scope="col" { "For" } th scope="col" { "CPU" } th scope="col" { "Memory" } th scope="col" { span.vh { "Actions" } } } }
                tbody { @for (depth, service) in &lines { (line(app, view, *depth, service)) } }
            }
        }
    }
}

fn walk<'a>(
    service: &'a ServiceView,
    depth: usize,
    all: &[&'a ServiceView],
    seen: &mut BTreeSet<&'a str>,
    lines: &mut Vec<(usize, &'a ServiceView)>,
) {
    if depth > MAX_DEPTH || !seen.insert(&service.name) {
        return;
    }
    lines.push((depth, service));
    for dependent in all
        .iter()
        .filter(|other| other.requires.contains(&service.name))
    {
        walk(dependent, depth + 1, all, seen, lines);
    }
}

fn line(app: &App, view: &HomeView, depth: usize, service: &ServiceView) -> Markup {
    let profile = service.profile.as_deref();
    let info = view
        .profiles
        .iter()
        .find(|info| Some(info.name.as_str()) == profile);
    html! {
        tr title=(why(app, service)) {
            th scope="row" class={ "d" (depth.min(6)) } {
                @if let Some(profile) = &service.profile { a href={ "/profiles/" (profile) } { (service.name) } }
                @else { a href={ "/services/" (service.name) } { (service.name) } }
                @if !service.requires.is_empty() { small { "needs " (service.requires.join(", ")) } }
                @if !service.after.is_empty() { small { "after " (service.after.join(", ")) } }
            }
            td { (pill(service)) @if !matches!(service.reason.as_str(), "" | "ready") { small title=(service.reason) { (prose(&service.reason)) } } }
            td { (since(&service.since, now_ms())) }
            td { @if let Some(share) = service.cpu_percent { (percent(share)) } @else { (DASH) } }
            td { @if let Some(memory) = service.memory_bytes { (bytes(memory)) } @else { (DASH) } }
            td { @if is_ordered_here(service) { (buttons(service, info, "a")) } }
        }
    }
}
