//! Chapter 3.2: the environment as it is recorded, and who may read it.

use herm_e2e::{Container, HostDir, Image, Options, wait_until};

fn dev() -> Options {
    Container::of(&Image::herm_dev())
}

#[test]
fn l84_the_environment_is_recorded_whole_and_read_by_the_service_user_alone() {
    let hooks = HostDir::new();
    hooks.put_script(
        "01-look",
        "printf '%s|%s' \"$TOKEN\" \"$HERM_CMD\" > /tmp/seen-by-root",
    );
    let dir = "/run/s6/container_environment";
    let container = Container::booted(
        &dev()
            .env("PLAIN", "x y")
            .env("EMPTY", "")
            .env("LINES", "a\nb\n")
            .env("TOKEN", "secret")
            .env("HERM_ROOT_ENV", "TOKEN")
            .flag(&hooks.at("/etc/cont-init.d"))
            .command(&["sh", "-c", "env -0 > /tmp/env && exec sleep infinity"]),
    );
    let seen = container.stat(&[dir, &format!("{dir}/PLAIN")]);
    assert_eq!(seen, ["0:10000 750", "0:10000 640"]);
    let read = |name: &str| container.sh(&format!("cat {dir}/{name}; echo .")).stdout;
    assert_eq!(read("PLAIN"), "x y.\n");
    assert_eq!(read("EMPTY"), ".\n");
    assert_eq!(read("LINES"), "a\nb\n.\n");
    assert!(!container.sh(&format!("echo z > {dir}/PLAIN")).is_success());
    assert!(!container.sh(&format!("touch {dir}/NEW")).is_success());
    let stranger = container.exec_with(&["--user", "4321:4321"], &["ls", dir], b"");
    assert!(!stranger.is_success(), "{stranger}");
    assert!(!container.sh(&format!("test -e {dir}/TOKEN")).is_success());
    // The main program has what users have, the hook what root has, and the CMD (L52).
    wait_until("the main program has told", || {
        container.sh("test -s /tmp/env").is_success()
    });
    let main = container.sh("tr '\\0' ';' < /tmp/env").stdout;
    assert!(
        main.contains("PLAIN=x y;") && main.contains("EMPTY=;"),
        "{main}"
    );
    assert!(
        main.contains("LINES=a\nb\n;") && !main.contains("secret"),
        "{main}"
    );
    let hook = container.exec_root("what is root's is looked at", &["cat", "/tmp/seen-by-root"]);
    let hook = hook.succeeds();
    assert!(hook.starts_with("secret|[\"sh\",\"-c\","), "{hook}");
}

#[test]
fn the_environment_is_anybodys_in_an_image_without_a_service_user_and_nobody_elses_without_root() {
    let list = "stat -c '%u %a' /run/s6/container_environment";
    let drop_in = dev()
        .env("HERM_USER", "nobody-here")
        .env("PLAIN", "x")
        .command(&["sh", "-c", list])
        .run_to_end();
    assert!(drop_in.stdout.contains("0 755"), "{drop_in}");
    let said = format!("{}{}", drop_in.stdout, drop_in.stderr);
    assert!(said.contains("readable by everyone"), "{drop_in}");
    let unprivileged = dev()
        .flag("--user=1234:5678")
        .flag("--tmpfs=/run:uid=1234")
        .flag("--tmpfs=/opt/data:uid=1234")
        .command(&["sh", "-c", list])
        .run_to_end();
    assert!(unprivileged.stdout.contains("1234 700"), "{unprivileged}");
    let kept = dev()
        .env("S6_KEEP_ENV", "1")
        .command(&["test", "-e", "/run/s6/container_environment"])
        .run_to_end();
    kept.exits(1);
}
