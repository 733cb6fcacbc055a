//! The first page: is everything well, and if not, what and why.

use std::sync::Arc;
use std::time::SystemTime;

use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use herm_home::Desired;
use herm_home::profile::ProfileInfo;
use herm_wire::verdict::{state_word, verdict as sentence};
use herm_wire::{Kind, ServiceView, State as ServiceState};
use maud::{Markup, html};
use serde::Deserialize;

use super::Page;
use super::parts::{
    DASH, act_form, ago, buttons, cpu_top, exit_words, is_in_trouble, memory_top, percent, pill,
    prose, since, spark, word_class,
};
use crate::app::App;
use crate::guard::encode;
use crate::homeview::HomeView;
use crate::orders::label;
use crate::words::{self, now_ms};

/// Troubled services that are named beside the verdict.
const NAMED: usize = 3;

/// What is shown of all.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Filter {
    /// `running`, `trouble`, `stopped`; anything else: all.
    #[serde(default)]
    show: String,
    /// Part of a name, a model or a reason.
    #[serde(default)]
    q: String,
}

/// A profile with its gateway, where it has one here.
struct Row<'a> {
    profile: &'a str,
    info: Option<&'a ProfileInfo>,
    service: Option<&'a ServiceView>,
}

/// The groups that rows are counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Group {
    Running,
    Trouble,
    Stopped,
}

impl Group {
    const ALL: [(Self, &'static str, &'static str); 3] = [
        (Self::Trouble, "trouble", "In trouble"),
        (Self::Running, "running", "Running"),
        (Self::Stopped, "stopped", "Not running"),
    ];

    fn of(row: &Row<'_>) -> Self {
        match row.service {
            Some(service) if is_in_trouble(service) => Self::Trouble,
            Some(service) if service.state == ServiceState::Remote => {
                // Only the record tells what the other instance does.
                let desired = row.info.and_then(|info| info.desired);
                if desired == Some(Desired::Running) {
                    Self::Running
                } else {
                    Self::Stopped
                }
            }
            Some(service) if service.pid.is_some() || serves(service) => Self::Running,
            Some(_) | None => Self::Stopped,
        }
    }
}

/// Whether its work is done, here or elsewhere.
fn serves(service: &ServiceView) -> bool {
    matches!(
        service.state,
        ServiceState::Running | ServiceState::Served | ServiceState::Remote
    )
}

/// `GET /`.
pub(crate) async fn page(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    Query(filter): Query<Filter>,
) -> Response {
    let page = match Page::new(&app, &headers, "/", "Overview") {
        Ok(page) => page,
        Err(problem) => return problem.answer(&headers, "/"),
    };
    let view = app.home.view().await;
    let services = app.live.services();
    let rows = rows(&view, &services);
    let content = html! {
        h1.vh { "Overview" }
        section.card.verdict {
            div #verdict data-part { (verdict(&app)) }
            (squares(&rows))
        }
        (act_form("a", &page.visit.csrf, &here(&filter)))
        (tools(&rows, &filter, &page.visit.csrf))
        @if let Some(trouble) = &view.trouble {
            p.banner role="alert" { "The home can't be read: " (trouble) }
        }
        (table(&app, &view, &rows, &filter))
    };
    page.answer(&content)
}

/// This page's own address.
fn here(filter: &Filter) -> String {
    match (filter.show.as_str(), filter.q.as_str()) {
        ("", "") => "/".to_owned(),
        (show, q) => format!("/?show={}&q={}", encode(show), encode(q)),
    }
}

fn rows<'a>(view: &'a HomeView, services: &'a [ServiceView]) -> Vec<Row<'a>> {
    let gateways = || {
        services
            .iter()
            .filter(|service| service.kind == Kind::Gateway)
    };
    let mut rows: Vec<Row<'a>> = view
        .profiles
        .iter()
        .map(|info| Row {
            profile: &info.name,
            info: Some(info),
            service: gateways().find(|service| service.profile.as_deref() == Some(&info.name)),
        })
        .collect();
    let strangers = gateways().filter(|service| {
        !view
            .profiles
            .iter()
            .any(|info| service.profile.as_deref() == Some(&info.name))
    });
    rows.extend(strangers.map(|service| Row {
        profile: service.profile.as_deref().unwrap_or(&service.name),
        info: None,
        service: Some(service),
    }));
    // What is broken comes first; the order is otherwise the home's.
    rows.sort_by_key(|row| Group::of(row) != Group::Trouble);
    rows
}

