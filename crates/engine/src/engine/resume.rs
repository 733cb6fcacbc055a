//! Taking over the state of a former engine.

use super::{Engine, RegisterError};
use crate::model::{Action, RunId, ServiceId, Target, signal};
use crate::service::Service;
use crate::service::phase::{FinishStage, Phase};
use crate::time::Time;

impl Engine {
    pub(crate) fn service(&self, id: ServiceId) -> Option<&Service> {
        self.registry.get(id)
    }

    pub(crate) const fn next_run(&self) -> u64 {
        self.out.next_run
    }

    pub(crate) const fn set_next_run(&mut self, number: u64) {
        self.out.next_run = number;
    }

    /// When the shutdown in progress has to be over.
    pub(crate) fn shutdown_end(&self) -> Option<Time> {
        self.shutdown.as_ref().map(|shutdown| shutdown.end)
    }

    /// Takes in a service in the middle of its life.
    pub(crate) fn adopt(&mut self, mut service: Service) -> Result<(), RegisterError> {
        self.admit(&service.spec)?;
        let (spec, want, since) = (service.spec.clone(), service.want, service.shown.1);
        let id = self.registry.insert(since, spec, want);
        service.id = id;
        if let Some(run) = service.phase.live_run() {
            self.out.runs.insert(run, id.slot);
        }
        if let Some(run) = service.phase.draining_run() {
            // The report that nobody is left may have been lost: it is asked for again.
            let (target, signal) = (Target::Set, signal::TERM);
            let action = Action::Signal {
                id,
                run,
                target,
                signal,
                cont: true,
            };
            self.out.actions.push_back(action);
        }
        if let Some(entry) = self.registry.at_mut(id.slot) {
            *entry = service;
        }
        Ok(())
    }

    /// Goes on with everything that was adopted.
    pub(crate) fn resume(&mut self, now: Time, shutdown_end: Option<Time>) {
        let slots: alloc::vec::Vec<u32> = self
            .registry
            .iter()
            .map(|service| service.id.slot)
            .collect();
        if let Some(end) = shutdown_end {
            self.plan_shutdown(now, end.max(now));
        }
        for slot in slots {
            self.mark_changed(slot);
            self.look_at(slot);
        }
        self.converge(now);
    }
}

impl Phase {
    /// The run that may have processes, main or finish.
    pub(crate) const fn live_run(&self) -> Option<RunId> {
        match self {
            Self::Finishing { run, .. } => Some(*run),
            Self::Spawning { .. }
            | Self::Running { .. }
            | Self::Stopping { .. }
            | Self::Draining { .. }
            | Self::Down(_)
            | Self::Waiting { .. }
            | Self::Backoff { .. }
            | Self::Parked { .. }
            | Self::Failed { .. }
            | Self::Done => self.main_run(),
        }
    }

    /// The run whose process is gone but maybe not all of its set.
    const fn draining_run(&self) -> Option<RunId> {
        match self {
            Self::Draining { ended, .. } => Some(ended.run),
            Self::Finishing {
                run,
                stage: FinishStage::Draining,
                ..
            } => Some(*run),
            Self::Finishing { .. }
            | Self::Spawning { .. }
            | Self::Running { .. }
            | Self::Stopping { .. }
            | Self::Down(_)
            | Self::Waiting { .. }
            | Self::Backoff { .. }
            | Self::Parked { .. }
            | Self::Failed { .. }
            | Self::Done => None,
        }
    }
}
