//! Profiles made, copied, renamed and deleted in a home on disk, through the public interface.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use herm_home::claims::{self, Needs};
use herm_home::dotenv::Dotenv;
use herm_home::ports::{self, Ports};
use herm_home::profile::{
    self, CreateOptions, Source, begin_delete, begin_rename, create, finish_delete, give_up_rename,
    is_deleting, is_fresh, mend_rename, rename,
};
use herm_home::{Desired, Home, HomeError, ProfileName, discover, intent};

struct World {
    _dir: tempfile::TempDir,
    home: Home,
}

fn world() -> World {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::new(dir.path());
    World { _dir: dir, home }
}

fn name(text: &str) -> ProfileName {
    ProfileName::parse(text).unwrap()
}

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_795_202_464)
}

impl World {
    fn make(&self, text: &str, options: &CreateOptions) -> Vec<String> {
        create(&self.home, &name(text), options, now())
            .unwrap()
            .notes
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.home.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.home.root().join(path)).unwrap()
    }

    fn has(&self, path: &str) -> bool {
        self.home.root().join(path).symlink_metadata().is_ok()
    }

    fn names(&self) -> Vec<String> {
        discover(&self.home)
            .unwrap()
            .profiles
            .iter()
            .map(ToString::to_string)
            .collect()
    }
}

fn from(source: &str) -> CreateOptions {
    CreateOptions {
        source: Source::Config(name(source)),
        ..CreateOptions::default()
    }
}

fn all_from(source: &str) -> CreateOptions {
    CreateOptions {
        source: Source::All(name(source)),
        ..CreateOptions::default()
    }
}

#[test]
fn a_new_profile_has_a_soul_and_its_directories_and_no_orders() {
    let world = world();
    world.make("a", &CreateOptions::default());
    assert_eq!(world.names(), ["default", "a"]);
    for seeded in [
        "SOUL.md",
        "skills",
        "memories",
        "home",
        "workspace",
        "logs",
        "hooks",
    ] {
        assert!(world.has(&format!("profiles/a/{seeded}")), "{seeded}");
    }
    for absent in [
        "config.yaml",
        ".env",
        "gateway_state.json",
        ".no-bundled-skills",
    ] {
        assert!(!world.has(&format!("profiles/a/{absent}")), "{absent}");
    }
    assert_eq!(intent::peek(&world.home.profile(&name("a"))).unwrap(), None);
}

#[test]
fn a_description_and_the_refusal_of_skills_are_kept_as_the_agent_keeps_them() {
    let world = world();
    let text = "writes: \"things\"\nand #more";
    let options = CreateOptions {
        no_skills: true,
        description: Some(text.into()),
        soul: Some(b"be brief".to_vec()),
        ..CreateOptions::default()
    };
    world.make("a", &options);
    assert_eq!(world.read("profiles/a/SOUL.md"), "be brief");
    assert!(world.has("profiles/a/.no-bundled-skills"));
    let shown = profile::show(&world.home, &name("a")).unwrap();
    assert_eq!(
        (shown.description.as_deref(), shown.no_skills),
        (Some(text), true)
    );
}

#[test]
fn what_can_not_be_created_leaves_nothing() {
    let world = world();
    world.make("a", &CreateOptions::default());
    world.write("profiles/stray/notes.txt", "someone's");
    let refuse = |text: &str, options: &CreateOptions| {
        create(&world.home, &name(text), options, now()).unwrap_err()
    };
    assert!(matches!(
        refuse("a", &CreateOptions::default()),
        HomeError::Exists { .. }
    ));
    assert!(matches!(
        refuse("stray", &CreateOptions::default()),
        HomeError::Exists { .. }
    ));
    assert_eq!(refuse("default", &CreateOptions::default()).exit_code(), 2);
    assert_eq!(refuse("b", &from("nobody")).exit_code(), 4);
    assert_eq!(
        refuse(
            "b",
            &CreateOptions {
                no_skills: true,
                ..from("a")
            }
        )
        .exit_code(),
        2
    );
    let entries = fs::read_dir(world.home.profiles_dir()).unwrap().count();
    assert_eq!(entries, 2, "a and stray, and no work in progress");
}

