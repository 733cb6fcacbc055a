//! Resource limits: our own, and those to give.

use rustix::io::Errno;
use rustix::process::{Rlimit, getrlimit, setrlimit};

/// Which resource (`getrlimit(2)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Resource {
    /// Address space, bytes.
    AddressSpace,
    /// Core file, bytes.
    Core,
    /// Processor time, seconds.
    Cpu,
    /// Data segment, bytes.
    Data,
    /// File size, bytes.
    FileSize,
    /// Locked memory, bytes.
    LockedMemory,
    /// Open descriptors.
    OpenFiles,
    /// Processes of the user.
    Processes,
    /// Stack, bytes.
    Stack,
}

impl Resource {
    pub(crate) fn number(self) -> usize {
        let number = match self {
            Self::AddressSpace => libc::RLIMIT_AS,
            Self::Core => libc::RLIMIT_CORE,
            Self::Cpu => libc::RLIMIT_CPU,
            Self::Data => libc::RLIMIT_DATA,
            Self::FileSize => libc::RLIMIT_FSIZE,
            Self::LockedMemory => libc::RLIMIT_MEMLOCK,
            Self::OpenFiles => libc::RLIMIT_NOFILE,
            Self::Processes => libc::RLIMIT_NPROC,
            Self::Stack => libc::RLIMIT_STACK,
        };
        usize::try_from(number).unwrap_or_default()
    }

    fn to_rustix(self) -> rustix::process::Resource {
        use rustix::process::Resource as R;
        match self {
            Self::AddressSpace => R::As,
            Self::Core => R::Core,
            Self::Cpu => R::Cpu,
            Self::Data => R::Data,
            Self::FileSize => R::Fsize,
            Self::LockedMemory => R::Memlock,
            Self::OpenFiles => R::Nofile,
            Self::Processes => R::Nproc,
            Self::Stack => R::Stack,
        }
    }
}

/// A soft and a hard limit; `None` is unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What is enforced.
    pub soft: Option<u64>,
    /// How far an unprivileged process may raise it.
    pub hard: Option<u64>,
}

/// Our own limit.
pub fn get(resource: Resource) -> Limit {
    let Rlimit { current, maximum } = getrlimit(resource.to_rustix());
    Limit {
        soft: current,
        hard: maximum,
    }
}

/// Sets our own limit.
pub fn set(resource: Resource, limit: Limit) -> Result<(), Errno> {
    setrlimit(
        resource.to_rustix(),
        Rlimit {
            current: limit.soft,
            maximum: limit.hard,
        },
    )
}

/// Raises our soft limit on descriptors to the hard one, and returns what it was, for services to be given
/// ([`crate::spawn::Launch::limits`]): programs that use `select` or close every possible descriptor want a low one.
pub fn raise_open_files() -> Result<Limit, Errno> {
    let original = get(Resource::OpenFiles);
    set(
        Resource::OpenFiles,
        Limit {
            soft: original.hard,
            hard: original.hard,
        },
    )?;
    Ok(original)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raising_descriptors_reports_what_was_before() {
        let before = get(Resource::OpenFiles);
        assert_eq!(raise_open_files().unwrap(), before);
        let now = get(Resource::OpenFiles);
        assert_eq!((now.soft, now.hard), (before.hard, before.hard));
    }
}
