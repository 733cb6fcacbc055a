//! What `/proc` says about processes: who descends from whom, who holds a pipe, who is the same as before.
//!
//! Only files whose reading takes no lock of the process's memory are read here (`stat`, `status`, `statm`, `fd`), so that a
//! process stuck in the kernel can't hold up PID 1. [`has_in_environment`] is the exception and says so.

use std::ffi::{CStr, CString};

use rustix::fs::{CWD, Dir, Mode, OFlags, open, readlinkat};
use rustix::io::Errno;
use rustix::process::{Pid, getpid, set_child_subreaper};

/// The most that is read of a file of `/proc`.
const PROC_FILE_BYTES_MAX: usize = 64 * 1024;

/// One line of `/proc/<pid>/stat` (`proc_pid_stat(5)`), as far as herm uses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Its number.
    pub pid: Pid,
    /// Its name, at most 15 bytes, any bytes.
    pub name: Vec<u8>,
    /// `R` running, `S` sleeping, `D` uninterruptible, `T` stopped, `Z` zombie, …
    pub state: char,
    /// Its parent; `None` for 0, which is outside our namespace.
    pub parent: Option<Pid>,
    /// Its process group.
    pub group: i32,
    /// Its session.
    pub session: i32,
    /// Processor time in user and kernel mode, clock ticks.
    pub cpu_ticks: u64,
    /// When it started, clock ticks since boot. With the pid it identifies a process.
    pub start_ticks: u64,
    /// Resident memory, pages.
    pub resident_pages: u64,
}

impl Stat {
    /// Reads the line. The name may hold spaces, parentheses, and line breaks: it ends at the *last* parenthesis.
    pub fn parse(line: &[u8]) -> Option<Self> {
        let open = line.iter().position(|byte| *byte == b'(')?;
        let close = line.iter().rposition(|byte| *byte == b')')?;
        let pid = number(line.get(..open)?.trim_ascii()).filter(|pid| *pid > 0)?;
        let name = line.get(open + 1..close)?.to_vec();
        let rest: Vec<&[u8]> = line
            .get(close + 1..)?
            .trim_ascii()
            .split(|byte| *byte == b' ')
            .collect();
        // Field 3 of the manual's count is the first of the rest.
        let field = |n: usize| rest.get(n - 3).copied();
        let cpu_ticks = number::<u64>(field(14)?)?.saturating_add(number(field(15)?)?);
        Some(Self {
            pid: Pid::from_raw(pid)?,
            name,
            state: field(3)?.first().copied().map(char::from)?,
            parent: number(field(4)?)
                .filter(|pid| *pid > 0)
                .and_then(Pid::from_raw),
            group: number(field(5)?)?,
            session: number(field(6)?)?,
            cpu_ticks,
            start_ticks: number(field(22)?)?,
            resident_pages: number(field(24)?)?,
        })
    }

    /// Whether it is dead and waits to be reaped.
    pub fn is_zombie(&self) -> bool {
        matches!(self.state, 'Z' | 'X' | 'x')
    }

    /// What tells it from a later process of the same number.
    pub fn identity(&self) -> Identity {
        Identity {
            pid: self.pid,
            start_ticks: self.start_ticks,
        }
    }
}

/// A process, and no later one that gets its number (within one boot).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Its number.
    pub pid: Pid,
    /// When it started, clock ticks since boot.
    pub start_ticks: u64,
}

impl Identity {
    /// Whether it still runs (a zombie doesn't).
    pub fn is_alive(self) -> bool {
        stat(self.pid).is_ok_and(|stat| stat.identity() == self && !stat.is_zombie())
    }
}

fn number<T: std::str::FromStr>(bytes: &[u8]) -> Option<T> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

/// Reads at most [`PROC_FILE_BYTES_MAX`] of a file of `/proc`.
pub(crate) fn read_small(path: &CStr) -> Result<Vec<u8>, Errno> {
    let file = open(
        path,
        OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY,
        Mode::empty(),
    )?;
    let mut content = Vec::new();
    let mut chunk = [0; 4096];
    while content.len() < PROC_FILE_BYTES_MAX {
        let n = rustix::io::retry_on_intr(|| rustix::io::read(&file, &mut chunk))?;
        if n == 0 {
            break;
        }
        content.extend(chunk.iter().take(n));
    }
    Ok(content)
}

