//! The REST API of a real container's dashboard: by its own document, and by those who mean it harm.

use herm_e2e::{Container, Dashboard, Image, repository, run, tool, wait_until};
use serde_json::json;

const HERMES: u32 = 10_000;

fn home() -> (Container, Dashboard) {
    let container = Container::of(&Image::herm_dev()).dashboard().run();
    container.wait_booted();
    let dashboard = container.dashboard();
    (container, dashboard)
}

/// Asks every operation of the document with what it allows and with what it doesn't, and checks each
/// answer against it. What is found is reproducible: its seed is fixed.
fn judge(dashboard: &Dashboard, more: &[&str]) {
    let mut schemathesis = tool("venv/bin/schemathesis");
    let document = repository().join("docs/reference/openapi.json");
    schemathesis
        .current_dir(std::env::temp_dir())
        .arg("run")
        .arg(document)
        .args(["--url", &dashboard.address()])
        .args([
            "--header",
            &format!("Authorization: Bearer {}", dashboard.token()),
        ])
        // Streams have no end to wait for.
        .args(["--exclude-path-regex", "/events$"])
        .args(["--checks", "all", "--seed", "1", "--no-color"])
        .args(["--request-timeout", "60", "--generation-database", "none"])
        .args(more);
    run(&mut schemathesis).succeeds();
}

#[test]
fn the_api_is_as_its_document_says_for_a_token_that_may_do_everything() {
    let (container, dashboard) = home();
    container
        .exec(&["herm", "profile", "create", "writer"])
        .succeeds();
    let control = dashboard.with_token(&container.dashboard_token("all", "control"));
    judge(&control, &["--max-examples", "15"]);
    assert!(container.answers());
}

#[test]
fn the_api_is_as_its_document_says_for_a_token_that_may_look() {
    let (container, dashboard) = home();
    let read = dashboard.with_token(&container.dashboard_token("look", "read"));
    judge(&read, &["--max-examples", "8"]);
    // Nothing was changed by it.
    let profiles = read.get("/api/v1/profiles").json();
    assert_eq!(profiles.as_array().map(Vec::len), Some(1), "{profiles}");
}

/// A service that has written this; its log is all kept.
fn wrote(container: &Container, name: &str, script: &str) {
    let spec = json!({"name": name, "kind": "service", "argv": ["perl", "-e", script], "initial": "up",
        "log": {"dir": format!("/opt/data/logs/{name}"), "max_bytes": 50_000_000}});
    let answer = container.control(HERMES, &json!({"op": "register", "spec": spec}));
    assert!(answer["ok"].is_object(), "{answer}");
}

#[test]
fn names_that_nobody_has_and_paths_that_lead_elsewhere_are_not_found() {
    let (_container, dashboard) = home();
    for path in [
        "/api/v1/services/nobody",
        "/api/v1/services/nobody/log",
        "/api/v1/services/..%2f..%2f..%2fetc%2fpasswd/log",
        "/api/v1/services/../../../../etc/passwd",
        "/api/v1/profiles/%00",
        "/api/v1/profiles/%ff%fe",
        "/services/..%2f..%2f.env/log",
        "/services/%2fetc%2fshadow/log",
        "/services/....//....//etc/passwd/log",
        "/assets/..%2fstyle.css",
        "/assets/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "/profiles/nobody",
        "/profiles/..%2f..%2fetc/delete",
        "//etc/passwd",
    ] {
        let answer = dashboard.get(path);
        assert!(matches!(answer.status, 400 | 404), "{path}: {answer:?}");
        assert!(!answer.body.contains("root:"), "{path}: {answer:?}");
    }
    for (method, path) in [
        ("POST", "/api/v1/services/nobody/start"),
        ("DELETE", "/api/v1/profiles/nobody"),
        ("DELETE", "/api/v1/profiles/..%2f..%2fetc"),
    ] {
        let answer = dashboard.ask(method, path, &[], "");
        assert!(matches!(answer.status, 404 | 422), "{path}: {answer:?}");
    }
}

