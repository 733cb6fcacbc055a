//! Writing, so that a crash at any instruction leaves the old content or the new.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::{Content, Dir, FileId, PRIVATE};
use crate::clock;
use crate::error::HomeError;
use crate::process;

/// What every temporary name of [`Dir::write_atomic`] ends with before its number.
const TEMP_MARK: &str = ".herm-tmp-";
/// No write of a small file takes longer, not even on a slow disk.
const LONGEST_WRITE: Duration = Duration::from_secs(60);

/// The points of an atomic write at which a machine may stop; tests stop there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Created,
    HalfWritten,
    Written,
    Synced,
    Renamed,
}

impl Dir {
    /// Replaces (or creates) a file whole and durably: the new content is on the disk when this
    /// returns. The umask has no say in `mode`.
    pub fn write_atomic(&self, name: &str, bytes: &[u8], mode: u32) -> Result<(), HomeError> {
        self.write_with(name, bytes, mode, &mut |_| Ok(()))
    }

    /// Replaces a file only if it still is what `seen` was read from (`None`: still absent).
    /// `false`: someone else has written it meanwhile, nothing was changed. The test and the
    /// rename are two calls, so an unlocked writer may still slip between them; the window is
    /// microseconds instead of the whole read-modify-write.
    pub fn replace_if_unchanged(
        &self,
        name: &str,
        seen: Option<&Content>,
        bytes: &[u8],
        mode: u32,
    ) -> Result<bool, HomeError> {
        let mut changed = false;
        let result = self.write_with(name, bytes, mode, &mut |step| {
            if step == Step::Synced && self.id_of(name) != seen.map(|content| content.id) {
                changed = true;
                return Err(io::Error::from(io::ErrorKind::Interrupted));
            }
            Ok(())
        });
        if changed {
            Ok(false)
        } else {
            result.map(|()| true)
        }
    }

    pub(crate) fn write_with(
        &self,
        name: &str,
        bytes: &[u8],
        mode: u32,
        at: &mut dyn FnMut(Step) -> io::Result<()>,
    ) -> Result<(), HomeError> {
        let (temp, file) = self.create_temp(name)?;
        let written = self.fill_and_publish(name, &temp, &file, bytes, mode, at);
        if written.is_err() {
            let _ = rustix::fs::unlinkat(&self.fd, &temp, AtFlags::empty());
        }
        written.map_err(|e| HomeError::io("write", self.path_of(name), e))
    }

    fn fill_and_publish(
        &self,
        name: &str,
        temp: &str,
        mut file: &File,
        bytes: &[u8],
        mode: u32,
        at: &mut dyn FnMut(Step) -> io::Result<()>,
    ) -> io::Result<()> {
        at(Step::Created)?;
        let (first, second) = bytes.split_at(bytes.len() / 2);
        file.write_all(first)?;
        at(Step::HalfWritten)?;
        file.write_all(second)?;
        rustix::fs::fchmod(file, Mode::from_raw_mode(mode))?;
        at(Step::Written)?;
        file.sync_all()?;
        at(Step::Synced)?;
        rustix::fs::renameat(&self.fd, temp, &self.fd, name)?;
        at(Step::Renamed)?;
        self.sync()
    }

    fn create_temp(&self, name: &str) -> Result<(String, File), HomeError> {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        loop {
            let number = COUNTER.fetch_add(1, Ordering::Relaxed);
            let temp = format!(".{name}{TEMP_MARK}{}-{number}", std::process::id());
            match rustix::fs::openat(&self.fd, &temp, flags, Mode::from_raw_mode(PRIVATE)) {
                Ok(fd) => return Ok((temp, File::from(fd))),
                Err(Errno::EXIST) => {}
                Err(e) => return Err(HomeError::io("write", self.path_of(name), e)),
            }
        }
    }

    /// Removes temporary files that a crash left. Young ones of another process that lives stay:
    /// it may be about to rename them. Answers what else is there.
    pub fn sweep_temps(&self) -> Result<Vec<String>, HomeError> {
        let mut there = self.names()?;
        let left_over = |name: &String| name.starts_with('.') && self.is_left_over(name);
        for name in there.extract_if(.., |name| left_over(name)) {
            self.remove(&name)?;
        }
        Ok(there)
    }

