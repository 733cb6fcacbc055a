//! A played supervisor behind a real socket, and a browser of the simplest kind.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use herm_home::Home;
use herm_wire::frame::encode;
use herm_wire::{
    Body, BootReport, ErrorBody, ErrorCode, Event, EventBody, Hello, Kind, Op, Reply, Request,
    ServiceView, Snapshot, State,
};

use crate::app::App;
use crate::options::Options;
use crate::server;

/// Nothing here takes this long; it ends a test that would hang.
const HANG_GUARD: Duration = Duration::from_secs(60);

/// What the supervisor plays.
#[derive(Default)]
pub(super) struct Stage {
    services: Mutex<Vec<ServiceView>>,
    subscribers: Mutex<Vec<UnixStream>>,
    /// Orders that came, as text.
    pub(super) orders: Mutex<Vec<String>>,
    /// Connections that are open, and the most there ever were.
    open: AtomicUsize,
    pub(super) most: AtomicUsize,
}

impl Stage {
    /// Puts a service on the stage, or another state of it.
    pub(super) fn show(&self, service: &ServiceView) {
        let mut services = self.services.lock().unwrap();
        services.retain(|known| known.name != service.name);
        services.push(service.clone());
        let event = Event {
            seq: 2,
            at: "2026-11-20T20:00:00Z".into(),
            body: EventBody::Changed {
                service: Box::new(service.clone()),
            },
        };
        let line = encode(&event).unwrap();
        self.subscribers
            .lock()
            .unwrap()
            .retain_mut(|peer| peer.write_all(&line).is_ok());
    }

    fn answer(&self, request: Request) -> Result<Body, ErrorBody> {
        let of = |name: &str| {
            let services = self.services.lock().unwrap();
            services
                .iter()
                .find(|service| service.name == name)
                .cloned()
                .ok_or(ErrorBody {
                    code: ErrorCode::NotFound,
                    message: format!("no service {name}"),
                    hint: None,
                })
        };
        match request.op {
            Op::Hello => Ok(Body::Hello(Hello {
                program: "herm".into(),
                version: "0".into(),
                protocol: 1,
                instance: "i1".into(),
                pid: 1,
                home: None,
                user: None,
                keeper: true,
                booted: true,
            })),
            Op::Boot => Ok(Body::Boot(BootReport::default())),
            Op::Start { name, .. } | Op::Stop { name, .. } | Op::Restart { name, .. } => {
                self.orders.lock().unwrap().push(name.clone());
                of(&name).map(|service| Body::Service {
                    service: Box::new(service),
                    recorded: None,
                })
            }
            _ => Ok(Body::Done),
        }
    }

