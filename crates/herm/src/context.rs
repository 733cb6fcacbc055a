//! What every command starts from: the home that is meant, the supervisor that serves it, and the
//! user this process acts as.

use std::path::Path;

use herm_home::{Discovery, Home, ProfileName, discover};
use herm_wire::{ExitCode, Op};

use crate::cli::Globals;
use crate::client::Client;
use crate::failure::{Failure, Outcome};
use crate::identity;
use crate::locate::Surroundings;

/// The command line's general part, resolved.
#[derive(Debug)]
pub(crate) struct Context {
    at: Surroundings,
    home: Home,
    profile: Option<String>,
    as_root: bool,
}

impl Context {
    /// Resolves the home; touches nothing.
    pub(crate) fn new(globals: Globals) -> Outcome<Self> {
        let at = Surroundings::current(globals.home);
        let home = Home::new(at.home()?);
        Ok(Self {
            at,
            home,
            profile: globals.profile,
            as_root: globals.as_root,
        })
    }

    /// The home that is meant, whether it exists or not.
    pub(crate) fn home(&self) -> &Home {
        &self.home
    }

    /// What the lookups depend on.
    pub(crate) fn surroundings(&self) -> &Surroundings {
        &self.at
    }

    /// Connects to the supervisor, if one runs, and then becomes the user that owns the home: the
    /// connection keeps the authority of the user who asked, and files get the right owner (L25).
    /// What the caller named for output is opened before this.
    pub(crate) fn open(&self) -> Outcome<Option<Client>> {
        let client = Client::find(&self.at, self.home.root())?;
        if !self.as_root {
            let user = client
                .as_ref()
                .filter(|client| client.is_roots())
                .and_then(|client| client.hello().user.as_deref());
            identity::act_for(self.home.root(), user)?;
        }
        Ok(client)
    }

    /// Becomes the user that owns the home, for what runs a program here: which one that is, the
    /// home and its user decide.
    pub(crate) fn leave_root(&self) -> Outcome {
        if !rustix::process::geteuid().is_root() {
            return Ok(());
        }
        self.open().map(drop)
    }

    /// Like [`Context::open`], for commands that make no sense without a supervisor.
    pub(crate) fn supervisor(&self) -> Outcome<Client> {
        self.open()?
            .ok_or_else(|| no_supervisor(self.home.root(), ExitCode::Failed))
    }

    /// The profile meant, as far as the command line says; its name is valid.
    pub(crate) fn profile(&self) -> Outcome<ProfileName> {
        match &self.profile {
            Some(typed) => parse_name(typed),
            None => Ok(ProfileName::default_profile()),
        }
    }

    /// The profile meant; it exists.
    pub(crate) fn existing_profile(&self) -> Outcome<ProfileName> {
        let name = self.profile()?;
        self.check_exists(&name)?;
        Ok(name)
    }

    /// Fails with the names that exist, and the nearest, where a profile doesn't. A home that
    /// can't be looked at (no such directory) has its default profile only.
    pub(crate) fn check_exists(&self, name: &ProfileName) -> Outcome {
        if name.is_default() && !self.home.root().exists() {
            return Ok(());
        }
        self.discover()?.find(name).map_err(home_failure)?;
        Ok(())
    }

    /// The profiles of the home.
    pub(crate) fn discover(&self) -> Outcome<Discovery> {
        discover(&self.home).map_err(home_failure)
    }

    /// Has the keeper look at the home, so that what this command changed is registered when it
    /// returns. Without a supervisor there is nothing to bring into line.
    pub(crate) fn settle(client: Option<&mut Client>) -> Outcome {
        match client {
            Some(client) if client.hello().keeper => {
                client.ask(&Op::Reconcile { timeout_ms: None }).map(drop)
            }
            _ => Ok(()),
        }
    }
}

/// A name as typed: trimmed, lower-cased and checked.
pub(crate) fn parse_name(typed: &str) -> Outcome<ProfileName> {
    ProfileName::from_input(typed).map_err(|error| home_failure(error.into()))
}

/// A failure of the home, with its own exit code.
#[expect(
    clippy::needless_pass_by_value,
    reason = "it is the last user of the error, in map_err"
)]
pub(crate) fn home_failure(error: herm_home::HomeError) -> Failure {
    let code = match error.exit_code() {
        2 => ExitCode::Usage,
        4 => ExitCode::NotFound,
        5 => ExitCode::NotPermitted,
        78 => ExitCode::BadConfig,
        _ => ExitCode::Failed,
    };
    Failure::new(code, error.to_string())
}

/// Nobody supervises this home.
pub(crate) fn no_supervisor(home: &Path, code: ExitCode) -> Failure {
    Failure::new(
        code,
        format!("no supervisor is running for {}", home.display()),
    )
    .hint(format!("start one: `herm up --home {}`", home.display()))
}
