//! The user database, read by hand.
//!
//! A static program can't load the C library's name service modules, and PID 1 must not: they may talk to the network. So
//! only `/etc/passwd` and `/etc/group` count (`passwd(5)`, `group(5)`), as in the images herm lives in. Lines that make no
//! sense are passed over, and reading is bounded, as images are made by others.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::spawn::Identity;

/// The most that is read of either file.
const DATABASE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Most supplementary groups taken for a user.
const GROUPS_MAX: usize = 1024;

/// A line of the user database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Login name.
    pub name: String,
    /// Its number.
    pub uid: u32,
    /// Its primary group.
    pub gid: u32,
    /// Its home directory.
    pub home: String,
    /// Its shell.
    pub shell: String,
}

/// A line of the group database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Its number.
    pub gid: u32,
    /// Names of its members, other than those whose primary group it is.
    pub members: Vec<String>,
}

/// Both databases, at one instant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Users {
    users: Vec<User>,
    groups: Vec<Group>,
}

impl Users {
    /// Reads `/etc/passwd` and `/etc/group`; a file that is missing is empty.
    pub fn load() -> io::Result<Self> {
        Self::load_from(Path::new("/etc"))
    }

    /// Reads `passwd` and `group` of this directory.
    pub fn load_from(etc: &Path) -> io::Result<Self> {
        Ok(Self::parse(
            &read(&etc.join("passwd"))?,
            &read(&etc.join("group"))?,
        ))
    }

    /// Reads the two files' contents.
    pub fn parse(passwd: &[u8], group: &[u8]) -> Self {
        Self {
            users: lines(passwd).filter_map(parse_user).collect(),
            groups: lines(group).filter_map(parse_group).collect(),
        }
    }

    /// The first user of this name.
    pub fn by_name(&self, name: &str) -> Option<&User> {
        self.users.iter().find(|user| user.name == name)
    }

    /// The first user with this number.
    pub fn by_uid(&self, uid: u32) -> Option<&User> {
        self.users.iter().find(|user| user.uid == uid)
    }

    /// The first group of this name.
    pub fn group_by_name(&self, name: &str) -> Option<&Group> {
        self.groups.iter().find(|group| group.name == name)
    }

    /// The first group with this number.
    pub fn group_by_gid(&self, gid: u32) -> Option<&Group> {
        self.groups.iter().find(|group| group.gid == gid)
    }

    /// As whom this user's processes run: its ids, and its groups, each once, the primary one first.
    pub fn identity(&self, user: &User) -> Identity {
        let mut groups = vec![user.gid];
        for group in self
            .groups
            .iter()
            .filter(|group| group.members.contains(&user.name))
        {
            if !groups.contains(&group.gid) && groups.len() < GROUPS_MAX {
                groups.push(group.gid);
            }
        }
        Identity {
            uid: user.uid,
            gid: user.gid,
            groups,
        }
    }

    /// Whom a setting means: `name`, `uid`, `name:group`, `uid:gid`, and mixtures. A number without an entry is itself, with
    /// group 0 as Docker has it, or the group that is given.
    pub fn resolve(&self, text: &str) -> Option<Identity> {
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        let number = parse_id(user);
        let entry = self.by_name(user).or_else(|| self.by_uid(number?));
        let mut identity = match (entry, number) {
            (Some(entry), _) => self.identity(entry),
            (None, Some(uid)) => Identity {
                uid,
                gid: 0,
                groups: Vec::new(),
            },
            (None, None) => return None,
        };
        if let Some(group) = group {
            let gid = self
                .group_by_name(group)
                .map(|group| group.gid)
                .or_else(|| parse_id(group))?;
            identity.gid = gid;
            identity.groups = vec![gid];
        }
        Some(identity)
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    // As much as an image usually has, so that it takes one read.
    let mut content = Vec::with_capacity(4096);
    match File::open(path) {
        Ok(file) => file.take(DATABASE_BYTES_MAX).read_to_end(&mut content)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error),
    };
    Ok(content)
}

