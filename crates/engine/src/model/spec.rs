//! What a service is, as far as supervision cares, and the numbers that govern it.
//!
//! What is executed (command, user, environment, what a probe connects to) is the driver's to
//! know; it finds it by the service's name.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

/// The signal numbers the engine itself deals in. They are the same on every Linux architecture
/// herm is built for.
pub mod signal {
    /// Ask for a reload, by convention.
    pub const HUP: u8 = 1;
    /// As Ctrl-C does.
    pub const INT: u8 = 2;
    /// As Ctrl-\ does.
    pub const QUIT: u8 = 3;
    /// End at once; can't be caught.
    pub const KILL: u8 = 9;
    /// Ask to end.
    pub const TERM: u8 = 15;

    /// The conventional name of a signal, without its `SIG`.
    pub const fn name(signal: u8) -> Option<&'static str> {
        Some(match signal {
            HUP => "HUP",
            INT => "INT",
            QUIT => "QUIT",
            4 => "ILL",
            5 => "TRAP",
            6 => "ABRT",
            7 => "BUS",
            8 => "FPE",
            KILL => "KILL",
            10 => "USR1",
            11 => "SEGV",
            12 => "USR2",
            13 => "PIPE",
            14 => "ALRM",
            TERM => "TERM",
            17 => "CHLD",
            18 => "CONT",
            19 => "STOP",
            20 => "TSTP",
            21 => "TTIN",
            22 => "TTOU",
            23 => "URG",
            24 => "XCPU",
            25 => "XFSZ",
            28 => "WINCH",
            31 => "SYS",
            _ => return None,
        })
    }

    /// Whether the signal's default action leaves the process alive: CHLD, CONT, the four that
    /// stop it, URG and WINCH (signal(7)).
    pub(crate) const fn is_harmless(signal: u8) -> bool {
        matches!(signal, 17..=23 | 28)
    }
}

/// Whether a service is a process that stays or one that does its work and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Up while its process runs; restarted whenever that ends.
    Longrun,
    /// Up once its process has returned 0; any other end is a failure and tried again.
    Oneshot,
}

/// What the operator wants of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// It shall run, and be started again when it ends.
    Up,
    /// It shall run until it ends by itself, and then stay down. A container's main program is
    /// registered so.
    Once,
    /// It shall not run.
    Down,
    /// It is switched off by configuration. As `Down`, but not presented as something that is
    /// missing.
    Disabled,
}

impl Want {
    /// Whether a service that ends is started again: what printed data calls `desired: up`.
    pub const fn is_up(self) -> bool {
        match self {
            Self::Up => true,
            Self::Once | Self::Down | Self::Disabled => false,
        }
    }
}

/// How failures are counted, and how long to wait after them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestartPolicy {
    /// A run up for this long is stable: its failure restarts at once and resets the delay.
    pub stable_after: Duration,
    /// The first failure a service ever has also restarts at once, if the run lasted this long.
    pub first_failure_after: Duration,
    /// The delay after the first counted failure. It doubles with each further one.
    pub delay_min: Duration,
    /// The delay never exceeds this, jitter included.
    pub delay_max: Duration,
    /// Each delay is varied by up to this many percent either way, so that many services that
    /// failed together don't return together. At most 100.
    pub jitter_percent: u8,
    /// What exit 75 means: a requested restart, or nothing special.
    pub requested: Option<Requested>,
    /// Exit codes that park the service: not tried again until woken or started.
    pub parks_on: Vec<u8>,
    /// Give up for good after too many failures. None: never give up.
    pub burst: Option<Burst>,
}

/// How exit 75, the request to be restarted, is honoured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requested {
    /// A request by a run that was up for this long is always honoured at once.
    pub settled_after: Duration,
    /// The request of a younger run counts as a failure if it is this many-th in a row.
    pub limit: u32,
}

/// When failures become final.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Burst {
    /// This many failures …
    pub failures: u32,
    /// … within this long make the service `failed`.
    pub within: Duration,
}

impl Default for RestartPolicy {
    /// The policy of gateways and native services.
    fn default() -> Self {
        Self {
            parks_on: alloc::vec![78, 125],
            requested: Some(Requested {
                settled_after: Duration::from_secs(10),
                limit: 3,
            }),
            ..Self::s6()
        }
    }
}

