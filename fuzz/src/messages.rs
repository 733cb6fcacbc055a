//! Messages between herm's processes: what can be read is written, and read again as the
//! same.

use std::fmt::Debug;

use herm_engine::codec::Field;
use herm_init::logproto::{self, FromLogd, ToLogd, arguments, parse_arguments};
use herm_init::setup::Plan;
use herm_wire::{Event, Reply, Request, frame};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// What a client asks PID 1.
pub fn request(data: &[u8]) {
    if let Ok(request) = frame::decode::<Request>(data) {
        let again: Request = rewritten(&request);
        assert_eq!(again, request);
    }
}

/// What PID 1 answers.
pub fn reply(data: &[u8]) {
    with_fractions::<Reply>(data);
}

/// What subscribers are told.
pub fn event(data: &[u8]) {
    with_fractions::<Event>(data);
}

/// Both directions between PID 1 and the log daemon, and the daemon's arguments.
pub fn log(data: &[u8]) {
    log_message::<ToLogd>(data);
    log_message::<FromLogd>(data);
    let words: Vec<String> = String::from_utf8_lossy(data)
        .split(' ')
        .map(str::to_owned)
        .collect();
    if let Ok(identity) = parse_arguments(&words) {
        let argv = arguments(identity);
        assert_eq!(parse_arguments(&argv[1..]), Ok(identity));
    }
}

/// What setup tells PID 1.
pub fn setup_plan(data: &[u8]) {
    if let Ok(plan) = serde_json::from_slice::<Plan>(data) {
        let text = serde_json::to_vec(&plan).expect("a plan can be written");
        assert_eq!(serde_json::from_slice::<Plan>(&text).unwrap(), plan);
    }
}

fn rewritten<T: Serialize + DeserializeOwned>(message: &T) -> T {
    let line = frame::encode(message).expect("what was read can be written");
    let (end, body) = line.split_last().expect("a line is not empty");
    assert_eq!(*end, b'\n');
    assert!(!body.contains(&b'\n'), "one message is one line");
    frame::decode(body).expect("what was written can be read")
}

fn with_fractions<T: Serialize + DeserializeOwned>(data: &[u8]) {
    if let Ok(message) = frame::decode::<T>(data) {
        let again: T = rewritten(&message);
        let value = |message: &T| serde_json::to_value(message).unwrap();
        assert_alike(&value(&message), &value(&again));
    }
}

fn log_message<T: Field + PartialEq + Debug>(data: &[u8]) {
    let Ok(message) = logproto::decode::<T>(data) else {
        return;
    };
    assert_eq!(logproto::encode(&message).unwrap(), data);
}

/// Equal, but for the last digit of fractions, which the JSON reader may round.
pub(crate) fn assert_alike(a: &Value, b: &Value) {
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => {
            assert_eq!(a.len(), b.len());
            a.iter().zip(b).for_each(|(a, b)| assert_alike(a, b));
        }
        (Value::Object(a), Value::Object(b)) => {
            assert!(a.keys().eq(b.keys()), "{a:?} and {b:?} have other keys");
            a.values()
                .zip(b.values())
                .for_each(|(a, b)| assert_alike(a, b));
        }
        (Value::Number(x), Value::Number(y)) if x.is_f64() => {
            let (x, y) = (x.as_f64().unwrap(), y.as_f64().unwrap());
            assert!((x - y).abs() <= x.abs() * 1e-12, "{x} became {y}");
        }
        _ => assert_eq!(a, b),
    }
}
