//! Service directories in `/run`, made of what an image has elsewhere.

use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use herm_s6::rc::database::Service;

use super::Places;
use super::sources::names_in;

/// What a longrun's source may say about its supervision.
const SETTINGS: &[&str] = &[
    "notification-fd",
    "lock-fd",
    "timeout-kill",
    "timeout-finish",
    "max-death-tally",
    "down-signal",
    "flag-timeout-killpg",
    "reload-signal",
    "flag-newpidns",
    "timeout-up",
];

/// Shows a script where it lies, or as an executable copy where the image has it as none.
fn script(from: &Path, to: &Path, make_executable: bool) -> io::Result<()> {
    let mode = std::fs::metadata(from)?.permissions().mode();
    if mode & 0o111 != 0 || !make_executable {
        return symlink(from, to);
    }
    std::fs::copy(from, to)?;
    std::fs::set_permissions(to, PermissionsExt::from_mode(0o755))
}

/// A directory with a file of each name.
pub(super) fn names(dir: &Path, names: &[String]) -> io::Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    std::fs::create_dir_all(dir)?;
    names
        .iter()
        .try_for_each(|name| std::fs::write(dir.join(name), ""))
}

/// A longrun's service directory.
pub(super) fn longrun(places: &Places, service: &Service, dir: &Path) -> io::Result<()> {
    let source = Path::new(&service.path);
    std::fs::create_dir_all(dir)?;
    for name in SETTINGS {
        if source.join(name).is_file() {
            std::fs::copy(source.join(name), dir.join(name))?;
        }
    }
    for name in ["data", "env"] {
        if source.join(name).is_dir() {
            symlink(source.join(name), dir.join(name))?;
        }
    }
    if source.join("finish").is_file() {
        script(&source.join("finish"), &dir.join("finish"), true)?;
    }
    let reads = !service.consumer_for.is_empty();
    if !reads && service.producer_for.is_none() {
        return script(&source.join("run"), &dir.join("run"), true);
    }
    // Both ends of a pipeline open the same FIFO for both directions, so that neither's restart is
    // an end of file to the other.
    script(&source.join("run"), &dir.join("run.user"), true)?;
    symlink(&places.own, dir.join("run"))?;
    let fifo = |name: &str| places.run.join("s6-rc/fifos").join(name);
    if reads {
        let path = fifo(&service.name);
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0)?;
        symlink(path, dir.join("pipe-from"))?;
    }
    match &service.producer_for {
        Some(consumer) => symlink(fifo(consumer), dir.join("pipe-to")),
        None => Ok(()),
    }
}

/// A oneshot's service directory. It is ready when its script is done, and its failure is final.
pub(super) fn oneshot(places: &Places, service: &Service, dir: &Path) -> io::Result<()> {
    std::fs::create_dir_all(dir.join("oneshot"))?;
    symlink(&places.own, dir.join("run"))?;
    symlink(&places.own, dir.join("finish"))?;
    let write = |name: &str, content: &[u8]| std::fs::write(dir.join(name), content);
    write("notification-fd", b"3\n")?;
    // Its `run` stays only to run the other script, within its own time.
    write("timeout-finish", b"0\n")?;
    write("oneshot/up", &service.up.join(&0))?;
    write("oneshot/down", &service.down.join(&0))?;
    write(
        "oneshot/timeout-up",
        service.timeout_up.to_string().as_bytes(),
    )?;
    write(
        "oneshot/timeout-down",
        service.timeout_down.to_string().as_bytes(),
    )
}

/// A directory as another one is: links to its scripts and directories, copies of other files, and
/// its logger's the same way.
pub(super) fn mirror(source: &Path, dir: &Path) -> io::Result<()> {
    std::fs::create_dir_all(dir)?;
    for name in names_in(source)? {
        let (from, to) = (source.join(&name), dir.join(&name));
        match name.as_str() {
            "supervise" | "event" => {}
            "run" | "finish" => script(&from, &to, false)?,
            "log" if from.is_dir() => mirror(&from, &to)?,
            _ if from.is_file() => std::fs::copy(&from, &to).map(drop)?,
            _ => symlink(&from, &to)?,
        }
    }
    Ok(())
}
