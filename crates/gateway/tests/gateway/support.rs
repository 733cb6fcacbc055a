//! A profile on disk, the gateway's process, a provider that does what its model is called.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Json, Router};
use reqwest::{Client, RequestBuilder};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::{Notify, Semaphore};

pub(crate) const KEY: &str = "0123456789abcdef0123456789abcdef";
pub(crate) const PROVIDER_KEY: &str = "sk-provider-secret";
/// Against hanging; far above what anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A profile's directory.
pub(crate) struct Profile {
    home: TempDir,
    dir: PathBuf,
}

impl Profile {
    pub(crate) fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("profiles/writer");
        std::fs::create_dir_all(&dir).unwrap();
        Self { home, dir }
    }

    /// A profile that relays to `provider` asking for `model`.
    pub(crate) fn relaying(provider: &Provider, model: &str) -> Self {
        Self::relaying_to(&provider.base_url, model)
    }

    /// The same for a provider by its address.
    pub(crate) fn relaying_to(base_url: &str, model: &str) -> Self {
        let profile = Self::new();
        profile.write(
            "config.yaml",
            &format!("model:\n  default: {model}\n  base_url: {base_url}\n  key_env: MY_KEY\n"),
        );
        profile.write(
            ".env",
            &format!("API_SERVER_KEY={KEY}\nMY_KEY={PROVIDER_KEY}\n"),
        );
        profile.write("SOUL.md", "I am writer.");
        profile
    }

    pub(crate) fn path(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path().join(name), text).unwrap();
    }

    pub(crate) fn state(&self) -> Value {
        let bytes = std::fs::read(self.path().join("gateway_state.json")).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }
}

/// The running gateway; killed when dropped.
pub(crate) struct Gateway {
    pub(crate) child: Child,
    lines: Receiver<String>,
    log: String,
    address: String,
}

impl Gateway {
    /// Starts the gateway and waits until it listens.
    pub(crate) fn start(profile: &Profile) -> Self {
        Self::start_with(profile, &[])
    }

    /// The same with variables of the environment.
    pub(crate) fn start_with(profile: &Profile, environment: &[(&str, &str)]) -> Self {
        let mut gateway = Self::spawn(profile, "0", environment);
        let listening = "info: listening on ";
        while let Ok(line) = gateway.lines.recv() {
            gateway.log.extend([line.as_str(), "\n"]);
            if let Some(address) = line.strip_prefix(listening) {
                address.clone_into(&mut gateway.address);
                return gateway;
            }
        }
        panic!("the gateway did not begin to listen: {}", gateway.log);
    }

    pub(crate) fn spawn(profile: &Profile, port: &str, environment: &[(&str, &str)]) -> Self {
        // Cargo builds a package's examples before it runs its tests.
        let tests = std::env::current_exe().unwrap();
        let binary = tests
            .parent()
            .unwrap()
            .parent()
            .unwrap()
            .join("examples/gateway");
        let mut command = Command::new(&binary);
        command
            .args([
                profile.home.path().as_os_str(),
                "writer".as_ref(),
                port.as_ref(),
            ])
            .env_remove("NOTIFY_SOCKET")
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{} can't be run: {error}", binary.display()));
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Self {
            child,
            lines,
            log: String::new(),
            address: String::new(),
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// A request with the right key.
    pub(crate) fn ask(&self, body: &Value) -> RequestBuilder {
        let url = self.url("/v1/chat/completions");
        client().post(url).bearer_auth(KEY).json(body)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap();
    }

    /// Waits for the next line on standard error that contains `text`.
    pub(crate) fn wait_for_line(&mut self, text: &str) {
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("no line has {text:?}: {}", self.log));
            self.log.extend([line.as_str(), "\n"]);
            if line.contains(text) {
                return;
            }
        }
    }

    /// Waits for the end; returns how it ended and all it wrote to standard error.
    pub(crate) fn wait(mut self) -> (ExitStatus, String) {
        let status = self.child.wait().unwrap();
        let mut log = std::mem::take(&mut self.log);
        while let Ok(line) = self.lines.recv() {
            log.extend([line.as_str(), "\n"]);
        }
        (status, log)
    }

