//! One profile: how it is and was, its log, what it is configured with.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use herm_home::dotenv::Dotenv;
use herm_home::files::Dir;
use herm_home::layout::{DOTENV, SOUL};
use herm_home::{Home, ProfileName, config};
use herm_wire::ServiceView;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::Value;

use super::error::Problem;
use super::overview::why;
use super::parts::{
    act_form, buttons, clock, exit_words, height, percent, pill, since, word_class,
};
use super::{Page, log};
use crate::app::App;
use crate::history::{Moment, Reader, Spell};
use crate::logs::read::Wanted;
use crate::mask::{MASK, mask};
use crate::words::{self, now_ms};

/// What the timeline spans, in milliseconds: a day.
const SPAN_MS: i64 = 24 * 3600 * 1000;
/// Moments that are listed.
const MOMENTS: usize = 60;
/// Largest SOUL.md that is shown, in bytes.
const SOUL_BYTES: u64 = 256 * 1024;

/// What to look for in the log.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Search {
    #[serde(default)]
    q: String,
}

/// What the home says of a profile.
#[derive(Default)]
struct Files {
    config: Config,
    variables: Vec<String>,
    soul: String,
    spells: Vec<Spell>,
    moments: Vec<Moment>,
}

/// The masked document, or why there is none.
type Config = Option<Result<Value, String>>;

/// `GET /profiles/{name}`.
pub(crate) async fn page(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    headers: HeaderMap,
    Query(search): Query<Search>,
) -> Response {
    match shown(&app, &name, &headers, &search).await {
        Ok(response) => response,
        Err(problem) => problem.answer(&headers, "/profiles"),
    }
}

/// A profile that is in the home, or has a gateway.
async fn existing(app: &App, name: &str) -> Result<(ProfileName, Option<ServiceView>), Problem> {
    let missing = || {
        Problem::new(
            StatusCode::NOT_FOUND,
            format!("there is no profile {name:?}"),
        )
    };
    let profile = ProfileName::parse(name).map_err(|_| missing())?;
    let service = app.live.service(&profile.service());
    let known = app
        .home
        .view()
        .await
        .profiles
        .iter()
        .any(|info| info.name == name);
    if known || service.is_some() {
        Ok((profile, service))
    } else {
        Err(missing())
    }
}

async fn shown(
    app: &App,
    name: &str,
    headers: &HeaderMap,
    search: &Search,
) -> Result<Response, Problem> {
    let (profile, service) = existing(app, name).await?;
    let page = Page::new(app, headers, "", name)?;
    let (home, wanted) = (app.options.home.clone(), profile.clone());
    let files = tokio::task::spawn_blocking(move || read(&home, &wanted))
        .await
        .unwrap_or_default();
    let view = app.home.view().await;
    let info = view.profiles.iter().find(|info| info.name == name);
    let lines = match service
        .as_ref()
        .and_then(|service| service.log_dir.as_deref())
    {
        Some(dir) => {
            let wanted = Wanted {
                lines: log::FIRST_LINES,
                containing: search.q.clone(),
                since: None,
            };
            Some(log::lines(app, std::path::Path::new(dir), wanted).await)
        }
        None => None,
    };
    let back = format!("/profiles/{name}");
    let content = html! {
        nav.crumbs aria-label="Where this is" { a href="/" { "Overview" } " / " span { (name) } }
        (act_form("a", &page.visit.csrf, &back))
        section.card.head #head data-part data-of=(profile.service()) {
            (headline(app, name, info.and_then(|info| info.description.as_deref()), service.as_ref()))
        }
        @if let Some(service) = &service { (charts(app, service)) }
        section.card #timeline data-part data-of=(profile.service()) { (timeline(&files)) }
        @if let (Some(service), Some(lines)) = (&service, &lines) { (log::panel(&service.name, &search.q, lines)) }
        (configuration(&files))
        @if !profile.is_default() {
            p.end { a.button.danger href={ "/profiles/" (name) "/delete" } { "Delete this profile…" } }
        }
    };
    Ok(page.answer(&content))
}

