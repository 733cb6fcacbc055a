//! The Docker command line: one that can build with BuildKit, and whether an engine answers.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::run::{capture, command, succeeds};

/// The first client on PATH; enough for everything but builds.
pub(crate) fn docker(args: &[&str]) -> Command {
    command("docker", args)
}

/// True if an engine answers the client.
pub(crate) fn engine_answers() -> bool {
    succeeds(&mut docker(&["version", "--format", "{{.Server.Version}}"]))
}

/// True if the engine has an image of this name.
pub(crate) fn has_image(tag: &str) -> bool {
    succeeds(&mut docker(&["image", "inspect", tag]))
}

/// A client that can build with BuildKit, which build secrets and `TARGETARCH` need.
///
/// Clients from version 23 on leave that to a plugin which may be missing, and several clients may
/// be installed; so each `docker` on PATH is asked, in order.
pub(crate) fn builder() -> Result<Command> {
    let clients = clients(&std::env::var_os("PATH").unwrap_or_default());
    for client in &clients {
        if builds_with_buildkit(client) {
            let mut build = command(&client.to_string_lossy(), &["build"]);
            build
                .env("DOCKER_BUILDKIT", "1")
                .env("BUILDKIT_PROGRESS", "plain");
            return Ok(build);
        }
    }
    bail!(
        "no Docker client here can build with BuildKit (asked: {}); install Debian's docker.io, or \
         the buildx plugin of the client at hand",
        if clients.is_empty() {
            "none found".into()
        } else {
            names(&clients)
        }
    )
}

fn clients(path: &std::ffi::OsStr) -> Vec<PathBuf> {
    std::env::split_paths(path)
        .map(|dir| dir.join("docker"))
        .filter(|file| file.is_file())
        .collect()
}

fn names(clients: &[PathBuf]) -> String {
    let names: Vec<String> = clients
        .iter()
        .map(|client| client.display().to_string())
        .collect();
    names.join(", ")
}

fn builds_with_buildkit(client: &Path) -> bool {
    let client = client.to_string_lossy();
    if succeeds(&mut command(&client, &["buildx", "version"])) {
        return true;
    }
    capture(&mut command(
        &client,
        &["version", "--format", "{{.Client.Version}}"],
    ))
    .is_ok_and(|version| has_buildkit_inside(&version))
}

/// BuildKit's client side was part of the Docker client from 18.09 to 20.10.
fn has_buildkit_inside(version: &str) -> bool {
    let mut numbers = version
        .trim()
        .split('.')
        .map(|part| part.parse::<u32>().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(18), Some(minor)) => minor >= 9,
        (Some(major), Some(_)) => (19..23).contains(&major),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_from_18_09_to_22_build_by_themselves() {
        for (version, expected) in [
            ("18.06.3", false),
            ("18.09.0", true),
            ("20.10.24+dfsg1", true),
            ("23.0.1", false),
            ("28.2.2", false),
            ("", false),
        ] {
            assert_eq!(has_buildkit_inside(version), expected, "{version}");
        }
    }

    #[test]
    fn every_client_on_path_is_found_in_order() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(one.path().join("docker"), "").unwrap();
        std::fs::write(two.path().join("docker"), "").unwrap();
        let path = std::env::join_paths([two.path(), one.path()]).unwrap();
        assert_eq!(
            clients(&path),
            [two.path().join("docker"), one.path().join("docker")]
        );
    }
}
