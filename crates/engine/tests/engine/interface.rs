//! The interface itself: what is refused, what is told, what is planned.

use std::time::Duration;

use herm_engine::{
    Action, Config, Engine, Event, Exit, FinishPolicy, LastExit, Overbooked, RegisterError, RunEnd,
    ServiceId, Spec, StateName, StopPolicy, Target, Time, VerbError, Want,
};

const NOW: Time = Time::from_nanos(1_000_000_000);

fn engine() -> Engine {
    Engine::new(Config::default(), 1)
}

fn drain(engine: &mut Engine) -> Vec<Action> {
    std::iter::from_fn(|| engine.poll_action()).collect()
}

/// Registers a service and lets its process run.
fn running(engine: &mut Engine, spec: Spec) -> ServiceId {
    let id = engine
        .register(NOW, spec, Want::Up)
        .expect("a valid service");
    let run = engine
        .status(NOW, id)
        .and_then(|status| status.run)
        .expect("it starts");
    engine.handle(NOW, Event::Spawned { run, pid: 7 });
    drain(engine);
    id
}

#[test]
fn a_registration_that_fails_leaves_nothing() {
    let config = Config {
        services_max: 1,
        ..Config::default()
    };
    let mut engine = Engine::new(config, 1);
    assert_eq!(
        engine.register(NOW, Spec::new(""), Want::Up),
        Err(RegisterError::NoName)
    );
    let id = engine
        .register(NOW, Spec::new("a"), Want::Down)
        .expect("a valid service");
    drain(&mut engine);
    assert_eq!(
        engine.register(NOW, Spec::new("a"), Want::Up),
        Err(RegisterError::Exists(id))
    );
    let full = Err(RegisterError::Full { max: 1 });
    assert_eq!(engine.register(NOW, Spec::new("b"), Want::Up), full);
    assert_eq!(drain(&mut engine), []);
    assert_eq!(engine.len(), 1);
}

#[test]
fn an_update_that_fails_changes_nothing() {
    let mut engine = engine();
    let a = engine
        .register(NOW, Spec::new("a"), Want::Down)
        .expect("a valid service");
    let on_a = Spec {
        requires: vec!["a".into()],
        ..Spec::new("b")
    };
    engine
        .register(NOW, on_a, Want::Down)
        .expect("a valid service");
    let on_b = Spec {
        after: vec!["b".into()],
        ..Spec::new("a")
    };
    let path = ["a", "b", "a"].map(String::from).to_vec();
    assert_eq!(engine.update(NOW, a, on_b), Err(RegisterError::Cycle(path)));
    assert_eq!(
        engine.update(NOW, a, Spec::new("c")),
        Err(RegisterError::OtherName)
    );
    assert_eq!(engine.spec(a), Some(&Spec::new("a")));
}

#[test]
fn an_update_keeps_the_process_and_its_policies_count_at_once() {
    let mut engine = engine();
    let id = running(&mut engine, Spec::new("a"));
    let before = engine.status(NOW, id).expect("a service");
    let stop = StopPolicy {
        signal: 2,
        grace: Duration::from_secs(1),
    };
    engine
        .update(
            NOW,
            id,
            Spec {
                stop,
                ..Spec::new("a")
            },
        )
        .expect("a valid service");
    assert_eq!(engine.status(NOW, id), Some(before));
    drain(&mut engine);
    engine.down(NOW, id).expect("an order");
    let actions = drain(&mut engine);
    assert!(matches!(
        actions.first(),
        Some(Action::Signal {
            target: Target::Main,
            signal: 2,
            cont: true,
            ..
        })
    ));
}

