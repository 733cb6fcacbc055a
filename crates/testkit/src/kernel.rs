//! A kernel and a driver's view of it, without processes: what an engine's actions do to imaginary
//! processes, and which events come of it, when.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use herm_engine::{Action, Event, Exit, Role, RunId, SpawnFailure, Target, Time, signal};

use crate::rng::Rng;

/// How an imaginary process will behave.
#[derive(Clone, Debug)]
pub struct Behaviour {
    /// The exec takes this long; None: it hangs until it is killed.
    pub exec_after: Option<Duration>,
    /// The exec fails.
    pub exec_fails: bool,
    /// It ends by itself this long after its exec.
    pub ends: Option<(Duration, Exit)>,
    /// This long after TERM it ends; None: TERM is ignored.
    pub term: Option<(Duration, Exit)>,
    /// KILL takes this long to have an effect.
    pub unkillable_for: Duration,
    /// It announces that it is ready this long after its exec.
    pub ready_after: Option<Duration>,
    /// Its probes: succeed, fail, or are never answered.
    pub probes: Option<bool>,
    /// Processes it leaves behind: each ends this long after TERM, or only by KILL.
    pub survivors: Vec<Option<Duration>>,
}

impl Default for Behaviour {
    /// A good citizen: lives until it is told to end, and does so at once.
    fn default() -> Self {
        Self {
            exec_after: Some(Duration::ZERO),
            exec_fails: false,
            ends: None,
            term: Some((
                Duration::ZERO,
                Exit::Signal {
                    signal: signal::TERM,
                    core: false,
                },
            )),
            unkillable_for: Duration::ZERO,
            ready_after: Some(Duration::ZERO),
            probes: Some(true),
            survivors: Vec::new(),
        }
    }
}

/// What may go wrong between a process and the engine's hearing of it.
#[derive(Clone, Debug)]
pub struct Noise {
    /// Reports are late by up to this long, each by its own, and so overtake each other.
    pub late_by: Duration,
    /// This many percent of reports come twice.
    pub twice: u32,
    /// This many percent of runs lose their first report of being empty.
    pub empties_lost: u32,
}

impl Noise {
    /// Nothing goes wrong.
    pub const NONE: Self = Self {
        late_by: Duration::ZERO,
        twice: 0,
        empties_lost: 0,
    };
}

/// One run, as it really is.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts about one process"
)]
pub struct Process {
    /// The name of the service it belongs to.
    pub owner: String,
    /// What it is for.
    pub role: Role,
    /// Its process id.
    pub pid: u32,
    /// Whether its program was executed.
    pub executed: bool,
    /// How its main process ended, if it has.
    pub exit: Option<Exit>,
    /// Whether its exec failed.
    pub failed: bool,
    /// Whether it has announced itself ready.
    pub announced: bool,
    /// Which of its survivors live.
    survivors: Vec<bool>,
    behaviour: Behaviour,
    empty_lost: bool,
}

impl Process {
    /// Whether the main process lives, executed or not.
    pub fn main_lives(&self) -> bool {
        self.exit.is_none() && !self.failed
    }

    /// Whether anything of it lives.
    pub fn lives(&self) -> bool {
        self.main_lives() || (self.executed && self.survivors.contains(&true))
    }

    /// Whether something of it takes its time to be killed.
    pub fn is_unkillable(&self) -> bool {
        !self.behaviour.unkillable_for.is_zero()
    }
}

#[derive(Clone, Debug)]
enum Happening {
    Executes(RunId),
    FailsToExecute(RunId),
    Ends(RunId, Exit),
    SurvivorEnds(RunId, usize),
    Announces(RunId),
    Report(Event),
}

/// All imaginary processes, and what is going to happen to them.
#[derive(Debug)]
pub struct Kernel {
    /// Every run there ever was.
    pub processes: BTreeMap<RunId, Process>,
    agenda: BTreeMap<(Time, u64), Happening>,
    sequence: u64,
    next_pid: u32,
    rng: Rng,
    /// What may go wrong with reports.
    pub noise: Noise,
}

impl Kernel {
    /// A kernel without processes.
    pub fn new(seed: u64, noise: Noise) -> Self {
        Self {
            processes: BTreeMap::new(),
            agenda: BTreeMap::new(),
            sequence: 0,
            next_pid: 100,
            rng: Rng::new(seed),
            noise,
        }
    }

