//! Single decisions, then whole lives of two to four instances under simulated time.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const TIMING: Timing = Timing::STANDARD;

fn at(seconds: u64) -> Time {
    Duration::from_secs(seconds)
}

fn other(id: &str, bytes: &str, proof: Proof) -> Holder {
    let bytes = bytes.as_bytes().to_vec();
    Holder::Other(id.to_owned(), Sighting { bytes, proof })
}

fn look(epoch: u64, holder: Holder) -> Look {
    let others = matches!(holder, Holder::Other(..));
    Look {
        epoch,
        holder,
        others,
    }
}

fn machine() -> Machine {
    Machine::new(TIMING, true, false)
}

/// What a cycle without delays leads to.
fn cycle(machine: &mut Machine, now: Time, holder: Holder) -> Step {
    let epoch = u64::from(holder != Holder::Nobody);
    machine.cycle(now, now, Wrote::Yes, &look(epoch, holder))
}

#[test]
fn a_home_that_nobody_owns_is_taken_at_once() {
    let mut machine = machine();
    assert_eq!(machine.standing(at(0)), Standing::Undecided);
    assert_eq!(cycle(&mut machine, at(0), Holder::Nobody), Step::Take(1));
    machine.took(at(0), at(0), &look(1, Holder::Me), None);
    assert_eq!(machine.standing(at(1000)), Standing::Owner);
    assert_eq!(
        machine.next_cycle(at(0)),
        None,
        "alone, it need not even look"
    );
}

#[test]
fn l35_a_restart_never_waits_for_an_instance_that_is_proven_dead() {
    let mut machine = machine();
    let dead = other("old", "1", Proof::Dead);
    assert_eq!(cycle(&mut machine, at(0), dead), Step::Take(2));
}

#[test]
fn l35_whoever_lives_is_left_alone_and_named() {
    let mut machine = machine();
    for second in 0..100 {
        let alive = other("old", &second.to_string(), Proof::Alive);
        assert_eq!(cycle(&mut machine, at(second), alive), Step::Stay);
    }
    assert_eq!(machine.standing(at(99)), Standing::Remote("old".into()));
}

#[test]
fn a_lock_that_was_held_has_to_stay_free_because_a_keeper_may_come_back() {
    let mut machine = machine();
    cycle(&mut machine, at(0), other("old", "1", Proof::Alive));
    let dead = || other("old", "1", Proof::Dead);
    assert_eq!(cycle(&mut machine, at(1), dead()), Step::Stay);
    assert_eq!(machine.next_cycle(at(1)), Some(at(3)));
    assert_eq!(cycle(&mut machine, at(3), dead()), Step::Take(2));
    cycle(&mut machine, at(4), other("old", "1", Proof::Alive));
    assert_eq!(cycle(&mut machine, at(5), dead()), Step::Stay);
}

#[test]
fn what_was_released_is_taken_at_once() {
    let mut machine = machine();
    cycle(&mut machine, at(0), other("old", "1", Proof::Alive));
    let released = other("old", "2", Proof::Released);
    assert_eq!(cycle(&mut machine, at(1), released), Step::Take(2));
}

#[test]
fn an_epoch_that_names_nobody_is_waited_for_a_moment_only() {
    let mut machine = machine();
    assert_eq!(cycle(&mut machine, at(0), Holder::Unfinished), Step::Stay);
    assert_eq!(machine.standing(at(0)), Standing::Undecided);
    assert_eq!(
        cycle(&mut machine, at(2), Holder::Unfinished),
        Step::Take(2)
    );
}

#[test]
fn where_only_time_tells_thirty_seconds_of_silence_do() {
    let mut machine = Machine::new(TIMING, true, true);
    let silent = || other("old", "1", Proof::Unknown);
    for second in 0..30 {
        assert_eq!(
            cycle(&mut machine, at(second), silent()),
            Step::Stay,
            "{second}"
        );
    }
    assert_eq!(cycle(&mut machine, at(30), silent()), Step::Take(2));
}

#[test]
fn a_renewal_begins_the_silence_anew() {
    let mut machine = Machine::new(TIMING, true, true);
    cycle(&mut machine, at(0), other("old", "1", Proof::Unknown));
    cycle(&mut machine, at(29), other("old", "2", Proof::Unknown));
    let silent = other("old", "2", Proof::Unknown);
    assert_eq!(cycle(&mut machine, at(58), silent.clone()), Step::Stay);
    assert_eq!(cycle(&mut machine, at(59), silent), Step::Take(2));
}