fn read(home: &Home, profile: &ProfileName) -> Files {
    let paths = home.profile(profile);
    let config = match config::load(&paths) {
        Ok(Ok(config)) => {
            let mut value = config.at(&[]).cloned().unwrap_or(Value::Null);
            mask(&mut value);
            Ok(value)
        }
        Ok(Err(error)) => Err(error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    let config = Some(config);
    let file = |name: &str, limit: u64| {
        let content = Dir::open(paths.dir())
            .ok()?
            .read_input(name, limit)
            .ok()??;
        Some(content.bytes)
    };
    let dotenv = Dotenv::parse(&file(DOTENV, herm_home::dotenv::MAX_BYTES).unwrap_or_default());
    let mut variables: Vec<String> = dotenv
        .entries()
        .iter()
        .filter(|entry| !entry.value.expose().is_empty())
        .map(|entry| entry.key.clone())
        .collect();
    variables.sort();
    variables.dedup();
    let soul = file(SOUL, SOUL_BYTES).unwrap_or_default();
    let reader = Reader::open(home).ok().flatten();
    let service = profile.service();
    let of = |reader: &Reader| {
        let spells = reader
            .spells(&service, now_ms() - SPAN_MS)
            .unwrap_or_default();
        (
            spells,
            reader
                .moments(Some(&service), i64::MAX, MOMENTS)
                .unwrap_or_default(),
        )
    };
    let (spells, moments) = reader.as_ref().map(of).unwrap_or_default();
    Files {
        config,
        variables,
        soul: String::from_utf8_lossy(&soul).into_owned(),
        spells,
        moments,
    }
}

fn headline(
    app: &App,
    name: &str,
    description: Option<&str>,
    service: Option<&ServiceView>,
) -> Markup {
    html! {
        div.title {
            h1 { (name) }
            @if let Some(service) = service { (pill(service)) } @else { b.p.sd { "not supervised" } }
            div.actions { @if let Some(service) = service { (buttons(service, "a")) } }
        }
        @if let Some(description) = description { p.about { (description) } }
        @match service {
            Some(service) => {
                p.why { (why(app, service)) }
                (facts(service))
            }
            None => p.why { "This container's supervisor does not run it. If another container does, use that one's dashboard; if none does, `herm reconcile` says why." }
        }
    }
}

fn facts(service: &ServiceView) -> Markup {
    let now = now_ms();
    html! {
        dl.facts {
            @if service.pid.is_some() { div { dt { "Up" } dd { (since(&service.since, now)) } } }
            @if let Some(pid) = service.pid { div { dt { "Process" } dd { (pid) } } }
            @if let Some(port) = service.port { div { dt { "Port" } dd { (port) } } }
            div { dt { "Restarts since the boot" } dd { (service.restarts) } }
            @if let Some(exit) = &service.last_exit {
                div { dt { "Last exit" } dd { (exit_words(exit)) ", " (words::ago(&exit.at, now)) " ago, after " (words::span(exit.after_s)) } }
            }
            @if let Some(health) = &service.health { div { dt { "Health" } dd { (health) } } }
            @if let Some(by) = &service.served_by { div { dt { "Served by" } dd { (by) } } }
            @if let Some(owner) = &service.owner { div { dt { "Run by instance" } dd { (owner) } } }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "for a picture")]
fn charts(app: &App, service: &ServiceView) -> Markup {
    let samples = app.samples.of(&service.name);
    let cpu: Vec<f64> = samples.iter().map(|sample| sample.cpu).collect();
    let memory: Vec<f64> = samples.iter().map(|sample| sample.memory as f64).collect();
    let newest = samples.last();
    let cpu_top = cpu.iter().copied().fold(20.0, f64::max);
    let memory_top = memory.iter().copied().fold(1.0, f64::max) * 1.25;
    html! {
        div.charts #charts data-part data-tick {
            section.card { h2 { "CPU" } p.big { (newest.map_or("–".to_owned(), |s| percent(s.cpu))) } (chart(&cpu, cpu_top)) }
            section.card { h2 { "Memory" } p.big { (newest.map_or("–".to_owned(), |s| words::bytes(s.memory))) } (chart(&memory, memory_top)) }
        }
    }
}

/// Five minutes as an area.
fn chart(values: &[f64], top: f64) -> Markup {
    use std::fmt::Write as _;
    let first = 60_usize.saturating_sub(values.len());
    let mut line = String::new();
    for (index, value) in values.iter().enumerate() {
        // Writing to a String cannot fail.
        let _ = write!(
            line,
            " {} {}",
            (first + index) * 5,
            height(*value, top, 58.0)
        );
    }
    let last = (first + values.len().saturating_sub(1)) * 5;
    html! {
        svg.chart viewBox="0 0 295 60" preserveAspectRatio="none" role="img" aria-label="The last five minutes" {
            @if values.len() > 1 {
                path.area d={ "M" (first * 5) " 60 L" (line) " " (last) " 60 Z" };
                path.line d={ "M" (line) };
            }
        }
    }
}

fn timeline(files: &Files) -> Markup {
    html! {
        h2 { "What happened" }
        @if files.moments.is_empty() {
            p.hint { "Nothing is recorded yet." }
        } @else {
            (bar(&files.spells, now_ms()))
            div.scroll tabindex="0" role="group" aria-label="Events" {
                table.events {
                    thead { tr { th scope="col" { "When (UTC)" } th scope="col" { "What" } th scope="col" { "Why" } } }
                    tbody { @for moment in &files.moments { (event(moment)) } }
                }
            }
        }
    }
}

/// A moment as a row.
pub(crate) fn event(moment: &Moment) -> Markup {
    let what = match (moment.kind.as_str(), moment.code, moment.signal) {
        ("exit", Some(code), _) => format!("exit {code}"),
        ("exit", None, Some(signal)) => words::signal(signal),
        ("order", ..) => "order".to_owned(),
        ("restart", ..) => "restart".to_owned(),
        _ => String::new(),
    };
    html! {
        tr {
            td { (clock(moment.at_ms)) }
            td {
                @if what.is_empty() { b class={ "p " (word_class(&moment.state)) } { (moment.state) } }
                @else { (what) }
            }
            td { (moment.words) }
        }
    }
}

/// The states of the last day as a bar, a thousand units wide.
fn bar(spells: &[Spell], now: i64) -> Markup {
    let from = now - SPAN_MS;
    let x = |ms: i64| (ms.clamp(from, now) - from) * 1000 / SPAN_MS;
    let ends = spells
        .iter()
        .skip(1)
        .map(|spell| spell.from_ms)
        .chain([now]);
    html! {
        svg.bar viewBox="0 0 1000 24" preserveAspectRatio="none" role="img" aria-label="States of the last 24 hours; the table below has them in words" {
            rect.none x="0" y="0" width="1000" height="24";
            @for (spell, end) in spells.iter().zip(ends) {
                rect class=(word_class(&spell.state)) x=(x(spell.from_ms).min(996)) y="0" width=((x(end) - x(spell.from_ms)).max(4)) height="24" {
                    title { (spell.state) ": " (spell.words) }
                }
            }
        }
        p.scale { span { "24 h ago" } span { "12 h" } span { "now" } }
    }
}

fn configuration(files: &Files) -> Markup {
    html! {
        details.card {
            summary { h2 { "Configuration" } span.hint { "read-only, secrets are masked" } }
            h3 { "config.yaml" }
            @match &files.config {
                None | Some(Ok(Value::Null)) => p.hint { "Nothing is set." },
                Some(Ok(value)) => div.tree { (tree(value)) },
                Some(Err(why)) => p.hint { (why) },
            }
            h3 { ".env" }
            @if files.variables.is_empty() { p.hint { "Nothing is set." } }
            dl.env { @for name in &files.variables { div { dt { (name) } dd { (MASK) } } } }
        }
        details.card {
            summary { h2 { "SOUL.md" } }
            @if files.soul.trim().is_empty() { p.hint { "It is empty." } } @else { pre tabindex="0" { (files.soul) } }
        }
    }
}

/// A document by its structure.
fn tree(value: &Value) -> Markup {
    html! {
        @match value {
            Value::Object(entries) => dl {
                @for (key, value) in entries {
                    div { dt { (key) } dd { (tree(value)) } }
                }
            },
            Value::Array(items) => ul { @for item in items { li { (tree(item)) } } },
            Value::String(text) => (text),
            Value::Null => "–",
            other => (other.to_string()),
        }
    }
}

/// `GET /profiles/{name}/delete`: nothing is deleted by a single click.
pub(crate) async fn delete_page(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    let outcome = async {
        existing(&app, &name).await?;
        let page = Page::new(&app, &headers, "", "Delete a profile")?;
        let content = html! {
            nav.crumbs aria-label="Where this is" {
                a href="/" { "Overview" } " / " a href={ "/profiles/" (name) } { (name) } " / " span { "Delete" }
            }
            section.card.narrow {
                h1 { "Delete " (name) "?" }
                p { "Its gateway is stopped, and its directory is removed with everything in it: configuration, sessions, memories, logs. This can't be undone; "
                    code { "herm profile export " (name) } " keeps a copy." }
                form.fields method="post" action={ "/profiles/" (name) "/delete" } {
                    input type="hidden" name="csrf" value=(page.visit.csrf);
                    label { "Type " strong { (name) } " to confirm"
                        input name="confirm" autocomplete="off" required; }
                    div.actions {
                        button.danger { "Delete it" }
                        a.button href={ "/profiles/" (name) } { "Keep it" }
                    }
                }
            }
        };
        Ok(page.answer(&content))
    };
    outcome
        .await
        .unwrap_or_else(|problem: Problem| problem.answer(&headers, "/profiles"))
}
