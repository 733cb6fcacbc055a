//! `s6-setuidgid` and its kin: become another user, then another program.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;

use herm_sys::credentials::{become_identity, ids, set_groups};
use herm_sys::spawn::Identity;
use herm_sys::users::Users;

use super::call::{Call, Outcome, Row, describe};
use super::complain::USAGE;

pub(super) const ROWS: &[Row] = &[
    ("s6-setuidgid username prog...", setuidgid),
    (
        "s6-applyuidgid [ -z ] [ -u uid ] [ -g gid ] [ -G gidlist ] [ -U ] prog...",
        applyuidgid,
    ),
    (
        "s6-envuidgid [ -i | -D defaultuid:defaultgid:defaultgidlist ] [ -u | -g | -B ] [ -n ] account prog...",
        envuidgid,
    ),
];

/// The code for an account that doesn't exist.
const UNKNOWN: u8 = 1;

fn users() -> Users {
    Users::load().unwrap_or_default()
}

fn unknown(call: &Call<'_>, what: &str, name: &[u8]) -> u8 {
    let name = OsStr::from_bytes(name).display();
    call.fatal(&format_args!("unknown {what}: {name}"), UNKNOWN)
}

/// What is changed of who we are; `None` stays as it is.
#[derive(Default)]
struct Change {
    uid: Option<u32>,
    gid: Option<u32>,
    groups: Option<Vec<u32>>,
}

impl Change {
    /// Makes it so. What we are already is not set again, so that a user without privileges can
    /// run what names it.
    fn apply(mut self, call: &Call<'_>) -> Result<(), u8> {
        let now = ids();
        let [_, uid, _] = now.uids;
        let [_, gid, _] = now.gids;
        let (uid, gid) = (self.uid.unwrap_or(uid), self.gid.unwrap_or(gid));
        let same = now.uids == [uid; 3] && now.gids == [gid; 3];
        let wanted = self.groups.take().map(|mut groups| {
            if self.gid.is_some() && !groups.contains(&gid) {
                groups.insert(0, gid);
            }
            groups
        });
        let done = match wanted {
            Some(groups) if same && (uid != 0 || groups == now.groups) => Ok(()),
            Some(groups) => {
                set_groups(&groups).and_then(|()| become_identity(&Identity { uid, gid, groups }))
            }
            None => become_identity(&Identity {
                uid,
                gid,
                groups: now.groups,
            }),
        };
        done.map_err(|errno| call.refused(&"set its user and groups", &describe(errno)))
    }
}

fn setuidgid(call: &mut Call<'_>) -> Outcome {
    // The word is a name even if it looks like an option, but for two dashes.
    if call.option(b"")?.is_some() {
        return Err(call.usage());
    }
    let account = call.word()?;
    if call.rest().is_empty() {
        return Err(call.usage());
    }
    let text = account.as_bytes();
    let change = if text.is_empty() {
        Change::default()
    } else if let Some(colon) = text.iter().position(|byte| *byte == b':') {
        let (uid, gid) = text.split_at_checked(colon).unwrap_or_default();
        let gid = gid.get(1..).unwrap_or_default();
        Change {
            uid: Some(call.parse(OsStr::from_bytes(uid))?),
            gid: Some(call.parse(OsStr::from_bytes(gid))?),
            groups: Some(Vec::new()),
        }
    } else {
        let users = users();
        let user = account.to_str().and_then(|name| users.by_name(name));
        let user = user.ok_or_else(|| unknown(call, "user", text))?;
        let identity = users.identity(user);
        Change {
            uid: Some(identity.uid),
            gid: Some(identity.gid),
            groups: Some(identity.groups),
        }
    };
    change.apply(call)?;
    call.exec_rest()
}

/// Numbers parted by commas, up to what is none. No list at all would leave the groups as they are.
fn group_list(call: &Call<'_>, text: &OsStr) -> Result<Vec<u32>, u8> {
    let numbers = text.as_bytes().split(|byte| *byte == b',');
    let list: Vec<u32> = numbers
        .map_while(|number| std::str::from_utf8(number).ok()?.parse().ok())
        .collect();
    if list.is_empty() && !text.is_empty() {
        return Err(call.usage());
    }
    Ok(list)
}

/// An id; 0 leaves it as it is.
fn changed_id(id: u32) -> Option<u32> {
    Some(id).filter(|id| *id != 0)
}

fn from_environment(call: &Call<'_>, name: &str) -> Result<OsString, u8> {
    let value = call.env.get(name).map(OsStr::to_owned);
    value.ok_or_else(|| call.fatal(&format_args!("{name} not set"), USAGE))
}

fn id_from_environment(call: &Call<'_>, name: &str) -> Result<Option<u32>, u8> {
    let value = from_environment(call, name)?;
    let id = value.to_str().and_then(|text| text.parse().ok());
    let id = id.ok_or_else(|| call.fatal(&format_args!("invalid ${name}"), USAGE))?;
    Ok(changed_id(id))
}

