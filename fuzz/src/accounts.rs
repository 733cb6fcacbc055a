//! The user databases of images made by others.

use std::collections::BTreeSet;

use herm_sys::users::Users;

use crate::parts;

// Setup's own module, which only it can reach.
#[path = "../../crates/init/src/setup/users.rs"]
mod users;

const UID: u32 = 1234;
const GID: u32 = 5678;

/// `passwd`, `group` and the text of a setting that names a user: nobody becomes "no user"
/// (4294967295), and groups are bounded and each there once.
pub fn files(data: &[u8]) {
    let [passwd, group, setting] = parts(data);
    let users = Users::parse(passwd, group);
    let setting = String::from_utf8_lossy(setting);
    if let Some(user) = users.by_name(&setting) {
        assert_eq!(user.name, setting);
        let identity = users.identity(user);
        assert_eq!((identity.uid, identity.gid), (user.uid, user.gid));
        assert_eq!(identity.groups.first(), Some(&user.gid));
        sound(identity.uid, &identity.groups);
    }
    if let Some(identity) = users.resolve(&setting) {
        assert_ne!(identity.gid, u32::MAX);
        sound(identity.uid, &identity.groups);
    }
}

fn sound(uid: u32, groups: &[u32]) {
    assert_ne!(uid, u32::MAX);
    let distinct: BTreeSet<_> = groups.iter().collect();
    assert_eq!(distinct.len(), groups.len());
    assert!(groups.len() <= 1024 && !groups.contains(&u32::MAX));
}

/// A name and a database, remapped: only that user's ids change, and doing it twice is doing it
/// once.
pub fn edit(data: &[u8]) {
    let [name, text] = parts(data);
    let Ok(name) = std::str::from_utf8(name) else {
        return;
    };
    if let Ok(id) = users::parse_id("HERMES_UID", name) {
        assert!(![0, 65_535, u32::MAX].contains(&id));
        assert_eq!(name.parse(), Ok(id));
    }
    if let Some(edited) = users::remap_passwd(text, name, UID, GID) {
        assert_eq!(users::remap_passwd(&edited, name, UID, GID), None);
        only_ids_of(name, text, &edited, 2..4);
    }
    if let Some(edited) = users::remap_group(text, name, GID) {
        assert_eq!(users::remap_group(&edited, name, GID), None);
        only_ids_of(name, text, &edited, 2..3);
    }
}

/// The two texts differ in one line, which is the name's, and there in these fields.
fn only_ids_of(name: &str, before: &[u8], after: &[u8], ids: std::ops::Range<usize>) {
    let lines = |text: &[u8]| -> Vec<Vec<u8>> {
        text.split(|byte| *byte == b'\n')
            .map(<[u8]>::to_vec)
            .collect()
    };
    let (before, after) = (lines(before), lines(after));
    assert_eq!(before.len(), after.len());
    let changed: Vec<_> = before.iter().zip(&after).filter(|(a, b)| a != b).collect();
    let [(old, new)] = changed.as_slice() else {
        panic!("{} lines changed", changed.len());
    };
    let fields = |line: &[u8]| -> Vec<Vec<u8>> {
        line.split(|byte| *byte == b':')
            .map(<[u8]>::to_vec)
            .collect()
    };
    let (old, new) = (fields(old), fields(new));
    assert_eq!(old.len(), new.len());
    assert_eq!(old[0], name.as_bytes());
    for (index, (old, new)) in old.iter().zip(&new).enumerate() {
        assert!(ids.contains(&index) || old == new, "field {index} changed");
    }
}
