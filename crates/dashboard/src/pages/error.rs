//! What can't be done, in words: a page for people, JSON for programs.

use axum::http::header::{ACCEPT, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::response::{Html, IntoResponse as _, Response};
use maud::html;
use serde_json::json;

use super::parts::prose;
use super::{MARK, document};

/// Why a request was not done.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    status: StatusCode,
    message: String,
    retry_after: Option<u64>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            retry_after: None,
        }
    }

    /// Seconds after which it may go better.
    pub(crate) fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// Puts what it is about in front.
    pub(crate) fn about(mut self, what: &str) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }

    /// The words.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// As the one who asked can read it.
    pub(crate) fn answer(self, headers: &HeaderMap, path: &str) -> Response {
        let mut response = if wants_json(headers, path) {
            self.json()
        } else {
            (self.status, Html(self.page())).into_response()
        };
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }

    fn json(&self) -> Response {
        let body = json!({ "error": { "status": self.status.as_u16(), "message": self.message } });
        (self.status, axum::Json(body)).into_response()
    }

    fn page(&self) -> String {
        let reason = self.status.canonical_reason().unwrap_or("Error");
        let body = html! {
            body.alone {
                main #main.card {
                    p.brand { (MARK) "herm" }
                    h1 { (reason) }
                    p { (prose(&capital(&self.message))) "." }
                    p { a.button href="/" { "Back to the overview" } }
                }
            }
        };
        document(reason, &body).into_string()
    }
}

/// A sentence begins with a capital.
fn capital(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(char::to_uppercase);
    first.into_iter().flatten().chain(letters).collect()
}

/// Whether the one who asks is a program, or our script.
pub(crate) fn wants_json(headers: &HeaderMap, path: &str) -> bool {
    let accepts = headers
        .get(ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .unwrap_or_default();
    path.starts_with("/api/") || accepts.starts_with("application/json")
}

/// Where nothing is.
pub(crate) async fn not_found(headers: HeaderMap, uri: Uri) -> Response {
    Problem::new(StatusCode::NOT_FOUND, "there is nothing at this address")
        .answer(&headers, uri.path())
}

/// Where something is, for another method.
pub(crate) async fn wrong_method(method: Method, headers: HeaderMap, uri: Uri) -> Response {
    let text = format!("this address does not answer {method}");
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, text).answer(&headers, uri.path())
}
