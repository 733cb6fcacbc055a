//! Chapter 8: an image made for s6-overlay runs when herm's archive takes the place of its own.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use herm_e2e::{Container, Image, docker, repository, run, wait_until};

/// Builds the sample as its user would: from a base image, with one line for the archive.
pub(crate) fn image() -> &'static Image {
    static IMAGE: OnceLock<Image> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let context = tempfile::tempdir().unwrap();
        let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("images/dropin");
        let copied = Command::new("cp")
            .arg("-r")
            .arg(sample.join("."))
            .arg(context.path())
            .status();
        assert!(copied.unwrap().success());
        let sums = std::fs::read_to_string(repository().join("dist/SHA256SUMS"))
            .expect("run `cargo xtask dist` first");
        let name = sums
            .split_whitespace()
            .nth(1)
            .expect("a line is a sum and a name");
        let archive = context.path().join("herm.tar.gz");
        std::fs::copy(repository().join("dist").join(name), archive).unwrap();
        let bases = ["debian:12-slim", "herm-base:bookworm"];
        let has = |base: &&&str| docker(&["image", "inspect", base]).is_success();
        let base = bases
            .iter()
            .find(has)
            .expect("`cargo xtask image` makes a base image");
        let tag = format!(
            "herm-dropin:{}",
            std::env::var("HERM_IMAGE_TAG").unwrap_or("dev".to_owned())
        );
        let mut build = Command::new("docker");
        build.args(["build", "--quiet", "--tag", &tag]);
        build
            .arg(format!("--build-arg=BASE_IMAGE={base}"))
            .arg(context.path());
        run(&mut build).succeeds();
        Image::named(&tag)
    })
}

/// The container with all its services up.
fn started() -> Container {
    let container = Container::of(image()).command(&["sleep", "1000"]).run();
    wait_until("the services are up", || {
        let list = root(&container, "s6-rc -a list");
        ["prepare", "web", "echo", "echo-log"]
            .iter()
            .all(|name| list.lines().any(|line| line == *name))
    });
    container
}

pub(crate) fn root(container: &Container, script: &str) -> String {
    let script = format!("PATH=/command:$PATH; {script}");
    let done = container.exec_root("the image has no other user", &["sh", "-c", &script]);
    done.stdout.trim_end().to_owned()
}

#[test]
fn five_services_of_three_kinds_run_in_their_order() {
    let container = started();
    let logs = container.logs();
    let place = |text: &str| {
        logs.find(text)
            .unwrap_or_else(|| panic!("no {text:?} in {logs}"))
    };
    assert!(place("init sees hi") < place("prepare up"), "{logs}");
    assert!(place("prepare up") < place("web up hi hello"), "{logs}");
    assert_eq!(root(&container, "cat /proc/1/comm"), "s6-svscan");
    assert!(root(&container, "s6-svstat /run/service/web").contains(", ready "));
    assert!(root(&container, "s6-svstat /run/service/spare").starts_with("down"));
}

#[test]
fn what_a_service_prints_comes_out_as_it_is_unless_the_container_is_told_otherwise() {
    let line_of_web = |style: &[(&str, &str)]| {
        let mut options = Container::of(image()).command(&["sleep", "1000"]);
        for (name, value) in style {
            options = options.env(name, value);
        }
        let container = options.run();
        let find = |logs: String| {
            logs.lines()
                .find(|l| l.contains("web up hi"))
                .map(str::to_owned)
        };
        wait_until("web says that it is up", || {
            find(container.logs()).is_some()
        });
        find(container.logs()).unwrap()
    };
    assert_eq!(line_of_web(&[]), "web up hi hello");
    assert_eq!(
        line_of_web(&[("HERM_LOG_STDOUT", "prefix")]),
        "web | web up hi hello"
    );
}

#[test]
fn what_a_service_prints_reaches_its_logger() {
    let container = started();
    wait_until("both loggers have written", || {
        let log = root(&container, "cat /run/old-log/current /var/log/echo/current");
        log.contains("  ticked") && log.contains("  tick\n")
    });
    let owner = root(&container, "stat -c %U /var/log/echo/current");
    assert_eq!(owner, "nobody");
}

#[test]
fn services_go_up_and_down_with_what_they_need() {
    let container = started();
    root(&container, "s6-rc -d change prepare");
    let list = root(&container, "s6-rc -a list");
    assert!(!list.contains("web") && !list.contains("prepare"), "{list}");
    assert!(container.logs().contains("prepare down"));
    root(&container, "s6-rc -u change web spare");
    let list = root(&container, "s6-rc -a list");
    assert!(
        ["web", "prepare", "spare"]
            .iter()
            .all(|name| list.contains(name)),
        "{list}"
    );
    assert_eq!(root(&container, "s6-rc change nonsense; echo $?"), "3");
    assert_eq!(
        root(
            &container,
            "s6-rc-db type prepare; s6-rc-db -d dependencies prepare"
        ),
        "oneshot\nweb"
    );
}

#[test]
fn a_script_leaves_the_exit_code_and_halts() {
    let container = started();
    root(
        &container,
        "echo 42 > /run/s6-linux-init-container-results/exitcode; /run/s6/basedir/bin/halt",
    );
    assert_eq!(container.wait(), 42);
    let logs = container.logs();
    let place = |text: &str| {
        logs.find(text)
            .unwrap_or_else(|| panic!("no {text:?} in {logs}"))
    };
    assert!(
        place("web: killed by SIGTERM") < place("prepare: SIGTERM"),
        "{logs}"
    );
}

#[test]
fn the_main_programs_exit_code_is_the_containers_and_a_restart_is_a_fresh_boot() {
    let code = Container::of(image())
        .command(&["sh", "-c", "exit 7"])
        .run_to_end();
    code.exits(7);
    let container = started();
    container.restart();
    wait_until("the services are up again", || {
        root(&container, "s6-rc -a list").contains("web")
    });
}
