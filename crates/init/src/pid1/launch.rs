//! From a service's spec to what the kernel needs to start it.

use std::ffi::{CString, OsStr, OsString};
use std::os::fd::OwnedFd;

use herm_engine::SortedMap;
use herm_sys::rlimit::{Limit, Resource};
use herm_sys::spawn::{Capabilities, Handover, Identity, Launch, Program, Session, search_path};
use herm_wire::{EnvEntry, Kind};

use super::services::Service;
use crate::environment::{DEFAULT_PATH, Environment};
use crate::setup::Ids;

/// What all launches share.
#[derive(Debug)]
pub(crate) struct Common<'a> {
    /// The container's environment.
    pub(crate) environment: &'a Environment,
    /// `PATH` of root's services, where it is another than the container's.
    pub(crate) roots_path: Option<&'a str>,
    /// The descriptor limit that herm was started with.
    pub(crate) open_files: Option<Limit>,
}

/// A variable with its value and where that came from.
type Explained = SortedMap<OsString, (OsString, String)>;

/// The environment of a service, each variable with its origin.
pub(crate) fn explained(
    environment: &Environment,
    roots_path: Option<&str>,
    service: &Service,
    own: &[(String, String)],
) -> Explained {
    let mut all = Explained::new();
    let mut take = |(name, value): (&OsStr, &OsStr)| {
        let origin = environment.origin(name).to_owned();
        all.insert(name.to_owned(), (value.to_owned(), origin));
    };
    if service.ids.uid == 0 {
        environment.for_root().for_each(&mut take);
    } else {
        environment.for_user().for_each(&mut take);
    }
    // The main program is the container's: it gets just what the container was started with.
    if let Some(path) = roots_path
        && service.ids.uid == 0
        && service.spec.kind != Kind::Main
    {
        let origin = "herm: the container's, without what others can write to";
        all.insert("PATH".into(), (path.into(), origin.to_owned()));
    }
    for name in &service.spec.unset_env {
        all.remove(OsStr::new(name));
    }
    for (name, variable) in &service.spec.env {
        let entry = ((&variable.value).into(), variable.origin.clone());
        all.insert(name.into(), entry);
    }
    for (name, value) in own {
        all.insert(name.into(), (value.into(), "herm".to_owned()));
    }
    all
}

/// Variables of the container that are not in a service's environment.
pub(crate) fn withheld(environment: &Environment, all: &Explained) -> Vec<String> {
    let names = environment.for_root().map(|(name, _)| name);
    names
        .filter(|name| all.get(*name).is_none())
        .map(|name| name.to_string_lossy().into_owned())
        .collect()
}

/// The same, as printed.
pub(crate) fn entries(all: Explained) -> Vec<EnvEntry> {
    let text = |os: OsString| os.to_string_lossy().into_owned();
    all.into_iter()
        .map(|(name, (value, origin))| EnvEntry {
            name: text(name),
            value: text(value),
            origin,
        })
        .collect()
}

/// The launch of a service's main process; its output and other descriptors are the caller's to
/// add.
pub(crate) fn of_service(
    service: &Service,
    argv: &[String],
    common: &Common<'_>,
    own: &[(String, String)],
) -> Result<Launch, String> {
    let env = explained(common.environment, common.roots_path, service, own);
    let spec = &service.spec;
    let mut launch = of_program(argv, &env, common)?;
    launch.cwd = Some(c_string(spec.cwd.as_deref().unwrap_or("/"))?);
    launch.identity = Some(identity(&service.ids));
    if service.registrar.uid != 0 {
        launch.no_new_privs = true;
    }
    if service.ids.uid != 0 {
        launch.capabilities = Capabilities::DropAll;
    }
    Ok(launch)
}

/// The launch of any program with this environment.
pub(crate) fn of_program(
    argv: &[String],
    env: &Explained,
    common: &Common<'_>,
) -> Result<Launch, String> {
    let argv = argv
        .iter()
        .map(|arg| c_string(arg))
        .collect::<Result<Vec<_>, _>>()?;
    let name = argv.first().ok_or("no program is given")?;
    let path = env
        .get(OsStr::new("PATH"))
        .map(|(value, _)| value.as_encoded_bytes());
    let candidates = search_path(name, path.unwrap_or(DEFAULT_PATH.as_bytes()));
    let mut launch = Launch::new(Program::Paths(candidates), argv);
    launch.env = env
        .iter()
        .filter_map(|(name, (value, _))| assignment(name, value))
        .collect();
    launch.session = Session::New { terminal: None };
    // Services get the limit the container was started with, not the one PID 1 raised for itself.
    launch
        .limits
        .extend(common.open_files.map(|limit| (Resource::OpenFiles, limit)));
    launch.umask = None;
    Ok(launch)
}

/// Gives the launch a descriptor under a number.
pub(crate) fn hand_over(launch: &mut Launch, source: OwnedFd, target: i32) {
    launch.fds.push(Handover { source, target });
}

/// Numeric ids as the spawner takes them.
pub(crate) fn identity(ids: &Ids) -> Identity {
    Identity {
        uid: ids.uid,
        gid: ids.gid,
        groups: ids.groups.clone(),
    }
}

fn assignment(name: &OsStr, value: &OsStr) -> Option<CString> {
    CString::new([name.as_encoded_bytes(), b"=", value.as_encoded_bytes()].concat()).ok()
}

fn c_string(text: &str) -> Result<CString, String> {
    CString::new(text).map_err(|_| format!("{text:?} contains a zero byte"))
}
