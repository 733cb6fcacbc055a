//! What the gateway does with too little, and with what can't work.

use axum::http::StatusCode;
use serde_json::Value;

use crate::support::{Gateway, KEY, Profile, client, say};

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_profile_is_healthy_and_says_what_it_lacks() {
    let profile = Profile::new();
    let gateway = Gateway::start(&profile);
    let health = client().get(gateway.url("/health")).send().await.unwrap();
    assert_eq!(health.status(), StatusCode::OK);
    let reply = gateway.ask(&say("hello")).send().await.unwrap();
    assert_eq!(reply.status(), StatusCode::SERVICE_UNAVAILABLE);
    let error: Value = reply.json().await.unwrap();
    assert_eq!(error["error"]["code"], "api_key_not_configured");
    assert!(
        error["error"]["message"]
            .as_str()
            .unwrap()
            .contains("API_SERVER_KEY")
    );
    drop(gateway);

    profile.write(".env", &format!("API_SERVER_KEY={KEY}"));
    let gateway = Gateway::start(&profile);
    let reply = gateway.ask(&say("hello")).send().await.unwrap();
    assert_eq!(reply.status(), StatusCode::SERVICE_UNAVAILABLE);
    let error: Value = reply.json().await.unwrap();
    assert_eq!(error["error"]["code"], "provider_not_configured");
    assert!(
        error["error"]["message"]
            .as_str()
            .unwrap()
            .contains("model.base_url")
    );
}

fn refused(profile: &Profile, port: &str, code: i32, expected: &[&str]) {
    let (status, log) = Gateway::spawn(profile, port, &[]).wait();
    assert_eq!(status.code(), Some(code), "{log}");
    let errors: Vec<_> = log.lines().filter(|l| l.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "{log}");
    for text in expected {
        assert!(errors[0].contains(text), "{log} should say {text}");
    }
}

#[test]
fn what_cannot_work_is_exit_78_and_one_sentence() {
    for (file, text, expected) in [
        ("config.yaml", "model: [", ["config.yaml", "no valid YAML"]),
        (
            "config.yaml",
            "model: {base_url: x}",
            ["config.yaml", "model.base_url"],
        ),
        (
            ".env",
            "API_SERVER_KEY=tooshort",
            [".env", "API_SERVER_KEY"],
        ),
        (
            ".env",
            "API_SERVER_HOST=0.0.0.0",
            ["API_SERVER_HOST", "API_SERVER_KEY"],
        ),
        (
            ".env",
            "API_SERVER_HOST=no.such.host.invalid",
            ["API_SERVER_HOST", "resolved"],
        ),
    ] {
        let profile = Profile::new();
        profile.write("gateway_state.json", r#"{"desired_state":"running"}"#);
        profile.write(file, text);
        refused(&profile, "0", 78, &expected);
        let state = profile.state();
        assert_eq!(state["gateway_state"], "startup_failed");
        assert_eq!(state["desired_state"], "running");
        let reason = state["exit_reason"].as_str().unwrap();
        assert!(
            reason.contains(expected[1]) && !reason.contains("tooshort"),
            "{reason}"
        );
    }
}

#[test]
fn l14_a_port_in_use_is_named_and_not_fought_for() {
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = holder.local_addr().unwrap().port().to_string();
    refused(&Profile::new(), &port, 78, &["API_SERVER_PORT", &port]);
}

#[test]
fn a_profile_that_does_not_exist_is_not_made() {
    let profile = Profile::new();
    let gone = profile.path().to_owned();
    std::fs::remove_dir(&gone).unwrap();
    let (status, log) = Gateway::spawn(&profile, "0", &[]).wait();
    assert_eq!(status.code(), Some(78));
    assert!(log.contains("does not exist"), "{log}");
    assert!(!gone.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn l12_a_second_gateway_for_a_profile_gives_way_and_touches_nothing() {
    let profile = Profile::new();
    let gateway = Gateway::start(&profile);
    let pid = gateway.child.id();
    // No bad configuration, which would park it: the other may end without a file changing.
    refused(&profile, "0", 1, &["another gateway", &pid.to_string()]);
    assert_eq!(profile.state()["pid"], pid);
    assert_eq!(profile.state()["gateway_state"], "running");
    assert!(profile.path().join("gateway.pid").exists());
}