#[test]
fn bodies_heads_and_tokens_that_make_no_sense_have_a_status_of_their_own() {
    let (container, dashboard) = home();
    let json = [("Content-Type", "application/json")];
    let huge = format!("{{\"name\": \"{}\"}}", "x".repeat(10_000_000));
    for (body, expected) in [
        (huge.as_str(), 413),
        ("{", 400),
        ("[1, 2", 422),
        (&"[".repeat(60_000), 422),
        ("{}", 422),
        ("{\"name\": \"../../etc\"}", 422),
        ("{\"name\": \"ok\", \"more\": 1}", 422),
        ("\u{0}\u{1}\u{2}", 400),
    ] {
        let answer = dashboard.ask("POST", "/api/v1/profiles", &json, body);
        let shown = &body[..body.len().min(30)];
        assert_eq!(answer.status, expected, "{shown:?}: {answer:?}");
        assert!(answer.json()["error"]["message"].is_string());
    }
    let no_json = dashboard.ask("POST", "/api/v1/profiles", &[], "name=x");
    assert_eq!(no_json.status, 415, "{no_json:?}");
    for query in [
        "lines=-1",
        "lines=x",
        "lines=99999999999999999999",
        "since=yesterday",
        "limit=1&limit=2",
    ] {
        let answer = dashboard.get(&format!("/api/v1/services/dashboard/log?{query}"));
        assert!(matches!(answer.status, 200 | 400), "{query}: {answer:?}");
    }
    // What is no HTTP at all, or too much of it, ends its own connection and nothing else.
    let endless = format!(
        "GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n",
        "y".repeat(200_000)
    );
    for bytes in [
        endless.as_bytes(),
        b"\x16\x03\x01\x02\x00\x01",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\r\n\r\n\r\n",
    ] {
        let answer = dashboard.raw(bytes);
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
            "{answer}"
        );
    }
    let nobody = dashboard.with_token("");
    assert_eq!(nobody.get("/api/v1/status").status, 401);
    let long = "x".repeat(9000);
    for wrong in [
        "herm_",
        "herm_0000",
        &long,
        "a b c",
        "%00",
        dashboard.token().trim_end_matches(char::is_alphanumeric),
    ] {
        let header = format!("Bearer {wrong}");
        let answer = nobody.ask("GET", "/api/v1/status", &[("Authorization", &header)], "");
        assert_eq!(answer.status, 401, "{wrong}: {answer:?}");
        assert_eq!(answer.header("www-authenticate"), "Bearer");
    }
    // A session that nobody made, and one that a restart of the dashboard has ended.
    let forged = [(
        "Cookie",
        "herm_9119=0123456789abcdef0123456789abcdef.00; herm_9119=x",
    )];
    assert_eq!(nobody.ask("GET", "/api/v1/status", &forged, "").status, 401);
    assert!(container.answers());
}

