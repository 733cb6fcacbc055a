//! A log directory's files, by descriptor: opened without following links, and refused when they
//! are not what they should be.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Component;

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, FlockOperation, Mode, OFlags, RenameFlags, flock, fstat,
    ftruncate, mkdirat, openat, renameat, renameat_with, statat, unlinkat,
};
use rustix::io::{Errno, pread, retry_on_intr, write};
use rustix::path::Arg;

use super::frame;
use super::rotation::Rotated;
use super::stamp::{COMPRESSED, Micros, Stamp, parse_rotated_name, rotated_name};
use crate::logproto::Target;

/// The file that is being written.
pub(super) const CURRENT: &str = "current";

/// Directories that are looked at beside one.
const SIBLINGS_MAX: usize = 10_000;

/// How far back a half-written last line may begin.
const TORN_BYTES_MAX: u64 = 2 * frame::LINE_BYTES_MAX as u64;

const DIRECTORY_MODE: Mode = Mode::from_raw_mode(0o750);
const FILE_MODE: Mode = Mode::from_raw_mode(0o640);

/// Opens the directory below its base, making what is missing.
pub(super) fn open_directory(target: &Target) -> Result<OwnedFd, String> {
    walk(target, true)
}

/// Opens the directory if it is there.
pub(super) fn find_directory(target: &Target) -> Option<OwnedFd> {
    walk(target, false).ok()
}

fn walk(target: &Target, make: bool) -> Result<OwnedFd, String> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut dir = retry_on_intr(|| openat(CWD, &target.base, flags, Mode::empty()))
        .map_err(|errno| format!("can't open {}: {}", target.base.display(), words(errno)))?;
    for component in target.dir.components() {
        let name = match component {
            Component::Normal(name) => name,
            Component::CurDir => continue,
            Component::Prefix(_) | Component::RootDir | Component::ParentDir => {
                return Err("the path is not below its base".to_owned());
            }
        };
        let flags = flags | OFlags::NOFOLLOW;
        let open = || retry_on_intr(|| openat(&dir, name, flags, Mode::empty()));
        let opened = match open() {
            Err(Errno::NOENT) if make => match mkdirat(&dir, name, DIRECTORY_MODE) {
                Ok(()) | Err(Errno::EXIST) => open(),
                Err(errno) => Err(errno),
            },
            opened => opened,
        };
        dir = opened.map_err(|errno| match errno {
            Errno::LOOP | Errno::NOTDIR => format!("{} is no directory", name.display()),
            errno => format!("can't open {}: {}", name.display(), words(errno)),
        })?;
    }
    Ok(dir)
}

/// One writer per directory.
pub(super) fn lock(dir: &OwnedFd) -> Result<(), String> {
    match flock(dir, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => Err("another log daemon writes there".to_owned()),
        // Some network file systems have no such locks for directories; then there is none.
        _ => Ok(()),
    }
}

/// Opens `current` for appending, making it if it is missing.
pub(super) fn open_current(dir: &OwnedFd) -> Result<OwnedFd, String> {
    // Not blocking: what is there may be a FIFO that nobody reads.
    let flags = OFlags::RDWR
        | OFlags::APPEND
        | OFlags::CREATE
        | OFlags::NOFOLLOW
        | OFlags::NONBLOCK
        | OFlags::NOCTTY
        | OFlags::CLOEXEC;
    let file = match retry_on_intr(|| openat(dir, CURRENT, flags, FILE_MODE)) {
        Ok(file) => file,
        Err(Errno::LOOP | Errno::ISDIR | Errno::NXIO) => {
            return Err(format!("{CURRENT} is no regular file"));
        }
        Err(errno) => return Err(format!("can't open {CURRENT}: {}", words(errno))),
    };
    let stat = fstat(&file).map_err(words)?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
        Ok(file)
    } else {
        Err(format!("{CURRENT} is no regular file"))
    }
}

pub(super) fn list_rotated(dir: &OwnedFd) -> Result<VecDeque<Rotated>, String> {
    let mut files = Vec::new();
    for entry in Dir::read_from(dir).map_err(words)? {
        let name = entry.map_err(words)?.file_name().to_owned();
        let plain = name.to_bytes();
        let plain = plain.strip_suffix(COMPRESSED.as_bytes()).unwrap_or(plain);
        let Some(at) = parse_rotated_name(plain) else {
            continue;
        };
        if let Some(bytes) = regular_bytes(dir, &name) {
            files.push(Rotated { at, bytes });
        }
    }
    files.sort_by_key(|file| file.at);
    // One that is being compressed is there twice for a moment.
    files.dedup_by(|next, kept| {
        let is_same = next.at == kept.at;
        if is_same {
            kept.bytes += next.bytes;
        }
        is_same
    });
    Ok(files.into())
}

