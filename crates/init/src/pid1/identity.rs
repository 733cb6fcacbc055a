//! Whom a registered service runs as.
//!
//! Names are looked up in passwd(5) and group(5) by hand: a static PID 1 has no name service, and
//! one that could ask the network must not be asked by PID 1 anyway.

use std::fs;

use super::control::authority::Peer;
use crate::setup::Ids;

/// What a peer's services run as: itself, with no more groups than it had.
pub(crate) fn of_peer(peer: &Peer) -> Ids {
    Ids {
        name: None,
        uid: peer.uid,
        gid: peer.gid,
        groups: peer.groups.clone(),
    }
}

/// PID 1's own identity.
pub(crate) fn own() -> Ids {
    let ids = herm_sys::credentials::ids();
    Ids {
        name: None,
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        groups: ids.groups,
    }
}

/// The user of this name or number, with its groups.
pub(crate) fn named(user: &str) -> Result<Ids, String> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    lookup(user, &read("/etc/passwd"), &read("/etc/group"))
}

fn lookup(user: &str, passwd: &str, group: &str) -> Result<Ids, String> {
    let number = user.parse::<u32>().ok();
    for line in passwd.lines() {
        let mut fields = line.split(':');
        let (name, uid, gid) = (fields.next(), fields.nth(1), fields.next());
        let (Some(name), Some(uid), Some(gid)) = (name, parse(uid), parse(gid)) else {
            continue;
        };
        if name == user || number == Some(uid) {
            return Ok(Ids {
                name: Some(name.to_owned()),
                uid,
                gid,
                groups: groups_of(name, group),
            });
        }
    }
    match number {
        // A number needs no entry; it then has no groups but one of its own number.
        Some(id) => Ok(Ids {
            name: None,
            uid: id,
            gid: id,
            groups: Vec::new(),
        }),
        None => Err(format!("there is no user {user:?} in /etc/passwd")),
    }
}

fn parse(field: Option<&str>) -> Option<u32> {
    field?.parse().ok()
}

fn groups_of(name: &str, group: &str) -> Vec<u32> {
    let member_of = |line: &str| {
        let mut fields = line.split(':');
        let gid = parse(fields.nth(2))?;
        fields
            .next()?
            .split(',')
            .any(|member| member == name)
            .then_some(gid)
    };
    group.lines().filter_map(member_of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0::/root:/bin/sh\nbroken\nhermes:x:10000:10001::/opt/data:/bin/sh\n";
    const GROUP: &str =
        "root:x:0:\naudio:x:29:pulse,hermes\nvideo:x:44:hermes\nother:x:50:hermes2\n";

    #[test]
    fn a_user_is_found_by_name_or_number_with_its_groups() {
        let hermes = lookup("hermes", PASSWD, GROUP).unwrap();
        assert_eq!(
            (hermes.uid, hermes.gid, hermes.groups.as_slice()),
            (10_000, 10_001, &[29, 44][..])
        );
        assert_eq!(lookup("10000", PASSWD, GROUP).unwrap(), hermes);
    }

    #[test]
    fn an_unknown_name_is_refused_and_an_unknown_number_has_no_groups() {
        assert!(lookup("nobody", PASSWD, GROUP).is_err());
        let ids = lookup("1234", PASSWD, GROUP).unwrap();
        assert_eq!((ids.uid, ids.gid, ids.groups.len()), (1234, 1234, 0));
    }
}
