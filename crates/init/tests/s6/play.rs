//! Playing a scenario, and what was seen of it.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use herm_s6::event::listener_name;
use herm_s6::status::Status;
use herm_s6::tai::Tain;
use rustix::fs::{FileType, Mode, OFlags};

use crate::scenario::{Model, Order, Scenario, Service, Settled};
use crate::stage::{Stage, Who, tool, until, write_service};

/// What is asked of `s6-svstat`: all that does not depend on time.
const FIELDS: &str = "up,wantedup,normallyup,ready,paused,exitcode,signal";

/// What was seen, as lines to be compared.
pub(crate) type Seen = Vec<String>;

struct Player<'a> {
    stage: &'a Stage,
    model: Model,
    service: &'a Service,
    ear: Ear,
    heard: String,
    seen: Seen,
    began_up: bool,
}

/// Plays a scenario; what was seen, or what never came.
pub(crate) fn play(scenario: &Scenario, who: Who) -> Result<Seen, String> {
    let place = Stage::place();
    let traces = place.path().to_owned();
    let (early, late) = if scenario.publishes {
        scenario.services.split_at(scenario.services.len() - 1)
    } else {
        (&scenario.services[..], &scenario.services[..0])
    };
    for service in early {
        write_service(&traces.join("service").join(service.name), service, &traces);
    }
    let stage = Stage::start(who, place);
    let played = (|| {
        let control = stage.scan().join(".s6-svscan/control");
        until("a scanner", || {
            control.exists() && tool("s6-svscanctl", &["-a"], &stage.scan()).0 == 0
        })?;
        for service in late {
            let hidden = stage.scan().join(format!(".{}", service.name));
            write_service(&hidden, service, &traces);
            fs::rename(&hidden, stage.service(service.name)).unwrap();
            tool("s6-svscanctl", &["-a"], &stage.scan());
        }
        let mut players = Vec::new();
        for service in &scenario.services {
            players.push(Player::begin(&stage, service)?);
        }
        for (which, order) in &scenario.orders {
            players[*which].order(*order)?;
        }
        // What is seen of a removal is that it is over: a `finish` that has gone with its directory
        // is found by the genuine supervisor alone, which has its working directory there.
        let seen = players.into_iter().flat_map(Player::end).collect();
        for service in late {
            remove(&stage, service)?;
        }
        Ok(seen)
    })();
    played.map_err(|why: String| format!("{why}\n--- {who:?} said:\n{}", stage.output()))
}

/// The directory goes, and the scanner lets go of its service.
fn remove(stage: &Stage, service: &Service) -> Result<(), String> {
    let gone = stage.dir.path().join("gone");
    fs::rename(stage.service(service.name), &gone).unwrap();
    tool("s6-svscanctl", &["-an"], &stage.scan());
    let mut supervised = vec![gone.clone()];
    supervised.extend(service.logged.then(|| gone.join("log")));
    for dir in supervised {
        until("the end of a supervision", || !is_supervised(&dir))?;
    }
    Ok(())
}

impl<'a> Player<'a> {
    fn begin(stage: &'a Stage, service: &'a Service) -> Result<Self, String> {
        let dir = stage.service(service.name);
        let model = Model::new(service);
        until("a supervisor", || is_supervised(&dir))?;
        if service.logged {
            let log = dir.join("log");
            until("a logger", || {
                status(&log).is_some_and(|status| status.is_up())
            })?;
        }
        let mut player = Self {
            stage,
            ear: Ear::Deaf,
            service,
            heard: String::new(),
            seen: Seen::new(),
            began_up: model.settled().up,
            model,
        };
        player.settle("start")?;
        player.ear = Ear::new(&dir)?;
        Ok(player)
    }

    fn order(&mut self, order: Order) -> Result<(), String> {
        if !self.model.allows(order) {
            return Ok(());
        }
        let dir = self.stage.service(self.service.name);
        let (text, code) = match order {
            Order::Letter(letter) => {
                let option = format!("-{letter}");
                (option.clone(), tool("s6-svc", &[&option], &dir).0)
            }
            Order::Rescan => {
                let code = tool("s6-svscanctl", &["-a"], &self.stage.scan()).0;
                ("rescan".to_owned(), code)
            }
            Order::KillLogger => ("kill of the logger".to_owned(), Self::kill_logger(&dir)?),
        };
        self.model.take(order);
        self.seen
            .push(format!("{} {text} returns {code}", self.service.name));
        self.settle(&text)
    }

