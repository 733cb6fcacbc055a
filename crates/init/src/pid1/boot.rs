//! The boot, from top to bottom.
//!
//! 1. [`come_up`]: signals, orphans, the control socket. From here on PID 1 answers.
//! 2. [`Supervisor::begin_boot`]: what the container lets us do is reported, setup is started as a child, and
//!    the environment is recorded meanwhile. PID 1 touches no volume; setup does, in this order (`crate::setup`
//!    reads top to bottom, too): who runs what, with remapped ids and a Docker socket's group; the home: its
//!    owners, directories, seeds, `auth.json`, key, modes, stamp; the image's scripts and services; the plan.
//!    Where it would have nothing to do (`crate::setup::at_once`) there is no child, and the next two follow at once.
//! 3. [`Supervisor::take_plan`]: setup's plan has come by a pipe; the environment is shared, the agent's skills are
//!    brought into the home. Where setup fails, [`Supervisor::setup_ended`] ends the boot with its exit code.
//! 4. [`Supervisor::finish_boot`]: keeper, scan directory, main program, log daemon. The keeper starts the gateways
//!    that are to run (`keeper::boot` of `herm`).
//!
//! Between these PID 1 is in its event loop and answers; each next one begins with an event: the end of the
//! plan, the end of setup, the end of the program that syncs skills.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use herm_engine::Time;
use herm_sys::exec::take_inherited;
use herm_sys::reap::Exit;
use herm_sys::signals::{SignalFd, SignalSet, set_blocked};
use herm_wire::{BootReport, BootStep, EventBody};

use super::boot_wait::BootWait;
use super::convert::Clock;
use super::launch::{self, Common, hand_over};
use super::listen::{listen, sweep};
use super::logs::give_stdout;
use super::main_process;
use super::output::Output;
use super::own;
use super::reactor::{Interest, Reactor, Source};
use super::services::Service;
use super::settings::{Options, Settings};
use super::supervisor::{Foundation, Helper, Supervisor};
use crate::environment::{DEFAULT_PATH, Environment, share};
use crate::s6_variables;
use crate::setup::{PLAN_END, Plan, at_once};

/// Bad configuration (contract section 4).
const BAD_CONFIG: u8 = 78;

/// Where the environment is recorded, as s6-overlay does.
const CONTAINER_ENVIRONMENT: &str = "/run/s6/container_environment";

/// The runtime directory of a container's own supervisor.
const CONTAINER_RUNTIME_DIR: &str = "/run/herm";

/// Longest plan read from setup.
const PLAN_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How far the boot has come, and what it found.
#[derive(Debug)]
pub(crate) struct Boot {
    /// When PID 1 started.
    pub(crate) began: Time,
    /// Directory of the control socket.
    pub(crate) runtime_dir: PathBuf,
    /// This very program.
    pub(crate) image: OwnedFd,
    /// The `herm` program, for the keeper and for probes.
    pub(crate) herm: String,
    /// What setup found out.
    pub(crate) plan: Plan,
    /// Steps, features, warnings.
    pub(crate) report: BootReport,
    /// Setup's plan on its way.
    plan_pipe: Option<OwnedFd>,
    plan_bytes: Vec<u8>,
    setup_began: Option<Time>,
    skills_began: Option<Time>,
    /// What the main program waits for.
    pub(crate) wait: BootWait,
    over: bool,
}

impl Boot {
    /// Whether services and main program have been started.
    pub(crate) fn is_over(&self) -> bool {
        self.over
    }

    /// Whether a keeper looks after a home here.
    pub(crate) fn has_keeper(&self) -> bool {
        self.plan.reconcile
    }

    /// `PATH` of root's services, where it is another than the container's. Until setup has found out which
    /// directories of that one are root's alone, none of them is.
    pub(crate) fn roots_path(&self) -> Option<&str> {
        if self.setup_began.is_some() {
            return Some(DEFAULT_PATH);
        }
        self.plan.roots_path.as_deref()
    }

    /// Notes a step that began at `start` and ends now.
    fn step(&mut self, name: &str, start: Time, error: Option<String>) {
        let micros =
            |duration: std::time::Duration| u64::try_from(duration.as_micros()).unwrap_or(0);
        self.report.steps.push(BootStep {
            name: name.to_owned(),
            start_us: micros(start.since(self.began)),
            took_us: micros(Clock::read().now.since(start)),
            error,
        });
    }

