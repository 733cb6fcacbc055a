//! What is wrong is found wherever it is, and nothing else is touched.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown, symlink};
use std::path::{Path, PathBuf};

use super::*;

const OWNER: Owner = Owner {
    uid: 4711,
    gid: 4712,
};

fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("skipped: only root gives files away");
    }
    root
}

fn repair(home: &Path, dry_run: bool) -> Repaired {
    let dir = Dir::open_trusted(home).unwrap();
    let mut repair = Repair::of(&dir, OWNER, dry_run).unwrap();
    for name in dir.names().unwrap() {
        repair.take(&name, Depth::Everything);
    }
    assert!(repair.run(None, Duration::from_secs(3600), &mut |_| {}));
    repair.finish()
}

fn owner(path: &Path) -> (u32, u32) {
    let found = fs::symlink_metadata(path).unwrap();
    (found.uid(), found.gid())
}

/// More than one thread's share, in one wide directory and in a deep chain.
fn large_tree(root: &Path) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    let mut deep = root.join("deep");
    for level in 0..300 {
        fs::create_dir(&deep).unwrap();
        fs::write(deep.join("file"), "").unwrap();
        paths.extend([deep.clone(), deep.join("file")]);
        deep.push(format!("{level}"));
    }
    let wide = root.join("wide");
    fs::create_dir(&wide).unwrap();
    for number in 0..6000 {
        let file = wide.join(format!("a-name-of-some-length-{number}"));
        fs::write(&file, "").unwrap();
        paths.push(file);
    }
    paths.push(wide);
    paths
}

#[test]
fn l25_every_wrong_entry_of_a_large_tree_is_given_and_told_once() {
    if !is_root() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let paths = large_tree(root.path());
    let all = u64::try_from(paths.len()).unwrap();
    let dry = repair(root.path(), true);
    assert_eq!((dry.seen, dry.given), (all, all));
    assert_eq!(owner(&paths[0]), (0, 0), "a dry run changes nothing");
    let first = repair(root.path(), false);
    assert_eq!((first.seen, first.given, first.refusals), (all, all, 0));
    for path in &paths {
        assert_eq!(owner(path), (OWNER.uid, OWNER.gid), "{}", path.display());
    }
    // As `docker exec` as root leaves it: deep, below correct parents.
    chown(&paths[501], Some(0), None).unwrap();
    let second = repair(root.path(), false);
    assert_eq!((second.seen, second.given), (all, 1));
    assert_eq!(owner(&paths[501]), (OWNER.uid, OWNER.gid));
}

#[test]
fn l27_links_and_what_is_no_file_keep_their_owner() {
    if !is_root() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "").unwrap();
    let inner = root.path().join("inner");
    fs::create_dir(&inner).unwrap();
    symlink(outside.path(), inner.join("dir-link")).unwrap();
    symlink(outside.path().join("secret"), inner.join("file-link")).unwrap();
    fs::hard_link(outside.path().join("secret"), inner.join("hard-link")).unwrap();
    let fifo = inner.join("fifo");
    let mode = Mode::RUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, FileType::Fifo, mode, 0).unwrap();
    let done = repair(root.path(), false);
    assert_eq!((done.given, done.refusals), (1, 1));
    assert_eq!(done.refused.unwrap().0, "hard-link");
    for path in [outside.path(), &outside.path().join("secret"), &fifo] {
        assert_eq!(owner(path), (0, 0), "{}", path.display());
    }
    assert_eq!(owner(&inner.join("dir-link")), (0, 0));
}

#[test]
fn a_directory_that_is_only_itself_ours_keeps_what_is_in_it() {
    if !is_root() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("workspace")).unwrap();
    fs::write(root.path().join("workspace/mine"), "").unwrap();
    fs::create_dir(root.path().join("other")).unwrap();
    let dir = Dir::open_trusted(root.path()).unwrap();
    let mut repair = Repair::of(&dir, OWNER, false).unwrap();
    repair.take(OsStr::new("workspace"), Depth::Itself);
    repair.take(OsStr::new("other"), Depth::FilesOnly);
    repair.run(None, Duration::from_secs(3600), &mut |_| {});
    assert_eq!(repair.finish().given, 1);
    assert_eq!(owner(&root.path().join("workspace")), (4711, 4712));
    assert_eq!(owner(&root.path().join("workspace/mine")), (0, 0));
    assert_eq!(owner(&root.path().join("other")), (0, 0));
}

