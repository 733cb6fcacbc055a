//! As whom a command acts. Root in a container (`docker exec` without `-u`) becomes the service
//! user before it touches the home, so that no file there ever becomes root's (L25).

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use herm_sys::credentials::become_identity;
use herm_sys::spawn::Identity;
use herm_sys::users::Users;

use crate::failure::{Failure, Outcome};

/// If this is root and the home is another user's, becomes that user for good: the one the
/// supervisor names, else the home's owner.
pub(crate) fn act_for(home: &Path, service_user: Option<&str>) -> Outcome {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let users = Users::load().unwrap_or_else(|_| Users::parse(b"", b""));
    let identity = match service_user.and_then(|name| users.resolve(name)) {
        Some(identity) => Some(identity),
        None => owner_of(home, &users)?,
    };
    match identity.filter(|identity| identity.uid != 0) {
        Some(identity) => become_identity(&identity).map_err(|error| {
            Failure::failed(format!("can't act as uid {}: {error}", identity.uid))
                .hint("`--as-root` stays root; files it makes in the home will be root's")
        }),
        None => Ok(()),
    }
}

fn owner_of(home: &Path, users: &Users) -> Outcome<Option<Identity>> {
    let owner = match fs::metadata(home) {
        Ok(owner) => owner,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Failure::file("look at the home", home, &error)),
    };
    let known = users.by_uid(owner.uid()).map(|user| users.identity(user));
    Ok(Some(known.unwrap_or(Identity {
        uid: owner.uid(),
        gid: owner.gid(),
        groups: Vec::new(),
    })))
}

/// This process's user, as a record names it.
pub(crate) fn who() -> String {
    format!("uid {}", rustix::process::geteuid().as_raw())
}
