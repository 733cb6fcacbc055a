//! Signing in and out.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Form, Query, State};
use axum::http::header::{ORIGIN, RETRY_AFTER, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse as _, Redirect, Response};
use maud::html;
use serde::Deserialize;

use super::error::Problem;
use super::{MARK, document};
use crate::actions::own_path;
use crate::app::App;
use crate::auth::session::Visit;
use crate::auth::{Attempt, Login};
use crate::guard::Sender;

/// Where to go afterwards.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Next {
    #[serde(default)]
    next: String,
}

/// What was typed.
#[derive(Debug, Deserialize)]
pub(crate) struct Typed {
    #[serde(default)]
    csrf: String,
    #[serde(default)]
    username: String,
    secret: String,
    #[serde(default)]
    next: String,
}

/// `GET /login`.
pub(crate) async fn page(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    Query(next): Query<Next>,
) -> Response {
    if app.auth.is_open() || app.auth.sessions.is_signed_in(&headers) {
        return Redirect::to(own_path(&next.next)).into_response();
    }
    shown(&app, &headers, &next.next, None, StatusCode::OK)
}

fn shown(
    app: &App,
    headers: &HeaderMap,
    next: &str,
    wrong: Option<&str>,
    status: StatusCode,
) -> Response {
    match app.auth.sessions.visit(headers) {
        Ok(visit) => {
            let page = form(app, &visit, next, wrong);
            with_cookie(
                (status, Html(page)).into_response(),
                visit.set_cookie.as_deref(),
            )
        }
        Err(why) => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, why).answer(headers, "/login"),
    }
}

fn form(app: &App, visit: &Visit, next: &str, wrong: Option<&str>) -> String {
    let by_token = matches!(app.auth.login, Login::Token(_));
    let body = html! {
        body.alone {
            main #main.card {
                p.brand { (MARK) "herm" }
                h1 { "Sign in" }
                @if let Some(wrong) = wrong {
                    p.banner role="alert" #wrong { (wrong) }
                }
                form.fields method="post" action="/login" {
                    input type="hidden" name="csrf" value=(visit.csrf);
                    input type="hidden" name="next" value=(own_path(next));
                    @if by_token {
                        label { "Token"
                            input name="secret" type="password" autocomplete="current-password" required
                                autofocus aria-describedby="where";
                        }
                        p.hint #where { "On the machine: " code { "herm dashboard token show" }
                            ", in a container: " code { "docker exec NAME herm dashboard token show" } }
                    } @else {
                        label { "Name" input name="username" autocomplete="username" required autofocus; }
                        label { "Password"
                            input name="secret" type="password" autocomplete="current-password" required; }
                    }
                    button.primary { "Sign in" }
                }
            }
        }
    };
    document("Sign in", &body).into_string()
}

fn with_cookie(mut response: Response, cookie: Option<&str>) -> Response {
    if let Some(value) = cookie.and_then(|cookie| HeaderValue::from_str(cookie).ok()) {
        response.headers_mut().append(SET_COOKIE, value);
    }
    response
}

/// `POST /login`.
pub(crate) async fn sign_in(
    State(app): State<Arc<App>>,
    Extension(sender): Extension<Sender>,
    headers: HeaderMap,
    Form(typed): Form<Typed>,
) -> Response {
    if !app.auth.sessions.is_csrf(&headers, &typed.csrf) {
        let wrong = "The page was too old, or your browser keeps no cookies. Try again.";
        return shown(
            &app,
            &headers,
            &typed.next,
            Some(wrong),
            StatusCode::FORBIDDEN,
        );
    }
    match app
        .auth
        .attempt(sender.0, &typed.username, &typed.secret)
        .await
    {
        Attempt::Accepted => {}
        Attempt::Refused => {
            let wrong = "That is not right. Try again.";
            return shown(
                &app,
                &headers,
                &typed.next,
                Some(wrong),
                StatusCode::UNAUTHORIZED,
            );
        }
        Attempt::TooMany(seconds) => {
            let wrong = format!("Too many wrong attempts. Try again in {seconds} seconds.");
            let status = StatusCode::TOO_MANY_REQUESTS;
            let mut response = shown(&app, &headers, &typed.next, Some(&wrong), status);
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
            return response;
        }
    }
    let secure = headers
        .get(ORIGIN)
        .is_some_and(|origin| origin.as_bytes().starts_with(b"https://"));
    match app.auth.sessions.sign_in(secure) {
        Ok(visit) => {
            let response = Redirect::to(own_path(&typed.next)).into_response();
            with_cookie(response, visit.set_cookie.as_deref())
        }
        Err(why) => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, why).answer(&headers, "/login"),
    }
}

/// The form of signing out.
#[derive(Debug, Deserialize)]
pub(crate) struct Leaving {
    #[serde(default)]
    csrf: String,
}

/// `POST /logout`.
pub(crate) async fn sign_out(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    Form(leaving): Form<Leaving>,
) -> Response {
    if !app.auth.sessions.is_csrf(&headers, &leaving.csrf) {
        return Problem::new(StatusCode::FORBIDDEN, "the page is too old; load it again")
            .answer(&headers, "/logout");
    }
    let cookie = app.auth.sessions.sign_out(&headers);
    with_cookie(Redirect::to("/login").into_response(), Some(&cookie))
}
