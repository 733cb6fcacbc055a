//! Records: what is written can be read, by this version and the next, and nothing else can.

use std::time::Duration;

use herm_engine::{
    Action, BadRecord, Config, Engine, Event, Exit, FinishPolicy, Globals, Health, Probe,
    Readiness, Record, Spec, Target, Time, Want, signal,
};

const NOW: Time = Time::from_nanos(1_000_000_000);

/// A running, watched service with a past, and the engine it is in.
fn engine_with_a_past() -> (Engine, Spec) {
    let mut engine = Engine::new(Config::default(), 1);
    let health = Health {
        probe: Probe::default(),
        failures: 2,
        restart: true,
    };
    let finish = Some(FinishPolicy::default());
    let spec = Spec {
        health: Some(health),
        finish,
        ..Spec::new("gateway-writer")
    };
    engine
        .register(NOW, spec.clone(), Want::Up)
        .expect("a valid service");
    let mut pid = 100;
    for exit in [
        Exit::Code(1),
        Exit::Signal {
            signal: 11,
            core: true,
        },
    ] {
        // The main process, then its finish script.
        for _ in 0..2 {
            let (_, run, _, _) = engine.runs()[0];
            pid += 1;
            engine.handle(NOW, Event::Spawned { run, pid });
            engine.handle(NOW, Event::Exited { run, exit });
            engine.handle(NOW, Event::Emptied { run });
        }
        let id = engine.find("gateway-writer").expect("a service");
        engine.up(NOW, id).expect("an order");
    }
    let (_, run, _, _) = engine.runs()[0];
    engine.handle(NOW, Event::Spawned { run, pid: 7 });
    while engine.poll_action().is_some() {}
    (engine, spec)
}

fn record(engine: &Engine) -> Record {
    let id = engine.services().next().expect("a service");
    engine.export(id).expect("a registered service")
}

#[test]
fn a_record_reads_back_as_it_was_written() {
    let (engine, _) = engine_with_a_past();
    let record = record(&engine);
    assert_eq!(record.name(), "gateway-writer");
    assert_eq!(Record::from_bytes(&record.to_bytes()), Ok(record));
    let globals = engine.export_globals();
    assert_eq!(Globals::from_bytes(&globals.to_bytes()), Ok(globals));
}

#[test]
fn the_bytes_of_version_1_stay_what_they_are() {
    let mut engine = Engine::new(Config::default(), 1);
    engine
        .register(NOW, Spec::new("a"), Want::Up)
        .expect("a valid service");
    let (_, run, _, _) = engine.runs()[0];
    engine.handle(NOW, Event::Spawned { run, pid: 7 });
    let second = 1_000_000_000_u64.to_le_bytes();
    let mut expected = vec![1, 1, 0, 0, 0, b'a', 0, 0];
    // Running: run 1, pid 7 since one second, ready, without health checks.
    expected.extend([7, 1, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0]);
    expected.extend(second);
    expected.extend([3, 0]);
    // In this state since; no failures, no requests, no restarts, no last exit, no signal sent.
    expected.extend(second);
    expected.extend([0; 4 + 1 + 4 + 4 + 8 + 1 + 1 + 8]);
    assert_eq!(record(&engine).to_bytes(), expected);
    assert_eq!(
        engine.export_globals().to_bytes(),
        [1, 2, 0, 0, 0, 0, 0, 0, 0, 0]
    );
}

#[test]
fn a_record_cut_short_anywhere_is_refused() {
    let (engine, _) = engine_with_a_past();
    let bytes = record(&engine).to_bytes();
    for length in 0..bytes.len() {
        assert_eq!(
            Record::from_bytes(&bytes[..length]),
            Err(BadRecord::Truncated)
        );
    }
}

