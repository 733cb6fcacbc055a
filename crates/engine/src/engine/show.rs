//! Looking at services without touching them.

use alloc::vec::Vec;

use super::Engine;
use crate::model::{HealthStatus, Reason, Role, RunEnd, RunId, ServiceId, Spec, Status, Want};
use crate::service::phase::{BackoffWhy, DownWhy, FinishStage, ParkWhy, Phase};
use crate::service::watch::{Stage, Watch};
use crate::service::{Service, Standing};
use crate::time::Time;

impl Engine {
    /// Everything there is to say about a service at `now`.
    pub fn status(&self, now: Time, id: ServiceId) -> Option<Status> {
        let service = self.registry.get(id)?;
        let up = service.phase.up();
        let finish_pid = if let Phase::Finishing {
            stage: FinishStage::Running { pid },
            ..
        } = &service.phase
        {
            Some(*pid)
        } else {
            None
        };
        Some(Status {
            id,
            name: service.spec.name.clone(),
            kind: service.spec.kind,
            want: service.want,
            removing: service.removing,
            state: service.phase.name(service.want == Want::Disabled),
            reason: self.reason(service),
            next: service.phase.next(),
            since: service.shown.1,
            run: service.phase.main_run(),
            pid: up.map(|up| up.pid),
            finish_pid,
            uptime: up.map(|up| now.since(up.since)),
            ready: service.current_standing() == Standing::Up,
            health: health(&service.phase),
            restarts: service.restarts,
            failures: service.tally.failures,
            last_exit: service.last_exit.clone(),
        })
    }

    /// A service's description.
    pub fn spec(&self, id: ServiceId) -> Option<&Spec> {
        self.registry.get(id).map(|service| &service.spec)
    }

    /// The service of this name.
    pub fn find(&self, name: &str) -> Option<ServiceId> {
        self.registry.find(name).map(|service| service.id)
    }

    /// All services, in the order of their names.
    pub fn services(&self) -> impl Iterator<Item = ServiceId> + '_ {
        self.registry.iter().map(|service| service.id)
    }

    /// How many services are registered.
    pub fn len(&self) -> usize {
        self.registry.len()
    }

    /// Whether no service is registered.
    pub fn is_empty(&self) -> bool {
        self.registry.len() == 0
    }

    /// Whether a shutdown was ordered.
    pub const fn is_shutting_down(&self) -> bool {
        self.shutdown.is_some()
    }

    /// The service a run belongs to, until nothing of the run lives.
    pub fn service_of(&self, run: RunId) -> Option<ServiceId> {
        let slot = self.out.runs.get(&run)?;
        self.registry.at(*slot).map(|service| service.id)
    }

    /// Every run that is not over: whose it is, what for, and its process while that is known to
    /// live.
    pub fn runs(&self) -> Vec<(ServiceId, RunId, Role, Option<u32>)> {
        let run = |(run, slot): (&RunId, &u32)| {
            let service = self.registry.at(*slot)?;
            let Phase::Finishing { ended, stage, .. } = &service.phase else {
                let pid = service.phase.up().map(|up| up.pid);
                return Some((service.id, *run, Role::Main, pid));
            };
            let role = Role::Finish {
                of: ended.run,
                exit: ended.exit,
                pid: ended.pid,
            };
            let pid = match stage {
                FinishStage::Running { pid } => Some(*pid),
                FinishStage::Spawning | FinishStage::Draining => None,
            };
            Some((service.id, *run, role, pid))
        };
        self.out.runs.iter().filter_map(run).collect()
    }

    fn reason(&self, service: &Service) -> Reason {
        match &service.phase {
            Phase::Down(_) if service.want == Want::Disabled => Reason::SwitchedOff,
            Phase::Down(why) => match why {
                DownWhy::NeverStarted => Reason::NeverStarted,
                DownWhy::Stopped => Reason::Stopped,
                DownWhy::RanOnce(end) => Reason::RanOnce(end.clone()),
                DownWhy::Shutdown => Reason::ShutDown,
            },
            Phase::Waiting { .. } => match self.blocker(service) {
                Some((name, state)) => Reason::WaitsFor { name, state },
                None => Reason::Executing,
            },
            Phase::Backoff {
                why: BackoffWhy::Failed { failure, failures },
                ..
            } => Reason::Failed {
                failure: failure.clone(),
                failures: *failures,
            },
            Phase::Backoff {
                why: BackoffWhy::Woken,
                ..
            } => Reason::Woken,
            Phase::Parked {
                why: ParkWhy::Permanent(exit),
                ..
            } => Reason::Permanent(*exit),
            Phase::Parked {
                why: ParkWhy::FinishSaidNo(end),
                ..
            } => Reason::FinishSaidNo(end.clone()),
            Phase::Failed {
                failure,
                failures,
                within,
            } => Reason::TooManyFailures {
                failure: failure.clone(),
                failures: *failures,
                within: *within,
            },
            Phase::Done => Reason::Done,
            Phase::Spawning { .. } => Reason::Executing,
            Phase::Running { stage, .. } => running(stage),
            Phase::Stopping { steps, .. }
            | Phase::Draining { steps, .. }
            | Phase::Finishing { steps, .. }
                if steps.is_unkillable() =>
            {
                Reason::Unkillable
            }
            Phase::Stopping { cause, .. } => Reason::Stopping(*cause),
            Phase::Draining { ended, .. } => Reason::Survivors(RunEnd::Exited(ended.exit)),
            Phase::Finishing { ended, .. } => Reason::Finishing(RunEnd::Exited(ended.exit)),
        }
    }
}

fn running(stage: &Stage) -> Reason {
    match stage {
        Stage::Settling { .. } | Stage::Notifying { .. } | Stage::Probing { .. } => {
            Reason::NotReadyYet
        }
        Stage::Working { .. } => Reason::AtWork,
        Stage::Ready { health } => match health.as_ref().map(Watch::status) {
            Some(HealthStatus::Unhealthy { failures }) => Reason::Unhealthy { failures },
            Some(HealthStatus::Unknown | HealthStatus::Healthy) | None => Reason::Ready,
        },
    }
}

fn health(phase: &Phase) -> Option<HealthStatus> {
    let Phase::Running {
        stage: Stage::Ready { health },
        ..
    } = phase
    else {
        return None;
    };
    health.as_ref().map(Watch::status)
}
