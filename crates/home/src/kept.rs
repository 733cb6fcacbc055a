//! A kept log's files: `current`, which the log daemon writes, and those it was rotated into, whose
//! names are the time at which each ended, so that names sort by age.
//!
//! The log daemon names and removes them. [`compress`] turns a rotated one into a compressed one,
//! `….log.gz`; the daemon counts and removes those as well, at its next rotation. Killed anywhere,
//! it leaves the plain file, or both, of which the plain one counts.
//!
//! All of that goes on while somebody reads, who therefore holds the files of one moment ([`Held`]).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

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

/// Looks at a directory that changes under it, at most.
const LOOKS: usize = 16;
/// Bytes by whose sameness a compressed file is known to be the one it was made of.
const TELLING_BYTES: u64 = 256;

/// A log at one moment: its files, held open, so that no line is missed or read twice while they are
/// rotated, compressed and removed.
#[derive(Debug, Default)]
pub struct Held {
    /// Oldest first; the one that was being written is the last, if there is one.
    files: Vec<HeldFile>,
    /// Where that one's whole lines ended.
    end: u64,
}

/// One of them.
#[derive(Debug)]
pub struct HeldFile {
    /// Its name without what compression adds to it.
    name: String,
    file: File,
    is_packed: bool,
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

impl Opened {
    /// How many bytes there are now.
    pub fn length(&self) -> io::Result<u64> {
        match self {
            Self::Plain(file) => file.metadata().map(|meta| meta.len()),
            Self::Unpacked(bytes) => Ok(bytes.get_ref().len() as u64),
        }
    }

    /// Where its whole lines end now: behind that one is being written.
    fn whole_lines(&mut self) -> io::Result<u64> {
        let mut end = self.length()?;
        let mut block = vec![0; 64 * 1024];
        while end > 0 {
            let begin = end.saturating_sub(block.len() as u64);
            let piece = usize::try_from(end - begin).unwrap_or(block.len());
            let piece = block.get_mut(..piece).unwrap_or_default();
            self.seek(SeekFrom::Start(begin))?;
            self.read_exact(piece)?;
            if let Some(at) = piece.iter().rposition(|byte| *byte == b'\n') {
                return Ok(begin + at as u64 + 1);
            }
            end = begin;
        }
        Ok(0)
    }

    fn identity(&self) -> Option<(u64, u64)> {
        match self {
            Self::Plain(file) => identity(file),
            Self::Unpacked(_) => None,
        }
    }
}

impl Held {
    /// Holds the files of a log as they are now. No directory is an empty log: nothing was written yet.
    pub fn of(dir: &Path) -> io::Result<Self> {
        let mut looked = Self::look(dir)?;
        for _ in 1..LOOKS {
            if looked.is_ok() {
                break;
            }
            looked = Self::look(dir)?;
        }
        // If it is rotated faster than it can be looked at, what was had is had.
        let mut held = looked.unwrap_or_else(|torn| torn);
        if let Some(current) = held.current() {
            held.end = current.read()?.whole_lines()?;
        }
        Ok(held)
    }

    /// One look; an error is one between whose beginning and end the log was rotated in a way that
    /// leaves open which files belong together.
    fn look(dir: &Path) -> io::Result<Result<Self, Self>> {
        // The moment is the one at which this is opened: what was rotated before is in the list.
        let current = open(&dir.join(CURRENT))?;
        let mut files = Vec::new();
        for name in names(dir)? {
            files.extend(HeldFile::open(dir, &name)?);
        }
        let ours = current.as_ref().and_then(identity);
        let rotated = files
            .iter()
            .position(|file| ours.is_some() && identity(&file.file) == ours);
        let is_whole = match rotated {
            // It was rotated meanwhile: what comes after it is newer.
            Some(at) => {
                files.truncate(at);
                true
            }
            None => open(&dir.join(CURRENT))?.as_ref().and_then(identity) == ours,
        };
        files.extend(current.map(|file| HeldFile {
            name: CURRENT.to_owned(),
            file,
            is_packed: false,
        }));
        let held = Self { files, end: 0 };
        Ok(if is_whole { Ok(held) } else { Err(held) })
    }

    /// The files, oldest first.
    pub fn into_files(self) -> Vec<HeldFile> {
        self.files
    }

    /// The one that was being written.
    pub fn current(&self) -> Option<&HeldFile> {
        self.files.last().filter(|file| file.is_current())
    }

