//! `POST /v1/chat/completions`: in from the client, out to the provider, and back.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use herm_home::files::Dir;
use herm_home::layout::SOUL;
use herm_home::{HomeError, ProfilePaths};
use http_body_util::LengthLimitError;
use serde_json::Value;

use crate::conversation::{Completion, SESSION_HEADER, session_id};
use crate::error::ApiError;
use crate::log;
use crate::relay::Relay;
use crate::server::App;
use crate::sessions::{Sessions, Turn};
use crate::streaming::streamed;

/// Long conversations with images fit; the agent has the same limit.
const MAX_REQUEST_BYTES: usize = 10_000_000;
/// For the whole request to arrive.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// Of `SOUL.md`.
const MAX_SOUL_BYTES: u64 = 1 << 20;

/// The handler.
pub(crate) async fn complete(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let pass = app.gate.enter()?;
    let request = Completion::parse(&read(body).await?)?;
    let session = session_id(&headers)?;
    let relay = app.relay.as_ref().ok_or_else(|| not_configured(&app))?;
    let soul = soul(&app.config.profile).await?;
    let (dialogue, turn) = match session {
        None => (request.dialogue().to_vec(), None),
        Some(session) => {
            let (dialogue, turn) = resume(&app.sessions, session, &request).await?;
            (dialogue, Some(turn))
        }
    };
    let session = turn.as_ref().map(|turn| turn.session().to_owned());
    let upstream = request.upstream(relay.model(), &soul, dialogue);
    let response = relay.send(&upstream).await?;
    let mut response = if request.stream {
        streamed(app.clone(), response, turn, pass)?
    } else {
        whole(relay, response, turn).await?
    };
    if let Some(session) = session.and_then(|id| HeaderValue::try_from(id).ok()) {
        let name = HeaderName::from_static(SESSION_HEADER);
        response.headers_mut().insert(name, session);
    }
    Ok(response)
}

async fn read(body: Body) -> Result<Bytes, ApiError> {
    let read = tokio::time::timeout(REQUEST_TIMEOUT, to_bytes(body, MAX_REQUEST_BYTES)).await;
    match read {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error))
            if error
                .source()
                .is_some_and(<dyn Error>::is::<LengthLimitError>) =>
        {
            let message = format!("the body is larger than {MAX_REQUEST_BYTES} bytes");
            let status = StatusCode::PAYLOAD_TOO_LARGE;
            Err(ApiError::invalid(status, "request_too_large", message))
        }
        Ok(Err(_)) => {
            let message = "the body could not be read to its end";
            Err(ApiError::invalid(
                StatusCode::BAD_REQUEST,
                "incomplete_body",
                message,
            ))
        }
        Err(_) => {
            let message = "the body did not arrive in time";
            Err(ApiError::invalid(
                StatusCode::REQUEST_TIMEOUT,
                "request_timeout",
                message,
            ))
        }
    }
}

fn not_configured(app: &App) -> ApiError {
    let message = format!(
        "no provider is configured: set model.default and model.base_url in {} (and, if it wants \
         one, its key in {}), then restart the gateway",
        app.config.profile.config().display(),
        app.config.profile.dotenv().display(),
    );
    ApiError::server(
        StatusCode::SERVICE_UNAVAILABLE,
        "provider_not_configured",
        message,
    )
}

/// The profile's own words, as they are now: an edit counts from the next request on.
async fn soul(profile: &ProfilePaths) -> Result<String, ApiError> {
    let profile = profile.clone();
    let read = tokio::task::spawn_blocking(move || {
        let content = Dir::open(profile.dir())?.read_input(SOUL, MAX_SOUL_BYTES)?;
        Ok(content.map_or_else(String::new, |content| {
            String::from_utf8_lossy(&content.bytes).into_owned()
        }))
    });
    let read = read.await.unwrap_or_else(|_| Ok(String::new()));
    read.map_err(|error: HomeError| {
        log::warn(&error);
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        ApiError::server(status, "profile_unreadable", error.to_string())
    })
}

/// The dialogue to send, and the turn that begins with it.
async fn resume(
    sessions: &Sessions,
    session: String,
    request: &Completion,
) -> Result<(Vec<Value>, Turn), ApiError> {
    let mut dialogue = sessions.history(&session).await.map_err(|error| {
        // Answering as if nothing had been said would be worse than not answering.
        log::warn(format_args!("a session could not be read: {error}"));
        let message = format!("the session could not be read: {error}");
        ApiError::server(
            StatusCode::SERVICE_UNAVAILABLE,
            "session_unavailable",
            message,
        )
    })?;
    let messages = request.turn(&dialogue)?.to_vec();
    dialogue.extend_from_slice(&messages);
    Ok((dialogue, Turn::new(sessions.clone(), session, messages)))
}

async fn whole(
    relay: &Relay,
    response: reqwest::Response,
    turn: Option<Turn>,
) -> Result<Response, ApiError> {
    let (bytes, reply) = relay.whole(response).await?;
    if let (Some(turn), Some(message)) = (turn, reply.pointer("/choices/0/message")) {
        turn.end(message.clone()).await;
    }
    Ok(answer("application/json", Body::from(bytes)))
}

/// A success of a media type.
pub(crate) fn answer(kind: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    let kind = HeaderValue::from_static(kind);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