#[test]
fn a_dead_id_names_nothing_even_if_its_place_is_taken_again() {
    let mut engine = engine();
    let first = engine
        .register(NOW, Spec::new("a"), Want::Down)
        .expect("a valid service");
    engine.unregister(NOW, first).expect("an order");
    assert_eq!(drain(&mut engine), [Action::Removed { id: first }]);
    let second = engine
        .register(NOW, Spec::new("a"), Want::Down)
        .expect("a valid service");
    assert_ne!(first, second);
    assert_eq!(engine.up(NOW, first), Err(VerbError::NoSuchService));
    assert_eq!(engine.status(NOW, first), None);
    assert_eq!(engine.find("a"), Some(second));
}

#[test]
fn orders_for_a_service_that_is_being_unregistered_are_refused() {
    let mut engine = engine();
    let id = running(&mut engine, Spec::new("a"));
    engine.unregister(NOW, id).expect("an order");
    assert_eq!(engine.up(NOW, id), Err(VerbError::BeingRemoved));
    assert_eq!(engine.unregister(NOW, id), Err(VerbError::BeingRemoved));
    let removed = Err(RegisterError::BeingRemoved(id));
    assert_eq!(engine.register(NOW, Spec::new("a"), Want::Up), removed);
}

#[test]
fn a_signal_needs_a_process() {
    let mut engine = engine();
    let down = engine
        .register(NOW, Spec::new("a"), Want::Down)
        .expect("a valid service");
    assert_eq!(
        engine.signal(NOW, down, 1, Target::Main),
        Err(VerbError::NotRunning)
    );
    let up = running(&mut engine, Spec::new("b"));
    let run = engine
        .status(NOW, up)
        .and_then(|status| status.run)
        .expect("it runs");
    assert_eq!(engine.signal(NOW, up, 1, Target::Group), Ok(run));
}

#[test]
fn every_way_to_end_is_told_as_it_was() {
    let codes = (0..=255).map(Exit::Code);
    let signals =
        (1..=64).flat_map(|signal| [false, true].map(|core| Exit::Signal { signal, core }));
    let mut engine = engine();
    let id = engine
        .register(NOW, Spec::new("a"), Want::Down)
        .expect("a valid service");
    for exit in codes.chain(signals) {
        engine.once(NOW, id).expect("an order");
        let run = engine
            .status(NOW, id)
            .and_then(|status| status.run)
            .expect("it starts");
        engine.handle(NOW, Event::Spawned { run, pid: 7 });
        let at = NOW + Duration::from_millis(1500);
        engine.handle(at, Event::Exited { run, exit });
        engine.handle(at, Event::Emptied { run });
        let status = engine.status(at, id).expect("a service");
        let end = RunEnd::Exited(exit);
        let after = Duration::from_millis(1500);
        assert_eq!(
            status.last_exit,
            Some(LastExit {
                run,
                end,
                at,
                after
            })
        );
        assert_eq!(status.state, StateName::Down);
    }
}

#[test]
fn a_change_is_told_once_per_input() {
    let mut engine = engine();
    let id = running(&mut engine, Spec::new("a"));
    engine.restart(NOW, id).expect("an order");
    let told = drain(&mut engine);
    let changes = told
        .iter()
        .filter(|action| matches!(action, Action::Changed { .. }));
    assert_eq!(changes.count(), 1);
    engine.handle(NOW, Event::Tick);
    assert_eq!(drain(&mut engine), []);
}

#[test]
fn delays_differ_by_the_seed_and_only_by_it() {
    let delay = |seed| {
        let mut engine = Engine::new(Config::default(), seed);
        let id = engine
            .register(NOW, Spec::new("a"), Want::Up)
            .expect("a valid service");
        let run = engine
            .status(NOW, id)
            .and_then(|status| status.run)
            .expect("it starts");
        engine.handle(
            NOW,
            Event::Exited {
                run,
                exit: Exit::Code(1),
            },
        );
        engine.handle(NOW, Event::Emptied { run });
        engine.next_deadline().expect("a delay").since(NOW)
    };
    assert_eq!(delay(1), delay(1));
    let delays: std::collections::BTreeSet<_> = (0..20).map(delay).collect();
    assert!(delays.len() > 10, "{delays:?}");
    let bounds = Duration::from_millis(900)..=Duration::from_millis(1100);
    assert!(
        delays.iter().all(|delay| bounds.contains(delay)),
        "{delays:?}"
    );
}

