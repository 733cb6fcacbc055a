//! One attachment to PID 1: wait for events, changes of files and the passing of time; then make
//! a pass. When the connection is cut (PID 1 re-executes) everything begins anew from a snapshot.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::io;
use std::slice;
use std::thread;
use std::time::{Duration, Instant};

use herm_dashboard::history::Recorder;
use herm_home::layout::{AGENT_PID, AGENT_STATE, AUTH, CONFIG, DOTENV, SETTINGS, SOUL};
use herm_home::lease::Standing;
use herm_home::watch::{Changes, Watch};
use herm_home::{Desired, Discovery, Home, ProfileName, withdrawn};
use herm_sys::Signal;
use herm_sys::signals::{SignalFd, SignalSet, set_blocked};
use herm_wire::{
    Body, ErrorCode, Event, EventBody, Kind, Op, Order, Reply, ServiceView, State, VerbOptions,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::boot;
use super::compress::Compressor;
use super::dashboard;
use super::facts::{Access, Elsewhere, Facts, Remarks};
use super::leases::Leases;
use super::orders::Orders;
use super::plan::Memory;
use crate::client::{Client, Line, PROMPT_REPLY, body_of, read_line};
use crate::context::{Context, home_failure};
use crate::failure::{Failure, Outcome};
use crate::launch::LaunchFacts;

/// The longest the keeper goes without looking: a net under everything else.
const SAFETY_NET: Duration = Duration::from_secs(60);
/// Between two tries of what failed and tells nobody when it would succeed: a record on a full
/// disk, a foreign gateway that may have ended.
const TRY_AGAIN: Duration = Duration::from_secs(5);
/// How long PID 1 is looked for, at the start and after a cut.
const FIND_WITHIN: Duration = Duration::from_secs(10);
/// Between two looks for it. There is no event to wait for: the socket's file stays, its listener
/// comes and goes.
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);
/// Set by PID 1 where the container's CMD is `gateway run`: the profile it names.
const GATEWAY_RUN_VARIABLE: &str = "HERM_GATEWAY_RUN";
/// Entries of a profile's directory whose change matters.
const INTERESTING: [&str; 6] = [AGENT_PID, AGENT_STATE, AUTH, CONFIG, DOTENV, SOUL];

/// Why a session ended.
pub(super) enum Ended {
    /// The connection is of no use any more.
    Cut,
    /// The keeper can't go on.
    Failed(Failure),
}

impl From<io::Error> for Ended {
    fn from(_: io::Error) -> Self {
        Self::Cut
    }
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Everything the keeper knows while it is attached.
pub(super) struct Session<'a> {
    pub(super) home: Home,
    leases: &'a Leases,
    /// What this instance was when the pass began.
    standing: Standing,
    terms: &'a SignalFd,
    pub(super) launch: LaunchFacts,
    /// The keeper's connection: requests, their replies and events in one order. So what a reply
    /// shows is never newer than the orders that are known (they came before it).
    pub(super) client: Client,
    pub(super) services: BTreeMap<String, ServiceView>,
    pub(super) facts: BTreeMap<ProfileName, Facts>,
    pub(super) memory: Memory,
    pub(super) orders: Orders,
    pub(super) watch: Watch,
    pub(super) compressor: Compressor,
    /// Profiles to be read again; all, where `look_at_all`.
    pub(super) dirty: BTreeSet<ProfileName>,
    pub(super) look_at_all: bool,
    /// Profiles that are being renamed, by processes that may die of it.
    pub(super) renaming: Vec<ProfileName>,
    /// A request to answer when the pass is done.
    pub(super) asked: Option<u64>,
    /// Something happened since the last pass began.
    pub(super) fresh: bool,
    /// Everything is being stopped: nothing is started any more.
    stopping: bool,
    said: BTreeSet<String>,
    /// What happened, for whoever looks later.
    history: Recorder,
    announced: BTreeSet<(String, u32)>,
}

