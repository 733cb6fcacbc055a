//! Getting the machine ready for the tests: Debian packages, and a Docker engine that answers.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::dist::target_directory;
use crate::docker::{builder, engine_answers};
use crate::run::{command, root, run, succeeds};

/// A program that the tests need, and the Debian package that has it.
const PROGRAMS: &[(&str, &str)] = &[
    ("readelf", "binutils"),
    ("dockerd", "docker.io"),
    ("iptables", "iptables"),
    ("mmdebstrap", "mmdebstrap"),
    ("nsenter", "util-linux"),
    ("unshare", "util-linux"),
    ("strace", "strace"),
    ("tmux", "tmux"),
    ("curl", "curl"),
    ("s6-svscan", "s6"),
    ("execlineb", "execline"),
    ("bindfs", "bindfs"),
];

/// What drives the dashboard in a browser. Whoever has a Node.js already has its npm too.
const BROWSER: &[(&str, &str)] = &[("chromium", "chromium"), ("node", "nodejs"), ("npm", "npm")];
/// Where the browser's scenarios are, with the packages that they are written with.
const SCENARIOS: &str = "tests/e2e/browser";

/// How long a Docker engine may take to answer after its start; it only guards against a hang.
const ENGINE_START_GUARD: Duration = Duration::from_secs(90);

/// Installs the packages whose programs are missing.
pub(crate) fn install_packages() -> Result<()> {
    let mut missing = missing_of(PROGRAMS);
    if builder().is_err() {
        missing.push("docker.io");
    }
    if missing.is_empty() {
        println!("every program the tests need is installed");
        return Ok(());
    }
    fetch(&missing)
}

/// Installs the packages of those programs that are missing.
pub(crate) fn install_programs(programs: &[(&str, &str)]) -> Result<()> {
    let missing: Vec<&str> = missing_of(programs);
    if missing.is_empty() {
        return Ok(());
    }
    fetch(&missing)
}

/// Installs a browser, and what drives it from npm: exactly what the lock file names.
pub(crate) fn install_browser() -> Result<()> {
    install_programs(BROWSER)?;
    let scenarios = root().join(SCENARIOS);
    let written = |path: &str| scenarios.join(path).metadata()?.modified();
    let installed = written("node_modules/.package-lock.json");
    if installed.is_ok_and(|at| written("package-lock.json").is_ok_and(|locked| locked <= at)) {
        return Ok(());
    }
    let mut install = command(
        "npm",
        &["ci", "--no-audit", "--no-fund", "--ignore-scripts"],
    );
    run(install.current_dir(scenarios)).context("could not install what drives the browser")
}

fn missing_of<'a>(programs: &[(&str, &'a str)]) -> Vec<&'a str> {
    let missing = programs
        .iter()
        .filter(|(program, _)| !is_installed(program));
    let mut packages: Vec<&str> = missing.map(|(_, package)| *package).collect();
    packages.sort_unstable();
    packages.dedup();
    packages
}

/// Installs Debian packages.
pub(crate) fn fetch(missing: &[&str]) -> Result<()> {
    println!("to install: {}", missing.join(" "));
    refresh()?;
    install(missing)
}

/// Gets the lists of what there is.
pub(crate) fn refresh() -> Result<()> {
    run(&mut as_root("apt-get", &["update", "--quiet"]))
        .context("could not refresh the package lists")
}

fn install(packages: &[&str]) -> Result<()> {
    // Through env(1), because sudo drops variables.
    let mut install = as_root(
        "env",
        &["DEBIAN_FRONTEND=noninteractive", "apt-get", "install"],
    );
    install
        .args(["--yes", "--quiet", "--no-install-recommends"])
        .args(packages);
    run(&mut install).context("could not install packages")
}

/// Administrators' programs are not on every user's PATH, so their directories are looked at too.
fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .any(|dir| dir.join(program).is_file())
}

fn as_root(program: &str, args: &[&str]) -> Command {
    if succeeds(&mut command("sh", &["-c", "test $(id -u) = 0"])) {
        command(program, args)
    } else {
        let mut sudo = command("sudo", &[program]);
        sudo.args(args);
        sudo
    }
}

/// Starts a Docker engine unless one answers.
///
/// It is left running afterwards, as a service of the machine would be.
pub(crate) fn start_engine() -> Result<()> {
    if engine_answers() {
        println!("a Docker engine answers");
        return Ok(());
    }
    if Path::new("/run/systemd/system").is_dir() {
        run(&mut as_root("systemctl", &["start", "docker"]))?;
        return wait_for_engine(None, Path::new("the journal of docker.service"));
    }
    mount_cgroups()?;
    // The second try is for file systems that overlayfs cannot lie on.
    if let Err(error) = spawn_engine(&[]) {
        println!("{error:#}");
        return spawn_engine(&["--storage-driver=vfs"]);
    }
    Ok(())
}

/// An engine needs control groups; without systemd, mounting them is another package's job.
fn mount_cgroups() -> Result<()> {
    let mounted = ["cgroup.controllers", "devices"]
        .iter()
        .any(|name| Path::new("/sys/fs/cgroup").join(name).exists());
    if mounted {
        return Ok(());
    }
    install(&["cgroupfs-mount"])?;
    run(&mut as_root("cgroupfs-mount", &[])).context("could not mount control groups")
}

fn spawn_engine(args: &[&str]) -> Result<()> {
    std::fs::create_dir_all(target_directory())?;
    let path = target_directory().join("dockerd.log");
    let log =
        File::create(&path).with_context(|| format!("could not create {}", path.display()))?;
    let mut engine = as_root("dockerd", args);
    engine
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    // A group of its own: an interrupt of the tests does not take the engine with it.
    std::os::unix::process::CommandExt::process_group(&mut engine, 0);
    println!("$ dockerd {} (log: {})", args.join(" "), path.display());
    let child = engine.spawn().context("could not start dockerd")?;
    wait_for_engine(Some(child), &path)
}

fn wait_for_engine(mut engine: Option<Child>, log: &Path) -> Result<()> {
    let start = Instant::now();
    while !engine_answers() {
        if let Some(status) = engine
            .as_mut()
            .and_then(|child| child.try_wait().ok().flatten())
        {
            bail!("dockerd ended ({status}):\n{}", tail(log));
        }
        if start.elapsed() > ENGINE_START_GUARD {
            bail!(
                "no Docker engine answers this user after {ENGINE_START_GUARD:?} (users other than root \
                 have to be in the group docker):\n{}",
                tail(log)
            );
        }
        // Another program's start has no event to wait for here.
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_else(|_| format!("see {}", log.display()));
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
