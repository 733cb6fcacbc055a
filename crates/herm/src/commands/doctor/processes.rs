//! The processes of this container, as `/proc` shows them to everyone.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::Path;

use herm_home::{owner, process};
use herm_wire::Kind;

use super::{Findings, Patient};

/// Characters of a command line that are shown.
const SHOWN: usize = 80;

/// A process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Process {
    pid: i32,
    parent: i32,
    uid: u32,
    argv: Vec<String>,
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line: String = self.argv.join(" ").chars().take(SHOWN).collect();
        write!(f, "pid {} ({})", self.pid, line.escape_debug())
    }
}

/// Gateways that nobody supervises (L12), and processes that belong to nothing that is known (L45).
pub(super) fn strays(patient: &mut Patient<'_>, findings: &mut Findings) {
    let all = all();
    let known: BTreeSet<i32> = patient
        .services()
        .iter()
        .filter_map(|service| i32::try_from(service.pid?).ok())
        .collect();
    for (profile, process) in gateways(patient, &all) {
        if !ancestors(process, &all).any(|pid| known.contains(&pid)) {
            findings.problem(
                format!("a gateway of {profile} runs outside supervision: {process}"),
                format!("`herm -p {profile} gateway start` takes it over, or end it"),
            );
        }
    }
    let Some(supervised) = &patient.supervised else {
        return;
    };
    let supervisor = i32::try_from(supervised.client.hello().pid).unwrap_or(-1);
    let agents = patient
        .services()
        .iter()
        .find(|service| service.kind == Kind::Gateway);
    let uid = agents.and_then(|service| service.uid);
    for process in all.values() {
        let orphan = process.parent == supervisor && !known.contains(&process.pid);
        // Helpers of the supervisor's own come and go; agents' processes are the service user's.
        if orphan && Some(process.uid) == uid && !process.argv.is_empty() && !is_herms(process) {
            findings.problem(
                format!("{process} belongs to no service: whoever started it has ended"),
                format!("`kill {}` if it isn't meant to run on", process.pid),
            );
        }
    }
}

/// The processes that are gateways of this home: in a container all of them, elsewhere those that its
/// files name, because others may be of other homes.
fn gateways<'a>(
    patient: &Patient<'_>,
    all: &'a BTreeMap<i32, Process>,
) -> Vec<(String, &'a Process)> {
    let proc = Path::new("/proc");
    let in_container = patient
        .supervised
        .as_ref()
        .is_some_and(|supervised| supervised.client.hello().pid == 1);
    if in_container {
        let of = |process: &'a Process| {
            let (profile, _) = owner::of_process(process.pid, proc)?;
            Some((profile.to_string(), process))
        };
        return all.values().filter_map(of).collect();
    }
    let profiles = patient.found.iter().flat_map(|found| &found.profiles);
    let named = |name| {
        let paths = patient.context.home().profile(name);
        let owner = owner::find(&paths, proc).ok().flatten()?;
        Some((name.to_string(), all.get(&owner.pid)?))
    };
    profiles.filter_map(named).collect()
}

/// Probes and other short-lived helpers.
fn is_herms(process: &Process) -> bool {
    let name = process
        .argv
        .first()
        .and_then(|program| program.rsplit('/').next());
    name.is_some_and(|name| name.starts_with("herm"))
}

/// A process and those above it.
fn ancestors<'a>(
    process: &'a Process,
    all: &'a BTreeMap<i32, Process>,
) -> impl Iterator<Item = i32> + 'a {
    let parent = |pid: &i32| all.get(pid).map(|process| process.parent);
    // A chain of parents is no longer than there are processes, unless it changed while it was read.
    std::iter::successors(Some(process.pid), parent).take(all.len() + 1)
}

fn all() -> BTreeMap<i32, Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(|pid| Some((pid, look(pid)?))).collect()
}

fn look(pid: i32) -> Option<Process> {
    let found = process::look(Path::new("/proc"), pid).filter(|found| !found.zombie)?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<i64>().ok()
    };
    Some(Process {
        pid,
        parent: i32::try_from(field("PPid:")?).ok()?,
        uid: u32::try_from(field("Uid:")?).ok()?,
        argv: found.argv,
    })
}

/// The inodes of the sockets that listen on TCP ports (`proc_pid_net(5)`, `tcp`).
pub(super) fn listeners() -> BTreeMap<u16, u64> {
    let mut found = BTreeMap::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let text = fs::read_to_string(table).unwrap_or_default();
        found.extend(text.lines().filter_map(listener));
    }
    found
}

/// `sl local_address rem_address st … inode`: state `0A` listens; the port is hexadecimal.
fn listener(line: &str) -> Option<(u16, u64)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
    let (_, port) = local.rsplit_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    (*state == "0A").then_some((port, inode.parse().ok()?))
}

/// The process that listens on a port, as far as this user may see its descriptors.
pub(super) fn holder_of(listeners: &BTreeMap<u16, u64>, port: u16) -> Option<Process> {
    let wanted = format!("socket:[{}]", listeners.get(&port)?);
    let holds = |process: &Process| {
        let dir = fs::read_dir(format!("/proc/{}/fd", process.pid));
        let links = dir.into_iter().flatten().flatten();
        links
            .filter_map(|link| fs::read_link(link.path()).ok())
            .any(|target| target.as_os_str() == wanted.as_str())
    };
    all().into_values().find(holds)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn whoever_listens_on_a_port_is_named() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let holder = holder_of(&listeners(), port).unwrap();
        assert_eq!(holder.pid, i32::try_from(std::process::id()).unwrap());
        drop(socket);
        assert_eq!(holder_of(&listeners(), port), None);
    }

    #[test]
    fn a_chain_of_parents_ends_even_where_it_is_a_ring() {
        let process = |pid, parent| Process {
            pid,
            parent,
            uid: 1,
            argv: vec!["x\x1b[2J".into()],
        };
        let all = BTreeMap::from([(5, process(5, 6)), (6, process(6, 5))]);
        assert_eq!(ancestors(&all[&5], &all).count(), 3);
        assert!(!all[&5].to_string().contains('\x1b'));
    }

    #[test]
    fn lines_that_are_none_are_passed_over() {
        assert_eq!(listener("  sl  local_address rem_address   st"), None);
        let line =
            "0: 0100007F:23F0 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 4242 1";
        assert_eq!(listener(line), Some((9200, 4242)));
    }
}
