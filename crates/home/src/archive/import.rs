//! A foreign archive into the home.

use std::collections::HashSet;
use std::io::{self, Read};

use flate2::read::MultiGzDecoder;
use tar::{Archive, EntryType, PaxExtensions};

use crate::archive::ArchiveError;
use crate::error::HomeError;
use crate::files::{Dir, PRIVATE};
use crate::layout::{AUTH, DOTENV, Home, SEEDED_DIRS, SOUL};
use crate::name::ProfileName;
use crate::profile::ensure_free;
use crate::runtime::is_runtime;
use crate::staging::Staging;
use crate::tree::MAX_DEPTH;

/// Longest path in an archive, in bytes.
const MAX_PATH: usize = 4096;

/// Largest extension header, in bytes.
const MAX_EXTENSION: u64 = 64 << 10;

/// How much an archive may unpack to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all files together.
    pub bytes: u64,
    /// Entries.
    pub entries: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: 8 << 30,
            entries: 500_000,
        }
    }
}

/// A profile that was imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// Its name.
    pub name: ProfileName,
    /// Files in it.
    pub files: u64,
    /// Bytes in them.
    pub bytes: u64,
}

/// Unpacks a profile's archive under `name`, or under the name of its top-level directory. The
/// profile appears whole or not at all. Importing is no order to start it: runtime files and
/// herm's own records in the archive are passed over.
pub fn import(
    home: &Home,
    archive: impl Read,
    name: Option<&ProfileName>,
    limits: Limits,
) -> Result<Imported, HomeError> {
    if let Some(name) = name {
        ensure_free(home, name)?;
    }
    let staging = Staging::begin(home)?;
    let mut unpacking = Unpacking {
        to: staging.dir(),
        limits,
        root: None,
        seen: HashSet::new(),
        files: 0,
        bytes: 0,
    };
    unpacking.unpack(MultiGzDecoder::new(archive))?;
    let Unpacking {
        root, files, bytes, ..
    } = unpacking;
    let name = match (name, root) {
        (Some(name), Some(_)) => name.clone(),
        (None, Some(root)) => ProfileName::for_new(&root)?,
        (_, None) => return Err(ArchiveError::NoProfile.into()),
    };
    ensure_free(home, &name)?;
    if staging.dir().size(SOUL).is_none() {
        return Err(ArchiveError::NoProfile.into());
    }
    for dir in SEEDED_DIRS {
        staging.dir().ensure_child(dir, 0o755)?;
    }
    staging.dir().sync_all()?;
    staging.publish(&name)?;
    Ok(Imported { name, files, bytes })
}

struct Unpacking<'a> {
    to: &'a Dir,
    limits: Limits,
    root: Option<String>,
    seen: HashSet<String>,
    files: u64,
    bytes: u64,
}

impl Unpacking<'_> {
    fn unpack(&mut self, compressed: MultiGzDecoder<impl Read>) -> Result<(), HomeError> {
        // What is read is limited as well as what is written: headers and padding count, too.
        let room = self
            .limits
            .bytes
            .saturating_add(self.limits.entries.saturating_mul(2 << 10));
        let mut archive = Archive::new(compressed.take(room.saturating_add(1 << 20)));
        let mut entries = 0u64;
        let mut long_path = None;
        // Raw, because the reader would hold a long path of any length in memory.
        for entry in archive.entries().map_err(|e| damaged(&e))?.raw(true) {
            let mut entry = entry.map_err(|e| damaged(&e))?;
            entries += 1;
            if entries > self.limits.entries {
                return Err(too_large(self.limits.entries, "entries"));
            }
            let kind = entry.header().entry_type();
            match kind {
                EntryType::GNULongName => long_path = Some(gnu_path(&mut entry)?),
                EntryType::XHeader => long_path = pax_path(&mut entry)?.or(long_path),
                EntryType::XGlobalHeader | EntryType::GNULongLink => {}
                _ => {
                    let mode = entry.header().mode().unwrap_or(PRIVATE);
                    let path = long_path
                        .take()
                        .unwrap_or_else(|| entry.path_bytes().into_owned());
                    let path = String::from_utf8(path)
                        .map_err(|e| ArchiveError::Path(e.as_bytes().escape_ascii().to_string()))?;
                    self.entry(kind, &path, mode, &mut entry)?;
                }
            }
        }
        // The end of the compressed stream carries its checksum: without it the archive was cut
        // short or damaged after its last entry.
        let mut rest = archive.into_inner();
        io::copy(&mut rest, &mut io::sink()).map_err(|e| damaged(&e))?;
        if rest.limit() == 0 {
            Err(too_large(self.limits.bytes, "bytes"))
        } else {
            Ok(())
        }
    }

    fn entry(
        &mut self,
        kind: EntryType,
        path: &str,
        mode: u32,
        content: &mut impl Read,
    ) -> Result<(), HomeError> {
        let parts = safe_parts(path)?;
        let Some((root, inside)) = parts.split_first() else {
            return Ok(());
        };
        let is_dir = kind == EntryType::Directory;
        let beside = self.root.as_deref().is_some_and(|known| known != *root);
        if beside || (inside.is_empty() && !is_dir && is_file(kind)) {
            return Err(ArchiveError::SeveralRoots(path.to_owned()).into());
        }
        self.root.get_or_insert_with(|| (*root).to_owned());
        let inside = inside.join("/");
        if !is_dir && !is_file(kind) {
            return Err(ArchiveError::Kind {
                what: kind_name(kind),
                path: path.to_owned(),
            }
            .into());
        }
        if inside.is_empty() || is_runtime(&inside) {
            return Ok(());
        }
        if is_dir {
            self.directory(&inside, path)
        } else {
            self.file(inside, path, mode, content)
        }
    }

    fn directory(&self, inside: &str, path: &str) -> Result<(), HomeError> {
        if self.seen.contains(inside) {
            return Err(ArchiveError::Duplicate(path.to_owned()).into());
        }
        self.to
            .descend(inside)
            .map(drop)
            .map_err(|e| clash(e, path))
    }

    fn file(
        &mut self,
        inside: String,
        path: &str,
        mode: u32,
        content: &mut impl Read,
    ) -> Result<(), HomeError> {
        let (parent, name) = self
            .to
            .descend_to_parent(&inside)
            .map_err(|e| clash(e, path))?;
        if parent.exists(name) {
            return Err(ArchiveError::Duplicate(path.to_owned()).into());
        }
        let secret = [DOTENV, AUTH].contains(&inside.as_str());
        let mode = if secret {
            PRIVATE
        } else {
            (mode & 0o777) | PRIVATE
        };
        let room = self.limits.bytes - self.bytes;
        let mut written = 0;
        let mut read_error = None;
        parent.create_file(name, mode, |file| {
            written = copy_limited(content, file, room, &mut read_error)?;
            Ok(())
        })?;
        if let Some(e) = read_error {
            return Err(damaged(&e));
        }
        if written > room {
            return Err(too_large(self.limits.bytes, "bytes"));
        }
        self.bytes += written;
        self.files += 1;
        self.seen.insert(inside);
        Ok(())
    }
}