    /// Where its whole lines ended at that moment.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// The name of the newest that was rotated; empty where there is none.
    pub fn newest_rotated(&self) -> &str {
        let rotated = self.files.iter().rev().find(|file| !file.is_current());
        rotated.map_or("", |file| file.name.as_str())
    }

    /// Those that began after one that was read, which was `current` when the newest rotated one was
    /// of this name.
    pub fn after(self, read: Option<&mut Opened>, newest: &str) -> io::Result<Vec<HeldFile>> {
        let known = read.as_ref().and_then(|read| read.identity());
        let at = self
            .files
            .iter()
            .position(|file| known.is_some() && identity(&file.file) == known);
        if let Some(at) = at {
            return Ok(self.files.into_iter().skip(at + 1).collect());
        }
        // It was compressed or removed since. If it is here, it is the first of them.
        let mut newer: Vec<HeldFile> = self
            .files
            .into_iter()
            .filter(|file| file.is_current() || file.name.as_str() > newest)
            .collect();
        if let (Some(first), Some(read)) = (newer.first(), read)
            && first.is_packed
            && first.is_made_of(read)?
        {
            newer.remove(0);
        }
        Ok(newer)
    }
}

impl HeldFile {
    /// Opens a rotated file, compressed or not, if it is a regular one, and nothing else that an agent
    /// may have put in its place. One that was removed meanwhile has nothing to read.
    fn open(dir: &Path, name: &str) -> io::Result<Option<Self>> {
        let held = |file: Option<File>, is_packed| {
            file.map(|file| Self {
                name: plain_name(name).to_owned(),
                file,
                is_packed,
            })
        };
        let path = dir.join(name);
        if name.ends_with(COMPRESSED) {
            return Ok(held(open(&path)?, true));
        }
        if let Some(plain) = held(open(&path)?, false) {
            return Ok(Some(plain));
        }
        // It may have been compressed since it was listed.
        Ok(held(open(&dir.join(format!("{name}{COMPRESSED}")))?, true))
    }

    /// Whether it is the one that was being written.
    pub fn is_current(&self) -> bool {
        self.name == CURRENT
    }

    /// The number of the file.
    pub fn inode(&self) -> io::Result<u64> {
        self.file.metadata().map(|meta| meta.ino())
    }

    /// What it holds.
    pub fn read(&self) -> io::Result<Opened> {
        let mut file = self.file.try_clone()?;
        file.rewind()?;
        Ok(if self.is_packed {
            unpack(file)
        } else {
            Opened::Plain(file)
        })
    }

