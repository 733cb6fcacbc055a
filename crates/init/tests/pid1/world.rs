//! A supervisor in a directory of its own, and a client of it.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use herm_wire::{
    Body, Desired, EnvVar, ErrorBody, Event, Hello, Kind, LogSpec, Op, PROTOCOL_VERSION,
    ReadinessSpec, Reply, Request, RestartSpec, ServiceSpec, ServiceView, State, StopSpec,
    VerbOptions,
};

/// Nothing that works takes this long, on a machine however busy.
const HANG: Duration = Duration::from_secs(60);

/// A supervisor that is ended with the test.
pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
    child: Child,
    output: PathBuf,
}

impl World {
    /// A supervisor without a main program.
    pub(crate) fn new() -> Self {
        Self::with(&[], &[])
    }

    /// A supervisor with a main program and variables.
    pub(crate) fn with(cmd: &[&str], variables: &[(&str, &str)]) -> Self {
        Self::through(&[], cmd, variables)
    }

    /// The same, started by another program that executes it, e.g. a shell that sets a limit.
    pub(crate) fn through(before: &[&str], cmd: &[&str], variables: &[(&str, &str)]) -> Self {
        Self::of_binary(
            Path::new(env!("CARGO_BIN_EXE_herm-init")),
            before,
            cmd,
            variables,
        )
    }

    /// The same, of another copy of the program.
    pub(crate) fn of_binary(
        binary: &Path,
        before: &[&str],
        cmd: &[&str],
        variables: &[(&str, &str)],
    ) -> Self {
        let dir = tempfile::Builder::new().prefix("h").tempdir().unwrap();
        let output = dir.path().join("output");
        let file = std::fs::File::create(&output).unwrap();
        let mut words: Vec<String> = before.iter().map(|word| (*word).to_owned()).collect();
        words.push(binary.display().to_string());
        words.push("--runtime-dir".to_owned());
        words.push(dir.path().display().to_string());
        words.push("--".to_owned());
        words.extend(cmd.iter().map(|word| (*word).to_owned()));
        let child = Command::new(&words[0])
            .args(&words[1..])
            .env_remove("HERMES_HOME")
            .env("HERM_LOG", "debug")
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .process_group(0)
            .spawn()
            .unwrap();
        Self { dir, child, output }
    }

