//! The scanner's own scripts, and what a service directory may ask for besides its scripts.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;
use std::process::Command;

use crate::stage::{Stage, Who, tool, until};

fn script(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn is_scanning(stage: &Stage) {
    until("a scanner", || {
        stage.scan().join(".s6-svscan/control").exists()
            && tool("s6-svscanctl", &["-a"], &stage.scan()).0 == 0
    })
    .unwrap();
}

#[test]
fn scripts_take_the_place_of_signals_and_of_the_end() {
    for who in [Who::Genuine, Who::Herm] {
        let place = Stage::place();
        let trace = place.path().join("trace");
        let scripts = place.path().join("service/.s6-svscan");
        let told = trace.display();
        script(
            &scripts.join("SIGUSR1"),
            &format!("echo \"signal $# $(pwd)\" >>{told}"),
        );
        script(
            &scripts.join("finish"),
            &format!("echo \"finish $# $(pwd)\" >>{told}; exit 42"),
        );
        let mut stage = Stage::start(who, place);
        is_scanning(&stage);
        stage.signal("USR1");
        until("the signal's script", || read(&trace).contains("signal")).unwrap();
        stage.signal("TERM");
        assert_eq!(stage.end(), Some(42), "{who:?}: {}", stage.output());
        let scan = stage.scan().display().to_string();
        assert_eq!(
            read(&trace),
            format!("signal 0 {scan}\nfinish 0 {scan}\n"),
            "{who:?}"
        );
    }
}

#[test]
fn a_users_script_for_a_signal_runs_as_the_user() {
    const USER: u32 = 12_345;
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let place = Stage::place();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let trace = place.path().join("trace");
    fs::write(&trace, "").unwrap();
    fs::set_permissions(&trace, fs::Permissions::from_mode(0o666)).unwrap();
    let planted = place.path().join("service/.s6-svscan/SIGUSR2");
    script(&planted, &format!("id -u >>{}", trace.display()));
    chown(&planted, Some(USER), Some(USER)).unwrap();
    let stage = Stage::start(Who::Herm, place);
    is_scanning(&stage);
    stage.signal("USR2");
    until("its run", || read(&trace).ends_with('\n')).unwrap();
    assert_eq!(read(&trace), format!("{USER}\n"));
}

#[test]
fn a_service_holds_the_lock_that_it_asks_for() {
    let place = Stage::place();
    let service = place.path().join("service/a");
    script(
        &service.join("run"),
        "[ -e /proc/self/fd/7 ] || exit 1\necho >&3\nexec sleep 1000",
    );
    fs::write(service.join("lock-fd"), "7\n").unwrap();
    fs::write(service.join("notification-fd"), "3\n").unwrap();
    let stage = Stage::start(Who::Herm, place);
    let dir = stage.service("a");
    until("supervision", || tool("s6-svok", &[], &dir).0 == 0).unwrap();
    assert_eq!(tool("s6-svwait", &["-U", "-t", "60000"], &dir).0, 0);
    let is_held = || {
        let lock = fs::File::open(dir.join("supervise/service-lock")).unwrap();
        herm_sys::record_lock::is_held(&lock).unwrap()
    };
    assert!(is_held());
    assert_eq!(tool("s6-svc", &["-wR", "-T", "60000", "-r"], &dir).0, 0);
    assert!(is_held());
    assert_eq!(tool("s6-svc", &["-wD", "-T", "60000", "-d"], &dir).0, 0);
    assert!(!is_held());
}

#[test]
fn a_service_is_the_first_of_its_own_pid_namespace_where_it_asks_for_one() {
    let allowed = Command::new("unshare").args(["-p", "-f", "true"]).status();
    if !allowed.is_ok_and(|status| status.success()) {
        println!("skipped: no namespaces can be made here");
        return;
    }
    let place = Stage::place();
    let trace = place.path().join("trace");
    let service = place.path().join("service/a");
    script(
        &service.join("run"),
        &format!("echo $$ >>{}\nexec sleep 1000", trace.display()),
    );
    fs::write(service.join("flag-newpidns"), "").unwrap();
    let stage = Stage::start(Who::Herm, place);
    until("its run", || read(&trace).ends_with('\n')).unwrap();
    assert_eq!(read(&trace), "1\n");
    let dir = stage.service("a");
    // The first process of a namespace hears nothing from outside but KILL.
    assert_eq!(tool("s6-svc", &["-wD", "-T", "60000", "-Ok"], &dir).0, 0);
}
