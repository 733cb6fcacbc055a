//! Replacing PID 1's program: on purpose, and out of a panic.
//!
//! Both ways lead through the same door: the program is executed again with `--resume` and the
//! number of the journal's descriptor, and [`super::resume`] makes a supervisor out of what is written
//! there. On purpose, the installed binary is first tried on the journal (`--check-state`), and
//! the running one is kept to fall back to. Out of a panic, the running binary is executed anew,
//! by descriptor; the event in hand is lost, its children are not.

use std::ffi::CString;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Mutex;

use herm_engine::{Engine, Record, Time};
use herm_sys::exec::{Image, own_image, replace, take_inherited};
use herm_sys::signals::Signal;
use herm_wire::{Body, ErrorCode, Reply};

use super::control::ops::failure;
use super::control::server::ClientId;
use super::convert::{Clock, spec_of_service};
use super::journal::Journal;
use super::launch::hand_over;
use super::records::{self, Restored};
use super::supervisor::{Helper, Supervisor, seed};

/// Panics within this many seconds …
const PANICS_WITHIN_S: u64 = 60;
/// … of which this one ends in a shutdown …
const PANICS_TO_SHUT_DOWN: usize = 3;
/// … and of which this one shows that not even that works.
const PANICS_TO_GIVE_UP: usize = 4;

/// The journal's descriptor in a binary that only checks it.
const CHECK_FD: i32 = 3;

/// A re-execution that is being prepared.
#[derive(Debug, Default)]
pub(crate) enum Reexec {
    /// None.
    #[default]
    Idle,
    /// The installed binary is tried on the journal.
    Checking { client: ClientId, request: u64 },
    /// Everything is ready, and the client is told.
    Ready,
}

/// How a process that goes on was started.
#[derive(Debug, Default)]
pub(crate) struct Resumption {
    /// The journal.
    pub(crate) journal: i32,
    /// The binary to fall back to.
    pub(crate) fallback: Option<i32>,
    /// When its predecessors panicked, in seconds of the boot clock; the last is the newest.
    pub(crate) panics: Vec<u64>,
}

impl Resumption {
    /// The arguments that say so.
    pub(super) fn arguments(&self) -> Vec<String> {
        let mut arguments = vec!["--resume".to_owned(), self.journal.to_string()];
        if let Some(fd) = self.fallback {
            arguments.extend(["--fallback".to_owned(), fd.to_string()]);
        }
        for at in &self.panics {
            arguments.extend(["--panicked".to_owned(), at.to_string()]);
        }
        arguments
    }

    /// Reads [`Self::arguments`] back; `None` where they are something else.
    pub(crate) fn parse(args: &[String]) -> Option<Self> {
        let mut words = args.iter();
        if words.next()? != "--resume" {
            return None;
        }
        let mut resumption = Self {
            journal: words.next()?.parse().ok()?,
            ..Self::default()
        };
        while let Some(word) = words.next() {
            let number = words.next()?;
            match word.as_str() {
                "--fallback" => resumption.fallback = Some(number.parse().ok()?),
                "--panicked" => resumption.panics.push(number.parse().ok()?),
                _ => return None,
            }
        }
        Some(resumption)
    }

    /// How many panics there were lately, and whether that is too many to go on.
    pub(crate) fn recent_panics(&self, now_s: u64) -> usize {
        self.panics
            .iter()
            .filter(|at| now_s.saturating_sub(**at) <= PANICS_WITHIN_S)
            .count()
    }
}

/// What the panic hook needs, prepared before anything can panic.
struct PanicPlan {
    image: OwnedFd,
    name: String,
    resumption: Resumption,
}

static PANIC_PLAN: Mutex<Option<PanicPlan>> = Mutex::new(None);

/// The real-time signal by which root makes PID 1 take the way through the panic, to see that it
/// works: `kill -s RTMAX-4 1`. Nobody else can send PID 1 a signal.
pub(crate) fn panic_signal() -> Option<Signal> {
    Signal::new(60)
}

/// The panic asked for by [`panic_signal`].
pub(crate) fn panic_on_purpose() {
    std::panic::panic_any("asked for by signal");
}

