//! Readiness and health probes: short-lived processes that PID 1 starts, times and reaps.

use std::time::Duration;

use herm_engine::{Check, Event, ProbeId, RunId, ServiceId, SortedMap, Time};
use herm_sys::Pid;
use herm_sys::signals::{self, Signal};
use herm_sys::spawn::Capabilities;
use herm_wire::{Probe, ReadinessSpec, ServiceSpec};

use super::launch::{self, Common};
use super::supervisor::{Helper, Supervisor};

/// A probe that runs.
#[derive(Clone, Copy, Debug)]
struct Running {
    run: RunId,
    probe: ProbeId,
    deadline: Time,
}

/// The probes and other helpers with a deadline, by process id.
#[derive(Debug, Default)]
pub(crate) struct Probes {
    running: SortedMap<i32, Running>,
}

impl Supervisor {
    /// Starts a probe of a service.
    pub(crate) fn probe(
        &mut self,
        id: ServiceId,
        run: RunId,
        probe: ProbeId,
        check: Check,
        timeout: Duration,
    ) {
        let started = self.try_probe(id, check, timeout);
        match started {
            Ok(pid) => {
                let deadline = self.clock().now + timeout;
                self.probes.running.insert(
                    pid.as_raw_pid(),
                    Running {
                        run,
                        probe,
                        deadline,
                    },
                );
            }
            Err(why) => {
                let name = self.name_of(id);
                self.output
                    .warn(&format!("{name}: cannot be probed: {why}"));
                self.events.push_back(Event::ProbeDone {
                    run,
                    probe,
                    ok: false,
                });
            }
        }
    }

    fn try_probe(&mut self, id: ServiceId, check: Check, timeout: Duration) -> Result<Pid, String> {
        let service = self.services.get(id).ok_or("there is no such service")?;
        let probe = probe_of(&service.spec, check).ok_or("it has no such probe")?;
        let argv = self.probe_command(probe, timeout);
        let own = self.own_environment(service, None);
        let roots_path = self.boot.roots_path();
        let env = launch::explained(&self.environment, roots_path, service, &own);
        let common = Common {
            environment: &self.environment,
            roots_path,
            open_files: self.open_files,
        };
        let mut launch = launch::of_program(&argv, &env, &common)?;
        launch.identity = Some(launch::identity(&service.ids));
        launch.no_new_privs = true;
        if service.ids.uid != 0 {
            launch.capabilities = Capabilities::DropAll;
        }
        launch.cwd = Some(c"/".into());
        self.spawn_helper(launch, Helper::Probe)
    }

    fn probe_command(&self, probe: &Probe, timeout: Duration) -> Vec<String> {
        let herm = |kind: &str, what: &str| {
            let limit = timeout.as_millis().to_string();
            vec![
                self.boot.herm.clone(),
                "probe".to_owned(),
                kind.to_owned(),
                what.to_owned(),
                "--timeout-ms".to_owned(),
                limit,
            ]
        };
        match probe {
            Probe::Tcp { address } => herm("tcp", address),
            Probe::Http { url } => herm("http", url),
            Probe::Command { argv } => argv.clone(),
        }
    }

    /// A probe's process has ended.
    pub(crate) fn probe_ended(&mut self, pid: Pid, ok: bool) {
        if let Some(running) = self.probes.running.remove(&pid.as_raw_pid()) {
            let Running { run, probe, .. } = running;
            self.events.push_back(Event::ProbeDone { run, probe, ok });
        }
    }

    /// When the next helper has had its time.
    pub(crate) fn helper_deadline(&self) -> Option<Time> {
        let probes = self
            .probes
            .running
            .values()
            .map(|running| running.deadline)
            .min();
        [probes, self.cookies.deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Ends helpers that have had their time; what they found counts as nothing.
    pub(crate) fn check_helpers(&mut self, now: Time) {
        for (pid, running) in self.probes.running.iter_mut() {
            if running.deadline <= now {
                kill_group(*pid);
                // Killed once; its death is the event.
                running.deadline = Time::MAX;
            }
        }
        if let Some(pid) = self.cookies.overdue(now) {
            kill_group(pid);
        }
    }
}

/// Kills a helper with what it may have started: it leads a session of its own.
fn kill_group(pid: i32) {
    if let Some(pid) = Pid::from_raw(pid) {
        // It may be gone already.
        let _ = signals::kill_group(pid, Signal::KILL);
        let _ = signals::kill(pid, Signal::KILL);
    }
}

fn probe_of(spec: &ServiceSpec, check: Check) -> Option<&Probe> {
    match (check, &spec.readiness, &spec.health) {
        (Check::Readiness, ReadinessSpec::Probe { probe, .. }, _) => Some(probe),
        (Check::Health, _, Some(health)) => Some(&health.probe),
        (Check::Readiness | Check::Health, _, _) => None,
    }
}