/// Runs sessions until one can't go on, or the keeper is asked to end.
pub(super) fn run(context: &Context) -> Outcome {
    // Before any thread is made: the signal must reach none of them.
    let cannot = |error| Failure::failed(format!("can't receive signals: {error}"));
    let set = SignalSet::EMPTY.with(Signal::TERM);
    set_blocked(set);
    let terms = SignalFd::new(set).map_err(cannot)?;
    let leases = Leases::start(context, &find(context)?)?;
    let mut memory = Memory::default();
    let history = Recorder::start(context.home().root());
    loop {
        let ended = match Session::open(context, memory, (&leases, &terms), history.clone()) {
            Ok(mut session) => {
                let ended = session.run();
                memory = session.memory;
                ended
            }
            Err(ended) => {
                memory = Memory::default();
                Err(ended)
            }
        };
        match ended {
            Ok(()) => return Ok(()),
            Err(Ended::Failed(failure)) => return Err(failure),
            Err(Ended::Cut) => {}
        }
    }
}

/// The supervisor, which is there before the keeper is, except while it replaces itself.
fn find(context: &Context) -> Outcome<Client> {
    let deadline = Instant::now() + FIND_WITHIN;
    loop {
        match Client::find(context.surroundings(), context.home().root()) {
            Ok(Some(client)) => return Ok(client),
            Ok(None) | Err(_) if Instant::now() < deadline => thread::sleep(BETWEEN_LOOKS),
            Ok(None) => {
                return Err(Failure::failed(
                    "no supervisor answers; the keeper has nothing to do",
                ));
            }
            Err(failure) => return Err(failure),
        }
    }
}

impl<'a> Session<'a> {
    fn open(
        context: &Context,
        memory: Memory,
        (leases, terms): (&'a Leases, &'a SignalFd),
        history: Recorder,
    ) -> Result<Self, Ended> {
        let mut client = find(context)?;
        client.try_ask(&Op::AttachKeeper)??;
        client.tell(Op::Subscribe)?;
        let (launch, wrong) = LaunchFacts::by_what_is_right(context.home());
        for wrong in &wrong {
            println!("reconcile: {wrong} (left out; all else that is set holds)");
        }
        Ok(Self {
            home: context.home().clone(),
            leases,
            standing: Standing::Undecided,
            terms,
            launch,
            client,
            services: BTreeMap::new(),
            facts: BTreeMap::new(),
            memory,
            orders: Orders::default(),
            watch: Watch::new().map_err(home_failure)?,
            compressor: Compressor::default(),
            dirty: BTreeSet::new(),
            look_at_all: true,
            renaming: Vec::new(),
            asked: None,
            fresh: true,
            stopping: false,
            said: wrong.into_iter().collect(),
            history,
            announced: BTreeSet::new(),
        })
    }

    fn run(&mut self) -> Result<(), Ended> {
        while !self.take_events()? {
            self.client.connection().fill()?;
        }
        self.register_dashboard()?;
        loop {
            self.pass()?;
            self.announce();
            if self.wait()? {
                return self.end();
            }
            self.take_events()?;
            self.take_changes();
        }
    }

    /// Looks at what this instance is now, and says what has changed. Whoever begins to run the
    /// gateways decides first what is to be brought back.
    pub(super) fn take_standing(&mut self) -> Result<(), Ended> {
        for remark in self.leases.take_remarks() {
            self.say(remark);
        }
        let standing = self.leases.standing();
        if standing == self.standing {
            return Ok(());
        }
        self.look_at_all = true;
        match &standing {
            Standing::Remote(owner) => println!(
                "reconcile: instance {owner} runs the gateways of this home: they are shown as \
                 remote here, and verbs are handed to it"
            ),
            Standing::Unowned => println!("reconcile: {}", Elsewhere::nowhere().why),
            Standing::Unleased => println!(
                "reconcile: the home takes no lease: another container on it would run the same \
                 gateways"
            ),
            Standing::Undecided | Standing::Fenced | Standing::Owner => {}
        }
        self.standing = standing;
        if self.standing.runs_gateways() {
            self.boot()?;
        }
        Ok(())
    }

    /// Whether it is known who runs the gateways.
    pub(super) fn is_settled(&self) -> bool {
        !matches!(self.standing, Standing::Undecided | Standing::Fenced)
    }

    /// Why the gateways don't run here, where they don't.
    pub(super) fn elsewhere(&self) -> Option<Elsewhere> {
        match &self.standing {
            Standing::Remote(owner) => Some(Elsewhere::by(owner.clone())),
            Standing::Unowned => Some(Elsewhere::nowhere()),
            Standing::Undecided | Standing::Fenced | Standing::Owner | Standing::Unleased => None,
        }
    }

    /// Whether this instance runs the gateways.
    pub(super) fn runs_gateways(&self) -> bool {
        self.standing.runs_gateways()
    }

