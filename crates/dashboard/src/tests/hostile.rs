//! Input that nobody means well with.

use super::world::{World, running};

#[test]
fn names_lead_to_no_file() {
    let world = World::open(vec![running("default")]);
    for path in [
        "/services/..%2f..%2f..%2fetc%2fpasswd/log",
        "/services/%2fetc%2fpasswd/log/live",
        "/api/v1/services/..%2f..%2fetc/log",
        "/profiles/..%2f..%2fetc",
        "/profiles/%ff%fe",
        "/api/v1/profiles/%00",
        "/assets/..%2f..%2fCargo.toml",
        "/nothing",
    ] {
        let answer = world.get(path);
        assert!(
            matches!(answer.status, 400 | 404),
            "{path}: {}",
            answer.status
        );
        assert!(!answer.body.contains("root:"));
    }
}

#[test]
fn what_is_too_large_or_malformed_has_a_status_of_its_own() {
    let world = World::open(vec![]);
    let page = world.get("/");
    let huge = format!("do={}", "x".repeat(200_000));
    assert_eq!(world.post(&page, "/act", &huge).status, 413);
    let token =
        crate::bearer::add(&world.app.options.home, "c", crate::bearer::Scope::Control).unwrap();
    let json = format!("Authorization: Bearer {token}\r\nContent-Type: application/json\r\n");
    assert_eq!(
        world.ask("POST", "/api/v1/profiles", &json, "{").status,
        400
    );
    assert_eq!(
        world
            .ask("POST", "/api/v1/profiles", &json, "{\"name\":\"../x\"}")
            .status,
        422
    );
    assert_eq!(
        world
            .ask(
                "POST",
                "/api/v1/profiles",
                &json,
                "{\"name\":\"x\",\"y\":1}"
            )
            .status,
        422
    );
    for bad in [
        "Bearer",
        "Bearer ",
        "Basic bWU6eA==",
        "Bearer \u{e4}",
        &format!("Bearer {}", "x".repeat(9000)),
    ] {
        let answer = world.ask(
            "GET",
            "/api/v1/status",
            &format!("Authorization: {bad}\r\n"),
            "",
        );
        assert_eq!(answer.status, 401, "{bad}");
    }
    assert_eq!(world.ask("PUT", "/", "", "").status, 405);
    assert_eq!(world.get("/api/v1/services/x/log?lines=-1").status, 400);
}

#[test]
fn a_log_is_text_whatever_is_in_it() {
    let mut service = running("default");
    let logs = tempfile::tempdir().unwrap();
    service.log_dir = Some(logs.path().to_string_lossy().into_owned());
    let mut log =
        b"2026-11-20T20:00:01.000000Z <script>alert(1)</script>\x1b]0;x\x07\x1b[31mred\n".to_vec();
    log.extend(std::iter::repeat_n(b'<', 10_000_000));
    log.push(b'\n');
    std::fs::write(logs.path().join("current"), log).unwrap();
    let world = World::open(vec![service]);
    let page = world.get("/profiles/default");
    assert_eq!(page.status, 200);
    assert!(page.body.len() < 500_000, "{}", page.body.len());
    assert!(
        page.body
            .contains("&lt;script&gt;alert(1)&lt;/script&gt;<span class=\"c1\">red")
    );
    assert!(!page.body.contains("<script>alert"));
    let download = world.get("/services/default/log");
    assert!(download.body.len() > 10_000_000);
    assert!(
        download
            .header("content-disposition")
            .contains("attachment")
    );
    assert!(download.header("content-type").starts_with("text/plain"));
}

#[test]
fn words_of_a_service_are_escaped_everywhere() {
    let mut service = running("default");
    service.reason = "<img src=x onerror=alert(1)>".into();
    let world = World::open(vec![service]);
    for page in ["/", "/profiles/default", "/services"] {
        assert!(!world.get(page).body.contains("<img"), "{page}");
    }
}

#[test]
fn no_secret_of_a_profile_is_shown() {
    let world = World::open(vec![running("default")]);
    let home = world.dir.path().join("home");
    std::fs::write(
        home.join(".env"),
        "TELEGRAM_BOT_TOKEN=123:topsecret\nMODE=alsohidden\n",
    )
    .unwrap();
    std::fs::write(
        home.join("config.yaml"),
        "model: {default: m1, api_key: topsecret}\n",
    )
    .unwrap();
    let page = world.get("/profiles/default");
    assert!(page.body.contains("TELEGRAM_BOT_TOKEN") && page.body.contains("m1"));
    assert!(!page.body.contains("topsecret") && !page.body.contains("alsohidden"));
}
