//! Between the engine and the kernel: each action is carried out, each fact becomes an event.

use std::os::fd::{AsFd as _, OwnedFd};

use herm_engine::{Action, Event, Role, RunId, ServiceId, SpawnFailure, Target};
use herm_sys::descriptors::out_of_the_way;
use herm_sys::signals::{self, Signal};
use herm_sys::spawn::{Executed, Launch, LaunchFailure};
use herm_sys::{Errno, Pid};
use herm_wire::{Kind, ReadinessSpec};

use super::known_set::{COOKIE, signal_member};
use super::launch::{self, Common, hand_over};
use super::main_process;
use super::notify;
use super::reactor::{Interest, Source};
use super::records::{PID_OFFSET, keep};
use super::scandir::Script;
use super::services::{RunRecord, Service};
use super::supervisor::{Helper, Run, Supervisor};
use crate::s6_variables;
use crate::setup::Ids;

/// Dead children collected before clients and deadlines have their turn.
const REAPED_PER_TURN: usize = 1024;

impl Supervisor {
    /// Carries out what the engine asks for, and tells it what came of it, until both are silent.
    pub(crate) fn drain(&mut self) {
        loop {
            while let Some(action) = self.engine.poll_action() {
                self.carry_out(&action);
            }
            let Some(event) = self.events.pop_front() else {
                return;
            };
            self.engine.handle(self.clock().now, event);
        }
    }

    /// Tells the engine what happened.
    pub(crate) fn tell(&mut self, event: Event) {
        self.events.push_back(event);
        self.drain();
    }

    fn carry_out(&mut self, action: &Action) {
        match *action {
            Action::Spawn { id, run, role } => self.spawn(id, run, role),
            Action::Signal {
                id,
                run,
                target,
                signal,
                cont,
            } => {
                self.signal_run(id, run, target, signal, cont);
            }
            Action::Probe {
                id,
                run,
                probe,
                check,
                timeout,
            } => {
                self.probe(id, run, probe, check, timeout);
            }
            Action::Changed { id } => {
                self.changed.insert(id);
                self.record_status(id);
                self.show(id);
                self.note_for_boot(id);
            }
            Action::Overran { id, run: _ } => {
                let name = self.name_of(id);
                self.output
                    .warn(&format!("{name}: not gone within its grace; killed"));
            }
            Action::Unkillable { id, run } => self.unkillable(id, run),
            Action::Removed { id } => self.removed(id),
            Action::ShutdownDone { left } => self.services_are_down(left),
        }
    }

    fn spawn(&mut self, id: ServiceId, run: RunId, role: Role) {
        let prepared = match role {
            Role::Main => self.prepare(id, run, &Script::Run),
            Role::Finish { exit, pid, of: _ } => {
                self.prepare(id, run, &Script::Finish { exit, pid })
            }
        };
        let launched = prepared.and_then(|(launch, prepared)| {
            self.intend_run(id, run, &prepared);
            let word = self
                .records
                .slot()
                .and_then(|slot| slot.pid_word(PID_OFFSET).ok());
            let pid = self.spawner.spawn(launch, word.as_ref());
            Ok((pid.map_err(|error| (error.to_string(), 0))?, prepared))
        });
        match launched {
            Ok((pid, prepared)) => self.adopt_run(id, run, pid, prepared),
            Err((stage, errno)) => {
                self.runs.remove(&run.get());
                self.record_run(run.get());
                let why = match errno {
                    0 => stage.clone(),
                    _ => format!("cannot {stage}: {}", Errno::from_raw_os_error(errno)),
                };
                let failure = SpawnFailure { stage, errno };
                self.could_not_start(&self.name_of(id), run, &why, failure);
            }
        }
    }

