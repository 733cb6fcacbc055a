//! A small language for tests of the engine: services and a timeline in, a trace out.
//!
//! ```text
//! service db
//! service web requires=db grace=4s term=never
//! 0s up db
//! 0s up web
//! 10s down db
//! until 60s
//! ```
//!
//! A `service` line describes a service and how its processes behave; see [`check`] for the
//! words. A timed line is an input. The trace has a line per visible change: `5s web: running
//! (ready)` for a state, `5s web <- TERM main` for a signal, `5s web: probe health` and so on.
//! Jitter is off, so that delays are round.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use herm_engine::{
    Action, Burst, Check, Config, Engine, Event, Exit, FinishPolicy, Health, Kind, Next, Probe,
    Readiness, Reason, RestartPolicy, Role, RunId, ServiceId, Spec, StopPolicy, Target, Time, Want,
    signal,
};

use crate::kernel::{Behaviour, Kernel, Noise, Process};

/// Runs a scenario and compares its trace with the expected one, line by line.
///
/// Words of a `service` line:
/// * `want=up|down|once|disabled` (down without it), `oneshot`, `s6` (the restart policy of s6
///   format), `requires=a,b`, `after=a,b`, `grace=5s` (or `never`), `finish=5s`,
///   `burst=3/60s`, `ready=notify[:timeout]|after:time|probe[:timeout]`, `health=failures`;
/// * of its processes: `lives=2s`, `exit=1`, `exec=fails|hangs`, `term=never|1s`, `dstate=5s`,
///   `announces=1s|never`, `probes=ok|fail|lost`, `survivors=1s,never`; of its finish script: `finishes=125`,
///   `finishing=2s`.
///
/// Inputs: `up`, `down`, `once`, `let_end`, `restart`, `disable`, `wake`, `unregister NAME`;
/// `signal NAME NUMBER`; `exit NAME CODE` and `kill NAME SIGNAL` end its process; `announce NAME`;
/// `now NAME word=value…` changes how its next processes behave; `register NAME word=value…`;
/// `shutdown SECONDS`.
///
/// # Panics
/// If the traces differ, or the scenario is not understood.
pub fn check(scenario: &str, expected: &str) {
    let trace = trace(scenario);
    let trim = |text: &str| -> Vec<String> {
        text.lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .map(String::from)
            .collect()
    };
    let (trace, expected) = (trim(&trace), trim(expected));
    if trace != expected {
        let first = trace
            .iter()
            .zip(&expected)
            .take_while(|(one, other)| one == other)
            .count();
        panic!(
            "the trace differs from line {}:\n  expected: {}\n  got:      {}\n\nwhole trace:\n{}\n",
            first + 1,
            expected.get(first).map_or("(its end)", String::as_str),
            trace.get(first).map_or("(its end)", String::as_str),
            trace.join("\n"),
        );
    }
}

/// Runs a scenario and returns its trace.
///
/// # Panics
/// If the scenario is not understood.
pub fn trace(scenario: &str) -> String {
    let mut stage = Stage::new();
    for line in scenario
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
    {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[0] {
            "service" => stage.register(words[1], &words[2..]),
            "until" => stage.run_until(Time::ZERO + duration(words[1])),
            time => {
                stage.run_until(Time::ZERO + duration(time));
                stage.input(&words[1..]);
            }
        }
    }
    stage.trace
}

/// How a service's processes behave.
#[derive(Clone, Default)]
struct Play {
    main: Behaviour,
    finish: Behaviour,
}

struct Stage {
    now: Time,
    engine: Engine,
    kernel: Kernel,
    plays: BTreeMap<String, Play>,
    names: BTreeMap<ServiceId, String>,
    /// What was last shown of each service, and of which run.
    shown: BTreeMap<String, (Option<RunId>, String)>,
    trace: String,
}

impl Stage {
    fn new() -> Self {
        Self {
            now: Time::ZERO,
            engine: Engine::new(Config::default(), 0),
            kernel: Kernel::new(0, Noise::NONE),
            plays: BTreeMap::new(),
            names: BTreeMap::new(),
            shown: BTreeMap::new(),
            trace: String::new(),
        }
    }

    fn register(&mut self, name: &str, words: &[&str]) {
        let (spec, want, play) = description(name, words);
        self.plays.insert(name.into(), play);
        match self.engine.register(self.now, spec, want) {
            Ok(id) => {
                self.names.insert(id, name.into());
            }
            Err(error) => self.line(format_args!("{name}: not registered: {error}")),
        }
        self.settle();
    }

