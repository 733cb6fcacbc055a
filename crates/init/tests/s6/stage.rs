//! Where a scenario is played: a scan directory, and one of the two supervisors on it.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use herm_sys::Signal;

use crate::scenario::{Life, Service, Stay};

/// Nothing that works takes this long, on a machine however busy.
pub(crate) const HANG: Duration = Duration::from_secs(60);

/// Who supervises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Genuine,
    Herm,
}

/// A supervisor that is ended with the test.
pub(crate) struct Stage {
    pub(crate) dir: tempfile::TempDir,
    child: Child,
}

impl Stage {
    /// An empty place; services are written into it before the start.
    pub(crate) fn place() -> tempfile::TempDir {
        let dir = tempfile::Builder::new().prefix("s6").tempdir().unwrap();
        fs::create_dir(dir.path().join("service")).unwrap();
        dir
    }

    pub(crate) fn start(who: Who, dir: tempfile::TempDir) -> Self {
        let scan = dir.path().join("service");
        let mut command = match who {
            Who::Genuine => {
                let mut command = Command::new("s6-svscan");
                command.arg(&scan);
                command
            }
            Who::Herm => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_herm-init"));
                command.arg("--runtime-dir").arg(dir.path().join("run"));
                command.env("HERM_SCAN_DIR", &scan).env("HERM_SETUP", "0");
                command.env_remove("HERMES_HOME");
                command
            }
        };
        // What whoever runs the tests ignores (nohup does) would be ignored by every service, too.
        for signal in [Signal::HUP, Signal::INT, Signal::QUIT] {
            herm_sys::signals::restore_default(signal).unwrap();
        }
        let output = fs::File::create(dir.path().join("output")).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("{who:?}: {error}; is the package s6 installed?"));
        Self { dir, child }
    }

    pub(crate) fn scan(&self) -> PathBuf {
        self.dir.path().join("service")
    }

    pub(crate) fn service(&self, name: &str) -> PathBuf {
        self.scan().join(name)
    }

    /// What a service's scripts left in the trace.
    pub(crate) fn trace(&self, name: &str) -> String {
        read(&self.dir.path().join(format!("{name}.trace")))
    }

    pub(crate) fn log(&self, name: &str) -> String {
        read(&self.dir.path().join(format!("{name}.log")))
    }

    /// Sends the scanner a signal.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(status.unwrap().success());
    }

    /// Waits for the scanner's end.
    pub(crate) fn end(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    pub(crate) fn output(&self) -> String {
        read(&self.dir.path().join("output"))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let pid = self.child.id().to_string();
        // A scanner ends its services when it is told to.
        let _ = Command::new("kill").args(["-TERM", &pid]).status();
        let began = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            if began.elapsed() > Duration::from_secs(20) {
                self.child.kill().unwrap();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// Waits until something holds, and fails loudly where it never does.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) -> Result<(), String> {
    let began = Instant::now();
    while !holds() {
        if began.elapsed() > HANG {
            return Err(format!("never came: {what}"));
        }
        std::thread::sleep(Duration::from_millis(4));
    }
    Ok(())
}

/// Runs one of the family's programs; its exit code and what it printed.
pub(crate) fn tool(program: impl AsRef<Path>, args: &[&str], path: &Path) -> (i32, String) {
    let output = Command::new(program.as_ref())
        .args(args)
        .arg(path)
        .output()
        .unwrap();
    (
        output.status.code().unwrap_or(-1),
        String::from_utf8_lossy(&output.stdout).into_owned(),
    )
}

/// Writes a service directory, as something to be renamed into place.
pub(crate) fn write_service(at: &Path, service: &Service, traces: &Path) {
    fs::create_dir_all(at.join("data")).unwrap();
    let script = |path: PathBuf, text: String| {
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    };
    let name = service.name;
    let trace = traces.join(format!("{name}.trace")).display().to_string();
    script(at.join("run"), run_script(service, &trace));
    if let Some(codes) = &service.finish {
        let mut text = format!("#!/bin/sh\nread n <data/n\necho \"finish $1 $2 $3\" >>{trace}\n");
        if service.finish_hangs {
            fs::write(at.join("timeout-finish"), "1000\n").unwrap();
            text += "exec sleep 1000\n";
        }
        for (place, code) in codes.iter().enumerate() {
            let _ = writeln!(text, "[ $n -eq {} ] && exit {code}", place + 1);
        }
        let _ = writeln!(text, "exit {}", codes.last().unwrap());
        script(at.join("finish"), text);
    }
    let file = |name: &str, text: &str| fs::write(at.join(name), text).unwrap();
    if service.notifies {
        file("notification-fd", "3\n");
    }
    if let Some(signal) = service.down_signal {
        file("down-signal", &format!("{signal}\n"));
    }
    if service.timeout_kill {
        file("timeout-kill", "200\n");
    }
    if service.down {
        file("down", "");
    }
    if service.logged {
        let log = traces.join(format!("{name}.log")).display().to_string();
        fs::create_dir(at.join("log")).unwrap();
        script(at.join("log/run"), format!("#!/bin/sh\nexec cat >>{log}\n"));
    }
}

fn run_script(service: &Service, trace: &str) -> String {
    let mut text = format!(
        "#!/bin/sh\nn=0\n[ -e data/n ] && read n <data/n\nn=$((n+1))\necho $n >data/n\n\
         echo \"line $n\"\necho \"run $*\" >>{trace}\n"
    );
    for (place, life) in service.lives.iter().enumerate() {
        let end = match life {
            Life::Exit(code) => format!("exit {code}"),
            Life::Die(signal) => format!("kill -{signal} $$"),
        };
        let _ = writeln!(text, "[ $n -eq {} ] && {end}", place + 1);
    }
    let ready = if service.notifies { "echo >&3\n" } else { "" };
    let stay = match service.stay {
        Stay::Plain => [ready, "exec sleep 1000\n"],
        Stay::Deaf => ["trap '' TERM\n", ready],
        Stay::Graceful => [
            "[ -p data/f ] || mkfifo data/f\nexec 4<>data/f\ntrap 'exit 7' TERM\n",
            ready,
        ],
    };
    text.extend(stay);
    text.push_str(match service.stay {
        Stay::Plain => "",
        Stay::Deaf => "exec sleep 1000\n",
        Stay::Graceful => "read x <&4\n",
    });
    text
}
