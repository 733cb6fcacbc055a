//! Chapter 1: the artifacts. What is in the archive and in the images, before anything runs.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use herm_e2e::{Container, Finished, Image, docker, repository, run};

/// Chapter 1: `herm-init` is small; this is its limit, stripped.
const INIT_BUDGET: u64 = 2_000_000;

fn images() -> [Image; 2] {
    [Image::herm_dev(), Image::hermes()]
}

/// The one archive that SHA256SUMS lists.
fn archive() -> PathBuf {
    let sums = std::fs::read_to_string(repository().join("dist/SHA256SUMS"))
        .expect("run `cargo xtask dist` first");
    let (_, name) = sums
        .trim_end()
        .split_once("  ")
        .expect("a line is a sum and a name");
    repository().join("dist").join(name)
}

/// Runs a shell script in an image without herm: what the files are, not what herm makes of them.
fn sh(image: &Image, user: &str, script: &str) -> Finished {
    Container::of(image)
        .flag("--entrypoint=sh")
        .flag(&format!("--user={user}"))
        .command(&["-c", script])
        .run_to_end()
}

fn variables(image: &Image) -> BTreeMap<String, String> {
    let list = image.inspect(".Config.Env");
    let entries = list
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry.as_str().unwrap().split_once('=').unwrap());
    entries
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[test]
fn the_archive_is_what_its_checksum_says() {
    run(Command::new("sha256sum")
        .args(["--check", "--strict", "SHA256SUMS"])
        .current_dir(repository().join("dist")))
    .succeeds();
}

#[test]
fn the_archive_has_roots_files_and_changes_no_directory() {
    let listing = run(Command::new("tar")
        .args(["--list", "--verbose", "--numeric-owner", "--file"])
        .arg(archive()));
    for line in listing.succeeds().lines() {
        assert!(!line.starts_with('d'), "a directory: {line}");
        assert_eq!(line.split_whitespace().nth(1), Some("0/0"), "{line}");
    }
}

/// The archive's contents in a directory of their own.
fn unpacked() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    run(Command::new("tar")
        .arg("--extract")
        .arg("--file")
        .arg(archive())
        .arg("--directory")
        .arg(directory.path()))
    .succeeds();
    directory
}

#[test]
fn both_binaries_are_static() {
    let archive = unpacked();
    for binary in ["init", "usr/bin/herm"] {
        let headers = run(Command::new("readelf")
            .args(["--wide", "--program-headers"])
            .arg(archive.path().join(binary)));
        assert!(headers.succeeds().contains("LOAD"), "{headers}");
        assert!(!headers.stdout.contains("INTERP"), "{headers}");
    }
}

/// An image with nothing else in it has no dynamic linker and no library.
#[test]
fn herm_runs_where_there_is_nothing_but_the_archive() {
    let import = "tar --create --directory \"$1\" . | docker import -";
    let imported = run(Command::new("sh")
        .args(["-c", import, "import"])
        .arg(unpacked().path()));
    let id = imported.succeeds();
    let ran = docker(&[
        "run",
        "--rm",
        "--entrypoint",
        "/usr/bin/herm",
        id,
        "--version",
    ]);
    docker(&["rmi", "--force", id]);
    assert!(ran.succeeds().contains(env!("CARGO_PKG_VERSION")), "{ran}");
}

#[test]
fn herm_init_is_small() {
    let size = std::fs::metadata(unpacked().path().join("init"))
        .unwrap()
        .len();
    assert!(size < INIT_BUDGET, "{size} bytes of {INIT_BUDGET}");
}

#[test]
fn images_start_at_init_with_the_home_as_their_volume() {
    for image in images() {
        assert_eq!(
            image.inspect(".Config.Entrypoint"),
            serde_json::json!(["/init"])
        );
        assert_eq!(image.inspect(".Config.WorkingDir"), "/opt/hermes");
        assert_eq!(
            image.inspect(".Config.Volumes"),
            serde_json::json!({"/opt/data": {}})
        );
        assert_eq!(image.inspect(".Config.Cmd"), serde_json::Value::Null);
        assert_eq!(variables(&image)["HERMES_HOME"], "/opt/data");
    }
}

