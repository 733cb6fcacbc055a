//! Profiles that come as archives from elsewhere.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use herm_home::archive::{Imported, Limits, import};
use herm_home::{Home, HomeError, ProfileName, discover};
use tempfile::TempDir;

/// Small, so that they are met.
const LIMITS: Limits = Limits {
    bytes: 4096,
    entries: 32,
};

/// What begins a gzip stream.
const GZIP: &[u8] = &[0x1f, 0x8b];
const BLOCK: usize = 512;

/// A directory in memory, where there is such a place: nothing here has to outlive a crash.
pub(crate) fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    let place = if memory.is_dir() {
        memory.to_owned()
    } else {
        std::env::temp_dir()
    };
    tempfile::tempdir_in(place).expect("a directory can be made")
}

/// The bytes of an archive, or of a tar that was not compressed.
pub fn bytes(data: &[u8]) {
    if data.starts_with(GZIP) {
        imported_or_refused(data);
    } else {
        imported_or_refused(&compressed(data));
    }
}

/// The entries of an archive, one a line: type, path, tab, content. So every entry has a header
/// that is right, which mutated bytes don't.
pub fn entries(data: &[u8]) {
    let mut tar = Vec::new();
    for line in data.split(|byte| *byte == b'\n') {
        if let Some((kind, rest)) = line.split_first() {
            let mut fields = rest.splitn(2, |byte| *byte == b'\t');
            let path = fields.next().unwrap_or_default();
            append(&mut tar, *kind, path, fields.next().unwrap_or_default());
        }
    }
    tar.resize(tar.len() + 2 * BLOCK, 0);
    imported_or_refused(&compressed(&tar));
}

/// One entry of a tar (POSIX ustar): a header with a checksum, and the content in whole blocks.
fn append(tar: &mut Vec<u8>, kind: u8, path: &[u8], content: &[u8]) {
    let mut header = [0_u8; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| {
        header
            .iter_mut()
            .skip(at)
            .zip(bytes)
            .for_each(|(to, from)| *to = *from);
    };
    put(0, &path[..path.len().min(100)]);
    put(100, b"0000644\0");
    put(124, format!("{:011o}", content.len()).as_bytes());
    put(148, b"        ");
    put(156, &[kind]);
    put(157, b"elsewhere");
    put(257, b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    tar.extend_from_slice(&header);
    tar.extend_from_slice(content);
    tar.resize(tar.len().next_multiple_of(BLOCK), 0);
}

fn compressed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::none());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The profile appears whole or not at all; nothing else does, in the home or beside it.
fn imported_or_refused(archive: &[u8]) {
    let scratch = scratch();
    let root = scratch.path().join("home");
    std::fs::create_dir(&root).unwrap();
    let home = Home::new(&root);
    let name = ProfileName::parse("writer").unwrap();
    let result = import(&home, archive, Some(&name), LIMITS);
    let mut files = BTreeSet::new();
    look(scratch.path(), &mut files);
    let inside = home.profile(&name).dir().to_owned();
    let expected: Vec<&Path> = vec![&root, home_profiles(&home, &files)];
    let outside = files.iter().filter(|path| !path.starts_with(&inside));
    assert!(
        outside
            .map(PathBuf::as_path)
            .all(|path| expected.contains(&path)),
        "{files:?}"
    );
    match result {
        Ok(imported) => whole(&home, &imported, &inside, &files),
        // A disk that is full, or a bug: nothing the archive's bytes may lead to.
        Err(HomeError::Io { .. }) => panic!("{:?}", result.unwrap_err()),
        Err(_) => assert!(!inside.exists()),
    }
}

fn home_profiles<'a>(home: &Home, files: &'a BTreeSet<PathBuf>) -> &'a Path {
    files
        .get(&home.profiles_dir())
        .map_or(Path::new(""), PathBuf::as_path)
}

fn whole(home: &Home, imported: &Imported, inside: &Path, files: &BTreeSet<PathBuf>) {
    let found = discover(home).unwrap().profiles;
    assert!(found.contains(&imported.name));
    assert!(inside.join("SOUL.md").is_file());
    let regular: Vec<_> = files.iter().filter(|path| path.is_file()).collect();
    assert_eq!(regular.len() as u64, imported.files);
    let bytes: u64 = regular
        .iter()
        .map(|path| path.metadata().unwrap().len())
        .sum();
    assert_eq!(bytes, imported.bytes);
    assert!(imported.bytes <= LIMITS.bytes && imported.files <= LIMITS.entries);
}

/// Everything below a directory, none of which is a link or something to talk to.
fn look(directory: &Path, files: &mut BTreeSet<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        assert!(
            kind.is_dir() || kind.is_file(),
            "{}",
            entry.path().display()
        );
        if kind.is_dir() {
            look(&entry.path(), files);
        }
        files.insert(entry.path());
    }
}
