//! `s6-rc` and `s6-rc-db`: services by their dependencies, and what is known of them.
//!
//! The supervisor keeps dependencies and order; these give it orders through the services' own
//! control FIFOs and wait for what their status says.

mod db;

use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use herm_s6::rc::database::{Database, Kind, Service};
use herm_s6::status::Status;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, inotify, open};

use super::call::{Call, Outcome, Row};
use super::complain::{say, warning};
use super::service::read_status;

pub(super) const ROWS: &[Row] = &[
    (
        "s6-rc [ -v verbosity ] [ -n dryrunthrottle ] [ -t timeout ] [ -l live ] [ -b ] [ -u | -d | -D ] [ -p ] [ -a ] [ -E | -e ] help|change|start|stop|list|listall|diff [ servicenames... ]",
        rc,
    ),
    (
        "s6-rc-db [ -u | -d ] [ -l live ] [ -c compiled ] [ -b ] [ -E | -e ] help|check|list|type|contents|dependencies|all-dependencies|atomics|pipeline|timeout|script|flags [ names... ]",
        db::db,
    ),
];

const LIVE: &str = "/run/s6-rc";
/// A transition failed.
const FAILED: u8 = 1;
/// The time was over.
const TIMED_OUT: u8 = 2;
/// No service or bundle has this name.
const UNKNOWN: u8 = 3;
/// There is no database.
const NO_DATABASE: u8 = 4;
/// A service of another type was meant.
const WRONG_KIND: u8 = 5;

fn load(call: &Call<'_>, compiled: &Path) -> Result<Database, u8> {
    let text = std::fs::read_to_string(compiled);
    let text = text.map_err(|error| {
        let what = format_args!(
            "unable to read {}: {error}; the image has no s6-rc services",
            compiled.display()
        );
        call.fatal(&what, NO_DATABASE)
    })?;
    Ok(Database::parse(&text))
}

/// The services that these names stand for, each once.
fn selected<'d>(
    call: &Call<'_>,
    database: &'d Database,
    names: &[OsString],
) -> Result<Vec<&'d Service>, u8> {
    let mut selected: Vec<&Service> = Vec::new();
    for name in names {
        let found = name.to_str().and_then(|name| database.atomics(name));
        let unknown = || {
            let text = format_args!("{} is not recognized as a service", name.display());
            call.fatal(&text, UNKNOWN)
        };
        for service in found.ok_or_else(unknown)? {
            if !selected.iter().any(|other| other.name == service.name) {
                selected.push(service);
            }
        }
    }
    Ok(selected)
}

/// An `s6-rc` command line.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of its own"
)]
struct Rc {
    live: PathBuf,
    down: bool,
    /// Essential services too.
    insists: bool,
    prune: bool,
    add_up: bool,
    hide_essential: bool,
    dry: bool,
    verbosity: u32,
    until: Option<Instant>,
}

fn rc(call: &mut Call<'_>) -> Outcome {
    let mut rc = Rc {
        live: LIVE.into(),
        down: false,
        insists: false,
        prune: false,
        add_up: false,
        hide_essential: false,
        dry: false,
        verbosity: 1,
        until: None,
    };
    while let Some(letter) = call.option(b"vntlbudDpaEe")? {
        match letter {
            b'v' => rc.verbosity = call.number()?,
            b'n' => rc.dry = call.number().map(|_| true)?,
            b't' => rc.until = after(call.number()?),
            b'l' => rc.live = call.argument()?.into(),
            b'u' => rc.down = false,
            b'd' => rc.down = true,
            b'D' => (rc.down, rc.insists) = (true, true),
            b'p' => rc.prune = true,
            b'a' => rc.add_up = true,
            b'E' => rc.hide_essential = false,
            b'e' => (rc.hide_essential, rc.insists) = (true, true),
            // It never waits for a lock.
            _ => {}
        }
    }
    let verb = call.word()?;
    match verb.to_str() {
        Some("help") => return Ok(say(call.usage_line())),
        Some("start") => rc.down = false,
        Some("stop") => rc.down = true,
        Some("change" | "list" | "listall" | "diff") => {}
        _ => return Err(call.usage()),
    }
    let database = load(call, &rc.live.join("compiled"))?;
    let mut chosen = selected(call, &database, call.rest())?;
    if rc.add_up {
        for service in &database.services {
            if rc.is_up(service) && !chosen.iter().any(|other| other.name == service.name) {
                chosen.push(service);
            }
        }
    }
    match verb.to_str() {
        Some("list" | "listall") => Ok(rc.list(&database, &chosen, verb == "listall")),
        Some("diff") => Ok(rc.diff(&database)),
        _ if rc.down => Ok(rc.stop(call, &database, &chosen)),
        _ => Ok(rc.start(call, &database, &chosen)),
    }
}

