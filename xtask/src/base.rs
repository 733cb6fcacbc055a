//! The image that ours are built on: Debian slim from a registry, or made here when none can be
//! pulled.

use std::process::Stdio;

use anyhow::{Context, Result};

use crate::docker::{docker, has_image};
use crate::run::{command, run};

/// The name of the image in registries.
const PULLED: &str = "debian:12-slim";
/// The name of the one made here; another name, because it is not the same image.
const MADE: &str = "herm-base:bookworm";

/// What Debian's slim images leave out.
const EXCLUDED: &[&str] = &[
    "doc/*",
    "info/*",
    "linda/*",
    "lintian/*",
    "locale/*",
    "man/*",
];

/// The name of a base image that the engine has when this returns.
pub(crate) fn base() -> Result<&'static str> {
    for tag in [PULLED, MADE] {
        if has_image(tag) {
            return Ok(tag);
        }
    }
    if run(&mut docker(&["pull", "--quiet", PULLED])).is_ok() {
        return Ok(PULLED);
    }
    println!("{PULLED} cannot be pulled; making {MADE}");
    make().map(|()| MADE)
}

/// The tar of a minimal Debian goes straight from `mmdebstrap` into the engine.
fn make() -> Result<()> {
    let mut bootstrap = command("mmdebstrap", &["--variant=minbase", "--quiet"]);
    for path in EXCLUDED {
        bootstrap.arg(format!("--dpkgopt=path-exclude=/usr/share/{path}"));
    }
    bootstrap.arg("--dpkgopt=path-include=/usr/share/doc/*/copyright");
    let mut bootstrap = bootstrap
        .args(["bookworm", "-"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("could not start mmdebstrap (Debian package mmdebstrap)")?;
    let tar = bootstrap
        .stdout
        .take()
        .context("mmdebstrap has no output")?;
    let imported = run(docker(&["import", "--change", "CMD [\"bash\"]", "-", MADE]).stdin(tar));
    let status = bootstrap.wait().context("could not wait for mmdebstrap")?;
    anyhow::ensure!(status.success(), "mmdebstrap failed: {status}");
    imported
}