/// The path in a GNU long-name entry, which is that of the entry after it.
fn gnu_path(entry: &mut impl Read) -> Result<Vec<u8>, HomeError> {
    let mut path = extension(entry)?;
    path.truncate(
        path.iter()
            .position(|byte| *byte == 0)
            .unwrap_or(path.len()),
    );
    Ok(path)
}

/// The path in a POSIX extended header, which is that of the entry after it. A size there is for
/// files that a plain header can't describe, larger than any limit.
fn pax_path(entry: &mut impl Read) -> Result<Option<Vec<u8>>, HomeError> {
    let mut path = None;
    for field in PaxExtensions::new(&extension(entry)?) {
        let field = field.map_err(|e| damaged(&e))?;
        match field.key_bytes() {
            b"path" => path = Some(field.value_bytes().to_vec()),
            b"size" => {
                return Err(ArchiveError::Damaged("a file of extended size".to_owned()).into());
            }
            _ => {}
        }
    }
    Ok(path)
}

fn extension(entry: &mut impl Read) -> Result<Vec<u8>, HomeError> {
    let mut bytes = Vec::new();
    entry
        .take(MAX_EXTENSION + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| damaged(&e))?;
    if bytes.len() as u64 > MAX_EXTENSION {
        return Err(too_large(MAX_EXTENSION, "bytes of one header"));
    }
    Ok(bytes)
}

/// Copies up to one byte more than `room`, and keeps the reader's errors (the archive is damaged)
/// apart from the writer's (the disk is full).
fn copy_limited(
    from: &mut impl Read,
    to: &mut impl io::Write,
    room: u64,
    read_error: &mut Option<io::Error>,
) -> io::Result<u64> {
    let mut from = from.take(room.saturating_add(1));
    let mut buffer = [0; 16 << 10];
    let mut copied = 0;
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => return Ok(copied),
            Ok(read) => read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => {
                *read_error = Some(e);
                return Ok(copied);
            }
        };
        to.write_all(buffer.get(..read).unwrap_or_default())?;
        copied += read as u64;
    }
}

/// The components of a path, none of which leads anywhere but down.
fn safe_parts(path: &str) -> Result<Vec<&str>, HomeError> {
    let unsafe_path = || HomeError::from(ArchiveError::Path(path.chars().take(200).collect()));
    if path.starts_with('/') || path.len() > MAX_PATH || path.contains(['\0', '\\']) {
        return Err(unsafe_path());
    }
    let parts: Vec<&str> = path
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    let bad = |part: &&str| *part == ".." || part.len() > 255;
    if parts.iter().any(bad) || parts.len() > MAX_DEPTH {
        return Err(unsafe_path());
    }
    Ok(parts)
}

fn is_file(kind: EntryType) -> bool {
    matches!(kind, EntryType::Regular | EntryType::Continuous)
}

fn kind_name(kind: EntryType) -> &'static str {
    match kind {
        EntryType::Symlink => "a symlink",
        EntryType::Link => "a hard link",
        EntryType::Char | EntryType::Block => "a device",
        EntryType::Fifo => "a named pipe",
        _ => "an unknown kind of entry",
    }
}

/// A file where a directory has to be: the archive names one path as both.
fn clash(error: HomeError, path: &str) -> HomeError {
    match error {
        HomeError::WrongKind { .. } => ArchiveError::Duplicate(path.to_owned()).into(),
        other => other,
    }
}

fn damaged(error: &io::Error) -> HomeError {
    ArchiveError::Damaged(error.to_string()).into()
}

fn too_large(limit: u64, unit: &'static str) -> HomeError {
    ArchiveError::TooLarge { limit, unit }.into()
}