fn lines(content: &[u8]) -> impl Iterator<Item = &str> {
    content
        .split(|byte| *byte == b'\n')
        .filter_map(|line| std::str::from_utf8(line).ok())
}

/// Digits only, and not -1, which means "none" to the kernel.
fn parse_id(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|id| digits && *id != u32::MAX)
}

fn parse_user(line: &str) -> Option<User> {
    let mut fields = line.split(':');
    let name = fields.next().filter(|name| !name.is_empty())?.to_owned();
    let (_password, uid, gid) = (
        fields.next()?,
        parse_id(fields.next()?)?,
        parse_id(fields.next()?)?,
    );
    let (_comment, home) = (fields.next()?, fields.next()?.to_owned());
    let shell = fields.next().unwrap_or_default().to_owned();
    Some(User {
        name,
        uid,
        gid,
        home,
        shell,
    })
}

fn parse_group(line: &str) -> Option<Group> {
    let mut fields = line.split(':');
    let name = fields.next().filter(|name| !name.is_empty())?.to_owned();
    let (_password, gid) = (fields.next()?, parse_id(fields.next()?)?);
    let members = fields
        .next()
        .unwrap_or_default()
        .split(',')
        .filter(|m| !m.is_empty())
        .map(str::to_owned);
    Some(Group {
        name,
        gid,
        members: members.collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/bash\nhermes:x:10000:10000::/opt/data:/bin/sh\n\
        broken\n:x:1:1:::\nminus:x:-1:0::/:\nbig:x:4294967295:0::/:\nplus:x:+5:0::/:\n\xff\xfe:x:7:7::/:\nshort:x:9:9::/home\n";
    const GROUP: &[u8] = b"root:x:0:\nhermes:x:10000:\ndocker:x:999:hermes,other\naudio:x:29:hermes\ndup:x:999:hermes\n";

    #[test]
    fn a_user_is_found_with_its_groups_each_once() {
        let users = Users::parse(PASSWD, GROUP);
        let hermes = users.by_name("hermes").unwrap();
        assert_eq!(
            (hermes.home.as_str(), hermes.shell.as_str()),
            ("/opt/data", "/bin/sh")
        );
        assert_eq!(users.identity(hermes).groups, [10000, 999, 29]);
        assert_eq!(users.by_uid(0).unwrap().name, "root");
        assert_eq!(users.group_by_gid(999).unwrap().name, "docker");
    }

    #[test]
    fn junk_is_passed_over() {
        let users = Users::parse(PASSWD, GROUP);
        let names: Vec<&str> = users.users.iter().map(|user| user.name.as_str()).collect();
        assert_eq!(names, ["root", "hermes", "short"]);
        assert_eq!(users.by_name("short").unwrap().shell, "");
    }

    #[test]
    fn names_and_numbers_mean_what_docker_means_by_them() {
        let users = Users::parse(PASSWD, GROUP);
        let identity = |uid, gid, groups: &[u32]| {
            Some(Identity {
                uid,
                gid,
                groups: groups.to_vec(),
            })
        };
        assert_eq!(
            users.resolve("hermes"),
            identity(10000, 10000, &[10000, 999, 29])
        );
        assert_eq!(
            users.resolve("10000"),
            identity(10000, 10000, &[10000, 999, 29])
        );
        assert_eq!(users.resolve("1234"), identity(1234, 0, &[]));
        assert_eq!(users.resolve("1234:docker"), identity(1234, 999, &[999]));
        assert_eq!(users.resolve("hermes:5678"), identity(10000, 5678, &[5678]));
        for bad in [
            "",
            "nobody-here",
            "hermes:",
            "hermes:nogroup",
            "-1",
            "4294967295",
            "+5",
        ] {
            assert_eq!(users.resolve(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_missing_file_is_an_empty_one() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Users::load_from(dir.path()).unwrap(), Users::default());
    }
}
