//! A hostile neighbour plants links, FIFOs, hard links and mounts; none of them leads out of the directory.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use super::*;

/// A directory to work in, and beside it what must never be touched.
struct World {
    root: tempfile::TempDir,
    dir: Dir,
}

fn world() -> World {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("home")).unwrap();
    fs::write(root.path().join("secret"), "root's").unwrap();
    let dir = Dir::open_trusted(&root.path().join("home")).unwrap();
    World { root, dir }
}

impl World {
    fn home(&self, name: &str) -> std::path::PathBuf {
        self.root.path().join("home").join(name)
    }

    fn secret_is_untouched(&self) {
        let path = self.root.path().join("secret");
        assert_eq!(fs::read_to_string(&path).unwrap(), "root's");
        assert_eq!(fs::metadata(path).unwrap().mode() & 0o777, 0o644);
    }
}

const OWNER: Owner = Owner {
    uid: 4711,
    gid: 4711,
};

#[test]
fn l27_a_link_in_place_of_a_file_is_not_followed() {
    let world = world();
    symlink("../secret", world.home("file")).unwrap();
    assert!(world.dir.open_file("file").is_err());
    assert!(world.dir.append_file("file", 0o600).is_err());
    assert!(world.dir.set_mode("file", 0o777).is_err());
    assert!(world.dir.set_owner("file", OWNER).is_err());
    world.secret_is_untouched();
    world.dir.write_atomic("file", b"new", 0o600, None).unwrap();
    assert_eq!(fs::read(world.home("file")).unwrap(), b"new");
    assert!(fs::symlink_metadata(world.home("file")).unwrap().is_file());
    world.secret_is_untouched();
}

#[test]
fn l27_a_link_in_place_of_a_parent_is_not_followed() {
    let world = world();
    symlink("..", world.home("dir")).unwrap();
    assert!(world.dir.open_file("dir/secret").is_err());
    assert!(world.dir.open_dir("dir").is_err());
    assert!(world.dir.open_dir("..").is_err());
    assert!(world.dir.open_file("../secret").is_err());
    assert!(
        world
            .dir
            .open_file(world.root.path().join("secret"))
            .is_err()
    );
    assert!(world.dir.make_dir("dir", 0o755).is_err());
}

#[test]
fn l27_a_file_with_other_hard_links_is_refused() {
    let world = world();
    fs::hard_link(world.root.path().join("secret"), world.home("file")).unwrap();
    assert!(world.dir.open_file("file").is_err());
    assert!(world.dir.append_file("file", 0o600).is_err());
    assert!(world.dir.set_mode("file", 0o777).is_err());
    assert!(world.dir.set_owner("file", OWNER).is_err());
    world.secret_is_untouched();
}

#[test]
fn a_fifo_blocks_nobody_and_is_refused() {
    let world = world();
    rustix::fs::mknodat(
        &world.dir,
        "fifo",
        FileType::Fifo,
        Mode::from_raw_mode(0o666),
        0,
    )
    .unwrap();
    assert!(world.dir.open_file("fifo").is_err());
    assert!(world.dir.append_file("fifo", 0o600).is_err());
    assert!(world.dir.set_mode("fifo", 0o600).is_err());
}

