//! The loop: wait, take what there is, let the engine decide, carry it out, answer.
//!
//! Nothing in it can block: every descriptor is non-blocking or known to be ready, and whatever
//! might hang (a volume, the network, another process) is a child's to touch.

use std::time::Duration;

use herm_engine::{Event, Time};
use herm_sys::signals::Signal;

use super::catch_all::CatchAll;
use super::reactor::{Readiness, Source};
use super::supervisor::{Helper, Supervisor};

impl Supervisor {
    /// Runs until everything is over; the exit code.
    pub(crate) fn run(&mut self) -> u8 {
        // A boot without a child has its main program by now: what came of it is no event to wait for.
        self.turn();
        loop {
            if let Some(code) = self.finished() {
                return code;
            }
            let timeout = self.timeout();
            match self.reactor.wait(timeout) {
                Ok(ready) => {
                    for readiness in ready {
                        self.dispatch(readiness);
                    }
                }
                Err(error) => self
                    .output
                    .error(&format!("cannot wait for events: {error}")),
            }
            self.turn();
        }
    }

    /// What is due after every wait, whatever it brought.
    fn turn(&mut self) {
        self.sight.forget();
        if self.more_dead {
            self.reap();
        }
        self.settle_starts();
        self.drain();
        for client in std::mem::take(&mut self.again) {
            self.serve(client);
        }
        let now = self.clock().now;
        if self.engine.next_deadline().is_some_and(|at| at <= now) {
            self.tell(Event::Tick);
        }
        self.check_helpers(now);
        self.prune_again(now);
        self.end_boot_wait(now);
        self.revive_catch_all(now);
        self.drive_logs(now);
        self.count_draining();
        self.tell_changes();
        for name in self.waiters.due(now) {
            self.look_at_waiters(&name);
        }
        self.answer_waiters();
        self.end_with_main();
        self.advance_shutdown(now);
        self.advance_reexec();
    }

    /// How long nothing is due.
    fn timeout(&self) -> Option<Duration> {
        let at_once = self.recount || self.more_dead;
        if at_once || !self.again.is_empty() || !self.events.is_empty() {
            return Some(Duration::ZERO);
        }
        let now = self.clock().now;
        let deadlines = [
            self.engine.next_deadline(),
            self.waiters.next_deadline(),
            self.helper_deadline(),
            self.logs.deadline(),
            self.shutdown_deadline(),
            self.prune_deadline(),
            self.boot.wait.deadline(),
            self.catch_all.as_ref().and_then(CatchAll::deadline),
        ];
        let next = deadlines.into_iter().flatten().min();
        next.map(|at: Time| at.since(now))
    }

    fn dispatch(&mut self, ready: Readiness) {
        self.sight.forget();
        match ready.source {
            Source::Signals => self.take_signals(),
            Source::Spawner => self.settle_starts(),
            Source::Listener => {
                if let Err(why) = self.server.accept(&self.reactor) {
                    self.output.warn(&why);
                }
            }
            Source::Client(id) => self.client_ready(id, ready),
            Source::Notify(run) => self.notified(run),
            Source::Datagram(run) => self.datagram(run),
            Source::LogPipe(run) => self.log_written(run),
            Source::Logd => self.logd_ready(ready),
            Source::Plan => self.plan_readable(),
            Source::Cookies => self.cookies_readable(),
            Source::Cgroups => self.group_emptied(),
            Source::ScanControl => self.scanner_ordered(),
            Source::ServiceControl(slot) => self.service_ordered(slot),
        }
    }

    fn client_ready(&mut self, id: u64, ready: Readiness) {
        if ready.writable && !self.server.write(id, &self.reactor) {
            self.client_gone(id);
            return;
        }
        if ready.readable && !self.server.read(id) {
            // What was sent before the end still counts; its answer has no reader.
            self.serve(id);
            self.client_gone(id);
            return;
        }
        self.serve(id);
    }

    fn take_signals(&mut self) {
        let mut children = false;
        while let Ok(Some(received)) = self.signals.read() {
            match received.signal {
                Signal::CHLD => children = true,
                signal => self.signalled(signal, received.sender_pid),
            }
        }
        if children {
            self.keep_main_going();
            self.reap();
        }
    }

    /// A helper's process has ended.
    pub(crate) fn helper_ended(
        &mut self,
        pid: herm_sys::Pid,
        helper: &Helper,
        exit: herm_sys::reap::Exit,
        failure: Option<&herm_sys::spawn::LaunchFailure>,
    ) {
        let why = failure.map_or_else(|| exit.to_string(), ToString::to_string);
        let done = failure.is_none() && exit == herm_sys::reap::Exit::Code(0);
        match helper {
            Helper::Setup => self.setup_ended(exit, &why),
            Helper::Skills => self.skills_ended(done, &why),
            Helper::Logd => self.logd_ended(&why),
            Helper::Probe => self.probe_ended(pid, done),
            Helper::Cookies => self.cookies_ended(),
            Helper::CheckState => self.state_checked(done, &why),
            Helper::Finish => self.finish_ended(done, &why),
            Helper::CatchAll => self.catch_all_ended(&why),
            Helper::SignalScript if !done => self
                .output
                .warn(&format!("a script for a signal failed: {why}")),
            Helper::SignalScript => {}
        }
    }
}

#[cfg(test)]
mod hot_paths;
