//! Directories and FIFOs of a measurement, on a tmpfs, removed with it.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, Mode, OFlags};

use crate::guard;

/// Nothing that works takes this long.
pub(crate) const HANG: Duration = Duration::from_secs(120);

/// A directory on a tmpfs, where there is one, that goes with this value.
pub(crate) struct Scratch(tempfile::TempDir);

impl Scratch {
    pub(crate) fn new() -> Result<Self> {
        let parent = Self::parent();
        let dir = tempfile::Builder::new()
            .prefix(&format!("{}-", guard::name()))
            .tempdir_in(parent)
            .context("could not make a directory to work in")?;
        // Log daemons that drop root's privileges have to reach it.
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755))?;
        Ok(Self(dir))
    }

    /// Where all of them are.
    pub(crate) fn parent() -> PathBuf {
        let memory = Path::new("/dev/shm");
        if memory.is_dir() {
            memory.to_path_buf()
        } else {
            std::env::temp_dir()
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// A file below, its directories made, its text written.
    pub(crate) fn write(&self, name: &str, text: &str, mode: u32) -> Result<PathBuf> {
        let path = self.path().join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(&path, text)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode))?;
        Ok(path)
    }

    pub(crate) fn dir(&self, name: &str) -> Result<PathBuf> {
        let path = self.path().join(name);
        std::fs::create_dir_all(&path)?;
        Ok(path)
    }
}

/// A FIFO that services report on, a line each.
pub(crate) struct Reports {
    path: PathBuf,
    reader: File,
    text: String,
}

impl Reports {
    pub(crate) fn new(scratch: &Scratch) -> Result<Self> {
        let path = scratch.path().join("reports");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &path,
            FileType::Fifo,
            Mode::from_raw_mode(0o622),
            0,
        )
        .context("could not make a FIFO")?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o622))?;
        // Both ends, so that it never ends and no writer waits for its opening.
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let reader = rustix::fs::open(&path, flags, Mode::empty())?.into();
        Ok(Self {
            path,
            reader,
            text: String::new(),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for so many more lines, and gives them.
    pub(crate) fn lines(&mut self, count: usize) -> Result<Vec<String>> {
        let began = Instant::now();
        let mut lines = Vec::new();
        while lines.len() < count {
            while lines.len() < count
                && let Some(end) = self.text.find('\n')
            {
                lines.push(self.text[..end].to_owned());
                self.text.drain(..=end);
            }
            if lines.len() < count {
                ensure!(
                    began.elapsed() < HANG,
                    "only {} of {count} services have reported after {HANG:?}",
                    lines.len()
                );
                self.read(Timespec {
                    tv_sec: 1,
                    tv_nsec: 0,
                })?;
            }
        }
        Ok(lines)
    }

    /// How many lines have come, at most so many, within a few milliseconds.
    pub(crate) fn lines_within(&mut self, most: usize) -> Result<usize> {
        self.read(Timespec {
            tv_sec: 0,
            tv_nsec: 5_000_000,
        })?;
        let whole = self.text.matches('\n').count().min(most);
        Ok(self.lines(whole)?.len())
    }

    fn read(&mut self, within: Timespec) -> Result<()> {
        let mut ready = [PollFd::new(&self.reader, PollFlags::IN)];
        if poll(&mut ready, Some(&within))? == 0 {
            return Ok(());
        }
        let mut buffer = [0; 4096];
        let length = self.reader.read(&mut buffer)?;
        self.text
            .push_str(&String::from_utf8_lossy(&buffer[..length]));
        Ok(())
    }
}

/// Milliseconds on the clock that all processes of the machine share.
pub(crate) fn now_ms() -> f64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    #[expect(
        clippy::cast_precision_loss,
        reason = "microseconds since boot fit a float for centuries"
    )]
    let ms = now.tv_sec as f64 * 1e3 + now.tv_nsec as f64 / 1e6;
    ms
}
