//! Programs that judge herm from outside in the end-to-end tests: what they are, each of one version,
//! kept below `target`, and installed nowhere else.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::dist::target_directory;
use crate::host::{fetch, refresh};
use crate::run::{command, root, run, succeeds};

/// The variable by which the tests find them.
pub(crate) const VARIABLE: &str = "HERM_E2E_TOOLS";
/// schemathesis and a reader of OpenMetrics, with everything they need, pinned.
const REQUIREMENTS: &str = "tests/e2e/tools/requirements.txt";
/// The Debian package that has promtool. It is unpacked and not installed: it would start a server.
const PROMETHEUS: &str = "prometheus";

/// Makes them ready and says where they are.
pub(crate) fn prepare() -> Result<PathBuf> {
    let tools = target_directory().join("e2e-tools");
    fs::create_dir_all(&tools)?;
    python(&tools).context("could not prepare the Python programs of the tests")?;
    promtool(&tools).context("could not get promtool")?;
    // Tests run in another directory.
    Ok(tools.canonicalize()?)
}

fn python(tools: &Path) -> Result<()> {
    let wanted = fs::read_to_string(root().join(REQUIREMENTS))?;
    let stamp = tools.join("requirements.txt");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    if !succeeds(&mut command("python3", &["-c", "import ensurepip, venv"])) {
        fetch(&["python3-venv"])?;
    }
    let venv = tools.join("venv");
    let venv_path = venv.to_string_lossy();
    run(&mut command(
        "python3",
        &["-m", "venv", "--clear", &venv_path],
    ))?;
    let pip = venv.join("bin/pip");
    let install = [
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--only-binary",
        ":all:",
    ];
    run(command(&pip.to_string_lossy(), &install).args(["--requirement", REQUIREMENTS]))?;
    fs::write(stamp, wanted)?;
    Ok(())
}

fn promtool(tools: &Path) -> Result<()> {
    if tools.join("promtool").is_file() {
        return Ok(());
    }
    let unpacked = tools.join("unpacked");
    if unpacked.exists() {
        fs::remove_dir_all(&unpacked)?;
    }
    fs::create_dir(&unpacked)?;
    let download = || run(command("apt-get", &["download", PROMETHEUS]).current_dir(&unpacked));
    if download().is_err() {
        refresh()?;
        download()?;
    }
    let packages = fs::read_dir(&unpacked)?.collect::<Result<Vec<_>, _>>()?;
    let package = packages.first().context("nothing was downloaded")?.path();
    run(command("dpkg-deb", &["--extract"])
        .arg(package)
        .arg(&unpacked))?;
    fs::rename(unpacked.join("usr/bin/promtool"), tools.join("promtool"))?;
    Ok(fs::remove_dir_all(unpacked)?)
}
