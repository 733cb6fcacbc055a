//! The image's services that are to be up before the main program: how long it waits for them, and
//! what their failure means (`s6.md` section 6.3).

use herm_engine::{RunEnd, ServiceId, StateName, Time};
use herm_wire::ReadinessSpec;

use super::main_process;
use super::supervisor::Supervisor;
use crate::s6_variables::{self, OnFailure};

/// s6-rc's code for a service that failed.
const FAILED: u8 = 1;
/// s6-rc's code where the time was over.
const TIMED_OUT: u8 = 2;

/// What the boot still waits for.
#[derive(Debug, Default)]
pub(crate) struct BootWait {
    /// Services that have neither come up nor failed.
    missing: Vec<String>,
    /// Nobody waits longer (`S6_CMD_WAIT_FOR_SERVICES_MAXTIME`).
    until: Option<Time>,
}

impl BootWait {
    /// When nobody waits any longer.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.until
    }
}

impl Supervisor {
    /// The services are about to be started.
    pub(crate) fn begin_to_wait(&mut self) {
        let limit = s6_variables::limit(&self.environment, "S6_CMD_WAIT_FOR_SERVICES_MAXTIME");
        let missing = self.boot.plan.services.clone();
        self.boot.wait = BootWait {
            until: limit
                .filter(|_| !missing.is_empty())
                .map(|limit| self.clock().now + limit),
            missing,
        };
    }

    /// A service has changed: the boot may have come nearer to its end, or can't come to it.
    pub(crate) fn note_for_boot(&mut self, id: ServiceId) {
        if self.boot.wait.missing.is_empty() || self.shutdown.is_some() {
            return;
        }
        let Some(service) = self.services.get(id) else {
            return;
        };
        let name = service.name();
        let Some(place) = self.boot.wait.missing.iter().position(|one| one == name) else {
            return;
        };
        let Some(status) = self.engine.status(self.clock().now, id) else {
            return;
        };
        // What says nothing of itself was up once it was executed, however it ended.
        let has_run =
            matches!(&status.last_exit, Some(last) if matches!(last.end, RunEnd::Exited(_)));
        let was_up = status.ready || has_run && service.spec.readiness == ReadinessSpec::None;
        let has_failed = matches!(
            status.state,
            StateName::Backoff | StateName::Parked | StateName::Failed
        );
        if was_up || has_failed {
            let name = self.boot.wait.missing.swap_remove(place);
            if has_failed && !was_up && OnFailure::of(&self.environment) == OnFailure::Stop {
                self.output.error(&format!(
                    "{name} did not come up ({}), and S6_BEHAVIOUR_IF_STAGE2_FAILS is 2: stopping",
                    status.reason
                ));
                self.begin_shutdown(Some(FAILED));
            }
        }
    }

    /// Waits no longer, if it is time.
    pub(crate) fn end_boot_wait(&mut self, now: Time) {
        if self.boot.wait.until.is_none_or(|until| until > now) {
            return;
        }
        let missing = std::mem::take(&mut self.boot.wait).missing;
        if missing.is_empty() || self.shutdown.is_some() {
            return;
        }
        let names = missing.join(", ");
        let why = format!("{names}: not up within S6_CMD_WAIT_FOR_SERVICES_MAXTIME");
        if OnFailure::of(&self.environment) == OnFailure::Stop {
            self.output.error(&format!("{why}: stopping"));
            return self.begin_shutdown(Some(TIMED_OUT));
        }
        self.output
            .warn(&format!("{why}; the main program starts without"));
        let Some(id) = self.services.id_of(main_process::NAME) else {
            return;
        };
        let Some(main) = self.services.get_mut(id) else {
            return;
        };
        main.spec.after.retain(|name| !missing.contains(name));
        if let Ok(spec) = super::convert::spec_of_service(main)
            && let Err(error) = self.engine.update(now, id, spec)
        {
            self.output.warn(&format!("the main program: {error}"));
        }
        self.record_service(id);
        self.drain();
    }
}
