//! The dashboard as a service. The keeper registers it, like a gateway: it runs as the service user
//! and with no more than that user has.

use std::collections::BTreeMap;
use std::env;
use std::path::PathBuf;

use herm_home::Home;
use herm_wire::{
    Desired, EnvVar, HealthSpec, Kind, LogSpec, Probe, ReadinessSpec, RestartSpec, ServiceSpec,
    ServiceView, StopSpec,
};

/// Its name. A service of an image that has it already is that image's dashboard, and stays (L29).
pub(super) const NAME: &str = "dashboard";

/// Between two looks whether it serves: one that hangs is replaced within a minute.
const HEALTH_INTERVAL_MS: u64 = 10_000;

/// Whether it is herm's own, by where its output is kept.
pub(super) fn is_ours(home: &Home, known: &ServiceView) -> bool {
    known.log_dir.as_deref() == Some(&*log_dir(home).to_string_lossy())
}

fn log_dir(home: &Home) -> PathBuf {
    home.root().join("logs").join(NAME)
}

/// The service: on or off as the environment says.
pub(super) fn spec(home: &Home) -> ServiceSpec {
    let own = env::current_exe().unwrap_or_else(|_| "herm".into());
    let root = home.root().to_string_lossy().into_owned();
    let variable = |value: &str| EnvVar {
        value: value.to_owned(),
        origin: "herm: dashboard".to_owned(),
    };
    let wanted = herm_dashboard::is_wanted(|name| env::var(name).ok());
    let (url, port) = herm_dashboard::endpoint(|name| env::var(name).ok()).unzip();
    let probe = url.map(|url| Probe::Http {
        url: format!("{url}/healthz"),
    });
    ServiceSpec {
        name: NAME.to_owned(),
        kind: Kind::Service,
        profile: None,
        argv: vec![own.to_string_lossy().into_owned(), NAME.to_owned()],
        env: BTreeMap::from([
            ("HERMES_HOME".to_owned(), variable(&root)),
            ("HOME".to_owned(), variable(&root)),
        ]),
        unset_env: Vec::new(),
        cwd: Some(root),
        user: None,
        oneshot: false,
        requires: Vec::new(),
        after: Vec::new(),
        readiness: match &probe {
            Some(probe) => ReadinessSpec::Probe {
                probe: probe.clone(),
                interval_ms: None,
            },
            None => ReadinessSpec::None,
        },
        health: probe.map(|probe| HealthSpec {
            probe,
            interval_ms: Some(HEALTH_INTERVAL_MS),
            timeout_ms: None,
            threshold: None,
        }),
        restart: RestartSpec::default(),
        stop: StopSpec::default(),
        finish: None,
        log: LogSpec {
            dir: Some(log_dir(home).to_string_lossy().into_owned()),
            ..LogSpec::default()
        },
        port: port.filter(|_| wanted),
        initial: Desired::Up,
        disabled: (!wanted).then(|| format!("{} is not set to 1", herm_dashboard::SWITCH)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_off_unless_asked_for_and_known_by_its_log() {
        let home = Home::new("/opt/data");
        let spec = spec(&home);
        assert!(
            spec.disabled
                .is_some_and(|why| why.contains("HERMES_DASHBOARD"))
        );
        let mut view = ServiceView::named(NAME, Kind::Service);
        assert!(!is_ours(&home, &view), "an image's own");
        view.log_dir = spec.log.dir;
        assert!(is_ours(&home, &view));
    }
}