/// The answer in one sentence, and what is in trouble, or the facts behind it.
pub(crate) fn verdict(app: &App) -> Markup {
    let (services, answers, stopping) = {
        let picture = app.live.picture();
        let services: Vec<ServiceView> = picture.services.values().cloned().collect();
        (services, picture.hello.is_some(), picture.stopping)
    };
    let trouble: Vec<&ServiceView> = services
        .iter()
        .filter(|service| is_in_trouble(service))
        .collect();
    let runs = |service: &&ServiceView| service.kind == Kind::Gateway && serves(service);
    let (class, mark) = match (answers, trouble.len(), services.iter().any(|s| runs(&s))) {
        (false, ..) => ("none", "?"),
        (true, 1.., _) => ("bad", "!"),
        (true, 0, true) => ("good", "✓"),
        (true, 0, false) => ("none", "–"),
    };
    let text = if stopping {
        "everything is being stopped".to_owned()
    } else {
        sentence(&services)
    };
    let headline = text
        .split_once("; ")
        .map_or(&*text, |(headline, _)| headline);
    html! {
        span class={ "sign " (class) } aria-hidden="true" { (mark) }
        div {
            p.headline data-count=(trouble.len()) { (headline) }
            p.detail {
                @if trouble.is_empty() { (facts(&services)) }
                @for service in trouble.iter().take(NAMED) { (named(service)) }
                @if trouble.len() > NAMED { a href="/?show=trouble" { (trouble.len() - NAMED) " more" } }
            }
        }
    }
}

fn named(service: &ServiceView) -> Markup {
    let name = label(service);
    html! {
        span {
            @if service.profile.is_some() { a href={ "/profiles/" (name) } { (name) } }
            @else { a href={ "/services/" (name) } { (name) } }
            " " (state_word(service.state)) ": " (service.reason)
        }
    }
}

/// Every profile as a small square in the colour of its state: thirty of them at one glance.
fn squares(rows: &[Row<'_>]) -> Markup {
    html! {
        div.squares #squares data-part aria-hidden="true" {
            @for row in rows {
                @let word = row.service.map_or("not supervised", |service| state_word(service.state));
                a href={ "/profiles/" (row.profile) } class=(word_class(word)) tabindex="-1" title={ (row.profile) ": " (word) } {}
            }
        }
    }
}

fn facts(services: &[ServiceView]) -> String {
    let restarts: u64 = services.iter().map(|service| service.restarts).sum();
    let memory: u64 = services
        .iter()
        .filter_map(|service| service.memory_bytes)
        .sum();
    let mut facts = vec![format!("{} services supervised", services.len())];
    facts.push(match restarts {
        0 => "no restarts since the boot".to_owned(),
        1 => "1 restart since the boot".to_owned(),
        n => format!("{n} restarts since the boot"),
    });
    if memory > 0 {
        facts.push(words::bytes(memory));
    }
    facts.join(" · ")
}

fn tools(rows: &[Row<'_>], filter: &Filter, csrf: &str) -> Markup {
    let count = |group| rows.iter().filter(|row| Group::of(row) == group).count();
    let link = |show: &str| format!("/?show={show}&q={}", encode(&filter.q));
    let current = |show: &str| (filter.show == show).then_some("true");
    html! {
        div.tools {
            nav.chips #chips data-part aria-label="Filter by state" {
                a href={ "/?q=" (encode(&filter.q)) } aria-current=[current("")] {
                    "All" span { (rows.len()) }
                }
                @for (group, word, name) in Group::ALL {
                    a href=(link(word)) aria-current=[current(word)] { (name) span { (count(group)) } }
                }
            }
            form.search role="search" action="/" {
                @if !filter.show.is_empty() { input type="hidden" name="show" value=(filter.show); }
                input #q type="search" name="q" value=(filter.q) placeholder="Filter…" aria-label="Filter profiles";
            }
            details.menu {
                summary.button.primary { "New profile" }
                form.card.fields method="post" action="/profiles" {
                    input type="hidden" name="csrf" value=(csrf);
                    label { "Name"
                        input name="name" required maxlength="64" pattern="[a-z0-9][a-z0-9_\\-]*"
                            autocomplete="off" aria-describedby="name-hint";
                    }
                    p.hint #name-hint { "Lower-case letters, digits, - and _" }
                    label { "What it is for" input name="description" maxlength="200" autocomplete="off"; }
                    label { "Copy the configuration of"
                        select name="clone_from" {
                            option value="" { "nobody" }
                            @for row in rows.iter().filter(|row| row.info.is_some()).take(100) {
                                option { (row.profile) }
                            }
                        }
                    }
                    button.primary { "Create" }
                }
            }
        }
    }
}

fn table(app: &App, view: &HomeView, rows: &[Row<'_>], filter: &Filter) -> Markup {
    let shown: Vec<&Row<'_>> = rows.iter().filter(|row| matches(row, filter)).collect();
    let now = now_ms();
    html! {
        div.card.wide {
            table.profiles {
                caption.vh { "Profiles and their gateways" }
                thead { tr {
                    th scope="col" { "Profile" } th scope="col" { "State" } th scope="col" { "Up" }
                    th scope="col" title="In the last 24 hours" { "Restarts" } th scope="col" { "Last exit" } th scope="col" { "CPU" }
                    th scope="col" { "Memory" } th scope="col" { "Port" }
                    th scope="col" { span.vh { "Actions" } }
                } }
                tbody #rows data-part {
                    @for row in &shown { (row_markup(app, view, row, now)) }
                    @if shown.is_empty() {
                        tr.empty { td colspan="9" { (nothing(rows, filter)) } }
                    }
                }
            }
        }
    }
}

