//! The port of a profile's gateway: its own setting, else one that is given to it.

use std::time::SystemTime;

use herm_home::claims::Needs;
use herm_home::config::{self, Config};
use herm_home::dotenv::Dotenv;
use herm_home::ports::{Given, PortError, Ports, recorded};
use herm_home::unique::API_SERVER;
use herm_home::{Home, ProfileName};

use super::facts::{Access, Remarks, text};
use super::files::environment_of;
use crate::commands::is_free;
use crate::context::home_failure;
use crate::failure::{Failure, Outcome};
use crate::launch::LaunchFacts;

/// Stands for the setting of a port that was given and not set.
pub(super) const AUTO_PORT: &str = "port: auto";

/// The port of a profile's built-in gateway.
pub(super) struct Port<'a, 'b> {
    pub(super) ports: &'a mut Ports<'b>,
    pub(super) name: &'a ProfileName,
    pub(super) access: Access,
}

impl Port<'_, '_> {
    /// Its own setting, else the one that is given to it for good. Claimed either way.
    pub(super) fn of_built_in(
        self,
        dotenv: &Dotenv,
        config: Option<&Config>,
        needs: &mut Needs,
        remarks: &mut Remarks,
    ) -> Option<u16> {
        // A port that is named and is none is not replaced: the gateway itself says what is wrong.
        if let Some(named) = named_port(dotenv, config) {
            let port = named.parse().ok().filter(|port| *port != 0);
            needs
                .ports
                .extend(port.map(|port| (port, API_SERVER.port_key.to_owned())));
            return port;
        }
        // The agent's default is not where it listens.
        needs.ports.retain(|_, key| *key != API_SERVER.port_key);
        let name = self.name;
        match self.given() {
            Ok(given) => {
                needs.ports.insert(given.port, AUTO_PORT.to_owned());
                let port = given.port;
                let told = |why| format!("{name}: port {port} is used without a record: {why}");
                remarks.extend(given.unrecorded.map(told));
                Some(given.port)
            }
            // The service is there all the same, on a full or read-only disk too (L55); a gateway
            // that is started so says itself that it has no port.
            Err(error) => {
                remarks.push(format!("{name}: {error}"));
                None
            }
        }
    }

    /// The one that was given, or is given now; for those who only look, the one that would be.
    fn given(self) -> Result<Given, PortError> {
        match self.access {
            Access::Keep => self.ports.ensure(self.name, is_free, SystemTime::now()),
            // One that is lost is replaced when the gateway starts.
            Access::Look => self.ports.foresee(self.name, is_free).map(Given::recorded),
        }
    }
}

/// Gives a profile another port, if the one it was given is somebody else's by now: a profile's that
/// claims it, or a program's that listens there. `None`: it keeps the one it has. Only for a profile of
/// which nothing runs.
pub(crate) fn renew_port(
    ports: &mut Ports<'_>,
    home: &Home,
    name: &ProfileName,
    port: u16,
) -> Outcome<Option<u16>> {
    // Where the home takes no record, who asks next would not know of another choice.
    let recorded = recorded(&home.profile(name)).map_err(home_failure)?;
    if recorded != Some(port) || !has_lost(ports, name, port) {
        return Ok(None);
    }
    ports
        .replace(name, port, is_free, SystemTime::now())
        .map(Some)
        .map_err(|error| Failure::failed(format!("{name}: {error}")))
}

/// Whether another profile claims a profile's port, or somebody listens there.
pub(super) fn has_lost(ports: &mut Ports<'_>, name: &ProfileName, port: u16) -> bool {
    ports.is_anothers(name, port).unwrap_or(false) || !is_free(port)
}

/// The same for a profile that is about to be started, where it has such a port.
pub(crate) fn renew_its_port(home: &Home, name: &ProfileName) -> Outcome<Option<u16>> {
    if names_its_port(home, name)? || !LaunchFacts::current(home)?.is_built_in() {
        return Ok(None);
    }
    let recorded = recorded(&home.profile(name)).map_err(home_failure)?;
    recorded.map_or(Ok(None), |port| {
        renew_port(&mut Ports::of(home), home, name, port)
    })
}

/// Whether a profile's own files (for the default one also the container) name the port of its
/// API server, whether that is on or not: the built-in gateway always is.
pub(crate) fn names_its_port(home: &Home, name: &ProfileName) -> Outcome<bool> {
    let dotenv = environment_of(home, name).map_err(home_failure)?;
    let config = config::load(&home.profile(name))
        .map_err(home_failure)?
        .ok();
    Ok(named_port(&dotenv, config.as_ref()).is_some())
}

fn named_port(dotenv: &Dotenv, config: Option<&Config>) -> Option<String> {
    text(dotenv, config, API_SERVER.port_key, API_SERVER.extra_key)
}

pub(super) fn api_port(needs: &Needs) -> Option<u16> {
    needs
        .ports
        .iter()
        .find(|(_, key)| *key == API_SERVER.port_key)
        .map(|(port, _)| *port)
}
