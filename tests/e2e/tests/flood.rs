//! A dashboard that many look at, that hangs, or that is killed: nobody else notices.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use herm_e2e::{Container, Dashboard, Image, wait_until};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};

const HERMES: u32 = 10_000;
/// Gateways that run meanwhile.
const GATEWAYS: [&str; 3] = ["p001", "p002", "p003"];
/// Streams that the dashboard has room for (`MAX_STREAMS`).
const ROOM: usize = 1500;
const REQUESTS: usize = 10_000;
const VISITORS: usize = 8;
/// What most visitors of a flood look at.
const LIGHT: [&str; 5] = [
    "/healthz",
    "/api/v1/services/p001",
    "/api/v1/services/p299/why",
    "/nothing",
    "/assets/style.css",
];
/// What takes more work.
const HEAVY: [&str; 4] = ["/", "/metrics", "/api/v1/status", "/system"];

/// A home with so many profiles, of which a few have gateways that run.
fn home(profiles: usize) -> (Container, Dashboard) {
    let container = Container::of(&Image::herm_dev()).dashboard().run();
    container.wait_booted();
    let script = format!(
        "for n in $(seq -f p%03g 1 {profiles}); do mkdir -p /opt/data/profiles/$n; \
         echo soul > /opt/data/profiles/$n/SOUL.md; done; herm reconcile"
    );
    container.sh(&script).succeeds();
    for profile in GATEWAYS {
        container
            .exec(&["herm", "-p", profile, "gateway", "start"])
            .succeeds();
    }
    let dashboard = container.dashboard();
    (container, dashboard)
}

/// The running gateways: pid and restarts.
fn gateways(container: &Container) -> BTreeMap<String, (Value, Value)> {
    let services = container.services().into_iter();
    let running = services.filter(|s| s["kind"] == "gateway" && s["pid"].is_number());
    running
        .map(|s| {
            (
                s["name"].to_string(),
                (s["pid"].clone(), s["restarts"].clone()),
            )
        })
        .collect()
}

/// Resident memory of a process in kB.
fn resident_kb(container: &Container, pid: &Value) -> u64 {
    let script = format!("sed -n 's/^VmRSS:[^0-9]*//p' /proc/{pid}/status");
    let found = container.sh(&script);
    let number = found.succeeds().split(' ').next().unwrap_or_default();
    number.parse().unwrap_or_else(|_| panic!("{found}"))
}

/// This test's own sockets are many.
fn raise_descriptors() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, raised).unwrap();
}

/// Asks again and again on one connection, reads every answer, and counts the status codes.
fn visit(dashboard: &Dashboard, paths: &[&str], times: usize) -> BTreeMap<u16, usize> {
    let mut seen = BTreeMap::new();
    for number in 0..times {
        let path = paths[number % paths.len()];
        let status = dashboard.try_get(path).map_or(0, |answer| answer.status);
        *seen.entry(status).or_default() += 1;
    }
    seen
}

/// The status code that a stream began with, once it has.
fn status_of(stream: &mut TcpStream) -> u16 {
    let mut head = [0; 12];
    stream.read_exact(&mut head).unwrap();
    String::from_utf8_lossy(&head[9..]).parse().unwrap()
}

