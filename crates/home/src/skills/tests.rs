//! What a sync does to a home, state by state.

use super::*;
use std::os::unix::fs::PermissionsExt as _;

struct World {
    root: tempfile::TempDir,
}

fn world() -> World {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("home")).unwrap();
    fs::create_dir(root.path().join("bundle")).unwrap();
    World { root }
}

impl World {
    fn bundle(&self, skill: &str, text: &str) {
        self.put("bundle", skill, text);
    }

    fn put(&self, tree: &str, skill: &str, text: &str) {
        let dir = self.root.path().join(tree).join(skill);
        fs::create_dir_all(dir.join("references")).unwrap();
        fs::write(dir.join("SKILL.md"), text).unwrap();
        fs::write(dir.join("references/more.md"), "more").unwrap();
    }

    fn home(&self, path: &str) -> PathBuf {
        self.root.path().join("home").join(path)
    }

    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.home(path)).unwrap()
    }

    fn sync(&self) -> Synced {
        sync(&self.home(""), &self.root.path().join("bundle"), false).unwrap()
    }
}

#[test]
fn new_skills_are_copied_and_a_second_sync_does_nothing() {
    let world = world();
    world.bundle("mlops/axolotl", "---\nname: train\n---\none");
    world.bundle("plain", "two");
    fs::write(
        world.root.path().join("bundle/mlops/DESCRIPTION.md"),
        "about",
    )
    .unwrap();
    let dry = sync(&world.home(""), &world.root.path().join("bundle"), true).unwrap();
    assert_eq!(dry.copied, ["train", "plain"]);
    assert!(!world.home("skills").exists());
    assert_eq!(world.sync().copied, ["train", "plain"]);
    assert_eq!(world.text("skills/plain/SKILL.md"), "two");
    assert_eq!(world.text("skills/mlops/DESCRIPTION.md"), "about");
    let manifest = world.text("skills/.bundled_manifest");
    assert!(manifest.starts_with("plain:"), "{manifest}");
    assert_eq!(world.sync(), Synced::default());
    assert_eq!(world.text("skills/.bundled_manifest"), manifest);
}

/// The digest is the agent's own, of a tree whose order by bytes and by components differ.
#[test]
fn the_manifest_has_the_hash_that_the_agent_computes() {
    let world = world();
    world.bundle("s", "x");
    let dir = world.root.path().join("bundle/s");
    fs::create_dir(dir.join("a")).unwrap();
    fs::write(dir.join("a/b"), "1").unwrap();
    fs::write(dir.join("a-b"), "2").unwrap();
    world.sync();
    assert_eq!(
        world.text("skills/.bundled_manifest"),
        "s:5d433375286c4d464cb8a7bf8a85497b\n"
    );
}

#[test]
fn an_unmodified_skill_is_updated_and_leaves_no_backup() {
    let world = world();
    world.bundle("s", "one");
    world.sync();
    world.bundle("s", "two");
    assert_eq!(world.sync().updated, ["s"]);
    assert_eq!(world.text("skills/s/SKILL.md"), "two");
    assert_eq!(fs::read_dir(world.home("skills")).unwrap().count(), 2);
}

#[test]
fn what_the_user_modified_or_removed_or_made_is_respected() {
    let world = world();
    world.bundle("modified", "one");
    world.bundle("removed", "one");
    world.sync();
    fs::write(world.home("skills/modified/SKILL.md"), "mine").unwrap();
    fs::remove_dir_all(world.home("skills/removed")).unwrap();
    world.put("home/skills", "own", "mine");
    for name in ["modified", "removed", "own"] {
        world.bundle(name, "two");
    }
    let synced = world.sync();
    assert_eq!(synced.kept, ["modified"]);
    assert_eq!((synced.copied.len(), synced.updated.len()), (0, 0));
    assert_eq!(world.text("skills/modified/SKILL.md"), "mine");
    assert_eq!(world.text("skills/own/SKILL.md"), "mine");
    assert!(!world.home("skills/removed").exists());
    assert!(!world.text("skills/.bundled_manifest").contains("own"));
}

