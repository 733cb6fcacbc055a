//! The HTTP server: connections and routes.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use axum::{Extension, Router, middleware};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;

use crate::app::App;
use crate::auth::Login;
use crate::options::{Options, StartError};
use crate::orders::Parting;
use crate::{api, assets, guard, metrics, pages, stream};

/// Connections at once; more wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 2048;
/// For a request's head, and for an idle connection's next one.
const HEAD_TIMEOUT: Duration = Duration::from_secs(20);
/// Largest head of a request, in bytes.
const HEAD_BYTES: usize = 32 * 1024;
/// Largest body of a request, in bytes.
const BODY_BYTES: usize = 64 * 1024;
/// Between two attempts to accept after one failed, as when descriptors have run out.
const ACCEPT_RETRY: Duration = Duration::from_millis(200);
/// Threads that answer: a page is little work, and gateways need the processors more.
const THREADS: usize = 2;
/// Threads that read files.
const BLOCKING_THREADS: usize = 8;

/// Runs a dashboard until it is asked to end (SIGTERM, SIGINT).
pub fn run(options: Options) -> Result<(), StartError> {
    raise_descriptors();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_name("dashboard")
        .enable_all()
        .build()
        .map_err(|error| StartError::failed(format!("can't start: {error}")))?;
    let outcome = runtime.block_on(serve(options));
    // Streams and followers end with the process.
    runtime.shutdown_background();
    outcome
}

/// Visitors take descriptors; the soft limit is often 1,024 for programs that use select(2).
pub(crate) fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    // Without it there is room for fewer visitors.
    let _ = setrlimit(Resource::Nofile, raised);
}

async fn serve(options: Options) -> Result<(), StartError> {
    let address = SocketAddr::new(options.host, options.port);
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| cannot_listen(address, &error))?;
    let bound = listener
        .local_addr()
        .map_err(|error| cannot_listen(address, &error))?;
    let app = Arc::new(App::new(options, bound.port())?);
    announce(&app, bound);
    let mut term = on_signal(SignalKind::terminate())?;
    let mut int = on_signal(SignalKind::interrupt())?;
    tokio::spawn(app.clone().measure());
    let follower = app.clone();
    tokio::spawn(async move { follower.live.follow(&follower.control).await });
    tokio::spawn(stream::prepare(app.clone()));
    tokio::select! {
        () = accept(listener, app) => {}
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    Ok(())
}

fn on_signal(kind: SignalKind) -> Result<tokio::signal::unix::Signal, StartError> {
    signal(kind).map_err(|error| StartError::failed(format!("can't receive signals: {error}")))
}

fn cannot_listen(address: SocketAddr, error: &io::Error) -> StartError {
    let hint = match error.kind() {
        io::ErrorKind::AddrInUse => {
            "something else listens there; use another port: --port, or HERMES_DASHBOARD_PORT"
        }
        io::ErrorKind::AddrNotAvailable => "this machine has no such address",
        io::ErrorKind::PermissionDenied => "ports below 1024 are root's; use a higher one",
        _ => "use another address or port",
    };
    StartError::failed(format!("can't listen on {address}: {hint}"))
}

/// What a person who starts it has to know.
fn announce(app: &App, bound: SocketAddr) {
    let host = match bound.ip() {
        ip if ip.is_unspecified() => "this machine".to_owned(),
        std::net::IpAddr::V6(ip) => format!("[{ip}]"),
        std::net::IpAddr::V4(ip) => ip.to_string(),
    };
    println!(
        "herm: the dashboard answers at http://{host}:{}/",
        bound.port()
    );
    match &app.auth.login {
        Login::Open => {}
        Login::Password { username, .. } => println!("herm: sign in as {username}"),
        Login::Token(_) => {
            println!("herm: sign in with the token that `herm dashboard token show` prints");
        }
    }
}

/// Serves connections for ever.
pub(crate) async fn accept(listener: TcpListener, app: Arc<App>) {
    let router = router(app.clone());
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES);
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(slot) = slots.clone().acquire_owned().await else {
            return;
        };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                println!("herm: the dashboard can't accept a connection: {error}");
                tokio::time::sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        // Events should leave as they come.
        let _ = stream.set_nodelay(true);
        let parting = Parting::default();
        let router = router
            .clone()
            .layer(Extension(guard::Sender(peer.ip())))
            .layer(Extension(parting.clone()));
        let app = app.clone();
        let connection =
            http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
        tokio::spawn(async move {
            // A client that breaks off or sends no HTTP is its own affair.
            let _ = connection.await;
            drop(slot);
            parting.carry_out(&app).await;
        });
    }
}

fn router(app: Arc<App>) -> Router {
    let behind_login = Router::new()
        .route("/", get(pages::overview::page))
        .route("/profiles/{name}", get(pages::profile::page))
        .route("/profiles/{name}/delete", get(pages::profile::delete_page))
        .route("/services", get(pages::services::page))
        .route("/services/{name}", get(pages::service::page))
        .route("/services/{name}/log", get(pages::log::download))
        .route("/services/{name}/log/live", get(stream::log))
        .route("/boots", get(pages::boots::page))
        .route("/system", get(pages::system::page))
        .route("/live", get(stream::live))
        .route("/metrics", get(metrics::answer))
        .route("/api/v1", get(pages::api::page))
        .merge(api::router())
        .route("/act", post(crate::actions::act))
        .route("/profiles", post(crate::actions::create))
        .route("/profiles/{name}/delete", post(crate::actions::delete))
        .route("/logout", post(pages::login::sign_out))
        .route_layer(middleware::from_fn_with_state(
            app.clone(),
            guard::signed_in,
        ));
    Router::new()
        .route(
            "/login",
            get(pages::login::page).post(pages::login::sign_in),
        )
        .route("/assets/{name}", get(assets::serve))
        .route("/healthz", get(pages::health::alive))
        .route("/readyz", get(pages::health::ready))
        .merge(behind_login)
        .fallback(pages::error::not_found)
        .method_not_allowed_fallback(pages::error::wrong_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .layer(middleware::from_fn_with_state(app.clone(), guard::check))
        .with_state(app)
}