#[test]
fn three_hundred_profiles_are_one_small_page_that_stays_live_under_a_flood() {
    raise_descriptors();
    let (container, dashboard) = home(300);
    let before = gateways(&container);
    assert_eq!(before.len(), GATEWAYS.len());
    let page = dashboard.get("/");
    assert!(
        page.body.contains("p300") && page.body.len() < 300_000,
        "{} bytes",
        page.body.len()
    );

    // More streams than there is room for, none of which is ever read further than its status.
    let mut streams: Vec<TcpStream> = (0..ROOM + 50)
        .filter_map(|_| dashboard.open("/live"))
        .collect();
    assert_eq!(streams.len(), ROOM + 50);
    let mut statuses: BTreeMap<u16, usize> = BTreeMap::new();
    for stream in &mut streams {
        *statuses.entry(status_of(stream)).or_default() += 1;
    }
    assert_eq!(statuses, BTreeMap::from([(200, ROOM), (503, 50)]));
    let refused = dashboard.get("/api/v1/events");
    assert_eq!((refused.status, refused.header("retry-after")), (503, "5"));
    streams.truncate(1000);

    let (over, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    let seen = thread::scope(|scope| {
        let visitors: Vec<_> = (0..VISITORS)
            .map(|_| scope.spawn(|| visit(&dashboard, &LIGHT, REQUESTS / VISITORS)))
            .collect();
        let heavy = scope.spawn(|| visit(&dashboard, &HEAVY, 100));
        let supervisor = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                assert!(container.answers(), "PID 1 answers during the flood");
                asked.fetch_add(1, Ordering::Relaxed);
            }
        });
        let mut seen = heavy.join().unwrap();
        for visitor in visitors {
            for (status, count) in visitor.join().unwrap() {
                *seen.entry(status).or_default() += count;
            }
        }
        over.store(true, Ordering::Relaxed);
        supervisor.join().unwrap();
        seen
    });
    assert!(asked.load(Ordering::Relaxed) > 0);
    let allowed = [200, 404, 429, 503];
    assert!(
        seen.keys().all(|status| allowed.contains(status)),
        "{seen:?}"
    );
    assert!(seen[&200] > REQUESTS / 2, "{seen:?}");
    assert_eq!(gateways(&container), before, "no gateway noticed");
    let dashboard_pid = container.service_field("dashboard", "pid");
    let (theirs, ours) = (
        resident_kb(&container, &dashboard_pid),
        resident_kb(&container, &json!(1)),
    );
    assert!(
        theirs < 200_000 && ours < 30_000,
        "dashboard {theirs} kB, PID 1 {ours} kB"
    );

    // One who reads is told at once of what happens, past the thousand who do not.
    streams.truncate(900);
    let live = dashboard.open("/live").unwrap();
    let mut lines = BufReader::new(live).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.ends_with("event: hello")));
    container
        .exec(&["herm", "-p", "p004", "gateway", "start"])
        .succeeds();
    assert!(lines.any(|line| line.contains("gateway-p004") && line.contains("running")));
}

/// Something that fails all the time makes news all the time.
fn make_noise(container: &Container, count: usize) {
    for number in 0..count {
        let spec = json!({"name": format!("noise-{number}"), "kind": "service", "argv": ["false"],
            "initial": "up", "restart": {"delay_ms": 20, "max_delay_ms": 20}});
        let answer = container.control(HERMES, &json!({"op": "register", "spec": spec}));
        assert!(answer["ok"].is_object(), "{answer}");
    }
}

#[test]
fn a_dashboard_that_hangs_or_is_killed_is_replaced_and_nobody_else_notices() {
    let (container, dashboard) = home(3);
    let before = gateways(&container);
    let pid = container.service_field("dashboard", "pid");
    make_noise(&container, 5);
    container.sh(&format!("kill -STOP {pid}")).succeeds();
    let mut hanging = dashboard.open("/healthz").unwrap();
    hanging.write_all(b"\r\n").unwrap();
    for _ in 0..20 {
        assert!(container.answers());
    }
    container
        .exec(&["herm", "-p", "p001", "gateway", "status"])
        .succeeds();
    wait_until("the one that hangs is replaced by one that serves", || {
        container.service_field("dashboard", "pid") != pid
            && dashboard
                .try_get("/healthz")
                .is_some_and(|answer| answer.status == 200)
    });
    for _ in 0..3 {
        let pid = container.service_field("dashboard", "pid");
        container.sh(&format!("kill -KILL {pid}")).succeeds();
        wait_until("the one that was killed is replaced", || {
            let next = container.service_field("dashboard", "pid");
            next.is_number()
                && next != pid
                && dashboard
                    .try_get("/healthz")
                    .is_some_and(|answer| answer.status == 200)
        });
    }
    assert_eq!(gateways(&container), before, "no gateway noticed");
    let ours = resident_kb(&container, &json!(1));
    assert!(ours < 30_000, "PID 1 keeps {ours} kB of what nobody reads");
}