fn after(ms: u32) -> Option<Instant> {
    let time = Duration::from_millis(u64::from(ms));
    Some(Instant::now()).filter(|_| ms > 0)?.checked_add(time)
}

fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}

/// What is waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Goal {
    Up,
    Ready,
    Down,
}

impl Rc {
    fn dir(&self, service: &Service) -> PathBuf {
        self.live.join("servicedirs").join(&service.name)
    }

    fn status(&self, service: &Service) -> Option<Status> {
        read_status(&self.dir(service)).ok().flatten()
    }

    fn goal(&self, service: &Service) -> Goal {
        if self.dir(service).join("notification-fd").exists() {
            Goal::Ready
        } else {
            Goal::Up
        }
    }

    fn is_up(&self, service: &Service) -> bool {
        let goal = self.goal(service);
        self.status(service)
            .is_some_and(|status| reached(&status, goal))
    }

    fn list(&self, database: &Database, chosen: &[&Service], all: bool) -> u8 {
        let names: Vec<&str> = chosen.iter().map(|service| service.name.as_str()).collect();
        let closed = match (all, self.down) {
            (false, _) => chosen.to_vec(),
            (true, false) => database.with_dependencies(&names),
            (true, true) => database.with_dependents(&names),
        };
        for service in &database.services {
            let is_chosen = closed.iter().any(|other| other.name == service.name);
            // Downwards, without `all`, what is left out is meant.
            let shown = if self.down && !all {
                !is_chosen
            } else {
                is_chosen
            };
            if shown && !(self.hide_essential && service.essential) {
                say(&service.name);
            }
        }
        0
    }

    /// Longruns that were ordered otherwise than by s6-rc since: its own last word is the file `down`.
    fn diff(&self, database: &Database) -> u8 {
        let mut differs = false;
        for service in &database.services {
            let Some(status) = self
                .status(service)
                .filter(|_| service.kind == Kind::Longrun)
            else {
                continue;
            };
            let is_meant_up = !self.dir(service).join("down").exists();
            if status.wanted_up != is_meant_up {
                differs = true;
                let sign = if status.wanted_up { '+' } else { '-' };
                say(&format!("{sign}{}", service.name));
            }
        }
        u8::from(differs)
    }

    fn start(&self, call: &Call<'_>, database: &Database, chosen: &[&Service]) -> u8 {
        let names: Vec<&str> = chosen.iter().map(|service| service.name.as_str()).collect();
        let wanted = database.with_dependencies(&names);
        let mut worst = 0;
        if self.prune && !self.down {
            worst = self.stop(call, database, &others(database, &wanted));
        }
        let begun: Vec<_> = wanted
            .iter()
            .map(|service| (service, self.begin_up(call, service)))
            .collect();
        for (service, begun) in begun {
            let Some(before) = begun else { continue };
            let goal = self.goal(service);
            let until = earlier(self.until, after(service.timeout_up));
            let code = self.wait(service, goal, until, Some(&before));
            self.told(call, service, "start", code);
            if code != 0 {
                self.order(service, b'd');
            }
            worst = worst.max(code);
        }
        worst
    }

    /// Gives the order, unless it is up; returns what its status was.
    fn begin_up(&self, call: &Call<'_>, service: &Service) -> Option<Vec<u8>> {
        if self.is_up(service) {
            return None;
        }
        self.about_to(service, "starting");
        if self.dry {
            return None;
        }
        let before = std::fs::read(self.dir(service).join("supervise/status")).unwrap_or_default();
        let _ = std::fs::remove_file(self.dir(service).join("down"));
        if !self.order(service, b'u') {
            warning(
                call.name,
                &format_args!("{} is not supervised", service.name),
            );
        }
        Some(before)
    }