    pub(crate) fn stop(self) -> (ExitStatus, String) {
        self.signal(Signal::TERM);
        self.wait()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn client() -> Client {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    Client::builder()
        .no_proxy()
        .timeout(PATIENCE)
        .build()
        .unwrap()
}

pub(crate) fn say(text: &str) -> Value {
    json!({"model": "any", "messages": [{"role": "user", "content": text}]})
}

pub(crate) fn say_streaming(text: &str) -> Value {
    let mut body = say(text);
    body["stream"] = json!(true);
    body
}

/// What the provider has seen, and what holds it back.
#[derive(Clone)]
pub(crate) struct Seen {
    pub(crate) requests: Arc<Mutex<Vec<(HeaderMap, Value)>>>,
    /// The rest of a reply by the model `held` waits for a permit.
    pub(crate) release: Arc<Semaphore>,
    /// Told of each request.
    pub(crate) arrived: Arc<Notify>,
    /// Told when a reply by the model `held` was abandoned or has ended.
    pub(crate) ended: Arc<Notify>,
}

/// A provider on loopback. The model asked for says how it behaves.
pub(crate) struct Provider {
    pub(crate) base_url: String,
    pub(crate) seen: Seen,
}

impl Provider {
    pub(crate) async fn start() -> Self {
        let (router, seen) = provider();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}/v1", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { base_url, seen }
    }

    /// The body of the request number `index`.
    pub(crate) fn request(&self, index: usize) -> Value {
        self.seen.requests.lock().unwrap()[index].1.clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.seen.requests.lock().unwrap().len()
    }
}

/// What a provider answers, and where it leaves what it saw.
pub(crate) fn provider() -> (Router, Seen) {
    let seen = Seen {
        requests: Arc::default(),
        release: Arc::new(Semaphore::new(0)),
        ended: Arc::default(),
        arrived: Arc::default(),
    };
    let router = Router::new()
        .route("/v1/chat/completions", post(provide))
        .with_state(seen.clone());
    (router, seen)
}

async fn provide(
    State(seen): State<Seen>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Response {
    let model = body["model"].as_str().unwrap_or_default().to_owned();
    let stream = body["stream"] == json!(true);
    let key = headers[header::AUTHORIZATION].to_str().unwrap().to_owned();
    let last = body["messages"].as_array().unwrap().last().unwrap()["content"].clone();
    seen.requests.lock().unwrap().push((headers, body));
    seen.arrived.notify_one();
    if let Some(status) = model.strip_prefix("status-") {
        let status = StatusCode::from_bytes(status.as_bytes()).unwrap();
        let error = json!({"error": {"message": format!("no: {key}")}});
        return (status, [(header::RETRY_AFTER, "7")], Json(error)).into_response();
    }
    if model == "held" && !stream {
        let _ends = Ends(seen.ended.clone());
        seen.release.acquire().await.unwrap().forget();
    }
    match (model.as_str(), stream) {
        ("garbage", _) => "<html>".into_response(),
        (_, false) => Json(json!({"id": "x", "choices": [{"index": 0, "finish_reason": "stop",
            "message": {"role": "assistant", "content": format!("you said {}", last.as_str().unwrap())}}]}))
        .into_response(),
        ("cut", true) => events(vec![chunk("Hel")], None),
        ("held", true) => events(vec![chunk("Hel"), rest()], Some(seen)),
        (_, true) => events(vec![chunk("Hel"), rest()], None),
    }
}

fn chunk(content: &str) -> String {
    let chunk = json!({"choices": [{"index": 0, "delta": {"content": content}}]});
    format!("data: {chunk}\n\n")
}

fn rest() -> String {
    let end = json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]});
    format!("{}data: {end}\n\ndata: [DONE]\n\n", chunk("lo"))
}

/// Tells `ended` however a reply ends.
struct Ends(Arc<Notify>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

fn events(parts: Vec<String>, held: Option<Seen>) -> Response {
    let ends = held.as_ref().map(|seen| Ends(seen.ended.clone()));
    let state = (parts.into_iter().enumerate(), held, ends);
    let body = futures_util::stream::unfold(state, |(mut parts, held, ends)| async move {
        let (index, part) = parts.next()?;
        if let (Some(seen), 1..) = (&held, index) {
            seen.release.acquire().await.unwrap().forget();
        }
        let part = Ok::<_, std::io::Error>(Bytes::from(part));
        Some((part, (parts, held, ends)))
    });
    (
        [(header::CONTENT_TYPE, "text/event-stream")],
        Body::from_stream(body),
    )
        .into_response()
}
