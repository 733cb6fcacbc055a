//! Chapter 3.3: the scripts of `/etc/cont-init.d`.

use herm_e2e::{Container, HostDir, Image, Options, Volume};

fn dev() -> Options {
    Container::of(&Image::herm_dev())
}

#[test]
fn l89_a_script_that_fails_shows_in_the_status_and_stops_the_boot_where_the_policy_says_so() {
    let hooks = HostDir::new();
    hooks.put_script("01-first", "echo first >> /tmp/order");
    hooks.put_script("02-bad", "exit 7");
    hooks.put_script("03-last", "echo last >> /tmp/order");
    hooks.put("04-no-exec", "#!/bin/sh\n", 0o644);
    hooks.put(".hidden", "#!/bin/sh\nexit 9\n", 0o755);
    let options = dev().flag(&hooks.at("/etc/cont-init.d"));
    let container = Container::booted(&options);
    let order = container.exec_root("what is root's is looked at", &["cat", "/tmp/order"]);
    assert_eq!(order.succeeds(), "first\nlast");
    let status = container.sh("herm status").stdout;
    assert!(
        status.contains("Boot: /etc/cont-init.d/02-bad failed"),
        "{status}"
    );
    let json = container.exec(&["herm", "status", "--json"]).json();
    let failed = json["boot"]["failed"].as_array().unwrap();
    let names: Vec<&str> = failed
        .iter()
        .filter_map(|step| step["name"].as_str())
        .collect();
    assert_eq!(
        names,
        ["/etc/cont-init.d/02-bad", "/etc/cont-init.d/04-no-exec"]
    );
    let stopped = options
        .clone()
        .env("S6_BEHAVIOUR_IF_STAGE2_FAILS", "2")
        .command(&["echo", "the main program ran"])
        .run_to_end();
    assert!(
        !stopped.stdout.contains("the main program ran"),
        "{stopped}"
    );
    stopped.exits(1);
}

/// A migration stripped `.env` at every start.
#[test]
fn l54_a_script_that_strips_the_settings_leaves_a_copy_and_is_named() {
    let hooks = HostDir::new();
    hooks.put_script("02-migrate", "echo '# migrated' > /opt/data/.env");
    let volume = Volume::new();
    let options = dev()
        .volume(&volume, "/opt/data")
        .flag(&hooks.at("/etc/cont-init.d"));
    let container = Container::booted(&options);
    for _ in 0..2 {
        container
            .sh("umask 077; rm -f /opt/data/.env; echo TOKEN=mine > /opt/data/.env")
            .succeeds();
        container.restart();
        container.wait_booted();
    }
    assert_eq!(container.sh("cat /opt/data/.env").succeeds(), "# migrated");
    let copies =
        container.sh("cd /opt/data/.herm/backups && stat -c '%n %U %a' .env.* && cat .env.*");
    let copies: Vec<&str> = copies.succeeds().lines().collect();
    assert!(
        copies.len() == 2 && copies[0].ends_with(" hermes 600") && copies[1] == "TOKEN=mine",
        "{copies:?}"
    );
    let doctor = container.exec(&["herm", "doctor"]).stdout;
    let told = "/etc/cont-init.d/02-migrate changed .env of the home; as it was before, it is kept as .herm/backups/.env.";
    assert!(
        doctor.contains(told) && container.logs().contains(told),
        "{doctor}"
    );
    assert!(!doctor.contains("mine"), "{doctor}");
}

#[test]
fn l51_a_script_that_hangs_is_named_and_ended_where_a_limit_is_set() {
    let hooks = HostDir::new();
    hooks.put_script("01-hangs", "exec sleep infinity");
    let container = Container::booted(
        &dev()
            .flag(&hooks.at("/etc/cont-init.d"))
            .env("HERM_SETUP_TIMEOUT", "1"),
    );
    let logs = container.logs();
    assert!(
        logs.contains("/etc/cont-init.d/01-hangs failed: not done after 1 s"),
        "{logs}"
    );
}

#[test]
fn a_home_is_left_as_it_is_where_setup_is_off_and_hooks_run_all_the_same() {
    let hooks = HostDir::new();
    hooks.put_script("01", "touch /tmp/hook");
    let off = dev()
        .env("HERM_SETUP", "0")
        .flag(&hooks.at("/etc/cont-init.d"))
        .flag("--tmpfs=/opt/data:mode=1777")
        .command(&["sh", "-c", "ls -A /opt/data; test -e /tmp/hook"])
        .run_to_end();
    off.succeeds();
    assert!(!off.stdout.contains("cron"), "{off}");
    assert!(!off.stderr.contains("setup: "), "{off}");
}

/// An image without a home has scripts, services and a CMD all the same.
#[test]
fn without_a_home_none_is_prepared_and_the_rest_of_the_boot_is_what_it_is() {
    let hooks = HostDir::new();
    hooks.put_script("01", "touch /tmp/hook");
    let script = "herm service add one --start -- sleep 1000; ls -A /opt/data; id -u; test -e /tmp/hook && exit 5";
    let run = dev()
        .env("HERMES_HOME", "")
        .env("HERM_LOG_STDOUT", "none")
        .flag(&hooks.at("/etc/cont-init.d"))
        .command(&["sh", "-c", script])
        .run_to_end();
    let told = run.exits(5);
    assert!(
        told.starts_with("one: running") && told.ends_with("\n0"),
        "{run}"
    );
    assert_eq!(told.lines().count(), 2, "{run}");
    assert!(!run.stderr.contains("setup: "), "{run}");
}
