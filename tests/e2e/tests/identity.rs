//! Chapter 3.3: who the agents are: ids that are remapped, and a mounted Docker socket.

use std::os::unix::fs::chown;
use std::os::unix::net::UnixListener;

use herm_e2e::{Container, HostDir, Image, Options, Volume};

const HOME: &str = "/opt/data";

fn dev() -> Options {
    Container::of(&Image::herm_dev())
}

#[test]
fn the_service_user_is_remapped_in_its_own_lines_and_a_taken_group_is_allowed() {
    let volume = Volume::new();
    let run = |flags: &[&str], variables: &[(&str, &str)], script: &str| {
        let options = dev().volume(&volume, HOME).command(&["sh", "-c", script]);
        let options = flags
            .iter()
            .fold(options, |options, flag| options.flag(flag));
        let options = variables
            .iter()
            .fold(options, |options, (name, value)| options.env(name, value));
        options.run_to_end()
    };
    let before = run(&[], &[], "cat /etc/passwd /etc/group").stdout;
    // The lines of others, and of the main program: herm's own have blanks.
    let ids = [("HERMES_UID", "1234"), ("HERMES_GID", "29"), ("PUID", "77")];
    let after = run(
        &[],
        &ids,
        "cat /etc/passwd /etc/group; id -u; id -g; id -un; stat -c %u:%g /opt/data /opt/data/logs /opt/data/cron",
    );
    let lines = |text: &str| -> Vec<String> {
        let herms = |line: &&str| !line.starts_with("hermes:") && !line.contains("setup: ");
        text.lines().filter(herms).map(str::to_owned).collect()
    };
    let (before, after_lines) = (lines(&before), lines(&after.stdout));
    let others: Vec<&String> = before.iter().filter(|line| line.contains(":x:")).collect();
    assert!(
        others.len() > 10 && others.iter().all(|line| after_lines.contains(line)),
        "{after}"
    );
    assert!(after.stdout.contains("hermes:x:1234:29:"), "{after}");
    let has = |wanted: &str| after.stdout.lines().filter(|line| *line == wanted).count();
    assert_eq!(
        (has("1234"), has("29"), has("hermes")),
        (1, 1, 1),
        "{after}"
    );
    assert_eq!(has("1234:29"), 3, "{after}");
    // Where the files can't be written, the ids are numbers.
    let read_only = ["--read-only", "--tmpfs=/run"];
    let numeric = run(
        &read_only,
        &[("PUID", "4000"), ("PGID", "4001")],
        "id -u; id -g",
    );
    let told: Vec<&str> = numeric
        .stdout
        .lines()
        .filter(|line| line.len() == 4)
        .collect();
    assert_eq!(told, ["4000", "4001"], "{numeric}");
    assert!(
        numeric.stderr.contains("the ids are used as numbers"),
        "{numeric}"
    );
}

#[test]
fn an_id_that_can_not_be_is_a_message_and_exit_78() {
    for (name, value) in [
        ("HERMES_UID", "0"),
        ("HERMES_GID", "65535"),
        ("PUID", "4294967295"),
        ("PGID", "staff"),
    ] {
        let ended = dev().env(name, value).command(&["true"]).run_to_end();
        let said = format!("{}{}", ended.stdout, ended.stderr);
        assert!(said.contains(&format!("{name}=\"{value}\"")), "{ended}");
        ended.exits(78);
    }
}

#[test]
fn a_docker_socket_is_shared_only_when_asked_and_said_to_make_root() {
    let dir = HostDir::new();
    let socket = dir.path("docker.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    chown(&socket, Some(0), Some(4242)).unwrap();
    let mount = format!("--volume={}:/var/run/docker.sock", socket.display());
    let run = |asked: &str| {
        dev()
            .flag(&mount)
            .env("HERM_DOCKER_SOCKET", asked)
            .command(&["id", "-G"])
            .run_to_end()
    };
    let shared = run("1");
    assert!(shared.stdout.contains("4242"), "{shared}");
    assert!(shared.stderr.contains("root on the host"), "{shared}");
    let not = run("0");
    assert!(!not.stdout.contains("4242"), "{not}");
}
