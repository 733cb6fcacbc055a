//! The control socket's place, and what earlier supervisors left there.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use super::output::Output;
use super::settings::{Options, SOCKET_NAME, Settings, runtime_dirs};
use crate::environment::Environment;

/// Listens in the first runtime directory that will have us.
pub(super) fn listen(
    options: &Options,
    settings: &Settings,
    environment: &Environment,
    output: &mut Output,
) -> Result<(PathBuf, UnixListener), String> {
    let mut refusals = Vec::new();
    for dir in runtime_dirs(options, environment, settings.home.as_deref()) {
        match listen_in(&dir) {
            Ok(listener) => {
                if !refusals.is_empty() {
                    output.warn(&format!("{}; using {}", refusals.join("; "), dir.display()));
                }
                return Ok((dir, listener));
            }
            Err(error) => refusals.push(format!("{}: {error}", dir.display())),
        }
    }
    Err(format!(
        "cannot listen for `herm` anywhere ({}); make /run writable (--tmpfs /run) or set \
         HERM_RUN_DIR to a directory with a short path that is",
        refusals.join("; ")
    ))
}

fn listen_in(dir: &Path) -> io::Result<UnixListener> {
    fs::create_dir_all(dir)?;
    make_own(dir)?;
    let path = dir.join(SOCKET_NAME);
    if somebody_answers(&path)? {
        let text = "another herm supervisor answers there";
        return Err(io::Error::new(io::ErrorKind::AddrInUse, text));
    }
    // Nobody answers, so what is there is a dead one's: plain Docker keeps /run over restarts.
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(&path)?;
    // Who may ask for what is decided by the peer's uid, not by who can connect.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666))?;
    super::records::keep(&listener);
    Ok(listener)
}

/// Makes sure that nobody else can put anything in the runtime directory: a socket in the place of
/// ours, or a link where we change a mode or an owner by name.
fn make_own(dir: &Path) -> io::Result<()> {
    use rustix::fs::{Gid, Mode, OFlags, Uid, fchmod, fchown, fstat, open};
    let others_may_write = |mode: u32| mode & 0o022 != 0;
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = open(dir, flags, Mode::empty())?;
    let found = fstat(&opened)?;
    let own = rustix::process::geteuid();
    if own.is_root() && found.st_uid != 0 {
        fchown(&opened, Some(Uid::ROOT), Some(Gid::ROOT))?;
    } else if found.st_uid != 0 && found.st_uid != own.as_raw() {
        let text = format!("the directory belongs to uid {}", found.st_uid);
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    }
    let is_ours = own.is_root() || found.st_uid == own.as_raw();
    if is_ours && others_may_write(found.st_mode) {
        fchmod(&opened, Mode::from_raw_mode(found.st_mode & 0o7755))?;
    }
    Ok(())
}

/// Whether a supervisor listens at this path. One whose queue is full does, too, and is not waited
/// for.
fn somebody_answers(path: &Path) -> io::Result<bool> {
    use rustix::net::{
        AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    let answered = connect(&socket, &SocketAddrUnix::new(path)?);
    Ok(matches!(answered, Ok(()) | Err(herm_sys::Errno::AGAIN)))
}

/// Removes what an earlier supervisor left in the runtime directory: nothing in it is ours yet.
pub(super) fn sweep(runtime_dir: &Path) {
    let Ok(entries) = fs::read_dir(runtime_dir) else {
        return;
    };
    for entry in entries.flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(b"notify.") {
            // What can't be removed is in nobody's way: names are numbers not used again.
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn nobody_else_can_put_a_socket_in_the_runtime_directory() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("run");
        fs::create_dir(&dir).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&dir, Some(4711), Some(4711)).unwrap();
        }
        let listener = listen_in(&dir).unwrap();
        assert_eq!(mode(&dir), 0o755);
        let owner = std::os::unix::fs::MetadataExt::uid(&fs::metadata(&dir).unwrap());
        assert_eq!(owner, rustix::process::geteuid().as_raw());
        assert!(listen_in(&dir).is_err(), "one answers there already");
        drop(listener);
        listen_in(&dir).unwrap();
    }

    #[test]
    fn a_link_in_the_place_of_the_runtime_directory_is_not_followed() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("run");
        std::os::unix::fs::symlink(root.path(), &dir).unwrap();
        assert!(listen_in(&dir).is_err());
    }
}