fn read_of(pid: Pid, file: &str) -> Result<Vec<u8>, Errno> {
    let path =
        CString::new(format!("/proc/{}/{file}", pid.as_raw_pid())).map_err(|_| Errno::INVAL)?;
    read_small(&path)
}

/// One process. `SRCH` or `NOENT` if there is none.
pub fn stat(pid: Pid) -> Result<Stat, Errno> {
    Stat::parse(&read_of(pid, "stat")?).ok_or(Errno::SRCH)
}

/// Its real, effective, saved and file system user.
pub fn users(pid: Pid) -> Result<[u32; 4], Errno> {
    let status = read_of(pid, "status")?;
    let line = status
        .split(|byte| *byte == b'\n')
        .find_map(|line| line.strip_prefix(b"Uid:"));
    let mut ids = line
        .ok_or(Errno::SRCH)?
        .split(u8::is_ascii_whitespace)
        .filter_map(number::<u32>);
    let mut next = || ids.next().ok_or(Errno::SRCH);
    Ok([next()?, next()?, next()?, next()?])
}

/// Every process we can see. One that ends meanwhile is left out.
pub fn all() -> Result<Vec<Stat>, Errno> {
    Ok(pids()?
        .into_iter()
        .filter_map(|pid| stat(pid).ok())
        .collect())
}

/// The numbers of every process we can see.
pub fn pids() -> Result<Vec<Pid>, Errno> {
    Ok(numbers_in(c"/proc")?
        .into_iter()
        .filter_map(Pid::from_raw)
        .collect())
}

/// The entries of a directory of `/proc` that are positive numbers or zero.
fn numbers_in(path: &CStr) -> Result<Vec<i32>, Errno> {
    let dir = open(
        path,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let mut numbers = Vec::new();
    for entry in Dir::new(dir)? {
        numbers.extend(number::<i32>(entry?.file_name().to_bytes()).filter(|n| *n >= 0));
    }
    Ok(numbers)
}

/// Those of `processes` that descend from `root`, without itself, parents before children.
pub fn descendants(processes: &[Stat], root: Pid) -> Vec<Pid> {
    let mut found = vec![root];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        // A parent chain has no cycle, but a snapshot taken while pids are reused might: nobody is listed twice.
        let children = processes
            .iter()
            .filter(|p| p.parent == Some(parent))
            .map(|p| p.pid);
        let new: Vec<Pid> = children.filter(|pid| !found.contains(pid)).collect();
        found.extend(new);
        next += 1;
    }
    found.split_off(1)
}

/// Our highest open descriptor, or what the limit allows where `/proc` doesn't tell.
pub(crate) fn highest_descriptor() -> i32 {
    let listed = numbers_in(c"/proc/self/fd")
        .ok()
        .and_then(|numbers| numbers.into_iter().max());
    listed.unwrap_or_else(|| {
        let limit = crate::rlimit::get(crate::rlimit::Resource::OpenFiles)
            .soft
            .unwrap_or(1 << 20);
        i32::try_from(limit.min(1 << 20)).unwrap_or(1 << 20)
    })
}

/// The processes that hold an end of the pipe with this inode (`fstat` of our end), ourselves left out. Those of other
/// users are seen only with the right to trace them, so "nobody" proves nothing there.
pub fn holders_of_pipe(inode: u64) -> Result<Vec<Pid>, Errno> {
    let wanted = format!("pipe:[{inode}]");
    let ours = getpid();
    let holds = |pid: &Pid| {
        let path = format!("/proc/{}/fd", pid.as_raw_pid());
        let Ok(path) = CString::new(path) else {
            return false;
        };
        let Ok(numbers) = numbers_in(&path) else {
            return false;
        };
        let link = |n| {
            readlinkat(
                CWD,
                format!("/proc/{}/fd/{n}", pid.as_raw_pid()),
                Vec::new(),
            )
        };
        numbers
            .into_iter()
            .any(|n| link(n).is_ok_and(|to| to.as_bytes() == wanted.as_bytes()))
    };
    Ok(pids()?
        .into_iter()
        .filter(|pid| *pid != ours)
        .filter(holds)
        .collect())
}

/// Whether the environment a process was *started* with has this `NAME=value`. Needs its user's rights, and takes a lock
/// that a stuck process may hold: for a helper that may be lost, never for PID 1.
pub fn has_in_environment(pid: Pid, assignment: &[u8]) -> Result<bool, Errno> {
    let environment = read_of(pid, "environ")?;
    Ok(environment
        .split(|byte| *byte == 0)
        .any(|entry| entry == assignment))
}

