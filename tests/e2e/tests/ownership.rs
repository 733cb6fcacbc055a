//! Chapter 3.3: whose the home is.

use herm_e2e::{Container, HostDir, Image, Options, Volume};

const HOME: &str = "/opt/data";

fn dev() -> Options {
    Container::of(&Image::herm_dev())
}

#[test]
fn l26_only_herms_own_paths_change_owner_and_only_where_they_are_wrong() {
    let volume = Volume::new();
    let script = "
        mkdir -p profiles/p/sessions/deep cron workspace own-mount home
        touch profiles/p/SOUL.md profiles/p/sessions/deep/planted cron/job workspace/mine own-mount/mine home/mine top
        chown -R 10000:10000 . && chown 0:0 profiles/p/sessions/deep/planted top workspace/mine own-mount own-mount/mine home/mine
        echo x > config.yaml; echo x > .env; echo x > auth.json; chmod 666 config.yaml .env auth.json";
    let prepare = dev()
        .volume(&volume, HOME)
        .flag("--entrypoint=sh")
        .flag("--workdir=/opt/data")
        .command(&["-c", script])
        .run_to_end();
    prepare.succeeds();
    let container = Container::booted(&dev().volume(&volume, HOME));
    let at = |name: &str| format!("{HOME}/{name}");
    let owners = |names: &[&str]| {
        let paths: Vec<String> = names.iter().map(|name| at(name)).collect();
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        container.stat(&paths)
    };
    let given = owners(&["profiles/p/sessions/deep/planted", "top"]);
    assert_eq!(given, ["10000:10000 644", "10000:10000 644"]);
    for left in owners(&["workspace/mine", "own-mount", "own-mount/mine", "home/mine"]) {
        assert!(left.starts_with("0:0 "), "{left}");
    }
    let modes = owners(&["config.yaml", ".env", "auth.json"]);
    assert_eq!(
        modes,
        ["10000:10000 640", "10000:10000 600", "10000:10000 600"]
    );
    // L25: what `docker exec` as root leaves is found at the next boot, below correct parents.
    container
        .exec_root(
            "only root leaves root's files",
            &["touch", &at("profiles/p/sessions/deep/again")],
        )
        .succeeds();
    let would = container.exec_root("what setup would do", &["herm", "setup", "--dry-run"]);
    assert!(
        would.succeeds().contains("would change: give 1 entries"),
        "{would}"
    );
    assert_eq!(owners(&["profiles/p/sessions/deep/again"]), ["0:0 644"]);
    container.restart();
    container.wait_booted();
    assert_eq!(
        owners(&["profiles/p/sessions/deep/again"]),
        ["10000:10000 644"]
    );
    let logs = container.logs();
    assert!(
        logs.contains("setup: give 1 entries of the home to 10000:10000"),
        "{logs}"
    );
    let nothing = container.exec_root("setup again", &["herm", "setup", "--dry-run"]);
    assert_eq!(nothing.succeeds(), "setup: nothing to change");
}

/// The owners of a user's own mounts were destroyed on the host.
#[test]
fn l26_what_is_mounted_below_the_home_keeps_its_owner_on_the_host() {
    let mine = HostDir::new();
    mine.put("deep/file", "mine", 0o644);
    let volume = Volume::new();
    let options = dev()
        .volume(&volume, HOME)
        .flag(&mine.at("/opt/data/sessions/mine"))
        .flag(&mine.at("/opt/data/profiles/mine"));
    let container = Container::booted(&options);
    let below = [
        "sessions",
        "sessions/mine",
        "sessions/mine/deep/file",
        "profiles/mine/deep",
    ];
    let paths = below.map(|name| format!("{HOME}/{name}"));
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    let owners = container.stat(&paths);
    let owners: Vec<&str> = owners
        .iter()
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert_eq!(owners, ["10000:10000", "0:0", "0:0", "0:0"]);
    let logs = container.logs();
    assert!(logs.contains("setup: give 2 entries"), "{logs}");
}