    /// Records that a process of this run is about to be made.
    fn intend_run(&mut self, id: ServiceId, run: RunId, prepared: &Prepared) {
        self.record_status(id);
        self.announce_spawn(run.get());
        let Some(service) = self.services.get(id) else {
            return;
        };
        for fd in prepared.descriptors() {
            keep(fd);
        }
        let record = RunRecord {
            run: run.get(),
            service: service.name().to_owned(),
            pid: 0,
            uid: service.ids.uid,
            gid: Some(service.ids.gid),
            log_fd: None,
            notify_fd: None,
            log: service.spec.log.clone(),
            exited: false,
            end: None,
            executed: false,
            grouped: false,
        };
        let known = Run {
            record,
            log: None,
            notify: None,
            notified: 0,
            draining: false,
        };
        self.runs.insert(run.get(), Box::new(known));
        self.record_run(run.get());
    }

    fn prepare(
        &mut self,
        id: ServiceId,
        run: RunId,
        script: &Script,
    ) -> Result<(Launch, Prepared), (String, i32)> {
        let (mut launch, prepared) = self.prepare_program(id, run, script)?;
        if self.is_scanned(id) {
            self.aim_at_script(id, script, &mut launch)?;
        }
        Ok((launch, prepared))
    }

    fn prepare_program(
        &mut self,
        id: ServiceId,
        run: RunId,
        script: &Script,
    ) -> Result<(Launch, Prepared), (String, i32)> {
        let service = self
            .services
            .get(id)
            .ok_or_else(|| ("find the service".to_owned(), 0))?;
        let own = self.own_environment(service, Some(run.get()));
        let common = Common {
            environment: &self.environment,
            roots_path: self.boot.roots_path(),
            open_files: self.open_files,
        };
        let invalid = |why: String| (why, Errno::INVAL.raw_os_error());
        let argv = script.argv(&service.spec);
        let mut launch = launch::of_service(service, &argv, &common, &own).map_err(invalid)?;
        let kernel = |what: &str| {
            let what = what.to_owned();
            move |error: Errno| (what, error.raw_os_error())
        };
        let mut prepared = Prepared::default();
        if service.spec.kind == Kind::Main {
            let outputs_too = s6_variables::is_on(&self.environment, "S6_CMD_USE_TERMINAL");
            main_process::give_terminal(&mut launch, outputs_too)
                .map_err(kernel("hand over the terminal"))?;
            // It stays in the directory the container was started in.
            launch.cwd = None;
            return Ok((launch, prepared));
        }
        launch.cgroup = self.place_of(run.get());
        let (read, write) = service_pipe(&service.ids).map_err(kernel("make its log pipe"))?;
        let second = write.try_clone().map_err(|error| {
            (
                "duplicate its log pipe".to_owned(),
                error.raw_os_error().unwrap_or(0),
            )
        })?;
        hand_over(&mut launch, write, 1);
        hand_over(&mut launch, second, 2);
        prepared.log = Some(read);
        match &service.spec.readiness {
            _ if !matches!(script, Script::Run) => {}
            ReadinessSpec::Notify { fd } => {
                let (read, write) =
                    service_pipe(&service.ids).map_err(kernel("make its notification pipe"))?;
                let target = i32::try_from(*fd).unwrap_or(3);
                hand_over(&mut launch, write, target);
                prepared.notify = Some((read, Source::Notify(run.get())));
            }
            ReadinessSpec::SdNotify => {
                let socket = notify::socket(&self.boot.runtime_dir, run.get(), service.ids.uid)
                    .map_err(kernel("make its notification socket"))?;
                prepared.notify = Some((socket, Source::Datagram(run.get())));
            }
            ReadinessSpec::None | ReadinessSpec::Probe { .. } => {}
        }
        Ok((launch, prepared))
    }

