//! The service user: found in passwd(5), remapped without `usermod`.
//!
//! Both files are edited as bytes, only in the lines concerned, so that comments, unknown lines
//! and other users' entries stay exactly as they were.

/// The name of a group that had none.
const MADE_GROUP: &str = "herm-docker";

/// What is wrong with a requested id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{variable}={value:?} is no usable id: it must be a number from 1 to 4294967294, and not 65535"
)]
pub(super) struct BadId {
    /// The variable it came from.
    pub(super) variable: String,
    /// Its value.
    pub(super) value: String,
}

/// Checks an id from the environment: 0 would make agents root, 65535 and 4294967295 are `-1` in
/// the kernel's 16- and 32-bit ids.
pub(super) fn parse_id(variable: &str, value: &str) -> Result<u32, BadId> {
    let bad = || BadId {
        variable: variable.to_owned(),
        value: value.to_owned(),
    };
    if value.is_empty() || !value.bytes().all(|b| b.is_ascii_digit()) {
        return Err(bad());
    }
    match value.parse::<u32>() {
        Ok(0 | 65_535 | u32::MAX) | Err(_) => Err(bad()),
        Ok(id) => Ok(id),
    }
}

/// `passwd` with `user`'s ids replaced; `None` where nothing changes or the user is not in it.
pub(super) fn remap_passwd(passwd: &[u8], user: &str, uid: u32, gid: u32) -> Option<Vec<u8>> {
    edit_line(passwd, user.as_bytes(), |fields| {
        let [_, _, old_uid, old_gid, ..] = fields else {
            return false;
        };
        let (uid, gid) = (uid.to_string(), gid.to_string());
        let changed = *old_uid != uid.as_bytes() || *old_gid != gid.as_bytes();
        *old_uid = uid.into_bytes();
        *old_gid = gid.into_bytes();
        changed
    })
}

/// `group` with the group's id replaced; `None` where nothing changes or it is not in it. An id
/// that another group has already is allowed: both names then mean the same group.
pub(super) fn remap_group(group: &[u8], name: &str, gid: u32) -> Option<Vec<u8>> {
    edit_line(group, name.as_bytes(), |fields| {
        let [_, _, old_gid, ..] = fields else {
            return false;
        };
        let gid = gid.to_string();
        let changed = *old_gid != gid.as_bytes();
        *old_gid = gid.into_bytes();
        changed
    })
}

/// `group` with `user` among the members of the group that has this id, or with a group of that id
/// made for it; `None` where the user is a member already.
pub(super) fn add_member(group: &[u8], gid: u32, user: &str) -> Option<Vec<u8>> {
    let id = gid.to_string();
    let named = group.split(|b| *b == b'\n').find_map(|line| {
        let mut fields = line.split(|b| *b == b':');
        let name = fields.next()?;
        (fields.nth(1)? == id.as_bytes()).then_some(name)
    });
    let Some(name) = named else {
        let mut edited = group.to_vec();
        if edited.last().is_some_and(|last| *last != b'\n') {
            edited.push(b'\n');
        }
        edited.extend_from_slice(format!("{MADE_GROUP}:x:{id}:{user}\n").as_bytes());
        return Some(edited);
    };
    edit_line(group, name, |fields| {
        let [_, _, _, members, ..] = fields else {
            return false;
        };
        if members.split(|b| *b == b',').any(|m| m == user.as_bytes()) {
            return false;
        }
        if !members.is_empty() {
            members.push(b',');
        }
        members.extend_from_slice(user.as_bytes());
        true
    })
}

/// Applies `edit` to the colon-separated fields of the first line whose first field is `key`.
fn edit_line(
    text: &[u8],
    key: &[u8],
    mut edit: impl FnMut(&mut [Vec<u8>]) -> bool,
) -> Option<Vec<u8>> {
    let mut edited = Vec::with_capacity(text.len() + 16);
    let mut changed = false;
    let mut found = false;
    for line in text.split_inclusive(|b| *b == b'\n') {
        let (body, newline) = match line.split_last() {
            Some((b'\n', body)) => (body, &b"\n"[..]),
            _ => (line, &b""[..]),
        };
        let mut fields: Vec<Vec<u8>> = body.split(|b| *b == b':').map(<[u8]>::to_vec).collect();
        if !found && fields.first().is_some_and(|f| f == key) {
            found = true;
            changed = edit(&mut fields);
        }
        edited.extend_from_slice(&fields.join(&b':'));
        edited.extend_from_slice(newline);
    }
    changed.then_some(edited)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/bash\n# a comment\nhermes:x:10000:10000::/opt/data:/bin/sh\nhermes2:x:1:1::/:/bin/sh";

    #[test]
    fn only_the_users_own_line_changes() {
        let edited = remap_passwd(PASSWD, "hermes", 1234, 5678).unwrap();
        assert_eq!(
            edited,
            b"root:x:0:0:root:/root:/bin/bash\n# a comment\nhermes:x:1234:5678::/opt/data:/bin/sh\nhermes2:x:1:1::/:/bin/sh"
        );
    }

    #[test]
    fn nothing_to_change_is_no_edit() {
        assert_eq!(remap_passwd(PASSWD, "hermes", 10_000, 10_000), None);
        assert_eq!(remap_passwd(PASSWD, "nobody", 1, 1), None);
        assert_eq!(remap_group(b"hermes:x\n", "hermes", 7), None);
    }

    #[test]
    fn a_taken_group_id_is_allowed() {
        let edited = remap_group(b"dialout:x:20:\nhermes:x:10000:a,b\n", "hermes", 20).unwrap();
        assert_eq!(edited, b"dialout:x:20:\nhermes:x:20:a,b\n");
    }

    #[test]
    fn a_member_is_added_once_and_a_group_without_a_name_gets_one() {
        let added = |text: &[u8], gid| add_member(text, gid, "hermes");
        let first = added(b"root:x:0:\ndocker:x:999:\n", 999).unwrap();
        assert_eq!(first, b"root:x:0:\ndocker:x:999:hermes\n");
        assert_eq!(added(&first, 999), None);
        let second = added(b"docker:x:999:hermes2", 999).unwrap();
        assert_eq!(second, b"docker:x:999:hermes2,hermes");
        let made = added(b"root:x:0:", 998).unwrap();
        assert_eq!(made, b"root:x:0:\nherm-docker:x:998:hermes\n");
        assert_eq!(added(&made, 998), None);
        assert_eq!(added(b"broken:x:7\n", 7), None);
    }

    #[test]
    fn ids_that_would_be_root_or_minus_one_are_refused() {
        for bad in [
            "0",
            "65535",
            "4294967295",
            "4294967296",
            "-1",
            "",
            "1x",
            " 1",
            "+1",
        ] {
            assert!(parse_id("HERMES_UID", bad).is_err(), "{bad:?} was accepted");
        }
        assert_eq!(parse_id("PUID", "1"), Ok(1));
        assert_eq!(parse_id("PUID", "4294967294"), Ok(u32::MAX - 1));
    }
}
