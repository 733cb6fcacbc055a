//! Changes that the forms of the pages ask for: whether they may, and what is answered.

use std::sync::Arc;

use axum::extract::{Form, Path as UrlPath, State};
use axum::http::header::CONNECTION;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::{Extension, Json};
use herm_home::HomeError;
use herm_wire::{ErrorBody, ErrorCode};
use serde::Deserialize;
use serde_json::json;

use crate::app::App;
use crate::auth::Standing;
use crate::auth::bearer::Scope;
use crate::orders::{Parting, Verb, ends_this, label, make, order, remove};
use crate::pages::error::{Problem, wants_json};

/// The form of the verbs: one for a whole page, its buttons say `verb:name`.
#[derive(Debug, Deserialize)]
pub(crate) struct ActForm {
    #[serde(default)]
    csrf: String,
    #[serde(rename = "do")]
    what: String,
    /// The page to go back to.
    #[serde(default)]
    back: String,
}

/// The form that makes a profile.
#[derive(Debug, Deserialize)]
pub(crate) struct CreateForm {
    #[serde(default)]
    csrf: String,
    name: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    clone_from: String,
}

/// The form that deletes one: its name has to be typed.
#[derive(Debug, Deserialize)]
pub(crate) struct DeleteForm {
    #[serde(default)]
    csrf: String,
    #[serde(default)]
    confirm: String,
}

/// Fails unless the request may change something.
pub(crate) fn may_change(
    app: &App,
    standing: Standing,
    headers: &HeaderMap,
    csrf: &str,
) -> Result<(), Problem> {
    match standing {
        Standing::Program(Scope::Control) => Ok(()),
        Standing::Program(Scope::Read) => Err(Problem::new(
            StatusCode::FORBIDDEN,
            "this token may look and not change anything",
        )),
        Standing::Browser if app.auth.sessions.is_csrf(headers, csrf) => Ok(()),
        Standing::Browser => Err(Problem::new(
            StatusCode::FORBIDDEN,
            "the page is too old, or the change did not come from it; load it again and repeat the change",
        )),
        Standing::Nobody | Standing::Stranger => {
            Err(Problem::new(StatusCode::UNAUTHORIZED, "sign in first"))
        }
    }
}

/// What came of a button.
enum Outcome {
    /// It is done, in words.
    Done(String),
    /// This process ends by it: what comes.
    Ending(&'static str),
}

/// The last answer of this process: there is no page to go back to, and the connection ends with it.
fn farewell(what: &'static str, headers: &HeaderMap, path: &str) -> Response {
    let mut response = if wants_json(headers, path) {
        Json(json!({ "message": what })).into_response()
    } else {
        Problem::new(StatusCode::ACCEPTED, what).answer(headers, path)
    };
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(CONNECTION, close);
    response
}

/// `POST /act`.
pub(crate) async fn act(
    State(app): State<Arc<App>>,
    Extension(standing): Extension<Standing>,
    Extension(parting): Extension<Parting>,
    headers: HeaderMap,
    Form(form): Form<ActForm>,
) -> Response {
    let path = "/act";
    let outcome = async {
        may_change(&app, standing, &headers, &form.csrf)?;
        let unknown = || Problem::new(StatusCode::BAD_REQUEST, "there is no such button");
        let (verb, name) = form.what.split_once(':').ok_or_else(unknown)?;
        let verb = Verb::parse(verb).ok_or_else(unknown)?;
        if ends_this(&app, verb, name) {
            return Ok(Outcome::Ending(parting.after_answer(verb)));
        }
        let service = order(&app, verb, name).await?;
        Ok(Outcome::Done(format!(
            "{} is {}",
            label(&service),
            verb.done()
        )))
    };
    match outcome.await {
        Ok(Outcome::Ending(what)) => farewell(what, &headers, path),
        Ok(Outcome::Done(message)) => answer(Ok(message), &headers, path, &form.back),
        Err(problem) => answer(Err(problem), &headers, path, &form.back),
    }
}

fn answer(
    outcome: Result<String, Problem>,
    headers: &HeaderMap,
    path: &str,
    back: &str,
) -> Response {
    match outcome {
        Ok(message) if wants_json(headers, path) => {
            Json(json!({ "message": message })).into_response()
        }
        Ok(_) => Redirect::to(own_path(back)).into_response(),
        Err(problem) => problem.answer(headers, path),
    }
}

/// A path of ours, or the first page: nobody is sent elsewhere.
pub(crate) fn own_path(path: &str) -> &str {
    let rest = path.strip_prefix('/');
    let is_own = rest.is_some_and(|rest| !rest.starts_with(['/', '\\']))
        && path.bytes().all(|byte| byte.is_ascii_graphic());
    if is_own { path } else { "/" }
}

/// `POST /profiles`.
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    Extension(standing): Extension<Standing>,
    headers: HeaderMap,
    Form(form): Form<CreateForm>,
) -> Response {
    let outcome = async {
        may_change(&app, standing, &headers, &form.csrf)?;
        let text = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        make(
            &app,
            &form.name,
            text(&form.clone_from),
            text(&form.description),
        )
        .await
    };
    match outcome.await {
        Ok(name) => {
            let back = format!("/profiles/{name}");
            answer(
                Ok(format!("profile {name} is created")),
                &headers,
                "/profiles",
                &back,
            )
        }
        Err(problem) => problem.answer(&headers, "/profiles"),
    }
}

