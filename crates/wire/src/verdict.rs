//! The answer first: one sentence over all services.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;

use crate::view::{Desired, Kind, ServiceView, State};

/// One sentence on how things stand, e.g. `3 of 4 gateways running; writer parked: exit 78`.
///
/// Only gateways that should run count; without any, services do. Trouble is named, at most three
/// by name and the rest by number.
pub fn verdict(services: &[ServiceView]) -> String {
    let gateways = services.iter().any(|s| s.kind == Kind::Gateway);
    let (kind, noun) = if gateways {
        (Kind::Gateway, "gateway")
    } else {
        (Kind::Service, "service")
    };
    let wanted: Vec<&ServiceView> = services
        .iter()
        .filter(|s| s.kind == kind && s.desired == Desired::Up && s.state != State::Disabled)
        .collect();
    if wanted.is_empty() {
        let elsewhere = services.iter().filter(|s| s.state == State::Remote);
        return match elsewhere.count() {
            0 => format!("no {noun} should be running"),
            1 => format!("1 {noun} is run by another instance"),
            count => format!("{count} {noun}s are run by another instance"),
        };
    }
    let running = wanted.iter().filter(|s| serves(s)).count();
    let plural = if wanted.len() == 1 { "" } else { "s" };
    let mut text = format!("{running} of {} {noun}{plural} running", wanted.len());
    let troubled: Vec<&&ServiceView> = wanted.iter().filter(|s| !serves(s)).collect();
    for service in troubled.iter().take(3) {
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "; {} {}: {}",
            service.profile.as_deref().unwrap_or(&service.name),
            state_word(service.state),
            service.reason
        );
    }
    if troubled.len() > 3 {
        let _ = write!(text, "; {} more in trouble", troubled.len() - 3);
    }
    text
}

fn serves(service: &ServiceView) -> bool {
    matches!(
        service.state,
        State::Running | State::Served | State::Remote
    ) && service.health.as_deref() != Some("unhealthy")
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
    use alloc::vec;

    use super::*;

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