    fn adopt_run(&mut self, id: ServiceId, run: RunId, pid: Pid, prepared: Prepared) {
        let number = run.get();
        self.mains.insert(pid.as_raw_pid(), number);
        if let Some((fd, source)) = &prepared.notify
            && let Err(error) = self.reactor.add(fd, *source, Interest::Read)
        {
            let name = self.name_of(id);
            self.output
                .warn(&format!("{name}: cannot watch for readiness: {error}"));
        }
        if let Some(known) = self.runs.get_mut(&number) {
            known.record.pid = u32::try_from(pid.as_raw_pid()).unwrap_or(0);
            known.log = prepared.log;
            known.notify = prepared.notify.map(|(fd, _)| fd);
        }
        self.open_log(number);
        self.record_run(number);
        self.settle_starts();
    }

    /// Tells the engine of programs that are executed by now. Those that could not be are told of
    /// when they are reaped.
    pub(crate) fn settle_starts(&mut self) {
        for Executed { pid, placed } in self.spawner.take_executed() {
            // Helpers have no run, and nobody waits for their exec.
            let Some(number) = self.mains.get(&pid.as_raw_pid()).copied() else {
                continue;
            };
            let Some(run) = self.runs.get_mut(&number) else {
                continue;
            };
            run.record.executed = true;
            run.record.grouped = placed == Ok(true);
            if let Err(error) = placed {
                let name = &run.record.service;
                self.output
                    .warn(&format!("{name}: has no control group: {error}"));
            }
            let pid = run.record.pid;
            let run = RunId::from_number(number);
            self.record_run(number);
            self.events.push_back(Event::Spawned { run, pid });
        }
    }

    /// Collects dead children, at most a turn's worth: others have their turn between a hundred
    /// thousand orphans, too.
    pub(crate) fn reap(&mut self) {
        self.more_dead = true;
        for _ in 0..REAPED_PER_TURN {
            match herm_sys::reap::reap_next() {
                Ok(Some((pid, exit))) => self.reaped(pid, exit),
                Ok(None) => {
                    self.more_dead = false;
                    break;
                }
                Err(error) => {
                    self.more_dead = false;
                    self.output
                        .error(&format!("cannot collect dead children: {error}"));
                    break;
                }
            }
        }
        self.recount = true;
        self.sight.forget();
        self.drain();
    }

    fn reaped(&mut self, pid: Pid, exit: herm_sys::reap::Exit) {
        let failure = self.spawner.reaped(pid);
        self.attributions.forget(pid);
        let number = pid.as_raw_pid();
        if let Some(helper) = self.helpers.remove(&number) {
            self.helper_ended(pid, &helper, exit, failure.as_ref());
        } else if let Some(run) = self.mains.remove(&number) {
            self.main_ended(run, exit, failure);
        } else {
            self.output
                .debug(&format!("reaped orphan {number}: {exit}"));
        }
    }

    fn main_ended(
        &mut self,
        number: u64,
        exit: herm_sys::reap::Exit,
        failure: Option<LaunchFailure>,
    ) {
        let run_id = RunId::from_number(number);
        self.refresh_before_end(number);
        let Some(run) = self.runs.get_mut(&number) else {
            return;
        };
        run.record.exited = true;
        let pid = run.record.pid;
        let was_starting = !run.record.executed;
        if let Some(failure) = failure {
            let name = run.record.service.clone();
            self.close_run(number);
            let why = failure.to_string();
            self.could_not_start(&name, run_id, &why, spawn_failure(&failure));
            return;
        }
        if was_starting {
            self.events.push_back(Event::Spawned { run: run_id, pid });
            self.adopt_group(number);
        }
        let Some(run) = self.runs.get_mut(&number) else {
            return;
        };
        run.draining = true;
        let exit = super::convert::exit(exit);
        run.record.end = Some(exit);
        self.close_notifications(number);
        self.record_run(number);
        self.note_main_exit(number, exit);
        self.note_finish(number, exit);
        self.events.push_back(Event::Exited { run: run_id, exit });
    }

    /// What never ran has no output of its own to say so in.
    fn could_not_start(&mut self, name: &str, run: RunId, why: &str, failure: SpawnFailure) {
        self.output.error(&format!("{name}: {why}"));
        self.events.push_back(Event::SpawnFailed { run, failure });
    }