    /// A boot that has come this far: nowhere yet, or, after re-execution, as was written down.
    pub(crate) fn new(
        over: bool,
        began: Time,
        runtime_dir: PathBuf,
        image: OwnedFd,
        plan: Plan,
        report: BootReport,
    ) -> Self {
        Self {
            began,
            runtime_dir,
            image,
            herm: herm_program(),
            plan,
            report,
            plan_pipe: None,
            plan_bytes: Vec::new(),
            setup_began: None,
            skills_began: None,
            wait: BootWait::default(),
            over,
        }
    }
}

/// Comes up: from its return on nothing is lost, neither a signal nor an orphan nor a client.
pub(crate) fn come_up(
    options: &Options,
    settings: &Settings,
    environment: &Environment,
    output: &mut Output,
) -> Result<Foundation, String> {
    let began = Clock::read().now;
    let (signals, reactor) = take_over_signals()?;
    main_process::release_terminal();
    let (runtime_dir, listener) = listen(options, settings, environment, output)?;
    let image = herm_sys::exec::own_image()
        .map_err(|error| format!("cannot open my own program: {error}; is /proc mounted?"))?;
    sweep(&runtime_dir);
    let mut boot = Boot::new(
        false,
        began,
        runtime_dir,
        image,
        Plan::default(),
        BootReport::default(),
    );
    boot.step("listen", began, None);
    Ok(Foundation {
        signals,
        reactor,
        listener,
        boot,
    })
}

/// Signals come by descriptor, orphans to us.
pub(crate) fn take_over_signals() -> Result<(SignalFd, Reactor), String> {
    let text = |what: &str| {
        let what = what.to_owned();
        move |error: herm_sys::Errno| format!("cannot {what}: {error}")
    };
    let set = SignalSet::all_but_faults();
    set_blocked(set);
    let signals = SignalFd::new(set).map_err(text("receive signals"))?;
    let reactor = Reactor::new().map_err(|error| format!("cannot wait for events: {error}"))?;
    reactor
        .add(&signals, Source::Signals, Interest::Read)
        .map_err(|error| format!("cannot wait for signals: {error}"))?;
    if !herm_sys::process::is_pid1() {
        herm_sys::process::become_subreaper().map_err(text("adopt orphans"))?;
    }
    Ok((signals, reactor))
}

/// `herm` beside this program, else as found on `PATH`.
fn herm_program() -> String {
    let beside = std::env::current_exe()
        .ok()
        .map(|own| own.with_file_name("herm"));
    match beside {
        Some(path) if path.is_file() => path.display().to_string(),
        _ => "herm".to_owned(),
    }
}

impl Supervisor {
    /// Records the environment, and starts setup: as a child, unless it has nothing to do.
    pub(crate) fn begin_boot(&mut self) {
        let version = env!("CARGO_PKG_VERSION");
        let role = if herm_sys::process::is_pid1() {
            "PID 1"
        } else {
            "a subreaper"
        };
        self.output.info(&format!(
            "{version} as {role}, answering in {}",
            self.boot.runtime_dir.display()
        ));
        self.start_catch_all();
        self.report_features();
        self.open_scan_dir();
        let start = self.clock().now;
        let plan = at_once::plan(
            &self.options.cmd,
            &self.environment,
            &self.boot.runtime_dir,
            self.has_overlay(),
        );
        if let Some(plan) = plan {
            self.record_environment();
            self.boot.step("setup", start, None);
            return self.take_plan(plan);
        }
        self.boot.setup_began = Some(start);
        // Setup comes up while the environment is written, and waits for the end of the pipe before
        // anything reads that.
        match self.start_setup() {
            Ok(recorded) => {
                self.record_environment();
                drop(recorded);
            }
            Err(why) => {
                self.output.error(&format!("cannot start setup: {why}"));
                self.give_up(BAD_CONFIG);
            }
        }
    }

