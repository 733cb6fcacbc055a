//! Finding out whose an orphan is when neither its session, nor its group, nor its descent tell.
//!
//! Every run's processes carry a variable with the run's number from the start. PID 1 may not be
//! allowed to read it (plain Docker denies root another user's `/proc/<pid>/environ`), and reading
//! it could wait on a stuck process; so a helper with that user's own uid does, and is killed if it
//! takes too long.

use std::io::Write as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;

use herm_engine::{SortedSet, Time};
use herm_sys::process::{self, Identity};
use herm_sys::spawn::Capabilities;

use super::known_set::COOKIE;
use super::launch::hand_over;
use super::reactor::{Interest, Source};
use super::supervisor::{Helper, Supervisor};

/// The name (argv[0]) by which `herm-init` looks for cookies.
pub(crate) const ARGV0: &str = "herm-cookies";

/// A helper that takes longer is killed, and has found nothing.
const WITHIN: Duration = Duration::from_secs(1);

/// Processes asked about at once; the rest are asked about next.
const BATCH: usize = 256;

/// Longest answer read.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// The helper that runs, if one does.
#[derive(Debug, Default)]
pub(crate) struct Cookies {
    asking: Option<Asking>,
}

#[derive(Debug)]
struct Asking {
    pid: i32,
    uid: u32,
    about: Vec<Identity>,
    pipe: OwnedFd,
    answer: Vec<u8>,
    deadline: Time,
}

impl Cookies {
    /// When the helper has had its time.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.asking
            .as_ref()
            .map(|asking| asking.deadline)
            .filter(|at| *at < Time::MAX)
    }

    /// The helper, if it has had its time; said once.
    pub(crate) fn overdue(&mut self, now: Time) -> Option<i32> {
        let asking = self
            .asking
            .as_mut()
            .filter(|asking| asking.deadline <= now)?;
        asking.deadline = Time::MAX;
        Some(asking.pid)
    }
}

impl Supervisor {
    /// Has a helper look at orphans that could belong to one of the draining runs. Returns the
    /// users whose orphans are still being looked at.
    pub(crate) fn ask_for_cookies(
        &mut self,
        unknown: &[Identity],
        draining: &[u64],
    ) -> SortedSet<u32> {
        let uids = draining
            .iter()
            .filter_map(|run| self.runs.get(run))
            .map(|run| run.record.uid);
        let uids: SortedSet<u32> = uids.collect();
        let mut pending = SortedSet::new();
        for uid in uids {
            let theirs: Vec<Identity> = unknown
                .iter()
                .filter(|identity| process::users(identity.pid).is_ok_and(|ids| ids[0] == uid))
                .copied()
                .take(BATCH)
                .collect();
            if theirs.is_empty() {
                continue;
            }
            pending.insert(uid);
            if self.cookies.asking.is_none()
                && let Err(why) = self.start_asking(uid, theirs.clone())
            {
                self.output
                    .warn(&format!("cannot find out whose orphans are: {why}"));
                self.conclude(&theirs, &[]);
                pending.remove(&uid);
            }
        }
        pending
    }

    fn start_asking(&mut self, uid: u32, about: Vec<Identity>) -> Result<(), String> {
        let mut argv = vec![ARGV0.to_owned()];
        argv.extend(self.log_pipes(uid));
        argv.extend(
            about
                .iter()
                .map(|identity| identity.pid.as_raw_pid().to_string()),
        );
        let mut launch = self.own_program(&argv)?;
        launch.env.clear();
        launch.no_new_privs = true;
        launch.cwd = Some(c"/".into());
        if uid != Self::uid() {
            // Nobody may look into a process of another group either (ptrace(2), access modes).
            let mut theirs = self.runs.values().filter(|run| run.record.uid == uid);
            let gid = theirs.find_map(|run| run.record.gid);
            launch.capabilities = Capabilities::DropAll;
            launch.identity = Some(herm_sys::spawn::Identity {
                uid,
                gid: gid.unwrap_or(uid),
                groups: Vec::new(),
            });
        }
        let flags = rustix::pipe::PipeFlags::CLOEXEC | rustix::pipe::PipeFlags::NONBLOCK;
        let (pipe, theirs) = rustix::pipe::pipe_with(flags).map_err(|error| error.to_string())?;
        hand_over(&mut launch, theirs, 1);
        self.reactor
            .add(&pipe, Source::Cookies, Interest::Read)
            .map_err(|error| error.to_string())?;
        let pid = self.spawn_helper(launch, Helper::Cookies)?.as_raw_pid();
        let deadline = self.clock().now + WITHIN;
        let answer = Vec::new();
        self.cookies.asking = Some(Asking {
            pid,
            uid,
            about,
            pipe,
            answer,
            deadline,
        });
        Ok(())
    }

