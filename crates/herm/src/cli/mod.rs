//! The command line as data: one definition per command, from which the parser, `--help`, the
//! shell completions, the man pages and the reference page are all made (contract section 4).

mod dashboard;
mod gateway;
mod profile;
mod service;

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::builder::Styles;
use clap::builder::styling::AnsiColor;
use clap::{Args, Parser, Subcommand, ValueHint};
use clap_complete::Shell;

use crate::commands::{Pattern, pattern};
pub(crate) use dashboard::{DashboardArgs, DashboardCommand, TokenCommand};
pub(crate) use gateway::{GatewayCommand, Lifecycle, RunArgs, Selected};
pub(crate) use profile::{CreateArgs, DeleteArgs, ExportArgs, ImportArgs, ProfileCommand};
pub(crate) use service::{AddArgs, ServiceCommand, ServiceVerb};

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

const EXIT_CODES: &str = "Exit codes:\n  \
    0 done · 1 failed · 2 usage · 3 not running · 4 no such profile or service\n  \
    5 not permitted · 78 bad configuration · 124 timed out";

const HEALTH_EXITS: &str = "Exits 0 or 1, as HEALTHCHECK wants it. What is only on its way (a boot, a start) is not healthy yet.";
const EVENTS_KEPT: &str = "What has happened is kept in the home (.herm/history.db), at most 90 days; it needs no supervisor.";

/// Runs many agents, each with its gateway, and keeps them running.
#[derive(Debug, Parser)]
#[command(
    name = "herm",
    version,
    styles = STYLES,
    propagate_version = true,
    disable_help_subcommand = true,
    after_help = examples(&["herm up", "herm profile create writer", "herm -p writer gateway start", "herm status"], EXIT_CODES),
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) globals: Globals,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What herm answers to when it is called `hermes`: the agent's own words, for images without the
/// Python agent.
#[derive(Debug, Parser)]
#[command(
    name = "hermes",
    version,
    styles = STYLES,
    disable_help_subcommand = true,
    about = "Profiles and gateways (herm, called by the agent's name)",
    after_help = examples(&["hermes profile create writer", "hermes -p writer gateway start"], EXIT_CODES),
)]
pub(crate) struct HermesCli {
    #[command(flatten)]
    pub(crate) globals: Globals,
    #[command(subcommand)]
    pub(crate) command: HermesCommand,
}

/// The commands the agent's own tool has too.
#[derive(Debug, Subcommand)]
pub(crate) enum HermesCommand {
    /// Create, look at and remove profiles
    #[command(subcommand, after_help = profile::EXAMPLES)]
    Profile(ProfileCommand),
    /// Start, stop and look at the gateways of profiles
    #[command(subcommand, after_help = gateway::EXAMPLES)]
    Gateway(GatewayCommand),
    /// Serve the dashboard, or manage its tokens
    #[command(after_help = dashboard::EXAMPLES)]
    Dashboard(DashboardArgs),
}

impl From<HermesCli> for Cli {
    fn from(cli: HermesCli) -> Self {
        let command = match cli.command {
            HermesCommand::Profile(command) => Command::Profile(command),
            HermesCommand::Gateway(command) => Command::Gateway(command),
            HermesCommand::Dashboard(args) => Command::Dashboard(args),
        };
        Self {
            globals: cli.globals,
            command,
        }
    }
}

/// Options every command takes.
#[derive(Debug, Args)]
pub(crate) struct Globals {
    /// The home; default: `HERMES_HOME`, /opt/data in an image, else ~/.local/share/herm
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) home: Option<PathBuf>,
    /// The profile meant; default: the root profile, `default`
    #[arg(
        short,
        long,
        global = true,
        value_name = "NAME",
        allow_hyphen_values = true
    )]
    pub(crate) profile: Option<String>,
    /// Stay root instead of becoming the user that owns the home
    #[arg(long, global = true)]
    pub(crate) as_root: bool,
}

