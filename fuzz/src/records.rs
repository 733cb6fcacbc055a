//! The engine's records, which an older or newer program may have written.

use std::time::Duration;

use herm_engine::{Config, Engine, Event, Globals, Record, Spec, Time};

/// More actions than one service can ask for at once.
const ACTIONS_MAX: usize = 1000;

/// What is taken for a record is written as the very same bytes, and an engine that goes on from
/// it comes to rest, also in a shutdown.
pub fn engine(data: &[u8]) {
    let fresh = Engine::new(Config::default(), 1).export_globals();
    let globals = Globals::from_bytes(data);
    if let Ok(globals) = globals {
        assert_eq!(globals.to_bytes(), data);
        live(globals, Vec::new());
    }
    if let Ok(record) = Record::from_bytes(data) {
        assert_eq!(record.to_bytes(), data);
        live(fresh, vec![(Spec::new(record.name()), record)]);
    }
}

fn live(globals: Globals, services: Vec<(Spec, Record)>) {
    let mut now = Time::from_nanos(1_000_000_000);
    let Ok(mut engine) = Engine::restore(Config::default(), 1, now, globals, services) else {
        return;
    };
    for round in 0..20 {
        let actions = std::iter::from_fn(|| engine.poll_action());
        assert!(actions.take(ACTIONS_MAX).count() < ACTIONS_MAX);
        for id in engine.services().collect::<Vec<_>>() {
            assert!(engine.status(now, id).is_some());
            let record = engine.export(id).expect("it is registered");
            assert_eq!(Record::from_bytes(&record.to_bytes()), Ok(record));
        }
        if round == 10 {
            engine.shutdown(now, Duration::from_secs(10));
        }
        let Some(deadline) = engine.next_deadline() else {
            continue;
        };
        now = deadline.max(now);
        engine.handle(now, Event::Tick);
    }
}
