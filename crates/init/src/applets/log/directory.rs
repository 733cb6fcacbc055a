//! A log directory: `current`, its archives, and the lock on it all.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use herm_s6::execline::lexer;
use herm_s6::log::script::{Keep, Processor};
use herm_sys::record_lock;

use crate::applets::service::now;

/// How much is gathered before it is written.
const GATHERED: usize = 64 * 1024;
/// What is set on a file that is complete.
const COMPLETE: u32 = 0o744;
const GROWING: u32 = 0o644;
/// `@`, a label's digits, a dot and a letter.
const ARCHIVE_NAME: usize = 27;

/// A log directory that this process writes to.
pub(super) struct Directory {
    path: PathBuf,
    keep: Keep,
    current: File,
    /// In `current`, and gathered for it.
    bytes: u64,
    gathered: Vec<u8>,
    /// When what failed is tried again.
    retry_at: Option<Instant>,
    began: Instant,
    /// Held for as long as we write.
    _lock: File,
}

impl Directory {
    /// Opens it, or makes it, and brings what the last writer left into order.
    pub(super) fn open(path: &Path, keep: Keep) -> io::Result<Self> {
        match DirBuilder::new().mode(0o2700).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let mut lock = OpenOptions::new();
        let lock = lock
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o644)
            .open(path.join("lock"))?;
        if !record_lock::try_hold(&lock)? {
            return Err(io::Error::other("another process writes to it"));
        }
        let current = path.join("current");
        let is_complete =
            fs::metadata(&current).is_ok_and(|stat| stat.permissions().mode() & 0o100 != 0);
        if !is_complete {
            recover(path)?;
        }
        let (current, bytes) = open_current(path)?;
        let directory = Self {
            path: path.to_owned(),
            keep,
            current,
            bytes,
            gathered: Vec::new(),
            retry_at: None,
            began: Instant::now(),
            _lock: lock,
        };
        directory.trim()?;
        Ok(directory)
    }

    /// Adds a line.
    pub(super) fn put(&mut self, head: &[u8], line: &[u8]) {
        self.gathered.extend_from_slice(head);
        self.gathered.extend_from_slice(line);
        self.gathered.push(b'\n');
        let added = head.len().saturating_add(line.len()).saturating_add(1);
        self.bytes = self.bytes.saturating_add(u64::try_from(added).unwrap_or(0));
        if self.retry_at.is_some() {
            return;
        }
        if self.bytes.saturating_add(self.keep.tolerance) >= self.keep.file_bytes {
            self.rotate();
        } else if self.gathered.len() >= GATHERED {
            self.flush();
        }
    }

    /// Writes what is gathered. What can't be written stays, to be tried again.
    pub(super) fn flush(&mut self) {
        while !self.gathered.is_empty() && self.retry_at.is_none() {
            match self.current.write(&self.gathered) {
                Ok(0) => self.fail(&io::ErrorKind::WriteZero.into()),
                Ok(count) if count == self.gathered.len() => self.gathered.clear(),
                Ok(count) => drop(self.gathered.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => self.fail(&error),
            }
        }
    }

    fn fail(&mut self, error: &io::Error) {
        let text = format_args!(
            "unable to write to {}: {error}; it is tried again",
            self.path.display()
        );
        crate::applets::complain::warning("s6-log", &text);
        let pause = Duration::from_millis(u64::from(self.keep.retry_ms.max(1)));
        self.retry_at = Instant::now().checked_add(pause);
    }

    /// Tries again what failed, if it is time; when it is, where something is left.
    pub(super) fn go_on(&mut self) -> Option<Instant> {
        if self.retry_at.is_some_and(|at| at <= Instant::now()) {
            self.retry_at = None;
            self.flush();
        }
        if self.rotates_at().is_some_and(|at| at <= Instant::now()) {
            self.rotate();
            self.began = Instant::now();
        }
        self.retry_at
    }

    /// When it becomes an archive whatever its size.
    pub(super) fn rotates_at(&self) -> Option<Instant> {
        let every = Some(self.keep.every_s).filter(|every| *every > 0)?;
        self.began
            .checked_add(Duration::from_secs(u64::from(every)))
    }

    /// Makes an archive of `current`, unless it is empty.
    pub(super) fn rotate(&mut self) {
        self.flush();
        if self.bytes == 0 || self.retry_at.is_some() {
            return;
        }
        if let Err(error) = self.try_rotate() {
            self.fail(&error);
        }
    }

    fn try_rotate(&mut self) -> io::Result<()> {
        self.current.sync_all()?;
        let previous = self.path.join("previous");
        fs::rename(self.path.join("current"), &previous)?;
        let opened = open_current(&self.path);
        if opened.is_err() {
            // Or the next lines would go to an archive.
            fs::rename(&previous, self.path.join("current"))?;
        }
        let finished = &self.current;
        finished.set_permissions(Permissions::from_mode(COMPLETE))?;
        (self.current, self.bytes) = opened?;
        self.began = Instant::now();
        let archive = match &self.keep.processor {
            None => previous,
            Some(processor) => match self.process(processor, &previous) {
                Ok(processed) => processed,
                Err(error) => {
                    let text =
                        format_args!("the processor failed ({error}); the log is kept as it is");
                    crate::applets::complain::warning("s6-log", &text);
                    return self.store(&previous, "u");
                }
            },
        };
        self.store(&archive, "s")
    }

    fn store(&self, file: &Path, suffix: &str) -> io::Result<()> {
        archive(&self.path, file, suffix)?;
        self.trim()
    }

    /// Sends an archive through the processor, whose memory is the file `state`.
    fn process(&self, processor: &Processor, previous: &Path) -> io::Result<PathBuf> {
        let processed = self.path.join("processed");
        let output = File::create(&processed)?;
        OpenOptions::new()
            .append(true)
            .create(true)
            .open(self.path.join("state"))?;
        // Those two have fixed numbers in the processor, which may be other files' here.
        let mut command = Command::new("/proc/self/exe");
        command
            .arg0("redirfd")
            .args(["-r", "4", "state", "redirfd", "-w", "5", "newstate"]);
        match processor {
            Processor::Shell(text) => command.args(["/bin/sh", "-c"]).arg(as_os(text)),
            Processor::Execline(text) => {
                let words = lexer::parse(text).map_err(io::Error::other)?;
                command.args(words.iter().map(|word| as_os(word)))
            }
        };
        let status = command
            .current_dir(&self.path)
            .stdin(File::open(previous)?)
            .stdout(output.try_clone()?)
            .status();
        let status = status?;
        if !status.success() {
            let _ = fs::remove_file(&processed);
            let _ = fs::remove_file(self.path.join("newstate"));
            return Err(io::Error::other(status.to_string()));
        }
        output.set_permissions(Permissions::from_mode(COMPLETE))?;
        output.sync_all()?;
        let new_state = self.path.join("newstate");
        File::open(&new_state)?.sync_all()?;
        fs::remove_file(previous)?;
        fs::rename(new_state, self.path.join("state"))?;
        Ok(processed)
    }

    /// Removes the oldest archives, as many as there are too many.
    fn trim(&self) -> io::Result<()> {
        let mut archives = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let name = entry.file_name();
            let bytes = name.as_encoded_bytes();
            if bytes.len() == ARCHIVE_NAME && bytes.starts_with(b"@") {
                archives.push((name.clone(), entry.metadata()?.len()));
            }
        }
        archives.sort();
        let mut total: u64 = archives.iter().map(|(_, bytes)| bytes).sum();
        let mut count = archives.len();
        for (name, bytes) in archives {
            let too_much = self.keep.total_bytes > 0 && total > self.keep.total_bytes;
            if count <= self.keep.archives && !too_much {
                break;
            }
            fs::remove_file(self.path.join(name))?;
            count = count.saturating_sub(1);
            total = total.saturating_sub(bytes);
        }
        Ok(())
    }

    /// Says that `current` is complete.
    pub(super) fn close(&mut self) {
        self.retry_at = None;
        self.flush();
        let _ = self.current.sync_all();
        let _ = self
            .current
            .set_permissions(Permissions::from_mode(COMPLETE));
    }
}