    /// Carries out an action that concerns processes. `cast` says whose a new one is, and how it behaves.
    pub fn perform(
        &mut self,
        now: Time,
        action: &Action,
        cast: impl FnOnce() -> (String, Behaviour),
    ) {
        match action {
            Action::Spawn { id: _, run, role } => self.spawn(now, *run, *role, cast()),
            Action::Signal {
                run,
                target,
                signal,
                ..
            } => self.signal(now, *run, *target, *signal),
            Action::Probe {
                run,
                probe,
                timeout,
                ..
            } => {
                let probes = self
                    .processes
                    .get(run)
                    .and_then(|process| process.behaviour.probes);
                if let Some(ok) = probes {
                    let after = if ok { Duration::ZERO } else { *timeout };
                    self.report(
                        now + after,
                        Event::ProbeDone {
                            run: *run,
                            probe: *probe,
                            ok,
                        },
                    );
                }
            }
            Action::Changed { .. }
            | Action::Overran { .. }
            | Action::Unkillable { .. }
            | Action::Removed { .. }
            | Action::ShutdownDone { .. } => {}
        }
    }

    /// When something happens next.
    pub fn next(&self) -> Option<Time> {
        self.agenda.keys().next().map(|(at, _)| *at)
    }

    /// Lets everything happen that is due, and returns the reports that have arrived.
    pub fn advance(&mut self, now: Time) -> VecDeque<Event> {
        let mut arrived = VecDeque::new();
        while let Some(entry) = self.agenda.first_entry() {
            let at = entry.key().0;
            if at > now {
                break;
            }
            match entry.remove() {
                Happening::Report(event) => arrived.push_back(event),
                happening => self.happen(at, &happening),
            }
        }
        arrived
    }

    /// Ends the main process of a run, as if it had decided so itself.
    pub fn end(&mut self, now: Time, run: RunId, exit: Exit) {
        self.plan(now, Happening::Ends(run, exit));
    }

    /// Lets a process announce that it is ready.
    pub fn announce(&mut self, now: Time, run: RunId) {
        self.plan(now, Happening::Announces(run));
    }

    /// Ends everything that lives, the unkillable included.
    pub fn end_all(&mut self, now: Time) {
        let runs: Vec<RunId> = self.processes.keys().copied().collect();
        for run in runs {
            let killed = Exit::Signal {
                signal: signal::KILL,
                core: false,
            };
            self.plan(now, Happening::Ends(run, killed));
            let survivors = self
                .processes
                .get(&run)
                .map_or(0, |process| process.survivors.len());
            for survivor in 0..survivors {
                self.plan(now, Happening::SurvivorEnds(run, survivor));
            }
        }
    }

    /// Forgets all reports that are under way.
    pub fn lose_reports(&mut self) {
        self.agenda
            .retain(|_, happening| !matches!(happening, Happening::Report(_)));
    }

    /// What a driver finds out about a run that it took over from a former self.
    pub fn find_out(&mut self, now: Time, run: RunId) {
        let Some(process) = self.processes.get(&run).cloned() else {
            let failure = SpawnFailure {
                stage: "spawn it: it was never tried".into(),
                errno: 3,
            };
            return self.report(now, Event::SpawnFailed { run, failure });
        };
        if process.failed {
            return self.report(now, exec_failed(run));
        }
        if process.executed {
            self.report(
                now,
                Event::Spawned {
                    run,
                    pid: process.pid,
                },
            );
        }
        if process.announced {
            self.report(now, Event::Ready { run });
        }
        if let Some(exit) = process.exit {
            self.report(now, Event::Exited { run, exit });
        }
    }

    /// A report about a run that has long been over, or one that repeats an old one.
    pub fn stale_report(&mut self, now: Time) {
        let runs: Vec<RunId> = self.processes.keys().copied().collect();
        if runs.is_empty() {
            return;
        }
        let run = self.rng.pick(&runs);
        let process = &self.processes[&run];
        let mut events = vec![];
        if process.executed {
            events.push(Event::Spawned {
                run,
                pid: process.pid,
            });
        }
        if process.announced {
            events.push(Event::Ready { run });
        }
        if let Some(exit) = process.exit {
            events.push(Event::Exited { run, exit });
            if !process.lives() {
                events.push(Event::Emptied { run });
            }
        }
        if !events.is_empty() {
            let event = events.swap_remove(self.rng.below(events.len()));
            self.plan(now, Happening::Report(event));
        }
    }