#[test]
fn a_session_ends_with_the_dashboard_that_made_it_and_a_program_goes_on() {
    let (container, dashboard) = home();
    let nobody = dashboard.with_token("");
    let page = nobody.get("/login");
    let cookie = page
        .header("set-cookie")
        .split(';')
        .next()
        .unwrap_or_default()
        .to_owned();
    let csrf = page
        .body
        .split("name=\"csrf\" value=\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next());
    let form = format!(
        "csrf={}&secret={}",
        csrf.unwrap_or_default(),
        dashboard.token()
    );
    let headers = [
        ("Cookie", cookie.as_str()),
        ("Content-Type", "application/x-www-form-urlencoded"),
    ];
    let entered = nobody.ask("POST", "/login", &headers, &form);
    assert_eq!(entered.status, 303, "{entered:?}");
    let cookie = entered
        .header("set-cookie")
        .split(';')
        .next()
        .unwrap_or_default()
        .to_owned();
    let session = [("Cookie", cookie.as_str())];
    assert_eq!(
        nobody.ask("GET", "/api/v1/status", &session, "").status,
        200
    );
    container
        .exec(&["herm", "service", "restart", "dashboard"])
        .succeeds();
    let program = container.dashboard();
    assert_eq!(
        nobody.ask("GET", "/api/v1/status", &session, "").status,
        401
    );
    assert_eq!(program.get("/api/v1/status").status, 200);
}

#[test]
fn a_line_of_ten_megabytes_with_control_characters_is_text_everywhere() {
    let (container, dashboard) = home();
    wrote(
        &container,
        "loud",
        r#"$| = 1; print "<script>alert(1)</script>\e]0;title\a\e[31mred\e[0m\0\x01\r\x{7f} begins ";
           print "\e[2J<b>" x 1_700_000; print "\nand after\n"; sleep"#,
    );
    wait_until("it is logged", || {
        container
            .sh("grep -c 'and after' /opt/data/logs/loud/current")
            .is_success()
    });
    let lines = dashboard.get("/api/v1/services/loud/log?lines=10");
    let found = lines.json();
    let last = found
        .as_array()
        .and_then(|lines| lines.last())
        .cloned()
        .unwrap_or_default();
    assert_eq!(last["line"], "and after", "{last}");
    assert!(lines.body.len() < 2_000_000, "{} bytes", lines.body.len());
    let search = dashboard.get("/api/v1/services/loud/log?q=BEGINS");
    assert_eq!(
        search.json().as_array().map(Vec::len),
        Some(1),
        "{}",
        search.body.len()
    );
    let download = dashboard.get("/services/loud/log");
    assert_eq!(download.status, 200);
    assert!(
        download.body.len() > 9_000_000
            && download.header("content-type").starts_with("text/plain")
    );
    assert_eq!(download.header("x-content-type-options"), "nosniff");
    // On a terminal too: nothing of it is obeyed.
    let shown = container.sh("TERM=xterm script -qec 'herm logs -n 50 loud' /dev/null");
    let text = shown.succeeds();
    assert!(text.contains("<script>alert(1)</script>") && text.contains("and after"));
    assert!(!text.contains("\x1b]0;") && !text.contains("\x1b[2J") && !text.contains('\0'));
    assert!(container.answers());
}

#[test]
fn a_token_is_shown_once_kept_as_a_hash_and_counts_until_it_is_removed() {
    let (container, dashboard) = home();
    let read = container.dashboard_token("prometheus", "read");
    let program = dashboard.with_token(&read);
    assert_eq!(program.get("/metrics").status, 200);
    let start = program.ask("POST", "/api/v1/services/gateway-default/start", &[], "");
    assert_eq!(start.status, 403, "{start:?}");
    let kept = container.sh("cat /opt/data/.herm/dashboard/tokens.json; stat -c %a:%u /opt/data/.herm/dashboard/tokens.json /opt/data/.herm/dashboard/token /opt/data/.herm/dashboard");
    assert!(!kept.succeeds().contains(&read), "{kept}");
    assert!(
        kept.stdout.ends_with("600:10000\n600:10000\n700:10000\n"),
        "{kept}"
    );
    let listed = container.exec(&["herm", "dashboard", "token", "list"]);
    assert!(listed.succeeds().contains("prometheus") && !listed.stdout.contains(&read));
    // Those who are wrong are told so, however often they are.
    for _ in 0..15 {
        let wrong = dashboard
            .with_token("herm_000000000000000000000000")
            .get("/api/v1/status");
        assert_eq!(wrong.status, 401, "{wrong:?}");
    }
    assert_eq!(program.get("/api/v1/status").status, 200);
    container
        .exec(&["herm", "dashboard", "token", "remove", "prometheus"])
        .succeeds();
    assert_eq!(program.get("/api/v1/status").status, 401);
}