    /// What may be done with the home.
    pub(super) fn access(&self) -> Access {
        if self.standing.runs_gateways() {
            Access::Keep
        } else {
            Access::Look
        }
    }

    /// Ends in order. The lease says that no gateway of the home runs elsewhere, so it is kept for
    /// as long as one runs here: everything is being stopped, or another instance takes over.
    fn end(&mut self) -> Result<(), Ended> {
        // What was told before the signal came.
        self.request(&Op::Hello, &mut Remarks::new())?;
        let gives_up = self.leases.is_exposed() && self.standing == Standing::Owner;
        if !self.stopping && !gives_up {
            return Ok(());
        }
        if !self.stopping {
            println!(
                "reconcile: the keeper ends, and another instance may take over: stopping the gateways"
            );
            self.stop_gateways()?;
        }
        while self.services.values().any(is_running_gateway) {
            self.client.connection().fill()?;
            self.take_events()?;
        }
        self.leases.release();
        Ok(())
    }

    fn stop_gateways(&mut self) -> Result<(), Ended> {
        let running = self
            .services
            .values()
            .filter(|view| is_running_gateway(view));
        let names: Vec<String> = running.map(|view| view.name.clone()).collect();
        for name in names {
            let options = VerbOptions {
                reconcile: true,
                ..VerbOptions::default()
            };
            self.request(&Op::Stop { name, options }, &mut Remarks::new())?;
        }
        Ok(())
    }

    /// What a restart brings back, once per run of the supervisor. Orders that were given before
    /// come first: they are newer than any record.
    fn boot(&mut self) -> Result<(), Ended> {
        let instance = self.client.hello().instance.clone();
        if boot::is_over(&self.home, &instance) {
            return Ok(());
        }
        self.record_orders()?;
        let found = self.discover()?;
        // The look of the pass after this one is then one at what is watched already.
        self.watch_all(&found);
        let named = env::var(GATEWAY_RUN_VARIABLE).ok();
        let gateway_run = named.and_then(|name| ProfileName::parse(&name).ok());
        let main = self.main_gateway().map(|(profile, _)| profile);
        let asked = boot::Asked {
            gateway_run: gateway_run.as_ref(),
            main: main.as_ref(),
        };
        let report = boot::run(&self.home, &found, &instance, asked);
        let lines = report.lines.iter().chain(&report.remarks);
        // As one write: there may be thousands.
        let lines: Vec<String> = lines.map(|line| format!("reconcile: {line}")).collect();
        if !lines.is_empty() {
            println!("{}", lines.join("\n"));
        }
        // The first pass comes upon the same, and need not say it again.
        self.said.extend(report.remarks);
        let mut remarks = Remarks::new();
        if let Some(Body::Boot(steps)) = self.request(&Op::Boot, &mut remarks)? {
            self.history.boot(&instance, &steps, &report.lines);
        }
        Ok(())
    }

    /// An image's own service of that name is its dashboard.
    fn register_dashboard(&mut self) -> Result<(), Ended> {
        let known = self.services.get(dashboard::NAME);
        if known.is_some_and(|known| !dashboard::is_ours(&self.home, known)) {
            return Ok(());
        }
        let spec = Box::new(dashboard::spec(&self.home));
        let mut remarks = Remarks::new();
        self.request(&Op::Register { spec }, &mut remarks)?;
        for remark in remarks {
            self.say(remark);
        }
        Ok(())
    }

    pub(super) fn discover(&self) -> Result<Discovery, Ended> {
        herm_home::discover(&self.home).map_err(|error| Ended::Failed(home_failure(error)))
    }

    /// Handles every event that has arrived whole; whether the snapshot was among them.
    fn take_events(&mut self) -> Result<bool, Ended> {
        let mut snapshot = false;
        while let Some(line) = self.client.connection().buffered_line()? {
            if let Line::Event(event) = read_line(&line)? {
                snapshot |= matches!(event.body, EventBody::Snapshot(_));
                self.handle(*event);
            }
        }
        Ok(snapshot)
    }

