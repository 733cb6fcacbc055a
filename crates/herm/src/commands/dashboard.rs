//! `herm dashboard`: the dashboard itself, and its tokens.

use std::env;

use herm_dashboard::{Options, StartError, bearer};
use herm_wire::ExitCode;

use super::gateway;
use super::profile::soul_template;
use crate::cli::{DashboardArgs, DashboardCommand, TokenCommand};
use crate::client::Client;
use crate::context::{Context, home_failure};
use crate::failure::{Failure, Outcome};
use crate::output::{Out, Table, Tone, explain};

/// Serves, or does what is asked about tokens.
pub(super) fn run(context: &Context, args: &DashboardArgs) -> Outcome {
    context.leave_root()?;
    match &args.command {
        Some(DashboardCommand::Token(command)) => token(context, command),
        None => serve(context, args),
    }
}

fn serve(context: &Context, args: &DashboardArgs) -> Outcome {
    if rustix::process::geteuid().is_root() {
        return Err(
            Failure::new(ExitCode::BadConfig, "the dashboard does not run as root")
                .hint("run it as the user that owns the home, or give the home to one (chown)"),
        );
    }
    let variable = |name: &str| env::var(name).ok();
    let home = context.home().clone();
    let mut options =
        Options::new(home, args.host.as_deref(), args.port, variable).map_err(failure)?;
    options.sockets = Client::sockets(context.surroundings(), context.home().root());
    options.explain = explain;
    options.make_way =
        |home, profile| gateway::make_way(home, profile).map_err(|failure| failure.to_string());
    options.program = env::current_exe().ok();
    options.soul = soul_template();
    herm_dashboard::run(options).map_err(failure)
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "it is the last user of the error, in map_err"
)]
fn failure(error: StartError) -> Failure {
    let code = if error.is_config {
        ExitCode::BadConfig
    } else {
        ExitCode::Failed
    };
    Failure::new(code, error.to_string())
}

fn token(context: &Context, command: &TokenCommand) -> Outcome {
    let home = context.home();
    let mut out = Out::stdout();
    match command {
        TokenCommand::Show => {
            out.line(herm_dashboard::sign_in_token(home).map_err(home_failure)?)?;
        }
        TokenCommand::Add { name, scope } => {
            out.line(bearer::add(home, name, (*scope).into()).map_err(home_failure)?)?;
        }
        TokenCommand::List(format) => {
            let known = bearer::list(home).map_err(home_failure)?;
            if format.json {
                let shown: Vec<_> = known
                    .iter()
                    .map(|token| serde_json::json!({"name": token.name, "scope": token.scope, "made": token.made}))
                    .collect();
                out.json(&shown)?;
            } else {
                let mut table = Table::new(&["NAME", "SCOPE", "MADE"]);
                for token in known {
                    table.row(vec![
                        (token.name, Tone::Plain),
                        (token.scope.to_string(), Tone::Plain),
                        (token.made, Tone::Dim),
                    ]);
                }
                out.table(&table)?;
            }
        }
        TokenCommand::Remove { name } => {
            if !bearer::remove(home, name).map_err(home_failure)? {
                return Err(Failure::new(
                    ExitCode::NotFound,
                    format!("there is no token called {name:?}"),
                )
                .hint("`herm dashboard token list` shows those there are"));
            }
            out.line(format!("The token {name} counts no more."))?;
        }
    }
    out.flush()
}
