//! `herm health`: what HEALTHCHECK and probes run. It asks the supervisor two questions and touches
//! nothing else, so it is cheap, and the same for every user, in every container.

use herm_wire::verdict::{label, missing, verdict};
use herm_wire::{ExitCode, ServiceView};
use serde::Serialize;

use super::services_of;
use crate::cli::HealthArgs;
use crate::client::Client;
use crate::context::Context;
use crate::failure::Outcome;
use crate::output::{Out, Tone};

/// What was found; with `--json` as it is.
#[derive(Debug, Serialize, PartialEq, Eq)]
struct Health {
    healthy: bool,
    verdict: String,
    /// What should serve and does not.
    missing: Vec<String>,
}

impl Health {
    fn bad(verdict: impl Into<String>) -> Self {
        Self {
            healthy: false,
            verdict: verdict.into(),
            missing: Vec::new(),
        }
    }

    fn of(services: &[ServiceView]) -> Self {
        let missing: Vec<String> = missing(services).map(|s| label(s).to_owned()).collect();
        Self {
            healthy: missing.is_empty(),
            verdict: verdict(services),
            missing,
        }
    }
}

/// Prints a sentence; exits 0 or 1 whatever it finds, for other codes are not HEALTHCHECK's.
pub(super) fn run(context: &Context, args: &HealthArgs) -> Outcome<ExitCode> {
    let health = look(context, args.alive).unwrap_or_else(|failure| Health::bad(failure.message));
    let mut out = Out::stdout();
    if args.format.json {
        out.json(&health)?;
    } else {
        let (word, tone) = match (health.healthy, args.alive) {
            (true, true) => ("alive", Tone::Good),
            (true, false) => ("healthy", Tone::Good),
            (false, true) => ("not alive", Tone::Bad),
            (false, false) => ("unhealthy", Tone::Bad),
        };
        let word = out.paint(word, tone);
        out.line(format!("{word}: {}", health.verdict))?;
    }
    out.flush()?;
    Ok(if health.healthy {
        ExitCode::Done
    } else {
        ExitCode::Failed
    })
}

/// The asker stays who it is: nothing in the home is touched.
fn look(context: &Context, only_alive: bool) -> Outcome<Health> {
    let Some(mut client) = Client::find(context.surroundings(), context.home().root())? else {
        let home = context.home().root().display();
        return Ok(Health::bad(format!("no supervisor answers for {home}")));
    };
    let hello = client.hello();
    if only_alive {
        return Ok(Health {
            healthy: true,
            verdict: format!("the supervisor answers, pid {}", hello.pid),
            missing: Vec::new(),
        });
    }
    if !hello.booted {
        return Ok(Health::bad("the boot is not over"));
    }
    Ok(Health::of(&services_of(&mut client)?.1))
}

#[cfg(test)]
mod tests {
    use herm_wire::{Desired, Kind, State};

    use super::*;

    fn wanted(name: &str, kind: Kind, state: State) -> ServiceView {
        let mut view = ServiceView::named(name, kind);
        (view.desired, view.state) = (Desired::Up, state);
        view
    }

    #[test]
    fn what_should_serve_and_does_not_is_named() {
        let services = [
            wanted("gateway-a", Kind::Gateway, State::Running),
            wanted("gateway-b", Kind::Gateway, State::Starting),
            wanted("web", Kind::Service, State::Starting),
        ];
        let health = Health::of(&services);
        assert!(!health.healthy);
        assert_eq!(health.missing, ["gateway-b", "web"]);
        assert_eq!(
            health.verdict,
            "1 of 2 gateways running; gateway-b starting; web starting"
        );
        assert!(Health::of(&services[..1]).healthy);
        assert!(Health::of(&[]).healthy, "nothing is missing of nothing");
    }
}