    /// Whether an entry is a temporary file whose writer doesn't write any more. The writer's number
    /// may be another process's by now, so what is old is left over in any case.
    fn is_left_over(&self, name: &str) -> bool {
        let Some((_, numbers)) = name.split_once(TEMP_MARK) else {
            return false;
        };
        let own = i32::try_from(std::process::id()).ok();
        let writer = numbers.split('-').next().and_then(|pid| pid.parse().ok());
        let writes = writer.filter(|_| writer != own).is_some_and(|pid| {
            process::look(Path::new("/proc"), pid).is_some_and(|process| !process.zombie)
        });
        !writes || self.is_older(name, LONGEST_WRITE)
    }

    fn is_older(&self, name: &str, span: Duration) -> bool {
        let Ok(stat) = rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) else {
            return false;
        };
        let limit = SystemTime::now().checked_sub(span);
        limit.is_some_and(|limit| clock::unix_seconds(limit) > stat.st_mtime)
    }

    /// Sets a file aside under a name nobody uses, if it still is the one that was seen. Returns
    /// the new name; `None` if it has been replaced or removed meanwhile.
    pub(crate) fn set_aside(
        &self,
        name: &str,
        seen: FileId,
        suffix: &str,
    ) -> Result<Option<String>, HomeError> {
        for attempt in 0u32..100 {
            let number = if attempt == 0 {
                String::new()
            } else {
                format!("-{attempt}")
            };
            let aside = format!("{name}{suffix}{number}");
            if self.id_of(name) != Some(seen) {
                return Ok(None);
            }
            if !self.rename_to_free(name, &aside)? {
                continue;
            }
            if self.id_of(&aside) == Some(seen) {
                return Ok(Some(aside));
            }
            // A writer without a lock replaced the file between the look and the rename: what was
            // moved is its new, good content.
            self.rename_to_free(&aside, name)?;
            return Ok(None);
        }
        Err(HomeError::io(
            "set aside",
            self.path_of(name),
            io::Error::from(io::ErrorKind::AlreadyExists),
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use proptest::prelude::*;

    use rustix::fs::FileType;

    use super::*;

    fn dir() -> (tempfile::TempDir, Dir) {
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::open(temp.path()).unwrap();
        (temp, dir)
    }

    fn read(dir: &Dir) -> Vec<u8> {
        dir.read("f", 1000).unwrap().unwrap().bytes
    }

    const STEPS: [Step; 5] = [
        Step::Created,
        Step::HalfWritten,
        Step::Written,
        Step::Synced,
        Step::Renamed,
    ];

    #[test]
    fn a_crash_at_any_step_of_a_write_leaves_the_old_content_or_the_new() {
        for at in STEPS {
            let (_temp, dir) = dir();
            dir.write_atomic("f", b"old", PRIVATE).unwrap();
            // A panic unwinds past the clean-up, as a kill would: what is on the disk stays so.
            let crashed = catch_unwind(AssertUnwindSafe(|| {
                dir.write_with("f", b"new content", PRIVATE, &mut |step| {
                    assert!(step != at, "crash");
                    Ok(())
                })
            }));
            assert!(crashed.is_err());
            let expected: &[u8] = if at == Step::Renamed {
                b"new content"
            } else {
                b"old"
            };
            assert_eq!(read(&dir), expected, "{at:?}");
            let is_left = dir.names().unwrap().len() > 1;
            assert_eq!(is_left, at != Step::Renamed, "{at:?}");
            assert_eq!(dir.sweep_temps().unwrap(), ["f"]);
            assert_eq!(dir.names().unwrap(), ["f"]);
        }
    }

    #[test]
    fn an_error_at_any_step_of_a_write_leaves_no_litter() {
        for at in STEPS {
            let (_temp, dir) = dir();
            dir.write_atomic("f", b"old", PRIVATE).unwrap();
            let failed = dir.write_with("f", b"new", PRIVATE, &mut |step| {
                if step == at {
                    Err(io::Error::from(io::ErrorKind::StorageFull))
                } else {
                    Ok(())
                }
            });
            assert!(failed.unwrap_err().to_string().contains("free some space"));
            assert_eq!(dir.names().unwrap(), ["f"], "{at:?}");
        }
    }

    #[test]
    fn the_mode_of_a_written_file_is_the_one_asked_for() {
        let (temp, dir) = dir();
        for mode in [0o600, 0o640, 0o644] {
            dir.write_atomic("f", b"x", mode).unwrap();
            let found = fs::metadata(temp.path().join("f"))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(found & 0o777, mode);
        }
    }

    #[test]
    fn a_write_over_a_symlink_replaces_the_link_and_spares_its_target() {
        let (temp, dir) = dir();
        fs::write(temp.path().join("target"), "keep").unwrap();
        symlink("target", temp.path().join("f")).unwrap();
        dir.write_atomic("f", b"mine", PRIVATE).unwrap();
        assert_eq!(fs::read(temp.path().join("target")).unwrap(), b"keep");
        assert_eq!(read(&dir), b"mine");
    }

    #[test]
    fn only_regular_files_are_read_and_none_blocks() {
        let (temp, dir) = dir();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            temp.path().join("pipe"),
            FileType::Fifo,
            Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        fs::create_dir(temp.path().join("dir")).unwrap();
        symlink("/etc/passwd", temp.path().join("link")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(temp.path().join("socket")).unwrap();
        for name in ["pipe", "dir", "link", "socket"] {
            let refused = dir.read(name, 1000);
            assert!(
                matches!(refused, Err(HomeError::WrongKind { .. })),
                "{name}: {refused:?}"
            );
        }
        assert!(matches!(
            dir.read_input("pipe", 1000),
            Err(HomeError::WrongKind { .. })
        ));
        assert!(dir.read("nothing", 1000).unwrap().is_none());
    }

    #[test]
    fn an_input_may_be_a_symlink_as_kubernetes_mounts_it() {
        let (temp, dir) = dir();
        fs::write(temp.path().join("..data"), "x").unwrap();
        symlink("..data", temp.path().join("f")).unwrap();
        assert_eq!(dir.read_input("f", 10).unwrap().unwrap().bytes, b"x");
    }

    #[test]
    fn a_file_beyond_the_limit_is_refused_and_not_cut() {
        let (_temp, dir) = dir();
        dir.write_atomic("f", b"12345", PRIVATE).unwrap();
        assert!(dir.read("f", 5).is_ok());
        assert!(matches!(dir.read("f", 4), Err(HomeError::TooLarge { .. })));
    }

    #[test]
    fn a_file_that_changed_since_it_was_read_is_not_replaced() {
        let (temp, dir) = dir();
        assert!(
            dir.replace_if_unchanged("f", None, b"first", PRIVATE)
                .unwrap()
        );
        assert!(
            !dir.replace_if_unchanged("f", None, b"again", PRIVATE)
                .unwrap()
        );
        let seen = dir.read("f", 100).unwrap().unwrap();
        fs::write(temp.path().join("g"), "agent").unwrap();
        fs::rename(temp.path().join("g"), temp.path().join("f")).unwrap();
        assert!(
            !dir.replace_if_unchanged("f", Some(&seen), b"mine", PRIVATE)
                .unwrap()
        );
        assert_eq!(read(&dir), b"agent");
        assert_eq!(dir.names().unwrap(), ["f"]);
    }

    #[test]
    fn a_file_replaced_since_it_was_read_is_not_set_aside() {
        let (temp, dir) = dir();
        dir.write_atomic("f", b"{", PRIVATE).unwrap();
        let seen = dir.read("f", 100).unwrap().unwrap();
        fs::write(temp.path().join("g"), "{}").unwrap();
        fs::rename(temp.path().join("g"), temp.path().join("f")).unwrap();
        assert_eq!(dir.set_aside("f", seen.id, ".corrupt").unwrap(), None);
        assert_eq!(read(&dir), b"{}");
    }

    #[test]
    fn a_directory_that_is_a_symlink_is_not_entered() {
        let (temp, dir) = dir();
        symlink("/tmp", temp.path().join("d")).unwrap();
        assert!(matches!(dir.child("d"), Err(HomeError::WrongKind { .. })));
        assert!(dir.ensure_child("d", 0o700).is_err());
        assert!(dir.child("nothing").unwrap().is_none());
    }

    #[test]
    fn a_sweep_leaves_what_another_process_is_writing() {
        let (temp, dir) = dir();
        let mut child = std::process::Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let name = format!(".f{TEMP_MARK}{}-0", child.id());
        fs::write(temp.path().join(&name), "").unwrap();
        assert_eq!(dir.sweep_temps().unwrap(), [name]);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(dir.sweep_temps().unwrap().is_empty());
    }

    proptest! {
        #[test]
        fn any_content_is_read_back(content in prop::collection::vec(any::<u8>(), 0..300)) {
            let (_temp, dir) = dir();
            dir.write_atomic("f", &content, PRIVATE).unwrap();
            prop_assert_eq!(read(&dir), content);
        }
    }
}
