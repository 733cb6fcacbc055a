//! `cargo xtask dist`: static binaries, packed as the one archive that an image needs.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::archive::{self, Entries, Entry};
use crate::run::{capture, cargo, command, root, run};

/// What a build for distribution is made for: the machine it runs on.
pub(crate) struct Target {
    /// The compiler's name of it (`x86_64-unknown-linux-gnu`).
    pub(crate) triple: String,
    /// The name that images use for its architecture (Docker's `TARGETARCH`).
    pub(crate) arch: &'static str,
}

impl Target {
    /// The machine this task runs on.
    pub(crate) fn host() -> Result<Self> {
        let verbose = capture(&mut command("rustc", &["--version", "--verbose"]))?;
        let triple = verbose
            .lines()
            .find_map(|line| line.strip_prefix("host: "))
            .context("`rustc --version --verbose` names no host")?
            .to_owned();
        let arch = match triple.split('-').next() {
            Some("x86_64") => "amd64",
            Some("aarch64") => "arm64",
            _ => bail!("images are built for amd64 and arm64, not for {triple}"),
        };
        Ok(Self { triple, arch })
    }

    /// The static `herm-init` of the last build for distribution.
    pub(crate) fn init_binary(&self) -> PathBuf {
        self.binary(&RELEASE, "herm-init")
    }

    fn binary(&self, build: &Build, name: &str) -> PathBuf {
        let profile = if name == "herm-init" {
            build.init
        } else {
            build.herm
        };
        self.directory().join(profile).join(name)
    }

    fn directory(&self) -> PathBuf {
        target_directory().join(&self.triple)
    }
}

/// Cargo's target directory.
pub(crate) fn target_directory() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| root().join("target"), |dir| root().join(dir))
}

/// The profiles that the two binaries are built with.
pub(crate) struct Build {
    init: &'static str,
    herm: &'static str,
}

/// What is shipped.
pub(crate) const RELEASE: Build = Build {
    init: "pid1",
    herm: "release",
};
/// What is tried: the same code, optimised less and built much sooner.
pub(crate) const QUICK: Build = Build {
    init: "pid1-quick",
    herm: "quick",
};

/// Builds both binaries and packs them into `dist/`.
pub(crate) fn dist(build: &Build) -> Result<()> {
    let target = Target::host()?;
    compile(&target, build.init, "herm-init", &init_size_flags())?;
    compile(&target, build.herm, "herm", "")?;
    pack(&target, build)
}

/// A static build needs an explicit target: without one, the flag would also hold for procedural
/// macros, which are shared libraries.
fn compile(target: &Target, profile: &str, name: &str, link_flags: &str) -> Result<()> {
    let mut build = cargo(&["build", "--locked", "--target", &target.triple]);
    build.args(["--profile", profile, "--package", name, "--bin", name]);
    let remap = format!("--remap-path-prefix={}=/herm", root().display());
    let flags = format!("-C target-feature=+crt-static {remap} {link_flags}");
    run(build.env("RUSTFLAGS", flags))
}

/// What keeps PID 1's binary small: no tables for unwinding, relocations in their packed form, and
/// sequences of instructions that repeat moved out into functions.
fn init_size_flags() -> String {
    let script = root().join("crates/init/no-unwind-tables.ld");
    format!(
        "-C llvm-args=--enable-machine-outliner=always \
         -C link-arg=-Wl,-z,pack-relative-relocs,-T,{}",
        script.display()
    )
}

fn pack(target: &Target, build: &Build) -> Result<()> {
    let directory = root().join("dist");
    fs::create_dir_all(&directory).context("could not create dist/")?;
    let name = format!("herm-{}-{}.tar.gz", env!("CARGO_PKG_VERSION"), target.arch);
    let path = directory.join(&name);
    let mut entries = entries(target, build)?;
    add_commands(&mut entries, &target.binary(build, "herm-init"))?;
    archive::write(&path, &entries)?;
    let sum = archive::sha256(&path)?;
    fs::write(directory.join("SHA256SUMS"), format!("{sum}  {name}\n"))
        .context("could not write dist/SHA256SUMS")?;
    println!("dist/{name}  {sum}");
    Ok(())
}

/// `/init` is the entry point that images name; the same file under its own name is for people.
fn entries(target: &Target, build: &Build) -> Result<Entries> {
    Ok(Entries::from([
        (
            "init".into(),
            file(&target.binary(build, "herm-init"), 0o755)?,
        ),
        ("usr/bin/herm-init".into(), Entry::Link("../../init".into())),
        (
            "usr/bin/herm".into(),
            file(&target.binary(build, "herm"), 0o755)?,
        ),
        (
            "usr/share/doc/herm/LICENSE-APACHE".into(),
            file(&root().join("LICENSE-APACHE"), 0o644)?,
        ),
        (
            "usr/share/doc/herm/LICENSE-MIT".into(),
            file(&root().join("LICENSE-MIT"), 0o644)?,
        ),
    ]))
}

/// Packages of s6-overlay whose commands images name by their full paths.
const PACKAGES: &[&str] = &["execline", "s6", "s6-linux-init", "s6-overlay", "s6-rc"];

/// Commands that a distribution may have in `/usr/bin` itself, or that mean something else there.
const NOT_IN_USR_BIN: &[&str] = &[
    "case", "cd", "exec", "exit", "export", "getpid", "halt", "if", "poweroff", "reboot", "shift",
    "shutdown", "trap", "umask", "wait",
];

/// The commands of the s6 family where images built on s6-overlay look for them.
fn add_commands(entries: &mut Entries, init: &Path) -> Result<()> {
    let names = capture(&mut command(&init.to_string_lossy(), &["--commands"]))?;
    for name in names.lines() {
        entries.insert(format!("command/{name}"), Entry::Link("../init".into()));
        if !NOT_IN_USR_BIN.contains(&name) {
            let link = Entry::Link("../../init".into());
            entries.insert(format!("usr/bin/{name}"), link);
        }
    }
    for package in PACKAGES {
        let link = Entry::Link("../../../command".into());
        entries.insert(format!("package/admin/{package}/command"), link);
    }
    Ok(())
}

fn file(path: &Path, mode: u32) -> Result<Entry> {
    let content = fs::read(path).with_context(|| format!("could not read {}", path.display()))?;
    Ok(Entry::File { content, mode })
}
