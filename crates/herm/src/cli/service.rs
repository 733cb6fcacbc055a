//! `herm service …`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum, ValueHint};
use herm_wire::WaitFor;

use super::{Format, Patience, duration, examples};

/// Of the whole family.
pub(super) const EXAMPLES: &str =
    "Examples:\n  herm service list\n  herm service restart dashboard\n  herm service env writer";

/// The family.
#[derive(Debug, Subcommand)]
pub(crate) enum ServiceCommand {
    /// List all services
    #[command(after_help = examples(&["herm service list", "herm service list --json"], ""))]
    List(Format),
    /// Show one service; exit code 3 where it isn't running
    #[command(after_help = examples(&["herm service status gateway-writer"], ""))]
    Status {
        /// A service or a profile
        name: String,
        #[command(flatten)]
        format: Format,
    },
    /// Start a service
    #[command(after_help = examples(&["herm service start web"], ""))]
    Start(ServiceVerb),
    /// Stop a service
    #[command(after_help = examples(&["herm service stop web --timeout 30s"], ""))]
    Stop(ServiceVerb),
    /// Stop a service and start it again
    #[command(after_help = examples(&["herm service restart web --no-wait"], ""))]
    Restart(ServiceVerb),
    /// Send a signal to a service's main process
    #[command(after_help = examples(&["herm service signal web HUP"], ""))]
    Signal(SignalArgs),
    /// Wait for a service; exit code 124 where the time runs out
    #[command(after_help = examples(&["herm service wait web ready --timeout 60s"], ""))]
    Wait(WaitArgs),
    /// Supervise a program, as the user who asks
    #[command(after_help = examples(&["herm service add web --start -- python3 -m http.server 8000", "herm service add db --file db.json"], ""))]
    Add(AddArgs),
    /// Stop a service and forget it
    #[command(after_help = examples(&["herm service remove web"], ""))]
    Remove {
        /// The service
        name: String,
    },
    /// Show a service's environment and where each variable came from
    #[command(after_help = examples(&["herm service env writer", "herm service env writer --json"], "Values of secrets are not shown, unless they are asked for."))]
    Env {
        /// A service or a profile
        name: String,
        /// Show the values of keys, tokens and passwords too
        #[arg(long)]
        show_secrets: bool,
        #[command(flatten)]
        format: Format,
    },
    /// Replace the supervisor's program by the installed one; no service is restarted
    #[command(after_help = examples(&["herm service reexec"], ""))]
    Reexec,
}

/// The verbs.
#[derive(Debug, Args)]
pub(crate) struct ServiceVerb {
    /// A service or a profile
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) patience: Patience,
    #[command(flatten)]
    pub(crate) format: Format,
}

/// `signal`.
#[derive(Debug, Args)]
pub(crate) struct SignalArgs {
    /// A service or a profile
    pub(crate) name: String,
    /// Its name or number, with or without SIG
    pub(crate) signal: String,
}

/// `wait`.
#[derive(Debug, Args)]
pub(crate) struct WaitArgs {
    /// A service or a profile
    pub(crate) name: String,
    /// What for
    #[arg(default_value = "ready")]
    pub(crate) condition: Condition,
    /// Wait at most this long, e.g. 30, 30s, 2m (exit code 124)
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) timeout: Option<Duration>,
    #[command(flatten)]
    pub(crate) format: Format,
}

/// What can be waited for.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Condition {
    /// It runs
    Up,
    /// It runs and is ready
    Ready,
    /// None of its processes lives
    Down,
    /// It is registered
    Registered,
    /// It is not registered
    Gone,
}

impl From<Condition> for WaitFor {
    fn from(condition: Condition) -> Self {
        match condition {
            Condition::Up => Self::Up,
            Condition::Ready => Self::Ready,
            Condition::Down => Self::Down,
            Condition::Registered => Self::Registered,
            Condition::Gone => Self::Gone,
        }
    }
}

/// `add`.
#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// Its name
    #[arg(required_unless_present = "file", allow_hyphen_values = true)]
    pub(crate) name: Option<String>,
    /// Program and arguments, after `--`
    #[arg(last = true, required_unless_present = "file", value_name = "PROGRAM")]
    pub(crate) argv: Vec<String>,
    /// A whole specification as JSON (docs/reference/control.schema.json, `ServiceSpec`); `-` is standard input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with_all = ["name", "argv"])]
    pub(crate) file: Option<PathBuf>,
    /// Start it at once
    #[arg(long)]
    pub(crate) start: bool,
    /// A variable of its environment; can be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    pub(crate) env: Vec<(String, String)>,
    /// Working directory
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) cwd: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) format: Format,
}

fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!("{text:?} is no assignment: use NAME=VALUE")),
    }
}