    /// The log pipes of a user's runs, as the helper is told of them: of all, for no process is
    /// asked about twice.
    fn log_pipes(&self, uid: u32) -> Vec<String> {
        let theirs = self.runs.values().filter(|run| run.record.uid == uid);
        let pipe = |run: &super::supervisor::Run| {
            let inode = rustix::fs::fstat(run.log.as_ref()?).ok()?.st_ino;
            Some(format!("pipe:[{inode}]={}", self.cookie(run.record.run)))
        };
        theirs.filter_map(|run| pipe(run)).collect()
    }

    /// The helper has written, or is done.
    pub(crate) fn cookies_readable(&mut self) {
        let Some(asking) = &mut self.cookies.asking else {
            return;
        };
        if !read_some(&asking.pipe, &mut asking.answer) {
            // What it found counts when it has ended, lest it be asked again before.
            self.reactor.remove(asking.pipe.as_fd());
        }
    }

    /// The helper has ended.
    pub(crate) fn cookies_ended(&mut self) {
        let Some(mut asking) = self.cookies.asking.take() else {
            return;
        };
        while read_some(&asking.pipe, &mut asking.answer) {}
        self.reactor.remove(asking.pipe.as_fd());
        self.output.debug(&format!(
            "looked at {} orphans of uid {}",
            asking.about.len(),
            asking.uid
        ));
        self.conclude(&asking.about, &asking.answer);
        self.recount = true;
    }

    fn conclude(&mut self, about: &[Identity], answer: &[u8]) {
        let prefix = format!("{}.", self.instance);
        let text = String::from_utf8_lossy(answer);
        for identity in about {
            let pid = identity.pid.as_raw_pid().to_string();
            let run = text.lines().find_map(|line| {
                let (about, cookie) = line.split_once(' ')?;
                (about == pid)
                    .then(|| cookie.strip_prefix(&prefix)?.parse().ok())
                    .flatten()
            });
            self.attributions.learn(*identity, run);
        }
    }
}

/// Reads what there is; whether there may be more.
fn read_some(pipe: &OwnedFd, answer: &mut Vec<u8>) -> bool {
    let mut chunk = [0_u8; 4096];
    match rustix::io::read(pipe, &mut chunk) {
        Ok(count) if count > 0 && answer.len() < ANSWER_BYTES_MAX => {
            answer.extend_from_slice(chunk.get(..count).unwrap_or_default());
            true
        }
        Ok(_) | Err(_) => false,
    }
}

/// Entry point of the helper: prints `<pid> <cookie>` for each of the named processes that carries
/// a cookie or holds one of the named log pipes.
pub(crate) fn main(args: &[String]) -> u8 {
    let (pipes, pids): (Vec<&String>, Vec<&String>) =
        args.iter().partition(|arg| arg.starts_with("pipe:"));
    let pipes: Vec<(&str, &str)> = pipes
        .into_iter()
        .filter_map(|pipe| pipe.split_once('='))
        .collect();
    let mut found = String::new();
    for pid in pids
        .into_iter()
        .filter(|pid| pid.bytes().all(|byte| byte.is_ascii_digit()))
    {
        if let Some(cookie) = carried(pid).or_else(|| held(pid, &pipes)) {
            found.extend([pid, " ", &cookie, "\n"]);
        }
    }
    u8::from(std::io::stdout().write_all(found.as_bytes()).is_err())
}

/// The cookie in a process's environment.
fn carried(pid: &str) -> Option<String> {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
    let name = format!("{COOKIE}=");
    let mut entries = environment.split(|byte| *byte == 0);
    let cookie = entries.find_map(|entry| entry.strip_prefix(name.as_bytes()))?;
    Some(String::from_utf8_lossy(cookie).into_owned())
}

/// The cookie that goes with a pipe a process holds.
fn held(pid: &str, pipes: &[(&str, &str)]) -> Option<String> {
    let fds = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    let mut targets = fds
        .flatten()
        .filter_map(|fd| std::fs::read_link(fd.path()).ok());
    targets.find_map(|target| {
        let known = pipes.iter().find(|(pipe, _)| target.as_os_str() == *pipe)?;
        Some(known.1.to_owned())
    })
}
