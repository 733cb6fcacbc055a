//! The home: whether it can be used, what in it is wrong, and whose it is.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use herm_home::layout::{AUTH, DOTENV, HERM_DIR, PROFILES, SEEDED_DIRS};
use herm_home::{Home, config, drift, lease};
use rustix::fs::{Access, StatVfsMountFlags, access, statvfs};
use rustix::io::Errno;

use super::{Findings, Patient};
use crate::failure::reason;
use crate::launch::read_settings;

/// Below this, in bytes, agents and logs are about to fail.
const LITTLE_SPACE: u64 = 64 << 20;
/// Below this many free inodes likewise.
const FEW_INODES: u64 = 1000;
/// Paths that are named of many.
const NAMED: usize = 5;

pub(super) fn writable(patient: &mut Patient<'_>, findings: &mut Findings) {
    let root = patient.context.home().root();
    let shown = root.display();
    if let Err(error) = fs::read_dir(root) {
        let remedy = match error.kind() {
            std::io::ErrorKind::NotFound => {
                "mount or make it, or name another: `--home DIR`, HERMES_HOME"
            }
            _ => "run this as the user that owns it",
        };
        return findings.problem(
            format!("{shown} can't be looked at: {}", reason(&error)),
            remedy,
        );
    }
    let read_only = statvfs(root).is_ok_and(|fs| fs.f_flag.contains(StatVfsMountFlags::RDONLY));
    if read_only || access(root, Access::WRITE_OK | Access::EXEC_OK) == Err(Errno::ROFS) {
        return findings.problem(
            format!("{shown} is read-only: no order is remembered, no log is kept"),
            "mount it read-write",
        );
    }
    if let Err(error) = access(root, Access::WRITE_OK | Access::EXEC_OK) {
        return findings.problem(
            format!("{shown} can't be written: {error}"),
            "give it to the service user (HERMES_UID, HERMES_GID), or run this as its owner",
        );
    }
    findings.ok(format!("{shown} can be written"));
}

pub(super) fn user(patient: &mut Patient<'_>, findings: &mut Findings) {
    let Ok(root) = fs::metadata(patient.context.home().root()) else {
        return;
    };
    let own = rustix::process::geteuid().as_raw();
    if root.uid() != own {
        findings.problem(
            format!(
                "the home is uid {}'s, and this command acts as uid {own}",
                root.uid()
            ),
            "run it as that user, or as root, which becomes that user by itself",
        );
    }
    let service = patient
        .services()
        .iter()
        .find(|service| service.name == "keeper");
    if let Some(uid) = service.and_then(|keeper| keeper.uid)
        && uid != root.uid()
    {
        findings.problem(
            format!(
                "the home is uid {}'s, and the agents run as uid {uid}",
                root.uid()
            ),
            "set HERMES_UID and HERMES_GID to the owner of the volume, then restart the container",
        );
    }
    if !findings.any {
        findings.ok(format!("uid {own} owns the home"));
    }
}

pub(super) fn disk(patient: &mut Patient<'_>, findings: &mut Findings) {
    let Ok(fs) = statvfs(patient.context.home().root()) else {
        return;
    };
    let free = fs.f_bavail.saturating_mul(fs.f_frsize);
    if free < LITTLE_SPACE {
        findings.problem(
            format!("{} MiB are free on the home's disk", free >> 20),
            "free some space; `log.max_bytes` and `log.max_files` bound what logs take",
        );
    }
    // File systems that make inodes as they need them say they have none.
    if fs.f_files > 0 && fs.f_favail < FEW_INODES {
        findings.problem(
            format!("{} files can still be made on the home's disk", fs.f_favail),
            "remove what is not needed: sessions and workspaces of agents hold the most files",
        );
    }
    if !findings.any {
        findings.ok(format!("{} MiB are free", free >> 20));
    }
}

pub(super) fn settings(patient: &mut Patient<'_>, findings: &mut Findings) {
    let reading = read_settings(patient.context.home());
    for wrong in &reading.in_files {
        findings.problem(
            wrong.to_string(),
            "correct the file, then `herm reconcile`; until then what was set before stays",
        );
    }
    for wrong in &reading.in_variables {
        findings.problem(
            wrong.to_string(),
            "start the container with the variable corrected; until then it is left out, and all \
             else that is set holds",
        );
    }
}

