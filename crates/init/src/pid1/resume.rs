//! Going on where the program before this one in this process left off.

use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::net::UnixListener;

use herm_engine::{Event, Exit, RunId, SortedMap, SortedSet, SpawnFailure, Time};
use herm_sys::exec::{Image, own_image, replace, take_inherited};
use herm_sys::memfd::SharedMemory;
use herm_sys::process;
use herm_sys::reap::reap_next;
use herm_sys::signals::{self, Signal};

use super::boot::{Boot, take_over_signals};
use super::convert::{Clock, exit};
use super::driver::raw_pid;
use super::journal::Journal;
use super::known_set::strays;
use super::records::{self, Records, Restored, inherit, keep};
use super::reexec::{Resumption, arm_panics, c_strings, engine_of, own_env, own_name};
use super::services::{RunRecord, Services};
use super::settings::{Options, Settings};
use super::supervisor::{Foundation, Run, Supervisor};
use crate::environment::Environment;

/// Makes a supervisor out of what its predecessor in this process wrote down. Where that fails,
/// the binary to fall back to is executed, and this doesn't return.
pub(crate) fn resume(
    resumption: &Resumption,
    environment: Environment,
) -> Result<Supervisor, String> {
    let fallback = resumption.fallback.and_then(take_inherited);
    let resumed = take_inherited(resumption.journal)
        .ok_or_else(|| format!("descriptor {} is not open", resumption.journal))
        .and_then(|fd| Journal::adopt(fd).map_err(|error| error.to_string()))
        .and_then(|journal| adopt(journal, environment, &resumption.panics));
    if let (Err(why), Some(fallback)) = (&resumed, &fallback) {
        super::output::Output::new(super::output::Level::Error)
            .error(&format!("{why}; falling back to the binary before"));
        // The journal was adopted, so it is no longer inherited by itself.
        let again = Resumption {
            journal: resumption.journal,
            fallback: None,
            panics: resumption.panics.clone(),
        };
        let argv = c_strings(&own_name(), &again.arguments());
        let errno = replace(Image::File(fallback.as_fd()), &argv, &own_env(), &[]);
        return Err(format!(
            "{why}, and the binary before can't be executed: {errno}"
        ));
    }
    resumed
}

fn adopt(
    journal: Journal,
    mut environment: Environment,
    panics: &[u64],
) -> Result<Supervisor, String> {
    keep(journal.fd());
    let restored = records::restore(&journal)?;
    let clock = Clock::read();
    let engine = engine_of(&restored, clock.now)?;
    let globals = restored.globals.clone();
    let (signals, reactor) = take_over_signals()?;
    let listener = take_inherited(globals.listener).ok_or("the control socket is gone")?;
    keep(&listener);
    let image = own_image().map_err(|error| error.to_string())?;
    let slot = globals.slot.and_then(take_inherited);
    let slot = slot.and_then(|fd| SharedMemory::adopt(fd).ok());
    let unrecorded = slot.as_ref().and_then(records::unrecorded_spawn);
    let records = Records::resume(journal, &restored, &engine, slot);
    for (name, value) in &globals.plan.env {
        environment.add(name, value);
    }
    // It was understood at boot. What can't be followed by now must not end everything.
    let (settings, ..) = Settings::read(&environment);
    let boot = Boot::new(
        globals.booted,
        Time::from_nanos(globals.began),
        globals.runtime_dir.clone().into(),
        image,
        globals.plan.clone(),
        globals.report.clone(),
    );
    let options = Options {
        runtime_dir: None,
        cmd: globals.cmd.clone(),
    };
    let foundation = Foundation {
        signals,
        reactor,
        listener: UnixListener::from(listener),
        boot,
    };
    let mut supervisor =
        Supervisor::assemble(options, settings, environment, foundation, engine, records)?;
    supervisor.instance = globals.instance;
    supervisor.open_files = globals
        .open_files
        .map(|(soft, hard)| herm_sys::rlimit::Limit { soft, hard });
    supervisor.feed = globals.feed;
    // Events are not recorded one by one; a gap is all that subscribers may see.
    supervisor.feed.event += 1_000_000;
    let journal_fd = supervisor
        .records
        .journal()
        .map(|journal| journal.fd().as_raw_fd());
    arm_panics(journal_fd.unwrap_or(-1), panics.to_vec());
    supervisor.adopt_services(&restored);
    supervisor.adopt_scan_dir(globals.scan_dir.as_ref());
    supervisor.adopt_runs(restored.runs, unrecorded);
    supervisor.adopt_catch_all(globals.catch_all.as_ref());
    supervisor.adopt_logd(globals.logd, globals.hold);
    supervisor.resume_shutdown(globals.exit_code);
    if !globals.booted && supervisor.shutdown.is_none() {
        supervisor.end_half_a_boot();
        supervisor.begin_boot();
    }
    supervisor.output.info(&format!(
        "resumed with {} services; none was touched",
        supervisor.services.len()
    ));
    Ok(supervisor)
}