    fn handle(&mut self, event: Event) {
        self.fresh = true;
        let told = (self.client.hello().instance.as_str(), event.seq);
        self.history.event(told, &self.services, &event.body);
        match event.body {
            EventBody::Snapshot(snapshot) => {
                self.services = snapshot
                    .services
                    .into_iter()
                    .map(|s| (s.name.clone(), s))
                    .collect();
                snapshot
                    .orders
                    .into_iter()
                    .for_each(|order| self.orders.push(order));
                self.asked = self.asked.max(snapshot.reconcile);
                let services = &self.services;
                self.memory
                    .keep_registered(|name| services.contains_key(name));
            }
            EventBody::Changed { service } => {
                let profile = ProfileName::from_service(&service.name);
                if let Some(name) = profile.filter(|_| service.kind == Kind::Gateway) {
                    // Somebody has published it again, or for the first time.
                    self.keep_withdrawn(|withdrawn| withdrawn.remove(&name));
                    self.look_at_all |= !self.facts.contains_key(&name);
                    self.dirty.insert(name);
                }
                self.services.insert(service.name.clone(), *service);
            }
            EventBody::Removed { name, withdrawn } => {
                if let Some(profile) = ProfileName::from_service(&name).filter(|_| withdrawn) {
                    self.keep_withdrawn(|withdrawn| withdrawn.insert(profile));
                }
                self.services.remove(&name);
                self.memory.gone(&name);
                // Removed by whom? Its profile may be going, or already gone.
                self.look_at_all = true;
            }
            EventBody::Order { order } => self.take_order(order),
            EventBody::ReconcileRequested { request } => {
                self.asked = self.asked.max(Some(request));
                self.look_at_all = true;
            }
            EventBody::ShuttingDown => self.stopping = true,
            EventBody::Notice { .. } | EventBody::Booted => {}
        }
    }

    /// Changes what is left out, in memory and, for a keeper after this one, in the home.
    pub(super) fn keep_withdrawn(
        &mut self,
        change: impl FnOnce(&mut BTreeSet<ProfileName>) -> bool,
    ) {
        if change(&mut self.memory.withdrawn) {
            let instance = &self.client.hello().instance;
            let saved = withdrawn::save(&self.home, instance, &self.memory.withdrawn);
            if let Err(error) = saved {
                self.say(error.to_string());
            }
        }
    }

    fn take_order(&mut self, order: Order) {
        self.dirty.extend(ProfileName::from_service(&order.name));
        self.orders.push(order);
    }

    fn take_changes(&mut self) {
        let Changes::Known(changes) = self.watch.drain() else {
            self.look_at_all = true;
            return;
        };
        for change in changes {
            if self.compressor.take_change(&change.dir) {
                continue;
            }
            let in_profiles = change.dir == self.home.profiles_dir();
            let in_root = change.dir == self.home.root();
            let name = change.name.as_str();
            self.look_at_all |= in_profiles && !name.starts_with('.');
            self.look_at_all |= in_root && [SETTINGS, "profiles"].contains(&name);
            self.look_at_all |= name == SOUL;
            if INTERESTING.contains(&name) {
                let profile = change
                    .dir
                    .file_name()
                    .and_then(|dir| ProfileName::parse(&dir.to_string_lossy()).ok());
                let profile = if in_root {
                    Some(ProfileName::default_profile())
                } else {
                    profile
                };
                self.dirty.extend(profile);
            }
        }
    }

    /// Watches everything that a profile's coming, going or changing shows in: directories that
    /// are no profiles yet as well, because their SOUL.md may come last. Answers whether any of
    /// them was not watched before.
    pub(super) fn watch_all(&mut self, found: &Discovery) -> bool {
        let dirs = [self.home.root().to_path_buf(), self.home.profiles_dir()];
        let profiles = found
            .profiles
            .iter()
            .chain(&found.unmarked)
            .map(|name| self.home.profile(name).dir().to_path_buf());
        let all: Vec<_> = dirs.into_iter().chain(profiles).collect();
        let mut any_new = false;
        for dir in all {
            match self.watch.follow_dir(&dir) {
                Ok(is_new) => any_new |= is_new,
                Err(failure) => self.say(failure.to_string()),
            }
        }
        any_new
    }