    fn spawn(&mut self, now: Time, run: RunId, role: Role, cast: (String, Behaviour)) {
        let (owner, behaviour) = cast;
        let pid = self.next_pid;
        self.next_pid += 1;
        if let Some(after) = behaviour.exec_after {
            let happening = if behaviour.exec_fails {
                Happening::FailsToExecute(run)
            } else {
                Happening::Executes(run)
            };
            self.plan(now + after, happening);
        }
        let process = Process {
            owner,
            role,
            pid,
            executed: false,
            exit: None,
            failed: false,
            announced: false,
            survivors: vec![true; behaviour.survivors.len()],
            behaviour,
            empty_lost: false,
        };
        let former = self.processes.insert(run, process);
        assert!(former.is_none(), "run {run} was started twice");
    }

    fn signal(&mut self, now: Time, run: RunId, target: Target, number: u8) {
        let Some(process) = self.processes.get(&run).cloned() else {
            return;
        };
        let kill = number == signal::KILL;
        let killed = Exit::Signal {
            signal: signal::KILL,
            core: false,
        };
        let late = process.behaviour.unkillable_for;
        if process.main_lives() {
            let dies = if kill {
                Some((late, killed))
            } else if signal::name(number) == Some("TERM") {
                // Before its exec a child has no handlers.
                if process.executed {
                    process.behaviour.term
                } else {
                    Some((late, killed))
                }
            } else {
                None
            };
            if let Some((after, exit)) = dies {
                self.plan(now + after, Happening::Ends(run, exit));
            }
        }
        if target != Target::Set {
            return;
        }
        for (place, manner) in process.behaviour.survivors.iter().enumerate() {
            let after = if kill { Some(late) } else { *manner };
            if let Some(after) = after {
                self.plan(now + after, Happening::SurvivorEnds(run, place));
            }
        }
        if !process.lives() {
            self.report(now, Event::Emptied { run });
        }
    }

    fn happen(&mut self, at: Time, happening: &Happening) {
        match *happening {
            Happening::Executes(run) => self.executes(at, run),
            Happening::FailsToExecute(run) => {
                let Some(process) = self.processes.get_mut(&run) else {
                    return;
                };
                if process.main_lives() {
                    process.failed = true;
                    self.report(at, exec_failed(run));
                }
            }
            Happening::Ends(run, exit) => {
                let Some(process) = self.processes.get_mut(&run) else {
                    return;
                };
                if process.main_lives() {
                    process.exit = Some(exit);
                    self.report(at, Event::Exited { run, exit });
                    self.report_if_empty(at, run);
                }
            }
            Happening::SurvivorEnds(run, place) => {
                let Some(process) = self.processes.get_mut(&run) else {
                    return;
                };
                if std::mem::take(&mut process.survivors[place]) {
                    self.report_if_empty(at, run);
                }
            }
            Happening::Announces(run) => {
                let Some(process) = self.processes.get_mut(&run) else {
                    return;
                };
                if process.executed && process.main_lives() {
                    process.announced = true;
                    self.report(at, Event::Ready { run });
                }
            }
            Happening::Report(_) => unreachable!("reports are handed out, not acted on"),
        }
    }

    fn executes(&mut self, at: Time, run: RunId) {
        let Some(process) = self.processes.get_mut(&run) else {
            return;
        };
        if !process.main_lives() {
            return;
        }
        process.executed = true;
        let pid = process.pid;
        let behaviour = process.behaviour.clone();
        self.report(at, Event::Spawned { run, pid });
        if let Some(after) = behaviour.ready_after {
            self.plan(at + after, Happening::Announces(run));
        }
        if let Some((after, exit)) = behaviour.ends {
            self.plan(at + after, Happening::Ends(run, exit));
        }
    }

    fn report_if_empty(&mut self, at: Time, run: RunId) {
        let lost = self.rng.chance(self.noise.empties_lost);
        let Some(process) = self.processes.get_mut(&run) else {
            return;
        };
        if process.lives() || (lost && !std::mem::replace(&mut process.empty_lost, true)) {
            return;
        }
        self.report(at, Event::Emptied { run });
    }

    fn report(&mut self, at: Time, event: Event) {
        if self.rng.chance(self.noise.twice) {
            let again = at + self.rng.millis(0, 5_000);
            self.plan(again, Happening::Report(event.clone()));
        }
        let late = u64::try_from(self.noise.late_by.as_millis()).expect("short");
        let late = self.rng.millis(0, late);
        self.plan(at + late, Happening::Report(event));
    }

    fn plan(&mut self, at: Time, happening: Happening) {
        self.sequence += 1;
        self.agenda.insert((at, self.sequence), happening);
    }
}

fn exec_failed(run: RunId) -> Event {
    let failure = SpawnFailure {
        stage: "execute it".into(),
        errno: 2,
    };
    Event::SpawnFailed { run, failure }
}
