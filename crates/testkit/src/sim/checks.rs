//! The checkers: what must be so after every step, judged by what really is.
//!
//! They know the design's invariants and nothing of how the engine keeps them.

use std::collections::BTreeMap;
use std::time::Duration;

use herm_engine::{
    Action, Engine, Next, Reason, Role, Spec, StateName, Status, Target, Time, Want, signal,
};

use super::LATE_MAX;
use crate::kernel::{Kernel, Process};

/// After the last KILL everything killable is gone within this long; reports are late.
const SLACK: Duration = Duration::from_secs(2);

/// What the checkers remember.
#[derive(Debug, Default)]
pub(super) struct Checks {
    /// Services that were ordered down, and the graces that had been promised before that.
    down: BTreeMap<String, Down>,
    shutdown: Option<Shutdown>,
}

#[derive(Debug)]
struct Down {
    /// Everything of it has to be gone by then, if it can be killed. Known at the first look.
    by: Option<Time>,
    since: Time,
    /// The longest stop timeout it had while one may have been running.
    promised: Duration,
}

#[derive(Debug)]
struct Shutdown {
    since: Time,
    by: Time,
    done: Option<u32>,
    /// Services that were on their way down before.
    were_stopping: Vec<String>,
}

impl Checks {
    /// The operator gave an order: is the service wanted down by it?
    pub(super) fn ordered(&mut self, now: Time, name: &str, down: bool) {
        if down {
            let fresh = Down {
                by: None,
                since: now,
                promised: Duration::ZERO,
            };
            self.down.entry(name.into()).or_insert(fresh);
        } else {
            self.down.remove(name);
        }
    }

    /// A description was replaced: a stop under the old one may be under way.
    pub(super) fn updated(&mut self, name: &str, old: &Spec) {
        if let Some(down) = self.down.get_mut(name) {
            down.promised = down.promised.max(stop_timeout(old));
            down.by = None;
        }
    }

    /// Time passed in which nobody could do anything.
    pub(super) fn excuse(&mut self, span: Duration) {
        for down in self.down.values_mut() {
            down.since = down.since + span;
            down.by = down.by.map(|by| by + span);
        }
        if let Some(shutdown) = &mut self.shutdown {
            shutdown.by = shutdown.by + span;
        }
    }

    pub(super) fn shutdown(
        &mut self,
        now: Time,
        budget: Duration,
        engine: &Engine,
        kernel: &Kernel,
    ) {
        let statuses = engine.services().filter_map(|id| engine.status(now, id));
        let stopping =
            statuses.filter(|status| status.state == StateName::Stopping || !lives(kernel, status));
        let were_stopping = stopping.map(|status| status.name).collect();
        self.shutdown = Some(Shutdown {
            since: now,
            by: now + budget,
            done: None,
            were_stopping,
        });
    }

    /// What an action must not be.
    pub(super) fn before_action(
        &mut self,
        now: Time,
        action: &Action,
        engine: &Engine,
        kernel: &Kernel,
        specs: &[Spec],
    ) {
        match action {
            Action::Spawn { id, role, .. } => {
                let name = engine.status(now, *id).expect("the service it is for").name;
                for process in kernel.processes.values().filter(|process| process.lives()) {
                    assert_ne!(
                        process.owner, name,
                        "{name}: {role:?} starts while {process:?} lives"
                    );
                }
                assert!(
                    self.shutdown.is_none() || *role != Role::Main,
                    "{name} starts in a shutdown"
                );
            }
            Action::Signal {
                id,
                target: Target::Main,
                signal: signal::TERM,
                cont: true,
                ..
            } => {
                self.is_in_order(now, *id, engine, kernel, specs);
            }
            Action::Removed { id } => {
                // Who lives, lives for a service that still exists.
                let homeless = kernel
                    .processes
                    .values()
                    .find(|process| process.lives() && engine.find(&process.owner).is_none());
                assert!(homeless.is_none(), "{id} removed while {homeless:?} lives");
            }
            Action::ShutdownDone { left } => {
                let shutdown = self.shutdown.as_mut().expect("a shutdown was ordered");
                // A successor of PID 1 hears of it again.
                assert!(
                    now <= shutdown.by || shutdown.done.is_some(),
                    "the shutdown ends {now}, after {}",
                    shutdown.by
                );
                let alive = kernel
                    .processes
                    .values()
                    .filter(|process| process.lives())
                    .count();
                assert!(
                    *left > 0 || alive == 0,
                    "the shutdown ends with {alive} runs alive"
                );
                shutdown.done = Some(*left);
            }
            Action::Signal { .. }
            | Action::Probe { .. }
            | Action::Changed { .. }
            | Action::Overran { .. }
            | Action::Unkillable { .. } => {}
        }
    }

