//! Random sequences of everything, with shrinking: what holds for any of them.

use std::time::Duration;

use herm_engine::{
    Burst, Event, Exit, FinishPolicy, Health, Kind, Probe, ProbeId, Readiness, RunId, Spec, Target,
};
use proptest::prelude::*;

use crate::bench::{Bench, Fact, Order};

#[derive(Clone, Debug)]
enum Input {
    Order(usize, Order),
    Signal(usize, u8),
    Fact(usize, Fact),
    /// An event about a run that may never have been, from a confused driver.
    Stray(Event),
    Wait,
    Pass(u64),
    Reexecute,
    Shutdown(u64),
}

const NAMES: [&str; 3] = ["a", "b", "c"];

fn orders() -> impl Strategy<Value = Order> {
    prop_oneof![
        4 => Just(Order::Up),
        2 => Just(Order::Down),
        1 => Just(Order::Once),
        1 => Just(Order::LetEnd),
        2 => Just(Order::Restart),
        1 => Just(Order::Disable),
        1 => Just(Order::Wake),
        1 => Just(Order::Unregister),
        1 => Just(Order::Register),
    ]
}

fn exits() -> impl Strategy<Value = Exit> {
    prop_oneof![
        prop::sample::select(vec![0, 1, 75, 78, 125]).prop_map(Exit::Code),
        any::<u8>().prop_map(Exit::Code),
        (1..65_u8, any::<bool>()).prop_map(|(signal, core)| Exit::Signal { signal, core }),
    ]
}

fn facts() -> impl Strategy<Value = Fact> {
    prop_oneof![
        3 => Just(Fact::Executes),
        1 => Just(Fact::FailsToExecute),
        1 => Just(Fact::Announces),
        2 => exits().prop_map(Fact::Ends),
        3 => Just(Fact::Empties),
    ]
}

/// Events that change nothing that is so: about runs that never were, or probes never asked for.
fn strays() -> impl Strategy<Value = Event> {
    let run = || (1000..2000_u64).prop_map(RunId::from_number);
    let any_run = (0..10_u64).prop_map(RunId::from_number);
    let probe = (1000..2000_u64).prop_map(ProbeId::from_number);
    prop_oneof![
        (run(), any::<u32>()).prop_map(|(run, pid)| Event::Spawned { run, pid }),
        (run(), exits()).prop_map(|(run, exit)| Event::Exited { run, exit }),
        run().prop_map(|run| Event::Emptied { run }),
        (any_run, probe).prop_map(|(run, probe)| Event::ProbeDone {
            run,
            probe,
            ok: false
        }),
    ]
}

fn inputs() -> impl Strategy<Value = Vec<Input>> {
    let service = || 0..NAMES.len();
    let input = prop_oneof![
        6 => (service(), orders()).prop_map(|(name, order)| Input::Order(name, order)),
        12 => (service(), facts()).prop_map(|(name, fact)| Input::Fact(name, fact)),
        1 => (service(), 1..32_u8).prop_map(|(name, signal)| Input::Signal(name, signal)),
        1 => strays().prop_map(Input::Stray),
        3 => Just(Input::Wait),
        2 => (0..100_000_u64).prop_map(Input::Pass),
        1 => Just(Input::Reexecute),
    ];
    prop::collection::vec(input, 0..60)
}

fn readiness() -> impl Strategy<Value = Readiness> {
    let timeout = || prop::option::of((0..20_u64).prop_map(Duration::from_secs));
    prop_oneof![
        Just(Readiness::Immediate),
        (0..5_u64).prop_map(|seconds| Readiness::After(Duration::from_secs(seconds))),
        timeout().prop_map(|timeout| Readiness::Notification { timeout }),
    ]
}

fn specs() -> impl Strategy<Value = Vec<Spec>> {
    let one = (
        any::<bool>(),
        readiness(),
        prop::option::of(1..3_u32),
        prop::option::of(Just(FinishPolicy::default())),
        prop::option::of((1..4_u32, 1..100_u64)),
        prop::collection::vec(any::<bool>(), 4),
    );
    prop::collection::vec(one, NAMES.len()).prop_map(|services| {
        let mut specs = Vec::new();
        for (place, (longrun, readiness, health, finish, burst, edges)) in
            services.into_iter().enumerate()
        {
            let mut spec = Spec {
                readiness,
                finish,
                ..Spec::new(NAMES[place])
            };
            spec.kind = if longrun {
                Kind::Longrun
            } else {
                Kind::Oneshot
            };
            spec.restart.burst = burst.map(|(failures, within)| Burst {
                failures,
                within: Duration::from_secs(within),
            });
            spec.health = health.map(|failures| Health {
                probe: Probe::default(),
                failures,
                restart: true,
            });
            // Edges point back only, so that there are no circles.
            for (before, name) in NAMES.iter().take(place).enumerate() {
                let list = if edges[before] {
                    &mut spec.requires
                } else {
                    &mut spec.after
                };
                if edges[before + 2] {
                    list.push((*name).into());
                }
            }
            specs.push(spec);
        }
        specs
    })
}

fn play(bench: &mut Bench, input: Input) {
    match input {
        Input::Order(place, order) => bench.order(NAMES[place], order),
        Input::Signal(place, signal) => {
            if let Some(id) = bench.engine.find(NAMES[place]) {
                let _ = bench.engine.signal(bench.now, id, signal, Target::Group);
            }
            bench.hear(Event::Tick);
        }
        Input::Fact(place, fact) => bench.fact(NAMES[place], fact),
        Input::Stray(event) => {
            let before = bench.engine.stale_events();
            bench.hear(event);
            assert_eq!(
                bench.engine.stale_events(),
                before + 1,
                "a stray event was believed"
            );
        }
        Input::Wait => bench.wait(),
        Input::Pass(millis) => bench.pass(Duration::from_millis(millis)),
        Input::Reexecute => bench.reexecute(),
        Input::Shutdown(budget) => {
            bench
                .engine
                .shutdown(bench.now, Duration::from_millis(budget));
            bench.hear(Event::Tick);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_sequence_of_inputs_breaks_an_invariant(specs in specs(), inputs in inputs()) {
        let mut bench = Bench::new(&specs);
        for input in inputs {
            play(&mut bench, input);
        }
    }

    #[test]
    fn no_sequence_of_inputs_breaks_an_invariant_of_a_shutdown(
        specs in specs(),
        before in inputs(),
        budget in 0..20_000_u64,
        after in inputs(),
    ) {
        let mut bench = Bench::new(&specs);
        let inputs = before.into_iter().chain([Input::Shutdown(budget)]).chain(after);
        for input in inputs {
            play(&mut bench, input);
        }
    }
}
