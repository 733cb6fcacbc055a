//! Chapters 1, 3 and 5: root's settings, the scripts at the end, and control groups where there are some.

use std::path::Path;

use herm_e2e::{Container, HostDir, Image, wait_until};
use serde_json::json;

fn mounted(from: &Path, at: &str, how: &str) -> String {
    format!("--volume={}:{at}{how}", from.display())
}

#[test]
fn roots_settings_are_followed_and_what_can_not_be_ends_the_boot() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("herm.toml");
    std::fs::write(&file, "[init]\nlog = \"debug\"\n[stop]\ngrace = 3\n").unwrap();
    let settings = mounted(&file, "/etc/herm/herm.toml", ":ro");
    let container = Container::of(&Image::herm_dev())
        .flag(&settings)
        .command(&["sleep", "infinity"])
        .run();
    container.wait_booted();
    // Reaping an orphan is told at debug only.
    container
        .exec(&["sh", "-c", "setsid true & true"])
        .succeeds();
    wait_until("something is told at debug", || {
        container.logs().contains("reaped orphan")
    });
    drop(container);

    std::fs::write(&file, "[init]\nlog = \"debug\"\nstop_timeuot = 3\n").unwrap();
    let ended = Container::of(&Image::herm_dev())
        .flag(&settings)
        .flag("--rm")
        .command(&["true"])
        .run_to_end();
    ended.exits(78);
    let wanted =
        "line 3: there is no setting 'init.stop_timeuot'; did you mean 'init.stop_timeout'?";
    assert!(ended.stderr.contains(wanted), "{ended:?}");
}

#[test]
fn the_scripts_at_the_end_run_in_order_inside_the_budget_and_overruns_are_named() {
    let scripts = HostDir::new();
    scripts
        .put_script("10-first", "echo goodbye from $0; exit 4")
        .put_script("20-slow", "exec sleep 60")
        .put_script("30-late", "echo too late");
    let ended = Container::of(&Image::herm_dev())
        .flag(&scripts.at("/etc/cont-finish.d"))
        .flag("--rm")
        .env("HERM_STOP_TIMEOUT", "2")
        .command(&["sh", "-c", "exit 9"])
        .run_to_end();
    // The scripts don't change it.
    ended.exits(9);
    let said = format!("{}{}", ended.stdout, ended.stderr);
    for wanted in [
        "goodbye from /etc/cont-finish.d/10-first",
        "10-first failed: exit 4",
        "20-slow was not done within",
        "30-late is not run: the budget of the stop is spent",
    ] {
        assert!(said.contains(wanted), "{wanted:?} is missing: {said}");
    }
    assert!(!said.contains("too late"), "{said}");
}

/// Where the host shows a cgroup v2 hierarchy that may be written.
fn host_hierarchy() -> Option<String> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let found = mounts.lines().find_map(|line| {
        let (mount, rest) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(4);
        let (path, options) = (fields.next()?, fields.next()?);
        let is_ours = rest.starts_with("cgroup2 ") && options.split(',').any(|o| o == "rw");
        is_ours.then(|| path.to_owned())
    });
    if found.is_none() {
        eprintln!("skipped: no writable cgroup v2 on this host");
    }
    found
}

#[test]
fn with_a_cgroup_of_its_own_a_container_ends_and_measures_whole_services() {
    let Some(hierarchy) = host_hierarchy() else {
        return;
    };
    let container = Container::of(&Image::herm_dev())
        .flag("--cgroupns=host")
        .flag(&mounted(Path::new(&hierarchy), &hierarchy, ""))
        .command(&["sleep", "infinity"])
        .run();
    container.wait_booted();
    let report = container.control(10_000, &json!({"op": "boot"}));
    let features = report["ok"]["features"].as_array().unwrap();
    let feature = features.iter().find(|feature| feature["name"] == "cgroups");
    if feature.unwrap()["available"] != true {
        eprintln!("skipped: {feature:?}");
        return;
    }
    let script = "env -i /usr/bin/setsid sh -c 'sleep 4242 >/dev/null 2>&1 </dev/null & exit' ; \
                  exec sleep 2000";
    let spec =
        json!({"name": "a", "kind": "service", "argv": ["sh", "-c", script], "initial": "up"});
    let answer = container.control(10_000, &json!({"op": "register", "spec": spec}));
    assert!(answer["ok"].is_object(), "{answer}");
    let fugitive = || !container.processes("sleep 4242").is_empty();
    wait_until("the fugitive is out", fugitive);
    let view = container.service("a").unwrap();
    assert!(view["memory_bytes"].as_u64().unwrap() > 0, "{view}");
    container.exec(&["herm", "service", "stop", "a"]).succeeds();
    assert!(!fugitive(), "it went with its service");
}
