//! A container of a test's own.

use std::process::Command;

use crate::SERVICE_USER;
use crate::command::{Finished, docker, run, run_with_input};
use crate::follow::Lines;
use crate::http::{CLIENT, Response, request};
use crate::image::Image;
use crate::leftovers::{label, unique_name};
use crate::terminal::Terminal;
use crate::volume::Volume;

/// How a container shall be run; [`Container::of`] begins it.
#[derive(Debug, Clone)]
pub struct Options {
    image: String,
    flags: Vec<String>,
    command: Vec<String>,
}

impl Options {
    /// Sets an environment variable.
    #[must_use]
    pub fn env(self, name: &str, value: &str) -> Self {
        self.flag(&format!("--env={name}={value}"))
    }

    /// Mounts a volume at a path.
    #[must_use]
    pub fn volume(self, volume: &Volume, at: &str) -> Self {
        self.flag(&format!("--volume={}:{at}", volume.name()))
    }

    /// Adds any other flag of `docker run`.
    #[must_use]
    pub fn flag(mut self, flag: &str) -> Self {
        self.flags.push(flag.to_owned());
        self
    }

    /// Lets root in it make namespaces of its own, as `unshare` does: what a container for each would
    /// show, at a fraction of the time.
    #[must_use]
    pub fn can_unshare(self) -> Self {
        self.flag("--cap-add=SYS_ADMIN")
            .flag("--security-opt=seccomp=unconfined")
            .flag("--security-opt=apparmor=unconfined")
            .flag("--security-opt=systempaths=unconfined")
    }

    /// Sets what follows the image: the main program and its arguments.
    #[must_use]
    pub fn command(mut self, words: &[&str]) -> Self {
        self.command = words.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// Starts the container and leaves it running.
    #[track_caller]
    pub fn run(&self) -> Container {
        let container = Container {
            name: unique_name(),
        };
        self.docker_run(&["--detach", &format!("--name={}", container.name)], b"")
            .succeeds();
        container
    }

    /// Runs the container in the foreground to its end and removes it.
    #[track_caller]
    pub fn run_to_end(&self) -> Finished {
        self.run_to_end_with_input(b"")
    }

    /// As [`Options::run_to_end`], with these bytes as the main program's standard input.
    #[track_caller]
    pub fn run_to_end_with_input(&self, input: &[u8]) -> Finished {
        let container = Container {
            name: unique_name(),
        };
        self.docker_run(
            &["--interactive", &format!("--name={}", container.name)],
            input,
        )
    }

    /// Runs the container on a terminal (`docker run -it`).
    #[track_caller]
    pub fn run_in_terminal(&self) -> (Container, Terminal) {
        let container = Container {
            name: unique_name(),
        };
        let name = format!("--name={}", container.name);
        let terminal = Terminal::of(&self.command_line(&["--interactive", "--tty", &name]));
        (container, terminal)
    }

    #[track_caller]
    fn docker_run(&self, how: &[&str], input: &[u8]) -> Finished {
        run_with_input(&mut self.command_line(how), input)
    }

    fn command_line(&self, how: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command
            .arg("run")
            .arg(label())
            .args(how)
            .args(&self.flags)
            .arg(&self.image)
            .args(&self.command);
        command
    }
}

/// A container; removed with its anonymous volumes when dropped. If the test is failing then, its
/// logs and herm's own status are printed first.
#[derive(Debug)]
pub struct Container {
    name: String,
}

impl Container {
    /// Begins a container of this image.
    pub fn of(image: &Image) -> Options {
        Options {
            image: image.tag().to_owned(),
            flags: Vec::new(),
            command: Vec::new(),
        }
    }

    /// Its name, as `docker` takes it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs a command in it as the service user.
    #[track_caller]
    pub fn exec(&self, argv: &[&str]) -> Finished {
        self.exec_with(&["--user", SERVICE_USER], argv, b"")
    }

    /// As [`Container::exec`], with these bytes as standard input.
    #[track_caller]
    pub fn exec_with_input(&self, argv: &[&str], input: &[u8]) -> Finished {
        self.exec_with(&["--user", SERVICE_USER], argv, input)
    }

    /// Runs a command in it as root. `reason` says why the test needs that.
    #[track_caller]
    pub fn exec_root(&self, reason: &str, argv: &[&str]) -> Finished {
        assert!(!reason.is_empty(), "root needs a reason");
        self.exec_with(&["--user", "0:0"], argv, b"")
    }

