//! Paths whose instructions are counted (`cargo xtask counts`): PID 1's own turns, from bytes on the
//! control socket to bytes on it. Nothing is spawned: what counts is what PID 1 computes.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use herm_engine::Engine;
use herm_testkit::counted::counted;
use herm_wire::{
    Body, Desired, Kind, LogSpec, Op, PROTOCOL_VERSION, ReadinessSpec, Reply, Request, RestartSpec,
    ServiceSpec, StopSpec,
};

use crate::environment::Environment;
use crate::pid1::boot::come_up;
use crate::pid1::output::Output;
use crate::pid1::records::Records;
use crate::pid1::settings::{Options, Settings};
use crate::pid1::supervisor::{Supervisor, engine_config};

/// PID 1 before its boot, and a client.
struct World {
    supervisor: Supervisor,
    client: UnixStream,
    /// Holds more than the socket, so that one read leaves room for PID 1 to go on.
    chunk: Vec<u8>,
    _directory: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let supervisor = supervisor(directory.path());
        let client = UnixStream::connect(directory.path().join("control.sock")).unwrap();
        let mut world = Self {
            supervisor,
            client,
            chunk: vec![0; 1 << 20],
            _directory: directory,
        };
        world.step();
        world
    }

    fn with_services() -> Self {
        let mut world = Self::new();
        for number in 0..1000 {
            world.ask(register(number), Self::step);
        }
        world
    }

    /// One turn of the loop.
    fn step(&mut self) {
        for readiness in self.supervisor.reactor.wait(None).unwrap() {
            self.supervisor.dispatch(readiness);
        }
        self.supervisor.turn();
    }

    /// The same, and it counts.
    fn counted_step(&mut self) {
        counted(|| self.step());
    }

    /// Sends a request, lets PID 1 work and reads the whole answer.
    fn ask(&mut self, op: Op, step: fn(&mut Self)) -> Body {
        let request = Request {
            v: PROTOCOL_VERSION,
            id: 1,
            op,
        };
        let mut line = serde_json::to_vec(&request).unwrap();
        line.push(b'\n');
        self.client.write_all(&line).unwrap();
        let mut answer = Vec::new();
        while answer.last() != Some(&b'\n') {
            step(self);
            let length = self.client.read(&mut self.chunk).unwrap();
            answer.extend_from_slice(&self.chunk[..length]);
        }
        let reply: Reply = serde_json::from_slice(&answer).unwrap();
        reply.ok.unwrap_or_else(|| panic!("{:?}", reply.err))
    }
}

fn supervisor(directory: &std::path::Path) -> Supervisor {
    // A thousand services need more descriptors than many a shell gives.
    herm_sys::rlimit::raise_open_files().unwrap();
    let options = Options {
        runtime_dir: Some(directory.to_owned()),
        cmd: Vec::new(),
    };
    let environment = Environment::capture();
    let (settings, _, understood) = Settings::read(&environment);
    understood.unwrap();
    let mut output = Output::new(settings.level);
    let foundation = come_up(&options, &settings, &environment, &mut output).unwrap();
    let engine = Engine::new(engine_config(), 1);
    let records = Records::new();
    Supervisor::assemble(options, settings, environment, foundation, engine, records).unwrap()
}

fn register(number: u32) -> Op {
    let spec = ServiceSpec {
        name: format!("svc-{number:05}"),
        kind: Kind::Service,
        profile: None,
        argv: vec!["/usr/bin/sleep".into(), "infinity".into()],
        env: std::collections::BTreeMap::new(),
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
        initial: Desired::Down,
        disabled: None,
    };
    Op::Register {
        spec: Box::new(spec),
    }
}

#[test]
fn a_thousand_services_are_registered() {
    let mut world = World::new();
    for number in 0..1000 {
        world.ask(register(number), World::counted_step);
    }
    assert_eq!(world.supervisor.services.iter().count(), 1000);
}

#[test]
fn the_status_of_a_thousand_services_is_told() {
    let mut world = World::with_services();
    let Body::Services { services, .. } = world.ask(Op::Status, World::counted_step) else {
        panic!("that is no status");
    };
    assert_eq!(services.len(), 1000);
}

#[test]
fn a_thousand_requests_are_answered() {
    let mut world = World::with_services();
    for number in 0..1000 {
        let name = format!("svc-{number:05}");
        let body = world.ask(Op::Service { name: name.clone() }, World::counted_step);
        assert!(matches!(body, Body::Service { service, .. } if service.name == name));
    }
}
