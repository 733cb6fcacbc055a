//! The harness itself: what every other test relies on.

use herm_e2e::{Container, Image, Volume, docker, wait_until};

fn sleeper() -> herm_e2e::Options {
    Container::of(&Image::herm_dev())
        .flag("--entrypoint=sleep")
        .command(&["infinity"])
}

/// Control that never worked for the real user once shipped, because its tests ran as root.
#[test]
fn l20_tests_act_as_the_service_user() {
    let container = sleeper().run();
    assert_eq!(
        container.exec(&["sh", "-c", "id -u; id -g"]).succeeds(),
        "10000\n10000"
    );
    assert_eq!(container.sh("id -u").succeeds(), "10000");
    assert_eq!(
        container.exec_with_input(&["id", "-u"], b"").succeeds(),
        "10000"
    );
    container
        .exec_follow(&["id", "-u"])
        .wait_for("the uid", |line| line == "10000");
    assert_eq!(
        container
            .exec_root("the other user there is", &["id", "-u"])
            .succeeds(),
        "0"
    );
}

#[test]
fn what_a_test_made_goes_with_it() {
    let (container_name, volume_name);
    {
        let volume = Volume::new();
        let container = sleeper().volume(&volume, "/opt/data").run();
        container.exec(&["touch", "/opt/data/made"]).succeeds();
        (container_name, volume_name) = (container.name().to_owned(), volume.name().to_owned());
        docker(&["volume", "inspect", &volume_name]).succeeds();
    }
    assert!(!docker(&["container", "inspect", &container_name]).is_success());
    assert!(!docker(&["volume", "inspect", &volume_name]).is_success());
}

#[test]
fn a_container_in_the_foreground_gives_its_exit_code_and_takes_input() {
    let shell = Container::of(&Image::herm_dev()).flag("--entrypoint=sh");
    assert_eq!(
        shell
            .clone()
            .command(&["-c", "exit 7"])
            .run_to_end()
            .exits(7),
        ""
    );
    assert_eq!(
        shell
            .command(&["-c", "cat"])
            .run_to_end_with_input(b"typed\n")
            .succeeds(),
        "typed"
    );
}

/// The image with Python has a server at hand.
#[test]
fn a_server_on_the_containers_loopback_is_asked_from_inside() {
    let server = ["-m", "http.server", "--bind", "127.0.0.1", "8000"];
    let container = Container::of(&Image::hermes())
        .flag("--entrypoint=python")
        .command(&server)
        .run();
    wait_until("the server answers", || {
        container.http_get(8000, "/").is_some()
    });
    assert_eq!(container.http_get(8000, "/docker/").unwrap().status, 200);
    assert_eq!(container.http_get(8000, "/none").unwrap().status, 404);
    assert!(
        container.http_get(9, "/").is_none(),
        "nothing listens there"
    );
}
