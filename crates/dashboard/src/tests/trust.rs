//! Who is let in.

use super::world::{World, running};

const LOGIN: [(&str, &str); 2] = [
    ("HERMES_DASHBOARD_BASIC_AUTH_USERNAME", "me"),
    ("HERMES_DASHBOARD_BASIC_AUTH_PASSWORD", "correct horse"),
];

#[test]
fn l72_without_signing_in_nothing_is_shown_and_nothing_is_done() {
    let world = World::with(&LOGIN, vec![running("default")]);
    let page = world.get("/?show=running");
    assert_eq!(
        (page.status, page.header("location")),
        (303, "/login?next=%2F%3Fshow%3Drunning")
    );
    for path in ["/api/v1/status", "/live", "/services/default/log/live"] {
        assert_eq!(world.get(path).status, 401, "{path}");
    }
    for path in ["/act", "/profiles", "/profiles/default/delete", "/logout"] {
        let answer = world.ask(
            "POST",
            path,
            "Content-Type: application/x-www-form-urlencoded\r\n",
            "do=stop:default",
        );
        assert_eq!(answer.status, 401, "{path}");
    }
    assert!(world.stage.orders.lock().unwrap().is_empty());
    assert_eq!(world.get("/healthz").body, "ok\n");
}

#[test]
fn signing_in_lets_in_until_signing_out() {
    let world = World::with(&LOGIN, vec![running("default")]);
    let page = world.get("/login");
    let wrong = world.post(&page, "/login", "username=me&secret=wrong");
    assert_eq!(wrong.status, 401);
    assert!(wrong.body.contains("not right"));
    let right = world.post(
        &page,
        "/login",
        "username=me&secret=correct+horse&next=//evil.example",
    );
    assert_eq!((right.status, right.header("location")), (303, "/"));
    assert_ne!(
        right.cookie(),
        page.cookie(),
        "the id from before is not kept"
    );
    let cookie = format!("Cookie: {}\r\n", right.cookie());
    let inside = world.ask("GET", "/", &cookie, "");
    assert_eq!(inside.status, 200);
    assert!(inside.body.contains("Sign out"));
    let form = format!("{cookie}Content-Type: application/x-www-form-urlencoded\r\n");
    let body = format!("csrf={}", inside.csrf());
    assert_eq!(world.ask("POST", "/logout", &form, &body).status, 303);
    assert_eq!(
        world.ask("GET", "/", &cookie, "").status,
        303,
        "the old cookie is worth nothing"
    );
}

#[test]
fn after_too_many_wrong_attempts_even_the_right_one_waits() {
    let world = World::with(&LOGIN, vec![]);
    let page = world.get("/login");
    let attempt = |secret: &str| {
        let body = format!("username=me&secret={secret}");
        world.post(&page, "/login", &body)
    };
    for _ in 0..10 {
        assert_eq!(attempt("wrong").status, 401);
    }
    let limited = attempt("correct+horse");
    assert_eq!(limited.status, 429);
    assert!(limited.header("retry-after").parse::<u64>().unwrap() <= 61);
}

#[test]
fn wrong_tokens_are_refused_however_many_and_keep_no_person_waiting() {
    let world = World::with(&LOGIN, vec![]);
    let wrong = "Authorization: Bearer herm_no\r\n";
    for _ in 0..20 {
        assert_eq!(world.ask("GET", "/api/v1/status", wrong, "").status, 401);
    }
    let page = world.get("/login");
    let entered = world.post(&page, "/login", "username=me&secret=correct+horse");
    assert_eq!(entered.status, 303);
}

#[test]
fn a_token_allows_what_its_scope_says() {
    let world = World::with(&LOGIN, vec![running("default")]);
    let home = &world.app.options.home;
    let read = crate::bearer::add(home, "read", crate::bearer::Scope::Read).unwrap();
    let control = crate::bearer::add(home, "control", crate::bearer::Scope::Control).unwrap();
    let bearer = |token: &str| format!("Authorization: Bearer {token}\r\n");
    let path = "/api/v1/services/default/restart";
    assert_eq!(
        world
            .ask("GET", "/api/v1/status", &bearer(&read), "")
            .status,
        200
    );
    assert_eq!(world.ask("GET", "/metrics", &bearer(&read), "").status, 200);
    assert_eq!(world.ask("POST", path, &bearer(&read), "").status, 403);
    assert_eq!(world.ask("POST", path, &bearer(&control), "").status, 200);
}

#[test]
fn a_change_needs_the_pages_token_and_our_own_origin() {
    let world = World::open(vec![running("default")]);
    let page = world.get("/");
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let cookie = format!("Cookie: {}\r\n{form}", page.cookie());
    let body = format!("csrf={}&do=stop:gateway-default", page.csrf());
    assert_eq!(
        world
            .ask("POST", "/act", form, "do=stop:gateway-default")
            .status,
        403
    );
    assert_eq!(
        world
            .ask("POST", "/act", &cookie, "csrf=0&do=stop:gateway-default")
            .status,
        403
    );
    assert_eq!(
        world.ask("POST", "/act", form, &body).status,
        403,
        "without the cookie"
    );
    let foreign = format!("Origin: https://evil.example\r\n{cookie}");
    assert_eq!(world.ask("POST", "/act", &foreign, &body).status, 403);
    assert!(world.stage.orders.lock().unwrap().is_empty());
    assert_eq!(world.ask("POST", "/act", &cookie, &body).status, 303);
}

#[test]
fn a_name_that_leads_here_from_elsewhere_is_not_answered() {
    let world = World::open(vec![]);
    assert_eq!(
        world
            .ask("GET", "/", "Host: evil.example:9119\r\n", "")
            .status,
        421
    );
    assert_eq!(
        world
            .ask("GET", "/api/v1/status", "Host: evil.example\r\n", "")
            .status,
        421
    );
    assert_eq!(
        world.ask("GET", "/", "Host: localhost:9119\r\n", "").status,
        200
    );
}

#[test]
fn deleting_needs_the_name_typed() {
    let world = World::open(vec![]);
    let profile = world.dir.path().join("home/profiles/writer");
    std::fs::create_dir_all(&profile).unwrap();
    std::fs::write(profile.join("SOUL.md"), "x").unwrap();
    let page = world.get("/profiles/writer/delete");
    assert_eq!(page.status, 200);
    assert_eq!(
        world
            .post(&page, "/profiles/writer/delete", "confirm=wrong")
            .status,
        400
    );
    assert!(profile.exists());
    assert_eq!(
        world
            .post(&page, "/profiles/writer/delete", "confirm=writer")
            .status,
        303
    );
    assert!(!profile.exists());
}