    fn stop(&self, call: &Call<'_>, database: &Database, chosen: &[&Service]) -> u8 {
        let names: Vec<&str> = chosen.iter().map(|service| service.name.as_str()).collect();
        let stopped = database.with_dependents(&names);
        // What stays, and so does all that it needs.
        let mut kept: Vec<&Service> = Vec::new();
        for service in stopped.iter().copied() {
            let is_needed = |by: &&Service| by.dependencies.contains(&service.name);
            if kept.iter().any(is_needed) {
                kept.push(service);
                continue;
            }
            if service.essential && !self.insists && self.is_up(service) {
                kept.push(service);
                if self.verbosity > 0 {
                    let name = &service.name;
                    let text =
                        format_args!("service {name} is marked as essential, not stopping it");
                    warning(call.name, &text);
                }
                continue;
            }
            let code = self.bring_down(call, service);
            if code != 0 {
                // What it needs stays as long as it does.
                return code;
            }
        }
        if self.prune && self.down {
            return self.start(call, database, &others(database, &stopped));
        }
        0
    }

    fn bring_down(&self, call: &Call<'_>, service: &Service) -> u8 {
        let status = self.status(service);
        if status.is_none_or(|status| reached(&status, Goal::Down) && !status.wanted_up) {
            return 0;
        }
        self.about_to(service, "stopping");
        if self.dry {
            return 0;
        }
        let _ = std::fs::write(self.dir(service).join("down"), "");
        self.order(service, b'd');
        let until = earlier(self.until, after(service.timeout_down));
        let code = self.wait(service, Goal::Down, until, None);
        self.told(call, service, "stop", code);
        code
    }

    fn order(&self, service: &Service, letter: u8) -> bool {
        let control = self.dir(service).join("supervise/control");
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = open(&control, flags, Mode::empty());
        opened.is_ok_and(|control| rustix::io::write(&control, &[letter]).is_ok())
    }

    /// Waits for a service to come where it shall be: 0, or what went wrong. Its status is watched,
    /// not asked for again and again.
    fn wait(
        &self,
        service: &Service,
        goal: Goal,
        until: Option<Instant>,
        before: Option<&[u8]>,
    ) -> u8 {
        let supervise = self.dir(service).join("supervise");
        let watch = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK);
        let Ok(watch) = watch else {
            return FAILED;
        };
        // The directory that the link leads to: there the file is replaced.
        let real = std::fs::canonicalize(&supervise).unwrap_or(supervise);
        if inotify::add_watch(&watch, &real, inotify::WatchFlags::MOVED_TO).is_err() {
            return FAILED;
        }
        loop {
            let bytes = std::fs::read(real.join("status")).unwrap_or_default();
            let Some(status) = Status::parse(&bytes) else {
                return FAILED;
            };
            let changed = before != Some(&bytes);
            if reached(&status, goal) && (changed || goal == Goal::Down) {
                return 0;
            }
            if goal != Goal::Down && changed && status.pid == 0 && !status.wanted_up {
                return FAILED;
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            let timeout = left.and_then(|left| Timespec::try_from(left).ok());
            let mut fds = [PollFd::new(&watch, PollFlags::IN)];
            if let Ok(0) = poll(&mut fds, timeout.as_ref()) {
                return TIMED_OUT;
            }
            let mut events = [0_u8; 4096];
            while rustix::io::read(&watch, &mut events).is_ok_and(|count| count > 0) {}
        }
    }

    fn about_to(&self, service: &Service, what: &str) {
        if self.verbosity >= 2 || self.dry {
            let line = format!("s6-rc: info: service {}: {what}\n", service.name);
            let _ = std::io::stderr().write_all(line.as_bytes());
        }
    }

    fn told(&self, call: &Call<'_>, service: &Service, what: &str, code: u8) {
        let name = &service.name;
        if code == 0 && self.verbosity >= 2 {
            let done = if what == "start" {
                "started"
            } else {
                "stopped"
            };
            let line = format!("s6-rc: info: service {name} successfully {done}\n");
            let _ = std::io::stderr().write_all(line.as_bytes());
        } else if code != 0 && self.verbosity >= 1 {
            let why = if code == TIMED_OUT {
                "timed out"
            } else {
                "it failed"
            };
            warning(
                call.name,
                &format_args!("unable to {what} service {name}: {why}"),
            );
        }
    }
}

/// All services but these.
fn others<'d>(database: &'d Database, these: &[&Service]) -> Vec<&'d Service> {
    let is_other = |service: &&Service| !these.iter().any(|one| one.name == service.name);
    database.services.iter().filter(is_other).collect()
}

fn reached(status: &Status, goal: Goal) -> bool {
    match goal {
        Goal::Up => status.is_up(),
        Goal::Ready => status.is_up() && status.ready,
        // Between the end of its run and of its `finish` there may be no process of it.
        Goal::Down => status.pid == 0 && !status.finishing,
    }
}