#[test]
fn a_frozen_owner_that_still_holds_its_lock_is_silent_too() {
    let mut machine = machine();
    let frozen = || other("old", "1", Proof::Alive);
    assert_eq!(cycle(&mut machine, at(0), frozen()), Step::Stay);
    assert_eq!(machine.next_cycle(at(0)), Some(at(30)));
    assert_eq!(cycle(&mut machine, at(30), frozen()), Step::Take(2));
}

fn owner_among_others(blind: bool) -> Machine {
    let mut machine = Machine::new(TIMING, true, blind);
    cycle(&mut machine, at(0), Holder::Nobody);
    let look = Look {
        others: true,
        ..look(1, Holder::Me)
    };
    machine.took(at(0), at(0), &look, None);
    machine
}

#[test]
fn an_owner_that_cannot_renew_counts_itself_out_before_others_may_take_over() {
    let mut machine = owner_among_others(true);
    assert_eq!(machine.fence_at(), Some(at(20)));
    assert_eq!(machine.standing(at(19)), Standing::Owner);
    assert_eq!(machine.standing(at(20)), Standing::Fenced);
    let mine = Look {
        others: true,
        ..look(1, Holder::Me)
    };
    let late = machine.cycle(at(25), at(25), Wrote::Yes, &mine);
    assert_eq!(late, Step::Take(2), "it is never simply in again");
    let next = Look { epoch: 2, ..mine };
    machine.took(at(25), at(25), &next, None);
    assert_eq!(machine.standing(at(25)), Standing::Owner);
}

#[test]
fn an_owner_that_cannot_look_who_came_counts_itself_out() {
    let mut machine = machine();
    cycle(&mut machine, at(0), Holder::Nobody);
    machine.took(at(0), at(0), &look(1, Holder::Me), None);
    machine.looks(at(1000));
    assert_eq!(machine.standing(at(1019)), Standing::Owner);
    assert_eq!(machine.standing(at(1020)), Standing::Fenced);
    cycle(&mut machine, at(1025), Holder::Me);
    assert_eq!(
        machine.standing(at(1025)),
        Standing::Owner,
        "nobody came after all"
    );
}

#[test]
fn an_owner_that_is_alone_outlives_its_file_server() {
    let mut machine = Machine::new(TIMING, true, true);
    cycle(&mut machine, at(0), Holder::Nobody);
    machine.took(at(0), at(0), &look(1, Holder::Me), None);
    machine.looks(at(5));
    assert_eq!(machine.standing(at(500)), Standing::Owner);
}

#[test]
fn an_owner_whose_look_failed_looks_again_and_stays() {
    let mut machine = machine();
    cycle(&mut machine, at(0), Holder::Nobody);
    machine.took(at(0), at(0), &look(1, Holder::Me), None);
    assert_eq!(machine.next_cycle(at(1)), None);
    machine.looks(at(1000));
    machine.saw_nothing();
    assert_eq!(machine.next_cycle(at(1000)), Some(at(1005)));
    assert_eq!(machine.standing(at(1100)), Standing::Owner);
    cycle(&mut machine, at(1100), Holder::Me);
    assert_eq!(machine.next_cycle(at(1100)), None);
}

#[test]
fn an_owner_that_never_saw_another_goes_on_without_renewing() {
    let mut machine = machine();
    cycle(&mut machine, at(0), Holder::Nobody);
    machine.took(at(0), at(0), &look(1, Holder::Me), None);
    assert_eq!(machine.fence_at(), None);
    assert_eq!(machine.standing(at(10_000)), Standing::Owner);
}

#[test]
fn a_frozen_owner_knows_with_its_first_step_that_it_may_be_none_any_more() {
    let machine = owner_among_others(false);
    assert_eq!(machine.standing(at(3600)), Standing::Fenced);
}

#[test]
fn whoever_was_frozen_between_its_look_and_its_deed_waits_for_the_other_to_notice() {
    let mut machine = machine();
    let silent = other("old", "1", Proof::Alive);
    cycle(&mut machine, at(0), silent.clone());
    assert_eq!(cycle(&mut machine, at(30), silent), Step::Take(2));
    assert_eq!(machine.predecessor(), Some("old"));
    let bytes = b"2".to_vec();
    let awake = Sighting {
        bytes,
        proof: Proof::Alive,
    };
    machine.took(at(500), at(500), &look(2, Holder::Me), Some(&awake));
    assert_eq!(machine.standing(at(501)), Standing::Undecided);
    assert_eq!(
        machine.standing(at(530)),
        Standing::Fenced,
        "unless it renews"
    );
}

