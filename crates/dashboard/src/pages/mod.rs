//! The pages: whole documents that need no script, and come alive with one.

pub(crate) mod api;
pub(crate) mod boots;
mod charts;
pub(crate) mod error;
pub(crate) mod health;
pub(crate) mod log;
pub(crate) mod login;
pub(crate) mod overview;
pub(crate) mod parts;
pub(crate) mod profile;
pub(crate) mod service;
pub(crate) mod services;
pub(crate) mod system;
mod timeline;

use axum::http::header::SET_COOKIE;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse as _, Response};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::app::App;
use crate::assets::address;
use crate::auth::session::Visit;
use crate::pages::error::Problem;

/// What is in the bar at the top.
const PLACES: [(&str, &str); 4] = [
    ("/", "Overview"),
    ("/services", "Services"),
    ("/boots", "Boots"),
    ("/system", "System"),
];

/// The mark beside the name.
pub(crate) const MARK: PreEscaped<&str> = PreEscaped(
    "<svg class=\"mark\" viewBox=\"0 0 24 24\" aria-hidden=\"true\"><path d=\"M6 4v16M18 4v16M6 12h12\"/>\
     <circle cx=\"6\" cy=\"4\" r=\"2\"/><circle cx=\"18\" cy=\"20\" r=\"2\"/></svg>",
);

/// A page on its way.
pub(crate) struct Page<'a> {
    /// The dashboard.
    pub(crate) app: &'a App,
    /// What it is called.
    pub(crate) title: &'a str,
    /// Its own address among the places in the bar.
    pub(crate) place: &'a str,
    /// The browser it is for.
    pub(crate) visit: Visit,
}

impl<'a> Page<'a> {
    /// A page for whoever sent these headers.
    pub(crate) fn new(
        app: &'a App,
        headers: &HeaderMap,
        place: &'a str,
        title: &'a str,
    ) -> Result<Self, Problem> {
        let visit = app
            .auth
            .sessions
            .visit(headers)
            .map_err(|why| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, why))?;
        Ok(Self {
            app,
            title,
            place,
            visit,
        })
    }

    /// The answer.
    pub(crate) fn answer(self, content: &Markup) -> Response {
        let cookie = self.visit.set_cookie.clone();
        let mut response = Html(self.document(content).into_string()).into_response();
        if let Some(value) = cookie.and_then(|cookie| HeaderValue::from_str(&cookie).ok()) {
            response.headers_mut().append(SET_COOKIE, value);
        }
        response
    }

    fn document(&self, content: &Markup) -> Markup {
        let trouble = self.app.live.picture().trouble.clone();
        let body = html! {
            body data-run=(self.app.run) data-csrf=(self.visit.csrf) {
                a.skip href="#main" { "Skip to the content" }
                header.bar {
                    a.brand href="/" { (MARK) "herm" }
                    nav aria-label="Pages" {
                        @for (path, name) in PLACES {
                            a href=(path) aria-current=[(path == self.place).then_some("page")] { (name) }
                        }
                    }
                    span.live role="status" { span.dot {} span.words { "not live" } }
                    @if !self.app.auth.is_open() {
                        form method="post" action="/logout" {
                            input type="hidden" name="csrf" value=(self.visit.csrf);
                            button.plain { "Sign out" }
                        }
                    }
                }
                main #main {
                    div #trouble data-part {
                        @if let Some(trouble) = trouble {
                            p.banner role="alert" {
                                strong { "The supervisor does not answer. " } (trouble.message)
                                ". What is shown is the last that was known."
                            }
                        }
                    }
                    (content)
                }
                div #toast role="status" aria-live="polite" {}
                footer { "herm " (env!("CARGO_PKG_VERSION")) " · " a href="/api/v1" { "API" } }
            }
        };
        document(self.title, &body)
    }
}

/// A whole document.
pub(crate) fn document(title: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · herm" }
                link rel="icon" href=(address("icon.svg")) type="image/svg+xml";
                link rel="stylesheet" href=(address("style.css"));
                script src=(address("script.js")) defer {}
            }
            (body)
        }
    }
}
