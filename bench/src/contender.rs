//! Supervisors of many logged services: herm, its peers, and a bare loop that spawns and nothing more.
//!
//! Each runs as PID 1 of a pid namespace of its own, so that ending it leaves nothing behind.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use herm_wire::{Desired, Kind, LogSpec, Op, ReadinessSpec, RestartSpec, ServiceSpec, StopSpec};

use crate::client::Client;
use crate::host::children;
use crate::scratch::{Reports, Scratch};

/// Requests on their way at a time.
const WINDOW: usize = 32;

/// Who supervises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contender {
    Herm,
    S6,
    Runit,
    Supervisord,
    /// Spawns every service with a pipe for its output, and waits.
    BareLoop,
}

impl Contender {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Herm => "herm",
            Self::S6 => "s6-svscan + s6-log",
            Self::Runit => "runsvdir + svlogd",
            Self::Supervisord => "supervisord",
            Self::BareLoop => "bare spawn loop",
        }
    }
}

/// What a service runs: it reports its pid and waits for its end.
pub(crate) const OBEDIENT: &str = "echo $$ >\"$REPORTS\"\nexec sleep 2147483647\n";

/// Services as they lie on disk before the clock starts.
pub(crate) struct Prepared<'a> {
    contender: Contender,
    scratch: &'a Scratch,
    init: &'a Path,
    script: PathBuf,
    count: usize,
    /// herm also puts the services' lines on its standard output, which its peers' loggers don't.
    pub(crate) forwards: bool,
}

impl<'a> Prepared<'a> {
    /// `body` is the shell script of every service, `$REPORTS` the path that it reports on.
    pub(crate) fn new(
        contender: Contender,
        init: &'a Path,
        scratch: &'a Scratch,
        reports: &Reports,
        count: usize,
        body: &str,
    ) -> Result<Self> {
        let text = format!("#!/bin/sh\nREPORTS={}\n{body}", reports.path().display());
        let script = scratch.write("service", &text, 0o755)?;
        let prepared = Self {
            contender,
            scratch,
            init,
            script,
            count,
            forwards: false,
        };
        match contender {
            Contender::S6 => prepared.directories("exec s6-log t s1000000 n10")?,
            Contender::Runit => prepared.directories("exec svlogd -tt")?,
            Contender::Supervisord => prepared.configuration()?,
            Contender::Herm | Contender::BareLoop => {}
        }
        Ok(prepared)
    }

    fn directories(&self, logger: &str) -> Result<()> {
        for name in self.names() {
            let logs = self.scratch.dir(&format!("logs/{name}"))?;
            let run = format!("#!/bin/sh\nexec {} 2>&1\n", self.script.display());
            self.scratch
                .write(&format!("services/{name}/run"), &run, 0o755)?;
            let run = format!("#!/bin/sh\n{logger} {}\n", logs.display());
            self.scratch
                .write(&format!("services/{name}/log/run"), &run, 0o755)?;
        }
        Ok(())
    }

    fn configuration(&self) -> Result<()> {
        let logs = self.scratch.dir("logs")?;
        let dir = self.scratch.path().display();
        // One group: groups are stopped one after another, a tick of its loop each.
        let text = format!(
            "[supervisord]\nnodaemon=true\nuser=root\nlogfile=/dev/null\nlogfile_maxbytes=0\n\
             pidfile={dir}/supervisord.pid\nminfds=8192\nminprocs=4096\n\
             [program:svc]\nprocess_name=%(program_name)s-%(process_num)05d\nnumprocs={count}\n\
             command={script}\nredirect_stderr=true\nautorestart=true\n\
             stdout_logfile={logs}/svc-%(process_num)05d\nstdout_logfile_maxbytes=1000000\n",
            count = self.count,
            script = self.script.display(),
            logs = logs.display()
        );
        self.scratch.write("supervisord.conf", &text, 0o644)?;
        Ok(())
    }

    fn names(&self) -> impl Iterator<Item = String> {
        (0..self.count).map(|number| format!("svc-{number:05}"))
    }