#[test]
fn a_vanished_skill_is_dropped_from_the_manifest_and_left_on_disk() {
    let world = world();
    world.bundle("gone", "one");
    world.sync();
    fs::remove_dir_all(world.root.path().join("bundle/gone")).unwrap();
    assert_eq!(world.sync().dropped, ["gone"]);
    assert_eq!(world.text("skills/.bundled_manifest"), "");
    assert!(world.home("skills/gone/SKILL.md").exists());
}

#[test]
fn a_manifest_of_the_first_version_takes_what_is_there_as_its_origin() {
    let world = world();
    world.bundle("s", "one");
    world.put("home/skills", "s", "old");
    fs::write(world.home("skills/.bundled_manifest"), "s\n").unwrap();
    world.sync();
    assert_eq!(world.text("skills/s/SKILL.md"), "old");
    assert_eq!(world.sync().updated, ["s"]);
}

#[test]
fn an_interrupted_update_is_taken_up_again() {
    let world = world();
    world.bundle("s", "one");
    world.sync();
    world.bundle("s", "two");
    // Cut after the old copy was moved away, with half of the new one made.
    fs::rename(world.home("skills/s"), world.home("skills/s.bak")).unwrap();
    fs::create_dir(world.home("skills/.s.herm-new")).unwrap();
    assert_eq!(world.sync().updated, ["s"]);
    assert_eq!(world.text("skills/s/SKILL.md"), "two");
    // Cut after the new copy was placed, before the manifest was written.
    world.bundle("s", "three");
    world.put("home/skills", "s", "three");
    assert_eq!(world.sync(), Synced::default());
    world.bundle("s", "four");
    assert_eq!(world.sync().updated, ["s"]);
    assert_eq!(fs::read_dir(world.home("skills")).unwrap().count(), 2);
}

#[test]
fn an_update_that_fails_leaves_the_old_copy_and_is_told() {
    let world = world();
    world.bundle("bad/s", "one");
    world.bundle("good", "one");
    world.sync();
    world.bundle("bad/s", "two");
    world.bundle("good", "two");
    // No new name can be made beside it.
    let long = "n".repeat(250);
    world.bundle(&long, "x");
    let synced = world.sync();
    assert_eq!(synced.updated, ["s", "good"]);
    assert_eq!(synced.failed.len(), 1);
    // Something of the backup's name that can't be replaced.
    world.bundle("good", "three");
    fs::write(world.home("skills/good.bak"), "in the way").unwrap();
    let synced = world.sync();
    assert_eq!(synced.failed.len(), 2, "{synced:?}");
    assert_eq!(world.text("skills/good/SKILL.md"), "two");
    fs::remove_file(world.home("skills/good.bak")).unwrap();
    assert!(world.sync().updated.contains(&"good".to_owned()));
}

#[test]
fn a_read_only_bundle_gives_copies_that_can_be_written() {
    let world = world();
    world.bundle("s", "one");
    let dir = world.root.path().join("bundle/s");
    fs::set_permissions(dir.join("SKILL.md"), fs::Permissions::from_mode(0o444)).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o555)).unwrap();
    world.sync();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
    let mode = |path: &str| fs::metadata(world.home(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!(
        (mode("skills/s"), mode("skills/s/SKILL.md")),
        (0o755, 0o644)
    );
}

#[test]
fn a_home_that_wants_none_gets_none() {
    let world = world();
    world.bundle("s", "one");
    fs::write(world.home(".no-bundled-skills"), "").unwrap();
    assert!(world.sync().skipped.is_some());
    fs::remove_file(world.home(".no-bundled-skills")).unwrap();
    fs::write(
        world.home("config.yaml"),
        "skills:\n  external_dirs: [/srv/skills]\n",
    )
    .unwrap();
    assert!(world.sync().skipped.is_some());
    fs::write(world.home("config.yaml"), "skills:\n  external_dirs: []\n").unwrap();
    fs::create_dir(world.home("skills")).unwrap();
    fs::write(world.home("skills/.curator_suppressed"), "# x\ns\n").unwrap();
    assert_eq!(world.sync(), Synced::default());
    assert!(!world.home("skills/s").exists());
}
