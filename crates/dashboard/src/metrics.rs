//! `/metrics` in OpenMetrics text (version 1.0), and in Prometheus' older text for who asks so.
//!
//! It is written by hand because nothing is counted here: every value is looked up in what is known
//! at that moment, so there is nothing for a registry to keep.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use herm_wire::verdict::state_word;
use herm_wire::{Body, BootReport, Desired, Kind, Op, ServiceView, State as ServiceState};

use crate::app::App;
use crate::logs::read;
use crate::pages::parts::is_in_trouble;

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

/// A metric of every service: its name, its help, its value where it has one.
type Fact = (&'static str, &'static str, fn(&ServiceView) -> Option<u8>);

/// The text in the making.
struct Text {
    out: String,
    open: bool,
}

impl Text {
    /// Begins a family. A counter's samples end in `_total`, its name does not.
    fn family(&mut self, name: &str, kind: &str, unit: &str, help: &str) {
        let declared = if kind == "counter" && !self.open {
            format!("{name}_total")
        } else {
            name.to_owned()
        };
        // Writing to a String cannot fail.
        let _ = writeln!(self.out, "# TYPE {declared} {kind}");
        if self.open && !unit.is_empty() {
            let _ = writeln!(self.out, "# UNIT {declared} {unit}");
        }
        let _ = writeln!(self.out, "# HELP {declared} {help}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        self.out.push_str(name);
        if !labels.is_empty() {
            self.out.push('{');
            for (index, (label, text)) in labels.iter().enumerate() {
                let comma = if index == 0 { "" } else { "," };
                let _ = write!(self.out, "{comma}{label}=\"{}\"", escape(text));
            }
            self.out.push('}');
        }
        let _ = writeln!(self.out, " {value}");
    }
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

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
    let shared = app.clone();
    let made = tokio::task::spawn_blocking(move || text(&shared, boot.as_ref(), open)).await;
    let kind = if open { OPENMETRICS } else { PLAIN };
    ([(CONTENT_TYPE, kind)], made.unwrap_or_default()).into_response()
}

fn text(app: &App, boot: Option<&BootReport>, open: bool) -> String {
    let services = app.services();
    let mut text = Text {
        out: String::new(),
        open,
    };
    whole(&mut text, app, &services);
    states(&mut text, &services);
    runs(&mut text, &services);
    exits(&mut text, &app.live.picture().exits);
    usage(&mut text, app, &services);
    if let Some(boot) = boot {
        text.family(
            "herm_boot_step_duration_seconds",
            "gauge",
            "seconds",
            "How long a step of this boot took.",
        );
        let mut seen: BTreeMap<&str, u64> = BTreeMap::new();
        for step in &boot.steps {
            *seen.entry(&step.name).or_default() += step.took_us;
        }
        for (name, took) in seen {
            text.sample(
                "herm_boot_step_duration_seconds",
                &[("step", name)],
                seconds(took),
            );
        }
    }
    if open {
        text.out.push_str("# EOF\n");
    }
    text.out
}

fn seconds(us: u64) -> String {
    format!("{}.{:06}", us / 1_000_000, us % 1_000_000)
}

fn whole(text: &mut Text, app: &App, services: &[ServiceView]) {
    let picture = app.live.picture();
    let version = picture
        .hello
        .as_ref()
        .map_or("", |hello| hello.version.as_str())
        .to_owned();
    let up = picture.hello.is_some();
    drop(picture);
    text.family(
        "herm_supervisor_up",
        "gauge",
        "",
        "Whether the supervisor answers.",
    );
    text.sample("herm_supervisor_up", &[], u8::from(up));
    text.family("herm_supervisor", "info", "", "The supervisor.");
    if text.open {
        text.sample("herm_supervisor_info", &[("version", &version)], 1);
    }
    text.family(
        "herm_supervisor_latency_seconds",
        "gauge",
        "seconds",
        "How long the supervisor's loop took to answer the last time it was asked.",
    );
    text.sample(
        "herm_supervisor_latency_seconds",
        &[],
        seconds(app.latency_us.load(Ordering::Relaxed)),
    );
    text.family(
        "herm_dashboard_streams",
        "gauge",
        "",
        "Streams that are open.",
    );
    let streams = crate::app::MAX_STREAMS.saturating_sub(app.streams.available_permits());
    text.sample("herm_dashboard_streams", &[], streams);
    text.family(
        "herm_services_in_trouble",
        "gauge",
        "",
        "Services that should run and do not serve.",
    );
    text.sample(
        "herm_services_in_trouble",
        &[],
        services.iter().filter(|s| is_in_trouble(s)).count(),
    );
}

fn states(text: &mut Text, services: &[ServiceView]) {
    text.family(
        "herm_service_state",
        "gauge",
        "",
        "1 for the state a service is in, 0 for the others.",
    );
    for service in services {
        for state in STATES {
            let labels = [
                ("service", service.name.as_str()),
                ("kind", kind(service.kind)),
                ("state", state_word(state)),
            ];
            text.sample(
                "herm_service_state",
                &labels,
                u8::from(service.state == state),
            );
        }
    }
    let facts: [Fact; 3] = [
        (
            "herm_service_desired_up",
            "Whether a service should run.",
            |s| Some(u8::from(s.desired == Desired::Up)),
        ),
        ("herm_service_ready", "Whether it is ready.", |s| {
            Some(u8::from(s.ready))
        }),
        (
            "herm_service_healthy",
            "Whether its health check succeeds, where it has one.",
            |s| {
                s.health
                    .as_ref()
                    .map(|health| u8::from(health == "healthy"))
            },
        ),
    ];
    for (name, help, value) in facts {
        text.family(name, "gauge", "", help);
        for service in services {
            if let Some(value) = value(service) {
                text.sample(name, &[("service", &service.name)], value);
            }
        }
    }
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
    text.family(
        "herm_service_restarts",
        "counter",
        "",
        "Starts after an exit that nobody asked for.",
    );
    for service in services {
        text.sample(
            "herm_service_restarts_total",
            &[("service", &service.name)],
            service.restarts,
        );
    }
    text.family(
        "herm_service_uptime_seconds",
        "gauge",
        "seconds",
        "How long the current run has been up; 0 where none is.",
    );
    let now = crate::words::now_ms();
    for service in services {
        let since = crate::words::unix_ms(&service.since).unwrap_or(now);
        let up = if service.pid.is_some() {
            crate::words::seconds_between(since, now)
        } else {
            0.0
        };
        text.sample(
            "herm_service_uptime_seconds",
            &[("service", &service.name)],
            up,
        );
    }
    text.family(
        "herm_service_last_exit_code",
        "gauge",
        "",
        "Code of the last exit; 128 and the signal's number for a signal.",
    );
    for service in services {
        let Some(exit) = &service.last_exit else {
            continue;
        };
        let code = exit
            .code
            .map(u16::from)
            .or(exit.signal.map(|signal| 128 + u16::from(signal)));
        if let Some(code) = code {
            text.sample(
                "herm_service_last_exit_code",
                &[("service", &service.name)],
                code,
            );
        }
    }
}

fn exits(text: &mut Text, exits: &BTreeMap<(String, String), u64>) {
    text.family(
        "herm_service_exits",
        "counter",
        "",
        "Exits since the dashboard started, by code or signal.",
    );
    for ((service, how), count) in exits {
        let (label, value) = how.split_once('=').unwrap_or((how, ""));
        let labels = [
            ("service", service.as_str()),
            (label, value.trim_matches('"')),
        ];
        text.sample("herm_service_exits_total", &labels, count);
    }
}

fn usage(text: &mut Text, app: &App, services: &[ServiceView]) {
    text.family(
        "herm_service_memory_bytes",
        "gauge",
        "bytes",
        "Resident memory of its processes.",
    );
    for service in services {
        if let Some(memory) = service.memory_bytes {
            text.sample(
                "herm_service_memory_bytes",
                &[("service", &service.name)],
                memory,
            );
        }
    }
    text.family(
        "herm_service_cpu_ratio",
        "gauge",
        "ratio",
        "Share of one processor in the last five seconds.",
    );
    for service in services {
        if let Some(share) = service.cpu_percent {
            text.sample(
                "herm_service_cpu_ratio",
                &[("service", &service.name)],
                share / 100.0,
            );
        }
    }
    text.family(
        "herm_service_open_fds",
        "gauge",
        "",
        "Open descriptors of its main process, where they may be counted.",
    );
    for service in services {
        if let Some(count) = app
            .samples
            .newest(&service.name)
            .and_then(|sample| sample.descriptors)
        {
            text.sample(
                "herm_service_open_fds",
                &[("service", &service.name)],
                count,
            );
        }
    }
    text.family(
        "herm_service_log_bytes",
        "gauge",
        "bytes",
        "Size of its kept log.",
    );
    for service in services {
        if let Some(dir) = &service.log_dir {
            text.sample(
                "herm_service_log_bytes",
                &[("service", &service.name)],
                read::size(Path::new(dir)),
            );
        }
    }
}