    /// Starts the supervisor and tells it of its services; returns when the last one is told.
    pub(crate) fn launch(&self) -> Result<Running> {
        let log = File::create(self.scratch.path().join("output"))?;
        let child = self
            .command()?
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("could not start a supervisor")?;
        let running = Running {
            child,
            run_dir: self.run_dir(),
        };
        if self.contender == Contender::Herm {
            self.register(&running)?;
        }
        Ok(running)
    }

    fn run_dir(&self) -> PathBuf {
        self.scratch.path().join("run")
    }

    fn command(&self) -> Result<Command> {
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--mount-proc", "--kill-child"]);
        let services = self.scratch.path().join("services");
        match self.contender {
            Contender::Herm => {
                let run_dir = self.scratch.dir("run")?;
                command
                    .arg(self.init)
                    .arg("--runtime-dir")
                    .arg(run_dir)
                    .arg("--");
                command
                    .env_remove("HERMES_HOME")
                    .env("HERM_MAIN", "none")
                    .env("HERM_SETUP", "0")
                    .env(
                        "HERM_LOG_STDOUT",
                        if self.forwards { "prefix" } else { "none" },
                    );
            }
            // A logged service takes two of its slots, and the default is 1,000 or fewer.
            Contender::S6 => {
                command.args(["s6-svscan", "-c", "100000"]).arg(services);
            }
            Contender::Runit => {
                command.arg("runsvdir").arg(services);
            }
            Contender::Supervisord => {
                let configuration = self.scratch.path().join("supervisord.conf");
                command
                    .args(["supervisord", "--nodaemon", "--configuration"])
                    .arg(configuration);
            }
            Contender::BareLoop => {
                command
                    .arg(std::env::current_exe()?)
                    .args(["role", "spawn"]);
                command.arg(&self.script).arg(self.count.to_string());
            }
        }
        Ok(command)
    }

    fn register(&self, running: &Running) -> Result<()> {
        let mut client = running.client()?;
        let mut waiting = 0;
        for name in self.names() {
            client.send(Op::Register {
                spec: Box::new(self.spec(name)),
            })?;
            waiting += 1;
            if waiting == WINDOW {
                client.answer()?;
                waiting -= 1;
            }
        }
        (0..waiting).try_for_each(|_| client.answer().map(drop))
    }

    /// A logged service of herm's.
    pub(crate) fn spec(&self, name: String) -> ServiceSpec {
        let dir = self.scratch.path().join("logs").join(&name);
        ServiceSpec {
            name,
            kind: Kind::Service,
            profile: None,
            argv: vec![self.script.display().to_string()],
            env: std::collections::BTreeMap::new(),
            unset_env: Vec::new(),
            cwd: None,
            user: None,
            oneshot: false,
            requires: Vec::new(),
            after: Vec::new(),
            readiness: ReadinessSpec::None,
            health: None,
            restart: RestartSpec::default(),
            stop: StopSpec::default(),
            finish: None,
            log: LogSpec {
                dir: Some(dir.display().to_string()),
                ..LogSpec::default()
            },
            port: None,
            initial: Desired::Up,
            disabled: None,
        }
    }
}

/// A supervisor that runs; killed, with everything in its namespace, when dropped.
pub(crate) struct Running {
    child: Child,
    run_dir: PathBuf,
}

impl Running {
    /// The supervisor's own pid: the first process of the namespace.
    pub(crate) fn pid(&self) -> Result<u32> {
        let wrapper = self.child.id();
        children(wrapper)?
            .first()
            .copied()
            .context("the supervisor has ended")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.run_dir.join("control.sock")
    }

    pub(crate) fn client(&self) -> Result<Client> {
        Client::connect(&self.socket())
    }

    /// Sends the supervisor the signal that ends it in order, and waits until it is gone.
    pub(crate) fn stop(mut self, signal: rustix::process::Signal) -> Result<()> {
        crate::host::kill(self.pid()?, signal)?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Already gone after an orderly stop.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
