//! Chapter 3.3: what a home is given: seeds, a key, stamps, skills, a place for late installs.

use herm_e2e::{Container, HostDir, Image, Options, Volume, wait_until};

const HOME: &str = "/opt/data";

fn dev() -> Options {
    Container::of(&Image::herm_dev())
}

#[test]
fn a_home_is_seeded_once_and_a_rotated_token_is_never_overwritten() {
    let image = HostDir::new();
    image
        .put(".env.example", "API_SERVER_ENABLED=true\n", 0o644)
        .put("cli-config.yaml.example", "model: x\n", 0o644)
        .put("docker/SOUL.md", "soul\n", 0o644)
        .put(".install_method", "docker\n", 0o644)
        .put("skills/cat/s/SKILL.md", "---\nname: one\n---\n", 0o644);
    let volume = Volume::new();
    let options = dev()
        .volume(&volume, HOME)
        .flag(&image.at("/image"))
        .env("HERM_INSTALL_DIR", "/image")
        .env("HERMES_AUTH_JSON_BOOTSTRAP", "{\"token\":1}");
    let first = Container::booted(&options);
    let cat = |container: &Container, name: &str| {
        container
            .sh(&format!("cat {HOME}/{name}"))
            .succeeds()
            .to_owned()
    };
    let seeds =
        [".env", "auth.json", "config.yaml", "SOUL.md"].map(|name| format!("{HOME}/{name}"));
    let seeds: Vec<&str> = seeds.iter().map(String::as_str).collect();
    let modes = ["600", "600", "640", "644"].map(|mode| format!("10000:10000 {mode}"));
    assert_eq!(first.stat(&seeds), modes);
    assert_eq!(cat(&first, "SOUL.md"), "soul");
    assert_eq!(cat(&first, "config.yaml"), "model: x");
    assert_eq!(cat(&first, "auth.json"), "{\"token\":1}");
    let env = cat(&first, ".env");
    let key = env
        .lines()
        .find_map(|line| line.strip_prefix("API_SERVER_KEY="));
    assert!(key.is_some_and(|key| key.len() >= 32), "{env}");
    assert!(
        !first.logs().contains(key.unwrap()),
        "a secret is in the log"
    );
    assert_eq!(cat(&first, "skills/cat/s/SKILL.md"), "---\nname: one\n---");
    assert!(cat(&first, "skills/.bundled_manifest").starts_with("one:"));
    let skills = first.stat(&["/opt/data/skills/cat/s/SKILL.md"]);
    assert!(skills[0].starts_with("10000:10000"), "{skills:?}");
    first
        .sh(&format!(
            "cd {HOME} && echo rotated > auth.json && echo docker > .install_method && rm -r skills/cat"
        ))
        .succeeds();
    image.put("skills/cat/s/SKILL.md", "---\nname: one\n---\nnew", 0o644);
    first.restart();
    first.wait_booted();
    assert_eq!(cat(&first, "auth.json"), "rotated");
    assert_eq!(cat(&first, ".env"), env);
    assert!(
        !first
            .sh(&format!("test -e {HOME}/.install_method"))
            .is_success()
    );
    assert!(!first.sh(&format!("test -e {HOME}/skills/cat")).is_success());
    assert!(
        first.logs().contains("setup: remove .install_method"),
        "{}",
        first.logs()
    );
}

/// A container whose image brings along what is in a directory, on a volume.
fn booted_with(image: &HostDir, volume: &Volume) -> Container {
    let options = dev()
        .volume(volume, HOME)
        .flag(&image.at("/image"))
        .env("HERM_INSTALL_DIR", "/image");
    Container::booted(&options)
}

/// A key alone would switch the agent's server on.
#[test]
fn no_key_is_made_where_the_api_server_is_off_and_no_stamp_is_removed_where_the_image_has_none() {
    let image = HostDir::new();
    image.put(".env.example", "API_SERVER_ENABLED=false\n", 0o644);
    let volume = Volume::new();
    let container = booted_with(&image, &volume);
    let stamp = format!("echo docker > {HOME}/.install_method");
    container.sh(&stamp).succeeds();
    container.restart();
    container.wait_booted();
    let left = container.sh(&format!("cat {HOME}/.env {HOME}/.install_method"));
    assert_eq!(left.succeeds(), "API_SERVER_ENABLED=false\ndocker");
}

