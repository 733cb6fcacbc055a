//! Becoming the log daemon changes a whole process for good, so the test starts itself again for it.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use herm_sys::credentials::{self, FileOwner, become_logd};
use herm_sys::spawn::Identity;

const LOGD: u32 = 61_300;
const SERVICE: u32 = 61_301;

/// Set for the second start: the directory to work in.
const WORK_DIR: &str = "HERM_TEST_LOGD_DIR";

#[test]
fn the_log_daemon_is_its_own_user_and_writes_as_the_service_user() {
    if let Some(dir) = std::env::var_os(WORK_DIR) {
        become_and_check(Path::new(&dir));
        return;
    }
    if !credentials::may_set_groups() {
        eprintln!("skipped: needs root, to become another user");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    let own_program = std::env::current_exe().unwrap();
    let again = Command::new(own_program)
        .arg("--nocapture")
        .env(WORK_DIR, dir.path())
        .output()
        .unwrap();
    assert!(
        again.status.success(),
        "{}",
        String::from_utf8_lossy(&again.stderr)
    );
}

fn become_and_check(dir: &Path) {
    let logs = dir.join("logs");
    fs::create_dir(&logs).unwrap();
    std::os::unix::fs::chown(&logs, Some(SERVICE), Some(SERVICE)).unwrap();
    fs::set_permissions(&logs, Permissions::from_mode(0o700)).unwrap();
    let own = Identity {
        uid: LOGD,
        gid: LOGD,
        groups: vec![LOGD],
    };

    become_logd(
        &own,
        FileOwner {
            uid: SERVICE,
            gid: SERVICE,
        },
    )
    .unwrap();

    let status = fs::read_to_string("/proc/thread-self/status").unwrap();
    let field = |name: &str| -> Vec<&str> {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap();
        line.trim_start_matches(':').split_whitespace().collect()
    };
    let ids = |id: u32, file: u32| {
        vec![
            id.to_string(),
            id.to_string(),
            id.to_string(),
            file.to_string(),
        ]
    };
    assert_eq!(field("Uid"), ids(LOGD, SERVICE));
    assert_eq!(field("Gid"), ids(LOGD, SERVICE));
    assert_eq!(field("Groups"), [LOGD.to_string()]);
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(field(set), ["0000000000000000"], "{set}");
    }
    assert_eq!(field("NoNewPrivs"), ["1"]);
    let dumpable = rustix::process::dumpable_behavior().unwrap();
    assert_eq!(dumpable, rustix::process::DumpableBehavior::NotDumpable);

    fs::write(logs.join("current"), "a line\n").unwrap();
    let made = fs::metadata(logs.join("current")).unwrap();
    assert_eq!((made.uid(), made.gid()), (SERVICE, SERVICE));
    // Nothing is left to change any of it back.
    assert!(become_logd(&own, FileOwner { uid: 0, gid: 0 }).is_err());
    assert!(fs::write("/etc/herm-test-must-not-exist", "x").is_err());
}