/// Removes a rotated file, compressed or not. What is gone already is as good as removed; what
/// isn't a file is not ours.
pub(super) fn remove_rotated(dir: &OwnedFd, at: Micros) {
    let name = rotated_name(at);
    let _ = unlinkat(dir, &name, AtFlags::empty());
    let _ = unlinkat(dir, format!("{name}{COMPRESSED}"), AtFlags::empty());
}

/// The size of `current`; 0 where there is none.
pub(super) fn current_bytes(dir: &OwnedFd) -> u64 {
    regular_bytes(dir, CURRENT).unwrap_or(0)
}

/// Removes a `current` that nobody writes, if a log daemon wrote it.
pub(super) fn remove_current(dir: &OwnedFd) {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = retry_on_intr(|| openat(dir, CURRENT, flags, Mode::empty()));
    if file.is_ok_and(|file| first_stamp(&file).is_some()) {
        let _ = unlinkat(dir, CURRENT, AtFlags::empty());
    }
}

/// The directories beside this one, it included: as a home keeps them, each is the log of a
/// service that was.
pub(super) fn list_siblings(target: &Target) -> Vec<Target> {
    let Some(parent) = target.dir.parent() else {
        return Vec::new();
    };
    let parent = Target {
        base: target.base.clone(),
        dir: parent.to_owned(),
    };
    let Some(entries) = find_directory(&parent).and_then(|dir| Dir::new(dir).ok()) else {
        return Vec::new();
    };
    let names = entries.filter_map(|entry| Some(entry.ok()?.file_name().to_owned()));
    names
        .filter(|name| !name.to_bytes().starts_with(b"."))
        .map(|name| Target {
            base: parent.base.clone(),
            dir: parent.dir.join(OsStr::from_bytes(name.to_bytes())),
        })
        .take(SIBLINGS_MAX)
        .collect()
}

fn regular_bytes(dir: &OwnedFd, name: impl Arg) -> Option<u64> {
    let stat = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    is_file.then(|| u64::try_from(stat.st_size).unwrap_or(0))
}

pub(super) fn rename_to_new(dir: &OwnedFd, name: &str) -> Result<(), Errno> {
    match renameat_with(dir, CURRENT, dir, name, RenameFlags::NOREPLACE) {
        // File systems and kernels that don't have it.
        Err(Errno::INVAL | Errno::NOSYS | Errno::PERM) => {
            if statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
                return Err(Errno::EXIST);
            }
            renameat(dir, CURRENT, dir, name)
        }
        result => result,
    }
}

/// Makes the file end with a whole line, and says how long it is then. `resumed`: a half line is
/// what a log daemon was killed writing, and comes again. Else nobody has the rest of it.
pub(super) fn end_last_line(file: &OwnedFd, resumed: bool) -> Result<u64, Errno> {
    let size = u64::try_from(fstat(file)?.st_size).unwrap_or(0);
    let mut end = size;
    let oldest = size.saturating_sub(TORN_BYTES_MAX);
    let mut block = [0u8; 4096];
    while end > oldest {
        let from = end.saturating_sub(block.len() as u64).max(oldest);
        let length = usize::try_from(end - from).unwrap_or(0).min(block.len());
        let part = block.get_mut(..length).ok_or(Errno::INVAL)?;
        let read = retry_on_intr(|| pread(file, &mut *part, from))?;
        let whole = frame::split_whole(block.get(..read).unwrap_or_default()).0;
        if !whole.is_empty() {
            end = from + whole.len() as u64;
            break;
        }
        end = from;
    }
    if end == size {
        return Ok(size);
    }
    if resumed && (end > oldest || oldest == 0) {
        ftruncate(file, end)?;
        return Ok(end);
    }
    let written = retry_on_intr(|| write(file, frame::NO_NEWLINE_MARK))?;
    Ok(size + written as u64)
}

/// When the first line of a file was written.
pub(super) fn first_stamp(file: &OwnedFd) -> Option<Micros> {
    let mut stamp = [0u8; Stamp::BYTES];
    pread(file, &mut stamp, 0).ok()?;
    let name: Vec<u8> = stamp
        .trim_ascii_end()
        .iter()
        .map(|byte| if *byte == b':' { b'-' } else { *byte })
        .chain(*b".log")
        .collect();
    parse_rotated_name(&name)
}

/// An error in words, without its number.
pub(super) fn words(errno: Errno) -> String {
    let text = std::io::Error::from(errno).to_string();
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_owned(),
        None => text,
    }
}
