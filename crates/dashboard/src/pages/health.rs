//! `/healthz`: does the dashboard answer, and the supervisor it? `/readyz`: does everything serve
//! that should? Open to everyone, so they tell nothing but that.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use herm_wire::verdict::missing;

use crate::app::App;

/// `GET /healthz`.
pub(crate) async fn alive(State(app): State<Arc<App>>) -> Response {
    let answers = app.live.picture().hello.is_some();
    verdict(answers, "the supervisor does not answer")
}

/// `GET /readyz`.
pub(crate) async fn ready(State(app): State<Arc<App>>) -> Response {
    let picture = app.live.picture();
    let booted = picture.hello.as_ref().is_some_and(|hello| hello.booted) && !picture.stopping;
    let sound = missing(picture.services.values()).next().is_none();
    drop(picture);
    if booted {
        verdict(sound, "something that should run does not serve")
    } else {
        verdict(false, "not booted, or stopping")
    }
}

fn verdict(good: bool, otherwise: &'static str) -> Response {
    let (status, text) = if good {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, otherwise)
    };
    (status, [(CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
}
