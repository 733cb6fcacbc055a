//! The page on the API, for people.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use maud::html;

use super::Page;
use crate::api::ROUTES;
use crate::app::App;

/// `GET /api/v1`.
pub(crate) async fn page(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    let page = match Page::new(&app, &headers, "", "API") {
        Ok(page) => page,
        Err(problem) => return problem.answer(&headers, "/"),
    };
    let content = html! {
        h1 { "API" }
        p.lead { "What these pages show and do, for programs." }
        section.card {
            h2 { "How" }
            p { "Make a token with " code { "herm dashboard token add NAME --scope read" } " (or " code { "control" } ") and send it as "
                code { "Authorization: Bearer TOKEN" } ". The whole is described in " a href="/api/v1/openapi.json" { "openapi.json" }
                " (OpenAPI 3.1); " a href="/metrics" { "/metrics" } " is for Prometheus, "
                code { "/healthz" } " and " code { "/readyz" } " are for probes." }
        }
        section.card.wide {
            h2 { "Operations" }
            div.scroll.whole tabindex="0" role="group" aria-label="Operations" {
                table.events {
                    thead { tr { th scope="col" { "Operation" } th scope="col" { "Scope" } th scope="col" { "What it does" } th scope="col" { "Answers" } } }
                    tbody { @for route in ROUTES {
                        tr id=(route.id) {
                            td { code { (route.method.to_uppercase()) " /api/v1" (route.path) } }
                            td { (route.scope) }
                            td {
                                (route.summary)
                                @if let Some(body) = route.body { "; takes " (body) }
                                @for (name, kind, about) in route.query {
                                    br; code { (name) } " (" (kind) "): " (about)
                                }
                            }
                            td { (route.status.as_u16()) " " (route.answer) }
                        }
                    } }
                }
            }
        }
    };
    page.answer(&content)
}
