//! A kept log's files: `current`, which the log daemon writes, and those it was rotated into, whose
//! names are the time at which each ended, so that names sort by age.
//!
//! The log daemon names and removes them. [`compress`] turns a rotated one into a compressed one,
//! `….log.gz`; the daemon counts and removes those as well, at its next rotation. Killed anywhere,
//! it leaves the plain file, or both, of which the plain one counts.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use rustix::fs::{FileType, OFlags};

use crate::error::HomeError;
use crate::files::Dir;

/// The file that is being written.
pub const CURRENT: &str = "current";
/// What the name of a rotated file ends with.
const ROTATED: &str = ".log";
/// What the name of a compressed one has behind that.
const COMPRESSED: &str = ".gz";
/// A larger file stays as it is. So whoever reads knows how much a compressed one may hold.
const COMPRESSIBLE_BYTES_MAX: u64 = 64 << 20;

/// One file of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFile {
    /// Where it is.
    pub path: PathBuf,
}

/// What a log's file holds, to be read from anywhere in it.
#[derive(Debug)]
pub enum Opened {
    /// As it is.
    Plain(File),
    /// What was compressed.
    Unpacked(Cursor<Vec<u8>>),
}

impl Read for Opened {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.read(buffer),
            Self::Unpacked(bytes) => bytes.read(buffer),
        }
    }
}

impl Seek for Opened {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match self {
            Self::Plain(file) => file.seek(to),
            Self::Unpacked(bytes) => bytes.seek(to),
        }
    }
}

/// A log's files, oldest first. No directory is an empty log: nothing was written yet.
pub fn files(dir: &Path) -> io::Result<Vec<LogFile>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| !name.starts_with('.') && plain_name(name).ends_with(ROTATED))
        .collect();
    names.sort();
    // The plain one sorts before the compressed one that is about to take its place.
    names.dedup_by(|next, kept| plain_name(next) == kept);
    names.push(CURRENT.to_owned());
    let file = |name| LogFile {
        path: dir.join(name),
    };
    Ok(names.into_iter().map(file).collect())
}

/// Bytes of a log on the disk.
pub fn size(dir: &Path) -> u64 {
    let files = files(dir).unwrap_or_default();
    files
        .iter()
        .filter_map(|file| fs::symlink_metadata(&file.path).ok())
        .map(|meta| meta.len())
        .sum()
}

impl LogFile {
    /// Whether it is the one that is being written.
    pub fn is_current(&self) -> bool {
        self.path.ends_with(CURRENT)
    }

    /// Opens it if it is a regular file, and nothing else that an agent may have put in its place.
    /// One that was rotated away or removed meanwhile has nothing to read; one that was compressed
    /// meanwhile is read so.
    pub fn open(&self) -> io::Result<Option<Opened>> {
        let name = self.path.as_os_str().to_string_lossy();
        if name.ends_with(COMPRESSED) {
            return Ok(open(&self.path)?.map(unpack));
        }
        if let Some(file) = open(&self.path)? {
            return Ok(Some(Opened::Plain(file)));
        }
        if self.is_current() {
            return Ok(None);
        }
        let packed = open(&PathBuf::from(format!("{name}{COMPRESSED}")))?;
        Ok(packed.map(unpack))
    }
}

/// Opens a regular file, and nothing else; `None` where there is none.
pub fn open(path: &Path) -> io::Result<Option<File>> {
    let careful = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let flags = i32::try_from(careful.bits()).unwrap_or(0);
    match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) if file.metadata()?.is_file() => Ok(Some(file)),
        Ok(_) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// What can be had of a compressed file: all of it, or what comes before the place where it is
/// damaged.
fn unpack(file: File) -> Opened {
    let mut bytes = Vec::new();
    // An agent may have made it, and made it unpack to any size.
    let mut limited = GzDecoder::new(file).take(COMPRESSIBLE_BYTES_MAX);
    let _ = limited.read_to_end(&mut bytes);
    Opened::Unpacked(Cursor::new(bytes))
}

/// Compresses the rotated files of a log, and says how many.
pub fn compress(dir: &Path) -> Result<usize, HomeError> {
    if !dir.is_dir() {
        return Ok(0);
    }
    let dir = Dir::open(dir)?;
    // A keeper that was killed half-way left one.
    dir.sweep_temps()?;
    let mut done = 0;
    for name in dir.names()? {
        if name.ends_with(ROTATED) && !name.starts_with('.') && compress_file(&dir, &name)? {
            done += 1;
        }
    }
    Ok(done)
}

fn compress_file(dir: &Dir, name: &str) -> Result<bool, HomeError> {
    let is_file = dir.kind(name) == Some(FileType::RegularFile);
    if !is_file
        || dir
            .size(name)
            .is_none_or(|size| size > COMPRESSIBLE_BYTES_MAX)
    {
        return Ok(false);
    }
    let Some(content) = dir.read(name, COMPRESSIBLE_BYTES_MAX)? else {
        return Ok(false);
    };
    let mut packer = GzEncoder::new(Vec::new(), Compression::default());
    let packed = packer
        .write_all(&content.bytes)
        .and_then(|()| packer.finish())
        .map_err(|error| HomeError::io("compress", dir.path_of(name), error))?;
    let to = format!("{name}{COMPRESSED}");
    dir.write_atomic(&to, &packed, content.mode)?;
    if !dir.remove(name)? {
        // The log daemon removed it meanwhile, for it was too much.
        dir.remove(&to)?;
    }
    Ok(true)
}