    fn signal_run(&mut self, id: ServiceId, run: RunId, target: Target, number: u8, cont: bool) {
        let Some(signal) = Signal::new(number) else {
            return;
        };
        let Some(known) = self.runs.get(&run.get()) else {
            // Nothing of it is left that we know of.
            if target == Target::Set {
                self.events.push_back(Event::Emptied { run });
            }
            return;
        };
        let record = known.record.clone();
        let Some(main) = raw_pid(record.pid) else {
            return;
        };
        let sent = match target {
            Target::Main if record.exited => Ok(()),
            Target::Main => {
                let signal = self.stop_signal(&record.service, signal);
                if self.shutdown.is_some() {
                    self.tell_order(&record.service, signal);
                }
                signals::kill(main, signal)
            }
            // A leader's number that was reaped may be another group's by now; who is still ours is
            // told by a look, and checked.
            Target::Group if !record.exited => signals::kill_group(main, signal),
            Target::Group | Target::Set => {
                self.signal_set(&record, signal);
                Ok(())
            }
        };
        if let Err(error) = sent
            && error != Errno::SRCH
        {
            let name = self.name_of(id);
            self.output
                .warn(&format!("{name}: cannot send signal {number}: {error}"));
        }
        if cont && record.exited {
            self.signal_set(&record, Signal::CONT);
        } else if cont {
            // Whoever is gone needs no waking.
            let _ = match target {
                Target::Main => signals::kill(main, Signal::CONT),
                Target::Group | Target::Set => signals::kill_group(main, Signal::CONT),
            };
        }
    }

    fn signal_set(&mut self, record: &RunRecord, signal: Signal) {
        self.recount = true;
        let ours = || {
            self.mains
                .keys()
                .chain(self.helpers.keys())
                .copied()
                .collect()
        };
        if record.exited && self.sight.nobody_strays(ours) {
            // Whatever it left would hang below a child of ours that is nobody's.
            return;
        }
        if let Some(group) = self.group_of(record.run) {
            self.signal_group(&record.service, &group, signal);
            return;
        }
        let Ok(census) = self.sight.census() else {
            return;
        };
        // A member of another user is no member: it may have been made to look like one.
        let only = (record.uid != 0 || Self::uid() != 0).then_some(record.uid);
        for member in census.members(record, &self.attributions) {
            if let Err(error) = signal_member(member, only, signal) {
                let pid = member.pid.as_raw_pid();
                self.output
                    .warn(&format!("{}: cannot signal {pid}: {error}", record.service));
            }
        }
    }

    fn unkillable(&mut self, id: ServiceId, run: RunId) {
        let pids = self.survivors(run.get());
        let pids = pids.into_iter().map(Pid::as_raw_pid);
        let pids: Vec<u32> = pids.filter_map(|pid| u32::try_from(pid).ok()).collect();
        let name = self.name_of(id);
        self.output.error(&format!(
            "{name}: survives KILL (uninterruptible sleep): {pids:?}"
        ));
        if let Some(service) = self.services.get_mut(id) {
            service.survivors = pids;
        }
        self.changed.insert(id);
    }

    fn survivors(&mut self, run: u64) -> Vec<Pid> {
        if let Some(group) = self.group_of(run) {
            return group.members().unwrap_or_default();
        }
        let Some(record) = self.runs.get(&run).map(|run| run.record.clone()) else {
            return Vec::new();
        };
        let Ok(census) = self.sight.census() else {
            return Vec::new();
        };
        let members = census.members(&record, &self.attributions);
        members.iter().map(|member| member.pid).collect()
    }

    /// Ends the bookkeeping of a run of which nothing lives. Its log pipe stays until the log
    /// daemon has seen its end.
    pub(crate) fn close_run(&mut self, number: u64) {
        self.close_notifications(number);
        self.remove_group(number);
        if let Some(run) = self.runs.get_mut(&number) {
            run.draining = false;
            run.record.exited = true;
            if run.log.is_none() {
                self.runs.remove(&number);
            }
        }
        self.record_run(number);
    }

