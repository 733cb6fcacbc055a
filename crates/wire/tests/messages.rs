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
        log_dropped_lines: 0,
        uid: None,
        survivors: Vec::new(),
        requires: Vec::new(),
        after: Vec::new(),
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
            withdrawn: true,
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

/// The reader lists every field anew, so each operation is shown to it once.
#[test]
fn every_operation_is_read_back_as_it_was_written_wherever_its_name_stands() {
    let name = "\"name\":\"a\"";
    let spec = r#"{"name":"a","kind":"service","argv":["x"],"initial":"up",
        "readiness":{"probe":{"argv":["y"],"type":"command"},"interval_ms":5,"type":"probe"},
        "health":{"probe":{"address":"h:1","type":"tcp"}}}"#;
    let fields = [
        ("hello", String::new()),
        ("status", String::new()),
        ("service", name.into()),
        ("subscribe", String::new()),
        ("start", format!("{name},\"wait\":true,\"timeout_ms\":9")),
        ("stop", format!("{name},\"reconcile\":true")),
        ("restart", name.into()),
        ("once", name.into()),
        ("signal", format!("{name},\"signal\":\"HUP\"")),
        (
            "wait",
            format!("{name},\"until\":\"ready\",\"timeout_ms\":3"),
        ),
        ("register", format!("\"spec\":{spec}")),
        ("unregister", name.into()),
        ("env", name.into()),
        ("boot", String::new()),
        ("reconcile", "\"timeout_ms\":4".into()),
        ("attach_keeper", String::new()),
        ("ack_order", format!("{name},\"seq\":5")),
        ("ack_reconcile", "\"seq\":6,\"error\":\"e\"".into()),
        ("wake", format!("{name},\"reason\":\"r\"")),
        (
            "annotate",
            format!("{name},\"served_by\":\"b\",\"owner\":\"c\",\"port\":7,\"note\":\"d\""),
        ),
        ("shutdown", "\"exit_code\":8".into()),
        ("reexec", String::new()),
    ];
    for (op, fields) in fields {
        let comma = if fields.is_empty() { "" } else { "," };
        let line = format!("{{{fields}{comma}\"colour\":[{{}}],\"op\":\"{op}\",\"id\":2,\"v\":1}}");
        let request: Request = decode(line.as_bytes()).expect(op);
        let written = encode(&request).unwrap();
        let value = |line: &[u8]| serde_json::from_slice::<serde_json::Value>(line).unwrap();
        assert_eq!(decode::<Request>(&written).unwrap(), request);
        for (field, value) in value(&written).as_object().unwrap() {
            let field = format!("\"{field}\"");
            assert!(
                line.contains(&field) && (field == "\"spec\"" || line.contains(&value.to_string())),
                "{op} lost {field}"
            );
        }
        let sent = value(line.as_bytes()).as_object().unwrap().len();
        assert_eq!(value(&written).as_object().unwrap().len(), sent - 1, "{op}");
        if comma == "," && op != "reconcile" && op != "shutdown" {
            let line = format!(r#"{{"v":1,"id":2,"op":"{op}"}}"#);
            assert!(
                decode::<Request>(line.as_bytes()).is_err(),
                "{op} needs a field"
            );
        }
    }
}

#[test]
fn a_probe_without_what_its_type_asks_for_is_refused() {
    for spec in [
        r#"{"type":"probe"}"#,
        r#"{"type":"notify"}"#,
        r#"{"type":"telepathy"}"#,
        r#"{"type":"probe","probe":{"type":"http","address":"h:1"}}"#,
    ] {
        assert!(
            decode::<herm_wire::ReadinessSpec>(spec.as_bytes()).is_err(),
            "{spec}"
        );
    }
}