    /// At the instant a shutdown begins nobody is stopped on whom others still depend.
    fn is_in_order(
        &self,
        now: Time,
        id: herm_engine::ServiceId,
        engine: &Engine,
        kernel: &Kernel,
        specs: &[Spec],
    ) {
        let Some(shutdown) = self
            .shutdown
            .as_ref()
            .filter(|shutdown| shutdown.since == now)
        else {
            return;
        };
        let name = engine.status(now, id).expect("the service it is for").name;
        for spec in specs.iter().filter(|spec| {
            (spec.requires.contains(&name) || spec.after.contains(&name))
                && !shutdown.were_stopping.contains(&spec.name)
        }) {
            let id = engine.find(&spec.name).expect("a known service");
            let status = engine.status(now, id).expect("a known service");
            assert!(
                !lives(kernel, &status),
                "{name} stops before {}, which needs it",
                spec.name
            );
        }
    }

    /// What must be so after every input.
    pub(super) fn after_input(&mut self, now: Time, engine: &Engine, kernel: &Kernel) {
        if let Some(next) = engine.next_deadline() {
            assert!(
                next > now,
                "something due at {next} was left undone at {now}"
            );
        }
        let mut mains: BTreeMap<String, u32> = BTreeMap::new();
        for process in kernel.processes.values() {
            if process.main_lives() && process.role == Role::Main {
                *mains.entry(process.owner.clone()).or_default() += 1;
            }
        }
        assert!(
            mains.values().all(|count| *count == 1),
            "two main processes: {mains:?}"
        );
        for id in engine.services() {
            let status = engine.status(now, id).expect("a registered service");
            Self::is_truthful(now, &status, kernel);
            self.goes_down(now, &status, engine, kernel);
            Self::goes_up(now, &status, engine);
        }
        if let Some(shutdown) = &self.shutdown {
            let over = shutdown.done.is_some() || now < shutdown.by;
            assert!(over, "the shutdown should have ended {}", shutdown.by);
        }
    }

    /// Status never lies.
    fn is_truthful(now: Time, status: &Status, kernel: &Kernel) {
        assert!(status.since <= now, "{status:?} is of the future");
        if let Some(pid) = status.pid {
            let run = status.run.expect("a process belongs to a run");
            let process = &kernel.processes[&run];
            assert_eq!(process.pid, pid, "{status:?}");
            assert!(process.executed, "{status:?}");
        }
        if status.state == StateName::Running && status.reason != Reason::Done {
            assert!(status.ready && status.pid.is_some(), "{status:?}");
        }
        if matches!(status.state, StateName::Down | StateName::Disabled) {
            assert!(
                !lives(kernel, status),
                "{status:?}, but something of it lives"
            );
            let meant = status.want != Want::Up || status.removing;
            assert!(meant || status.reason == Reason::ShutDown, "{status:?}");
        }
    }

    /// What is wanted down goes down.
    fn goes_down(&mut self, now: Time, status: &Status, engine: &Engine, kernel: &Kernel) {
        let Some(down) = self.down.get_mut(&status.name) else {
            return;
        };
        let spec = engine.spec(status.id).expect("a registered service");
        let promised = down.promised.max(stop_timeout(spec));
        let since = down.since;
        let by = *down
            .by
            .get_or_insert(since + promised + SLACK + LATE_MAX * 8);
        if now <= by || status.reason == Reason::Unkillable {
            return;
        }
        let at_rest = matches!(
            status.state,
            StateName::Down | StateName::Disabled | StateName::Parked | StateName::Failed
        );
        let unkillable = runs(kernel, status).any(Process::is_unkillable);
        assert!(
            at_rest || unkillable,
            "should be down since {by}, at {now}: {status:?}"
        );
    }