    /// Waits until there is something to do; `true`: the keeper was asked to end.
    fn wait(&mut self) -> Result<bool, Ended> {
        if self.fresh {
            return Ok(false);
        }
        let mut patience = self.watch.patience().unwrap_or(SAFETY_NET).min(SAFETY_NET);
        let blind = self.watch.patience().is_some();
        let has_foreign = self.facts.values().any(Facts::has_foreign);
        let impatient = !self.orders.is_empty() || has_foreign || !self.renaming.is_empty();
        if impatient {
            patience = patience.min(TRY_AGAIN);
        }
        let timeout = Timespec::try_from(patience).ok();
        let events = self.client.connection().stream().try_clone()?;
        let mut fds = [
            PollFd::new(&events, PollFlags::IN),
            PollFd::new(&self.watch, PollFlags::IN),
            PollFd::new(self.leases, PollFlags::IN),
            PollFd::new(self.terms, PollFlags::IN),
        ];
        let ready = match poll(&mut fds, timeout.as_ref()) {
            Ok(ready) => ready,
            Err(Errno::INTR) => return Ok(false),
            Err(error) => return Err(Failure::failed(format!("can't wait: {error}")).into()),
        };
        let has_events = fds.first().is_some_and(|fd| !fd.revents().is_empty());
        let is_asked_to_end = fds.last().is_some_and(|fd| !fd.revents().is_empty());
        if has_events {
            self.client.connection().fill()?;
        }
        self.look_at_all |= ready == 0 || (blind && !has_events);
        Ok(is_asked_to_end)
    }

    /// Asks; a refusal is said and remembered for whoever asked for the pass. Events that come
    /// before the answer are handled before it.
    pub(super) fn request(
        &mut self,
        op: &Op,
        remarks: &mut Remarks,
    ) -> Result<Option<Body>, Ended> {
        let answers = self.request_all(slice::from_ref(op), remarks)?;
        Ok(answers.into_iter().flatten().next())
    }

    /// Asks up to [`crate::client::BATCH`] things at once; the answers are in the order of the questions.
    pub(super) fn request_all(
        &mut self,
        ops: &[Op],
        remarks: &mut Remarks,
    ) -> Result<Vec<Option<Body>>, Ended> {
        let asked = ops.iter().map(|op| self.client.tell(op.clone()));
        let asked: Vec<u64> = asked.collect::<io::Result<_>>()?;
        let mut answers: Vec<Option<Body>> = ops.iter().map(|_| None).collect();
        let mut left = asked.len();
        let deadline = Instant::now() + PROMPT_REPLY;
        while left > 0 {
            let line = self.client.connection().next_line(Some(deadline))?;
            let reply = match read_line(&line)? {
                Line::Event(event) => {
                    self.handle(*event);
                    continue;
                }
                Line::Reply(reply) => reply,
            };
            let place = asked.iter().position(|id| *id == reply.id);
            let Some(answer) = place.and_then(|place| answers.get_mut(place)) else {
                // To a request whose answer nobody waits for.
                continue;
            };
            left -= 1;
            if !is_overtaken(&reply) {
                let body = body_of(*reply);
                *answer = body
                    .map_err(|failure| remarks.push(failure.to_string()))
                    .ok();
            }
        }
        Ok(answers)
    }

    /// Whether services may still be started.
    pub(super) fn may_act(&self) -> bool {
        !self.stopping
    }

    /// Says something once.
    pub(super) fn say(&mut self, remark: String) {
        if !self.said.contains(&remark) {
            println!("reconcile: {remark}");
            self.said.insert(remark);
        }
    }

    /// Under `herm up` a person waits for this line.
    fn announce(&mut self) {
        if env::var_os(crate::commands::UP_VARIABLE).is_none() {
            return;
        }
        for (name, facts) in &self.facts {
            let Some(view) = self.services.get(&name.service()) else {
                continue;
            };
            let serves = view.state == State::Running
                && view.ready
                && facts.intent == Some(Desired::Running);
            let (Some(endpoint), Some(pid), true) = (facts.endpoint(), view.pid, serves) else {
                continue;
            };
            if self.announced.insert((view.name.clone(), pid)) {
                println!("herm: {name} answers at {}/health", endpoint.url());
            }
        }
    }
}

fn is_running_gateway(view: &ServiceView) -> bool {
    view.kind == Kind::Gateway && view.pid.is_some()
}

/// A refusal because the world went on meanwhile: the service is gone, an order came in between,
/// all is being stopped. Its event is on its way, and with it the next pass.
fn is_overtaken(reply: &Reply) -> bool {
    let code = reply.err.as_ref().map(|error| error.code);
    matches!(
        code,
        Some(ErrorCode::NotFound | ErrorCode::Superseded | ErrorCode::ShuttingDown)
    )
}

/// The word for an I/O failure of a session, for logs.
impl std::fmt::Debug for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cut => f.write_str("the connection was cut"),
            Self::Failed(failure) => write!(f, "{failure}"),
        }
    }
}