#[test]
fn the_agents_environment_comes_first_on_its_images_path() {
    let variables = variables(&Image::hermes());
    assert!(
        variables["PATH"].starts_with("/opt/hermes/.venv/bin:/opt/data/.local/bin:/"),
        "{}",
        variables["PATH"]
    );
    assert_eq!(variables["PYTHONUNBUFFERED"], "1");
}

#[test]
fn the_service_user_is_10000_and_owns_the_home() {
    for image in images() {
        assert_eq!(
            sh(
                &image,
                "root",
                "id -u hermes; id -g hermes; stat -c %u:%g /opt/data"
            )
            .succeeds(),
            "10000\n10000\n10000:10000"
        );
    }
}

#[test]
fn the_log_daemon_has_an_account_of_its_own_without_a_login() {
    for image in images() {
        let entry = sh(&image, "root", "getent passwd herm-log")
            .succeeds()
            .to_owned();
        let fields: Vec<&str> = entry.split(':').collect();
        assert_ne!(fields[2], "10000");
        assert_ne!(fields[2], "0");
        assert_eq!(fields[6], "/usr/sbin/nologin");
    }
}

#[test]
fn the_installation_is_readable_by_any_user_and_writable_by_none() {
    for image in images() {
        let script = "find /opt/hermes ! -type l \\( -perm /222 -o ! -readable \\); find /opt/hermes -type d ! -executable";
        assert_eq!(sh(&image, "4321:4321", script).succeeds(), "");
    }
}

#[test]
fn compose_files_find_their_ways_in() {
    for image in images() {
        sh(
            &image,
            "4321:4321",
            "cd /opt/hermes/docker && test -x main-wrapper.sh && test -x entrypoint.sh",
        )
        .succeeds();
        assert_eq!(
            sh(&image, "root", "cat /opt/hermes/.install_method").succeeds(),
            "docker"
        );
    }
}

#[test]
fn without_the_agent_its_name_is_herms() {
    assert_eq!(
        sh(
            &Image::herm_dev(),
            "10000:10000",
            "readlink -f $(command -v hermes)"
        )
        .succeeds(),
        "/usr/bin/herm"
    );
}

#[test]
fn the_agent_is_the_pinned_one() {
    let image = Image::hermes();
    assert_eq!(
        sh(&image, "10000:10000", "command -v hermes").succeeds(),
        "/opt/hermes/.venv/bin/hermes"
    );
    let installed = sh(
        &image,
        "10000:10000",
        "python -c 'from importlib.metadata import version; print(version(\"hermes-agent\"))'",
    );
    assert_eq!(installed.succeeds(), "0.19.0");
}

#[test]
fn nothing_of_the_building_machine_stays_in_an_image() {
    for image in images() {
        let names: Vec<String> = variables(&image).into_keys().collect();
        assert!(
            !names.iter().any(|name| name.starts_with("PIP_")
                || name.contains("SSL")
                || name.contains("PROXY")),
            "{names:?}"
        );
        let left = sh(
            &image,
            "root",
            "ls -A /run/secrets /root/.cache /build /dist /tmp 2>/dev/null | grep -v ':$'; find / -xdev -name pip.conf",
        );
        assert_eq!(left.stdout.trim(), "", "{left}");
    }
}

#[test]
fn another_architecture_fails_the_build_by_name() {
    // Debian's docker is a client that can build; where another comes first on PATH, both are tried.
    let built = ["/usr/bin/docker", "docker"].map(|client| {
        let mut build = Command::new(client);
        build.args([
            "build",
            "--target=unpack",
            "--build-arg=TARGETARCH=riscv64",
            "--file=docker/herm.Dockerfile",
        ]);
        build.args([
            &format!("--build-arg=BASE_IMAGE={}", Image::herm_dev().tag()),
            ".",
        ]);
        run(build
            .env("DOCKER_BUILDKIT", "1")
            .env("BUILDKIT_PROGRESS", "plain")
            .current_dir(repository()))
    });
    assert!(
        built.iter().all(|build| !build.is_success()),
        "{}\n{}",
        built[0],
        built[1]
    );
    assert!(
        built.iter().any(|build| build
            .stderr
            .contains("no archive for architecture 'riscv64'")),
        "{}\n{}",
        built[0],
        built[1]
    );
}
