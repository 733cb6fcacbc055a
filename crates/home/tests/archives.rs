//! Archives out of and into a home: what leaves, and what foreign ones may not do.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::time::UNIX_EPOCH;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use herm_home::archive::{ArchiveError, Limits, export, import};
use herm_home::profile::{CreateOptions, create};
use herm_home::{Home, HomeError, ProfileName, discover};
use proptest::prelude::*;
use tar::{Builder, EntryType, Header};

struct World {
    dir: tempfile::TempDir,
    home: Home,
}

fn world() -> World {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::new(dir.path().join("home"));
    fs::create_dir(home.root()).unwrap();
    World { dir, home }
}

fn name(text: &str) -> ProfileName {
    ProfileName::parse(text).unwrap()
}

impl World {
    fn write(&self, path: &str, content: &str) {
        let path = self.home.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn has(&self, path: &str) -> bool {
        self.home.root().join(path).symlink_metadata().is_ok()
    }

    fn import(&self, archive: &[u8]) -> Result<ProfileName, HomeError> {
        import(&self.home, archive, None, Limits::default()).map(|imported| imported.name)
    }

    /// The archive is refused, and nothing of it is anywhere.
    fn refuse(&self, archive: &[u8]) -> HomeError {
        let error = self.import(archive).expect_err("the archive was accepted");
        assert_eq!(discover(&self.home).unwrap().profiles.len(), 1);
        let left = fs::read_dir(self.home.profiles_dir()).map_or(0, Iterator::count);
        assert_eq!(left, 0, "work in progress was left");
        assert!(!self.dir.path().join("evil").exists() && !self.has("evil"));
        error
    }
}

/// An archive from raw entries: names are written as they are, which `tar` itself would refuse.
struct Tar(Builder<GzEncoder<Vec<u8>>>);

fn tar() -> Tar {
    Tar(Builder::new(GzEncoder::new(
        Vec::new(),
        Compression::fast(),
    )))
}

impl Tar {
    fn raw(mut self, kind: EntryType, path: &str, content: &[u8], link: &str) -> Self {
        let mut header = Header::new_gnu();
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        header.set_cksum();
        self.0.append(&header, content).unwrap();
        self
    }

    fn file(self, path: &str, content: &str) -> Self {
        self.raw(EntryType::Regular, path, content.as_bytes(), "")
    }

    fn dir(self, path: &str) -> Self {
        self.raw(EntryType::Directory, path, b"", "")
    }

    fn done(self) -> Vec<u8> {
        self.0.into_inner().unwrap().finish().unwrap()
    }
}

fn archive_error(error: HomeError) -> ArchiveError {
    match error {
        HomeError::Archive(error) => error,
        other => panic!("another error: {other}"),
    }
}

fn contents(archive: &[u8]) -> BTreeMap<String, String> {
    let mut archive = tar::Archive::new(GzDecoder::new(archive));
    let mut found = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().display().to_string();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        found.insert(path, text);
    }
    found
}

#[test]
fn an_exported_profile_comes_back_without_secrets_runtime_files_and_links() {
    let world = world();
    create(
        &world.home,
        &name("a"),
        &CreateOptions::default(),
        UNIX_EPOCH,
    )
    .unwrap();
    let long = format!(
        "profiles/a/workspace/{}/{}/file",
        "d".repeat(120),
        "e".repeat(120)
    );
    for (path, content) in [
        ("profiles/a/config.yaml", "model: m\n"),
        ("profiles/a/skills/s/SKILL.md", "skill"),
        ("profiles/a/workspace/ü ö", "unicode"),
        (long.as_str(), "long"),
        ("profiles/a/.env", "KEY=secret"),
        ("profiles/a/.env.bak", "KEY=secret"),
        ("profiles/a/auth.json", "secret"),
        ("profiles/a/gateway.pid", "1"),
        ("profiles/a/.herm/desired.json", "{}"),
    ] {
        world.write(path, content);
    }
    symlink(
        "/etc/passwd",
        world.home.root().join("profiles/a/workspace/link"),
    )
    .unwrap();
    let mut archive = Vec::new();
    let exported = export(&world.home, &name("a"), &mut archive).unwrap();
    assert_eq!(exported.links, ["workspace/link"]);

    let inside = contents(&archive);
    assert!(
        inside
            .keys()
            .all(|path| path == "a" || path.starts_with("a/")),
        "{inside:?}"
    );
    assert!(!inside.values().any(|text| text.contains("secret")));

    let name = name("copy");
    let imported = import(
        &world.home,
        archive.as_slice(),
        Some(&name),
        Limits::default(),
    )
    .unwrap();
    assert_eq!(imported.files, exported.files);
    for there in [
        "config.yaml",
        "skills/s/SKILL.md",
        "workspace/ü ö",
        "SOUL.md",
    ] {
        assert!(world.has(&format!("profiles/copy/{there}")), "{there}");
    }
    assert!(world.has(&long.replace("profiles/a/", "profiles/copy/")));
    for gone in [
        ".env",
        ".env.bak",
        "auth.json",
        "gateway.pid",
        ".herm/desired.json",
        "workspace/link",
    ] {
        assert!(!world.has(&format!("profiles/copy/{gone}")), "{gone}");
    }
}

