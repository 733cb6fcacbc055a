//! What clients get, and what the provider gets.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::support::{
    Gateway, KEY, PATIENCE, PROVIDER_KEY, Profile, Provider, client, say, say_streaming,
};

#[tokio::test(flavor = "multi_thread")]
async fn health_and_models_answer_as_clients_expect() {
    let provider = Provider::start().await;
    let profile = Profile::relaying(&provider, "m");
    let gateway = Gateway::start(&profile);
    let health = client().get(gateway.url("/health")).send().await.unwrap();
    assert_eq!(health.status(), StatusCode::OK);
    let health: Value = health.json().await.unwrap();
    assert_eq!(health["status"], "ok");
    assert_eq!(health["profile"], "writer");
    assert_eq!(health["version"], env!("CARGO_PKG_VERSION"));

    let models = client().get(gateway.url("/v1/models")).bearer_auth(KEY);
    let models: Value = models.send().await.unwrap().json().await.unwrap();
    assert_eq!(models["object"], "list");
    assert_eq!(models["data"][0]["id"], "writer");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_completion_goes_out_as_the_profile_and_comes_back_untouched() {
    let provider = Provider::start().await;
    let profile = Profile::relaying(&provider, "m");
    let gateway = Gateway::start(&profile);
    let mut body = say("hello");
    body["temperature"] = json!(0.25);
    let reply = gateway.ask(&body).send().await.unwrap();
    assert_eq!(reply.status(), StatusCode::OK);
    let reply: Value = reply.json().await.unwrap();
    assert_eq!(reply["choices"][0]["message"]["content"], "you said hello");
    assert_eq!(reply["id"], "x");

    assert_eq!(
        provider.request(0),
        json!({"model": "m", "temperature": 0.25, "messages": [
            {"role": "system", "content": "I am writer."},
            {"role": "user", "content": "hello"},
        ]})
    );
    let headers = provider.seen.requests.lock().unwrap()[0].0.clone();
    assert_eq!(headers["authorization"], format!("Bearer {PROVIDER_KEY}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_of_the_profiles_words_counts_from_the_next_request_on() {
    let provider = Provider::start().await;
    let profile = Profile::relaying(&provider, "m");
    let gateway = Gateway::start(&profile);
    profile.write("SOUL.md", "I am another.");
    gateway.ask(&say("hello")).send().await.unwrap();
    assert_eq!(
        provider.request(0)["messages"][0]["content"],
        "I am another."
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_passed_on_while_the_provider_still_speaks() {
    let provider = Provider::start().await;
    let profile = Profile::relaying(&provider, "held");
    let gateway = Gateway::start(&profile);
    let mut reply = gateway.ask(&say_streaming("hello")).send().await.unwrap();
    assert_eq!(reply.headers()["content-type"], "text/event-stream");
    // The provider says no more until it is released, so this chunk has not been waited for.
    let first = reply.chunk().await.unwrap().unwrap();
    assert_eq!(
        first,
        "data: {\"choices\":[{\"delta\":{\"content\":\"Hel\"},\"index\":0}]}\n\n"
    );
    provider.seen.release.add_permits(1);
    let mut rest = Vec::new();
    while let Some(chunk) = reply.chunk().await.unwrap() {
        rest.extend_from_slice(&chunk);
    }
    assert!(rest.ends_with(b"data: [DONE]\n\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_while_it_waits_ends_the_exchange_too() {
    let provider = Provider::start().await;
    let profile = Profile::relaying(&provider, "held");
    let gateway = Gateway::start(&profile);
    let waiting = tokio::spawn(gateway.ask(&say("hello")).send());
    provider.seen.arrived.notified().await;
    waiting.abort();
    let ended = provider.seen.ended.notified();
    tokio::time::timeout(PATIENCE, ended).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_ends_the_exchange_with_the_provider() {
    let provider = Provider::start().await;
    let profile = Profile::relaying(&provider, "held");
    let gateway = Gateway::start(&profile);
    let mut reply = gateway.ask(&say_streaming("hello")).send().await.unwrap();
    reply.chunk().await.unwrap().unwrap();
    drop(reply);
    let ended = provider.seen.ended.notified();
    tokio::time::timeout(PATIENCE, ended).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_breaks_ends_with_an_error_event() {
    let provider = Provider::start().await;
    let profile = Profile::relaying(&provider, "cut");
    let gateway = Gateway::start(&profile);
    let reply = gateway.ask(&say_streaming("hello")).send().await.unwrap();
    let text = reply.text().await.unwrap();
    let last = text.trim_end().rsplit("\n\n").next().unwrap();
    let error: Value = serde_json::from_str(last.strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!(error["error"]["code"], "provider_broke_off");
    assert!(!text.contains("[DONE]"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_providers_refusals_become_errors_a_client_understands() {
    let provider = Provider::start().await;
    for (model, status, code) in [
        ("status-400", 400, "provider_refused"),
        ("status-401", 502, "provider_auth_failed"),
        ("status-404", 404, "provider_refused"),
        ("status-429", 429, "rate_limit_exceeded"),
        ("status-500", 502, "provider_failed"),
        ("status-307", 502, "provider_failed"),
        ("garbage", 502, "provider_reply_invalid"),
    ] {
        let profile = Profile::relaying(&provider, model);
        let gateway = Gateway::start(&profile);
        for body in [say("hello"), say_streaming("hello")] {
            let reply = gateway.ask(&body).send().await.unwrap();
            assert_eq!(reply.status().as_u16(), status, "{model}");
            let relayed = reply.headers().get("retry-after").cloned();
            assert_eq!(relayed.is_some(), status == 429, "{model}");
            let text = reply.text().await.unwrap();
            assert!(!text.contains(PROVIDER_KEY), "{text}");
            let error: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(error["error"]["code"], code, "{model}");
        }
        let (_, log) = gateway.stop();
        assert!(!log.contains(PROVIDER_KEY) && !log.contains(KEY), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_not_there_is_a_bad_gateway() {
    let provider = Provider::start().await;
    let profile = Profile::relaying(&provider, "m");
    // Bound and never listening: nothing else can take the port meanwhile.
    let reserved = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = reserved.local_addr().unwrap().port();
    profile.write(
        "config.yaml",
        &format!("model: {{default: m, base_url: 'http://127.0.0.1:{port}'}}"),
    );
    let gateway = Gateway::start(&profile);
    let reply = gateway.ask(&say("hello")).send().await.unwrap();
    assert_eq!(reply.status(), StatusCode::BAD_GATEWAY);
    let error: Value = reply.json().await.unwrap();
    assert_eq!(error["error"]["code"], "provider_unreachable");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_anywhere_without_the_key() {
    let provider = Provider::start().await;
    let profile = Profile::relaying(&provider, "m");
    let gateway = Gateway::start(&profile);
    let url = gateway.url("/v1/chat/completions");
    let requests = [
        client().post(&url).json(&say("hello")),
        client()
            .post(&url)
            .json(&say("hello"))
            .bearer_auth("0123456789abcdef"),
        client()
            .get(gateway.url("/v1/models"))
            .bearer_auth(format!("{KEY}0")),
    ];
    for request in requests {
        let reply = request.send().await.unwrap();
        assert_eq!(reply.status(), StatusCode::UNAUTHORIZED);
        let error: Value = reply.json().await.unwrap();
        assert_eq!(error["error"]["code"], "invalid_api_key");
    }
    assert_eq!(provider.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_get_answers_and_the_gateway_goes_on() {
    let provider = Provider::start().await;
    let profile = Profile::relaying(&provider, "m");
    let gateway = Gateway::start(&profile);
    let post = |body: Vec<u8>| {
        let url = gateway.url("/v1/chat/completions");
        client().post(url).bearer_auth(KEY).body(body).send()
    };
    for (body, status) in [
        (b"{".to_vec(), 400),
        (vec![0xff; 100], 400),
        (vec![b'['; 1_000_000], 400),
        (br#"{"messages":[]}"#.to_vec(), 400),
        (vec![b' '; 10_000_001], 413),
    ] {
        let reply = post(body).await.unwrap();
        assert_eq!(reply.status().as_u16(), status);
        let error: Value = reply.json().await.unwrap();
        assert_eq!(error["error"]["type"], "invalid_request_error");
    }
    for (path, status) in [("/v1/chat/completions", 405), ("/nothing", 404)] {
        let reply = client()
            .get(gateway.url(path))
            .bearer_auth(KEY)
            .send()
            .await
            .unwrap();
        assert_eq!(reply.status().as_u16(), status);
        let error: Value = reply.json().await.unwrap();
        assert_eq!(error["error"]["type"], "invalid_request_error");
    }
    assert_eq!(provider.count(), 0);
    let reply = gateway.ask(&say("hello")).send().await.unwrap();
    assert_eq!(reply.status(), StatusCode::OK);
}