#[test]
fn the_walk_refuses_whatever_openat2_refuses() {
    let world = world();
    fs::create_dir_all(world.home("a/b")).unwrap();
    fs::write(world.home("a/b/file"), "x").unwrap();
    symlink("b", world.home("a/link")).unwrap();
    symlink("file", world.home("a/b/link")).unwrap();
    let open = |path: &str| {
        resolve::walk(
            world.dir.as_fd(),
            Path::new(path),
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .is_ok()
    };
    for path in ["a/b/file", "a", "a/./b", "."] {
        assert!(open(path), "{path} was refused");
        assert!(world.dir.fd_opens(path), "{path} was refused by openat2");
    }
    for path in ["a/link/file", "a/b/link", "..", "a/../..", "/etc/passwd"] {
        assert!(!open(path), "{path} was opened");
        assert!(!world.dir.fd_opens(path), "{path} was opened by openat2");
    }
}

impl Dir {
    fn fd_opens(&self, path: &str) -> bool {
        resolve::open_beneath(self.as_fd(), Path::new(path), OFlags::RDONLY, Mode::empty()).is_ok()
    }
}

#[test]
fn a_written_file_has_its_mode_and_leaves_no_temporary_behind() {
    let world = world();
    world.dir.write_atomic("env", b"one", 0o600, None).unwrap();
    world.dir.write_atomic("env", b"two", 0o640, None).unwrap();
    assert_eq!(world.dir.read("env", 16).unwrap(), b"two");
    let mode = fs::metadata(world.home("env"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o640);
    assert_eq!(world.dir.names().unwrap(), ["env"]);
}

#[test]
fn a_file_over_the_limit_is_an_error_and_a_missing_one_is_none() {
    let world = world();
    fs::write(world.home("file"), "12345").unwrap();
    assert_eq!(world.dir.read("file", 5).unwrap(), b"12345");
    let error = world.dir.read("file", 4).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    assert_eq!(world.dir.read_if_present("absent", 4).unwrap(), None);
}

#[test]
fn names_that_are_paths_are_refused() {
    let world = world();
    for name in ["", ".", "..", "a/b", "/"] {
        assert!(world.dir.make_dir(name, 0o755).is_err(), "{name:?}");
        assert!(world.dir.remove(name).is_err(), "{name:?}");
        assert!(world.dir.remove_tree(name).is_err(), "{name:?}");
        assert!(
            world.dir.write_atomic(name, b"", 0o600, None).is_err(),
            "{name:?}"
        );
    }
}

#[test]
fn a_directory_is_made_once() {
    let world = world();
    assert_eq!(world.dir.make_dir("logs", 0o750).unwrap(), Made::New);
    assert_eq!(world.dir.make_dir("logs", 0o750).unwrap(), Made::Existed);
    fs::write(world.home("file"), "").unwrap();
    assert!(world.dir.make_dir("file", 0o750).is_err());
}

#[test]
fn a_tree_is_removed_without_following_its_links_and_again_without_complaint() {
    let world = world();
    fs::create_dir_all(world.home("tree/a/b")).unwrap();
    fs::write(world.home("tree/a/b/file"), "x").unwrap();
    symlink("../../secret", world.home("tree/a/link")).unwrap();
    symlink("../..", world.home("tree/up")).unwrap();
    world.dir.remove_tree("tree").unwrap();
    world.dir.remove_tree("tree").unwrap();
    assert!(!world.home("tree").exists());
    world.secret_is_untouched();
}

#[test]
fn a_walk_sees_everything_once_and_enters_no_link() {
    let world = world();
    fs::create_dir_all(world.home("a/b")).unwrap();
    fs::write(world.home("a/b/file"), "x").unwrap();
    fs::create_dir(world.home("skipped")).unwrap();
    fs::write(world.home("skipped/inner"), "x").unwrap();
    symlink("..", world.home("up")).unwrap();
    let mut seen = Vec::new();
    world
        .dir
        .walk(&mut |entry| {
            seen.push(entry.name.to_string_lossy().into_owned());
            Ok(if entry.name == "skipped" {
                Visit::Skip
            } else {
                Visit::Enter
            })
        })
        .unwrap();
    seen.sort();
    assert_eq!(seen, ["a", "b", "file", "skipped", "up"]);
}

#[test]
fn an_owner_is_changed_only_where_it_is_another() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root gives files away");
        return;
    }
    let world = world();
    fs::write(world.home("file"), "x").unwrap();
    assert!(world.dir.set_owner("file", OWNER).unwrap());
    assert!(!world.dir.set_owner("file", OWNER).unwrap());
    assert_eq!(fs::metadata(world.home("file")).unwrap().uid(), OWNER.uid);
    world
        .dir
        .write_atomic("given", b"x", 0o600, Some(OWNER))
        .unwrap();
    assert_eq!(fs::metadata(world.home("given")).unwrap().gid(), OWNER.gid);
}

/// A bind mount that is gone when the test is.
struct Bind(std::path::PathBuf);

impl Bind {
    /// `None`, and says so, where mounting isn't allowed.
    fn new(from: &Path, to: &Path) -> Option<Self> {
        match rustix::mount::mount_bind(from, to) {
            Ok(()) => Some(Self(to.to_owned())),
            Err(error) => {
                println!("skipped: bind mounts are not allowed here: {error}");
                None
            }
        }
    }
}

impl Drop for Bind {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
    }
}

#[test]
fn l26_what_is_mounted_in_a_tree_is_left_alone_also_from_the_same_disk() {
    let world = world();
    let own = world.root.path().join("own");
    fs::create_dir(&own).unwrap();
    fs::write(own.join("photo"), "x").unwrap();
    fs::create_dir_all(world.home("tree/mounted")).unwrap();
    fs::write(world.home("tree/file"), "x").unwrap();
    let secret = world.root.path().join("secret");
    let Some(dir_mount) = Bind::new(&own, &world.home("tree/mounted")) else {
        return;
    };
    let file_mount = Bind::new(&secret, &world.home("tree/file")).unwrap();
    let mut seen = Vec::new();
    let mut note = |entry: &Entry<'_>| {
        seen.push(entry.name.to_string_lossy().into_owned());
        Ok(Visit::Enter)
    };
    world.dir.walk(&mut note).unwrap();
    assert_eq!(seen, ["tree"]);
    let refused = world.dir.remove_tree("tree").unwrap_err().to_string();
    assert!(refused.starts_with("something is mounted on"), "{refused}");
    drop((dir_mount, file_mount));
    assert_eq!(fs::read(own.join("photo")).unwrap(), b"x");
    world.dir.remove_tree("tree").unwrap();
    assert_eq!(fs::read(own.join("photo")).unwrap(), b"x");
    world.secret_is_untouched();
}

#[test]
fn a_tree_nested_deeper_than_we_have_descriptors_is_removed() {
    let world = world();
    world.dir.make_dir("deep", 0o755).unwrap();
    let mut at = world.dir.open_dir("deep").unwrap();
    for _ in 0..3000 {
        at.make_dir("d", 0o755).unwrap();
        at = at.open_dir("d").unwrap();
    }
    world.dir.remove_tree("deep").unwrap();
    assert_eq!(world.dir.names().unwrap(), Vec::<OsString>::new());
}

#[test]
fn what_a_killed_writer_leaves_is_known_by_its_name() {
    let name = change::temporary_name(OsStr::new(".env")).unwrap();
    assert!(is_left_of(&name, ".env"), "{}", name.display());
    assert!(!is_left_of(&name, "env") && !is_left_of(&name, "auth.json"));
    for other in ["..env.tmp", ".env", "..env.0123456789abcdeg.tmp"] {
        assert!(!is_left_of(OsStr::new(other), ".env"), "{other}");
    }
}
