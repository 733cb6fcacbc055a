//! `s6-svperms`: who may see a service's status, control it, and wait for its events.

use std::ffi::{OsStr, OsString};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use herm_sys::users::Users;
use rustix::fs::{Gid, Mode};

use super::complain::{USAGE as PRECONDITION, fatal, refused, say, usage};
use super::options::{BadOption, Options};

const NAME: &str = "s6-svperms";
const USAGE: &str = "s6-svperms [ -v ] [ -u | -g group | -G group | -o | -O group ] [ -e | -E group ] servicedir...";

/// A change of who may look, or give orders.
#[derive(Clone, Copy)]
enum Rule {
    /// Only the owner looks and orders.
    Owner,
    /// This group looks.
    GroupLooks(u32),
    /// This group looks and orders.
    GroupOrders(u32),
    /// Everyone looks.
    PublicLooks,
    /// Everyone looks, and this group orders.
    PublicLooksGroupOrders(u32),
}

/// A change of who may wait for events.
#[derive(Clone, Copy)]
enum Events {
    Everyone,
    Group(u32),
}

#[derive(Default)]
struct Asked {
    tell: bool,
    rule: Option<Rule>,
    events: Option<Events>,
}

/// Tells or changes the permissions.
pub(super) fn main(args: &[OsString]) -> u8 {
    let mut options = Options::new(args);
    let asked = match read_options(&mut options) {
        Ok(asked) if !options.rest().is_empty() => asked,
        Ok(_) | Err(Bad::Option) => return usage(USAGE),
        Err(Bad::Group(group)) => {
            let text = format_args!("there is no group {}", group.display());
            return fatal(NAME, &text, PRECONDITION);
        }
    };
    let mut code = 0;
    for dir in options.rest() {
        let dir = Path::new(dir);
        if let Err(error) = change(dir, &asked) {
            return refused(NAME, &format_args!("change {}", dir.display()), &error);
        }
        let tells = asked.tell || asked.rule.is_none() && asked.events.is_none();
        if tells && let Err(error) = tell(dir) {
            // The others are told all the same.
            refused(NAME, &format_args!("look at {}", dir.display()), &error);
            code = 1;
        }
    }
    code
}

enum Bad {
    Option,
    Group(OsString),
}

impl From<BadOption> for Bad {
    fn from(_: BadOption) -> Self {
        Self::Option
    }
}

fn read_options(options: &mut Options<'_>) -> Result<Asked, Bad> {
    let mut asked = Asked::default();
    while let Some(letter) = options.next(b"vugGoOeE")? {
        match letter {
            b'v' => asked.tell = true,
            b'u' => asked.rule = Some(Rule::Owner),
            b'g' => asked.rule = Some(Rule::GroupLooks(group(options.argument()?)?)),
            b'G' => asked.rule = Some(Rule::GroupOrders(group(options.argument()?)?)),
            b'o' => asked.rule = Some(Rule::PublicLooks),
            b'O' => asked.rule = Some(Rule::PublicLooksGroupOrders(group(options.argument()?)?)),
            b'e' => asked.events = Some(Events::Everyone),
            b'E' => asked.events = Some(Events::Group(group(options.argument()?)?)),
            _ => return Err(Bad::Option),
        }
    }
    Ok(asked)
}

/// A group by name, or by number after a colon.
fn group(word: &OsStr) -> Result<u32, Bad> {
    let unknown = || Bad::Group(word.to_owned());
    let text = word.to_str().ok_or_else(unknown)?;
    if let Some(number) = text.strip_prefix(':') {
        return number.parse().map_err(|_| unknown());
    }
    let users = Users::load().map_err(|_| unknown())?;
    users
        .group_by_name(text)
        .map(|group| group.gid)
        .ok_or_else(unknown)
}

fn change(dir: &Path, asked: &Asked) -> Result<(), rustix::io::Errno> {
    let set = |name: &str, mode: u32, group: Option<u32>| {
        let path = dir.join(name);
        if let Some(group) = group {
            rustix::fs::chown(&path, None, Some(Gid::from_raw(group)))?;
        }
        rustix::fs::chmod(&path, Mode::from_raw_mode(mode))
    };
    if let Some(rule) = asked.rule {
        let (supervise, control, group) = match rule {
            Rule::Owner => (0o700, 0o600, None),
            Rule::GroupLooks(group) => (0o710, 0o600, Some(group)),
            Rule::GroupOrders(group) => (0o710, 0o620, Some(group)),
            Rule::PublicLooks => (0o711, 0o600, None),
            Rule::PublicLooksGroupOrders(group) => (0o711, 0o620, Some(group)),
        };
        set("supervise", supervise, group)?;
        set("supervise/control", control, group)?;
    }
    match asked.events {
        None => Ok(()),
        Some(Events::Everyone) => set("event", 0o1733, None),
        Some(Events::Group(group)) => set("event", 0o3730, Some(group)),
    }
}

fn tell(dir: &Path) -> std::io::Result<()> {
    let (supervise, control, event) = (
        std::fs::metadata(dir.join("supervise"))?,
        std::fs::metadata(dir.join("supervise/control"))?,
        std::fs::metadata(dir.join("event"))?,
    );
    let users = Users::load()?;
    let named = |gid: u32| match users.group_by_gid(gid) {
        Some(group) => format!("group {}", group.name),
        None => format!("group :{gid}"),
    };
    let name = dir.display();
    let status = match supervise.mode() {
        mode if mode & 0o001 != 0 => "public".to_owned(),
        mode if mode & 0o010 != 0 => named(supervise.gid()),
        _ => "owner".to_owned(),
    };
    let control = match control.mode() {
        mode if mode & 0o020 != 0 => named(control.gid()),
        _ => "owner".to_owned(),
    };
    let events = match event.mode() {
        mode if mode & 0o003 != 0 => "public".to_owned(),
        _ => named(event.gid()),
    };
    let text =
        format!("{name} status: {status}\n{name} control: {control}\n{name} events: {events}");
    say(&text);
    Ok(())
}