#[test]
fn the_root_profiles_archive_holds_the_profile_and_not_the_home() {
    let world = world();
    create(
        &world.home,
        &name("other"),
        &CreateOptions::default(),
        UNIX_EPOCH,
    )
    .unwrap();
    world.write("SOUL.md", "root");
    world.write("unrelated/file", "x");
    let mut archive = Vec::new();
    export(&world.home, &ProfileName::default_profile(), &mut archive).unwrap();
    let paths: Vec<String> = contents(&archive).into_keys().collect();
    assert!(paths.contains(&"default/SOUL.md".to_owned()));
    assert!(
        !paths
            .iter()
            .any(|path| path.contains("other") || path.contains("unrelated"))
    );
    let error = world.import(&archive).unwrap_err();
    assert_eq!(error.exit_code(), 2, "it can't become 'default': {error}");
}

#[test]
fn an_archive_of_the_agents_own_is_accepted() {
    // Python's tarfile writes POSIX headers before entries with long or foreign names.
    let path = format!("a/{}/SKILL.md", "x".repeat(150));
    let record = format!(" path={path}\n");
    let length = record.len() + 3;
    let world = world();
    let archive = tar()
        .dir("a")
        .file("a/SOUL.md", "soul")
        .raw(
            EntryType::XHeader,
            "a/pax",
            format!("{length}{record}").as_bytes(),
            "",
        )
        .file("a/short", "skill")
        .done();
    assert_eq!(world.import(&archive).unwrap(), name("a"));
    assert!(world.has(&format!("profiles/{path}")));
    assert!(!world.has("profiles/a/short"));
}

