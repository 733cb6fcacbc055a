//! A pass: orders first, then the look, the plan, and the plan carried out step by step.

use std::path::Path;
use std::slice;
use std::time::SystemTime;

use herm_home::owner::Owner;
use herm_home::ports::Ports;
use herm_home::profile::mend_rename;
use herm_home::{Discovery, ProfileName, discover, owner, state, withdrawn};
use herm_wire::{Body, Kind, Op, State, VerbOptions};

use super::facts::{self, Access, Facts, Remarks};
use super::files::{Seen, each, save_parked};
use super::plan::{Action, Annotation, Parked, plan};
use super::port;
use super::serve;
use super::session::{Ended, Session};
use crate::client::BATCH;

impl Session<'_> {
    /// Brings everything into line and answers whoever asked for it.
    pub(super) fn pass(&mut self) -> Result<(), Ended> {
        let mut remarks = Remarks::new();
        let mut failures = Remarks::new();
        self.fresh = false;
        self.take_standing()?;
        if !self.is_settled() {
            return Ok(());
        }
        self.record_orders()?;
        self.look(&mut remarks);
        self.follow_logs();
        self.renew_ports(&mut remarks)?;
        // Last of all looks: what is read again after it is of an unknown owner.
        self.find_foreign(&mut remarks)?;
        if self.may_act() {
            self.act(&mut remarks, &mut failures)?;
        }
        for remark in remarks.into_iter().chain(failures.iter().cloned()) {
            self.say(remark);
        }
        let seen_all = self.orders.is_empty() && !self.look_at_all;
        if let Some(seq) = self.asked.filter(|_| seen_all) {
            // What is odd in some profile's files is no failure of the pass.
            let error = (!failures.is_empty()).then(|| failures.join("; "));
            self.request(&Op::AckReconcile { seq, error }, &mut failures)?;
            // One that came while this one was answered is another's.
            self.asked = self.asked.filter(|asked| *asked != seq);
        }
        Ok(())
    }

    fn act(&mut self, remarks: &mut Remarks, failures: &mut Remarks) -> Result<(), Ended> {
        let elsewhere = self.elsewhere();
        let claims = match &elsewhere {
            Some(_) => facts::foresee_claims(&self.home, &self.facts, &self.services),
            None => facts::take_claims(&self.home, &self.facts, &self.services, remarks),
        };
        let profiles = facts::profiles(
            &self.home,
            &self.launch,
            &self.facts,
            &self.services,
            &claims,
            elsewhere.as_ref(),
        );
        let actions = plan(&profiles, &self.services, &self.memory);
        let is_registration = |action: &Action| matches!(action, Action::Register(_));
        let (registrations, rest): (Vec<_>, Vec<_>) =
            actions.into_iter().partition(is_registration);
        // Of what is done about a profile this is the first in any case.
        self.register(&registrations, failures)?;
        for action in rest {
            if !self.orders.is_empty() {
                // An operator spoke meanwhile: the plan is out of date.
                break;
            }
            self.carry_out(&action, failures)?;
        }
        Ok(())
    }

    /// Records what operators ordered, then says so to PID 1, which answers them.
    pub(super) fn record_orders(&mut self) -> Result<(), Ended> {
        if self.orders.is_empty() {
            return Ok(());
        }
        if self.elsewhere().is_some() {
            return self.pass_orders_on();
        }
        let mut remarks = Remarks::new();
        for recorded in self.orders.record(&self.home, &self.services, &mut remarks) {
            // For whoever reads the agent's own file next; the pass sees to it for good.
            let paths = self.home.profile(&recorded.profile);
            let mirrored = state::mirror_desired(&paths, recorded.desired, SystemTime::now());
            remarks.extend(mirrored.err().map(|error| error.to_string()));
            let op = Op::AckOrder {
                name: recorded.name,
                seq: recorded.seq,
            };
            self.request(&op, &mut remarks)?;
            self.dirty.insert(recorded.profile);
        }
        for remark in remarks {
            self.say(remark);
        }
        Ok(())
    }

    /// Orders that came while it was not yet known here that another instance runs the gateways:
    /// they are that one's.
    fn pass_orders_on(&mut self) -> Result<(), Ended> {
        let mut remarks = Remarks::new();
        for order in self.orders.take_all() {
            if let Err(why) = serve::pass_on(&self.home, &order) {
                remarks.push(why);
            }
            let op = Op::AckOrder {
                name: order.name,
                seq: order.seq,
            };
            self.request(&op, &mut remarks)?;
        }
        for remark in remarks {
            self.say(remark);
        }
        Ok(())
    }

    /// Reads what has changed, or everything. A home that can't be looked at now keeps what was
    /// known of it: nothing is stopped because a disk hiccuped.
    fn look(&mut self, remarks: &mut Remarks) {
        if !self.look_at_all {
            self.dirty.retain(|name| self.facts.contains_key(name));
            return self.read_dirty(remarks);
        }
        self.look_at_all = false;
        self.compressor.forget();
        self.launch.reload(&self.home, remarks);
        let found = loop {
            let found = match discover(&self.home) {
                Ok(found) => found,
                Err(error) => return remarks.push(error.to_string()),
            };
            // What happened in a directory before it was watched is only found by another look.
            if !self.watch_all(&found) {
                break found;
            }
        };
        remarks.extend(
            found
                .skipped
                .iter()
                .map(|skipped| format!("{}: {}", skipped.name, skipped.why)),
        );
        self.renaming.clone_from(&found.renaming);
        self.mend(&found, remarks);
        self.facts.retain(|name, _| found.profiles.contains(name));
        // Verbs take names out of the record; a profile that is gone comes back as a new one.
        match withdrawn::load(&self.home, &self.client.hello().instance) {
            Ok(recorded) => self.memory.withdrawn = recorded,
            Err(error) => remarks.push(error.to_string()),
        }
        self.keep_withdrawn(|withdrawn| {
            let before = withdrawn.len();
            withdrawn.retain(|name| found.profiles.contains(name));
            withdrawn.len() != before
        });
        self.dirty = found.profiles.into_iter().collect();
        self.read_dirty(remarks);
    }

    /// Ends renamings whose process was killed.
    fn mend(&self, found: &Discovery, remarks: &mut Remarks) {
        if self.access() == Access::Look {
            return;
        }
        for name in &found.half_renamed {
            match mend_rename(&self.home, name, SystemTime::now()) {
                Ok(Some(before)) => {
                    remarks.push(format!("{name} was {before}; its renaming is complete now"));
                }
                Ok(None) => remarks.push(format!(
                    "{name}: its renaming was interrupted, it keeps its name"
                )),
                Err(error) => remarks.push(format!("{name}: {error}")),
            }
        }
    }

    /// Tells gateways that run outside supervision from our own (L12). A gateway that PID 1 has
    /// just started lives before its event gets here, so a look at what is known would take it for
    /// another's. It is one if PID 1, asked now, runs none, and the one that was seen before the
    /// question still lives after it.
    fn find_foreign(&mut self, remarks: &mut Remarks) -> Result<(), Ended> {
        if let Some((name, owner)) = self.main_gateway()
            && !self.runs(&name)
            && let Some(facts) = self.facts.get_mut(&name)
        {
            facts.main_program_is(owner);
            remarks.extend(facts.foreign().map(|words| format!("{name}: {words}")));
        }
        let suspects: Vec<ProfileName> = self
            .facts
            .iter()
            .filter(|(name, facts)| facts.has_unknown_owner() && !self.runs(name))
            .map(|(name, _)| name.clone())
            .collect();
        for name in suspects {
            if self.may_run(&name, remarks)? {
                continue;
            }
            if let Some(facts) = self.facts.get_mut(&name) {
                facts.nothing_supervised_runs(&self.home, &name);
                remarks.extend(facts.foreign().map(|words| format!("{name}: {words}")));
            }
        }
        Ok(())
    }

    /// Gives another port to who is about to be started and has lost its own. One that PID 1 has just
    /// started listens there itself, so PID 1 is asked first.
    fn renew_ports(&mut self, remarks: &mut Remarks) -> Result<(), Ended> {
        if self.access() == Access::Look {
            return Ok(());
        }
        let missing = self
            .facts
            .iter()
            .filter(|(name, facts)| facts.is_missing() && !self.runs(name));
        let home = self.home.clone();
        let mut ports = Ports::of(&home);
        let missing: Vec<(ProfileName, u16)> = missing
            .filter_map(|(name, facts)| Some((name.clone(), facts.given_port()?)))
            .filter(|(name, port)| port::has_lost(&mut ports, name, *port))
            .collect();
        for (name, port) in missing {
            if self.may_run(&name, remarks)? {
                continue;
            }
            match port::renew_port(&mut ports, &home, &name, port) {
                Ok(None) => {}
                Ok(Some(new)) => {
                    remarks.push(format!(
                        "{name}: port {port} is somebody else's by now; it gets {new}"
                    ));
                    self.dirty.insert(name);
                }
                Err(failure) => remarks.push(failure.to_string()),
            }
        }
        // Reading may give ports itself, which is one's right at a time.
        drop(ports);
        self.read_dirty(remarks);
        Ok(())
    }

    /// Whether PID 1, asked now, may have a process of this profile's gateway: also where it doesn't say.
    fn may_run(&mut self, name: &ProfileName, remarks: &mut Remarks) -> Result<bool, Ended> {
        // What was never registered does not run under PID 1.
        if self.services.contains_key(&name.service()) {
            let op = Op::Service {
                name: name.service(),
            };
            let Some(body) = self.request(&op, remarks)? else {
                return Ok(true);
            };
            self.note_view(body);
        }
        Ok(self.runs(name))
    }

    /// The main program and its profile, where it is a gateway (`gateway run --no-supervise`).
    pub(super) fn main_gateway(&self) -> Option<(ProfileName, Owner)> {
        let main = self
            .services
            .values()
            .find(|view| view.kind == Kind::Main)?;
        let pid = main.pid.and_then(|pid| i32::try_from(pid).ok())?;
        owner::of_process(pid, Path::new("/proc"))
    }

    /// Whether PID 1 has a process of this profile's gateway, or is about to.
    fn runs(&self, name: &ProfileName) -> bool {
        self.services.get(&name.service()).is_some_and(|view| {
            view.pid.is_some()
                || matches!(
                    view.state,
                    State::Starting | State::Running | State::Stopping
                )
        })
    }

    /// The same goes for a profile that can't be read.
    fn read_dirty(&mut self, remarks: &mut Remarks) {
        let dirty: Vec<ProfileName> = std::mem::take(&mut self.dirty).into_iter().collect();
        let (home, access, parked) = (&self.home, self.access(), &self.memory.parked);
        let seen = each(&dirty, |name| {
            Seen::of(home, name, access, !parked.contains_key(name))
        });
        let mut ports = Ports::of(home);
        for (name, seen) in dirty.into_iter().zip(seen) {
            if let Some(parked) = seen.parked {
                self.memory.parked.insert(name.clone(), parked);
            }
            match seen.files {
                Ok(files) => {
                    let with = (access, &mut ports);
                    let facts = Facts::of(files, &name, &self.launch, with, remarks);
                    self.facts.insert(name, facts);
                }
                Err(_) if !home.profile(&name).dir().exists() => {
                    // Deleted or renamed since the home was looked at: look again.
                    self.facts.remove(&name);
                    self.look_at_all = true;
                    self.fresh = true;
                }
                Err(error) => remarks.push(format!("{name}: {error}")),
            }
            remarks.extend(seen.remarks);
        }
    }

    /// Registers many services without waiting for each: a home may have thousands.
    fn register(&mut self, registrations: &[Action], failures: &mut Remarks) -> Result<(), Ended> {
        for batch in registrations.chunks(BATCH) {
            if !self.orders.is_empty() {
                break;
            }
            let ops = batch.iter().filter_map(|action| match action {
                Action::Register(spec) => Some(Op::Register { spec: spec.clone() }),
                _ => None,
            });
            let ops: Vec<Op> = ops.collect();
            let answers = self.request_all(&ops, failures)?;
            for (action, answer) in batch.iter().zip(answers) {
                if answer.is_some() {
                    self.memory.done(action);
                }
            }
            // The answers are older than events that were read between them, so the services come by their events: those
            // are there when a question is answered that was asked later.
            if let Some(Op::Register { spec }) = ops.last() {
                let name = spec.name.clone();
                self.request_view(&Op::Service { name }, failures)?;
            }
        }
        Ok(())
    }

    fn carry_out(&mut self, action: &Action, failures: &mut Remarks) -> Result<(), Ended> {
        let done = match action {
            Action::Register(_) => return self.register(slice::from_ref(action), failures),
            Action::Unregister(name) => {
                // Answered when its last process is gone; nobody waits here.
                self.client.tell(Op::Unregister { name: name.clone() })?;
                true
            }
            Action::Start(name) => {
                let options = reconciling();
                self.request_view(
                    &Op::Start {
                        name: name.clone(),
                        options,
                    },
                    failures,
                )?
            }
            Action::Stop(name) => {
                let options = reconciling();
                self.request_view(
                    &Op::Stop {
                        name: name.clone(),
                        options,
                    },
                    failures,
                )?
            }
            // Its registration failed just now.
            Action::Annotate(name, _) if !self.services.contains_key(name) => false,
            Action::Annotate(name, annotation) => self
                .request(&annotate(name, annotation), failures)?
                .is_some(),
            Action::NoteParked(profile, parked) => self.keep_parked(profile, parked, failures),
            Action::Wake(profile, parked) => {
                let reason = format!("the inputs of {profile} have changed");
                let wake = Op::Wake {
                    name: profile.service(),
                    reason,
                };
                self.request(&wake, failures)?.is_some()
                    && self.keep_parked(profile, parked, failures)
            }
            Action::Mirror(profile, desired) => {
                let paths = self.home.profile(profile);
                let written = state::mirror_desired(&paths, *desired, SystemTime::now());
                written
                    .map_err(|error| failures.push(error.to_string()))
                    .is_ok()
            }
        };
        if done {
            self.memory.done(action);
        }
        Ok(())
    }

    /// A request that is answered with a service as it is now.
    fn request_view(&mut self, op: &Op, failures: &mut Remarks) -> Result<bool, Ended> {
        let body = self.request(op, failures)?;
        Ok(body.map(|body| self.note_view(body)).is_some())
    }

    /// Takes a service as PID 1 shows it in a reply: its event may come later.
    fn note_view(&mut self, body: Body) {
        if let Body::Service { service, .. } = body {
            self.services.insert(service.name.clone(), *service);
        }
    }

    /// In memory in any case; on the disk if it takes it.
    fn keep_parked(
        &mut self,
        profile: &ProfileName,
        parked: &Parked,
        remarks: &mut Remarks,
    ) -> bool {
        if let Err(error) = save_parked(&self.home, profile, parked) {
            remarks.push(format!("{profile}: {error}"));
        }
        true
    }
}

/// The keeper's own verbs are no orders.
fn reconciling() -> VerbOptions {
    VerbOptions {
        wait: false,
        timeout_ms: None,
        reconcile: true,
    }
}

fn annotate(name: &str, annotation: &Annotation) -> Op {
    Op::Annotate {
        name: name.to_owned(),
        served_by: annotation.served_by.clone(),
        owner: annotation.owner.clone(),
        port: annotation.port,
        note: annotation.note.clone(),
    }
}