/// From now on a panic re-executes this program with the journal.
pub(crate) fn arm_panics(journal: i32, earlier: Vec<u64>) {
    let Ok(image) = own_image() else {
        return;
    };
    let resumption = Resumption {
        journal,
        fallback: None,
        panics: earlier,
    };
    let plan = PanicPlan {
        image,
        name: own_name(),
        resumption,
    };
    if let Ok(mut armed) = PANIC_PLAN.lock() {
        *armed = Some(plan);
    }
    std::panic::set_hook(Box::new(|panic| {
        super::output::Output::new(super::output::Level::Error).error(&format!(
            "a fault in herm: {panic}; going on with the recorded state"
        ));
        let Ok(mut armed) = PANIC_PLAN.try_lock() else {
            return;
        };
        let Some(plan) = armed.as_mut() else {
            return;
        };
        let now = now_s();
        plan.resumption
            .panics
            .retain(|at| now.saturating_sub(*at) <= PANICS_WITHIN_S);
        plan.resumption.panics.push(now);
        let argv = c_strings(&plan.name, &plan.resumption.arguments());
        let errno = replace(Image::File(plan.image.as_fd()), &argv, &own_env(), &[]);
        super::output::Output::new(super::output::Level::Error)
            .error(&format!("and cannot be executed again: {errno}"));
    }));
}

fn now_s() -> u64 {
    Clock::read().now.as_nanos() / 1_000_000_000
}

pub(super) fn own_name() -> String {
    std::env::args()
        .next()
        .unwrap_or_else(|| "herm-init".to_owned())
}

pub(super) fn c_strings(name: &str, arguments: &[String]) -> Vec<CString> {
    let words = std::iter::once(name).chain(arguments.iter().map(String::as_str));
    words.filter_map(|word| CString::new(word).ok()).collect()
}

pub(super) fn own_env() -> Vec<CString> {
    let variable = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        CString::new([name.as_bytes(), b"=", value.as_bytes()].concat()).ok()
    };
    std::env::vars_os().filter_map(variable).collect()
}

/// Entry point of `--check-state FD`: whether this binary can go on with the journal.
pub(crate) fn check_state(fd: i32) -> u8 {
    let checked = take_inherited(fd)
        .ok_or_else(|| format!("descriptor {fd} is not open"))
        .and_then(|fd| Journal::adopt(fd).map_err(|error| error.to_string()))
        .and_then(|journal| records::restore(&journal))
        .and_then(|restored| engine_of(&restored, Time::ZERO).map(drop));
    match checked {
        Ok(()) => 0,
        Err(why) => {
            super::output::Output::new(super::output::Level::Error)
                .error(&format!("the state can't be taken over: {why}"));
            1
        }
    }
}

pub(super) fn engine_of(restored: &Restored, now: Time) -> Result<Engine, String> {
    let globals = herm_engine::Globals::from_bytes(&restored.globals.engine)
        .map_err(|error| error.to_string())?;
    let mut services = Vec::new();
    for (_, service, state) in &restored.services {
        let record = Record::from_bytes(state).map_err(|error| error.to_string())?;
        services.push((spec_of_service(service)?, record));
    }
    Engine::restore(
        super::supervisor::engine_config(),
        seed(),
        now,
        globals,
        services,
    )
    .map_err(|error| error.to_string())
}

impl Supervisor {
    /// Begins a re-execution on purpose.
    pub(crate) fn request_reexec(&mut self, client: ClientId, request: u64) {
        let refused = if matches!(self.reexec, Reexec::Idle) && self.shutdown.is_none() {
            self.record_globals();
            self.start_check().err()
        } else {
            Some("one is under way already, or everything is being stopped".to_owned())
        };
        match refused {
            None => self.reexec = Reexec::Checking { client, request },
            Some(why) => {
                let text = format!("cannot re-execute: {why}");
                self.reply(
                    client,
                    &Reply::err(request, failure(ErrorCode::Failed, text)),
                );
            }
        }
    }

