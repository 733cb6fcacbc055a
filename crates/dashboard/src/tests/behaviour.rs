//! What the pages and the API say and do.

use std::io::{BufRead as _, BufReader, Write as _};
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use herm_home::ProfileName;
use herm_home::handover::{self, Answer, Request};
use herm_wire::{Kind, ServiceView, State};

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
fn the_dashboards_own_button_is_answered_before_it_is_carried_out() {
    let mut own = ServiceView::named("dashboard", Kind::Service);
    own.state = State::Running;
    own.pid = Some(std::process::id());
    let world = World::open(vec![own]);
    world.eventually(|world| world.app.live.service("dashboard").is_some());
    let page = world.get("/");
    let told = world.post(&page, "/act", "do=restart:dashboard&back=/services");
    assert_eq!(told.status, 202);
    assert!(told.body.contains("sign in again"), "{}", told.body);
    world.eventually(|world| *world.stage.orders.lock().unwrap() == ["dashboard"]);
}

/// The owner's side: takes the one request that comes, and answers it.
fn answered_by_its_owner(world: &World, answer: Answer) -> std::thread::JoinHandle<Request> {
    let home = world.app.options.home.clone();
    std::thread::spawn(move || {
        loop {
            let taken = handover::take(&home, SystemTime::now()).unwrap();
            if let Some((id, request)) = taken.requests.into_iter().next() {
                handover::answer(&home, &id, &answer).unwrap();
                return request;
            }
            std::thread::yield_now();
        }
    })
}

fn elsewhere(profile: &str) -> ServiceView {
    let mut view = running(profile);
    (view.state, view.pid, view.owner) = (State::Remote, None, Some("i2".into()));
    view
}

#[test]
fn l73_a_button_for_what_another_instance_runs_reaches_that_one_and_its_answer_comes_back() {
    let world = World::open(vec![elsewhere("default")]);
    let page = world.get("/");
    let done = Answer {
        code: 0,
        output: serde_json::to_string(&running("default")).unwrap(),
        complaint: String::new(),
    };
    let owner = answered_by_its_owner(&world, done);
    let pressed = world.post(&page, "/act", "do=restart:gateway-default&back=/");
    assert_eq!(pressed.status, 303, "{}", pressed.body);
    let request = owner.join().unwrap();
    assert_eq!(
        (request.verb, request.profile.as_str()),
        (handover::Verb::Restart, "default")
    );
    let refusal = Answer {
        code: 124,
        output: String::new(),
        complaint: "herm: can't stop default: it hangs".into(),
    };
    let owner = answered_by_its_owner(&world, refusal);
    let pressed = world.post(&page, "/act", "do=stop:gateway-default&back=/");
    owner.join().unwrap();
    assert_eq!(pressed.status, 504);
    assert!(
        pressed.body.contains("instance i2") && pressed.body.contains("it hangs"),
        "{}",
        pressed.body
    );
    assert!(
        world.stage.orders.lock().unwrap().is_empty(),
        "our own supervisor is not asked"
    );
}

#[test]
fn what_another_instance_runs_has_the_buttons_that_its_record_makes_sense_of() {
    let world = World::open(vec![elsewhere("default")]);
    assert!(world.get("/").body.contains("start:gateway-default"));
    let paths = world
        .app
        .options
        .home
        .profile(&ProfileName::default_profile());
    herm_home::intent::record(&paths, herm_home::Desired::Running, "us", SystemTime::now())
        .unwrap();
    world.eventually(|world| {
        let page = world.get("/").body;
        page.contains("stop:gateway-default") && page.contains("restart:gateway-default")
    });
}

#[test]
fn a_start_that_is_in_anothers_way_is_refused_before_it_is_ordered() {
    let mut down = running("default");
    (down.state, down.pid) = (State::Down, None);
    let world = World::adjusted(&[], vec![down], |options| {
        options.make_way = |_, _| Err("port 8642 is taken by writer".into());
    });
    world.eventually(|world| world.app.live.service("default").is_some());
    let page = world.get("/");
    let refused = world.post(&page, "/act", "do=start:gateway-default&back=/");
    assert_eq!(refused.status, 409);
    assert!(refused.body.contains("taken by writer"), "{}", refused.body);
    assert!(world.stage.orders.lock().unwrap().is_empty());
}

/// A shape that isn't closed holds the next one, which is then not drawn.
#[test]
fn every_shape_of_every_picture_is_closed() {
    let world = World::open(vec![running("default")]);
    let services = world.app.live.services();
    for _ in 0..3 {
        world
            .app
            .samples
            .take(&services, std::path::Path::new("/proc"));
    }
    for path in ["/", "/profiles/default", "/services", "/boots", "/system"] {
        let page = world.get(path).body.replace(crate::pages::MARK.0, "");
        for shape in ["rect", "path", "svg"] {
            let count = |text: &str| page.matches(text).count();
            assert_eq!(
                count(&format!("<{shape} ")) + count(&format!("<{shape}>")),
                count(&format!("</{shape}>")),
                "{shape} in {path}"
            );
        }
    }
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
