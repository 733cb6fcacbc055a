//! Services of herm's own: the keeper and the main program, as everything else is told of them.

use herm_wire::{
    Desired, EnvVar, HealthSpec, Kind, LogSpec, ReadinessSpec, RestartSpec, ServiceSpec, StopSpec,
};

use super::boot::Boot;
use super::services::{Annotation, Registrar, Service};
use super::{identity, main_process};
use crate::environment::Environment;
use crate::setup::{Ids, MainProgram};

/// The keeper's name as a service.
pub(crate) const KEEPER: &str = "keeper";

/// What this container does in a home that several share (L36): said by whoever runs it, else by
/// the CMD.
const ROLE: &str = "HERM_ROLE";

/// The keeper of the home, as the user whose the home is.
pub(super) fn keeper(boot: &Boot, environment: &Environment) -> Service {
    let plan = &boot.plan;
    let mut spec = own_spec(
        KEEPER,
        Kind::Helper,
        vec![boot.herm.clone(), KEEPER.to_owned()],
    );
    let mut variable = |name: &str, value: &str| {
        let value = EnvVar {
            value: value.to_owned(),
            origin: "herm".to_owned(),
        };
        spec.env.insert(name.to_owned(), value);
    };
    if let Some(home) = &plan.home {
        variable("HERMES_HOME", home);
        variable("HOME", home);
    }
    if let Some(profile) = &plan.gateway_run {
        variable("HERM_GATEWAY_RUN", profile);
    }
    if plan.dashboard_only && environment.get_nonempty(ROLE).is_none() {
        variable(ROLE, "dashboard");
    }
    own_service(
        spec,
        plan.service_user.clone().unwrap_or_else(identity::own),
    )
}

/// The signal that asks the main program to stop is what Docker sends, unless it is told.
pub(super) fn main_program(main: MainProgram) -> Service {
    let mut spec = own_spec(main_process::NAME, Kind::Main, main.argv);
    spec.after = main.after;
    for (name, value) in main.env {
        spec.env.insert(
            name,
            EnvVar {
                value,
                origin: "herm".to_owned(),
            },
        );
    }
    own_service(spec, main.ids.unwrap_or_else(identity::own))
}

pub(crate) fn own_spec(name: &str, kind: Kind, argv: Vec<String>) -> ServiceSpec {
    ServiceSpec {
        name: name.to_owned(),
        kind,
        profile: None,
        argv,
        env: std::collections::BTreeMap::new(),
        unset_env: Vec::new(),
        cwd: None,
        user: None,
        oneshot: false,
        requires: Vec::new(),
        after: Vec::new(),
        readiness: ReadinessSpec::None,
        health: None::<HealthSpec>,
        restart: RestartSpec::default(),
        stop: StopSpec::default(),
        finish: None,
        log: LogSpec::default(),
        port: None,
        initial: Desired::Up,
        disabled: None,
    }
}

pub(crate) fn own_service(spec: ServiceSpec, ids: Ids) -> Service {
    Service {
        spec,
        ids,
        registrar: Registrar { uid: 0 },
        annotation: Annotation::default(),
        order: None,
        recorded: 0,
        scanned: None,
        survivors: Vec::new(),
        short_told: false,
        weight: 0,
    }
}
