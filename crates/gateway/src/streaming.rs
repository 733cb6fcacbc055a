//! A reply that is passed on as it comes, as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use futures_util::stream;

use crate::completions::answer;
use crate::error::ApiError;
use crate::gate::Pass;
use crate::server::App;
use crate::sessions::Turn;
use crate::transcript::Transcript;

/// The provider's stream as our answer. `pass` is given back when the stream ends.
pub(crate) fn streamed(
    app: Arc<App>,
    response: reqwest::Response,
    turn: Option<Turn>,
    pass: Pass,
) -> Result<Response, ApiError> {
    let kind = response.headers().get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.starts_with("text/event-stream") {
        let message = "the provider was asked for a stream and answered with something else";
        return Err(ApiError::upstream(
            StatusCode::BAD_GATEWAY,
            "provider_reply_invalid",
            message,
        ));
    }
    let streaming = Streaming {
        app,
        response: Some(response),
        transcript: Transcript::default(),
        turn,
        _pass: pass,
    };
    let body = Body::from_stream(stream::unfold(streaming, Streaming::next));
    let mut response = answer("text/event-stream", body);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // Asks proxies such as nginx not to collect the events.
    let name = HeaderName::from_static("x-accel-buffering");
    headers.insert(name, HeaderValue::from_static("no"));
    Ok(response)
}

/// A reply on its way. Dropped when the client goes away, and the provider's answer with it.
struct Streaming {
    app: Arc<App>,
    /// `None` once nothing more comes.
    response: Option<reqwest::Response>,
    transcript: Transcript,
    turn: Option<Turn>,
    _pass: Pass,
}

impl Streaming {
    async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        let chunk = self.response.as_mut()?.chunk().await;
        match chunk {
            Ok(Some(chunk)) => {
                self.transcript.feed(&chunk);
                // Before the client learns that the reply is over, for it may go on at once.
                if self.transcript.is_done() {
                    self.end_turn().await;
                }
                Some((Ok(chunk), self))
            }
            // Some providers close the connection carelessly once they have said all.
            Ok(None) | Err(_) if self.transcript.is_complete() => {
                self.end_turn().await;
                None
            }
            Ok(None) => Some(self.broken(&ApiError::upstream(
                StatusCode::BAD_GATEWAY,
                "provider_broke_off",
                "the provider ended the stream before the reply was complete",
            ))),
            Err(error) => {
                let lost = self.app.relay.as_ref().map(|relay| relay.lost(&error));
                lost.map(|lost| self.broken(&lost))
            }
        }
    }

    async fn end_turn(&mut self) {
        if let (Some(turn), Some(reply)) = (self.turn.take(), self.transcript.message()) {
            turn.end(reply).await;
        }
    }

    /// The status has long been sent, so the error travels as the stream's last event.
    fn broken(mut self, error: &ApiError) -> (Result<Bytes, Infallible>, Self) {
        self.response = None;
        let before = if self.transcript.is_mid_line() {
            "\n\n"
        } else {
            ""
        };
        let event = format!("{before}data: {}\n\n", error.body());
        (Ok(Bytes::from(event)), self)
    }
}