#[test]
fn a_home_that_takes_no_writes_is_run_without_a_lease_unless_another_lives() {
    let mut machine = machine();
    let nobody = look(0, Holder::Nobody);
    assert_eq!(
        machine.cycle(at(0), at(0), Wrote::Refused, &nobody),
        Step::Stay
    );
    assert_eq!(machine.standing(at(0)), Standing::Unleased);
    let alive = look(1, other("old", "1", Proof::Alive));
    machine.cycle(at(1), at(1), Wrote::Refused, &alive);
    assert_eq!(machine.standing(at(1)), Standing::Remote("old".into()));
}

#[test]
fn l36_a_role_that_owns_nothing_takes_nothing() {
    let mut machine = Machine::new(TIMING, false, false);
    assert_eq!(cycle(&mut machine, at(0), Holder::Nobody), Step::Stay);
    assert_eq!(machine.standing(at(0)), Standing::Unowned);
    cycle(&mut machine, at(1), other("old", "1", Proof::Dead));
    assert_eq!(machine.standing(at(1)), Standing::Unowned);
    cycle(&mut machine, at(2), other("new", "1", Proof::Alive));
    assert_eq!(machine.standing(at(2)), Standing::Remote("new".into()));
}

#[test]
fn the_last_epoch_there_can_be_ends_it_without_a_panic() {
    let mut machine = machine();
    let dead = look(u64::MAX, other("forged", "", Proof::Dead));
    assert_eq!(machine.cycle(at(0), at(0), Wrote::Yes, &dead), Step::Stay);
    let mine = look(u64::MAX, Holder::Me);
    assert_eq!(machine.cycle(at(0), at(0), Wrote::Yes, &mine), Step::Stay);
}

// ---- whole lives ----

const TICK: Duration = Duration::from_millis(250);
/// How long gateways take to stop, at most: what the fence leaves of the silence.
const STOP: Duration = Duration::from_secs(8);

/// The home that all share.
#[derive(Debug, Default)]
struct Disk {
    epochs: BTreeMap<u64, usize>,
    /// Of each life: its counter, and whether its lock is held.
    leases: BTreeMap<usize, (u64, bool)>,
}

/// Where a cycle is: any instance may be frozen between any two of these.
#[derive(Debug, Clone)]
enum Doing {
    Idle { until: Time },
    Wrote { began: Time, wrote: Wrote },
    Taking { epoch: u64 },
    Took { began: Time },
}

#[derive(Debug)]
struct Instance {
    /// Another with each boot.
    life: usize,
    machine: Machine,
    doing: Doing,
    alive: bool,
    frozen_until: Option<Time>,
    /// Its disk is out of reach until then.
    cut_until: Option<Time>,
    /// Gateways run until then: for ever, or until they have stopped.
    gateways_until: Option<Time>,
    thawed: Option<Time>,
}

#[derive(Debug, Clone)]
enum Fault {
    Crash { down: u64 },
    Freeze { span: u64 },
    Cut { span: u64 },
}

#[derive(Debug)]
struct World {
    now: Time,
    blind: bool,
    disk: Disk,
    instances: Vec<Instance>,
    lives: usize,
    reborn: BTreeMap<usize, Time>,
}

impl World {
    fn new(count: usize, blind: bool) -> Self {
        let mut world = Self {
            now: Time::ZERO,
            blind,
            disk: Disk::default(),
            instances: Vec::new(),
            lives: 0,
            reborn: BTreeMap::new(),
        };
        for _ in 0..count {
            let instance = world.born();
            world.instances.push(instance);
        }
        world
    }

    fn born(&mut self) -> Instance {
        self.lives += 1;
        Instance {
            life: self.lives,
            machine: Machine::new(TIMING, true, self.blind),
            doing: Doing::Idle { until: self.now },
            alive: true,
            frozen_until: None,
            cut_until: None,
            gateways_until: None,
            thawed: None,
        }
    }

    fn hit(&mut self, index: usize, fault: &Fault) {
        let until = |span: u64| Some(self.now + at(span));
        match *fault {
            Fault::Freeze { span } => self.instances[index].frozen_until = until(span),
            Fault::Cut { span } => self.instances[index].cut_until = until(span),
            Fault::Crash { down } => {
                let life = self.instances[index].life;
                if let Some(lease) = self.disk.leases.get_mut(&life) {
                    lease.1 = false;
                }
                self.instances[index].alive = false;
                self.instances[index].gateways_until = None;
                self.reborn.insert(index, self.now + at(down));
            }
        }
    }