/// How data is printed.
#[derive(Debug, Args, Clone, Copy)]
pub(crate) struct Format {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// How a verb waits.
#[derive(Debug, Args, Clone, Copy)]
pub(crate) struct Patience {
    /// Return when the order is taken, not when its result is known
    #[arg(long, conflicts_with = "timeout")]
    pub(crate) no_wait: bool,
    /// Wait at most this long, e.g. 30, 30s, 2m (exit code 124)
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) timeout: Option<Duration>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Bring the whole thing up in the foreground: no root, no Docker, nothing installed
    #[command(after_help = examples(&["herm up", "herm up --home ~/agents", "herm up --no-dashboard"], ""))]
    Up {
        /// Without the dashboard
        #[arg(long)]
        no_dashboard: bool,
    },
    /// Create, look at and remove profiles
    #[command(subcommand, after_help = profile::EXAMPLES)]
    Profile(ProfileCommand),
    /// Start, stop and look at the gateways of profiles
    #[command(subcommand, after_help = gateway::EXAMPLES)]
    Gateway(GatewayCommand),
    /// Show everything at a glance, the verdict first
    #[command(after_help = examples(&["herm status", "herm status --json"], ""))]
    Status(Format),
    /// Say whether everything serves that should: for HEALTHCHECK and probes
    #[command(after_help = examples(&["herm health", "herm health --alive"], HEALTH_EXITS))]
    Health(HealthArgs),
    /// Watch everything live, full screen, and start and stop services by key
    #[command(after_help = examples(&["herm top", "docker exec -it -u hermes CONTAINER herm top"], ""))]
    Top,
    /// Show the kept logs of services or profiles, interleaved by time
    #[command(after_help = examples(&["herm logs writer", "herm logs -f -n 20 writer coder", "herm logs --since 10m --grep 'error|timeout' writer"], ""))]
    Logs(LogsArgs),
    /// Show what has happened, also before the last restart, and what happens, as it happens
    #[command(after_help = examples(&["herm events --since 12h", "herm events -n 20 writer", "herm events -f", "herm events -f --json | jq .event"], EVENTS_KEPT))]
    Events(EventsArgs),
    /// Say in one sentence why a service is as it is and what happens next
    #[command(after_help = examples(&["herm why writer", "herm why gateway-writer --json"], ""))]
    Why(WhyArgs),
    /// Look at and control any service, by its name or its profile's
    #[command(subcommand, after_help = service::EXAMPLES)]
    Service(ServiceCommand),
    /// Serve the dashboard, or manage its tokens
    #[command(after_help = dashboard::EXAMPLES)]
    Dashboard(DashboardArgs),
    /// Bring services into line with the home now
    #[command(after_help = examples(&["herm reconcile", "herm reconcile --dry-run"], ""))]
    Reconcile(ReconcileArgs),
    /// Prepare the home as a boot does: directories, owners, modes, seeds
    #[command(after_help = examples(&["herm setup --dry-run", "docker exec CONTAINER herm setup"], ""))]
    Setup(SetupArgs),
    /// Say what is wrong with this container and this home, and what to do about it
    #[command(after_help = examples(&["herm doctor", "herm doctor --json | jq '.findings[] | select(.level == \"problem\")'"], "Exits 1 if there is a problem. Changes nothing, and is of use without a supervisor too."))]
    Doctor(Format),
    /// Stop everything and end the supervisor
    #[command(after_help = examples(&["herm shutdown", "herm shutdown --exit-code 3"], ""))]
    Shutdown(ShutdownArgs),
    /// Print the completion script of a shell
    #[command(after_help = examples(&["herm completions bash > ~/.local/share/bash-completion/completions/herm"], ""))]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page, or write all pages to a directory
    #[command(after_help = examples(&["herm man | man -l -", "herm man --dir ~/.local/share/man/man1"], ""))]
    Man {
        /// Write a page per command here
        #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
        dir: Option<PathBuf>,
    },
    /// Keep the home: started by the supervisor, not by people
    #[command(hide = true, after_help = examples(&["herm keeper"], ""))]
    Keeper,
    /// Bring the agent's skills into the home: started by the supervisor
    #[command(hide = true, after_help = examples(&["herm sync-skills"], ""))]
    SyncSkills,
    /// Try whether something serves: started by the supervisor
    #[command(subcommand, hide = true, after_help = examples(&["herm probe tcp 127.0.0.1:9200"], ""))]
    Probe(ProbeCommand),
    /// Write the generated reference pages
    #[cfg(feature = "generate")]
    #[command(hide = true, after_help = examples(&["herm generate docs/reference"], ""))]
    Generate {
        /// Where to
        dir: PathBuf,
    },
}

/// `herm logs`.
#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// Services or profiles; default: the profile named by -p
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    #[command(flatten)]
    pub(crate) view: LogView,
    #[command(flatten)]
    pub(crate) format: Format,
}

/// Which part of a log.
#[derive(Debug, Args, Clone)]
pub(crate) struct LogView {
    /// Go on with new lines as they come
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// The last N lines; default 100, with --since all
    #[arg(short = 'n', long = "lines", value_name = "N")]
    pub(crate) lines: Option<usize>,
    /// Only what is younger: a duration (90s, 10m, 2h, 1d) or a time (2026-11-20T20:30:00Z)
    #[arg(long, value_name = "T", value_parser = since)]
    pub(crate) since: Option<Since>,
    /// Only lines with this regular expression; capitals matter if it has one
    #[arg(short, long, value_name = "PATTERN", value_parser = pattern)]
    pub(crate) grep: Option<Pattern>,
}

/// A point in time as a person names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Since {
    /// This long before now.
    Ago(Duration),
    /// At this time.
    At(SystemTime),
}

