//! `s6-rc` on services that PID 1 supervises. What is expected was seen of the genuine one, release 0.5.4.1, on the
//! same services.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::process::Command;

use crate::stage::{Stage, Who, tool, until};

/// `db`, which is essential; `web` needs it, and `app` needs `web`; `spare` is alone.
const COMPILED: &str = "longrun\tdb\t/db\tessential\t0\t0\t
longrun\tspare\t/spare\t\t0\t0\t
longrun\tweb\t/web\t\t0\t0\t\tdb
longrun\tapp\t/app\t\t0\t0\t\tweb
";

struct World {
    stage: Stage,
    program: PathBuf,
}

impl World {
    fn new() -> Self {
        let place = Stage::place();
        let root = place.path().to_owned();
        for (name, needs) in [("db", ""), ("spare", ""), ("web", "db"), ("app", "web")] {
            let dir = root.join("live/servicedirs").join(name);
            fs::create_dir_all(dir.join("dependencies.d")).unwrap();
            let script = |file: &str, text: &str| {
                let trace = root.join("trace").display().to_string();
                let text = format!("#!/bin/sh\n{}\n", text.replace("TRACE", &trace));
                fs::write(dir.join(file), text).unwrap();
                fs::set_permissions(dir.join(file), fs::Permissions::from_mode(0o755)).unwrap();
            };
            script(
                "run",
                &format!("echo +{name} >>TRACE; echo >&3; exec sleep 1000"),
            );
            script("finish", &format!("echo -{name} >>TRACE"));
            fs::write(dir.join("notification-fd"), "3\n").unwrap();
            fs::write(dir.join("down"), "").unwrap();
            if !needs.is_empty() {
                fs::write(dir.join("dependencies.d").join(needs), "").unwrap();
            }
            symlink(&dir, root.join("service").join(name)).unwrap();
        }
        fs::write(root.join("live/compiled"), COMPILED).unwrap();
        let program = root.join("s6-rc");
        symlink(env!("CARGO_BIN_EXE_herm-init"), &program).unwrap();
        let stage = Stage::start(Who::Herm, place);
        for name in ["db", "spare", "web", "app"] {
            until("supervision", || {
                tool("s6-svok", &[], &stage.service(name)).0 == 0
            })
            .unwrap();
        }
        Self { stage, program }
    }

    /// The exit code, what was printed, and what scripts did, each as words.
    fn rc(&self, words: &str) -> (i32, String, String) {
        let trace = self.stage.dir.path().join("trace");
        let _ = fs::remove_file(&trace);
        let output = Command::new(&self.program)
            .arg("-l")
            .arg(self.stage.dir.path().join("live"))
            .args(words.split(' '))
            .output()
            .unwrap();
        let in_words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let did = fs::read_to_string(&trace).unwrap_or_default();
        let printed = String::from_utf8(output.stdout).unwrap();
        (
            output.status.code().unwrap(),
            in_words(&printed),
            in_words(&did),
        )
    }

    fn did(&self, words: &str) -> String {
        let (code, printed, did) = self.rc(words);
        assert_eq!((code, printed.as_str()), (0, ""), "{words}");
        did
    }
}

#[test]
fn a_change_is_over_when_the_last_finish_is_and_goes_in_the_order_of_needs() {
    let world = World::new();
    assert_eq!(world.did("-u change app"), "+db +web +app");
    assert_eq!(world.rc("-a list").1, "db web app");
    assert_eq!(world.did("-u change app"), "");
    assert_eq!(world.did("-d change web"), "-app -web");
    assert_eq!(world.rc("-a list").1, "db");
}

#[test]
fn what_is_essential_stays_unless_that_is_insisted_on() {
    let world = World::new();
    world.did("-u change app spare");
    assert_eq!(world.did("-d change db"), "-app -web");
    assert_eq!(world.did("-pu change spare"), "");
    assert_eq!(world.rc("-a list").1, "db spare");
    assert_eq!(world.did("-D change db"), "-db");
}

#[test]
fn pruning_stops_what_was_not_named_before_a_start_and_starts_it_after_a_stop() {
    let world = World::new();
    world.did("-u change spare");
    assert_eq!(world.did("-pu change web"), "-spare +db +web");
    let mut did: Vec<String> = world
        .did("-pd change web")
        .split(' ')
        .map(str::to_owned)
        .collect();
    did.sort();
    assert_eq!(did, ["+spare", "-web"]);
}

#[test]
fn a_difference_is_what_was_ordered_past_s6_rc() {
    let world = World::new();
    world.did("-u change web");
    assert_eq!(world.rc("diff"), (0, String::new(), String::new()));
    let svc = |options: &[&str], name: &str| tool("s6-svc", options, &world.stage.service(name)).0;
    assert_eq!(svc(&["-wD", "-T", "60000", "-d"], "web"), 0);
    assert_eq!(svc(&["-wU", "-T", "60000", "-u"], "spare"), 0);
    assert_eq!(
        world.rc("diff"),
        (1, "+spare -web".to_owned(), String::new())
    );
    assert_eq!(world.rc("change nope").0, 3);
}