    /// What is wanted up runs, waits for something that can be named, or has a deadline.
    fn goes_up(now: Time, status: &Status, engine: &Engine) {
        if status.want != Want::Up || status.removing || engine.is_shutting_down() {
            return;
        }
        let has_prospect = match status.state {
            StateName::Running | StateName::Parked | StateName::Failed => true,
            StateName::Stopping => status.run.is_some(),
            StateName::Starting => match &status.reason {
                Reason::WaitsFor { name, .. } => engine
                    .find(name)
                    .and_then(|id| engine.status(now, id))
                    .is_none_or(|before| !before.ready),
                _ => status.run.is_some(),
            },
            StateName::Backoff => matches!(
                status.next,
                Some(Next::Start(at)) if now < at && at <= now + Duration::from_secs(60)
            ),
            StateName::Down | StateName::Disabled => false,
        };
        assert!(has_prospect, "wanted up, without a prospect: {status:?}");
    }

    /// A re-execution changes nothing that anybody could see.
    pub(super) fn restored(now: Time, old: &[Status], engine: &Engine) {
        for old in old {
            let new = engine.find(&old.name).and_then(|id| engine.status(now, id));
            let Some(new) = new else {
                assert!(old.removing && old.run.is_none(), "{} got lost", old.name);
                continue;
            };
            // What was due in the same instant may have happened meanwhile.
            if old.run.is_some() && old.state == new.state {
                assert_eq!((old.run, old.pid), (new.run, new.pid), "{}", old.name);
                assert_eq!(old.last_exit, new.last_exit, "{}", old.name);
            }
            assert_eq!(
                (old.want, old.removing),
                (new.want, new.removing),
                "{}",
                old.name
            );
        }
    }

    pub(super) fn shutdown_is_done(&self) {
        let shutdown = self.shutdown.as_ref().expect("a shutdown was ordered");
        assert!(shutdown.done.is_some(), "the shutdown never ended");
    }

    /// In a world of good citizens everything that is wanted is up, after a while.
    pub(super) fn at_rest(&mut self, now: Time, engine: &Engine, kernel: &Kernel) {
        self.after_input(now, engine, kernel);
        let known = engine.runs();
        for (run, process) in &kernel.processes {
            let lives = process.lives();
            let is_known = known.iter().any(|(_, known, _, _)| known == run);
            assert_eq!(lives, is_known, "run {run}, {process:?}");
        }
        for id in engine.services() {
            let status = engine.status(now, id).expect("a registered service");
            if status.want != Want::Up {
                continue;
            }
            let excused = match &status.reason {
                Reason::WaitsFor { name, .. } => !is_coming(now, name, engine),
                Reason::Permanent(_) | Reason::FinishSaidNo(_) | Reason::TooManyFailures { .. } => {
                    true
                }
                _ => status.ready,
            };
            assert!(excused, "not up in peace: {status:?}");
        }
    }
}

/// Whether a service will become ready by itself, some time.
fn is_coming(now: Time, name: &str, engine: &Engine) -> bool {
    let status = engine.find(name).and_then(|id| engine.status(now, id));
    status.is_some_and(|status| match &status.reason {
        Reason::WaitsFor { name, .. } => is_coming(now, name, engine),
        _ => {
            status.want == Want::Up
                && !matches!(status.state, StateName::Parked | StateName::Failed)
        }
    })
}

/// What a service has to be given until nothing of it lives: its grace, its finish script's time,
/// a second each for what KILL takes.
fn stop_timeout(spec: &Spec) -> Duration {
    let finish = spec.finish.map_or(Duration::ZERO, |finish| {
        finish.timeout + Duration::from_secs(1)
    });
    spec.stop.grace + Duration::from_secs(1) + finish
}

fn runs<'a>(kernel: &'a Kernel, status: &'a Status) -> impl Iterator<Item = &'a Process> {
    kernel
        .processes
        .values()
        .filter(|process| process.owner == status.name)
}

fn lives(kernel: &Kernel, status: &Status) -> bool {
    runs(kernel, status).any(Process::lives)
}