#[test]
fn damaged_records_are_refused_or_read_but_never_believed_blindly() {
    let (engine, spec) = engine_with_a_past();
    let bytes = record(&engine).to_bytes();
    for place in 0..bytes.len() {
        for value in [0, 1, 2, 11, 127, 255] {
            let mut damaged = bytes.clone();
            damaged[place] = value;
            if let Ok(record) = Record::from_bytes(&damaged) {
                let globals = engine.export_globals();
                let services = vec![(spec.clone(), record)];
                let restored = Engine::restore(Config::default(), 1, NOW, globals, services);
                assert!(restored.is_ok());
            }
        }
    }
}

#[test]
fn a_record_of_another_version_is_refused_by_its_number() {
    let (engine, _) = engine_with_a_past();
    let mut bytes = record(&engine).to_bytes();
    bytes[0] = 9;
    assert_eq!(Record::from_bytes(&bytes), Err(BadRecord::Version(9)));
    bytes[0] = 1;
    bytes.push(0);
    assert_eq!(Record::from_bytes(&bytes), Err(BadRecord::TooLong));
}

#[test]
fn a_restored_engine_starts_nothing_twice_and_reuses_no_run() {
    let (engine, spec) = engine_with_a_past();
    let run = engine.runs()[0].1;
    let services = vec![(spec, record(&engine))];
    let globals = engine.export_globals();
    let mut restored = Engine::restore(Config::default(), 2, NOW, globals, services)
        .expect("what was registered can be restored");
    while let Some(action) = restored.poll_action() {
        assert!(matches!(action, Action::Changed { .. }), "{action:?}");
    }
    assert_eq!(restored.runs()[0].1, run);
    assert_eq!(restored.runs()[0].3, Some(7));
    let id = restored.find("gateway-writer").expect("a service");
    restored.restart(NOW, id).expect("an order");
    restored.handle(
        NOW,
        Event::Exited {
            run,
            exit: Exit::Code(0),
        },
    );
    restored.handle(NOW, Event::Emptied { run });
    assert!(restored.runs()[0].1 > run);
}

#[test]
fn a_restored_engine_asks_again_for_survivors() {
    let mut engine = Engine::new(Config::default(), 1);
    let spec = Spec {
        readiness: Readiness::Immediate,
        ..Spec::new("a")
    };
    engine
        .register(NOW, spec.clone(), Want::Up)
        .expect("a valid service");
    let (id, run, _, _) = engine.runs()[0];
    engine.handle(NOW, Event::Spawned { run, pid: 7 });
    engine.handle(
        NOW,
        Event::Exited {
            run,
            exit: Exit::Code(0),
        },
    );
    let services = vec![(spec, engine.export(id).expect("a registered service"))];
    let globals = engine.export_globals();
    let mut restored = Engine::restore(Config::default(), 2, NOW, globals, services)
        .expect("what was registered can be restored");
    let asked = Action::Signal {
        id: restored.find("a").expect("a service"),
        run,
        target: Target::Set,
        signal: signal::TERM,
        cont: true,
    };
    assert_eq!(restored.poll_action(), Some(asked));
}

#[test]
fn a_shutdown_goes_on_after_a_re_execution_and_keeps_its_end() {
    let (mut engine, spec) = engine_with_a_past();
    engine.shutdown(NOW, Duration::from_secs(8));
    let services = vec![(spec, record(&engine))];
    let globals = engine.export_globals();
    let later = NOW + Duration::from_secs(5);
    let mut restored = Engine::restore(Config::default(), 2, later, globals, services)
        .expect("what was registered can be restored");
    assert!(restored.is_shutting_down());
    let end = NOW + Duration::from_secs(8);
    let mut done = Vec::new();
    while let Some(next) = restored.next_deadline().filter(|next| *next <= end) {
        restored.handle(next, Event::Tick);
        while let Some(action) = restored.poll_action() {
            if let Action::ShutdownDone { left } = action {
                done.push((next, left));
            }
        }
    }
    assert_eq!(done, [(end, 1)]);
}