/// `POST /profiles/{name}/delete`.
pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    Extension(standing): Extension<Standing>,
    UrlPath(name): UrlPath<String>,
    headers: HeaderMap,
    Form(form): Form<DeleteForm>,
) -> Response {
    let path = format!("/profiles/{name}/delete");
    let outcome = async {
        may_change(&app, standing, &headers, &form.csrf)?;
        if form.confirm.trim() != name {
            let text =
                format!("nothing is deleted: the name {name:?} has to be typed to confirm it");
            return Err(Problem::new(StatusCode::BAD_REQUEST, text));
        }
        remove(&app, &name).await?;
        Ok(format!("profile {name} is deleted"))
    };
    answer(outcome.await, &headers, &path, "/")
}

impl From<HomeError> for Problem {
    fn from(error: HomeError) -> Self {
        let status = match error.exit_code() {
            2 | 78 => StatusCode::UNPROCESSABLE_ENTITY,
            4 => StatusCode::NOT_FOUND,
            5 => StatusCode::FORBIDDEN,
            _ if matches!(error, HomeError::Exists { .. }) => StatusCode::CONFLICT,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, error.to_string())
    }
}

impl From<ErrorBody> for Problem {
    fn from(error: ErrorBody) -> Self {
        let status = match error.code {
            ErrorCode::BadRequest => StatusCode::BAD_REQUEST,
            ErrorCode::NotFound => StatusCode::NOT_FOUND,
            ErrorCode::NotPermitted => StatusCode::FORBIDDEN,
            ErrorCode::BadConfig | ErrorCode::Failed => StatusCode::UNPROCESSABLE_ENTITY,
            ErrorCode::Superseded | ErrorCode::Clash => StatusCode::CONFLICT,
            ErrorCode::TimedOut => StatusCode::GATEWAY_TIMEOUT,
            ErrorCode::NoCapacity | ErrorCode::ShuttingDown => StatusCode::SERVICE_UNAVAILABLE,
            ErrorCode::Internal => StatusCode::BAD_GATEWAY,
        };
        let text = match &error.hint {
            Some(hint) => format!("{}; {hint}", error.message),
            None => error.message.clone(),
        };
        Self::new(status, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_to_another_site() {
        for own in ["/", "/profiles/a", "/?state=failed"] {
            assert_eq!(own_path(own), own);
        }
        for foreign in [
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "",
            "/a\r\nX: y",
        ] {
            assert_eq!(own_path(foreign), "/");
        }
    }
}
