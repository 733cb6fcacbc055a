//! An image's sources laid out in a directory of the test's.

use super::*;
use std::os::unix::fs::PermissionsExt;

struct World {
    root: tempfile::TempDir,
}

impl World {
    fn new(files: &[(&str, &str)]) -> Self {
        let root = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = root.path().join("etc").join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, content).unwrap();
            if path.ends_with("run") {
                std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
            }
        }
        Self { root }
    }

    fn places(&self) -> Places {
        Places {
            etc: self.root.path().join("etc"),
            bundles: self.root.path().join("etc/s6-overlay/user-bundles.d"),
            run: self.root.path().join("run"),
            own: "/init".into(),
            waits_for_legacy: true,
            legacy_grace: Some(1500),
        }
    }

    fn lay_out(&self) -> Result<Laid, OverlayError> {
        sweep(&self.places())?;
        lay_out(&self.places())
    }

    fn has(&self, path: &str) -> bool {
        self.root
            .path()
            .join("run")
            .join(path)
            .symlink_metadata()
            .is_ok()
    }

    fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.root.path().join("run").join(path)).unwrap()
    }
}

const WEB: &[(&str, &str)] = &[
    ("s6-overlay/s6-rc.d/web/type", "longrun\n"),
    ("s6-overlay/s6-rc.d/web/run", "#!/bin/sh\nexec true\n"),
    ("s6-overlay/s6-rc.d/web/notification-fd", "4\n"),
    ("s6-overlay/s6-rc.d/web/dependencies.d/prepare", ""),
    ("s6-overlay/s6-rc.d/web/dependencies.d/base", ""),
    ("s6-overlay/s6-rc.d/prepare/type", "oneshot\n"),
    ("s6-overlay/s6-rc.d/prepare/up", "mkdir -p /run/x\n"),
    ("s6-overlay/s6-rc.d/prepare/timeout-up", "500\n"),
    ("s6-overlay/s6-rc.d/spare/type", "longrun\n"),
    ("s6-overlay/s6-rc.d/spare/run", "#!/bin/sh\n"),
    ("s6-overlay/s6-rc.d/user/contents.d/web", ""),
    ("services.d/old/run", "#!/bin/sh\n"),
    ("services.d/old/log/run", "#!/bin/sh\n"),
    ("services.d/old/down", ""),
];

#[test]
fn services_are_laid_out_with_what_they_depend_on() {
    let world = World::new(WEB);
    let laid = world.lay_out().unwrap();
    assert_eq!(laid.before_main, ["prepare", "web", "old"]);
    assert_eq!(world.read("service/web/notification-fd"), "4\n");
    assert!(world.has("service/web/dependencies.d/prepare"));
    assert!(!world.has("service/web/dependencies.d/base"));
    assert_eq!(world.read("service/web/run"), "#!/bin/sh\nexec true\n");
    assert_eq!(
        world.read("service/prepare/oneshot/up"),
        "mkdir\0-p\0/run/x"
    );
    assert_eq!(world.read("service/prepare/oneshot/timeout-up"), "500");
    assert!(!world.has("service/web/down"));
    assert!(
        world.has("service/spare/down"),
        "it is in no bundle that is started"
    );
    assert!(world.has("service/old/log/run") && world.has("service/old/down"));
    assert!(world.has("service/old/after.d/web"));
    assert_eq!(world.read("s6-linux-init-container-results/exitcode"), "0");
}

#[test]
fn l88_what_a_boot_before_left_is_swept() {
    let world = World::new(WEB);
    world.lay_out().unwrap();
    let stale = world.root.path().join("run/service/stale");
    std::fs::create_dir(&stale).unwrap();
    std::fs::create_dir(world.root.path().join("run/service/.s6-svscan")).unwrap();
    std::fs::remove_dir_all(world.root.path().join("etc/services.d")).unwrap();
    world.lay_out().unwrap();
    assert!(!world.has("service/stale") && !world.has("service/old"));
    assert!(world.has("service/.s6-svscan") && world.has("service/web"));
}

#[test]
fn a_source_that_makes_no_sense_is_named() {
    let world = World::new(&[("s6-overlay/s6-rc.d/a/type", "daemon\n")]);
    let message = world.lay_out().unwrap_err().to_string();
    assert!(
        message.contains("s6-rc.d/a/type:1: \"daemon\" is no type"),
        "{message}"
    );
}

#[test]
fn bundles_may_lie_in_the_new_place() {
    let world = World::new(&[
        ("s6-overlay/s6-rc.d/a/type", "oneshot"),
        ("s6-overlay/s6-rc.d/a/up", "true"),
        ("s6-overlay/user-bundles.d/user/type", "bundle"),
        ("s6-overlay/user-bundles.d/user/contents.d/a", ""),
    ]);
    assert_eq!(world.lay_out().unwrap().before_main, ["a"]);
}

#[test]
fn both_ends_of_a_pipeline_open_one_fifo() {
    let world = World::new(&[
        ("s6-overlay/s6-rc.d/a/type", "longrun"),
        ("s6-overlay/s6-rc.d/a/run", "#!/bin/sh\n"),
        ("s6-overlay/s6-rc.d/a/producer-for", "b"),
        ("s6-overlay/s6-rc.d/b/type", "longrun"),
        ("s6-overlay/s6-rc.d/b/run", "#!/bin/sh\n"),
        ("s6-overlay/s6-rc.d/b/consumer-for", "a"),
    ]);
    world.lay_out().unwrap();
    let services = world.root.path().join("run/service");
    let ends = [services.join("a/pipe-to"), services.join("b/pipe-from")];
    let [to, from] = ends.map(|end| std::fs::read_link(end).unwrap());
    assert_eq!(to, from);
    assert!(world.has("service/a/run.user"));
}
