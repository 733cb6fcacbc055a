//! Sessions on a real file.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use super::*;

fn user(text: &str) -> Value {
    json!({"role": "user", "content": text})
}

#[tokio::test]
async fn what_was_said_is_there_after_a_restart_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let sessions = Sessions::new(dir.path());
    assert_eq!(sessions.history("a").await.unwrap(), [] as [Value; 0]);
    sessions.append("a", &[user("1"), user("2")]).await.unwrap();
    sessions.append("b", &[user("other")]).await.unwrap();
    sessions.append("a", &[user("3")]).await.unwrap();
    drop(sessions);

    let again = Sessions::new(dir.path());
    let said = again.history("a").await.unwrap();
    assert_eq!(said, [user("1"), user("2"), user("3")]);
    let mode = std::fs::metadata(dir.path().join("sessions/herm.db"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn l05_a_corrupt_database_is_kept_aside_and_sessions_begin_anew() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("sessions/herm.db");
    std::fs::create_dir(dir.path().join("sessions")).unwrap();
    std::fs::write(&file, "not a database ".repeat(100)).unwrap();
    let sessions = Sessions::new(dir.path());
    sessions.append("a", &[user("1")]).await.unwrap();
    assert_eq!(sessions.history("a").await.unwrap(), [user("1")]);
    let kept = std::fs::read_dir(dir.path().join("sessions"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.to_string_lossy().contains("herm.db.corrupt-"))
        .unwrap();
    assert!(
        std::fs::read_to_string(kept)
            .unwrap()
            .starts_with("not a database")
    );
}

#[tokio::test]
async fn a_database_of_a_newer_herm_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let sessions = Sessions::new(dir.path());
    sessions.append("a", &[user("1")]).await.unwrap();
    drop(sessions);
    let file = dir.path().join("sessions/herm.db");
    Connection::open(&file)
        .unwrap()
        .pragma_update(None, "user_version", LAYOUT + 1)
        .unwrap();
    let error = Sessions::new(dir.path()).history("a").await.unwrap_err();
    assert!(matches!(error, SessionError::Newer(_)), "{error}");
    assert_eq!(
        std::fs::read_dir(dir.path().join("sessions"))
            .unwrap()
            .count(),
        1
    );
}

#[test]
fn the_oldest_turns_of_a_session_and_the_oldest_sessions_go() {
    let dir = tempfile::tempdir().unwrap();
    let mut connection = open(&dir.path().join("x.db")).unwrap();
    connection
        .pragma_update(None, "synchronous", "OFF")
        .unwrap();
    let at = |second| SystemTime::UNIX_EPOCH + Duration::from_secs(second);
    for turn in 0..210 {
        let text = json!([user(&turn.to_string())]).to_string();
        append(&mut connection, "long", &text, at(1)).unwrap();
    }
    let said = history(&mut connection, "long").unwrap();
    assert_eq!(said.len(), 200);
    assert_eq!(said.first(), Some(&user("10")));
    for session in 0..1000 {
        append(&mut connection, &session.to_string(), "[]", at(2 + session)).unwrap();
    }
    let count = |connection: &Connection, table: &str| -> i64 {
        let query = format!("SELECT count(*) FROM {table}");
        connection.query_row(&query, [], |row| row.get(0)).unwrap()
    };
    assert_eq!(count(&connection, "sessions"), 1000);
    assert_eq!(count(&connection, "turns"), 1000);
    assert_eq!(history(&mut connection, "long").unwrap(), [] as [Value; 0]);
}

#[test]
fn a_request_carries_the_newest_whole_turns_that_fit() {
    let dir = tempfile::tempdir().unwrap();
    let mut connection = open(&dir.path().join("x.db")).unwrap();
    let big = "x".repeat(MAX_HISTORY_BYTES / 3);
    for name in ["1", "2", "3", "4"] {
        let text = json!([user(&format!("{name}{big}"))]).to_string();
        append(&mut connection, "s", &text, SystemTime::UNIX_EPOCH).unwrap();
    }
    let said = history(&mut connection, "s").unwrap();
    assert_eq!(said, [user(&format!("3{big}")), user(&format!("4{big}"))]);
    let huge = json!([user(&"y".repeat(MAX_HISTORY_BYTES + 1))]).to_string();
    append(&mut connection, "s", &huge, SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!(history(&mut connection, "s").unwrap().len(), 1);
}

#[test]
fn a_tools_result_never_comes_without_its_request() {
    let dir = tempfile::tempdir().unwrap();
    let mut connection = open(&dir.path().join("x.db")).unwrap();
    let now = SystemTime::UNIX_EPOCH;
    append(
        &mut connection,
        "s",
        r#"[{"role":"tool"},{"role":"assistant"}]"#,
        now,
    )
    .unwrap();
    append(
        &mut connection,
        "s",
        r#"[{"role":"user"},{"role":"assistant"}]"#,
        now,
    )
    .unwrap();
    let said = history(&mut connection, "s").unwrap();
    assert_eq!(
        said,
        [json!({"role": "user"}), json!({"role": "assistant"})]
    );
}

#[tokio::test]
async fn a_turn_too_large_to_be_remembered_leaves_the_session_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let sessions = Sessions::new(dir.path());
    sessions.append("s", &[user("1")]).await.unwrap();
    let large = user(&"x".repeat(MAX_TURN_BYTES));
    assert!(sessions.append("s", &[large]).await.is_err());
    assert_eq!(sessions.history("s").await.unwrap(), [user("1")]);
}
