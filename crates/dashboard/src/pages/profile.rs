//! One profile: how it is and was, its log, what it is configured with.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use herm_home::dotenv::Dotenv;
use herm_home::files::Dir;
use herm_home::layout::{DOTENV, SOUL};
use herm_home::profile::ProfileInfo;
use herm_home::{Home, ProfileName, config};
use herm_wire::ServiceView;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::Value;

use super::charts::charts;
use super::error::Problem;
use super::parts::act_form;
use super::service::head;
use super::timeline::{Story, timeline};
use super::{Page, log};
use crate::app::App;
use crate::mask::{MASK, mask};

/// Largest SOUL.md that is shown, in bytes.
const SOUL_BYTES: u64 = 256 * 1024;

/// What to look for in the log.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Search {
    #[serde(default)]
    pub(crate) q: String,
}

/// What the home says of a profile.
#[derive(Default)]
struct Files {
    config: Config,
    variables: Vec<String>,
    soul: String,
    story: Story,
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
    let log = match &service {
        Some(service) => Some(log::of(app, service, &search.q).await),
        None => None,
    };
    let back = format!("/profiles/{name}");
    let content = html! {
        nav.crumbs aria-label="Where this is" { a href="/" { "Overview" } " / " span { (name) } }
        (act_form("a", &page.visit.csrf, &back))
        section.card.head #head data-part data-of=(profile.service()) {
            (headline(app, name, info, service.as_ref()))
        }
        @if let Some(service) = &service { (charts(app, service)) }
        div.columns {
            @if let Some(log) = &log { (log) }
            (timeline(&profile.service(), &files.story))
        }
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
    Files {
        config,
        variables,
        soul: String::from_utf8_lossy(&soul).into_owned(),
        story: Story::read(home, &profile.service()),
    }
}

fn headline(
    app: &App,
    name: &str,
    info: Option<&ProfileInfo>,
    service: Option<&ServiceView>,
) -> Markup {
    let description = info.and_then(|info| info.description.as_deref());
    html! {
        @match service {
            Some(service) => (head(app, name, description, service, info)),
            None => {
                div.title { h1 { (name) } b.p.sd { "not supervised" } }
                @if let Some(description) = description { p.about { (description) } }
                p.why { "This container's supervisor does not run it. If another container does, use that one's dashboard; if none does, " code { "herm reconcile" } " says why." }
            }
        }
    }
}

fn configuration(files: &Files) -> Markup {
    html! {
      div.columns {
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
                    label { span { "Type " strong { (name) } " to confirm" }
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
