//! What Prometheus and Grafana are given: metrics that other programs' readers accept, and a dashboard
//! and alerts that ask for what there is.

use std::collections::{BTreeMap, BTreeSet};

use herm_e2e::{Container, Dashboard, Image, repository, run, run_with_input, tool, wait_until};
use serde_json::{Value, json};

const HERMES: u32 = 10_000;
/// Prints each sample's name with the label sets it has, as the reference reader understands them.
const READ: &str = r"
import json, sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
found = {}
for family in text_string_to_metric_families(sys.stdin.read()):
    assert family.documentation and family.type != 'unknown', family
    for sample in family.samples:
        found.setdefault(sample.name, []).append({'labels': sample.labels, 'value': sample.value})
print(json.dumps(found))
";

type Samples = BTreeMap<String, Vec<Value>>;

fn home() -> (Container, Dashboard) {
    let container = Container::of(&Image::herm_dev())
        .dashboard()
        // Has no room for what `loud` writes.
        .flag("--tmpfs=/small:size=64k,mode=1777")
        .run();
    container.wait_booted();
    container.exec(&["herm", "gateway", "start"]).succeeds();
    container
        .exec(&["herm", "profile", "create", "writer"])
        .succeeds();
    container
        .sh("echo 'model: [' > /opt/data/profiles/writer/config.yaml")
        .succeeds();
    container.exec(&["herm", "-p", "writer", "gateway", "start"]);
    let dashboard = container.dashboard();
    let program = dashboard.with_token(&container.dashboard_token("prometheus", "read"));
    (container, program)
}

/// OpenMetrics, read by the reference reader.
fn samples(dashboard: &Dashboard) -> Samples {
    let accept = [("Accept", "application/openmetrics-text; version=1.0.0")];
    let answer = dashboard.ask("GET", "/metrics", &accept, "");
    assert!(
        answer
            .header("content-type")
            .starts_with("application/openmetrics-text")
    );
    let read = run_with_input(
        tool("venv/bin/python").args(["-c", READ]),
        answer.body.as_bytes(),
    );
    serde_json::from_value(read.json()).unwrap()
}

/// The value of a service's sample.
fn of(samples: &Samples, name: &str, service: &str) -> Option<f64> {
    let all = samples.get(name)?;
    let one = all
        .iter()
        .find(|sample| sample["labels"]["service"] == service)?;
    one["value"].as_f64()
}

/// The names of herm's metrics in a text.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words
        .filter(|word| word.starts_with("herm_"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn metrics_are_what_prometheus_reads_and_what_grafana_and_the_alerts_ask_for() {
    let (container, dashboard) = home();
    let plain = dashboard.get("/metrics");
    assert!(
        plain
            .header("content-type")
            .starts_with("text/plain; version=0.0.4")
    );
    // It warns, and exits with a code of its own, of names and types that break its conventions.
    run_with_input(
        tool("promtool").args(["check", "metrics"]),
        plain.body.as_bytes(),
    )
    .succeeds();

    // Memory and processor time are measured every five seconds.
    wait_until("everything is measured and tried once", || {
        let samples = samples(&dashboard);
        let of = |name, service| of(&samples, name, service);
        of("herm_service_memory_bytes", "gateway-default") > Some(0.0)
            && of("herm_service_healthy", "dashboard") == Some(1.0)
    });
    let samples = samples(&dashboard);
    for (name, value) in [
        ("herm_service_last_exit_code", 78.0),
        ("herm_service_desired_up", 1.0),
        ("herm_service_uptime_seconds", 0.0),
        ("herm_service_exits_total", 1.0),
        ("herm_service_ready", 0.0),
    ] {
        assert_eq!(of(&samples, name, "gateway-writer"), Some(value), "{name}");
    }
    for name in [
        "herm_service_open_fds",
        "herm_service_log_bytes",
        "herm_service_uptime_seconds",
    ] {
        assert!(of(&samples, name, "gateway-default") > Some(0.0), "{name}");
    }
    assert_eq!(
        of(&samples, "herm_service_restarts_total", "gateway-default"),
        Some(0.0)
    );
    let parked = samples["herm_service_state"].iter().find(|sample| {
        let labels = &sample["labels"];
        labels["service"] == "gateway-writer" && labels["state"] == "parked"
    });
    assert_eq!(parked.unwrap()["value"], 1.0);
    assert_eq!(samples["herm_services_missing"][0]["value"], 1.0);
    assert!(samples["herm_boot_step_duration_seconds"].len() > 2);
    assert!(samples["herm_supervisor_latency_seconds_count"][0]["value"].as_f64() > Some(0.0));

    // Whoever loads these files asks for nothing that does not exist.
    let exported: BTreeSet<String> = samples.keys().cloned().collect();
    for file in ["alerts.yml", "grafana.json"] {
        let text =
            std::fs::read_to_string(repository().join("docs/monitoring").join(file)).unwrap();
        let unknown: Vec<String> = named(&text).difference(&exported).cloned().collect();
        assert!(
            unknown.is_empty(),
            "{file} asks for {unknown:?}; there are {exported:?}"
        );
    }
    drop(container);
}

#[test]
fn lines_that_a_log_could_not_take_are_counted() {
    let (container, dashboard) = home();
    let spec = json!({"name": "loud", "kind": "service", "initial": "up", "log": {"dir": "/small/loud"},
        "argv": ["perl", "-e", "print 'x' x 99, \"\\n\" for 1 .. 200_000; sleep"]});
    let answer = container.control(HERMES, &json!({"op": "register", "spec": spec}));
    assert!(answer["ok"].is_object(), "{answer}");
    wait_until("the loss is counted", || {
        of(
            &samples(&dashboard),
            "herm_service_log_dropped_lines_total",
            "loud",
        ) > Some(1000.0)
    });
    let lost = container.service_field("loud", "log_dropped_lines");
    assert!(lost.as_u64() > Some(1000), "{lost}");
    let other = of(
        &samples(&dashboard),
        "herm_service_log_dropped_lines_total",
        "gateway-default",
    );
    assert_eq!(other, Some(0.0));
}

#[test]
fn the_alerts_are_rules_and_fire_when_they_should() {
    let rules = repository().join("docs/monitoring/alerts.yml");
    run(tool("promtool").args(["check", "rules"]).arg(&rules)).succeeds();
    let cases = repository().join("tests/e2e/tools/alerts-test.yml");
    run(tool("promtool").args(["test", "rules"]).arg(cases)).succeeds();
}

#[test]
fn the_grafana_file_is_a_dashboard() {
    let path = repository().join("docs/monitoring/grafana.json");
    let dashboard: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut ids = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        assert!(
            panel["title"].is_string() && panel["gridPos"]["w"].is_number(),
            "{panel}"
        );
        for target in panel["targets"].as_array().unwrap() {
            // Grafana's own variables are no part of the language.
            let expression = target["expr"]
                .as_str()
                .unwrap()
                .replace("$__rate_interval", "5m");
            let rule =
                json!({"groups": [{"name": "g", "rules": [{"record": "x", "expr": expression}]}]});
            let checked = run_with_input(
                tool("promtool").args(["check", "rules", "/dev/stdin"]),
                rule.to_string().as_bytes(),
            );
            checked.succeeds();
        }
    }
}