    fn input(&mut self, words: &[&str]) {
        let now = self.now;
        let (verb, rest) = (words[0], &words[1..]);
        if verb == "shutdown" {
            self.engine.shutdown(now, duration(rest[0]));
            return self.settle();
        }
        let name = rest[0];
        if verb == "register" {
            return self.register(name, &rest[1..]);
        }
        if verb == "now" {
            let play = self.plays.get_mut(name).expect("a known service");
            rest[1..].iter().for_each(|word| behave(word, play));
            return;
        }
        let Some(id) = self.engine.find(name) else {
            return self.line(format_args!("{name}: there is no such service"));
        };
        let engine = &mut self.engine;
        let result = match verb {
            "up" => engine.up(now, id),
            "down" => engine.down(now, id),
            "once" => engine.once(now, id),
            "let_end" => engine.let_end(now, id),
            "restart" => engine.restart(now, id),
            "disable" => engine.disable(now, id),
            "wake" => engine.wake(now, id),
            "unregister" => engine.unregister(now, id),
            "signal" => {
                let sent = engine.signal(now, id, number(rest[1]), Target::Main);
                sent.map(|_| ())
            }
            "exit" | "kill" | "announce" => {
                let run = engine
                    .status(now, id)
                    .and_then(|status| status.run)
                    .expect("a run");
                match verb {
                    "exit" => self.kernel.end(now, run, Exit::Code(number(rest[1]))),
                    "kill" => self.kernel.end(now, run, killed(number(rest[1]))),
                    _ => self.kernel.announce(now, run),
                }
                Ok(())
            }
            other => panic!("no input is called {other}"),
        };
        if let Err(error) = result {
            self.line(format_args!("{name}: {verb} refused: {error}"));
        }
        self.settle();
    }

    /// Carries out actions and hands in what comes of them, until nothing more happens now.
    fn settle(&mut self) {
        loop {
            while let Some(action) = self.engine.poll_action() {
                self.act(&action);
            }
            let arrived = self.kernel.advance(self.now);
            if arrived.is_empty() {
                return;
            }
            for event in arrived {
                self.engine.handle(self.now, event);
                while let Some(action) = self.engine.poll_action() {
                    self.act(&action);
                }
            }
        }
    }

    fn run_until(&mut self, end: Time) {
        loop {
            let next = [self.kernel.next(), self.engine.next_deadline()]
                .into_iter()
                .flatten()
                .min();
            let Some(next) = next.filter(|next| *next <= end) else {
                break;
            };
            self.now = next;
            self.engine_first_hears_reports();
            self.settle();
        }
        self.now = end;
    }

    fn engine_first_hears_reports(&mut self) {
        for event in self.kernel.advance(self.now) {
            self.engine.handle(self.now, event);
            while let Some(action) = self.engine.poll_action() {
                self.act(&action);
            }
        }
        self.engine.handle(self.now, Event::Tick);
    }

    fn act(&mut self, action: &Action) {
        self.narrate(action);
        let cast = match action {
            Action::Spawn { id, role, .. } => {
                let name = self.names[id].clone();
                let play = self.plays[&name].clone();
                match role {
                    Role::Main => (name, play.main),
                    Role::Finish { .. } => (name, play.finish),
                }
            }
            _ => Default::default(),
        };
        self.kernel.perform(self.now, action, || cast);
    }

    fn narrate(&mut self, action: &Action) {
        let name = |id: &ServiceId| self.names[id].clone();
        match action {
            Action::Spawn {
                id,
                role: Role::Finish { .. },
                ..
            } => {
                let name = name(id);
                self.line(format_args!("{name}: finish script"));
            }
            Action::Spawn {
                role: Role::Main, ..
            } => {}
            // Everybody is asked after the main process; it is of interest where somebody is left.
            Action::Signal {
                run,
                target: Target::Set,
                ..
            } if !self.kernel.processes[run].lives() => {}
            Action::Signal {
                id,
                target,
                signal: number,
                ..
            } => {
                let (name, signal) = (name(id), signal::name(*number).unwrap_or("?"));
                let target = match target {
                    Target::Main => "main",
                    Target::Group => "group",
                    Target::Set => "set",
                };
                self.line(format_args!("{name} <- {signal} {target}"));
            }
            Action::Probe { id, check, .. } => {
                let name = name(id);
                let check = match check {
                    Check::Readiness => "readiness",
                    Check::Health => "health",
                };
                self.line(format_args!("{name}: probe {check}"));
            }
            Action::Changed { id } => self.show(*id),
            Action::Overran { id, .. } => {
                let name = name(id);
                self.line(format_args!("{name}: overran its grace"));
            }
            Action::Unkillable { id, .. } => {
                let name = name(id);
                self.line(format_args!("{name}: unkillable"));
            }
            Action::Removed { id } => {
                let name = name(id);
                self.shown.remove(&name);
                self.line(format_args!("{name}: removed"));
            }
            Action::ShutdownDone { left } => {
                self.line(format_args!("shutdown done, {left} left"));
            }
        }
    }

    fn show(&mut self, id: ServiceId) {
        let Some(status) = self.engine.status(self.now, id) else {
            return;
        };
        let mut text = format!(
            "{}: {} ({})",
            status.name,
            status.state.as_str(),
            status.reason
        );
        if let Some(Next::Start(at)) = status.next {
            write!(text, ", next start {}", span(at)).expect("a string");
        }
        // What lasts no time is not worth a line.
        let left = status.run.and_then(|run| self.kernel.processes.get(&run));
        let passing = match status.reason {
            Reason::Executing => true,
            Reason::Survivors(_) => !left.is_some_and(Process::lives),
            _ => false,
        };
        let shown = (status.run, text.clone());
        if passing || self.shown.get(&status.name) == Some(&shown) {
            return;
        }
        self.line(format_args!("{text}"));
        self.shown.insert(status.name, shown);
    }