impl Since {
    /// The time that is meant.
    pub(crate) fn time(self, now: SystemTime) -> SystemTime {
        match self {
            Self::At(at) => at,
            Self::Ago(span) => now.checked_sub(span).unwrap_or(SystemTime::UNIX_EPOCH),
        }
    }
}

/// `herm events`.
#[derive(Debug, Args)]
pub(crate) struct EventsArgs {
    /// Only of these services or profiles
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// Go on with what happens until interrupted; with neither -n nor --since, after how it is now
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// The last N of those that are kept; default 50, with --since all
    #[arg(short = 'n', long = "lines", value_name = "N")]
    pub(crate) lines: Option<usize>,
    /// Only what is younger: a duration (90s, 10m, 12h, 1d) or a time (2026-11-20T20:30:00Z)
    #[arg(long, value_name = "T", value_parser = since)]
    pub(crate) since: Option<Since>,
    #[command(flatten)]
    pub(crate) format: Format,
}

/// `herm health`.
#[derive(Debug, Args)]
pub(crate) struct HealthArgs {
    /// Only whether the supervisor answers: for whatever would restart the whole container
    #[arg(long)]
    pub(crate) alive: bool,
    #[command(flatten)]
    pub(crate) format: Format,
}

/// `herm why`.
#[derive(Debug, Args)]
pub(crate) struct WhyArgs {
    /// A service or a profile
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) format: Format,
}

/// `herm reconcile`.
#[derive(Debug, Args)]
pub(crate) struct ReconcileArgs {
    /// Only say what would be done
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Wait at most this long, e.g. 30, 30s, 2m (exit code 124)
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) timeout: Option<Duration>,
    #[command(flatten)]
    pub(crate) format: Format,
}

/// `herm setup`.
#[derive(Debug, Args)]
pub(crate) struct SetupArgs {
    /// Only say what would be done
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// `herm shutdown`.
#[derive(Debug, Args)]
pub(crate) struct ShutdownArgs {
    /// What the supervisor exits with; default: the main program's code
    #[arg(long, value_name = "N")]
    pub(crate) exit_code: Option<u8>,
}

/// `herm probe`.
#[derive(Debug, Subcommand)]
pub(crate) enum ProbeCommand {
    /// Whether a TCP connection is accepted
    #[command(after_help = examples(&["herm probe tcp 127.0.0.1:9200"], ""))]
    Tcp {
        /// Host and port
        address: String,
        #[command(flatten)]
        limit: ProbeLimit,
    },
    /// Whether a GET is answered with 2xx
    #[command(after_help = examples(&["herm probe http http://127.0.0.1:9200/health"], ""))]
    Http {
        /// An http:// URL
        url: String,
        #[command(flatten)]
        limit: ProbeLimit,
    },
}

/// How long a probe may take.
#[derive(Debug, Args, Clone, Copy)]
pub(crate) struct ProbeLimit {
    /// Milliseconds
    #[arg(long, default_value_t = 5000, value_name = "MS")]
    pub(crate) timeout_ms: u64,
}

/// The `Examples:` section of a command's help, and what follows it.
pub(crate) fn examples(lines: &[&str], after: &str) -> String {
    let mut text = String::from("Examples:");
    for line in lines {
        text.push_str("\n  ");
        text.push_str(line);
    }
    if !after.is_empty() {
        text.push_str("\n\n");
        text.push_str(after);
    }
    text
}

/// `30`, `30s`, `2m`, `1h`, `1d`, `500ms`: seconds where no unit is given.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let bad = || format!("{text:?} is no duration: use a number with ms, s, m, h or d, e.g. 90s");
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| bad())?;
    let seconds = match unit {
        "ms" => return Ok(Duration::from_millis(number)),
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(bad()),
    };
    number
        .checked_mul(seconds)
        .map(Duration::from_secs)
        .ok_or_else(bad)
}

fn since(text: &str) -> Result<Since, String> {
    if let Some(at) = herm_home::clock::parse(text) {
        return Ok(Since::At(at));
    }
    duration(text).map(Since::Ago).map_err(|_| {
        format!("{text:?} is neither a duration (10m) nor a time (2026-11-20T20:30:00Z)")
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_table_is_consistent() {
        Cli::command().debug_assert();
        HermesCli::command().debug_assert();
    }

    #[test]
    fn every_commands_help_has_an_example() {
        fn check(command: &clap::Command, path: &str) {
            let path = format!("{path} {}", command.get_name());
            let help = command
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            assert!(
                help.starts_with("Examples:\n  herm"),
                "{path} has no example"
            );
            command
                .get_subcommands()
                .for_each(|child| check(child, &path));
        }
        check(&Cli::command(), "");
    }

    #[test]
    fn durations_are_read_as_people_write_them() {
        assert_eq!(duration("30"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        for bad in ["", "m", "1y", "-3", "1.5h", "99999999999999999999"] {
            assert!(duration(bad).is_err(), "{bad:?}");
        }
    }
}
