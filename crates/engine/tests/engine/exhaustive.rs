//! Every short sequence of orders and events, for one service and for two.

use std::time::Duration;

use herm_engine::{Exit, FinishPolicy, Readiness, Spec};

use crate::bench::{Bench, Fact, Order};

#[derive(Clone, Copy, Debug)]
enum Input {
    Order(&'static str, Order),
    Fact(&'static str, Fact),
    Wait,
    Reexecute,
}

/// Runs every sequence of `length` inputs on services of these descriptions.
fn every_sequence(specs: &[Spec], inputs: &[Input], length: u32) {
    let count = inputs.len().pow(length);
    for mut number in 0..count {
        let mut bench = Bench::new(specs);
        for _ in 0..length {
            match inputs[number % inputs.len()] {
                Input::Order(name, order) => bench.order(name, order),
                Input::Fact(name, fact) => bench.fact(name, fact),
                Input::Wait => bench.wait(),
                Input::Reexecute => bench.reexecute(),
            }
            number /= inputs.len();
        }
        bench.ends_well();
    }
}

#[test]
fn every_short_life_of_one_service_keeps_the_invariants() {
    let notified = Readiness::Notification {
        timeout: Some(Duration::from_secs(30)),
    };
    let spec = Spec {
        readiness: notified,
        ..Spec::new("a")
    };
    let inputs = [
        Input::Order("a", Order::Up),
        Input::Order("a", Order::Down),
        Input::Order("a", Order::Once),
        Input::Order("a", Order::Restart),
        Input::Order("a", Order::Unregister),
        Input::Fact("a", Fact::Executes),
        Input::Fact("a", Fact::Ends(Exit::Code(1))),
        Input::Fact("a", Fact::Empties),
        Input::Wait,
    ];
    every_sequence(&[spec], &inputs, 5);
}

#[test]
fn every_short_life_of_a_service_with_a_finish_script_keeps_the_invariants() {
    let spec = Spec {
        finish: Some(FinishPolicy::default()),
        ..Spec::new("a")
    };
    let mut inputs = vec![
        Input::Order("a", Order::Down),
        Input::Order("a", Order::Up),
        Input::Fact("a", Fact::Executes),
        Input::Fact("a", Fact::FailsToExecute),
        Input::Fact("a", Fact::Ends(Exit::Code(1))),
        Input::Fact("a", Fact::Empties),
    ];
    every_sequence(std::slice::from_ref(&spec), &inputs, 6);
    inputs.push(Input::Order("a", Order::LetEnd));
    inputs.push(Input::Reexecute);
    every_sequence(&[spec], &inputs, 4);
}

#[test]
fn every_short_life_of_two_services_keeps_the_invariants() {
    let dependent = Spec {
        requires: vec!["a".into()],
        ..Spec::new("b")
    };
    let inputs = [
        Input::Order("a", Order::Up),
        Input::Order("a", Order::Down),
        Input::Order("a", Order::Unregister),
        Input::Order("a", Order::Register),
        Input::Order("b", Order::Up),
        Input::Order("b", Order::Once),
        Input::Order("b", Order::Down),
        Input::Fact("a", Fact::Executes),
        Input::Fact("a", Fact::Ends(Exit::Code(78))),
        Input::Fact("a", Fact::Empties),
        Input::Fact("b", Fact::Executes),
        Input::Fact("b", Fact::Ends(Exit::Code(0))),
        Input::Fact("b", Fact::Empties),
    ];
    every_sequence(&[Spec::new("a"), dependent], &inputs, 4);
}