    /// The supervisor's pid.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("control.sock")
    }

    /// A new connection, once somebody listens.
    pub(crate) fn connect(&self) -> Client {
        let began = Instant::now();
        loop {
            match UnixStream::connect(self.socket()) {
                Ok(stream) => return Client::new(stream),
                Err(error) => {
                    assert!(
                        began.elapsed() < HANG,
                        "nobody listens: {error}\n{}",
                        self.said()
                    );
                    std::thread::yield_now();
                }
            }
        }
    }

    /// A new connection to a supervisor whose boot is over.
    pub(crate) fn booted(&self) -> Client {
        let mut client = self.connect();
        client.subscribe_until(|event| match &event.body {
            herm_wire::EventBody::Snapshot(_) => self.connect().hello().booted,
            body => matches!(body, herm_wire::EventBody::Booted),
        });
        self.connect()
    }

    /// What it and its services have written to the container's stdout.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(&self.output).unwrap_or_default()
    }

    /// Waits until it has written this.
    pub(crate) fn until_said(&self, text: &str) {
        self.until(&format!("it says {text:?}"), || {
            self.said().contains(text).then_some(())
        });
    }

    /// Waits for something that no event tells of.
    pub(crate) fn until<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let began = Instant::now();
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(
                began.elapsed() < HANG,
                "waited in vain until {what}\n{}",
                self.said()
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Its exit, once it ends.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(began.elapsed() < HANG, "it does not end\n{}", self.said());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: &str) {
        kill(signal, self.pid());
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            kill("TERM", self.child.id());
            let began = Instant::now();
            while began.elapsed() < Duration::from_secs(15) {
                if !matches!(self.child.try_wait(), Ok(None)) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Sends a signal with kill(1), as an operator would.
pub(crate) fn kill(signal: &str, pid: u32) {
    let status = Command::new("kill")
        .args(["-s", signal, &pid.to_string()])
        .status()
        .unwrap();
    assert!(status.success(), "kill -s {signal} {pid}");
}

/// Whether a process lives; a zombie doesn't.
pub(crate) fn lives(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')')
        .next()
        .is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
}

/// A blocking client.
pub(crate) struct Client {
    stream: BufReader<UnixStream>,
    next: u64,
}

impl Client {
    pub(crate) fn new(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(HANG)).unwrap();
        Self {
            stream: BufReader::new(stream),
            next: 1,
        }
    }

    /// Sends bytes as they are.
    pub(crate) fn send_raw(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Sends a request without reading its answer.
    pub(crate) fn send(&mut self, op: Op) -> u64 {
        let id = self.next;
        self.next += 1;
        let mut line = serde_json::to_vec(&Request {
            v: PROTOCOL_VERSION,
            id,
            op,
        })
        .unwrap();
        line.push(b'\n');
        self.send_raw(&line).unwrap();
        id
    }

    /// The next line; `None` at the end.
    pub(crate) fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.stream.read_line(&mut line) {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(line),
        }
    }

    /// The next reply.
    pub(crate) fn receive(&mut self) -> Reply {
        let line = self.line().expect("the connection has ended");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// Asks, and waits for a good answer; `None` where there is another one, or the end.
    pub(crate) fn try_ask(&mut self, op: Op) -> Option<Body> {
        let mut line = serde_json::to_vec(&Request {
            v: PROTOCOL_VERSION,
            id: 1,
            op,
        })
        .unwrap();
        line.push(b'\n');
        self.send_raw(&line).ok()?;
        serde_json::from_str::<Reply>(&self.line()?).ok()?.ok
    }

    /// Asks, and waits for the answer.
    pub(crate) fn ask(&mut self, op: Op) -> Result<Body, ErrorBody> {
        let id = self.send(op);
        let reply = self.receive();
        assert_eq!(reply.id, id);
        match (reply.ok, reply.err) {
            (Some(body), None) => Ok(body),
            (None, Some(error)) => Err(error),
            other => panic!("neither an answer nor an error: {other:?}"),
        }
    }

    pub(crate) fn hello(&mut self) -> Hello {
        match self.ask(Op::Hello).unwrap() {
            Body::Hello(hello) => hello,
            other => panic!("{other:?}"),
        }
    }

    /// Registers a service.
    pub(crate) fn register(&mut self, spec: ServiceSpec) -> Result<ServiceView, ErrorBody> {
        self.ask(Op::Register {
            spec: Box::new(spec),
        })
        .map(service_of)
    }

    pub(crate) fn unregister(&mut self, name: &str) -> Result<Body, ErrorBody> {
        self.ask(Op::Unregister {
            name: name.to_owned(),
        })
    }

    pub(crate) fn start(&mut self, name: &str) -> Result<ServiceView, ErrorBody> {
        self.ask(Op::Start {
            name: name.to_owned(),
            options: waiting(),
        })
        .map(service_of)
    }

    pub(crate) fn stop(&mut self, name: &str) -> Result<ServiceView, ErrorBody> {
        self.ask(Op::Stop {
            name: name.to_owned(),
            options: waiting(),
        })
        .map(service_of)
    }

    pub(crate) fn restart(&mut self, name: &str) -> Result<ServiceView, ErrorBody> {
        self.ask(Op::Restart {
            name: name.to_owned(),
            options: waiting(),
        })
        .map(service_of)
    }

    pub(crate) fn service(&mut self, name: &str) -> ServiceView {
        service_of(
            self.ask(Op::Service {
                name: name.to_owned(),
            })
            .unwrap(),
        )
    }

    /// Every service but herm's own.
    pub(crate) fn services(&mut self) -> Vec<ServiceView> {
        match self.ask(Op::Status).unwrap() {
            Body::Services { mut services, .. } => {
                services.retain(|service| service.kind != Kind::Helper);
                services
            }
            other => panic!("{other:?}"),
        }
    }

    /// Waits, by events, until a service is in this state; this connection is then an event
    /// stream and good for nothing else.
    pub(crate) fn until_state(mut self, name: &str, state: State) -> ServiceView {
        let mut found = None;
        self.subscribe_until(|event| {
            let service = match &event.body {
                herm_wire::EventBody::Snapshot(snapshot) => snapshot
                    .services
                    .iter()
                    .find(|service| service.name == name),
                herm_wire::EventBody::Changed { service } if service.name == name => {
                    Some(service.as_ref())
                }
                _ => None,
            };
            found = service.filter(|service| service.state == state).cloned();
            found.is_some()
        });
        found.unwrap()
    }

    /// Turns the connection into an event stream and reads it until something was told.
    pub(crate) fn subscribe_until(&mut self, mut enough: impl FnMut(&Event) -> bool) {
        self.ask(Op::Subscribe).unwrap();
        loop {
            let line = self.line().expect("the stream has ended");
            let event: Event =
                serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
            if enough(&event) {
                return;
            }
        }
    }
}

pub(crate) fn service_of(body: Body) -> ServiceView {
    match body {
        Body::Service { service, .. } => *service,
        other => panic!("not a service: {other:?}"),
    }
}

pub(crate) fn waiting() -> VerbOptions {
    VerbOptions {
        wait: true,
        timeout_ms: None,
        reconcile: false,
    }
}

/// A service that runs a shell script and is up from its registration on.
pub(crate) fn shell(name: &str, script: &str) -> ServiceSpec {
    ServiceSpec {
        name: name.to_owned(),
        kind: Kind::Service,
        profile: None,
        argv: vec!["/bin/sh".to_owned(), "-c".to_owned(), script.to_owned()],
        env: BTreeMap::<String, EnvVar>::new(),
        unset_env: Vec::new(),
        cwd: None,
        user: None,
        oneshot: false,
        requires: Vec::new(),
        after: Vec::new(),
        readiness: ReadinessSpec::None,
        health: None,
        restart: RestartSpec::default(),
        stop: StopSpec::default(),
        finish: None,
        log: LogSpec::default(),
        port: None,
        initial: Desired::Up,
        disabled: None,
    }
}

/// A service that does nothing for long.
pub(crate) fn sleeper(name: &str) -> ServiceSpec {
    shell(name, "exec sleep 1000")
}