impl Supervisor {
    fn adopt_services(&mut self, restored: &Restored) {
        let mut services = Services::default();
        for (_, service, _) in &restored.services {
            if let Some(id) = self.engine.find(service.name()) {
                services.insert(id, service.clone());
            }
        }
        self.services = services;
    }

    /// The boot begins again: what was under way of it (setup, most of all) must not be at work beside
    /// its successor.
    fn end_half_a_boot(&mut self) {
        let ours = self.expected_children();
        for child in strays(&ours).unwrap_or_default() {
            // It leads a session of its own. It may be gone already, and is reaped as an orphan.
            let _ = signals::kill_group(child, Signal::KILL);
            let _ = signals::kill(child, Signal::KILL);
        }
        // It is found out once more.
        self.boot.report = herm_wire::BootReport::default();
        self.output.warn("the boot was not over; it begins again");
    }

    /// Finds out what became of every run, and tells the engine.
    fn adopt_runs(&mut self, records: Vec<RunRecord>, unrecorded: Option<(u64, u32)>) {
        let mut dead: SortedMap<u32, Exit> = SortedMap::new();
        while let Ok(Some((pid, how))) = reap_next() {
            dead.insert(u32::try_from(pid.as_raw_pid()).unwrap_or(0), exit(how));
        }
        for mut record in records {
            if let Some((run, pid)) = unrecorded
                && record.run == run
                && record.pid == 0
            {
                record.pid = pid;
            }
            let run = Run {
                log: inherit(record.log_fd),
                notify: inherit(record.notify_fd),
                notified: 0,
                draining: false,
                record,
            };
            self.runs.insert(run.record.run, Box::new(run));
        }
        let known: SortedSet<u64> = self.engine.runs().iter().map(|run| run.1.get()).collect();
        for (_, run, _, _) in self.engine.runs() {
            self.adopt_run_state(run, &dead);
        }
        // Runs the engine is done with only have their logs left.
        let over: Vec<u64> = self
            .runs
            .keys()
            .filter(|run| !known.contains(run))
            .copied()
            .collect();
        for run in over {
            self.close_run(run);
        }
        for run in known {
            self.adopt_group(run);
        }
        self.watch_adopted();
        self.recount = true;
        self.drain();
    }

    fn adopt_run_state(&mut self, run: RunId, dead: &SortedMap<u32, Exit>) {
        let number = run.get();
        let lost = || SpawnFailure {
            stage: "be started before herm was re-executed".to_owned(),
            errno: 0,
        };
        let Some(known) = self.runs.get_mut(&number) else {
            self.events.push_back(Event::SpawnFailed {
                run,
                failure: lost(),
            });
            return;
        };
        let pid = known.record.pid;
        let lives = raw_pid(pid).is_some_and(is_our_child);
        if lives && !known.record.exited {
            known.record.executed = true;
            self.mains.insert(i32::try_from(pid).unwrap_or(0), number);
            self.events.push_back(Event::Spawned { run, pid });
            return;
        }
        let Some(how) = known.record.end.or_else(|| dead.get(&pid).copied()) else {
            self.close_run(number);
            self.events.push_back(Event::SpawnFailed {
                run,
                failure: lost(),
            });
            return;
        };
        known.record.exited = true;
        known.draining = true;
        self.events.push_back(Event::Spawned { run, pid });
        self.events.push_back(Event::Exited { run, exit: how });
    }

    fn watch_adopted(&mut self) {
        use super::reactor::{Interest, Source};
        let mut failed = None;
        for (number, run) in self.runs.iter() {
            let log = run.log.as_ref().map(|fd| {
                self.reactor
                    .add(fd, Source::LogPipe(*number), Interest::ReadOnce)
            });
            let service = self.services.id_of(&run.record.service);
            let service = service.and_then(|id| self.services.get(id));
            let datagram =
                service.is_some_and(|s| s.spec.readiness == herm_wire::ReadinessSpec::SdNotify);
            let source = if datagram {
                Source::Datagram(*number)
            } else {
                Source::Notify(*number)
            };
            let notify = run
                .notify
                .as_ref()
                .map(|fd| self.reactor.add(fd, source, Interest::Read));
            failed = failed
                .or(log.and_then(Result::err))
                .or(notify.and_then(Result::err));
        }
        if let Some(error) = failed {
            self.output
                .warn(&format!("a descriptor can't be watched any more: {error}"));
        }
    }
}

fn is_our_child(pid: herm_sys::Pid) -> bool {
    let me = rustix::process::getpid();
    process::stat(pid).is_ok_and(|stat| stat.parent == Some(me) && !stat.is_zombie())
}