#[test]
fn skills_follow_the_image_but_where_the_user_has_changed_or_removed_them() {
    let image = HostDir::new();
    let skill = |name: &str, words: &str| {
        let text = format!("---\nname: {name}\n---\n{words}\n");
        image.put(&format!("skills/cat/{name}/SKILL.md"), &text, 0o644);
    };
    for name in ["untouched", "changed", "removed", "vanished"] {
        skill(name, "old");
    }
    let volume = Volume::new();
    let container = booted_with(&image, &volume);
    let edit = "cd /opt/data/skills/cat && echo mine >> changed/SKILL.md && rm -r removed";
    container.sh(edit).succeeds();
    for name in ["untouched", "changed", "removed", "new"] {
        skill(name, "fresh");
    }
    std::fs::remove_dir_all(image.path("skills/cat/vanished")).unwrap();
    container.restart();
    container.wait_booted();
    let words = container.sh("cd /opt/data/skills/cat && tail -q -n 1 */SKILL.md && ls");
    let words: Vec<&str> = words.succeeds().lines().collect();
    let expected = [
        "mine",
        "fresh",
        "fresh",
        "old",
        "changed",
        "new",
        "untouched",
        "vanished",
    ];
    assert_eq!(words, expected);
    let manifest = container.sh("cut -d: -f1 /opt/data/skills/.bundled_manifest | sort");
    let names: Vec<&str> = manifest.succeeds().lines().collect();
    assert_eq!(names, ["changed", "new", "removed", "untouched"]);
}

#[test]
fn lazy_installs_go_into_the_home_or_where_they_are_asked_to_go() {
    let image = HostDir::new();
    image.put(".venv/lib/x.py", "", 0o644);
    let run = |target: Option<&str>, script: &str| {
        let options = dev()
            .flag(&image.at("/image"))
            .env("HERM_INSTALL_DIR", "/image")
            .env("HERMES_UID", "1234")
            .command(&["sh", "-c", script]);
        let options = match target {
            Some(target) => options.env("HERMES_LAZY_INSTALL_TARGET", target),
            None => options,
        };
        options.run_to_end().stdout
    };
    let told = run(None, "echo target=$HERMES_LAZY_INSTALL_TARGET");
    assert!(told.contains("target=/opt/data/lazy-packages"), "{told}");
    let owners = "stat -c 'owner %u' /image/.venv/lib/x.py /image/.venv; echo target=$HERMES_LAZY_INSTALL_TARGET";
    let elsewhere = run(Some("/opt/other"), owners);
    // Lines of the keeper's may come between.
    let says = |told: &str, line: &str| told.lines().filter(|told| *told == line).count();
    assert_eq!(says(&elsewhere, "owner 0"), 2, "{elsewhere}");
    assert_eq!(says(&elsewhere, "target=/opt/other"), 1, "{elsewhere}");
    let given = run(Some("/image/.venv"), owners);
    assert_eq!(says(&given, "owner 1234"), 2, "{given}");
    assert_eq!(says(&given, "target=/image/.venv"), 1, "{given}");
}

#[test]
fn an_odd_profile_directory_is_warned_of_once() {
    let volume = Volume::new();
    dev()
        .volume(&volume, HOME)
        .flag("--entrypoint=mkdir")
        .command(&["-p", "/opt/data/profiles/default"])
        .run_to_end()
        .succeeds();
    let container = Container::booted(&dev().volume(&volume, HOME));
    wait_until("the keeper has made a pass", || {
        container.service("gateway-default").is_some()
    });
    container.exec(&["herm", "reconcile"]).succeeds();
    let logs = container.logs();
    let warned = |line: &&str| line.contains("reconcile: default: ");
    assert_eq!(logs.lines().filter(warned).count(), 1, "{logs}");
    assert!(
        logs.contains("profile=default prior_state=None action=skipped"),
        "{logs}"
    );
}
