//! How the gateway ends.

use std::os::unix::net::UnixDatagram;

use axum::http::StatusCode;
use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Gateway, PATIENCE, Profile, Provider, client, say, say_streaming};

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_finishes_what_is_in_flight_and_takes_nothing_new() {
    let provider = Provider::start().await;
    let profile = Profile::relaying(&provider, "held");
    let mut gateway = Gateway::start(&profile);
    assert_eq!(profile.state()["gateway_state"], "running");
    let mut reply = gateway.ask(&say_streaming("hello")).send().await.unwrap();
    reply.chunk().await.unwrap().unwrap();

    gateway.signal(Signal::TERM);
    gateway.wait_for_line("1 in flight");
    assert_eq!(profile.state()["gateway_state"], "draining");
    assert_eq!(profile.state()["active_agents"], 1);
    let refused = gateway.ask(&say("more")).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    let error: Value = refused.json().await.unwrap();
    assert_eq!(error["error"]["code"], "gateway_draining");
    let health = client().get(gateway.url("/health")).send().await.unwrap();
    assert_eq!(health.status(), StatusCode::SERVICE_UNAVAILABLE);

    provider.seen.release.add_permits(1);
    let mut rest = Vec::new();
    while let Some(chunk) = reply.chunk().await.unwrap() {
        rest.extend_from_slice(&chunk);
    }
    assert!(rest.ends_with(b"data: [DONE]\n\n"));
    let (status, log) = gateway.wait();
    assert_eq!(status.code(), Some(0), "{log}");
    assert_eq!(profile.state()["gateway_state"], "stopped");
    assert!(!profile.path().join("gateway.pid").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_while_draining_cuts_what_a_second_term_leaves_alone() {
    let provider = Provider::start().await;
    let profile = Profile::relaying(&provider, "held");
    let mut gateway = Gateway::start(&profile);
    let mut reply = gateway.ask(&say_streaming("hello")).send().await.unwrap();
    reply.chunk().await.unwrap().unwrap();
    gateway.signal(Signal::TERM);
    gateway.wait_for_line("1 in flight");
    gateway.signal(Signal::TERM);
    let health = client().get(gateway.url("/health")).send().await.unwrap();
    assert_eq!(health.status(), StatusCode::SERVICE_UNAVAILABLE);
    gateway.signal(Signal::INT);
    let (status, log) = gateway.wait();
    assert_eq!(status.code(), Some(0));
    assert!(log.contains("cut by an interrupt"), "{log}");
    assert_eq!(profile.state()["gateway_state"], "stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_never_ends_is_cut_at_the_limit() {
    let provider = Provider::start().await;
    let profile = Profile::relaying(&provider, "held");
    let gateway = Gateway::start(&profile);
    let mut reply = gateway.ask(&say_streaming("hello")).send().await.unwrap();
    reply.chunk().await.unwrap().unwrap();
    let (status, log) = gateway.stop();
    assert_eq!(status.code(), Some(0));
    assert!(log.contains("were cut after"), "{log}");
    let ended = provider.seen.ended.notified();
    tokio::time::timeout(PATIENCE, ended).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn after_sigkill_the_next_start_takes_over() {
    let profile = Profile::new();
    let mut gateway = Gateway::start(&profile);
    gateway.signal(Signal::KILL);
    gateway.child.wait().unwrap();
    assert_eq!(profile.state()["gateway_state"], "running");
    let gateway = Gateway::start(&profile);
    assert_eq!(profile.state()["pid"], gateway.child.id());
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_for_readiness_is_told() {
    let profile = Profile::new();
    let socket = profile.path().join("notify");
    let receiver = UnixDatagram::bind(&socket).unwrap();
    receiver.set_read_timeout(Some(PATIENCE)).unwrap();
    let environment = [("NOTIFY_SOCKET", socket.to_str().unwrap())];
    let gateway = Gateway::spawn(&profile, "0", &environment);
    let mut buffer = [0; 64];
    let length = receiver.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"READY=1");
    assert_eq!(profile.state()["gateway_state"], "running");
    gateway.signal(Signal::TERM);
    let length = receiver.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"STOPPING=1");
}
