//! A log daemon as a process, with the test in PID 1's place.

use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use herm_init::logproto::{
    ARGV0, Config, Forward, FromLogd, Identity, Limits, Open, Received, SendError, Target, ToLogd,
    arguments, pair, receive, send,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

/// A hang guard: nothing here takes as long on any machine that works.
const PATIENCE: Timespec = Timespec {
    tv_sec: 60,
    tv_nsec: 0,
};

/// What PID 1 keeps over the lives of log daemons.
pub(crate) struct World {
    pub(crate) home: tempfile::TempDir,
    memfd: OwnedFd,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            home: tempfile::tempdir().unwrap(),
            memfd: memfd_create("herm-log-hold", MemfdFlags::CLOEXEC).unwrap(),
        }
    }

    /// Starts a log daemon that writes to `/dev/null` instead of stdout.
    pub(crate) fn start(&self) -> Logd {
        self.start_with(Stdio::null(), None)
    }

    pub(crate) fn start_with(&self, stdout: Stdio, identity: Option<Identity>) -> Logd {
        let (ours, theirs) = pair().unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_herm-init"))
            .arg0(ARGV0)
            .args(&arguments(identity)[1..])
            .stdin(Stdio::from(theirs))
            .stdout(stdout)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let logd = Logd {
            child,
            control: ours,
            seen: Vec::new(),
            token: 0,
        };
        logd.send(&ToLogd::Hold, Some(&self.memfd));
        logd.send(&ToLogd::Config(Config::default()), None);
        logd
    }

    /// A run that logs to `logs/<service>` of the home.
    pub(crate) fn run(&self, run: u64, service: &str) -> Run {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        Run {
            open: Open {
                run,
                service: service.to_owned(),
                target: Some(Target {
                    base: self.home.path().to_owned(),
                    dir: Path::new("logs").join(service),
                }),
                limits: Limits::default(),
                forward: Forward::None,
                resumed: false,
                dropped: 0,
            },
            read,
            write: Some(write),
        }
    }

    pub(crate) fn directory(&self, service: &str) -> PathBuf {
        self.home.path().join("logs").join(service)
    }

    /// The lines of `current` without their stamps, each of which is checked to be one.
    pub(crate) fn lines(&self, service: &str) -> Vec<String> {
        lines_of(&self.directory(service).join("current"))
    }

    /// Those of the rotated files and `current`, in order.
    pub(crate) fn all_lines(&self, service: &str) -> Vec<String> {
        let mut files = self.files(service);
        files.sort();
        files.iter().flat_map(|file| lines_of(file)).collect()
    }

    /// All files of a log directory. `current` sorts last.
    pub(crate) fn files(&self, service: &str) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.directory(service)).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }
}

fn lines_of(path: &Path) -> Vec<String> {
    let bytes = std::fs::read(path).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    assert!(
        text.is_empty() || text.ends_with('\n'),
        "the last line is torn"
    );
    text.lines().map(unstamped).collect()
}

/// Takes the stamp off a line of a kept copy.
pub(crate) fn unstamped(line: &str) -> String {
    let (stamp, rest) = line.split_at_checked(28).unwrap_or((line, ""));
    let shape: String = stamp
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    assert_eq!(
        shape, "0000-00-00T00:00:00.000000Z ",
        "no stamp on {line:?}"
    );
    rest.to_owned()
}

/// A service's run, as PID 1 has it.
pub(crate) struct Run {
    pub(crate) open: Open,
    pub(crate) read: OwnedFd,
    pub(crate) write: Option<OwnedFd>,
}

impl Run {
    /// Gives the pipe another size, if the kernel lets us.
    pub(crate) fn sized(self, bytes: usize) -> Self {
        fcntl_setpipe_size(&self.read, bytes).unwrap();
        self
    }

    /// Writes all of it, as a service would.
    pub(crate) fn write(&self, bytes: &[u8]) {
        write_all(self.write.as_ref().unwrap(), bytes);
    }

    /// Every writer lets go.
    pub(crate) fn end(&mut self) {
        self.write = None;
    }
}

