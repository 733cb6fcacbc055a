//! The end: services in order, then whoever is left, then the logs, then the exit code.

use std::path::Path;
use std::time::Duration;

use herm_engine::{Exit, RunEnd, StateName, Time};
use herm_sys::fs_at::Dir;
use herm_sys::signals::{self, Signal};
use herm_wire::{EventBody, Kind};

use super::catch_all::CatchAll;
use super::convert::spec_of_service;
use super::known_set::signal_member;
use super::main_process;
use super::supervisor::{Helper, Supervisor};
use crate::setup::finish;

/// The part of the budget that is kept for the image's own scripts, where it has some: one in this many.
const SCRIPTS_SHARE: u32 = 4;
/// What runs the scripts ends them itself in time; if it doesn't, this much later it is killed.
const SCRIPTS_OVERRUN: Duration = Duration::from_millis(500);
/// Names in a message of who is still stopping.
const NAMES_TOLD: usize = 10;
/// How long killed stragglers are waited for.
const STRAGGLERS_WITHIN: Duration = Duration::from_secs(1);
/// How long the log daemon has to write what is left.
const LOGS_WITHIN: Duration = Duration::from_secs(1);

/// How far the end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Services stop; when it is told who is not down yet.
    Services(Time),
    /// The image's scripts run; until when.
    Scripts(Time),
    /// Whoever is left was killed; until when they are waited for.
    Stragglers(Time),
    /// The log daemon writes what is left; until when.
    Logs(Time),
    /// The catch-all logger does; until when.
    CatchAll(Time),
    /// Nothing is left to do.
    Over,
}

