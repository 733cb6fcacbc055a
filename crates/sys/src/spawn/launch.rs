//! What to start, and as whom.

use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;

use crate::cgroup::Place;
use crate::rlimit::{Limit, Resource};
use crate::signals::Signal;

/// Everything about a process to be.
#[derive(Debug)]
pub struct Launch {
    /// What is executed.
    pub program: Program,
    /// Its arguments, the name it goes by (`argv[0]`) first.
    pub argv: Vec<CString>,
    /// Its whole environment, as `NAME=value`.
    pub env: Vec<CString>,
    /// Its working directory, entered as the new user; `None` keeps ours. A missing one is a failure, not ignored.
    pub cwd: Option<CString>,
    /// The same, as an open directory: nobody can put another in its place. `cwd` is then not looked at.
    pub cwd_at: Option<OwnedFd>,
    /// Its file mode creation mask; `None` keeps ours.
    pub umask: Option<u32>,
    /// Whom it runs as; `None` keeps all of ours. Ids we already have are not set again, so that this works without
    /// privileges (L28).
    pub identity: Option<Identity>,
    /// Session, process group and terminal.
    pub session: Session,
    /// Resource limits, set while still privileged.
    pub limits: Vec<(Resource, Limit)>,
    /// How readily the kernel's out-of-memory killer takes it, -1000..=1000; best effort, set just after the exec.
    pub oom_score_adj: Option<i16>,
    /// Whether it and its descendants are barred from gaining privileges by executing anything.
    pub no_new_privs: bool,
    /// Which capabilities survive.
    pub capabilities: Capabilities,
    /// A signal it gets when we die.
    pub parent_death: Option<Signal>,
    /// A control group of its own, made and entered by the child before anything else. Where that fails it starts without
    /// ([`super::Executed::placed`]): no service should fail to run for want of a group.
    pub cgroup: Option<Place>,
    /// It is the first process of a PID namespace of its own. The kernel wants `CAP_SYS_ADMIN` for that.
    pub new_pid_namespace: bool,
    /// The descriptors it gets. Those of 0, 1 and 2 that are not named are `/dev/null`.
    pub fds: Vec<Handover>,
}

impl Launch {
    /// A process with these arguments, an empty environment, a session of its own, and nothing else changed.
    pub fn new(program: Program, argv: Vec<CString>) -> Self {
        Self {
            program,
            argv,
            env: Vec::new(),
            cwd: None,
            cwd_at: None,
            umask: None,
            identity: None,
            session: Session::New { terminal: None },
            limits: Vec::new(),
            oom_score_adj: None,
            no_new_privs: false,
            capabilities: Capabilities::Keep,
            parent_death: None,
            cgroup: None,
            new_pid_namespace: false,
            fds: Vec::new(),
        }
    }
}

/// What is executed.
#[derive(Debug)]
pub enum Program {
    /// The first of these paths that can be executed, tried in order as `execvp` does, by the child as its new user.
    /// See [`search_path`].
    Paths(Vec<CString>),
    /// A file opened (and checked) before. A script is read by its interpreter as `/dev/fd/<script_at>`, so for a file
    /// that may be one a free descriptor number has to be given, and the script's process keeps that descriptor.
    Descriptor {
        /// The file, opened for reading or with `O_PATH`.
        file: OwnedFd,
        /// Under which number a script finds itself; `None` for what is no script.
        script_at: Option<i32>,
    },
}

/// Where `name` may be, given a `PATH`: itself if it has a slash, else one candidate per entry. Nothing is looked up.
pub fn search_path(name: &CStr, path: &[u8]) -> Vec<CString> {
    let bytes = name.to_bytes();
    if bytes.contains(&b'/') {
        return vec![name.to_owned()];
    }
    if bytes.is_empty() {
        return Vec::new();
    }
    let candidate = |dir: &[u8]| {
        // An empty entry means the current directory, by long custom.
        let dir = if dir.is_empty() { b"." } else { dir };
        CString::new([dir, b"/", bytes].concat()).ok()
    };
    path.split(|byte| *byte == b':')
        .filter_map(candidate)
        .collect()
}

/// A user, group, and supplementary groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Real, effective and saved user.
    pub uid: u32,
    /// Real, effective and saved group.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

/// Which capabilities survive the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capabilities {
    /// Those the new user has by the kernel's rules.
    Keep,
    /// None, nor can any be had again.
    DropAll,
}

/// Session, process group, and terminal.
#[derive(Debug)]
pub enum Session {
    /// Ours.
    Inherit,
    /// A process group of its own in our session.
    NewGroup {
        /// Our session's terminal, which the new group is put in the foreground of.
        foreground_on: Option<OwnedFd>,
    },
    /// A session of its own.
    New {
        /// Becomes its controlling terminal. It must control no other session ([`crate::tty::give_up`]).
        terminal: Option<OwnedFd>,
    },
}

/// A descriptor given to the child.
#[derive(Debug)]
pub struct Handover {
    /// Ours. It is kept open for as long as the child needs it, and closed then.
    pub source: OwnedFd,
    /// Its number in the child.
    pub target: i32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_searched_in_every_entry_and_a_path_nowhere() {
        let found = |name: &CStr, path: &[u8]| -> Vec<String> {
            search_path(name, path)
                .into_iter()
                .map(|c| c.into_string().unwrap())
                .collect()
        };
        assert_eq!(found(c"sh", b"/bin:/usr/bin"), ["/bin/sh", "/usr/bin/sh"]);
        assert_eq!(found(c"sh", b":/bin"), ["./sh", "/bin/sh"]);
        assert_eq!(found(c"./sh", b"/bin"), ["./sh"]);
        assert!(found(c"", b"/bin").is_empty());
    }
}