    pub(crate) fn close_notifications(&mut self, number: u64) {
        if let Some(run) = self.runs.get_mut(&number)
            && let Some(fd) = run.notify.take()
        {
            self.reactor.remove(fd.as_fd());
            notify::forget(&self.boot.runtime_dir, number);
        }
    }

    /// The variables herm itself gives a service.
    pub(crate) fn own_environment(
        &self,
        service: &Service,
        run: Option<u64>,
    ) -> Vec<(String, String)> {
        let mut own = vec![(
            "HERM_RUN_DIR".to_owned(),
            self.boot.runtime_dir.display().to_string(),
        )];
        if service.spec.kind != Kind::Main
            && let Some(run) = run
        {
            own.push((COOKIE.to_owned(), self.cookie(run)));
            if service.spec.readiness == ReadinessSpec::SdNotify {
                let path = notify::path(&self.boot.runtime_dir, run);
                own.push(("NOTIFY_SOCKET".to_owned(), path.display().to_string()));
            }
        }
        own
    }

    /// What marks the processes of a run.
    pub(crate) fn cookie(&self, run: u64) -> String {
        format!("{}.{run}", self.instance)
    }

    /// Starts a process of herm's own that is not a service.
    pub(crate) fn spawn_helper(&mut self, launch: Launch, helper: Helper) -> Result<Pid, String> {
        let pid = self
            .spawner
            .spawn(launch, None)
            .map_err(|error| error.to_string())?;
        self.helpers.insert(pid.as_raw_pid(), helper);
        Ok(pid)
    }
}

/// What a run needs besides its process.
#[derive(Debug, Default)]
struct Prepared {
    log: Option<OwnedFd>,
    notify: Option<(OwnedFd, Source)>,
}

impl Prepared {
    fn descriptors(&self) -> impl Iterator<Item = &OwnedFd> {
        self.log.iter().chain(self.notify.iter().map(|(fd, _)| fd))
    }
}

/// A pipe whose ends no child inherits unasked. It is the service's own, so that the service can
/// open `/dev/stdout` or its notification descriptor by name. It can open it for reading, too, and
/// empty it between our being told of something and our reading it: our end never waits.
fn service_pipe(ids: &Ids) -> Result<(OwnedFd, OwnedFd), Errno> {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    rustix::fs::fcntl_setfl(&read, rustix::fs::OFlags::NONBLOCK)?;
    let read = out_of_the_way(read);
    if ids.uid != Supervisor::uid() {
        let (uid, gid) = (ids.uid, ids.gid);
        let (uid, gid) = (
            rustix::fs::Uid::from_raw(uid),
            rustix::fs::Gid::from_raw(gid),
        );
        // Without CAP_CHOWN the service can still write to the descriptors it was given.
        let _ = rustix::fs::fchown(&write, Some(uid), Some(gid));
    }
    Ok((read, write))
}

/// A pid as the kernel calls take it.
pub(crate) fn raw_pid(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

fn spawn_failure(failure: &LaunchFailure) -> SpawnFailure {
    let text = failure.to_string();
    SpawnFailure {
        stage: text.strip_prefix("cannot ").unwrap_or(&text).to_owned(),
        errno: failure.errno.map_or(0, Errno::raw_os_error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_that_empties_its_own_pipe_can_not_make_us_wait() {
        let (read, write) = service_pipe(&super::super::identity::own()).unwrap();
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&write));
        let theirs = std::fs::File::open(path).unwrap();
        rustix::io::write(&write, b"\n").unwrap();
        rustix::io::read(&theirs, &mut [0; 8]).unwrap();
        assert_eq!(rustix::io::read(&read, &mut [0; 8]), Err(Errno::AGAIN));
    }
}