    fn serve(self: &Arc<Self>, mut stream: UnixStream) {
        let open = self.open.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(open, Ordering::SeqCst);
        let reader = BufReader::new(stream.try_clone().unwrap());
        for line in reader.lines().map_while(Result::ok) {
            let request: Request = serde_json::from_str(&line).unwrap();
            let id = request.id;
            if request.op == Op::Subscribe {
                let snapshot = Snapshot {
                    instance: "i1".into(),
                    services: self.services.lock().unwrap().clone(),
                    orders: Vec::new(),
                    reconcile: None,
                };
                let event = Event {
                    seq: 1,
                    at: String::new(),
                    body: EventBody::Snapshot(snapshot),
                };
                let mut subscribers = self.subscribers.lock().unwrap();
                stream.write_all(&encode(&event).unwrap()).unwrap();
                subscribers.push(stream.try_clone().unwrap());
                continue;
            }
            let reply = match self.answer(request) {
                Ok(body) => Reply::ok(id, body),
                Err(error) => Reply::err(id, error),
            };
            if stream.write_all(&encode(&reply).unwrap()).is_err() {
                break;
            }
        }
        self.open.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A gateway that runs.
pub(super) fn running(profile: &str) -> ServiceView {
    let mut view = ServiceView::named(&format!("gateway-{profile}"), Kind::Gateway);
    view.profile = Some(profile.to_owned());
    view.desired = herm_wire::Desired::Up;
    view.state = State::Running;
    view.reason = "ready".into();
    view.pid = Some(std::process::id());
    view.since = "2026-11-20T20:00:00.000Z".into();
    view.ready = true;
    view
}

/// A dashboard with its stage and its home.
pub(super) struct World {
    pub(super) stage: Arc<Stage>,
    pub(super) app: Arc<App>,
    pub(super) dir: tempfile::TempDir,
    address: SocketAddr,
    _runtime: tokio::runtime::Runtime,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HashMap<String, String>,
    pub(super) body: String,
}

impl World {
    /// One with these variables set, and these services on the stage.
    pub(super) fn with(variables: &[(&str, &str)], services: Vec<ServiceView>) -> Self {
        Self::adjusted(variables, services, |_| {})
    }

    /// The same, with options besides.
    pub(super) fn adjusted(
        variables: &[(&str, &str)],
        services: Vec<ServiceView>,
        adjust: impl FnOnce(&mut Options),
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("s");
        let listener = UnixListener::bind(&socket).unwrap();
        let stage = Arc::new(Stage {
            services: Mutex::new(services),
            ..Stage::default()
        });
        let played = stage.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let stage = played.clone();
                thread::spawn(move || stage.serve(stream));
            }
        });
        let variable = |name: &str| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let home = Home::new(dir.path().join("home"));
        std::fs::create_dir(home.root()).unwrap();
        let mut options = Options::new(home, None, Some(0), variable).unwrap();
        options.sockets = vec![socket];
        adjust(&mut options);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        // Tests run on loopback whatever they say of it.
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
            .unwrap();
        let address = listener.local_addr().unwrap();
        let app = Arc::new(App::new(options, address.port()).unwrap());
        server::raise_descriptors();
        runtime.spawn(server::accept(listener, app.clone()));
        runtime.spawn(crate::stream::prepare(app.clone()));
        let follower = app.clone();
        runtime.spawn(async move { follower.live.follow(&follower.control).await });
        let world = Self {
            stage,
            app,
            dir,
            address,
            _runtime: runtime,
        };
        world.eventually(|world| world.app.live.picture().hello.is_some());
        world
    }

    /// One without a login.
    pub(super) fn open(services: Vec<ServiceView>) -> Self {
        let world = Self::with(&[], services);
        let count = world.stage.services.lock().unwrap().len();
        world.eventually(|world| world.app.live.services().len() == count);
        world
    }

    /// Waits for what another thread brings about.
    pub(super) fn eventually(&self, is_so: impl Fn(&Self) -> bool) {
        let began = std::time::Instant::now();
        while !is_so(self) {
            assert!(began.elapsed() < HANG_GUARD, "it never came about");
            thread::yield_now();
        }
    }

    /// A connection.
    pub(super) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(HANG_GUARD)).unwrap();
        stream
    }

    /// Sends a head and a body as they are.
    pub(super) fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> Answer {
        let mut stream = self.connect();
        let host = if headers.to_lowercase().contains("host:") {
            String::new()
        } else {
            format!("Host: 127.0.0.1:{}\r\n", self.address.port())
        };
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\n{host}Connection: close\r\nContent-Length: {length}\r\n{headers}\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        // A server that has answered need not read the rest.
        let _ = stream.write_all(body.as_bytes());
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        Answer::parse(&String::from_utf8_lossy(&bytes))
    }

    /// A page.
    pub(super) fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, "", "")
    }

    /// A form from a page: with its cookie and its token.
    pub(super) fn post(&self, page: &Answer, path: &str, fields: &str) -> Answer {
        let headers = format!(
            "Cookie: {}\r\nContent-Type: application/x-www-form-urlencoded\r\n",
            page.cookie()
        );
        self.ask(
            "POST",
            path,
            &headers,
            &format!("csrf={}&{fields}", page.csrf()),
        )
    }
}

impl Answer {
    fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|code| code.parse().ok())
            .unwrap_or(0);
        let headers = head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect();
        Self {
            status,
            headers,
            body: body.to_owned(),
        }
    }

    /// A header; empty where it is missing.
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// The cookie it set.
    pub(super) fn cookie(&self) -> &str {
        self.header("set-cookie")
            .split(';')
            .next()
            .unwrap_or_default()
    }

    /// The token in its forms.
    pub(super) fn csrf(&self) -> &str {
        let rest = self
            .body
            .split("name=\"csrf\" value=\"")
            .nth(1)
            .unwrap_or_default();
        rest.split('"').next().unwrap_or_default()
    }
}