    /// Runs a command in it with these flags of `docker exec` (a user, variables, a directory).
    #[track_caller]
    pub fn exec_with(&self, flags: &[&str], argv: &[&str], input: &[u8]) -> Finished {
        let mut command = Command::new("docker");
        command
            .args(["exec", "--interactive"])
            .args(flags)
            .arg(&self.name)
            .args(argv);
        run_with_input(&mut command, input)
    }

    /// Starts a command in it as the service user and follows its lines.
    #[track_caller]
    pub fn exec_follow(&self, argv: &[&str]) -> Lines {
        Lines::of(
            Command::new("docker")
                .args(["exec", "--user", SERVICE_USER, &self.name])
                .args(argv),
        )
    }

    /// Runs a shell script in it as the service user.
    #[track_caller]
    pub fn sh(&self, script: &str) -> Finished {
        self.exec(&["sh", "-c", script])
    }

    /// Asks an HTTP server on a port of the container's own loopback; `None` if none answers.
    #[track_caller]
    pub fn http_get(&self, port: u16, path: &str) -> Option<Response> {
        self.http(port, "GET", path, &[], "")
    }

    /// As [`Container::http_get`] with any method, headers and body.
    #[track_caller]
    pub fn http(
        &self,
        port: u16,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Option<Response> {
        let message = request(method, path, headers, body);
        let argv = ["bash", "-c", CLIENT, "http", &port.to_string()];
        Response::parse(&self.exec_with_input(&argv, message.as_bytes()).stdout)
    }

    /// Everything the container wrote since it was created: standard output, then standard error.
    #[track_caller]
    pub fn logs(&self) -> String {
        let logs = docker(&["logs", &self.name]);
        logs.succeeds();
        logs.stdout + &logs.stderr
    }

    /// Follows what the container writes from now on (`docker logs --follow --tail 0`).
    #[track_caller]
    pub fn follow_logs(&self) -> Lines {
        Lines::of(Command::new("docker").args(["logs", "--follow", "--tail", "0", &self.name]))
    }

    /// Follows what the container wrote since it was created and what it writes from now on.
    #[track_caller]
    pub fn follow_all_logs(&self) -> Lines {
        Lines::of(Command::new("docker").args(["logs", "--follow", &self.name]))
    }

    /// `docker restart`.
    #[track_caller]
    pub fn restart(&self) {
        docker(&["restart", &self.name]).succeeds();
    }

    /// `docker stop`.
    #[track_caller]
    pub fn stop(&self) {
        docker(&["stop", &self.name]).succeeds();
    }

    /// `docker start`.
    #[track_caller]
    pub fn start(&self) {
        docker(&["start", &self.name]).succeeds();
    }

    /// `docker kill` with this signal (`KILL`, `TERM`).
    #[track_caller]
    pub fn kill(&self, signal: &str) {
        docker(&["kill", "--signal", signal, &self.name]).succeeds();
    }

    /// Waits until the container has ended and gives its exit code.
    #[track_caller]
    pub fn wait(&self) -> i32 {
        let waited = docker(&["wait", &self.name]);
        waited
            .succeeds()
            .parse()
            .unwrap_or_else(|_| panic!("no exit code: {waited}"))
    }

    /// A field of `docker inspect`, by its path in Go's template language (`.State.Running`).
    #[track_caller]
    pub fn inspect(&self, field: &str) -> serde_json::Value {
        docker(&[
            "inspect",
            "--format",
            &format!("{{{{json {field}}}}}"),
            &self.name,
        ])
        .json()
    }

    /// True while the container runs.
    #[track_caller]
    pub fn is_running(&self) -> bool {
        self.inspect(".State.Running") == true
    }

    /// The pid of its PID 1 in the host's own numbering.
    #[track_caller]
    pub fn host_pid(&self) -> u64 {
        self.inspect(".State.Pid")
            .as_u64()
            .unwrap_or_else(|| panic!("{} has no pid", self.name))
    }

    fn show(&self) {
        eprintln!("==== container {} ====", self.name);
        let logs = docker(&["logs", "--timestamps", &self.name]);
        eprintln!("{}{}", logs.stdout, logs.stderr);
        let status = docker(&[
            "exec",
            "--user",
            SERVICE_USER,
            &self.name,
            "herm",
            "status",
            "--json",
        ]);
        eprintln!("==== herm status of {}: {status}", self.name);
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.show();
        }
        run(Command::new("docker").args(["rm", "--force", "--volumes", &self.name]));
    }
}