/// Why the table is empty.
fn nothing(rows: &[Row<'_>], filter: &Filter) -> Markup {
    html! {
        @if rows.is_empty() { "There is no profile yet. The button above makes one." }
        @else if filter.show == "trouble" && filter.q.is_empty() { "Nothing is in trouble." }
        @else { "No profile matches. " a href="/" { "Show all" } }
    }
}

fn matches(row: &Row<'_>, filter: &Filter) -> bool {
    let group = Group::ALL.iter().find(|(_, word, _)| *word == filter.show);
    if group.is_some_and(|(group, ..)| Group::of(row) != *group) {
        return false;
    }
    let needle = filter.q.trim().to_lowercase();
    let model = row
        .info
        .and_then(|info| info.model.as_deref())
        .unwrap_or_default();
    let reason = row.service.map_or("", |service| service.reason.as_str());
    [row.profile, model, reason]
        .iter()
        .any(|text| text.to_lowercase().contains(&needle))
}

/// A row as it is sent when its service changes; nothing where the service is no profile's.
pub(crate) fn row_of(app: &App, view: &HomeView, service: &ServiceView) -> Option<String> {
    let profile = service
        .profile
        .as_deref()
        .filter(|_| service.kind == Kind::Gateway)?;
    let info = view.profiles.iter().find(|info| info.name == profile);
    let row = Row {
        profile,
        info,
        service: Some(service),
    };
    Some(row_markup(app, view, &row, now_ms()).into_string())
}

fn row_markup(app: &App, view: &HomeView, row: &Row<'_>, now: i64) -> Markup {
    let name = row.profile;
    let model = row.info.and_then(|info| info.model.as_deref());
    let Some(service) = row.service else {
        return html! {
            tr data-n={ "gateway-" (name) } {
                th scope="row" { a href={ "/profiles/" (name) } { (name) } @if let Some(model) = model { small { (model) } } }
                td { b.p.sd { "not supervised" } small { "this container does not run it" } }
                @for _ in 0..6 { td { (DASH) } }
                td {}
            }
        };
    };
    let restarts = match &view.restarts {
        Some(restarts) => restarts.get(&service.name).copied().unwrap_or(0),
        None => service.restarts,
    };
    let port = service
        .port
        .or_else(|| row.info.and_then(|info| info.ports.first().copied()));
    html! {
        tr data-n=(service.name) {
            th scope="row" { a href={ "/profiles/" (name) } { (name) } @if let Some(model) = model { small { (model) } } }
            td { (pill(service)) (reason(service)) }
            td { @if service.pid.is_some() { (since(&service.since, now)) } @else { (DASH) } }
            td { @if restarts > 0 { (restarts) } @else { (DASH) } }
            td { @if let Some(exit) = &service.last_exit { (exit_words(exit)) small { (ago(&exit.at, now)) } } @else { (DASH) } }
            (measured(app, service))
            td { @if let Some(port) = port { (port) } @else { (DASH) } }
            td { (buttons(service, row.info, "a")) }
        }
    }
}

/// Why it is so, where the state alone does not say it.
fn reason(service: &ServiceView) -> Markup {
    let plain = matches!(service.reason.as_str(), "" | "ready" | "running");
    html! {
        @if let (Some(next), false) = (&service.next, service.state == ServiceState::Running) {
            @let text = format!("{}; {}", service.reason, short(next));
            small title=(text) { (prose(&text)) }
        } @else if !plain {
            small title=(service.reason) { (prose(&service.reason)) }
        }
    }
}

/// Without the day and the fraction of the time at its end.
fn short(next: &str) -> String {
    match next.rsplit_once(" at ") {
        Some((what, at)) if at.len() >= 19 && at.is_ascii() => {
            format!("{what} at {}", at.get(11..19).unwrap_or(at))
        }
        _ => next.to_owned(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "for a picture")]
fn measured(app: &App, service: &ServiceView) -> Markup {
    let samples = app.samples.of(&service.name);
    let Some(newest) = samples.last() else {
        return html! { td { (DASH) } td { (DASH) } };
    };
    html! {
        td.c { (spark(samples.iter().map(|s| s.cpu), cpu_top(&samples))) span { (percent(newest.cpu)) } }
        td.m { (spark(samples.iter().map(|s| s.memory as f64), memory_top(&samples))) span { (words::bytes(newest.memory)) } }
    }
}

/// The sentence of `herm why`, for pages that show one service.
pub(crate) fn why(app: &App, service: &ServiceView) -> String {
    (app.options.explain)(service, SystemTime::now())
}
