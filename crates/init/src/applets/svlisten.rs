//! `s6-svlisten` and `s6-svlisten1`: begin to listen, start a program, wait for its effect.

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use herm_sys::spawn::{Handover, Launch, Program, Session, Spawner, search_path};

use super::complain::{SYSTEM, fatal, usage};
use super::options::Options;
use super::wait::{Asked, read_options, wait_all, watch_all};

/// One directory, then the program.
pub(super) fn main_of_one(args: &[OsString]) -> u8 {
    let mut options = Options::new(args);
    let asked = read_options(&mut options);
    match (asked, options.rest()) {
        (Ok(asked), [dir, program @ ..]) if !program.is_empty() => {
            listen("s6-svlisten1", std::slice::from_ref(dir), program, &asked)
        }
        _ => {
            usage("s6-svlisten1 [ -U | -u | -d | -D | -r | -R ] [ -t timeout ] servicedir prog...")
        }
    }
}

/// A block of directories as execline quotes it, each with a blank before it and an empty word
/// after the last; then the program.
pub(super) fn main_of_many(args: &[OsString]) -> u8 {
    let mut options = Options::new(args);
    let asked = read_options(&mut options);
    let words = options.rest();
    let end = words.iter().position(|word| word.is_empty());
    let (Ok(asked), Some((dirs, [_, program @ ..]))) = (asked, end.map(|end| words.split_at(end)))
    else {
        return usage(
            "s6-svlisten [ -U | -u | -d | -D | -r | -R ] [ -a | -o ] [ -t timeout ] servicedir... \"\" prog...",
        );
    };
    let unquoted: Vec<OsString> = dirs
        .iter()
        .map(|word| {
            let bytes = word.as_bytes();
            OsString::from_vec(bytes.strip_prefix(b" ").unwrap_or(bytes).to_vec())
        })
        .collect();
    listen("s6-svlisten", &unquoted, program, &asked)
}

fn listen(command: &str, dirs: &[OsString], program: &[OsString], asked: &Asked) -> u8 {
    let watches = match watch_all(command, dirs) {
        Ok(watches) => watches,
        Err(code) => return code,
    };
    if let Err(why) = start(program) {
        let name = program.first().map(|name| name.display().to_string());
        let name = name.unwrap_or_default();
        return fatal(
            command,
            &format_args!("unable to spawn {name}: {why}"),
            SYSTEM,
        );
    }
    wait_all(command, watches, asked.goal, asked.any, &asked.deadline)
}

/// Starts a program in our place in every respect.
fn start(words: &[OsString]) -> Result<(), String> {
    let string = |bytes: &OsStr| CString::new(bytes.as_bytes()).map_err(|error| error.to_string());
    let argv = words
        .iter()
        .map(|word| string(word))
        .collect::<Result<Vec<_>, _>>()?;
    let Some(name) = argv.first() else {
        return Ok(());
    };
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
    let mut launch = Launch::new(Program::Paths(search_path(name, path.as_bytes())), argv);
    launch.session = Session::Inherit;
    for (name, value) in std::env::vars_os() {
        let variable = [name.as_bytes(), b"=", value.as_bytes()].concat();
        launch.env.extend(CString::new(variable).ok());
    }
    let streams = [
        rustix::stdio::stdin(),
        rustix::stdio::stdout(),
        rustix::stdio::stderr(),
    ];
    for (stream, target) in streams.into_iter().zip(0..) {
        // One that is closed is /dev/null over there.
        let copy = stream.try_clone_to_owned().ok();
        launch
            .fds
            .extend(copy.map(|source| Handover { source, target }));
    }
    let mut spawner = Spawner::new().map_err(|error| error.to_string())?;
    spawner
        .spawn(launch, None)
        .map(drop)
        .map_err(|error| error.to_string())
}
