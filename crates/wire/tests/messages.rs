//! Messages as lines: what is written is read back, and junk is refused without harm.

use herm_wire::frame::{decode, encode};
use herm_wire::{
    Desired, Event, EventBody, Kind, Op, Order, Request, ServiceView, Snapshot, State, VerbOptions,
};

#[test]
fn a_request_is_one_flat_line() {
    let request = Request {
        v: 1,
        id: 7,
        op: Op::Start {
            name: "gateway-a".into(),
            options: VerbOptions {
                wait: true,
                ..VerbOptions::default()
            },
        },
    };
    let line = encode(&request).unwrap();
    assert_eq!(
        line,
        b"{\"v\":1,\"id\":7,\"op\":\"start\",\"name\":\"gateway-a\",\"wait\":true}\n"
    );
    assert_eq!(decode::<Request>(&line).unwrap(), request);
}

#[test]
fn a_verb_without_options_is_accepted() {
    let request: Request = decode(br#"{"v":1,"id":1,"op":"stop","name":"a"}"#).unwrap();
    assert_eq!(
        request.op,
        Op::Stop {
            name: "a".into(),
            options: VerbOptions::default()
        }
    );
}

#[test]
fn an_operation_without_fields_is_accepted() {
    let request: Request = decode(br#"{"v":1,"id":1,"op":"hello"}"#).unwrap();
    assert_eq!(request.op, Op::Hello);
}

#[test]
fn junk_is_an_error() {
    for junk in [
        &b"{}"[..],
        b"",
        b"null",
        b"[1]",
        b"\xff\xfe",
        br#"{"v":1,"id":1,"op":"become_root"}"#,
        br#"{"v":1,"id":-1,"op":"hello"}"#,
        br#"{"v":1,"id":1,"op":"register","spec":{"name":"a","root":true}}"#,
    ] {
        assert!(decode::<Request>(junk).is_err(), "{junk:?} was accepted");
    }
}

fn view() -> ServiceView {
    ServiceView {
        name: "gateway-a".into(),
        profile: Some("a".into()),
        kind: Kind::Gateway,
        desired: Desired::Up,
        state: State::Running,
        reason: "ready".into(),
        next: None,
        pid: Some(7),
        since: "2026-11-20T20:31:10.123Z".into(),
        uptime_s: 1.5,
        restarts: 0,
        last_exit: None,
        ready: true,
        health: None,
        port: None,
        served_by: None,
        owner: None,
        memory_bytes: None,
        cpu_percent: None,
        log_dir: None,
        uid: None,
        survivors: Vec::new(),
    }
}

/// An event is one flat object; no body may repeat a field of the envelope.
#[test]
fn every_event_is_read_back_as_it_was_written() {
    let order = Order {
        name: "gateway-a".into(),
        seq: 3,
        want: Desired::Down,
        by: "uid 10000".into(),
        at: "2026-11-20T20:31:09.000Z".into(),
    };
    let snapshot = Snapshot {
        instance: "i".into(),
        services: vec![view()],
        orders: vec![order.clone()],
        reconcile: Some(4),
    };
    let bodies = [
        EventBody::Snapshot(snapshot),
        EventBody::Changed {
            service: Box::new(view()),
        },
        EventBody::Removed {
            name: "gateway-a".into(),
        },
        EventBody::Order { order },
        EventBody::ReconcileRequested { request: 4 },
        EventBody::Notice {
            message: "m".into(),
        },
        EventBody::Booted,
        EventBody::ShuttingDown,
    ];
    for body in bodies {
        let event = Event {
            seq: 9,
            at: "2026-11-20T20:31:10.123Z".into(),
            body,
        };
        let line = encode(&event).unwrap();
        assert_eq!(decode::<Event>(&line).unwrap(), event);
    }
}
