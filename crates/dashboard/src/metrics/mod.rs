//! `/metrics` in OpenMetrics text (version 1.0), and in Prometheus' older text for who asks so.
//!
//! It is written by hand because hardly anything is counted here: nearly every value is looked up in
//! what is known at that moment, so there is nothing for a registry to keep.

pub(crate) mod latency;
mod text;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use herm_wire::verdict::{missing, state_word};
use herm_wire::{Body, BootReport, Desired, Kind, Op, ServiceView, State as ServiceState};

use crate::app::App;
use text::Text;

/// The type that OpenMetrics has.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// The type of Prometheus' older text.
const PLAIN: &str = "text/plain; version=0.0.4; charset=utf-8";

const STATES: [ServiceState; 10] = [
    ServiceState::Disabled,
    ServiceState::Down,
    ServiceState::Starting,
    ServiceState::Running,
    ServiceState::Stopping,
    ServiceState::Backoff,
    ServiceState::Parked,
    ServiceState::Failed,
    ServiceState::Served,
    ServiceState::Remote,
];

/// Exits by service, then by code, or by signal with `signal-` in front.
pub(crate) type Exits = BTreeMap<(String, String), u64>;

/// `GET /metrics`.
pub(crate) async fn answer(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    let accepts = headers
        .get(ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .unwrap_or_default();
    let open = accepts.contains("openmetrics-text");
    let boot = match app.control.ask(Op::Boot).await {
        Ok(Body::Boot(report)) => Some(report),
        _ => None,
    };
    // Not the picture that events keep: lost lines are no event.
    let services = match app.control.ask(Op::Status).await {
        Ok(Body::Services { services, .. }) => services,
        _ => app.live.services(),
    };
    let shared = app.clone();
    let made =
        tokio::task::spawn_blocking(move || write(&shared, services, boot.as_ref(), open)).await;
    let kind = if open { OPENMETRICS } else { PLAIN };
    ([(CONTENT_TYPE, kind)], made.unwrap_or_default()).into_response()
}

fn write(
    app: &App,
    mut services: Vec<ServiceView>,
    boot: Option<&BootReport>,
    open: bool,
) -> String {
    for service in &mut services {
        app.samples.complete(service);
    }
    let mut text = Text::new(open);
    supervisor(&mut text, app, &services);
    home(&mut text, app);
    states(&mut text, &services);
    runs(&mut text, &services);
    exits(&mut text, &app.live.picture().exits);
    usage(&mut text, app, &services);
    logs(&mut text, &services);
    if let Some(boot) = boot {
        steps(&mut text, boot);
    }
    text.finish()
}

fn seconds(us: u64) -> String {
    format!("{}.{:06}", us / 1_000_000, us % 1_000_000)
}

fn supervisor(text: &mut Text, app: &App, services: &[ServiceView]) {
    let hello = app.live.picture().hello.clone();
    text.gauge(
        (
            "herm_supervisor_up",
            "",
            "Whether the supervisor answers the dashboard.",
        ),
        u8::from(hello.is_some()),
    );
    if let Some(hello) = &hello {
        if text.open {
            text.family("herm_supervisor", "info", "", "The supervisor.");
            let version = [("version", hello.version.as_str())];
            text.sample("herm_supervisor_info", &version, 1);
        }
        if let Some(memory) = resident(hello.pid) {
            text.gauge(
                (
                    "herm_supervisor_memory_bytes",
                    "bytes",
                    "Resident memory of PID 1.",
                ),
                memory,
            );
        }
    }
    app.latency.write(text);
    let streams = crate::app::MAX_STREAMS.saturating_sub(app.streams.available_permits());
    text.gauge(
        (
            "herm_dashboard_streams",
            "",
            "Streams of the dashboard that are open.",
        ),
        streams,
    );
    text.gauge(
        (
            "herm_services_missing",
            "",
            "Services that should serve and do not at this moment.",
        ),
        missing(services).count(),
    );
}

/// Resident memory of a process (proc(5): the second field of `statm`, in pages).
fn resident(pid: u32) -> Option<u64> {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    let page = u64::try_from(rustix::param::page_size()).ok()?;
    pages.checked_mul(page)
}

fn home(text: &mut Text, app: &App) {
    let Ok(disk) = rustix::fs::statvfs(app.options.home.root()) else {
        return;
    };
    text.gauge(
        (
            "herm_home_free_bytes",
            "bytes",
            "What the service user can still write to the home's disk.",
        ),
        disk.f_bavail.saturating_mul(disk.f_frsize),
    );
    text.gauge(
        (
            "herm_home_size_bytes",
            "bytes",
            "Size of the disk that the home is on.",
        ),
        disk.f_blocks.saturating_mul(disk.f_frsize),
    );
}

fn states(text: &mut Text, services: &[ServiceView]) {
    let name = "herm_service_state";
    let help = "1 for the state a service is in, 0 for the others.";
    text.family(name, "gauge", "", help);
    for service in services {
        for state in STATES {
            let labels = [
                ("service", service.name.as_str()),
                ("kind", kind(service.kind)),
                ("state", state_word(state)),
            ];
            text.sample(name, &labels, u8::from(service.state == state));
        }
    }
    let desired = ("herm_service_desired_up", "", "Whether it should run.");
    text.gauges(
        desired,
        "service",
        each(services, |s| Some(u8::from(s.desired == Desired::Up))),
    );
    let ready = ("herm_service_ready", "", "Whether it is ready.");
    text.gauges(
        ready,
        "service",
        each(services, |s| Some(u8::from(s.ready))),
    );
    let healthy = (
        "herm_service_healthy",
        "",
        "Whether its health check succeeds, where it has one.",
    );
    text.gauges(
        healthy,
        "service",
        each(services, |s| {
            s.health
                .as_ref()
                .map(|health| u8::from(health == "healthy"))
        }),
    );
}

/// Each service's value, where it has one.
fn each<'a, V>(
    services: &'a [ServiceView],
    value: impl Fn(&ServiceView) -> Option<V> + 'a,
) -> impl Iterator<Item = (String, V)> + 'a {
    services
        .iter()
        .filter_map(move |service| Some((service.name.clone(), value(service)?)))
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Gateway => "gateway",
        Kind::Service => "service",
        Kind::Main => "main",
        Kind::Helper => "helper",
    }
}

