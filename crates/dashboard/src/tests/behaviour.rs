//! What the pages and the API say and do.

use std::io::{BufRead as _, BufReader, Write as _};
use std::sync::atomic::Ordering;

use herm_wire::State;

use super::world::{World, running};
use crate::api::ROUTES;

#[test]
fn every_page_and_every_question_of_the_api_is_answered() {
    let world = World::open(vec![running("default")]);
    for page in [
        "/",
        "/profiles/default",
        "/services",
        "/boots",
        "/system",
        "/api/v1",
        "/metrics",
        "/healthz",
        "/readyz",
    ] {
        let answer = world.get(page);
        assert_eq!(answer.status, 200, "{page}: {}", answer.body);
        assert!(
            answer
                .header("content-security-policy")
                .contains("default-src 'none'"),
            "{page}"
        );
    }
    for route in ROUTES
        .iter()
        .filter(|route| route.method == "get" && route.answer != "text/event-stream")
    {
        let path = format!("/api/v1{}", route.path.replace("{name}", "default"));
        let answer = world.get(&path);
        let expected = if route.id == "log" { 404 } else { 200 };
        assert_eq!(answer.status, expected, "{path}: {}", answer.body);
        serde_json::from_str::<serde_json::Value>(&answer.body).unwrap();
    }
}

#[test]
fn l71_the_supervisor_is_the_one_source_of_a_state() {
    let world = World::open(vec![running("default")]);
    let home = world.dir.path().join("home");
    std::fs::write(
        home.join("gateway_state.json"),
        r#"{"gateway_state":"stopped","pid":1}"#,
    )
    .unwrap();
    let page = world.get("/");
    assert!(
        page.body.contains("<b class=\"p sr\">running</b>"),
        "{}",
        page.body
    );
    assert!(!page.body.contains(">stopped<"));
    let status = world.get("/api/v1/status");
    assert!(
        status.body.contains("\"state\":\"running\"")
            && status.body.contains("1 of 1 gateway running")
    );
}

#[test]
fn l73_a_button_reaches_the_supervisor_or_says_why_not() {
    let world = World::open(vec![running("default")]);
    let page = world.get("/");
    let done = world.post(&page, "/act", "do=restart:gateway-default&back=/");
    assert_eq!((done.status, done.header("location")), (303, "/"));
    assert_eq!(*world.stage.orders.lock().unwrap(), ["gateway-default"]);
    let profile = world.dir.path().join("home/profiles/writer");
    std::fs::create_dir_all(&profile).unwrap();
    std::fs::write(profile.join("SOUL.md"), "x").unwrap();
    let other = World::open(vec![]);
    let page = other.get("/");
    let refused = other.post(&page, "/act", "do=start:gateway-default&back=/");
    assert_eq!(refused.status, 409);
    assert!(refused.body.contains("herm reconcile"), "{}", refused.body);
    let nobody = other.post(&page, "/act", "do=start:nobody&back=/");
    assert_eq!(nobody.status, 404);
}

#[test]
fn l70_ready_means_that_everything_serves_that_should() {
    let world = World::open(vec![running("default")]);
    assert_eq!(world.get("/readyz").status, 200);
    let mut sick = running("default");
    sick.health = Some("unhealthy".into());
    world.stage.show(&sick);
    world.eventually(|world| world.get("/readyz").status == 503);
    assert_eq!(
        world.get("/healthz").status,
        200,
        "the dashboard itself is well"
    );
    assert!(
        world
            .get("/")
            .body
            .contains("<b class=\"p sf\">unhealthy</b>")
    );
}

#[test]
fn a_page_that_is_open_is_told_of_a_change() {
    let world = World::open(vec![running("default")]);
    let mut stream = world.connect();
    stream
        .write_all(b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .unwrap();
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    assert!(lines.any(|line| line == "event: hello"));
    let mut failed = running("default");
    (failed.state, failed.pid, failed.reason) = (State::Parked, None, "exit 78".into());
    world.stage.show(&failed);
    assert!(lines.any(|line| line == "event: service"));
    let data = lines.find(|line| line.starts_with("data: ")).unwrap();
    assert!(
        data.contains("gateway-default") && data.contains("parked") && data.contains("exit 78")
    );
}

#[test]
fn three_hundred_profiles_are_one_answer_of_less_than_300_kb() {
    let proc = tempfile::tempdir().unwrap();
    let measured = |n: u32| {
        let mut service = running(&format!("profile-{n:03}"));
        let pid = 1000 + n;
        let of = proc.path().join(pid.to_string());
        std::fs::create_dir(&of).unwrap();
        let stat =
            format!("{pid} (x) S 1 {pid} {pid} 0 -1 0 0 0 0 0 9 0 0 0 20 0 1 0 5 1000 25000 0 0");
        std::fs::write(of.join("stat"), stat).unwrap();
        service.pid = Some(pid);
        service
    };
    let services: Vec<_> = (0..300).map(measured).collect();
    let world = World::open(services.clone());
    for _ in 0..20 {
        world.app.samples.take(&services, proc.path());
    }
    let page = world.get("/");
    assert!(page.body.contains("profile-299") && page.body.contains("<svg viewBox=\"0 0 60 20\""));
    assert!(page.body.len() < 300_000, "{} bytes", page.body.len());
}

#[test]
fn a_thousand_streams_and_a_flood_of_requests_are_few_connections_to_the_supervisor() {
    let world = World::open(vec![running("default")]);
    let request = b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n";
    // None of them ever reads.
    let streams: Vec<_> = (0..1000)
        .map(|_| {
            let mut stream = world.connect();
            stream.write_all(request).unwrap();
            stream
        })
        .collect();
    world.eventually(|world| world.app.prepared.receiver_count() == 1000);
    for _ in 0..300 {
        world.stage.show(&running("default"));
        assert_eq!(world.get("/").status, 200);
    }
    drop(streams);
    let most = world.stage.most.load(Ordering::SeqCst);
    assert!(most <= 18, "{most} connections at once");
}