    fn sight(&self, life: usize) -> Sighting {
        let (beat, locked) = self.disk.leases.get(&life).copied().unwrap_or_default();
        let proof = match (self.blind, locked) {
            (true, _) => Proof::Unknown,
            (false, true) => Proof::Alive,
            (false, false) => Proof::Dead,
        };
        Sighting {
            bytes: beat.to_string().into_bytes(),
            proof,
        }
    }

    fn look(&self, me: usize) -> Look {
        let last = self.disk.epochs.last_key_value();
        let holder = match last {
            None => Holder::Nobody,
            Some((_, life)) if *life == me => Holder::Me,
            Some((_, life)) => Holder::Other(life.to_string(), self.sight(*life)),
        };
        let lives = |life: &usize| self.blind || self.sight(*life).proof == Proof::Alive;
        Look {
            epoch: last.map_or(0, |(epoch, _)| *epoch),
            holder,
            others: self
                .disk
                .leases
                .keys()
                .any(|life| *life != me && lives(life)),
        }
    }

    /// One small step of one instance; the disk's change wakes the others where somebody tells.
    fn step(&mut self, index: usize, delay: Duration) {
        let now = self.now;
        let life = self.instances[index].life;
        let cut = self.instances[index]
            .cut_until
            .is_some_and(|until| until > now);
        let mut changed = false;
        let doing = match self.instances[index].doing.clone() {
            Doing::Idle { until } if until > now => return,
            Doing::Idle { .. } => {
                self.instances[index].machine.looks(now);
                // A hung disk: the call comes back when it does.
                if cut {
                    return;
                }
                let lease = self.disk.leases.entry(life).or_default();
                *lease = (lease.0 + 1, true);
                changed = lease.0 == 1 || self.instances[index].machine.is_exposed();
                Doing::Wrote {
                    began: now,
                    wrote: Wrote::Yes,
                }
            }
            _ if cut => return,
            Doing::Wrote { began, wrote } => {
                let look = self.look(life);
                let machine = &mut self.instances[index].machine;
                match machine.cycle(began, now, wrote, &look) {
                    Step::Stay => self.idle(index),
                    Step::Take(epoch) => Doing::Taking { epoch },
                }
            }
            Doing::Taking { epoch } if self.disk.epochs.contains_key(&epoch) => {
                Doing::Idle { until: now }
            }
            Doing::Taking { epoch } => {
                self.disk.epochs.insert(epoch, life);
                changed = true;
                Doing::Took { began: now }
            }
            Doing::Took { began } => {
                let look = self.look(life);
                let before = self.instances[index].machine.predecessor();
                let before = before.and_then(|id| id.parse().ok());
                let before = before.map(|life| self.sight(life));
                let machine = &mut self.instances[index].machine;
                machine.took(began, now, &look, before.as_ref());
                self.idle(index)
            }
        };
        self.instances[index].doing = match doing {
            Doing::Idle { until } => Doing::Idle {
                until: until + delay,
            },
            other => other,
        };
        if changed && !self.blind {
            for (other, instance) in self.instances.iter_mut().enumerate() {
                if other != index && matches!(instance.doing, Doing::Idle { .. }) {
                    instance.doing = Doing::Idle { until: now };
                }
            }
        }
    }

    fn idle(&self, index: usize) -> Doing {
        let next = self.instances[index].machine.next_cycle(self.now);
        // Alone on a local disk: until somebody tells.
        let until = next.unwrap_or(Duration::MAX / 2);
        Doing::Idle { until }
    }

    /// What the keeper does with its standing: at once, from a thread that no disk can hold up.
    fn guard(&mut self, index: usize) {
        let now = self.now;
        let instance = &mut self.instances[index];
        match instance.machine.standing(now) {
            Standing::Owner | Standing::Unleased => instance.gateways_until = Some(Duration::MAX),
            Standing::Undecided => {}
            Standing::Fenced | Standing::Remote(_) | Standing::Unowned => {
                let left = now + STOP;
                let until = instance.gateways_until.map(|until| until.min(left));
                instance.gateways_until = until.filter(|until| *until > now);
            }
        }
    }

    fn tick(&mut self, delays: &mut impl Iterator<Item = u64>) {
        for index in 0..self.instances.len() {
            if self
                .reborn
                .get(&index)
                .is_some_and(|when| *when <= self.now)
            {
                self.reborn.remove(&index);
                self.instances[index] = self.born();
            }
            let now = self.now;
            let instance = &mut self.instances[index];
            if !instance.alive || instance.frozen_until.is_some_and(|until| until > now) {
                continue;
            }
            if instance.frozen_until.take().is_some() {
                instance.thawed = Some(now);
            }
            self.guard(index);
            let delay = Duration::from_millis(delays.next().unwrap_or(0));
            self.step(index, delay);
            self.guard(index);
        }
        self.now += TICK;
    }