fn runs(text: &mut Text, services: &[ServiceView]) {
    let help = "Starts after an exit that nobody asked for.";
    text.family("herm_service_restarts", "counter", "", help);
    for (of, restarts) in each(services, |s| Some(s.restarts)) {
        let name = "herm_service_restarts_total";
        text.sample(name, &[("service", &of)], restarts);
    }
    let uptime = (
        "herm_service_uptime_seconds",
        "seconds",
        "How long the current run has been up; 0 where none is.",
    );
    text.gauges(uptime, "service", each(services, |s| Some(s.uptime_s)));
    let code = (
        "herm_service_last_exit_code",
        "",
        "Code of the last exit; 128 and the signal's number for a signal.",
    );
    text.gauges(
        code,
        "service",
        each(services, |s| {
            let exit = s.last_exit.as_ref()?;
            let signal = exit.signal.map(|signal| 128 + u16::from(signal));
            exit.code.map(u16::from).or(signal)
        }),
    );
}

fn exits(text: &mut Text, exits: &Exits) {
    let help = "Exits since the dashboard started, by code, or by signal.";
    text.family("herm_service_exits", "counter", "", help);
    for ((service, how), count) in exits {
        let (code, signal) = match how.strip_prefix("signal-") {
            Some(signal) => ("", signal),
            None => (how.as_str(), ""),
        };
        let labels = [
            ("service", service.as_str()),
            ("code", code),
            ("signal", signal),
        ];
        text.sample("herm_service_exits_total", &labels, count);
    }
}

fn usage(text: &mut Text, app: &App, services: &[ServiceView]) {
    let memory = (
        "herm_service_memory_bytes",
        "bytes",
        "Resident memory of its processes.",
    );
    text.gauges(memory, "service", each(services, |s| s.memory_bytes));
    let cpu = (
        "herm_service_cpu_ratio",
        "ratio",
        "Share of one processor in the last five seconds.",
    );
    text.gauges(
        cpu,
        "service",
        each(services, |s| s.cpu_percent.map(|percent| percent / 100.0)),
    );
    let descriptors = (
        "herm_service_open_fds",
        "",
        "Open descriptors of its main process, where they may be counted.",
    );
    text.gauges(
        descriptors,
        "service",
        each(services, |s| app.samples.newest(&s.name)?.descriptors),
    );
}

fn logs(text: &mut Text, services: &[ServiceView]) {
    let size = (
        "herm_service_log_bytes",
        "bytes",
        "Size of its kept log, rotated files included.",
    );
    text.gauges(
        size,
        "service",
        each(services, |s| {
            s.log_dir
                .as_ref()
                .map(|dir| herm_home::kept::size(Path::new(dir)))
        }),
    );
    let help = "Lines that its kept log could not take and that are lost.";
    text.family("herm_service_log_dropped_lines", "counter", "", help);
    for (of, lines) in each(services, |s| {
        s.log_dir.as_ref().map(|_| s.log_dropped_lines)
    }) {
        let name = "herm_service_log_dropped_lines_total";
        text.sample(name, &[("service", &of)], lines);
    }
}

fn steps(text: &mut Text, boot: &BootReport) {
    let mut steps: BTreeMap<&str, (u64, bool)> = BTreeMap::new();
    for step in &boot.steps {
        let (took, failed) = steps.entry(&step.name).or_default();
        *took += step.took_us;
        *failed |= step.error.is_some();
    }
    let duration = (
        "herm_boot_step_duration_seconds",
        "seconds",
        "How long a step of this boot took.",
    );
    let took = |(name, (took, _)): (&&str, &(u64, bool))| ((*name).to_owned(), seconds(*took));
    text.gauges(duration, "step", steps.iter().map(took));
    let failed = (
        "herm_boot_step_failed",
        "",
        "Whether a step of this boot failed.",
    );
    let bad = |(name, (_, bad)): (&&str, &(u64, bool))| ((*name).to_owned(), u8::from(*bad));
    text.gauges(failed, "step", steps.iter().map(bad));
}