#[test]
fn importing_is_no_order_and_brings_no_state() {
    let world = world();
    let archive = tar()
        .file("a/SOUL.md", "soul")
        .file("a/gateway_state.json", r#"{"desired_state":"running"}"#)
        .file(
            "a/.herm/desired.json",
            r#"{"state":"running","generation":1,"by":"x","when":"x"}"#,
        )
        .done();
    world.import(&archive).unwrap();
    assert!(
        !world.has("profiles/a/gateway_state.json") && !world.has("profiles/a/.herm/desired.json")
    );
}

#[test]
fn paths_that_lead_out_are_refused() {
    let world = world();
    for path in [
        "a/../../evil",
        "../evil",
        "/evil",
        "a/..",
        "a/x/../../../evil",
        "a\\..\\evil",
    ] {
        let error = world.refuse(&tar().file("a/SOUL.md", "").file(path, "x").done());
        assert!(
            matches!(archive_error(error), ArchiveError::Path(_)),
            "{path}"
        );
    }
}

#[test]
fn links_and_devices_are_refused() {
    let world = world();
    for (kind, what) in [
        (EntryType::Symlink, "a symlink"),
        (EntryType::Link, "a hard link"),
        (EntryType::Char, "a device"),
        (EntryType::Block, "a device"),
        (EntryType::Fifo, "a named pipe"),
    ] {
        let archive = tar()
            .file("a/SOUL.md", "")
            .raw(kind, "a/x", b"", "../../../evil")
            .done();
        assert_eq!(
            archive_error(world.refuse(&archive)),
            ArchiveError::Kind {
                what,
                path: "a/x".into()
            }
        );
    }
    let through = tar()
        .file("a/SOUL.md", "")
        .raw(EntryType::Symlink, "a/d", b"", "../..")
        .file("a/d/evil", "x");
    world.refuse(&through.done());
}

#[test]
fn the_same_path_twice_is_refused() {
    let world = world();
    let base = || tar().file("a/SOUL.md", "");
    for archive in [
        base().file("a/x", "1").file("a/./x", "2"),
        base().file("a/x", "1").file("a/x/y", "2"),
        base().file("a/x/y", "1").file("a/x", "2"),
        base().file("a/x", "1").dir("a/x"),
    ] {
        assert!(matches!(
            archive_error(world.refuse(&archive.done())),
            ArchiveError::Duplicate(_)
        ));
    }
    let twice = base().dir("a/x").dir("a/x").done();
    world
        .import(&twice)
        .expect("a directory may be named twice");
}

#[test]
fn what_is_no_profile_is_refused() {
    let world = world();
    let several = tar().file("a/SOUL.md", "").file("b/SOUL.md", "").done();
    assert!(matches!(
        archive_error(world.refuse(&several)),
        ArchiveError::SeveralRoots(_)
    ));
    let beside = tar().file("SOUL.md", "").done();
    assert!(matches!(
        archive_error(world.refuse(&beside)),
        ArchiveError::SeveralRoots(_)
    ));
    let soulless = tar().file("a/config.yaml", "").done();
    assert_eq!(
        archive_error(world.refuse(&soulless)),
        ArchiveError::NoProfile
    );
    assert_eq!(
        archive_error(world.refuse(&tar().done())),
        ArchiveError::NoProfile
    );
    let bad_name = world.refuse(&tar().file("A B/SOUL.md", "").done());
    assert_eq!(bad_name.exit_code(), 2);
}

#[test]
fn an_existing_profile_is_never_overwritten() {
    let world = world();
    create(
        &world.home,
        &name("a"),
        &CreateOptions::default(),
        UNIX_EPOCH,
    )
    .unwrap();
    let archive = tar().file("a/SOUL.md", "another").done();
    assert!(matches!(
        world.import(&archive),
        Err(HomeError::Exists { .. })
    ));
    assert_ne!(
        fs::read(world.home.root().join("profiles/a/SOUL.md")).unwrap(),
        b"another"
    );
}

#[test]
fn an_archive_cut_anywhere_is_refused_and_leaves_nothing() {
    let world = world();
    let noise: String = (0..4000u32)
        .map(|i| char::from(b'a' + (i * i % 23) as u8))
        .collect();
    let whole = tar()
        .dir("a")
        .file("a/SOUL.md", "soul")
        .file("a/big", &noise)
        .done();
    for cut in (0..whole.len()).step_by(7).chain([whole.len() - 1]) {
        world.refuse(&whole[..cut]);
    }
    let mut flipped = whole.clone();
    let last = flipped.len() - 6;
    flipped[last] ^= 0xff;
    world.refuse(&flipped);
    world.import(&whole).unwrap();
}

#[test]
fn bombs_stop_at_the_limits() {
    let world = world();
    let small = Limits {
        bytes: 10_000,
        entries: 20,
    };
    let refuse = |archive: &[u8]| {
        let error = import(&world.home, archive, None, small).unwrap_err();
        assert_eq!(fs::read_dir(world.home.profiles_dir()).unwrap().count(), 0);
        assert!(matches!(
            archive_error(error),
            ArchiveError::TooLarge { .. }
        ));
    };
    refuse(
        &tar()
            .file("a/SOUL.md", "")
            .file("a/zeros", &"\0".repeat(20_000))
            .done(),
    );
    refuse(
        &(0..30)
            .fold(tar(), |tar, i| tar.file(&format!("a/{i}"), ""))
            .done(),
    );
    let name = vec![b'x'; 200_000];
    refuse(
        &tar()
            .raw(EntryType::GNULongName, "././@LongLink", &name, "")
            .file("a/x", "")
            .done(),
    );
}

#[test]
fn what_follows_the_archive_in_its_stream_is_limited_too() {
    let world = world();
    let mut plain = Vec::new();
    GzDecoder::new(tar().file("a/SOUL.md", "").done().as_slice())
        .read_to_end(&mut plain)
        .unwrap();
    plain.extend(vec![0; 4 << 20]);
    let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
    bomb.write_all(&plain).unwrap();
    let error = import(
        &world.home,
        bomb.finish().unwrap().as_slice(),
        None,
        Limits {
            bytes: 10,
            entries: 5,
        },
    );
    assert!(matches!(
        archive_error(error.unwrap_err()),
        ArchiveError::TooLarge { .. }
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn random_bytes_are_no_archive(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        world().refuse(&bytes);
    }

    #[test]
    fn whatever_the_paths_nothing_is_written_outside(
        paths in prop::collection::vec("[a/.\\\\]{1,12}", 1..6),
    ) {
        let world = world();
        let archive = paths.iter().fold(tar().file("a/SOUL.md", ""), |tar, path| tar.file(path, "x")).done();
        let _ = world.import(&archive);
        let outside: Vec<_> = fs::read_dir(world.dir.path()).unwrap().collect();
        prop_assert_eq!(outside.len(), 1);
        let in_home = fs::read_dir(world.home.root()).unwrap().count();
        prop_assert!(in_home <= 1, "only profiles/ may be there");
    }
}