    fn start_check(&mut self) -> Result<(), String> {
        use herm_sys::spawn::Program;
        let journal = self
            .records
            .journal()
            .ok_or("there is no memory for the state")?;
        let copy = journal
            .fd()
            .try_clone_to_owned()
            .map_err(|error| error.to_string())?;
        let path = CString::new(installed()?.into_bytes()).map_err(|error| error.to_string())?;
        let argv = vec![
            "herm-init".to_owned(),
            "--check-state".to_owned(),
            CHECK_FD.to_string(),
        ];
        let mut launch = self.own_program(&argv)?;
        launch.program = Program::Paths(vec![path]);
        hand_over(&mut launch, copy, CHECK_FD);
        super::logs::give_stdout(&mut launch)?;
        self.spawn_helper(launch, Helper::CheckState).map(drop)
    }

    /// The installed binary has looked at the state.
    pub(crate) fn state_checked(&mut self, good: bool, why: &str) {
        let Reexec::Checking { client, request } = std::mem::take(&mut self.reexec) else {
            return;
        };
        if good {
            self.reexec = Reexec::Ready;
            self.reply(client, &Reply::ok(request, Body::Done));
        } else {
            let text = format!("the installed binary can't take over ({why}); nothing has changed");
            self.reply(
                client,
                &Reply::err(request, failure(ErrorCode::Failed, text)),
            );
        }
    }

    /// Re-executes, if that is due. Returns only if it isn't, or failed.
    pub(crate) fn advance_reexec(&mut self) {
        if !matches!(self.reexec, Reexec::Ready) {
            return;
        }
        self.reexec = Reexec::Idle;
        self.output
            .info("going on as the installed binary; services are left alone");
        self.record_globals();
        let (Some(journal), Ok(path)) = (self.records.journal(), installed()) else {
            return;
        };
        let resumption = Resumption {
            journal: journal.fd().as_raw_fd(),
            fallback: Some(self.boot.image.as_raw_fd()),
            panics: Vec::new(),
        };
        let argv = c_strings(&own_name(), &resumption.arguments());
        let Ok(path) = CString::new(path) else {
            return;
        };
        let errno = replace(
            Image::Path(&path),
            &argv,
            &own_env(),
            &[self.boot.image.as_fd()],
        );
        self.output.error(&format!(
            "cannot execute {path:?}: {errno}; nothing has changed"
        ));
    }
}

/// Where the installed binary is: the path this one was started from, whatever is there now.
fn installed() -> Result<String, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let text = own.to_string_lossy().into_owned();
    Ok(text.strip_suffix(" (deleted)").unwrap_or(&text).to_owned())
}

/// Whether the panics so far leave nothing but a shutdown, or not even that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Go on.
    GoOn,
    /// Only reap, log and shut down in order.
    ShutDown,
    /// Not even the records can be trusted: end everyone and exit.
    GiveUp,
}

/// What the number of recent panics leaves.
pub(crate) fn verdict(resumption: &Resumption) -> Verdict {
    match resumption.recent_panics(now_s()) {
        0..PANICS_TO_SHUT_DOWN => Verdict::GoOn,
        PANICS_TO_SHUT_DOWN..PANICS_TO_GIVE_UP => Verdict::ShutDown,
        _ => Verdict::GiveUp,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_it_was_resumed_survives_its_arguments() {
        let resumption = Resumption {
            journal: 7,
            fallback: Some(9),
            panics: vec![100, 120],
        };
        let parsed = Resumption::parse(&resumption.arguments()).unwrap();
        assert_eq!((parsed.journal, parsed.fallback), (7, Some(9)));
        assert_eq!(parsed.panics, [100, 120]);
        assert!(Resumption::parse(&["--resume".to_owned()]).is_none());
        assert!(Resumption::parse(&["sleep".to_owned()]).is_none());
    }

    #[test]
    fn the_third_panic_in_a_minute_is_one_too_many() {
        let resumption = Resumption {
            journal: 3,
            fallback: None,
            panics: vec![10, 100, 130, 159],
        };
        assert_eq!(resumption.recent_panics(160), 3);
        assert_eq!(resumption.recent_panics(161), 2);
    }
}
