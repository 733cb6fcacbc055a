//! Directories and FIFOs of a measurement, on a tmpfs, removed with it.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, Mode, OFlags};

/// Nothing that works takes this long.
pub(crate) const HANG: Duration = Duration::from_secs(300);

/// A directory on a tmpfs, where there is one, that goes with this value.
pub(crate) struct Scratch(tempfile::TempDir);

impl Scratch {
    pub(crate) fn new() -> Result<Self> {
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() {
            memory.to_path_buf()
        } else {
            std::env::temp_dir()
        };
        let dir = tempfile::Builder::new()
            .prefix("herm-bench-")
            .tempdir_in(parent)
            .context("could not make a directory to work in")?;
        // Log daemons that drop root's privileges have to reach it.
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755))?;
        Ok(Self(dir))
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
                self.read()?;
            }
        }
        Ok(lines)
    }

    fn read(&mut self) -> Result<()> {
        let second = Timespec {
            tv_sec: 1,
            tv_nsec: 0,
        };
        let mut ready = [PollFd::new(&self.reader, PollFlags::IN)];
        if poll(&mut ready, Some(&second))? == 0 {
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