    fn is_made_of(&self, read: &mut Opened) -> io::Result<bool> {
        let mut packed = self.read()?;
        if packed.length()? != read.length()? {
            return Ok(false);
        }
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        packed.by_ref().take(TELLING_BYTES).read_to_end(&mut ours)?;
        read.rewind()?;
        read.by_ref().take(TELLING_BYTES).read_to_end(&mut theirs)?;
        Ok(ours == theirs)
    }
}

/// The names of a log's rotated files, oldest first. One that is being compressed while a directory is
/// read may show under neither of its names; so it is read until twice in a row it is the same.
fn names(dir: &Path) -> io::Result<Vec<String>> {
    let mut last = names_once(dir)?;
    for _ in 1..LOOKS {
        let next = names_once(dir)?;
        if next == last {
            break;
        }
        last = next;
    }
    Ok(last)
}

fn names_once(dir: &Path) -> io::Result<Vec<String>> {
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
    Ok(names)
}

/// Bytes of a log on the disk.
pub fn size(dir: &Path) -> u64 {
    let rotated = names_once(dir).unwrap_or_default();
    rotated
        .iter()
        .map(String::as_str)
        .chain([CURRENT])
        .filter_map(|name| fs::symlink_metadata(dir.join(name)).ok())
        .map(|meta| meta.len())
        .sum()
}

fn identity(file: &File) -> Option<(u64, u64)> {
    let meta = file.metadata().ok()?;
    Some((meta.dev(), meta.ino()))
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

    fn text(file: &HeldFile) -> String {
        let mut text = String::new();
        file.read().unwrap().read_to_string(&mut text).unwrap();
        text
    }

    fn whole(dir: &Path) -> String {
        texts(&Held::of(dir).unwrap().into_files()).concat()
    }

    fn texts(files: &[HeldFile]) -> Vec<String> {
        files.iter().map(text).collect()
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
            names(dir.path()).unwrap(),
            [format!("{OLD}.gz"), format!("{NEW}.gz")]
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
        assert_eq!(names(dir.path()).unwrap(), [OLD]);
        assert_eq!(whole(dir.path()), "a\nb\n");
        assert_eq!(compress(dir.path()).unwrap(), 1);
        assert_eq!(whole(dir.path()), "a\nb\n");
        assert!(!dir.path().join(half).exists());
    }

    #[test]
    fn what_was_compressed_after_it_was_listed_is_read_all_the_same() {
        let dir = log(&[(OLD, "a\n")]);
        let listed = names(dir.path()).unwrap();
        compress(dir.path()).unwrap();
        let found = HeldFile::open(dir.path(), &listed[0]).unwrap();
        assert_eq!(found.as_ref().map(text).as_deref(), Some("a\n"));
        fs::remove_file(dir.path().join(format!("{OLD}.gz"))).unwrap();
        assert!(HeldFile::open(dir.path(), &listed[0]).unwrap().is_none());
    }

    #[test]
    fn what_is_held_stays_whole_while_it_is_rotated_compressed_and_removed() {
        let dir = log(&[(OLD, "a\n"), (CURRENT, "b\n")]);
        let held = Held::of(dir.path()).unwrap();
        fs::rename(dir.path().join(CURRENT), dir.path().join(NEW)).unwrap();
        fs::write(dir.path().join(CURRENT), "c\n").unwrap();
        compress(dir.path()).unwrap();
        fs::remove_file(dir.path().join(format!("{OLD}.gz"))).unwrap();
        assert_eq!(texts(&held.into_files()), ["a\n", "b\n"]);
    }

    #[test]
    fn no_line_is_missed_or_read_twice_by_who_looks_while_a_log_is_rotated_and_compressed() {
        let dir = log(&[(CURRENT, "0\n")]);
        let done = std::sync::atomic::AtomicBool::new(false);
        let order = std::sync::atomic::Ordering::SeqCst;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for number in 1..100 {
                    let rotated = format!("2026-11-20T20-00-{number:06}.log");
                    fs::rename(dir.path().join(CURRENT), dir.path().join(rotated)).unwrap();
                    fs::write(dir.path().join(".new"), format!("{number}\n")).unwrap();
                    fs::rename(dir.path().join(".new"), dir.path().join(CURRENT)).unwrap();
                }
                done.store(true, order);
            });
            scope.spawn(|| {
                while !done.load(order) {
                    compress(dir.path()).unwrap();
                }
            });
            let mut last = 0;
            while !done.load(order) {
                let text = whole(dir.path());
                let numbers: Vec<usize> = text.lines().map(|line| line.parse().unwrap()).collect();
                assert!(numbers.iter().copied().eq(0..numbers.len()), "{numbers:?}");
                assert!(numbers.len() >= last, "{} after {last}", numbers.len());
                last = numbers.len();
            }
        });
    }

    #[test]
    fn what_came_after_a_file_is_known_by_the_file_and_where_it_was_compressed_by_its_content() {
        let dir = log(&[(OLD, "a\n"), (CURRENT, "b\n")]);
        let held = Held::of(dir.path()).unwrap();
        let newest = held.newest_rotated().to_owned();
        let mut read = held.current().unwrap().read().unwrap();
        let mut after = |newest: &str| {
            let held = Held::of(dir.path()).unwrap();
            texts(&held.after(Some(&mut read), newest).unwrap())
        };
        assert_eq!(after(&newest), [""; 0]);
        fs::rename(dir.path().join(CURRENT), dir.path().join(NEW)).unwrap();
        let third = "2026-11-20T20-00-06.000000Z.log";
        fs::write(dir.path().join(third), "c\n").unwrap();
        fs::write(dir.path().join(CURRENT), "d\n").unwrap();
        assert_eq!(after(&newest), ["c\n", "d\n"]);
        compress(dir.path()).unwrap();
        assert_eq!(after(&newest), ["c\n", "d\n"], "it is known by its content");
        fs::remove_file(dir.path().join(format!("{NEW}.gz"))).unwrap();
        assert_eq!(after(&newest), ["c\n", "d\n"], "it is gone");
    }

    #[test]
    fn whole_lines_end_where_one_is_being_written() {
        let long = "x".repeat(200_000);
        for (text, end) in [("", 0), ("a\nb\n", 4), ("a\nb", 2), (&long, 0)] {
            let dir = log(&[(CURRENT, text)]);
            let held = Held::of(dir.path()).unwrap();
            assert_eq!(held.end(), end);
        }
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