    /// Starts setup as a child; what is answered is to be closed once the environment is recorded.
    fn start_setup(&mut self) -> Result<OwnedFd, String> {
        let mut argv: Vec<String> = ["herm-setup", "--plan-fd", "3", "--recorded-fd", "4"]
            .map(str::to_owned)
            .into();
        if self.speaks_for_the_container() && !self.environment.keeps_itself() {
            argv.extend(["--environment".to_owned(), CONTAINER_ENVIRONMENT.to_owned()]);
        }
        if let Some(dir) = self.boot.runtime_dir.to_str() {
            argv.extend(["--runtime-dir".to_owned(), dir.to_owned()]);
        }
        if self.has_overlay() {
            argv.push("--overlay".to_owned());
        }
        let awaited = s6_variables::number(&self.environment, "S6_WAIT_FOR_CLOSING_FD");
        let awaited = awaited.and_then(|number| take_inherited(i32::try_from(number).ok()?));
        if awaited.is_some() {
            argv.extend(["--wait-fd", "5"].map(str::to_owned));
        }
        argv.push("--".to_owned());
        argv.extend(self.options.cmd.iter().cloned());
        let mut launch = self.own_program(&argv)?;
        let flags = rustix::pipe::PipeFlags::CLOEXEC;
        let pipe = || rustix::pipe::pipe_with(flags).map_err(|error| error.to_string());
        let (ours, theirs) = pipe()?;
        // Ours alone: setup waits for us where its plan is longer than the pipe.
        rustix::fs::fcntl_setfl(&ours, rustix::fs::OFlags::NONBLOCK)
            .map_err(|error| error.to_string())?;
        hand_over(&mut launch, theirs, 3);
        let (end, recorded) = pipe()?;
        hand_over(&mut launch, end, 4);
        if let Some(awaited) = awaited {
            hand_over(&mut launch, awaited, 5);
        }
        give_stdout(&mut launch)?;
        self.reactor
            .add(&ours, Source::Plan, Interest::Read)
            .map_err(|error| error.to_string())?;
        self.boot.plan_pipe = Some(ours);
        self.spawn_helper(launch, Helper::Setup)?;
        Ok(recorded)
    }

    /// Writes the environment down, one file a variable.
    fn record_environment(&mut self) {
        // Only a container's own supervisor may speak for the machine.
        if !self.speaks_for_the_container() {
            return;
        }
        let start = self.clock().now;
        let dir = Path::new(CONTAINER_ENVIRONMENT);
        let recorded = if self.environment.keeps_itself() {
            Environment::remove_record(dir)
        } else {
            self.environment.record(dir, 0o700)
        };
        let error = recorded.err().map(|error| error.to_string());
        if let Some(error) = &error {
            self.output
                .warn(&format!("cannot record the environment: {error}"));
        }
        self.boot.step("environment", start, error);
    }

    pub(crate) fn speaks_for_the_container(&self) -> bool {
        self.boot.runtime_dir == Path::new(CONTAINER_RUNTIME_DIR)
    }

    /// Whether the image's services are laid out in the scan directory.
    fn has_overlay(&self) -> bool {
        self.scan_dir.is_some() && self.speaks_for_the_container()
    }

    /// Takes what setup has written so far. The end of its line is the end of the plan, and not the end of the pipe: a
    /// child that is started meanwhile has a copy of setup's end, and keeps it for as long as it takes to become its
    /// program.
    pub(crate) fn plan_readable(&mut self) {
        let mut chunk = [0_u8; 16 * 1024];
        while let Some(pipe) = &self.boot.plan_pipe {
            match rustix::io::read(pipe, &mut chunk) {
                Ok(count) if count > 0 && self.boot.plan_bytes.len() < PLAN_BYTES_MAX => {
                    let new = chunk.get(..count).unwrap_or_default();
                    self.boot.plan_bytes.extend_from_slice(new);
                    if new.ends_with(PLAN_END) {
                        self.close_plan_pipe();
                        self.plan_is_whole();
                    }
                }
                Err(herm_sys::Errno::INTR) => {}
                Err(herm_sys::Errno::AGAIN) => return,
                // Without its end it is no plan; what that means is told by how setup ends.
                Ok(_) | Err(_) => self.close_plan_pipe(),
            }
        }
    }

    fn close_plan_pipe(&mut self) {
        if let Some(pipe) = self.boot.plan_pipe.take() {
            // Out of the set by hand: a copy would keep it there.
            self.reactor.remove(pipe.as_fd());
        }
    }

    /// Setup has handed over its plan. It may go on with what nothing has to wait for.
    fn plan_is_whole(&mut self) {
        let plan = serde_json::from_slice::<Plan>(&self.boot.plan_bytes);
        if let Err(error) = &plan {
            self.output.error(&format!("setup's plan: {error}"));
        }
        if let Ok(plan) = plan
            && self.shutdown.is_none()
            && let Some(start) = self.boot.setup_began.take()
        {
            self.boot.step("setup", start, None);
            self.take_plan(plan);
        }
    }

    /// Setup has ended: with a plan, or with the end of the boot.
    pub(crate) fn setup_ended(&mut self, exit: Exit, why: &str) {
        // It has ended, so all it wrote is in the pipe already; nothing more is waited for.
        self.plan_readable();
        self.close_plan_pipe();
        // Its plan may have come before.
        let Some(start) = self
            .boot
            .setup_began
            .take()
            .filter(|_| self.shutdown.is_none())
        else {
            if exit != Exit::Code(0) && self.shutdown.is_none() {
                self.output
                    .warn(&format!("setup did not finish its late work ({why})"));
            }
            return;
        };
        if exit != Exit::Code(0) {
            self.boot.step("setup", start, Some(why.to_owned()));
            self.output
                .error(&format!("setup failed ({why}); see its message above"));
            self.give_up(exit.shell_code());
            return;
        }
        self.output
            .error("setup ended without a plan that makes sense");
        self.give_up(BAD_CONFIG);
    }