#[test]
fn the_planner_names_those_whose_grace_does_not_fit() {
    let mut engine = engine();
    let with_grace = |name: &str, seconds| {
        let grace = Duration::from_secs(seconds);
        Spec {
            stop: StopPolicy {
                grace,
                ..StopPolicy::default()
            },
            ..Spec::new(name)
        }
    };
    let db = engine
        .register(NOW, with_grace("db", 7), Want::Up)
        .expect("a valid service");
    let web = Spec {
        requires: vec!["db".into()],
        ..with_grace("web", 7)
    };
    let web = engine
        .register(NOW, web, Want::Up)
        .expect("a valid service");
    let gateway = engine
        .register(NOW, with_grace("gw", 10), Want::Up)
        .expect("a valid service");
    engine
        .register(NOW, with_grace("idle", 100), Want::Down)
        .expect("a valid service");
    let granted = |id, grace, millis| Overbooked {
        id,
        grace: Duration::from_secs(grace),
        granted: Duration::from_millis(millis),
    };
    let mut short = engine.stop_budget(Duration::from_secs(8));
    short.sort_by_key(|overbooked| overbooked.id);
    // One second is kept for the reaping. The longest chain needs 14 of the 7 that are left.
    let expected = [
        granted(db, 7, 3500),
        granted(web, 7, 3500),
        granted(gateway, 10, 7000),
    ];
    assert_eq!(short, expected);
    assert_eq!(engine.stop_budget(Duration::from_secs(15)), []);
}

#[test]
fn a_finish_script_knows_whom_it_is_for() {
    let mut engine = engine();
    let spec = Spec {
        finish: Some(FinishPolicy::default()),
        ..Spec::new("a")
    };
    let id = running(&mut engine, spec);
    let run = engine
        .status(NOW, id)
        .and_then(|status| status.run)
        .expect("it runs");
    let exit = Exit::Signal {
        signal: 9,
        core: false,
    };
    engine.handle(NOW, Event::Exited { run, exit });
    engine.handle(NOW, Event::Emptied { run });
    let role = engine.runs()[0].2;
    assert_eq!(
        role,
        herm_engine::Role::Finish {
            of: run,
            exit,
            pid: 7
        }
    );
}

#[test]
fn ten_thousand_services_live_and_die_together() {
    let mut engine = engine();
    for number in 0..10_000 {
        let requires = if number % 10 == 0 {
            vec![]
        } else {
            vec![format!("s{}", number - 1)]
        };
        let spec = Spec {
            requires,
            ..Spec::new(format!("s{number}"))
        };
        engine
            .register(NOW, spec, Want::Up)
            .expect("a valid service");
    }
    let mut pid = 0;
    let mut most = 0;
    loop {
        let actions = drain(&mut engine);
        if actions.is_empty() {
            break;
        }
        most = most.max(actions.len());
        for action in actions {
            if let Action::Spawn { run, .. } = action {
                pid += 1;
                engine.handle(NOW, Event::Spawned { run, pid });
            }
        }
    }
    assert_eq!(pid, 10_000);
    engine.shutdown(NOW, Duration::from_secs(8));
    let mut done = None;
    while let Some(action) = engine.poll_action() {
        match action {
            Action::Signal {
                run,
                target: Target::Main,
                ..
            } => {
                engine.handle(
                    NOW,
                    Event::Exited {
                        run,
                        exit: Exit::Code(0),
                    },
                );
            }
            Action::Signal {
                run,
                target: Target::Set,
                ..
            } => {
                engine.handle(NOW, Event::Emptied { run });
            }
            Action::ShutdownDone { left } => done = Some(left),
            _ => {}
        }
    }
    assert_eq!(done, Some(0));
}