    /// Those whose gateways do something at this moment.
    fn running(&self) -> Vec<usize> {
        let runs = |instance: &Instance| {
            let is_frozen = instance.frozen_until.is_some();
            instance.alive && !is_frozen && instance.gateways_until.is_some()
        };
        (0..self.instances.len())
            .filter(|index| runs(&self.instances[*index]))
            .collect()
    }

    /// Whether this one was frozen a moment ago: it may overlap for as long as its gateways take to
    /// stop, and no longer. If its disk hangs as well it only notices by the fence of its look.
    fn is_excused(&self, index: usize) -> bool {
        let instance = &self.instances[index];
        instance.thawed.is_some_and(|thawed| {
            let hangs = instance.cut_until.is_some_and(|until| until > thawed);
            let fence = if hangs { TIMING.fence } else { Duration::ZERO };
            self.now <= thawed + fence + STOP + 2 * TICK
        })
    }
}

fn faults() -> impl Strategy<Value = Vec<(u64, usize, Fault)>> {
    let fault = prop_oneof![
        (0..40u64).prop_map(|down| Fault::Crash { down }),
        (1..90u64).prop_map(|span| Fault::Freeze { span }),
        (1..90u64).prop_map(|span| Fault::Cut { span }),
    ];
    // From 20 s on: whoever is there by then has been seen.
    prop::collection::vec((20..300u64, 0..4usize, fault), 0..8)
}

fn live(count: usize, blind: bool, faults: &[(u64, usize, Fault)], seed: u64) {
    let mut world = World::new(count, blind);
    let mut state = seed | 1;
    let mut delays = std::iter::repeat_with(move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) % 700
    });
    let mut faults = faults.to_vec();
    faults.sort_by_key(|(when, ..)| *when);
    let mut pending = faults.into_iter().peekable();
    while world.now < at(500) {
        while let Some((_, index, fault)) = pending.next_if(|(when, ..)| at(*when) <= world.now) {
            let index = index % count;
            if world.instances[index].alive {
                world.hit(index, &fault);
            }
        }
        world.tick(&mut delays);
        let running = world.running();
        let unexcused = running.iter().filter(|index| !world.is_excused(**index));
        assert!(
            unexcused.count() <= 1,
            "at {:?}: {running:?} in {world:#?}",
            world.now
        );
    }
    // Faults last for 300 + 90 s at most; after that the gateways run again, once.
    assert_eq!(world.running().len(), 1, "{world:#?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn l35_two_to_four_instances_never_run_the_gateways_twice(
        count in 2..5usize,
        blind in any::<bool>(),
        faults in faults(),
        seed in any::<u64>(),
    ) {
        live(count, blind, &faults, seed);
    }
}

/// The second came in the moment in which the first one's disk began to hang.
#[test]
fn l35_an_owner_whose_disk_hangs_as_another_comes_stops_before_that_one_begins() {
    let faults = [
        (179, 1, Fault::Crash { down: 37 }),
        (195, 2, Fault::Crash { down: 6 }),
        (216, 2, Fault::Cut { span: 54 }),
    ];
    live(2, false, &faults, 0);
}

/// It can't count itself out while it is frozen, and can't look when it is thawed.
#[test]
fn l35_an_owner_that_thaws_with_a_disk_that_hangs_stops_within_the_fence_of_its_look() {
    let faults = [
        (24, 1, Fault::Crash { down: 35 }),
        (59, 0, Fault::Crash { down: 16 }),
        (60, 1, Fault::Cut { span: 51 }),
        (75, 1, Fault::Freeze { span: 35 }),
    ];
    live(2, false, &faults, 0);
}

/// The one overlap there can be, and that it is as short as is promised.
#[test]
fn a_frozen_owner_overlaps_for_no_longer_than_its_gateways_take_to_stop() {
    let mut world = World::new(2, false);
    let mut none = std::iter::repeat(0);
    while world.now < at(20) {
        world.tick(&mut none);
    }
    let owner = world.running()[0];
    world.hit(owner, &Fault::Freeze { span: 60 });
    let mut overlap = Duration::ZERO;
    while world.now < at(200) {
        world.tick(&mut none);
        if world.running().len() > 1 {
            overlap += TICK;
        }
    }
    assert!(
        overlap > Duration::ZERO && overlap <= STOP + TICK,
        "{overlap:?}"
    );
    assert_eq!(world.running(), [1 - owner]);
}
