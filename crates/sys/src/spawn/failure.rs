//! What can go wrong in a start, and how it is told.

use std::ffi::CString;
use std::fmt;

use rustix::io::Errno;

use super::launch::{Launch, Program};

/// What a child was doing, in the order it does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Stage {
    /// Not yet running.
    Created = 0,
    /// Taking a descriptor table of its own.
    OwnTable,
    /// Entering its control group.
    Cgroup,
    /// Its session or process group.
    Session,
    /// Its terminal.
    Terminal,
    /// Arranging its descriptors.
    Descriptors,
    /// Resource limits.
    Limits,
    /// Giving up capabilities.
    Capabilities,
    /// Supplementary groups.
    Groups,
    /// Group id.
    Group,
    /// User id.
    User,
    /// Working directory.
    Cwd,
    /// The signal for our death.
    ParentDeath,
    /// Barring new privileges.
    NoNewPrivs,
    /// Executing the program.
    Exec,
}

impl Stage {
    const ALL: [Self; 15] = [
        Self::Created,
        Self::OwnTable,
        Self::Cgroup,
        Self::Session,
        Self::Terminal,
        Self::Descriptors,
        Self::Limits,
        Self::Capabilities,
        Self::Groups,
        Self::Group,
        Self::User,
        Self::Cwd,
        Self::ParentDeath,
        Self::NoNewPrivs,
        Self::Exec,
    ];

    pub(super) fn from_number(number: i32) -> Self {
        usize::try_from(number)
            .ok()
            .and_then(|n| Self::ALL.get(n))
            .copied()
            .unwrap_or(Self::Created)
    }

    fn doing(self) -> &'static str {
        match self {
            Self::Created => "start",
            Self::OwnTable => "take a descriptor table of its own",
            Self::Cgroup => "enter its control group",
            Self::Session => "make its session or process group",
            Self::Terminal => "take the terminal",
            Self::Descriptors => "arrange its descriptors",
            Self::Limits => "set its resource limits",
            Self::Capabilities => "give up capabilities",
            Self::Groups => "set its supplementary groups",
            Self::Group => "set its group id",
            Self::User => "set its user id",
            Self::Cwd => "enter its working directory",
            Self::ParentDeath => "ask for a signal at its parent's death",
            Self::NoNewPrivs => "bar itself from new privileges",
            Self::Exec => "execute",
        }
    }
}

/// Why a child ended before it became its program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaunchFailure {
    /// What it was doing.
    pub stage: Stage,
    /// The kernel's reason; `None` if a signal ended it there.
    pub errno: Option<Errno>,
    /// What it was doing that to: the directory, the program.
    pub subject: Option<String>,
}

impl LaunchFailure {
    pub(super) fn new(stage: Stage, errno: Option<Errno>, launch: &Launch) -> Self {
        let text = |name: &CString| name.to_string_lossy().into_owned();
        let subject = match stage {
            Stage::Cwd => launch.cwd.as_ref().map(text),
            Stage::Exec => match &launch.program {
                Program::Paths(paths) if paths.len() == 1 => paths.first().map(text),
                Program::Paths(_) | Program::Descriptor { .. } => launch.argv.first().map(text),
            },
            _ => None,
        };
        Self {
            stage,
            errno,
            subject,
        }
    }

    /// Whether there is no such program: what shells call 127. Every other failure is their 126.
    pub fn is_not_found(&self) -> bool {
        self.stage == Stage::Exec && matches!(self.errno, Some(Errno::NOENT | Errno::NOTDIR))
    }
}

impl fmt::Display for LaunchFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}", self.stage.doing())?;
        if let Some(subject) = &self.subject {
            write!(f, " {subject}")?;
        }
        match self.errno {
            Some(errno) => write!(f, ": {errno}"),
            None => f.write_str(": killed before it could"),
        }
    }
}

impl std::error::Error for LaunchFailure {}

/// Why no child was made at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpawnError {
    /// The launch makes no sense; the text says why.
    Invalid(&'static str),
    /// No memory for the child's stack.
    Memory(Errno),
    /// No descriptors for the pipe that tells of its exec.
    Descriptors(Errno),
    /// The kernel refused another process (`AGAIN`: a process limit is reached).
    Clone(Errno),
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(why) => write!(f, "cannot start a process: {why}"),
            Self::Memory(errno) => write!(
                f,
                "cannot start a process: no memory for its stack: {errno}"
            ),
            Self::Descriptors(errno) => write!(
                f,
                "cannot start a process: no pipe to follow it by: {errno}; is the limit on open files reached?"
            ),
            Self::Clone(errno) => write!(
                f,
                "cannot start a process: {errno}; is a process limit (pids.max, ulimit -u) reached?"
            ),
        }
    }
}

impl std::error::Error for SpawnError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_survive_their_numbers() {
        for stage in Stage::ALL {
            assert_eq!(Stage::from_number(stage as i32), stage);
        }
        assert_eq!(Stage::from_number(99), Stage::Created);
    }
}
