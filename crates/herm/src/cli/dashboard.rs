//! `herm dashboard`.

use clap::{Args, Subcommand, ValueEnum};
use herm_dashboard::bearer::Scope;

use super::{Format, examples};

pub(super) const EXAMPLES: &str = "Examples:\n  herm dashboard\n  herm dashboard --port 9200\n  \
    herm dashboard token show\n  herm dashboard token add prometheus --scope read";

/// `herm dashboard`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct DashboardArgs {
    #[command(subcommand)]
    pub(crate) command: Option<DashboardCommand>,
    /// The address to listen on; default: `HERMES_DASHBOARD_HOST`, else 127.0.0.1. On any other
    /// than a loopback address a login is asked for
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) host: Option<String>,
    /// The port; default: `HERMES_DASHBOARD_PORT`, else 9119
    #[arg(long)]
    pub(crate) port: Option<u16>,
}

/// What there is to manage.
#[derive(Debug, Subcommand)]
pub(crate) enum DashboardCommand {
    /// The token to sign in with, and those of programs
    #[command(subcommand, after_help = EXAMPLES)]
    Token(TokenCommand),
}

/// `herm dashboard token`.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Print the token to sign in with where no password is set; it is made if there is none
    #[command(after_help = examples(&["herm dashboard token show"], ""))]
    Show,
    /// Make a token for a program and print it: it can't be shown again
    #[command(after_help = examples(&["herm dashboard token add prometheus --scope read"], ""))]
    Add {
        /// What to call it
        name: String,
        /// What it allows
        #[arg(long, value_enum, default_value = "read")]
        scope: ScopeWord,
    },
    /// List the tokens of programs
    #[command(after_help = examples(&["herm dashboard token list"], ""))]
    List(Format),
    /// Take a program's token back
    #[command(after_help = examples(&["herm dashboard token remove prometheus"], ""))]
    Remove {
        /// What it is called
        name: String,
    },
}

/// A scope as it is typed.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum ScopeWord {
    /// Look
    Read,
    /// Look, start, stop, create, delete
    Control,
}

impl From<ScopeWord> for Scope {
    fn from(word: ScopeWord) -> Self {
        match word {
            ScopeWord::Read => Self::Read,
            ScopeWord::Control => Self::Control,
        }
    }
}
