//! The answer first: one sentence over all services, and whether all is well.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;

use crate::view::{Desired, Kind, ServiceView, State};

/// Services in trouble that are named; the rest are counted.
const NAMED: usize = 3;

/// One sentence on how things stand, e.g. `3 of 4 gateways running; writer parked: exit 78`.
///
/// Only gateways that should run are counted, and profiles that another's gateway serves; without any
/// gateways, services are. What should serve and does
/// not is named, at most three by name and the rest by number: gateways first.
pub fn verdict(services: &[ServiceView]) -> String {
    verdict_with(services, |_| None)
}

/// The same, with how long ago it happened behind the state (`writer parked 2 min ago: exit 78`):
/// there is no clock here, so the caller says it.
pub fn verdict_with(
    services: &[ServiceView],
    when: impl Fn(&ServiceView) -> Option<String>,
) -> String {
    let gateways = services.iter().any(|s| s.kind == Kind::Gateway);
    let (kind, noun) = if gateways {
        (Kind::Gateway, "gateway")
    } else {
        (Kind::Service, "service")
    };
    let counted: Vec<&ServiceView> = services
        .iter()
        .filter(|s| s.kind == kind && (is_wanted(s) || s.state == State::Served))
        .collect();
    let running = counted.iter().filter(|s| serves(s)).count();
    let plural = if counted.len() == 1 { "" } else { "s" };
    let elsewhere = services.iter().filter(|s| s.state == State::Remote);
    let mut text = match (counted.len(), elsewhere.count()) {
        (0, 0) => format!("no {noun} should be running"),
        (0, 1) => format!("1 {noun} is run by another instance"),
        (0, count) => format!("{count} {noun}s are run by another instance"),
        (count, _) => format!("{running} of {count} {noun}{plural} running"),
    };
    let (mut absent, others): (Vec<_>, Vec<_>) = missing(services).partition(|s| s.kind == kind);
    absent.extend(others);
    for service in absent.iter().take(NAMED) {
        let when = when(service).map_or_else(String::new, |when| format!(" {when}"));
        // Writing to a String cannot fail.
        let _ = write!(text, "; {} {}{when}", label(service), predicate(service));
        if !service.reason.is_empty() {
            let _ = write!(text, ": {}", service.reason);
        }
    }
    if absent.len() > NAMED {
        let _ = write!(text, "; {} more not up", absent.len() - NAMED);
    }
    text
}

/// What should serve and does not, at this moment: what has failed, and what is only on its way.
pub fn missing<'a>(
    services: impl IntoIterator<Item = &'a ServiceView>,
) -> impl Iterator<Item = &'a ServiceView> {
    services
        .into_iter()
        .filter(|service| is_wanted(service) && !serves(service))
}

/// Whether it should run and has failed to: what needs somebody, and not what is on its way.
pub fn is_in_trouble(service: &ServiceView) -> bool {
    let failed = matches!(
        service.state,
        State::Backoff | State::Parked | State::Failed
    );
    service.desired == Desired::Up && (failed || is_unhealthy(service))
}

/// What people call it: a gateway by its profile.
pub fn label(service: &ServiceView) -> &str {
    service.profile.as_deref().unwrap_or(&service.name)
}

fn is_wanted(service: &ServiceView) -> bool {
    service.desired == Desired::Up && service.state != State::Disabled
}

fn is_unhealthy(service: &ServiceView) -> bool {
    service.health.as_deref() == Some("unhealthy")
}

fn serves(service: &ServiceView) -> bool {
    matches!(
        service.state,
        State::Running | State::Served | State::Remote
    ) && !is_unhealthy(service)
}

/// The state as a sentence has it.
fn predicate(service: &ServiceView) -> &'static str {
    match service.state {
        State::Backoff => "in backoff",
        State::Running if is_unhealthy(service) => "unhealthy",
        state => state_word(state),
    }
}

/// The word the contract uses for a state.
pub fn state_word(state: State) -> &'static str {
    match state {
        State::Disabled => "disabled",
        State::Down => "down",
        State::Starting => "starting",
        State::Running => "running",
        State::Stopping => "stopping",
        State::Backoff => "backoff",
        State::Parked => "parked",
        State::Failed => "failed",
        State::Served => "served",
        State::Remote => "remote",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn service(name: &str, kind: Kind, state: State, reason: &str) -> ServiceView {
        let mut view = ServiceView::named(name, kind);
        view.profile = name.strip_prefix("gateway-").map(String::from);
        view.desired = Desired::Up;
        view.state = state;
        view.reason = String::from(reason);
        view
    }

    #[test]
    fn the_verdict_counts_gateways_and_names_what_is_wrong_with_when_it_happened() {
        let services = vec![
            service("dashboard", Kind::Helper, State::Backoff, "exit 1"),
            service("gateway-a", Kind::Gateway, State::Running, "ready"),
            service("gateway-writer", Kind::Gateway, State::Parked, "exit 78"),
            service("web", Kind::Service, State::Starting, ""),
        ];
        assert_eq!(
            verdict(&services),
            "1 of 2 gateways running; writer parked: exit 78; dashboard in backoff: exit 1; web starting"
        );
        let when = |service: &ServiceView| {
            (service.state == State::Parked).then(|| String::from("2 min ago"))
        };
        assert!(verdict_with(&services, when).contains("writer parked 2 min ago: exit 78"));
    }

    #[test]
    fn of_many_in_trouble_three_are_named() {
        let services: Vec<ServiceView> = (0..9)
            .map(|n| {
                let name = format!("gateway-{n}");
                service(&name, Kind::Gateway, State::Failed, "exit 1")
            })
            .collect();
        let text = verdict(&services);
        assert!(text.starts_with("0 of 9 gateways running; 0 failed: exit 1;"));
        assert!(text.ends_with("; 6 more not up"), "{text}");
    }

    #[test]
    fn what_is_on_its_way_is_missing_and_no_trouble() {
        let mut services = vec![
            service("gateway-a", Kind::Gateway, State::Starting, ""),
            service("gateway-b", Kind::Gateway, State::Running, "ready"),
            service("gateway-c", Kind::Gateway, State::Down, "stopped"),
            service("dashboard", Kind::Helper, State::Disabled, ""),
        ];
        services[2].desired = Desired::Down;
        let names: Vec<&str> = missing(&services).map(label).collect();
        assert_eq!(names, ["a"]);
        assert!(!services.iter().any(is_in_trouble));
        services[1].health = Some(String::from("unhealthy"));
        assert!(is_in_trouble(&services[1]));
        assert!(verdict(&services).contains("b unhealthy: ready"));
    }

    #[test]
    fn a_profile_that_anothers_gateway_serves_counts_as_served() {
        let mut served = service("gateway-b", Kind::Gateway, State::Served, "");
        served.desired = Desired::Down;
        let services = vec![
            service("gateway-a", Kind::Gateway, State::Running, "ready"),
            served,
        ];
        assert_eq!(verdict(&services), "2 of 2 gateways running");
    }

    #[test]
    fn gateways_that_another_instance_runs_are_not_said_to_be_unwanted() {
        let mut gateway = ServiceView::named("gateway-a", Kind::Gateway);
        assert_eq!(verdict(&[gateway.clone()]), "no gateway should be running");
        gateway.state = State::Remote;
        let all = vec![gateway.clone(), gateway];
        assert_eq!(verdict(&all), "2 gateways are run by another instance");
        assert_eq!(verdict(&all[..1]), "1 gateway is run by another instance");
    }
}