pub(crate) fn write_all(to: &OwnedFd, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let n = rustix::io::write(to, bytes).unwrap();
        bytes = &bytes[n..];
    }
}

/// A running log daemon.
pub(crate) struct Logd {
    child: Child,
    control: OwnedFd,
    seen: Vec<FromLogd>,
    token: u64,
}

impl Logd {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn control(&self) -> &OwnedFd {
        &self.control
    }

    pub(crate) fn send(&self, message: &ToLogd, fd: Option<&OwnedFd>) {
        loop {
            match send(self.control.as_fd(), message, fd.map(AsFd::as_fd)) {
                Err(SendError::Full) => {
                    let mut ready = [PollFd::new(&self.control, PollFlags::OUT)];
                    assert!(poll(&mut ready, Some(&PATIENCE)).unwrap() > 0);
                }
                sent => return sent.unwrap(),
            }
        }
    }

    pub(crate) fn open(&self, run: &Run) {
        self.send(&ToLogd::Open(Box::new(run.open.clone())), Some(&run.read));
    }

    /// Waits for a message that `pick` makes something of. Those before it can still be had.
    pub(crate) fn wait_for<T>(&mut self, pick: impl Fn(&FromLogd) -> Option<T>) -> T {
        loop {
            if let Some(at) = self.seen.iter().position(|message| pick(message).is_some()) {
                return pick(&self.seen.remove(at)).unwrap();
            }
            let mut ready = [PollFd::new(&self.control, PollFlags::IN)];
            assert!(
                poll(&mut ready, Some(&PATIENCE)).unwrap() > 0,
                "no message, but {:?}",
                self.seen
            );
            match receive(self.control.as_fd()).unwrap() {
                Received::Message(message, None) => self.seen.push(message),
                other => panic!("{other:?} after {:?}", self.seen),
            }
        }
    }

    /// Waits until all that was written before is logged.
    pub(crate) fn flush(&mut self) {
        self.token += 1;
        let expected = self.token;
        self.send(&ToLogd::Flush { token: expected }, None);
        self.wait_for(|message| match message {
            FromLogd::Flushed { token } if *token == expected => Some(()),
            _ => None,
        });
    }

    /// Waits for a run's end: its bytes and dropped lines.
    pub(crate) fn eof(&mut self, wanted: u64) -> (u64, u64) {
        self.wait_for(|message| match message {
            FromLogd::Eof {
                run,
                bytes,
                dropped,
            } if *run == wanted => Some((*bytes, *dropped)),
            _ => None,
        })
    }

    pub(crate) fn problem(&mut self) -> String {
        self.wait_for(|message| match message {
            FromLogd::Problem { text, .. } => Some(text.clone()),
            _ => None,
        })
    }

    /// The latest number of lines that the log neither has nor tells of, of those reported.
    pub(crate) fn owed(&self, wanted: u64) -> Option<u64> {
        self.seen.iter().rev().find_map(|message| match message {
            FromLogd::Dropped { run, lines, .. } if *run == wanted => Some(*lines),
            _ => None,
        })
    }

    /// Lines that were reported as dropped for good.
    pub(crate) fn lost(&self, wanted: u64) -> u64 {
        let lost = self.seen.iter().map(|message| match message {
            FromLogd::Dropped { run, lost, .. } if *run == wanted => *lost,
            _ => 0,
        });
        lost.sum()
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends it in order.
    pub(crate) fn finish(mut self) {
        self.send(&ToLogd::Finish, None);
        self.wait_for(|message| matches!(message, FromLogd::Finished).then_some(()));
        assert!(self.child.wait().unwrap().success());
    }

    /// Lets go of the control socket, as a PID 1 that dies does, and waits for the end.
    pub(crate) fn abandon(self) -> std::process::ExitStatus {
        let Self {
            mut child, control, ..
        } = self;
        drop(control);
        child.wait().unwrap()
    }
}

/// Reads a pipe to its end.
pub(crate) fn read_to_end(pipe: OwnedFd) -> Vec<u8> {
    let mut bytes = Vec::new();
    std::fs::File::from(pipe).read_to_end(&mut bytes).unwrap();
    bytes
}