    /// Takes the plan, and has the agent's skills brought into the home, where there are any: by a
    /// process of the home's user, before anything is started that reads them.
    fn take_plan(&mut self, plan: Plan) {
        self.boot.plan_bytes = Vec::new();
        self.boot.report.steps.extend(plan.steps.iter().cloned());
        self.boot
            .report
            .warnings
            .extend(plan.warnings.iter().cloned());
        self.settings.home = plan.home.as_ref().map(PathBuf::from);
        self.boot.plan = plan;
        self.share_environment();
        if !self.boot.plan.sync_skills {
            return self.finish_boot();
        }
        self.boot.skills_began = Some(self.clock().now);
        if let Err(why) = self.start_skills() {
            self.skills_ended(false, &why);
        }
    }

    /// Adds what setup found to be needed to the recorded environment, and lets those read it who
    /// may. Hooks may have added to it, too, so it is not written again.
    fn share_environment(&mut self) {
        for (name, value) in &self.boot.plan.env {
            self.environment.add(name, value);
        }
        if !self.speaks_for_the_container() || self.environment.keeps_itself() {
            return;
        }
        let dir = Path::new(CONTAINER_ENVIRONMENT);
        let group = self.boot.plan.service_user.as_ref().map(|ids| ids.gid);
        let shared = self.environment.record_added(dir, 0o700).and_then(|()| {
            if Self::uid() == 0 {
                share(dir, group)
            } else {
                Ok(())
            }
        });
        if let Err(error) = shared {
            self.output.warn(&format!(
                "the service user can't read {CONTAINER_ENVIRONMENT}: {error}"
            ));
        }
        if group.is_none() && Self::uid() == 0 {
            self.output.info(&format!(
                "{CONTAINER_ENVIRONMENT} is readable by everyone, secrets included: this image has \
                 no service user"
            ));
        }
    }

    fn start_skills(&mut self) -> Result<(), String> {
        let mut service = own::keeper(&self.boot, &self.environment);
        service.spec.argv = vec![self.boot.herm.clone(), "sync-skills".to_owned()];
        let common = Common {
            environment: &self.environment,
            roots_path: self.boot.roots_path(),
            open_files: self.open_files,
        };
        let mut launch = launch::of_service(&service, &service.spec.argv, &common, &[])?;
        give_stdout(&mut launch)?;
        self.spawn_helper(launch, Helper::Skills).map(drop)
    }

    /// The skills are there, or the boot goes on without them.
    pub(crate) fn skills_ended(&mut self, done: bool, why: &str) {
        let start = self.boot.skills_began.take().unwrap_or(self.boot.began);
        if self.boot.over || self.shutdown.is_some() {
            return;
        }
        self.boot
            .step("skills", start, (!done).then(|| why.to_owned()));
        if !done {
            self.output
                .warn(&format!("not all of the agent's skills were synced: {why}"));
        }
        self.finish_boot();
    }

    /// Starts what the plan says: the keeper, the main program, the log daemon. The last one is not
    /// waited for by the others, whose pipes hold what they write, nor do they wait while it starts.
    fn finish_boot(&mut self) {
        if self.boot.plan.reconcile {
            let start = self.clock().now;
            let service = own::keeper(&self.boot, &self.environment);
            self.start_own(service, "keeper", start);
        }
        let start = self.clock().now;
        self.begin_to_wait();
        self.begin_to_scan();
        self.boot.step("scan", start, None);
        if let Some(main) = self.boot.plan.main.clone() {
            let start = self.clock().now;
            let mut service = own::main_program(main);
            service.spec.stop.grace_ms =
                s6_variables::number(&self.environment, "S6_KILL_GRACETIME");
            self.start_own(service, "main program", start);
        } else {
            main_process::keep_terminal();
        }
        let start = self.clock().now;
        self.start_logd();
        self.boot.step("log daemon", start, None);
        self.warn_of_short_budget();
        self.boot.over = true;
        self.record_globals();
        self.publish(EventBody::Booted);
    }

    fn start_own(&mut self, service: Service, step: &str, start: Time) {
        let line = format!(
            "starting {}: {}",
            service.name(),
            service.spec.argv.join(" ")
        );
        let error = self.supervise(service).err().map(|error| error.message);
        match &error {
            None => self.output.info(&line),
            Some(error) => self
                .output
                .error(&format!("cannot start the {step}: {error}")),
        }
        self.boot.step(step, start, error);
    }
}
