//! The REST API under `/api/v1`. [`ROUTES`] is the one definition: the router is made from it, and
//! so is the OpenAPI document, which is generated (`cargo xtask gen`) and served.

mod answers;
#[cfg(feature = "schema")]
pub mod openapi;

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse as _;
use axum::routing::{MethodRouter, delete, get, post};

use crate::app::App;
use crate::auth::bearer::Scope;

/// The generated document.
const DOCUMENT: &str = include_str!("../../../../docs/reference/openapi.json");

/// One operation.
pub(crate) struct Route {
    /// In lower case.
    pub(crate) method: &'static str,
    /// Below `/api/v1`.
    pub(crate) path: &'static str,
    /// What it is called in clients that are made from the document.
    pub(crate) id: &'static str,
    /// What it does.
    pub(crate) summary: &'static str,
    /// What a token has to allow.
    pub(crate) scope: Scope,
    /// What can be asked besides: name, type, meaning.
    pub(crate) query: &'static [(&'static str, &'static str, &'static str)],
    /// The type of the body, where there is one.
    pub(crate) body: Option<&'static str>,
    /// The status of success.
    pub(crate) status: StatusCode,
    /// The type of the answer; a text that is none of the types is a media type.
    pub(crate) answer: &'static str,
    /// Who answers.
    handler: fn() -> MethodRouter<Arc<App>>,
}

impl Route {
    const fn look(
        path: &'static str,
        id: &'static str,
        summary: &'static str,
        answer: &'static str,
        handler: fn() -> MethodRouter<Arc<App>>,
    ) -> Self {
        Self {
            method: "get",
            path,
            id,
            summary,
            scope: Scope::Read,
            query: &[],
            body: None,
            status: StatusCode::OK,
            answer,
            handler,
        }
    }

    const fn change(
        path: &'static str,
        id: &'static str,
        summary: &'static str,
        handler: fn() -> MethodRouter<Arc<App>>,
    ) -> Self {
        Self {
            method: "post",
            path,
            id,
            summary,
            scope: Scope::Control,
            query: &[],
            body: None,
            status: StatusCode::OK,
            answer: "ServiceView",
            handler,
        }
    }
}

/// Query of what lists lines of a log.
const LOG_QUERY: &[(&str, &str, &str)] = &[
    (
        "lines",
        "integer",
        "How many of the newest lines, at most 5,000; 200 by default",
    ),
    (
        "q",
        "string",
        "Only lines that contain this, whatever the case",
    ),
    (
        "since",
        "string",
        "Only lines that are not older than this RFC 3339 time, or the beginning of one",
    ),
];
/// Query of the history.
const HISTORY_QUERY: &[(&str, &str, &str)] = &[
    ("service", "string", "Only this service"),
    (
        "before",
        "integer",
        "Only moments with a smaller number: the last one of the answer before",
    ),
    (
        "limit",
        "integer",
        "How many, at most 1,000; 100 by default",
    ),
];

/// Every operation.
pub(crate) const ROUTES: &[Route] = &[
    Route::look(
        "/status",
        "status",
        "The answer in one sentence, and every service",
        "Status",
        || get(answers::status),
    ),
    Route::look("/services", "services", "Every service", "Services", || {
        get(answers::services)
    }),
    Route::look(
        "/services/{name}",
        "service",
        "One service, by its name or its profile's",
        "ServiceView",
        || get(answers::service),
    ),
    Route::look(
        "/services/{name}/why",
        "why",
        "Why it is as it is and what happens next, in one sentence",
        "Why",
        || get(answers::why),
    ),
    Route {
        query: LOG_QUERY,
        ..Route::look(
            "/services/{name}/log",
            "log",
            "The newest lines of its kept log",
            "LogLines",
            || get(answers::log),
        )
    },
    Route::look(
        "/services/{name}/log/events",
        "followLog",
        "New lines of its log as they come, as server-sent events of LogLine",
        "text/event-stream",
        || get(answers::follow_log),
    ),
    Route::change(
        "/services/{name}/start",
        "start",
        "Wants it up, and waits for the result",
        || post(answers::start),
    ),
    Route::change(
        "/services/{name}/stop",
        "stop",
        "Wants it down, and waits for the result",
        || post(answers::stop),
    ),
    Route::change(
        "/services/{name}/restart",
        "restart",
        "Stops it if it runs, then starts it, and waits for the result",
        || post(answers::restart),
    ),
    Route::look(
        "/profiles",
        "profiles",
        "Every profile of the home with its gateway",
        "Profiles",
        || get(answers::profiles),
    ),
    Route {
        body: Some("NewProfile"),
        status: StatusCode::CREATED,
        answer: "Profile",
        ..Route::change("/profiles", "createProfile", "Makes a profile", || {
            post(answers::create_profile)
        })
    },
    Route::look(
        "/profiles/{name}",
        "profile",
        "One profile",
        "Profile",
        || get(answers::profile),
    ),
    Route {
        method: "delete",
        status: StatusCode::NO_CONTENT,
        answer: "",
        ..Route::change(
            "/profiles/{name}",
            "deleteProfile",
            "Stops a profile's gateway and removes its directory",
            || delete(answers::delete_profile),
        )
    },
    Route::look(
        "/boot",
        "boot",
        "How this boot went, and what this container can do",
        "BootReport",
        || get(answers::boot),
    ),
    Route {
        query: HISTORY_QUERY,
        ..Route::look(
            "/history",
            "history",
            "What happened, the newest first, through restarts",
            "History",
            || get(answers::history),
        )
    },
    Route::look(
        "/events",
        "events",
        "What happens as it happens: events of the control protocol as server-sent events",
        "text/event-stream",
        || get(answers::events),
    ),
    Route::look(
        "/openapi.json",
        "openapi",
        "This document",
        "application/json",
        || get(document),
    ),
];

/// The operations as a router.
pub(crate) fn router() -> Router<Arc<App>> {
    ROUTES.iter().fold(Router::new(), |router, route| {
        router.route(&format!("/api/v1{}", route.path), (route.handler)())
    })
}

async fn document() -> axum::response::Response {
    ([(CONTENT_TYPE, "application/json")], DOCUMENT).into_response()
}
