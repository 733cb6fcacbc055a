//! `herm gateway …`.

use clap::{Args, Subcommand};

use super::{Format, LogView, Patience, examples};

/// Of the whole family.
pub(super) const EXAMPLES: &str =
    "Examples:\n  herm -p writer gateway start\n  herm gateway stop --all\n  herm gateway list";

/// The family. The profile is named by `-p`, else it is `default`.
#[derive(Debug, Subcommand)]
pub(crate) enum GatewayCommand {
    /// Run a gateway: through the supervisor where one is, else here in the foreground
    #[command(after_help = examples(&["herm gateway run", "herm -p writer gateway run --no-supervise"], ""))]
    Run(RunArgs),
    /// Start it, now and after every restart, until it is stopped
    #[command(after_help = examples(&["herm -p writer gateway start", "herm gateway start --all"], ""))]
    Start(Lifecycle),
    /// Stop it; it stays down, also after a restart, until it is started
    #[command(after_help = examples(&["herm -p writer gateway stop", "herm gateway stop --all --no-wait"], ""))]
    Stop(Lifecycle),
    /// Stop it and start it again
    #[command(after_help = examples(&["herm -p writer gateway restart"], ""))]
    Restart(Lifecycle),
    /// Show how it is; exit code 3 where it isn't running
    #[command(after_help = examples(&["herm -p writer gateway status", "herm gateway status --all --json"], ""))]
    Status(Selected),
    /// List all gateways
    #[command(after_help = examples(&["herm gateway list"], ""))]
    List(Format),
    /// Show its log
    #[command(after_help = examples(&["herm -p writer gateway logs -f"], ""))]
    Logs {
        #[command(flatten)]
        view: LogView,
        #[command(flatten)]
        format: Format,
    },
    /// Under herm there is nothing to install: profiles are registered by themselves
    #[command(after_help = examples(&["herm gateway install"], ""))]
    Install,
    /// Under herm there is nothing to uninstall: stopping is enough
    #[command(after_help = examples(&["herm gateway uninstall"], ""))]
    Uninstall,
}

/// `run`.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Here in the foreground, whether a supervisor answers or not
    #[arg(long, env = "HERMES_GATEWAY_NO_SUPERVISE", value_parser = clap::builder::FalseyValueParser::new())]
    pub(crate) no_supervise: bool,
    /// Take over from a gateway of the same profile that runs outside supervision
    #[arg(long)]
    pub(crate) replace: bool,
}

/// The verbs.
#[derive(Debug, Args)]
pub(crate) struct Lifecycle {
    /// All profiles
    #[arg(long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) patience: Patience,
    #[command(flatten)]
    pub(crate) format: Format,
}

/// `status`.
#[derive(Debug, Args, Clone, Copy)]
pub(crate) struct Selected {
    /// All profiles
    #[arg(long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) format: Format,
}
