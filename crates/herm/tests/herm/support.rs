//! A home in a temporary directory, the program run on it, and `herm up` as a child.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Nothing here takes this long; it ends a test that would hang.
pub(crate) const HANG_GUARD: Duration = Duration::from_secs(60);

/// Gateways take the first free of the ports that their names lead to, and the same names in homes
/// on one machine lead to the same ports: two that look at the same moment would both find one
/// free. So one `herm up` at a time.
static PORTS: Mutex<()> = Mutex::new(());

/// Nobody else starts gateways while this value lives.
pub(crate) type Turn = MutexGuard<'static, ()>;

/// Waits for a turn.
pub(crate) fn turn() -> Turn {
    PORTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A home that is removed with the value.
pub(crate) struct TestHome {
    dir: tempfile::TempDir,
}

impl TestHome {
    pub(crate) fn new() -> Self {
        // Short, so that the control socket fits below it.
        Self {
            dir: tempfile::Builder::new().prefix("h").tempdir().unwrap(),
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    /// `herm --home <this> …`, without the variables of whoever runs the tests.
    pub(crate) fn command<S: AsRef<OsStr>>(&self, args: &[S]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_herm"));
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("HERM")
                || text.starts_with("XDG_")
                || text.starts_with("API_SERVER")
            {
                command.env_remove(&name);
            }
        }
        command
            .env("HERMES_HOME", self.path())
            .args(args)
            .stdin(Stdio::null());
        command
    }

    /// A home that belongs to a user, in a place that user can reach.
    pub(crate) fn of_user(uid: u32) -> Self {
        let home = Self::new();
        fs::set_permissions(home.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(home.path()).unwrap();
        chown(home.path(), Some(uid), Some(uid)).unwrap();
        home
    }

    /// `herm up` as a user.
    pub(crate) fn up_as(&self, uid: u32) -> Up {
        let mut command = self.command(&["up", "--no-dashboard"]);
        command.uid(uid).gid(uid);
        Up::start(command, turn())
    }

    /// What in the home is not this user's.
    pub(crate) fn files_not_of(&self, uid: u32) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut dirs = vec![self.path()];
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(&dir).unwrap() {
                let path = entry.unwrap().path();
                // A temporary file may be gone again.
                let Ok(meta) = fs::symlink_metadata(&path) else {
                    continue;
                };
                if meta.is_dir() {
                    dirs.push(path.clone());
                }
                if meta.uid() != uid {
                    found.push(path);
                }
            }
        }
        found
    }

    /// A gateway that no supervisor knows, once it serves.
    pub(crate) fn gateway_in_the_foreground(&self, profile: &str) -> Child {
        let mut command = self.command(&["-p", profile, "gateway", "run", "--no-supervise"]);
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (sender, receiver) = channel();
        thread::spawn(move || {
            lines
                .map_while(Result::ok)
                .filter(|line| line.contains("listening on"))
                .try_for_each(|line| sender.send(line))
        });
        receiver.recv_timeout(HANG_GUARD).expect("it serves");
        child
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Outcome {
        Outcome::of(&self.command(args).output().unwrap())
    }

    /// Runs a command that must succeed.
    pub(crate) fn ok(&self, args: &[&str]) -> Outcome {
        let outcome = self.run(args);
        assert_eq!(outcome.code, Some(0), "herm {args:?}: {outcome:?}");
        outcome
    }

    /// The JSON of a command that must succeed.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.ok(args).stdout).unwrap()
    }

    /// A service of the running supervisor.
    pub(crate) fn service(&self, name: &str) -> Value {
        let services = self.json(&["service", "list", "--json"]);
        let found = services
            .as_array()
            .unwrap()
            .iter()
            .find(|service| service["name"] == name);
        found.cloned().unwrap_or(Value::Null)
    }

    /// `herm up`, once it says that the default gateway answers or the supervisor is up.
    pub(crate) fn up(&self) -> Up {
        self.up_in(turn())
    }

    /// The same with a variable.
    pub(crate) fn up_with(&self, name: &str, value: &str) -> Up {
        let mut command = self.command(&["up", "--no-dashboard"]);
        command.env(name, value);
        Up::start(command, turn())
    }

    /// The same, started so that it outlives its terminal.
    pub(crate) fn up_under_nohup(&self) -> Up {
        let up = self.command(&["up", "--no-dashboard"]);
        let mut nohup = Command::new("nohup");
        nohup.arg(up.get_program()).args(up.get_args());
        for (name, value) in up.get_envs() {
            match value {
                Some(value) => nohup.env(name, value),
                None => nohup.env_remove(name),
            };
        }
        Up::start(nohup, turn())
    }

    /// The same for whoever has had its turn for something before.
    pub(crate) fn up_in(&self, turn: Turn) -> Up {
        Up::start(self.command(&["up", "--no-dashboard"]), turn)
    }
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Outcome {
    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            code: output.status.code(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }
}

/// A running `herm up`; killed when dropped.
pub(crate) struct Up {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
    /// Given back when the value, and with it the supervisor, is gone.
    _turn: Turn,
}

impl Up {
    fn start(mut command: Command, turn: Turn) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || {
            output
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| sender.send(line))
        });
        Self {
            child,
            lines,
            seen: Vec::new(),
            _turn: turn,
        }
    }

    /// Waits for a line that contains a text, and returns it.
    pub(crate) fn line_with(&mut self, text: &str) -> String {
        loop {
            match self.lines.recv_timeout(HANG_GUARD) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(error) => panic!(
                    "no line with {text:?} ({error}); there were {:#?}",
                    self.seen
                ),
            }
        }
    }

    /// What a terminal's Ctrl-C does, and the exit code.
    pub(crate) fn ctrl_c(self) -> Option<i32> {
        self.sent(Signal::INT)
    }

    /// What a signal does that ends it, and the exit code.
    pub(crate) fn sent(mut self, signal: Signal) -> Option<i32> {
        self.send(signal);
        self.child.wait().unwrap().code()
    }

    pub(crate) fn send(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// The whole machine dies, as far as a process can: nobody gets to say goodbye. The
    /// supervisor's descendants are found by their parents before it is killed.
    pub(crate) fn power_loss(mut self) {
        let root = self.child.id();
        let family = descendants(root);
        for pid in std::iter::once(root).chain(family) {
            if let Some(pid) = Pid::from_raw(i32::try_from(pid).unwrap()) {
                // One that ended meanwhile is as dead as it should be.
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        self.child.wait().unwrap();
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        if thread::panicking() {
            self.seen.extend(self.lines.try_iter());
            eprintln!("herm up said {:#?}", self.seen);
        }
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
            let _ = self.child.wait();
        }
    }
}

fn descendants(root: u32) -> Vec<u32> {
    let children = |parent: u32| -> Vec<u32> {
        let all = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
        all.filter_map(|entry| entry.file_name().to_string_lossy().parse::<u32>().ok())
            .filter(|pid| {
                let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
                let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
                after_name.split_ascii_whitespace().nth(1) == Some(&parent.to_string())
            })
            .collect()
    };
    let mut found = children(root);
    let mut next = 0;
    while let Some(pid) = found.get(next).copied() {
        found.extend(children(pid));
        next += 1;
    }
    found
}

/// Status code of `GET http://127.0.0.1:<port>/health`.
pub(crate) fn health(port: u64) -> u16 {
    let mut stream = TcpStream::connect(("127.0.0.1", u16::try_from(port).unwrap())).unwrap();
    stream.set_read_timeout(Some(HANG_GUARD)).unwrap();
    stream
        .write_all(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .unwrap_or(0)
}