    fn line(&mut self, text: std::fmt::Arguments<'_>) {
        writeln!(self.trace, "{} {text}", span(self.now)).expect("a string");
    }
}

/// Reads a `service` line.
fn description(name: &str, words: &[&str]) -> (Spec, Want, Play) {
    let mut spec = Spec::new(name);
    let mut want = Want::Down;
    let mut play = Play::default();
    for word in words {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        match key {
            "want" => {
                want = match value {
                    "up" => Want::Up,
                    "once" => Want::Once,
                    "disabled" => Want::Disabled,
                    _ => Want::Down,
                }
            }
            "oneshot" => spec.kind = Kind::Oneshot,
            "s6" => spec.restart = RestartPolicy::s6(),
            "requires" => spec.requires = value.split(',').map(String::from).collect(),
            "after" => spec.after = value.split(',').map(String::from).collect(),
            "grace" => {
                spec.stop = StopPolicy {
                    grace: duration(value),
                    ..spec.stop
                }
            }
            "finish" => {
                spec.finish = Some(FinishPolicy {
                    timeout: duration(value),
                });
            }
            "burst" => {
                let (failures, within) = value.split_once('/').expect("number/span");
                let failures = failures.parse().expect("a number");
                spec.restart.burst = Some(Burst {
                    failures,
                    within: duration(within),
                });
            }
            "ready" => spec.readiness = readiness(value),
            "health" => {
                let failures = value.parse().expect("a number");
                spec.health = Some(Health {
                    probe: Probe::default(),
                    failures,
                    restart: true,
                });
            }
            _ => behave(word, &mut play),
        }
    }
    spec.restart.jitter_percent = 0;
    if spec.kind == Kind::Oneshot {
        play.main
            .ends
            .get_or_insert((Duration::from_secs(1), Exit::Code(0)));
    }
    play.finish
        .ends
        .get_or_insert((Duration::ZERO, Exit::Code(0)));
    (spec, want, play)
}

fn readiness(value: &str) -> Readiness {
    let (how, time) = value.split_once(':').unwrap_or((value, ""));
    let timeout = (!time.is_empty()).then(|| duration(time));
    match how {
        "notify" => Readiness::Notification { timeout },
        "after" => Readiness::After(timeout.expect("a span")),
        "probe" => Readiness::Probe {
            probe: Probe::default(),
            successes: 1,
            timeout,
        },
        other => panic!("no readiness is called {other}"),
    }
}

/// Reads a word about the behaviour of processes.
fn behave(word: &str, play: &mut Play) {
    let (key, value) = word.split_once('=').unwrap_or((word, ""));
    let optional = |value: &str| (value != "never").then(|| duration(value));
    let main = &mut play.main;
    match key {
        "lives" => {
            let exit = main.ends.map_or(Exit::Code(1), |(_, exit)| exit);
            main.ends = optional(value).map(|lives| (lives, exit));
        }
        "exit" => {
            let lives = main.ends.map_or(Duration::ZERO, |(lives, _)| lives);
            main.ends = Some((lives, Exit::Code(number(value))));
        }
        "exec" => match value {
            "fails" => main.exec_fails = true,
            "hangs" => main.exec_after = None,
            _ => (main.exec_fails, main.exec_after) = (false, Some(Duration::ZERO)),
        },
        "term" => main.term = optional(value).map(|after| (after, killed(signal::TERM))),
        "dstate" => main.unkillable_for = duration(value),
        "announces" => main.ready_after = optional(value),
        "probes" => {
            main.probes = match value {
                "ok" => Some(true),
                "fail" => Some(false),
                _ => None,
            }
        }
        "survivors" => {
            main.survivors = value
                .split(',')
                .filter(|word| !word.is_empty())
                .map(optional)
                .collect();
        }
        "finishing" => play.finish.ends = Some((duration(value), Exit::Code(0))),
        "finishes" => play.finish.ends = Some((Duration::ZERO, Exit::Code(number(value)))),
        other => panic!("no word is called {other}"),
    }
}

fn killed(signal: u8) -> Exit {
    Exit::Signal {
        signal,
        core: false,
    }
}

fn number(text: &str) -> u8 {
    text.parse().expect("a number")
}

/// Reads `5s`, `1.5s`, `300ms`, `2m`, `never`.
fn duration(text: &str) -> Duration {
    if text == "never" {
        return Duration::MAX;
    }
    let digits = text.trim_end_matches(char::is_alphabetic);
    let value: f64 = digits.parse().expect("a number and its unit");
    Duration::from_secs_f64(match &text[digits.len()..] {
        "ms" => value / 1000.0,
        "s" => value,
        "m" => value * 60.0,
        "h" => value * 3600.0,
        unit => panic!("no unit is called {unit}"),
    })
}

fn span(at: Time) -> String {
    format!("{:?}", at.since(Time::ZERO))
}
