//! Nobody becomes root by writing a service directory, also not by being faster than PID 1.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use herm_s6::event::listener_name;
use herm_s6::tai::Tain;
use std::os::unix::ffi::OsStrExt as _;

use crate::stage::{Stage, Who, tool, until};

const ATTACKER: u32 = 12_345;

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn script(path: &Path, text: &str) {
    fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A place where anybody can be, with a scan directory that is the attacker's, a service directory
/// of root's elsewhere, and a file to which every run adds its user.
fn battlefield() -> tempfile::TempDir {
    let place = Stage::place();
    let root = place.path();
    fs::set_permissions(root, fs::Permissions::from_mode(0o755)).unwrap();
    chown(root.join("service"), Some(ATTACKER), Some(ATTACKER)).unwrap();
    let proof = root.join("proof");
    fs::write(&proof, "").unwrap();
    fs::set_permissions(&proof, fs::Permissions::from_mode(0o666)).unwrap();
    let record = format!("id -u >>{}", proof.display());
    for roots in ["roots", "roots/log"] {
        fs::create_dir(root.join(roots)).unwrap();
        script(&root.join(roots).join("run"), &record);
    }
    let mine = root.join("mine");
    fs::create_dir(&mine).unwrap();
    script(&mine.join("run"), &record);
    for path in [mine.clone(), mine.join("run")] {
        chown(path, Some(ATTACKER), Some(ATTACKER)).unwrap();
    }
    place
}

/// Swaps names in the scan directory, as fast as it can, between what is its own and what is
/// root's.
const ATTACK: &str = r#"
import os, sys, itertools
root = sys.argv[1]
os.chdir(root + "/service")
test = os.getppid()
def link(target, name):
    try: os.symlink(target, ".new-" + name)
    except FileExistsError: pass
    os.rename(".new-" + name, name)
for name in ("d", "e"):
    os.mkdir(name)
    open(name + "/run", "w").write(open(root + "/mine/run").read())
    os.chmod(name + "/run", 0o755)
for turn in itertools.count():
    # A test that is killed leaves nobody who would say that it is enough.
    if os.path.exists(root + "/enough") or os.getppid() != test: break
    link(root + "/roots", "a"); link(root + "/mine", "a")
    link("../roots", "b"); link("a", "b")
    try:
        os.rename("d", ".d"); link(root + "/roots", "d"); os.unlink("d"); os.rename(".d", "d")
        os.rename("e/run", "e/.run"); os.symlink(root + "/roots/run", "e/run")
        os.unlink("e/run"); os.rename("e/.run", "e/run")
        link(root + "/roots/log", "e/log"); os.unlink("e/log")
        link(root + "/roots", "e/supervise"); link(root + "/roots", "e/event")
        os.unlink("e/supervise"); os.unlink("e/event")
    except OSError:
        pass
"#;

#[test]
fn l23_l79_no_race_for_a_name_makes_anything_of_the_attackers_run_as_root() {
    if !is_root() {
        return;
    }
    let place = battlefield();
    let before = listing(&place.path().join("roots"));
    let stage = Stage::start(Who::Herm, place);
    let root = stage.dir.path();
    until("a scanner", || {
        stage.scan().join(".s6-svscan/control").exists()
            && tool("s6-svscanctl", &["-a"], &stage.scan()).0 == 0
    })
    .unwrap();
    let mut attacker = Command::new("python3")
        .args(["-c", ATTACK])
        .arg(root)
        .uid(ATTACKER)
        .gid(ATTACKER)
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let runs = || fs::read_to_string(root.join("proof")).unwrap();
    let mut scans = 0;
    until("enough runs", || {
        for _ in 0..50 {
            tool("s6-svscanctl", &["-an"], &stage.scan());
            scans += 1;
        }
        runs().lines().count() >= 20 && scans >= 1000
    })
    .unwrap();
    fs::write(root.join("enough"), "").unwrap();
    attacker.wait().unwrap();
    let users = runs();
    let roots = users.lines().filter(|user| *user == "0").count();
    assert_eq!(roots, 0, "of {} runs", users.lines().count());
    assert_eq!(listing(&root.join("roots")), before, "PID 1 wrote there");
}

fn listing(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn who_owns_a_directory_is_who_runs_it_and_gives_it_orders() {
    if !is_root() {
        return;
    }
    let place = battlefield();
    let mine = place.path().join("service/mine");
    fs::rename(place.path().join("mine"), &mine).unwrap();
    let proof = place.path().join("proof").display().to_string();
    script(
        &mine.join("run"),
        &format!(
            "echo $(id -u) $(id -g) $(grep NoNew /proc/self/status) >>{proof}; exec sleep 1000"
        ),
    );
    fs::rename(
        place.path().join("roots"),
        place.path().join("service/roots"),
    )
    .unwrap();
    let stage = Stage::start(Who::Herm, place);
    let told = || fs::read_to_string(stage.dir.path().join("proof")).unwrap();
    until("both have run", || {
        told().contains(&format!("{ATTACKER} {ATTACKER} NoNewPrivs: 1\n"))
            && told().lines().any(|line| line == "0")
    })
    .unwrap();
    let as_attacker = |args: &[&str]| {
        let mut command = Command::new(args[0]);
        command.args(&args[1..]).uid(ATTACKER).gid(ATTACKER);
        command.stderr(Stdio::null()).status().unwrap().code()
    };
    let mine = stage.service("mine").display().to_string();
    let roots = stage.service("roots").display().to_string();
    assert_eq!(as_attacker(&["s6-svok", &mine]), Some(0));
    assert_eq!(as_attacker(&["s6-svstat", &mine]), Some(0));
    assert_eq!(
        as_attacker(&["s6-svc", "-wD", "-T", "60000", "-d", &mine]),
        Some(0)
    );
    assert_ne!(as_attacker(&["s6-svc", "-d", &roots]), Some(0));
    assert_ne!(
        as_attacker(&["rm", "-f", &format!("{mine}/supervise/control")]),
        Some(0)
    );
}

#[test]
fn an_event_goes_to_no_fifo_that_has_another_name_elsewhere() {
    if !is_root() {
        return;
    }
    let place = battlefield();
    let service = place.path().join("service/roots");
    fs::rename(place.path().join("roots"), &service).unwrap();
    script(&service.join("run"), "exec sleep 1000");
    fs::write(service.join("down"), "").unwrap();
    let _stage = Stage::start(Who::Herm, place);
    let log = service.join("log");
    until("supervision", || tool("s6-svok", &[], &log).0 == 0).unwrap();
    let name = listener_name(Tain::default(), [7; 6]);
    let listener = service
        .join("event")
        .join(std::ffi::OsStr::from_bytes(&name));
    // An order in the shape of an event: `U` would be both.
    fs::hard_link(service.join("log/supervise/control"), &listener).unwrap();
    tool("s6-svc", &["-wD", "-T", "60000", "-O"], &log);
    tool("s6-svc", &["-wu", "-T", "60000", "-u"], &service);
    tool("s6-svc", &["-wD", "-T", "60000", "-d"], &service);
    let (_, up) = tool("s6-svstat", &["-o", "wantedup"], &log);
    assert_eq!(
        up.trim(),
        "false",
        "the event u reached the logger as an order"
    );
}
