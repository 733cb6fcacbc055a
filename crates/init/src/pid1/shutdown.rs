//! The end: services in order, then whoever is left, then the logs, then the exit code.

use std::time::Duration;

use herm_engine::{Exit, RunEnd, Time};
use herm_sys::signals::{self, Signal};
use herm_wire::{EventBody, Kind};

use super::known_set::signal_member;
use super::main_process;
use super::supervisor::{Helper, Supervisor};

/// How long killed stragglers are waited for.
const STRAGGLERS_WITHIN: Duration = Duration::from_secs(1);
/// How long the log daemon has to write what is left.
const LOGS_WITHIN: Duration = Duration::from_secs(1);

/// How far the end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Services stop.
    Services,
    /// Whoever is left was killed; until when they are waited for.
    Stragglers(Time),
    /// The log daemon writes what is left; until when.
    Logs(Time),
    /// Nothing is left to do.
    Over,
}

/// A shutdown that has begun.
#[derive(Debug)]
pub(crate) struct Shutdown {
    phase: Phase,
    /// The exit code asked for, or of what made it end.
    code: Option<u8>,
    began: Time,
}

impl Shutdown {
    /// The exit code asked for.
    pub(crate) fn code(&self) -> Option<u8> {
        self.code
    }
}

impl Supervisor {
    /// Goes on with a shutdown that had begun before re-execution.
    pub(crate) fn resume_shutdown(&mut self, code: Option<u8>) {
        if self.engine.is_shutting_down() {
            let began = self.clock().now;
            self.shutdown = Some(Shutdown {
                phase: Phase::Services,
                code,
                began,
            });
            self.engine.shutdown(began, self.settings.stop_budget);
            self.drain();
        }
    }

    /// Begins to stop everything. A second request can only give another exit code.
    pub(crate) fn begin_shutdown(&mut self, code: Option<u8>) {
        let now = self.clock().now;
        if let Some(shutdown) = &mut self.shutdown {
            shutdown.code = code.or(shutdown.code);
            return;
        }
        self.shutdown = Some(Shutdown {
            phase: Phase::Services,
            code,
            began: now,
        });
        self.publish(EventBody::ShuttingDown);
        self.kill_setup();
        self.close_pipes();
        let budget = self.settings.stop_budget;
        self.engine.shutdown(now, budget);
        self.drain();
    }

    /// Ends without any service having been started.
    pub(crate) fn give_up(&mut self, code: u8) {
        self.begin_shutdown(Some(code));
    }

    fn kill_setup(&self) {
        let setup = self
            .helpers
            .iter()
            .find(|(_, helper)| matches!(helper, Helper::Setup));
        if let Some(pid) = setup.and_then(|(pid, _)| herm_sys::Pid::from_raw(*pid)) {
            // It may have ended already, and is reaped next.
            let _ = signals::kill_group(pid, Signal::TERM);
        }
    }

    /// The engine is done with its services.
    pub(crate) fn services_are_down(&mut self, left: u32) {
        let now = self.clock().now;
        let Some(shutdown) = &mut self.shutdown else {
            return;
        };
        shutdown.phase = Phase::Stragglers(now + STRAGGLERS_WITHIN);
        let took = now.since(shutdown.began);
        if left > 0 {
            self.output
                .warn(&format!("{left} services did not end within the budget"));
        }
        self.output
            .debug(&format!("services are down after {took:?}"));
        self.kill_stragglers();
    }

    /// Kills everyone below us but the log daemon.
    fn kill_stragglers(&mut self) {
        self.sight.forget();
        let Ok(census) = self.sight.census() else {
            return;
        };
        let logd = self.logs.pid();
        for member in census.everyone().filter(|member| Some(member.pid) != logd) {
            let pid = member.pid.as_raw_pid();
            self.output
                .debug(&format!("killing {pid}, which no stop has reached"));
            if let Err(error) = signal_member(member, None, Signal::KILL) {
                self.output.warn(&format!("cannot kill {pid}: {error}"));
            }
        }
    }

    /// Goes on with the end when something of it is done or its time is over.
    pub(crate) fn advance_shutdown(&mut self, now: Time) {
        loop {
            let Some(shutdown) = &self.shutdown else {
                return;
            };
            let next = match shutdown.phase {
                Phase::Stragglers(until) if now >= until || self.is_alone() => {
                    self.finish_logs();
                    Phase::Logs(now + LOGS_WITHIN)
                }
                Phase::Logs(until) if now >= until || self.logs.is_finished() => Phase::Over,
                Phase::Services | Phase::Stragglers(_) | Phase::Logs(_) | Phase::Over => return,
            };
            if let Some(shutdown) = &mut self.shutdown {
                shutdown.phase = next;
            }
        }
    }

    /// Whether nobody but the log daemon is below us.
    fn is_alone(&self) -> bool {
        let logd = self.logs.pid().map(herm_sys::Pid::as_raw_pid);
        let ours = logd.into_iter().collect();
        super::known_set::strays(&ours).is_none_or(|others| others.is_empty())
    }

    /// When the end goes on by itself.
    pub(crate) fn shutdown_deadline(&self) -> Option<Time> {
        match self.shutdown.as_ref()?.phase {
            Phase::Stragglers(until) | Phase::Logs(until) => Some(until),
            Phase::Services | Phase::Over => None,
        }
    }

    /// The exit code, once everything is over.
    pub(crate) fn finished(&self) -> Option<u8> {
        let shutdown = self
            .shutdown
            .as_ref()
            .filter(|shutdown| shutdown.phase == Phase::Over)?;
        Some(shutdown.code.or_else(|| self.main_code()).unwrap_or(0))
    }

    /// The main program's exit code, as a container shows it.
    fn main_code(&self) -> Option<u8> {
        let id = self.services.id_of(main_process::NAME)?;
        if self.services.get(id)?.spec.kind != Kind::Main {
            return None;
        }
        let status = self.engine.status(self.clock().now, id)?;
        match status.last_exit?.end {
            RunEnd::Exited(exit) => Some(exit.shell_code()),
            // As shells do: 127 for a program that isn't there, 126 for one that can't be run.
            RunEnd::NotSpawned(failure) => {
                let missing = failure.errno == herm_sys::Errno::NOENT.raw_os_error();
                Some(if missing { 127 } else { 126 })
            }
        }
    }

    /// The main program's end is the container's.
    pub(crate) fn end_with_main(&mut self) {
        if self.shutdown.is_some() || !self.boot.is_over() {
            return;
        }
        let Some(id) = self.services.id_of(main_process::NAME) else {
            return;
        };
        let is_main = self
            .services
            .get(id)
            .is_some_and(|service| service.spec.kind == Kind::Main);
        let status = self.engine.status(self.clock().now, id);
        let ended = status
            .filter(|status| status.pid.is_none())
            .and_then(|status| status.last_exit);
        if let (true, Some(last)) = (is_main, ended) {
            let code = match last.end {
                RunEnd::Exited(Exit::Code(code)) => format!("exit {code}"),
                other => other.to_string(),
            };
            self.output.debug(&format!(
                "the main program ended ({code}); stopping everything"
            ));
            self.begin_shutdown(None);
        }
    }
}