/// Where s6-overlay's scripts leave the container's exit code.
const RESULTS: &str = "/run/s6-linux-init-container-results";
/// More than any number takes.
const RESULT_BYTES_MAX: u64 = 64;

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
                phase: Phase::Services(began + self.settings.stop_budget / 2),
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
        let budget = self.settings.stop_budget;
        self.shutdown = Some(Shutdown {
            phase: Phase::Services(now + budget / 2),
            code,
            began: now,
        });
        self.publish(EventBody::ShuttingDown);
        self.kill_setup();
        self.close_pipes();
        self.shorten_graces(now);
        // Scripts that come after the services need some of the time, too.
        let reserved = if self.has_finish_scripts() {
            budget / SCRIPTS_SHARE
        } else {
            Duration::ZERO
        };
        self.engine.shutdown(now, budget.saturating_sub(reserved));
        self.drain();
    }

    /// Services of `services.d` have a grace of their own where everything ends
    /// (`S6_SERVICES_GRACETIME`), and none where they are only told to go down.
    fn shorten_graces(&mut self, now: Time) {
        let mut short = Vec::new();
        for (id, service) in self.services.iter() {
            let scanned = service.scanned.as_ref();
            let scanned = scanned.filter(|scanned| scanned.kill_ms.is_none());
            let grace = scanned.and_then(|scanned| scanned.shutdown_ms);
            let spec = spec_of_service(service).ok();
            if let (Some(millis), Some(mut spec)) = (grace, spec) {
                spec.stop.grace = Duration::from_millis(millis);
                short.push((id, spec));
            }
        }
        for (id, spec) in short {
            // It can only be that the service is gone by now.
            let _ = self.engine.update(now, id, spec);
        }
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
        let began = shutdown.began;
        let took = now.since(began);
        if left > 0 {
            self.output
                .warn(&format!("{left} services did not end within the budget"));
        }
        self.output
            .debug(&format!("services are down after {took:?}"));
        let until = began + self.settings.stop_budget;
        if self.has_finish_scripts() && self.start_finish(now, until) {
            return;
        }
        self.end_stragglers(now);
    }

    /// Whether the image has scripts for the end, and they are ours to run: what was never up is not
    /// taken down, and only a container's own supervisor does it.
    fn has_finish_scripts(&self) -> bool {
        self.boot.is_over()
            && self.speaks_for_the_container()
            && finish::is_needed(&self.environment)
    }

    fn start_finish(&mut self, now: Time, until: Time) -> bool {
        let budget = until.since(now);
        let argv = [finish::ARGV0.to_owned(), budget.as_millis().to_string()];
        let started = self.own_program(&argv).and_then(|mut launch| {
            super::logs::give_stdout(&mut launch)?;
            self.spawn_helper(launch, Helper::Finish)
        });
        if let Err(why) = &started {
            self.output
                .warn(&format!("cannot run {}: {why}", finish::NAME));
        } else if let Some(shutdown) = &mut self.shutdown {
            self.output.info(&format!("running {}", finish::NAME));
            shutdown.phase = Phase::Scripts(until + SCRIPTS_OVERRUN);
        }
        started.is_ok()
    }

    /// The scripts are done, or what ran them is dead.
    pub(crate) fn finish_ended(&mut self, done: bool, why: &str) {
        if !done {
            self.output
                .warn(&format!("{}: not all of it was run: {why}", finish::NAME));
        }
        let shutdown = self.shutdown.as_ref();
        if shutdown.is_some_and(|shutdown| matches!(shutdown.phase, Phase::Scripts(_))) {
            self.end_stragglers(self.clock().now);
        }
    }

    fn end_stragglers(&mut self, now: Time) {
        if let Some(shutdown) = &mut self.shutdown {
            shutdown.phase = Phase::Stragglers(now + STRAGGLERS_WITHIN);
        }
        self.kill_stragglers();
    }

    /// Names who is not down yet when half of the budget is gone.
    fn tell_who_drains(&mut self, now: Time) {
        let mut names = Vec::new();
        for (id, service) in self.services.iter() {
            let status = self.engine.status(now, id);
            if status.is_some_and(|status| status.state == StateName::Stopping) {
                names.push(service.name());
            }
        }
        let count = names.len();
        names.truncate(NAMES_TOLD);
        let names = names.join(", ");
        if count > 0 {
            self.output
                .info(&format!("still stopping: {count} ({names})"));
        }
    }

    /// Kills everyone below us but the log daemon.
    fn kill_stragglers(&mut self) {
        // Nearly always there is nobody, and then there is no need to look at every process there is.
        if self.others().is_some_and(|others| others.is_empty()) {
            return;
        }
        self.sight.forget();
        let Ok(census) = self.sight.census() else {
            return;
        };
        let spared = self.loggers();
        for member in census.everyone() {
            if spared.contains(&member.pid) {
                continue;
            }
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
                    if now >= until {
                        self.output.warn("somebody still lives who was killed");
                    }
                    self.finish_logs();
                    Phase::Logs(now + LOGS_WITHIN)
                }
                Phase::Logs(until) if now >= until || self.logs.is_finished() => {
                    if now >= until {
                        self.output
                            .warn("the log daemon has not written everything in time");
                    }
                    self.finish_catch_all();
                    Phase::CatchAll(now + LOGS_WITHIN)
                }
                Phase::CatchAll(until) if now >= until || self.is_catch_all_finished() => {
                    Phase::Over
                }
                Phase::Services(tell) if now >= tell => {
                    self.tell_who_drains(now);
                    Phase::Services(Time::MAX)
                }
                Phase::Scripts(until) if now >= until => {
                    self.output
                        .warn(&format!("{}: its budget is spent", finish::NAME));
                    self.kill_stragglers();
                    Phase::Stragglers(now + STRAGGLERS_WITHIN)
                }
                Phase::Services(_)
                | Phase::Scripts(_)
                | Phase::Stragglers(_)
                | Phase::Logs(_)
                | Phase::CatchAll(_)
                | Phase::Over => return,
            };
            if let Some(shutdown) = &mut self.shutdown {
                shutdown.phase = next;
            }
        }
    }

    /// Those who write down what the others leave.
    fn loggers(&self) -> Vec<herm_sys::Pid> {
        let catch_all = self.catch_all.as_ref().and_then(CatchAll::pid);
        self.logs.pid().into_iter().chain(catch_all).collect()
    }

    /// Whether nobody but the loggers is below us.
    fn is_alone(&self) -> bool {
        self.others().is_none_or(|others| others.is_empty())
    }

    /// Our children but for the loggers; `None` where the kernel doesn't list them.
    fn others(&self) -> Option<Vec<herm_sys::Pid>> {
        let ours = self
            .loggers()
            .into_iter()
            .map(herm_sys::Pid::as_raw_pid)
            .collect();
        super::known_set::strays(&ours)
    }

    /// When the end goes on by itself.
    pub(crate) fn shutdown_deadline(&self) -> Option<Time> {
        match self.shutdown.as_ref()?.phase {
            Phase::Services(until)
            | Phase::Scripts(until)
            | Phase::Stragglers(until)
            | Phase::Logs(until)
            | Phase::CatchAll(until) => Some(until).filter(|until| *until < Time::MAX),
            Phase::Over => None,
        }
    }

    /// The exit code, once everything is over.
    pub(crate) fn finished(&self) -> Option<u8> {
        let shutdown = self
            .shutdown
            .as_ref()
            .filter(|shutdown| shutdown.phase == Phase::Over)?;
        let code = shutdown.code.or_else(|| self.left_code());
        Some(code.or_else(|| self.main_code()).unwrap_or(0))
    }

    /// The exit code that a script has left for the container (`s6.md` section 6.5), unless it is
    /// the 0 that was there.
    fn left_code(&self) -> Option<u8> {
        self.scan_dir.as_ref()?;
        let dir = Dir::open_trusted(Path::new(RESULTS)).ok()?;
        let text = dir.read("exitcode", RESULT_BYTES_MAX).ok()?;
        let code: u32 = std::str::from_utf8(&text).ok()?.trim().parse().ok()?;
        u8::try_from(code & 0xff).ok().filter(|code| *code != 0)
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
            // Whatever was left there, the main program's own end counts for more.
            let _ = std::fs::remove_file(Path::new(RESULTS).join("exitcode"));
            self.begin_shutdown(None);
        }
    }
}