/// Resident memory of a process, bytes.
pub fn memory_bytes(stat: &Stat) -> u64 {
    stat.resident_pages
        .saturating_mul(crate::exec::page_bytes())
}

/// Orphans among our descendants become our children, as they would of a PID 1.
pub fn become_subreaper() -> Result<(), Errno> {
    set_child_subreaper(Some(Pid::INIT))
}

/// Gives this process another name, which `/proc/<pid>/comm` shows (`PR_SET_NAME`); at most 15 bytes count.
pub fn set_name(name: &CStr) -> Result<(), Errno> {
    rustix::thread::set_name(name)
}

/// Whether we are the init of our PID namespace: then everyone in it is ours. With `--pid=host` or `--init` we aren't.
pub fn is_pid1() -> bool {
    getpid().is_init()
}

/// The kernel's name for this boot, the same in all containers of a host.
pub fn boot_id() -> Result<String, Errno> {
    let text = read_small(c"/proc/sys/kernel/random/boot_id")?;
    String::from_utf8(text.trim_ascii().to_vec()).map_err(|_| Errno::ILSEQ)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "S 1 42 40 0 -1 4194304 100 0 0 0 7 3 0 0 20 0 1 0 5555 1000000 250 18446744073709551615 1 1";

    #[test]
    fn a_name_with_parentheses_and_spaces_is_read_whole() {
        for name in ["sh", "a b", ") S 1 (", "x\ny", "((", ""] {
            let stat = Stat::parse(format!("77 ({name}) {LINE}\n").as_bytes()).unwrap();
            assert_eq!(stat.name, name.as_bytes());
            assert_eq!(
                (stat.pid.as_raw_pid(), stat.group, stat.session),
                (77, 42, 40)
            );
            assert_eq!(
                (stat.cpu_ticks, stat.start_ticks, stat.resident_pages),
                (10, 5555, 250)
            );
            assert_eq!(stat.parent, Some(Pid::INIT));
        }
    }

    #[test]
    fn junk_is_no_process() {
        for junk in [
            "",
            "1",
            "1 (",
            "1 ()",
            "x (a) S 1",
            ")1(",
            "1 (a) S 1 2 3",
            "-1 (a) S",
        ] {
            assert_eq!(Stat::parse(junk.as_bytes()), None, "{junk}");
        }
        for pid in [-1, 0] {
            let line = format!("{pid} (a) {LINE}\n");
            assert_eq!(Stat::parse(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn we_see_ourselves() {
        let me = stat(getpid()).unwrap();
        assert!(me.identity().is_alive());
        assert!(
            !Identity {
                start_ticks: me.start_ticks + 1,
                ..me.identity()
            }
            .is_alive()
        );
        assert_eq!(
            users(getpid()).unwrap()[0],
            rustix::process::getuid().as_raw()
        );
        assert!(pids().unwrap().contains(&getpid()));
        assert_eq!(boot_id().unwrap().len(), 36);
    }

    #[test]
    fn descendants_are_found_through_generations_and_despite_cycles() {
        let process = |pid, parent| {
            let mut stat = Stat::parse(format!("{pid} (x) {LINE}").as_bytes()).unwrap();
            stat.parent = Pid::from_raw(parent);
            stat
        };
        let table = [
            process(5, 4),
            process(2, 1),
            process(3, 2),
            process(4, 3),
            process(9, 1),
            process(2, 5),
        ];
        let found: Vec<i32> = descendants(&table, Pid::from_raw(2).unwrap())
            .into_iter()
            .map(Pid::as_raw_pid)
            .collect();
        assert_eq!(found, [3, 4, 5]);
    }

    #[test]
    fn whoever_holds_a_pipe_is_found() {
        let (reader, writer) = std::io::pipe().unwrap();
        let inode = rustix::fs::fstat(&reader).unwrap().st_ino;
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .stdout(writer)
            .spawn()
            .unwrap();
        let pid = Pid::from_child(&child);
        // Children that other tests are just starting may hold copies for a moment, so only this one is looked for.
        let held = holders_of_pipe(inode).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(held.contains(&pid));
        assert!(!held.contains(&getpid()));
        assert!(!holders_of_pipe(inode).unwrap().contains(&pid));
    }
}