fn plain_name(name: &str) -> &str {
    name.strip_suffix(COMPRESSED).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const OLD: &str = "2026-11-20T20-00-02.000000Z.log";
    const NEW: &str = "2026-11-20T20-00-04.000000Z.log";

    fn log(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        dir
    }

    fn names(dir: &Path) -> Vec<String> {
        let files = files(dir).unwrap();
        let name = |file: LogFile| file.path.file_name().unwrap().to_str().unwrap().to_owned();
        files.into_iter().map(name).collect()
    }

    fn text(file: &LogFile) -> Option<String> {
        let mut text = String::new();
        file.open().unwrap()?.read_to_string(&mut text).unwrap();
        Some(text)
    }

    fn whole(dir: &Path) -> String {
        files(dir).unwrap().iter().filter_map(text).collect()
    }

    #[test]
    fn what_was_rotated_is_compressed_and_reads_the_same() {
        let long = "the same words again\n".repeat(5000);
        let dir = log(&[(NEW, "b\n"), (OLD, &long), (CURRENT, "c\n"), ("notes", "d")]);
        let mode = fs::Permissions::from_mode(0o640);
        fs::set_permissions(dir.path().join(OLD), mode).unwrap();
        let before = size(dir.path());
        assert_eq!(compress(dir.path()).unwrap(), 2);
        assert_eq!(
            names(dir.path()),
            [format!("{OLD}.gz"), format!("{NEW}.gz"), CURRENT.to_owned()]
        );
        assert_eq!(whole(dir.path()), format!("{long}b\nc\n"));
        assert!(size(dir.path()) < before / 10);
        let packed = fs::metadata(dir.path().join(format!("{OLD}.gz"))).unwrap();
        assert_eq!(packed.permissions().mode() & 0o777, 0o640);
        assert_eq!(compress(dir.path()).unwrap(), 0, "all is done");
        assert_eq!(compress(Path::new("/nonexistent")).unwrap(), 0);
    }

    #[test]
    fn where_a_keeper_was_killed_between_the_two_no_line_is_lost_or_shown_twice() {
        let dir = log(&[(OLD, "a\n"), (CURRENT, "b\n")]);
        compress(dir.path()).unwrap();
        fs::write(dir.path().join(OLD), "a\n").unwrap();
        let half = format!(".{NEW}.gz.herm-tmp-{}-0", i32::MAX);
        fs::write(dir.path().join(&half), "half").unwrap();
        assert_eq!(names(dir.path()), [OLD, CURRENT]);
        assert_eq!(whole(dir.path()), "a\nb\n");
        assert_eq!(compress(dir.path()).unwrap(), 1);
        assert_eq!(whole(dir.path()), "a\nb\n");
        assert!(!dir.path().join(half).exists());
    }

    #[test]
    fn a_file_that_was_compressed_after_it_was_listed_is_read_all_the_same() {
        let dir = log(&[(OLD, "a\n")]);
        let listed = files(dir.path()).unwrap();
        compress(dir.path()).unwrap();
        assert_eq!(text(&listed[0]).as_deref(), Some("a\n"));
        fs::remove_file(dir.path().join(format!("{OLD}.gz"))).unwrap();
        assert_eq!(text(&listed[0]), None);
    }

    #[test]
    fn links_are_neither_compressed_nor_read() {
        let dir = log(&[("secret", "x\n")]);
        let link = dir.path().join(OLD);
        std::os::unix::fs::symlink(dir.path().join("secret"), &link).unwrap();
        assert_eq!(compress(dir.path()).unwrap(), 0);
        assert_eq!(whole(dir.path()), "");
        assert!(link.is_symlink());
    }

    #[test]
    fn a_damaged_or_planted_file_gives_what_it_has_and_no_more_than_it_may() {
        let lines: Vec<String> = (0..2000).map(|n| format!("line {n}\n")).collect();
        let lines = lines.concat();
        let dir = log(&[(OLD, &lines)]);
        compress(dir.path()).unwrap();
        let path = dir.path().join(format!("{OLD}.gz"));
        let packed = fs::read(&path).unwrap();
        fs::write(&path, &packed[..packed.len() / 2]).unwrap();
        let some = whole(dir.path());
        assert!(!some.is_empty() && lines.starts_with(&some));
        let mut bomb = GzEncoder::new(Vec::new(), Compression::fast());
        let block = vec![b'x'; 1 << 20];
        for _ in 0..65 {
            bomb.write_all(&block).unwrap();
        }
        fs::write(&path, bomb.finish().unwrap()).unwrap();
        assert_eq!(whole(dir.path()).len() as u64, COMPRESSIBLE_BYTES_MAX);
    }
}