pub(super) fn profiles(patient: &mut Patient<'_>, findings: &mut Findings) {
    let Some(found) = &patient.found else { return };
    for skipped in &found.skipped {
        findings.problem(format!("{} is skipped", skipped.name), skipped.why.clone());
    }
    for name in &found.deleting {
        findings.problem(
            format!("the deletion of {name} was interrupted"),
            format!("`herm profile delete -y {name}` finishes it"),
        );
    }
    for name in &found.profiles {
        let paths = patient.context.home().profile(name);
        match config::load(&paths) {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => findings.problem(
                format!("{name}: {error}"),
                format!("correct {}", paths.config().display()),
            ),
            Err(error) => findings.problem(format!("{name}: {error}"), "make it readable"),
        }
        for aside in set_aside(&paths.herm_dir())
            .into_iter()
            .chain(set_aside(paths.dir()))
        {
            findings.note(format!(
                "{name}: a corrupt file was set aside: {}",
                aside.display()
            ));
        }
    }
    if !findings.any {
        let count = found.profiles.len();
        findings.ok(format!(
            "{count} {}",
            if count == 1 { "profile" } else { "profiles" }
        ));
    }
}

fn set_aside(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let is_aside = |path: &PathBuf| path.to_string_lossy().contains(".corrupt-");
    entries.map(|entry| entry.path()).filter(is_aside).collect()
}

/// Directories that herm and root's setup enter must not be links: they are not followed.
pub(super) fn links(patient: &mut Patient<'_>, findings: &mut Findings) {
    let home = patient.context.home();
    let mut suspects: Vec<PathBuf> = vec![home.root().join(PROFILES), home.herm_dir()];
    suspects.push(home.root().join("logs/gateways"));
    for name in patient.found.iter().flat_map(|found| &found.profiles) {
        let paths = home.profile(name);
        suspects.push(paths.herm_dir());
        suspects.push(paths.intent());
        suspects.push(paths.agent_state());
        suspects.extend(SEEDED_DIRS.iter().map(|dir| paths.dir().join(dir)));
    }
    for path in suspects {
        if path
            .symlink_metadata()
            .is_ok_and(|found| found.is_symlink())
        {
            findings.problem(
                format!("{} is a symlink: herm does not follow it", path.display()),
                "put the directory or file itself there, or mount it there",
            );
        }
    }
}

/// L25: what root left in the home, the agents can't write and often not read.
pub(super) fn ownership(patient: &mut Patient<'_>, findings: &mut Findings) {
    let home = patient.context.home();
    let Ok(root) = fs::metadata(home.root()) else {
        return;
    };
    let foreign = drift::foreign(home, root.uid());
    if foreign.paths.is_empty() {
        return;
    }
    let shown = |path: &PathBuf| relative(home, path);
    let named: Vec<String> = foreign.paths.iter().take(NAMED).map(shown).collect();
    let more = match foreign.paths.len().saturating_sub(NAMED) {
        0 => String::new(),
        more if foreign.is_all => format!(" and {more} more"),
        more => format!(" and at least {more} more"),
    };
    findings.problem(
        format!("not the service user's: {}{more}", named.join(", ")),
        "restart the container, or run `herm setup` in it as root: both give them back. Commands of \
         `docker exec` should be the service user's (`-u hermes`); herm's own become that by themselves",
    );
}

fn relative(home: &Home, path: &Path) -> String {
    let path = path.strip_prefix(home.root()).unwrap_or(path);
    path.display().to_string().escape_debug().to_string()
}

pub(super) fn secrets(patient: &mut Patient<'_>, findings: &mut Findings) {
    for name in patient.found.iter().flat_map(|found| &found.profiles) {
        let dir = patient.context.home().profile(name).dir().to_path_buf();
        for file in [DOTENV, AUTH] {
            let path = dir.join(file);
            let mode = fs::metadata(&path).map_or(0, |found| found.mode());
            if mode & 0o077 != 0 {
                findings.problem(
                    format!(
                        "{} can be read by others (mode {:o})",
                        path.display(),
                        mode & 0o777
                    ),
                    format!("chmod 600 {}", path.display()),
                );
            }
        }
    }
}

pub(super) fn lease(patient: &mut Patient<'_>, findings: &mut Findings) {
    let Some(supervised) = &patient.supervised else {
        return;
    };
    let own = &supervised.client.hello().instance;
    let owner = supervised
        .services
        .iter()
        .find_map(|service| service.owner.clone());
    let on_disk = lease::owner(patient.context.home()).ok().flatten();
    let host = on_disk
        .as_ref()
        .map_or("unknown", |lease| lease.host.as_str());
    match (owner, on_disk.as_ref()) {
        (Some(owner), _) => findings.note(format!(
            "instance {owner} (host {host}) runs the gateways of this home; verbs are handed to it"
        )),
        (None, Some(lease)) if lease.id == *own => {
            findings.ok(format!(
                "this instance runs the gateways (epoch {})",
                lease.epoch
            ));
        }
        (None, _) if supervised.client.hello().home.is_none() => {}
        (None, _) => findings.note(format!(
            "this instance holds no lease on the home: another container on it would run the same \
             gateways (is {} writable?)",
            patient.context.home().root().join(HERM_DIR).display()
        )),
    }
}