impl RestartPolicy {
    /// The policy of services in s6 format: no exit code of `run` means anything special.
    pub fn s6() -> Self {
        Self {
            stable_after: Duration::from_secs(60),
            first_failure_after: Duration::from_secs(1),
            delay_min: Duration::from_secs(1),
            delay_max: Duration::from_secs(60),
            jitter_percent: 10,
            requested: None,
            parks_on: Vec::new(),
            burst: None,
        }
    }
}

/// The rhythm of a probe. What is probed (TCP, HTTP, a command) is the driver's to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// From the end of one probe to the next.
    pub interval: Duration,
    /// A probe that takes longer has failed; the driver gives it up then.
    pub timeout: Duration,
}

impl Default for Probe {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(5),
        }
    }
}

/// When a running service counts as ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Readiness {
    /// As soon as its program is executed.
    #[default]
    Immediate,
    /// When it has stayed up for this long: for programs that say nothing but die early when
    /// something is wrong.
    After(Duration),
    /// When the driver reports [`Event::Ready`](super::Event::Ready): a newline on a descriptor,
    /// or `sd_notify`.
    Notification {
        /// Not ready for this long after the start: stopped, and counted as a failure.
        timeout: Option<Duration>,
    },
    /// When probes succeed.
    Probe {
        /// The rhythm.
        probe: Probe,
        /// Successes in a row that make it ready. At least 1.
        successes: u32,
        /// Not ready for this long after the start: stopped, and counted as a failure.
        timeout: Option<Duration>,
    },
}

impl Readiness {
    /// How long a start may take until it is given up.
    pub(crate) const fn timeout(self) -> Option<Duration> {
        match self {
            Self::Immediate | Self::After(_) => None,
            Self::Notification { timeout } | Self::Probe { timeout, .. } => timeout,
        }
    }
}

/// How a ready service's health is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    /// The rhythm.
    pub probe: Probe,
    /// Failures in a row that make it unhealthy. At least 1.
    pub failures: u32,
    /// Whether an unhealthy service is stopped, which counts as a failure, and so started again.
    pub restart: bool,
}

/// How a service is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StopPolicy {
    /// Sent to the main process first, and to its group at half the grace.
    pub signal: u8,
    /// KILL for the whole set after this long. `Duration::MAX`: never, but in a shutdown.
    pub grace: Duration,
}

impl Default for StopPolicy {
    fn default() -> Self {
        Self {
            signal: signal::TERM,
            grace: Duration::from_secs(10),
        }
    }
}

/// An s6 `finish` script: run after each death, before the next start. Its exit 125 parks the
/// service, any other is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FinishPolicy {
    /// Killed after this long. `Duration::MAX`: never, but in a shutdown.
    pub timeout: Duration,
}

impl Default for FinishPolicy {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(5),
        }
    }
}

/// A service, as far as supervision cares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Its unique name.
    pub name: String,
    /// Whether its process stays or ends.
    pub kind: Kind,
    /// Names of services that must be ready (or done) before it starts. When the operator stops
    /// one of them, this one is stopped too and waits; when one of them restarts by itself, this
    /// one stays as it is.
    pub requires: Vec<String>,
    /// Names of services that go first where both are starting. Nothing more: one that is
    /// missing, down, failing or failed holds nobody up.
    pub after: Vec<String>,
    /// Failures and delays.
    pub restart: RestartPolicy,
    /// When a longrun counts as ready. Of a oneshot only the timeout counts: it is ready when done.
    pub readiness: Readiness,
    /// How its health is watched, if it is.
    pub health: Option<Health>,
    /// How it is stopped.
    pub stop: StopPolicy,
    /// The script that is run after each death, if there is one.
    pub finish: Option<FinishPolicy>,
}

impl Spec {
    /// A longrun with the default policies and no dependencies.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            kind: Kind::Longrun,
            requires: Vec::new(),
            after: Vec::new(),
            restart: RestartPolicy::default(),
            readiness: Readiness::default(),
            health: None,
            stop: StopPolicy::default(),
            finish: None,
        }
    }
}