fn as_os(bytes: &[u8]) -> &std::ffi::OsStr {
    std::os::unix::ffi::OsStrExt::from_bytes(bytes)
}

fn open_current(path: &Path) -> io::Result<(File, u64)> {
    let current = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o666)
        .open(path.join("current"))?;
    let stat = current.metadata()?;
    if stat.permissions().mode() & 0o100 != 0 {
        current.set_permissions(Permissions::from_mode(GROWING))?;
    }
    Ok((current, stat.len()))
}

/// Gives a file the name of an archive made now.
fn archive(dir: &Path, file: &Path, suffix: &str) -> io::Result<()> {
    fs::set_permissions(file, Permissions::from_mode(COMPLETE))?;
    loop {
        let label = now().label();
        let name = format!("{}.{suffix}", String::from_utf8_lossy(&label));
        match fs::hard_link(file, dir.join(&name)) {
            // Within one tick of the clock: the next one has another name.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            linked => {
                linked?;
                return fs::remove_file(file);
            }
        }
    }
}

/// Brings into order what a writer left that did not end well.
fn recover(path: &Path) -> io::Result<()> {
    File::create(path.join("state"))?;
    let _ = fs::remove_file(path.join("newstate"));
    let complete = |name: &str| {
        fs::metadata(path.join(name)).is_ok_and(|stat| stat.permissions().mode() & 0o100 != 0)
    };
    if complete("processed") {
        let _ = fs::remove_file(path.join("previous"));
        archive(path, &path.join("processed"), "s")?;
    } else {
        let _ = fs::remove_file(path.join("processed"));
    }
    for name in ["previous", "current"] {
        let file = path.join(name);
        match fs::metadata(&file) {
            Ok(stat) if stat.len() > 0 => archive(path, &file, "u")?,
            Ok(_) => fs::remove_file(&file)?,
            Err(_) => {}
        }
    }
    Ok(())
}