#[test]
fn l26_a_repair_out_of_time_says_so_and_goes_on_by_itself() {
    if !is_root() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let paths = large_tree(root.path());
    let dir = Dir::open_trusted(root.path()).unwrap();
    let mut repair = Repair::of(&dir, OWNER, false).unwrap();
    repair.take(OsStr::new("wide"), Depth::Everything);
    repair.take(OsStr::new("deep"), Depth::Everything);
    // Whether the threads are faster than this thread's look at the clock is not ours to say.
    let _finished = repair.run(Some(Instant::now()), Duration::from_secs(3600), &mut |_| {});
    let done = repair.finish();
    assert_eq!(done.given, u64::try_from(paths.len()).unwrap());
}

#[test]
fn without_statx_the_same_is_seen() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("file"), "").unwrap();
    let dir = Dir::open_trusted(root.path()).unwrap();
    for (name, flags) in [
        (c"", AtFlags::EMPTY_PATH),
        (c"file", AtFlags::SYMLINK_NOFOLLOW),
    ] {
        let new = Look::at(dir.as_fd(), name, flags).unwrap();
        let old = Look::at_without_statx(dir.as_fd(), name, flags).unwrap();
        assert_eq!((new.kind, new.uid, new.gid), (old.kind, old.uid, old.gid));
        assert_eq!((new.links, new.device), (old.links, old.device));
        assert!(old.is_on(&new));
    }
}

/// Another user's files: what is in a directory that is the owner-to-be's is given by descriptor, all
/// else by name while its directory is root's.
#[test]
fn l27_what_is_given_by_name_is_told_from_links_too() {
    if !is_root() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    let secret = outside.path().join("secret");
    fs::write(&secret, "").unwrap();
    for (name, uid, mode) in [
        ("theirs", 4242, 0o755),
        ("roots", 0, 0o700),
        ("open", 0, 0o777),
    ] {
        let dir = root.path().join(name);
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("file"), "").unwrap();
        symlink(&secret, dir.join("link")).unwrap();
        fs::hard_link(&secret, dir.join("hard")).unwrap();
        fs::set_permissions(&dir, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        chown(&dir, Some(uid), Some(uid)).unwrap();
    }
    let done = repair(root.path(), false);
    assert_eq!((done.given, done.refusals), (6, 3), "{done:?}");
    assert_eq!(owner(&secret), (0, 0));
    for name in ["theirs", "roots", "open"] {
        let dir = root.path().join(name);
        assert_eq!(owner(&dir), (OWNER.uid, OWNER.gid), "{name}");
        assert_eq!(owner(&dir.join("file")), (OWNER.uid, OWNER.gid), "{name}");
        assert_eq!(owner(&dir.join("link")), (0, 0), "{name}");
    }
}

#[test]
fn l27_names_are_relied_on_only_while_nobody_but_root_can_change_them() {
    if !is_root() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let held = |uid: u32, mode: u32| {
        let path = root.path().join(format!("{uid}-{mode:o}"));
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        chown(&path, Some(uid), None).unwrap();
        let repair = Repair::of(&Dir::open_trusted(root.path()).unwrap(), OWNER, false).unwrap();
        let dir = OwnedFd::from(fs::File::open(&path).unwrap());
        let look = Look::at(dir.as_fd(), c"", AtFlags::EMPTY_PATH).unwrap();
        let held = repair.shared.hold(&dir, &look);
        assert_eq!(owner(&path).0, if held { 0 } else { uid });
        held
    };
    assert!(held(0, 0o755) && held(4242, 0o700));
    // Somebody else's group may write; the owner-to-be is never locked out.
    assert!(!held(0, 0o775) && !held(4242, 0o702) && !held(OWNER.uid, 0o755));
}

/// Whoever repairs at the same time may rely on names: no directory is given under its hands.
#[test]
fn a_second_repair_leaves_directories_to_the_first() {
    if !is_root() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("inner")).unwrap();
    fs::write(root.path().join("inner/file"), "").unwrap();
    let dir = Dir::open_trusted(root.path()).unwrap();
    let first = Repair::of(&dir, OWNER, false).unwrap();
    let second = repair(root.path(), false);
    assert_eq!((second.given, second.refusals), (1, 1), "{second:?}");
    assert_eq!(owner(&root.path().join("inner")), (0, 0));
    drop(first);
    assert_eq!(repair(root.path(), false).given, 1);
}
