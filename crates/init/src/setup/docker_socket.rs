//! A mounted Docker socket, for the agent where it is asked for (contract section 3.3).

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};

use super::identity::Accounts;
use super::plan::Ids;
use super::report::Reporter;
use crate::environment::Environment;
use crate::main_program::is_true;

const ASKED: &str = "HERM_DOCKER_SOCKET";
const USUAL: &str = "/var/run/docker.sock";

/// Makes the service user a member of the group that owns the socket, where `HERM_DOCKER_SOCKET` is
/// true. Whoever can talk to Docker can mount the host's root: it says so at every boot.
pub(super) fn share(
    accounts: &Accounts,
    user: Option<&mut Ids>,
    environment: &Environment,
    reporter: &mut Reporter,
) {
    if !environment.get(ASKED).is_some_and(is_true) {
        return;
    }
    let named = environment.get("DOCKER_HOST");
    let path = named
        .and_then(|host| host.strip_prefix("unix://"))
        .unwrap_or(USUAL);
    let Some(user) = user else {
        return reporter.warn(&format!(
            "{ASKED} is ignored: there is no service user, or this is not root; give the \
             container the socket's group with --group-add"
        ));
    };
    let gid = match fs::metadata(path) {
        Ok(socket) if socket.file_type().is_socket() => socket.gid(),
        Ok(_) => return reporter.warn(&format!("{ASKED} is ignored: {path} is not a socket")),
        Err(error) => {
            return reporter.warn(&format!(
                "{ASKED} is ignored: {path}: {error}; mount the socket there"
            ));
        }
    };
    accounts.join(user, gid, reporter);
    reporter.warn(&format!(
        "{path} is shared with the agents (group {gid}): they are root on the host with it, as \
         whoever can talk to Docker is"
    ));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    fn share_with(variables: &[(&str, &str)], user: Option<&mut Ids>) -> Vec<String> {
        let etc = tempfile::tempdir().unwrap();
        fs::write(etc.path().join("group"), "root:x:0:\n").unwrap();
        let variables = variables.iter().map(|(n, v)| ((*n).into(), (*v).into()));
        let mut reporter = Reporter::new(false);
        let accounts = Accounts::in_dir(etc.path());
        let environment = Environment::from_variables(variables);
        share(&accounts, user, &environment, &mut reporter);
        reporter.take_parts().1
    }

    fn user() -> Ids {
        Ids {
            name: Some("hermes".to_owned()),
            uid: 10_000,
            gid: 10_000,
            groups: Vec::new(),
        }
    }

    #[test]
    fn the_socket_is_shared_only_when_asked_and_said_to_make_root() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("docker.sock");
        let _socket = UnixListener::bind(&path).unwrap();
        let gid = fs::metadata(&path).unwrap().gid();
        let host = format!("unix://{}", path.display());
        let mut user = user();
        assert!(share_with(&[("DOCKER_HOST", &host)], Some(&mut user)).is_empty());
        assert!(user.groups.is_empty());
        let asked = [("DOCKER_HOST", host.as_str()), (ASKED, "1")];
        let warnings = share_with(&asked, Some(&mut user));
        assert_eq!(user.groups, [gid]);
        assert!(warnings.iter().any(|w| w.contains("root on the host")));
    }

    #[test]
    fn what_can_not_be_shared_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let host = format!("unix://{}", dir.path().display());
        let asked = [("DOCKER_HOST", host.as_str()), (ASKED, "1")];
        let warnings = share_with(&asked, Some(&mut user()));
        assert!(
            warnings.iter().any(|w| w.contains("not a socket")),
            "{warnings:?}"
        );
        let warnings = share_with(&asked, None);
        assert!(
            warnings.iter().any(|w| w.contains("--group-add")),
            "{warnings:?}"
        );
    }
}
