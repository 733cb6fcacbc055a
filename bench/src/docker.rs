//! The engine's command line.

use std::process::Command;

use anyhow::{Result, ensure};

use crate::guard;

/// Runs `docker` and gives what it prints.
pub(crate) fn docker(args: &[&str]) -> Result<String> {
    let output = Command::new("docker").args(args).output()?;
    ensure!(
        output.status.success(),
        "docker {}: {}",
        args.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The label by which this run's containers are removed if it is interrupted.
pub(crate) fn label() -> String {
    format!("--label={}", guard::name())
}