#[test]
fn l53_a_clone_shares_keys_and_never_tokens_or_ports() {
    let world = world();
    world.write("SOUL.md", "soul");
    world.write("config.yaml", "model: m # mine\n");
    world.write(
        ".env",
        "OPENROUTER_API_KEY=shared\nTELEGRAM_BOT_TOKEN=1:x\nAPI_SERVER_ENABLED=true\nAPI_SERVER_KEY=the-default-profiles-key\nAPI_SERVER_PORT=8642\n",
    );
    world.write("memories/MEMORY.md", "remember");
    world.write("skills/s/SKILL.md", "skill");
    world.write("auth.json", "{}");
    world.write("gateway_state.json", "{}");
    let notes = world.make("a", &from("default"));

    assert_eq!(world.read("profiles/a/SOUL.md"), "soul");
    assert_eq!(world.read("profiles/a/config.yaml"), "model: m # mine\n");
    assert_eq!(world.read("profiles/a/memories/MEMORY.md"), "remember");
    assert_eq!(world.read("profiles/a/skills/s/SKILL.md"), "skill");
    assert!(!world.has("profiles/a/auth.json") && !world.has("profiles/a/gateway_state.json"));

    let env = Dotenv::parse(world.read("profiles/a/.env").as_bytes());
    let get = |key: &str| env.get(key).map(|value| value.expose().to_owned());
    assert_eq!(get("OPENROUTER_API_KEY").as_deref(), Some("shared"));
    assert_eq!(get("TELEGRAM_BOT_TOKEN"), None);
    assert!(env.is_true("API_SERVER_ENABLED"));
    let port = ports::recorded(&world.home.profile(&name("a")))
        .unwrap()
        .unwrap();
    assert_eq!(get("API_SERVER_PORT"), Some(port.to_string()));
    assert_eq!(get("API_SERVER_KEY").unwrap().len(), 64);
    let mode = fs::metadata(world.home.root().join("profiles/a/.env"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(
        notes.iter().any(|note| note.contains("TELEGRAM_BOT_TOKEN")),
        "{notes:?}"
    );
    assert!(!format!("{notes:?}").contains("1:x"));

    let source = Needs::of(&Dotenv::parse(world.read(".env").as_bytes()), None);
    let copy = Needs::of(&env, None);
    claims::update(&world.home, now(), |claims| {
        claims.claim(&name("default"), source).unwrap();
        claims
            .claim(&name("a"), copy)
            .expect("source and clone can run side by side");
    })
    .unwrap();
}

#[test]
fn a_full_clone_brings_everything_but_history_identity_and_runtime_files() {
    let world = world();
    world.make("src", &CreateOptions::default());
    for (path, content) in [
        ("cron/jobs.json", "[]"),
        ("workspace/deep/er/file", "w"),
        ("workspace/x.sock", "s"),
        ("state.db", "history"),
        ("sessions/1.json", "history"),
        ("platforms/whatsapp/session/creds", "identity"),
        ("auth.json", "{}"),
        ("gateway.pid", "1"),
        (".herm/desired.json", "{}"),
    ] {
        world.write(&format!("profiles/src/{path}"), content);
    }
    symlink(
        "file",
        world.home.root().join("profiles/src/workspace/deep/link"),
    )
    .unwrap();
    let notes = world.make("copy", &all_from("src"));
    for there in [
        "cron/jobs.json",
        "workspace/deep/er/file",
        "workspace/deep/link",
        "SOUL.md",
        "sessions",
    ] {
        assert!(world.has(&format!("profiles/copy/{there}")), "{there}");
    }
    for gone in [
        "workspace/x.sock",
        "state.db",
        "sessions/1.json",
        "platforms",
        "auth.json",
        "gateway.pid",
        ".herm/desired.json",
    ] {
        assert!(!world.has(&format!("profiles/copy/{gone}")), "{gone}");
    }
    assert!(
        notes.iter().any(|note| note.contains("auth.json")),
        "{notes:?}"
    );
}

#[test]
fn a_full_clone_of_the_root_profile_does_not_copy_the_home() {
    let world = world();
    world.make("other", &CreateOptions::default());
    world.write("SOUL.md", "root");
    world.write("herm.toml", "");
    world.write("plans/p.md", "p");
    world.make("copy", &all_from("default"));
    assert!(world.has("profiles/copy/plans/p.md"));
    assert!(!world.has("profiles/copy/profiles") && !world.has("profiles/copy/herm.toml"));
}

#[test]
fn a_source_whose_configuration_can_not_be_read_is_not_cloned_blindly() {
    let world = world();
    world.write("config.yaml", "a: [\n");
    let error = create(&world.home, &name("a"), &from("default"), now()).unwrap_err();
    assert!(error.to_string().contains("config.yaml"), "{error}");
    assert_eq!(world.names(), ["default"]);
}

#[test]
fn work_that_was_interrupted_is_invisible_and_swept() {
    let world = world();
    world.write("profiles/.herm-work-999999-0/SOUL.md", "half");
    assert_eq!(world.names(), ["default"]);
    assert_eq!(profile::sweep_unfinished(&world.home).unwrap(), 1);
    assert!(!world.has("profiles/.herm-work-999999-0"));
    assert_eq!(profile::sweep_unfinished(&world.home).unwrap(), 0);
}

#[test]
fn a_renamed_profile_keeps_its_intent_port_logs_and_claims() {
    let world = world();
    world.make("old", &CreateOptions::default());
    let old = world.home.profile(&name("old"));
    intent::record(&old, Desired::Running, "test", now()).unwrap();
    let given = Ports::of(&world.home).ensure(&name("old"), |_| true, now());
    let port = given.unwrap().port;
    world.write("logs/gateways/old/current", "log");
    world.write("active_profile", "old\n");
    let needs = Needs::of(&Dotenv::parse(b"API_SERVER_ENABLED=1"), None);
    claims::update(&world.home, now(), |claims| {
        claims.claim(&name("old"), needs).unwrap();
    })
    .unwrap();

    begin_rename(&world.home, &name("old"), &name("new")).unwrap();
    assert_eq!(
        world.names(),
        ["default"],
        "nobody runs what is being renamed"
    );
    rename(&world.home, &name("old"), &name("new"), now()).unwrap();
    assert_eq!(world.names(), ["default", "new"]);
    let new = world.home.profile(&name("new"));
    assert_eq!(intent::peek(&new).unwrap().unwrap().state, Desired::Running);
    assert_eq!(ports::recorded(&new).unwrap(), Some(port));
    assert_eq!(world.read("logs/gateways/new/current"), "log");
    assert_eq!(world.read("active_profile"), "new\n");
    let claims = claims::load(&world.home, now()).unwrap().value.unwrap();
    assert!(claims.of(&name("new")).is_some() && claims.of(&name("old")).is_none());
}

#[test]
fn a_name_that_is_taken_or_reserved_is_no_target_of_a_rename() {
    let world = world();
    world.make("a", &CreateOptions::default());
    world.make("b", &CreateOptions::default());
    let refuse =
        |old: &str, new: &str| begin_rename(&world.home, &name(old), &name(new)).unwrap_err();
    assert!(matches!(refuse("a", "b"), HomeError::Exists { .. }));
    assert_eq!(refuse("a", "default").exit_code(), 2);
    assert_eq!(refuse("default", "c").exit_code(), 2);
    assert_eq!(refuse("nobody", "c").exit_code(), 4);
    assert_eq!(world.names(), ["default", "a", "b"]);
}

/// As a process that renames leaves it when it is killed.
fn kill_renamer(world: &World, profile: &str) {
    let mark = format!("profiles/{profile}/.herm/renaming.json");
    let own = format!("\"pid\":{}", std::process::id());
    let text = world.read(&mark);
    assert!(text.contains(&own), "{text}");
    world.write(&mark, &text.replace(&own, "\"pid\":4194305"));
}

#[test]
fn a_renaming_that_was_killed_anywhere_loses_neither_the_profile_nor_what_was_wanted() {
    for directory_was_renamed in [false, true] {
        let world = world();
        world.make("old", &CreateOptions::default());
        let old = world.home.profile(&name("old"));
        intent::record(&old, Desired::Running, "test", now()).unwrap();
        world.write("logs/gateways/old/current", "log");
        world.write("active_profile", "old\n");
        begin_rename(&world.home, &name("old"), &name("new")).unwrap();
        let at = if directory_was_renamed { "new" } else { "old" };
        let profiles = world.home.profiles_dir();
        fs::rename(profiles.join("old"), profiles.join(at)).unwrap();
        assert_eq!(world.names(), ["default"]);
        kill_renamer(&world, at);
        assert_eq!(world.names(), ["default", at]);
        let found = discover(&world.home).unwrap();
        assert_eq!(found.half_renamed, [name(at)]);

        let before = mend_rename(&world.home, &name(at), now()).unwrap();
        assert_eq!(before, directory_was_renamed.then(|| name("old")));
        assert_eq!(mend_rename(&world.home, &name(at), now()).unwrap(), None);
        assert!(discover(&world.home).unwrap().half_renamed.is_empty());
        let kept = intent::peek(&world.home.profile(&name(at))).unwrap();
        assert_eq!(kept.unwrap().state, Desired::Running);
        assert_eq!(world.read(&format!("logs/gateways/{at}/current")), "log");
        assert_eq!(world.read("active_profile"), format!("{at}\n"));
    }
}

#[test]
fn a_renaming_that_is_given_up_changes_nothing_and_a_copy_of_one_is_a_profile_of_its_own() {
    let world = world();
    world.make("a", &CreateOptions::default());
    begin_rename(&world.home, &name("a"), &name("b")).unwrap();
    give_up_rename(&world.home, &name("a")).unwrap();
    assert_eq!(world.names(), ["default", "a"]);

    begin_rename(&world.home, &name("a"), &name("b")).unwrap();
    kill_renamer(&world, "a");
    world.make("b", &CreateOptions::default());
    let mark = world.read("profiles/a/.herm/renaming.json");
    world.write("profiles/b/.herm/renaming.json", &mark);
    world.write("logs/gateways/a/current", "of a");
    assert_eq!(mend_rename(&world.home, &name("b"), now()).unwrap(), None);
    assert_eq!(world.read("logs/gateways/a/current"), "of a");
}

#[test]
fn a_deletion_can_be_repeated_from_wherever_it_was_interrupted() {
    let world = world();
    world.make("a", &CreateOptions::default());
    world.write("active_profile", "a");
    begin_delete(&world.home, &name("a"), now()).unwrap();
    assert_eq!(
        world.names(),
        ["default"],
        "the tombstone alone makes it no profile"
    );
    begin_delete(&world.home, &name("a"), now()).unwrap();
    assert!(is_deleting(&world.home, &name("a")).unwrap());
    // Interrupted half-way through the removal by a version that worked in place.
    fs::remove_file(world.home.root().join("profiles/a/SOUL.md")).unwrap();
    finish_delete(&world.home, &name("a"), now()).unwrap();
    finish_delete(&world.home, &name("a"), now()).unwrap();
    assert_eq!(fs::read_dir(world.home.profiles_dir()).unwrap().count(), 0);
    assert!(!world.has("active_profile"));
    assert_eq!(
        begin_delete(&world.home, &name("a"), now())
            .unwrap_err()
            .exit_code(),
        4
    );
    world.make("a", &CreateOptions::default());
}

#[test]
fn the_root_profile_and_unmarked_profiles_are_not_removed() {
    let world = world();
    world.make("a", &CreateOptions::default());
    assert_eq!(
        begin_delete(&world.home, &name("default"), now())
            .unwrap_err()
            .exit_code(),
        2
    );
    finish_delete(&world.home, &name("a"), now()).unwrap();
    assert_eq!(world.names(), ["default", "a"]);
}

#[test]
fn a_deletion_follows_no_symlink_and_overcomes_read_only_directories() {
    let world = world();
    world.make("a", &CreateOptions::default());
    world.write("precious/file", "keep");
    symlink(
        world.home.root().join("precious"),
        world.home.root().join("profiles/a/link"),
    )
    .unwrap();
    world.write("profiles/a/ro/file", "x");
    let ro = world.home.root().join("profiles/a/ro");
    fs::set_permissions(&ro, fs::Permissions::from_mode(0o500)).unwrap();
    begin_delete(&world.home, &name("a"), now()).unwrap();
    finish_delete(&world.home, &name("a"), now()).unwrap();
    assert_eq!(world.read("precious/file"), "keep");
    assert!(!Path::new(&ro).exists());
}

#[test]
fn a_home_is_fresh_until_someone_used_it() {
    let world = world();
    world.write("config.yaml", "");
    assert!(
        is_fresh(&world.home, &discover(&world.home).unwrap()).unwrap(),
        "seeded files are no use"
    );
    intent::record(
        &world.home.profile(&name("default")),
        Desired::Stopped,
        "test",
        now(),
    )
    .unwrap();
    assert!(!is_fresh(&world.home, &discover(&world.home).unwrap()).unwrap());

    let other = self::world();
    other.make("a", &CreateOptions::default());
    assert!(!is_fresh(&other.home, &discover(&other.home).unwrap()).unwrap());
    let third = self::world();
    third.write("gateway_state.json", "{}");
    assert!(!is_fresh(&third.home, &discover(&third.home).unwrap()).unwrap());
}

#[test]
fn a_list_shows_each_profile_and_one_broken_file_hides_none() {
    let world = world();
    world.write(
        ".env",
        "API_SERVER_ENABLED=1\nTELEGRAM_BOT_TOKEN=1:secret\n",
    );
    world.write("config.yaml", "model: {default: m, provider: p}\n");
    world.make("broken", &CreateOptions::default());
    world.write("profiles/broken/config.yaml", "a: [\n");
    let list = profile::list(&world.home).unwrap();
    assert_eq!(list.len(), 2);
    assert_eq!(
        (list[0].model.as_deref(), list[0].provider.as_deref()),
        (Some("m"), Some("p"))
    );
    assert_eq!(
        (&list[0].ports[..], &list[0].tokens[..]),
        (&[8642][..], &["TELEGRAM_BOT_TOKEN".to_owned()][..])
    );
    assert!(list[1].problem.as_deref().unwrap().contains("config.yaml"));
    assert!(!serde_json::to_string(&list).unwrap().contains("secret"));
}

#[test]
fn a_port_that_was_given_is_told_unless_the_profile_names_one() {
    let world = world();
    let dir = world.home.root().join("profiles/a");
    fs::create_dir_all(dir.join(".herm")).unwrap();
    fs::write(dir.join("SOUL.md"), "").unwrap();
    fs::write(dir.join(".herm/port.json"), r#"{"port":9300}"#).unwrap();
    let ports = |dotenv: &str| {
        fs::write(dir.join(".env"), dotenv).unwrap();
        profile::show(&world.home, &name("a")).unwrap().ports
    };
    assert_eq!(ports("API_SERVER_KEY=x\n"), [9300]);
    assert_eq!(ports("API_SERVER_KEY=x\nAPI_SERVER_PORT=9000\n"), [9000]);
}