    fn kill_logger(dir: &Path) -> Result<i32, String> {
        let log = dir.join("log");
        let mut ear = Ear::new(&log)?;
        let code = tool("s6-svc", &["-k"], &log).0;
        let mut heard = String::new();
        until("another logger", || {
            heard.push_str(&ear.hear());
            heard.ends_with('u')
        })?;
        Ok(code)
    }

    /// Waits for all that has to come of the last order, and notes what is seen then.
    fn settle(&mut self, after: &str) -> Result<(), String> {
        let dir = self.stage.service(self.service.name);
        let Settled { up, wanted, paused } = self.model.settled();
        let expected = self.model.expected;
        let name = self.service.name;
        let listens = !matches!(self.ear, Ear::Deaf);
        let whole = until("the result", || {
            self.listen();
            (!listens || self.heard.len() >= expected.events)
                && lines(&self.stage.trace(name)) >= expected.lines
                && lines(&self.stage.log(name)) >= expected.logged
                && dir.join("down").exists() == self.model.marked_down
                && status(&dir).is_some_and(|status| {
                    (status.is_up(), status.wanted_up, status.paused) == (up, wanted, paused)
                        && (up || !status.finishing)
                        && (!up || !self.service.notifies || status.ready)
                })
        });
        whole.map_err(|why| {
            format!(
                "{name} after {after}: {why}: {expected:?} up {up}, wanted {wanted}, paused {paused}; \
                 there is {}, events {:?}, trace {:?}",
                stat(&dir, FIELDS),
                self.heard,
                self.stage.trace(name),
            )
        })?;
        self.seen.push(format!("{name} is {}", stat(&dir, FIELDS)));
        Ok(())
    }

    /// Takes what was said. An event that belongs to a status seen before anybody listened may come
    /// yet: none of its kind can be the first that an order brings.
    fn listen(&mut self) {
        let said = self.ear.hear();
        self.heard.push_str(&said);
        let begun = if self.began_up { "uU" } else { "sdDO" };
        let late = self.heard.len() - self.heard.trim_start_matches(|c| begun.contains(c)).len();
        self.heard.drain(..late);
    }

    fn end(mut self) -> Seen {
        let name = self.service.name;
        self.heard.truncate(self.model.expected.events);
        self.seen.push(format!("{name} events {}", self.heard));
        self.seen
            .push(format!("{name} trace {:?}", self.stage.trace(name)));
        self.seen
            .push(format!("{name} log {:?}", self.stage.log(name)));
        self.seen
    }
}

fn is_supervised(dir: &Path) -> bool {
    let lock = fs::File::open(dir.join("supervise/lock"));
    lock.is_ok_and(|lock| herm_sys::record_lock::is_held(&lock).unwrap())
}

fn status(dir: &Path) -> Option<Status> {
    Status::parse(&fs::read(dir.join("supervise/status")).ok()?)
}

fn stat(dir: &Path, fields: &str) -> String {
    let (_, text) = tool("s6-svstat", &["-o", fields], dir);
    text.trim_end().to_owned()
}

fn lines(text: &str) -> usize {
    text.matches('\n').count()
}

/// A listener in a fifodir.
enum Ear {
    Deaf,
    Open { fifo: OwnedFd, path: PathBuf },
}

impl Ear {
    fn new(dir: &Path) -> Result<Self, String> {
        use std::os::unix::ffi::OsStrExt as _;
        let mut random = [0; 6];
        rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty()).unwrap();
        let name = listener_name(Tain::from_unix(Duration::from_secs(1)), random);
        let name = std::ffi::OsStr::from_bytes(&name);
        let path = dir.join("event").join(name);
        // Hidden until it is read from: a listener's FIFO that nobody reads is removed.
        let hidden = dir
            .join("event")
            .join(format!(".{}", name.to_string_lossy()));
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &hidden,
            FileType::Fifo,
            Mode::from_raw_mode(0o622),
            0,
        )
        .map_err(|error| format!("cannot listen in {}: {error}", dir.display()))?;
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fifo = rustix::fs::open(&hidden, flags, Mode::empty()).unwrap();
        fs::rename(&hidden, &path).unwrap();
        Ok(Self::Open { fifo, path })
    }

    fn hear(&mut self) -> String {
        let Self::Open { fifo, .. } = self else {
            return String::new();
        };
        let mut bytes = [0; 64];
        let count = rustix::io::read(fifo, &mut bytes).unwrap_or(0);
        String::from_utf8_lossy(&bytes[..count]).into_owned()
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        if let Self::Open { path, .. } = self {
            let _ = fs::remove_file(path);
        }
    }
}