fn applyuidgid(call: &mut Call<'_>) -> Outcome {
    let mut change = Change::default();
    let (mut clean, mut from_env) = (false, false);
    while let Some(letter) = call.option(b"zugGU")? {
        match letter {
            b'z' => clean = true,
            b'U' => from_env = true,
            b'u' => change.uid = changed_id(call.number()?),
            b'g' => change.gid = changed_id(call.number()?),
            _ => {
                let list = call.argument()?;
                change.groups = Some(group_list(call, list)?);
            }
        }
    }
    if call.rest().is_empty() {
        return Err(call.usage());
    }
    if from_env {
        change.uid = id_from_environment(call, "UID")?;
        change.gid = id_from_environment(call, "GID")?;
        change.groups = Some(group_list(call, &from_environment(call, "GIDLIST")?)?);
    }
    change.apply(call)?;
    if clean {
        call.env
            .retain(&|name| !matches!(name, b"UID" | b"GID" | b"GIDLIST"));
    }
    call.exec_rest()
}

/// Which variables an account becomes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Parts {
    All,
    User,
    Group,
    Both,
}

fn envuidgid(call: &mut Call<'_>) -> Outcome {
    let (mut parts, mut numeric, mut default) = (Parts::All, false, None);
    while let Some(letter) = call.option(b"iDugBn")? {
        match letter {
            b'i' => default = None,
            b'D' => default = Some(read_default(call)?),
            b'u' => parts = Parts::User,
            b'g' => parts = Parts::Group,
            b'B' => parts = Parts::Both,
            _ => {
                numeric = true;
                // As the genuine one does: with numbers it is a user and a group.
                if parts == Parts::All {
                    parts = Parts::Both;
                }
            }
        }
    }
    let account = call.word()?;
    if call.rest().is_empty() {
        return Err(call.usage());
    }
    let found = look_up(account.as_bytes(), parts, numeric);
    let (uid, gid, groups) = match (found, default) {
        (Ok(found), _) | (Err(_), Some(found)) => found,
        (Err((what, name)), None) => return Err(unknown(call, what, &name)),
    };
    if parts != Parts::Group {
        call.env.set("UID".as_ref(), uid.to_string().as_ref());
    }
    if parts != Parts::User {
        call.env.set("GID".as_ref(), gid.to_string().as_ref());
    }
    if parts == Parts::All {
        let list: Vec<String> = groups.iter().flatten().map(u32::to_string).collect();
        call.env.set("GIDLIST".as_ref(), list.join(",").as_ref());
    }
    call.exec_rest()
}

type Account = (u32, u32, Option<Vec<u32>>);

fn read_default(call: &mut Call<'_>) -> Result<Account, u8> {
    let text = call.argument()?.as_bytes();
    let mut fields = text.splitn(3, |byte| *byte == b':').map(OsStr::from_bytes);
    let uid = call.parse(fields.next().unwrap_or_default())?;
    let gid = fields.next().map_or(Ok(0), |gid| call.parse(gid))?;
    let groups = group_list(call, fields.next().unwrap_or_default())?;
    Ok((uid, gid, Some(groups)))
}

/// The account's ids, or what is unknown. The list has no primary group, as it is set by its own
/// number.
fn look_up(
    account: &[u8],
    parts: Parts,
    numeric: bool,
) -> Result<Account, (&'static str, Vec<u8>)> {
    let users = users();
    let number = |text: &[u8]| -> Option<u32> {
        std::str::from_utf8(text)
            .ok()
            .filter(|_| numeric)?
            .parse()
            .ok()
    };
    let user = |name: &[u8]| -> Result<Account, (&'static str, Vec<u8>)> {
        let entry = std::str::from_utf8(name)
            .ok()
            .and_then(|name| users.by_name(name));
        match (entry, number(name)) {
            (Some(user), _) => {
                let mut groups = users.identity(user).groups;
                groups.retain(|gid| *gid != user.gid);
                Ok((user.uid, user.gid, Some(groups)))
            }
            (None, Some(uid)) => Ok((uid, 0, None)),
            (None, None) => Err(("user", name.to_vec())),
        }
    };
    let group = |name: &[u8]| -> Result<u32, (&'static str, Vec<u8>)> {
        let entry = std::str::from_utf8(name)
            .ok()
            .and_then(|name| users.group_by_name(name));
        let gid = entry.map(|group| group.gid).or_else(|| number(name));
        gid.ok_or_else(|| ("group", name.to_vec()))
    };
    match parts {
        Parts::All | Parts::User => user(account),
        Parts::Group => Ok((0, group(account)?, None)),
        Parts::Both => {
            let mut sides = account.splitn(2, |byte| *byte == b':');
            let name = sides.next().filter(|name| !name.is_empty());
            let uid = name.map_or(Ok(0), |name| user(name).map(|(uid, _, _)| uid))?;
            let name = sides.next().filter(|name| !name.is_empty());
            let gid = name.map_or(Ok(0), group)?;
            Ok((uid, gid, None))
        }
    }
}
