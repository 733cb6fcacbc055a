//! What `herm doctor` finds: asked of the command itself, as a person would, and kept for a moment,
//! so that a flood of visitors is one patient.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;
use tokio::sync::Mutex;

/// How long an answer may be old: it looks through the home.
const FRESH: Duration = Duration::from_secs(10);

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    /// As it should be.
    Ok,
    /// Good to know.
    Note,
    /// Needs somebody.
    Problem,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Finding {
    /// The check.
    pub(crate) check: String,
    pub(crate) level: Level,
    /// What was found.
    pub(crate) found: String,
    /// What to do about it.
    pub(crate) remedy: Option<String>,
}

/// What it printed.
#[derive(Debug, Deserialize)]
struct Report {
    findings: Vec<Finding>,
}

/// The findings, or why there are none.
pub(crate) type Findings = Arc<Result<Vec<Finding>, String>>;

/// Asks, and remembers.
#[derive(Debug, Default)]
pub(crate) struct Doctor {
    last: Mutex<Option<(Instant, Findings)>>,
}

impl Doctor {
    /// The findings of a moment ago at most. One asks, the others wait for the same answer.
    pub(crate) async fn findings(&self, program: &Path, home: &Path) -> Findings {
        let mut last = self.last.lock().await;
        if let Some((at, findings)) = last.as_ref()
            && at.elapsed() < FRESH
        {
            return findings.clone();
        }
        let (program, home) = (program.to_path_buf(), home.to_path_buf());
        let asked = tokio::task::spawn_blocking(move || ask(&program, &home)).await;
        let findings = Arc::new(asked.unwrap_or_else(|error| Err(error.to_string())));
        *last = Some((Instant::now(), findings.clone()));
        findings
    }
}

fn ask(program: &PathBuf, home: &PathBuf) -> Result<Vec<Finding>, String> {
    let run = Command::new(program)
        .arg("--home")
        .arg(home)
        .args(["doctor", "--json"])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    let report: Report = serde_json::from_slice(&run.stdout)
        .map_err(|_| String::from_utf8_lossy(&run.stderr).trim().to_owned())?;
    Ok(report.findings)
}
