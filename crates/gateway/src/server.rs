//! The HTTP server: connections, routes, who is let in.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot};

use crate::completions;
use crate::config::Config;
use crate::error::ApiError;
use crate::gate::Gate;
use crate::log;
use crate::relay::Relay;
use crate::sessions::Sessions;

/// Connections at once; more wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 256;
/// For a request's head, and for an idle connection's next one.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Between two attempts to accept after one failed, as when descriptors have run out.
const ACCEPT_RETRY: Duration = Duration::from_millis(200);

/// What the request handlers share.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) config: Config,
    pub(crate) gate: Gate,
    pub(crate) sessions: Sessions,
    /// `None` while no provider is configured.
    pub(crate) relay: Option<Relay>,
}

impl App {
    /// Fails where TLS can't be set up.
    pub(crate) fn new(config: Config, gate: Gate) -> Result<Self, String> {
        let relay = config.provider.clone().map(Relay::new).transpose()?;
        Ok(Self {
            sessions: Sessions::new(config.profile.dir()),
            config,
            gate,
            relay,
        })
    }
}

/// Serves connections until `closed` fires, then until those that are open have ended.
pub(crate) async fn accept(
    listener: TcpListener,
    app: Arc<App>,
    mut closed: oneshot::Receiver<()>,
) {
    let router = router(app);
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT);
    let connections = GracefulShutdown::new();
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let accepted = async {
            let slot = slots.clone().acquire_owned().await;
            (slot, listener.accept().await)
        };
        let (slot, accepted) = tokio::select! {
            _ = &mut closed => break,
            accepted = accepted => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                log::warn(format_args!("a connection could not be accepted: {error}"));
                tokio::time::sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        // Chunks of a stream should leave as they come.
        let _ = stream.set_nodelay(true);
        let service = TowerToHyperService::new(router.clone());
        let connection = http.serve_connection(TokioIo::new(stream), service);
        let connection = connections.watch(connection);
        tokio::spawn(async move {
            // A client that breaks off or sends no HTTP is its own affair.
            let _ = connection.await;
            drop(slot);
        });
    }
    drop(listener);
    connections.shutdown().await;
}

fn router(app: Arc<App>) -> Router {
    let api = Router::new()
        .route("/v1/models", get(models))
        .route("/v1/chat/completions", post(completions::complete))
        .route_layer(middleware::from_fn_with_state(app.clone(), authorize));
    Router::new()
        .route("/health", get(health))
        .merge(api)
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .with_state(app)
}

/// Open to everyone who can connect, so it tells nothing that isn't public.
async fn health(State(app): State<Arc<App>>) -> Response {
    let (code, status) = if app.gate.is_draining() {
        (StatusCode::SERVICE_UNAVAILABLE, "draining")
    } else {
        (StatusCode::OK, "ok")
    };
    let body = json!({
        "status": status,
        "platform": "herm",
        "profile": app.config.profile.name().as_str(),
        "version": env!("CARGO_PKG_VERSION"),
    });
    (code, Json(body)).into_response()
}

async fn models(State(app): State<Arc<App>>) -> Response {
    let id = &app.config.advertised_model;
    let model = json!({"id": id, "object": "model", "created": 0, "owned_by": "herm"});
    Json(json!({"object": "list", "data": [model]})).into_response()
}

async fn authorize(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let Some(key) = &app.config.key else {
        let message = format!(
            "this gateway has no key yet: set API_SERVER_KEY (at least 16 characters) in {} and \
             restart the gateway",
            app.config.profile.dotenv().display()
        );
        return ApiError::server(
            StatusCode::SERVICE_UNAVAILABLE,
            "api_key_not_configured",
            message,
        )
        .into_response();
    };
    if !key.admits(request.headers()) {
        let message = "the API key is missing or wrong; send it as `Authorization: Bearer KEY`";
        return ApiError::invalid(StatusCode::UNAUTHORIZED, "invalid_api_key", message)
            .into_response();
    }
    next.run(request).await
}

async fn not_found() -> ApiError {
    ApiError::invalid(
        StatusCode::NOT_FOUND,
        "not_found",
        "there is nothing at this path",
    )
}

async fn wrong_method() -> ApiError {
    let message = "this path does not answer this method";
    ApiError::invalid(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        message,
    )
}
