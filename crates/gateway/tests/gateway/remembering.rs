//! Sessions, as clients see them.

use axum::http::StatusCode;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Gateway, Profile, Provider, say, say_streaming};

const SESSION: &str = "X-Hermes-Session-Id";

fn contents(request: &Value) -> Vec<&str> {
    let messages = request["messages"].as_array().unwrap();
    messages
        .iter()
        .map(|m| m["content"].as_str().unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_goes_on_after_the_gateway_was_killed() {
    let provider = Provider::start().await;
    let profile = Profile::relaying(&provider, "m");
    let mut gateway = Gateway::start(&profile);
    let reply = gateway
        .ask(&say("one"))
        .header(SESSION, "chat")
        .send()
        .await
        .unwrap();
    assert_eq!(reply.headers()[SESSION], "chat");
    gateway.signal(Signal::KILL);
    gateway.child.wait().unwrap();

    let gateway = Gateway::start(&profile);
    let streamed = gateway.ask(&say_streaming("two")).header(SESSION, "chat");
    let streamed = streamed.send().await.unwrap().text().await.unwrap();
    assert!(streamed.ends_with("data: [DONE]\n\n"));
    gateway
        .ask(&say("three"))
        .header(SESSION, "chat")
        .send()
        .await
        .unwrap();
    gateway
        .ask(&say("other"))
        .header(SESSION, "another")
        .send()
        .await
        .unwrap();
    gateway.ask(&say("alone")).send().await.unwrap();

    let soul = "I am writer.";
    assert_eq!(contents(&provider.request(0)), [soul, "one"]);
    assert_eq!(
        contents(&provider.request(1)),
        [soul, "one", "you said one", "two"]
    );
    assert_eq!(
        contents(&provider.request(2)),
        [soul, "one", "you said one", "two", "Hello", "three"]
    );
    assert_eq!(contents(&provider.request(3)), [soul, "other"]);
    assert_eq!(contents(&provider.request(4)), [soul, "alone"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_sends_everything_each_time_is_not_heard_twice() {
    let provider = Provider::start().await;
    let profile = Profile::relaying(&provider, "m");
    let gateway = Gateway::start(&profile);
    gateway
        .ask(&say("one"))
        .header(SESSION, "chat")
        .send()
        .await
        .unwrap();
    let again = json!({"messages": [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "you said one"},
        {"role": "user", "content": "two"},
    ]});
    gateway
        .ask(&again)
        .header(SESSION, "chat")
        .send()
        .await
        .unwrap();
    let sent = provider.request(1);
    assert_eq!(
        contents(&sent),
        ["I am writer.", "one", "you said one", "two"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_that_broke_off_is_not_remembered() {
    let provider = Provider::start().await;
    let profile = Profile::relaying(&provider, "cut");
    let gateway = Gateway::start(&profile);
    for text in ["one", "two"] {
        let reply = gateway.ask(&say_streaming(text)).header(SESSION, "chat");
        reply.send().await.unwrap().text().await.unwrap();
    }
    assert_eq!(contents(&provider.request(1)), ["I am writer.", "two"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_home_that_cannot_hold_sessions_refuses_them_and_serves_the_rest() {
    let provider = Provider::start().await;
    let profile = Profile::relaying(&provider, "m");
    profile.write("sessions", "a file where the directory should be");
    let gateway = Gateway::start(&profile);
    let reply = gateway
        .ask(&say("one"))
        .header(SESSION, "chat")
        .send()
        .await
        .unwrap();
    assert_eq!(reply.status(), StatusCode::SERVICE_UNAVAILABLE);
    let error: Value = reply.json().await.unwrap();
    assert_eq!(error["error"]["code"], "session_unavailable");
    let reply = gateway.ask(&say("one")).send().await.unwrap();
    assert_eq!(reply.status(), StatusCode::OK);
}
