//! One service that is no profile's gateway: how it is and was, and its log.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Redirect, Response};
use herm_home::profile::ProfileInfo;
use herm_wire::ServiceView;
use maud::{Markup, html};

use super::charts::charts;
use super::error::Problem;
use super::overview::why;
use super::parts::{act_form, ago, buttons, exit_words, is_ordered_here, pill, prose, since};
use super::profile::Search;
use super::timeline::{Story, timeline};
use super::{Page, log};
use crate::app::App;
use crate::words::{self, now_ms};

/// `GET /services/{name}`. A gateway has its profile's page.
pub(crate) async fn page(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    headers: HeaderMap,
    Query(search): Query<Search>,
) -> Response {
    let answer = shown(&app, &name, &headers, &search).await;
    answer.unwrap_or_else(|problem| problem.answer(&headers, "/services"))
}

async fn shown(
    app: &App,
    name: &str,
    headers: &HeaderMap,
    search: &Search,
) -> Result<Response, Problem> {
    let Some(service) = app.live.service(name) else {
        let text = format!("there is no service {name:?}");
        return Err(Problem::new(StatusCode::NOT_FOUND, text));
    };
    if let Some(profile) = &service.profile {
        return Ok(Redirect::to(&format!("/profiles/{profile}")).into_response());
    }
    let page = Page::new(app, headers, "", name)?;
    let (home, of) = (app.options.home.clone(), service.name.clone());
    let story = tokio::task::spawn_blocking(move || Story::read(&home, &of))
        .await
        .unwrap_or_default();
    let log = log::of(app, &service, &search.q).await;
    let back = format!("/services/{name}");
    let content = html! {
        nav.crumbs aria-label="Where this is" { a href="/services" { "Services" } " / " span { (name) } }
        (act_form("a", &page.visit.csrf, &back))
        section.card.head #head data-part data-of=(service.name) { (head(app, name, None, &service, None)) }
        (charts(app, &service))
        div.columns { (log) (timeline(&service.name, &story)) }
    };
    Ok(page.answer(&content))
}

/// What stands first on a page about one service.
pub(crate) fn head(
    app: &App,
    name: &str,
    description: Option<&str>,
    service: &ServiceView,
    info: Option<&ProfileInfo>,
) -> Markup {
    html! {
        div.title {
            h1 { (name) }
            (pill(service))
            div.actions { @if is_ordered_here(service) { (buttons(service, info, "a")) } }
        }
        @if let Some(description) = description { p.about { (description) } }
        p.why { (prose(&why(app, service))) }
        (facts(service, info))
    }
}

fn facts(service: &ServiceView, info: Option<&ProfileInfo>) -> Markup {
    let now = now_ms();
    html! {
        dl.facts {
            @if let Some(model) = info.and_then(|info| info.model.as_deref()) { div { dt { "Model" } dd { (model) } } }
            @if service.pid.is_some() { div { dt { "Up" } dd { (since(&service.since, now)) } } }
            @if let Some(pid) = service.pid { div { dt { "Process" } dd { (pid) } } }
            @if let Some(port) = service.port { div { dt { "Port" } dd { (port) } } }
            div { dt { "Restarts since the boot" } dd { (service.restarts) } }
            @if let Some(exit) = &service.last_exit {
                div { dt { "Last exit" } dd { (exit_words(exit)) ", " (ago(&exit.at, now)) ", after " (words::span(exit.after_s)) } }
            }
            @if let Some(health) = &service.health { div { dt { "Health" } dd { (health) } } }
            @if let Some(by) = &service.served_by { div { dt { "Served by" } dd { (by) } } }
            @if let Some(owner) = &service.owner { div { dt { "Run by instance" } dd { (owner) } } }
        }
    }
}
