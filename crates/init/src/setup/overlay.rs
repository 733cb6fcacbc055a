//! Images built on s6-overlay: their sources and service directories become what PID 1 scans.
//!
//! Each service of `/etc/s6-overlay/s6-rc.d` and of `/etc/services.d` gets a directory in `/run`
//! and a link in the scan directory. What it depends on stands in `dependencies.d` of that
//! directory, and PID 1's engine keeps the order. A oneshot's `run` is this very program, which
//! runs its scripts (see `applets::oneshot`). Nothing is executed from `/run`, which may be mounted
//! so that nothing can be: scripts are links to where the image has them.

mod directory;
mod sources;

use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use herm_s6::rc::compile::compile;
use herm_s6::rc::database::{Database, Kind};
use herm_s6::rc::source::CompileError;

use crate::environment::Environment;
use crate::s6_variables;

/// Names of s6-overlay's own that images depend on: by the time services start, what they stand for
/// has been done by setup.
const OWN_BUNDLES: &[&str] = &[
    "base",
    "fix-attrs",
    "legacy-cont-init",
    "legacy-services",
    "user",
    "user2",
];
/// In a service's directory, where that is root's: the service user may give it orders.
pub(crate) const SHARED: &str = ".shared";
/// What is started at boot.
const STARTED: &[&str] = &["user", "user2"];

/// Where an overlay's files are.
#[derive(Clone, Debug)]
pub(super) struct Places {
    /// `/etc`, or the runtime profile's directory.
    pub(super) etc: PathBuf,
    /// Where the bundles `user` and `user2` are, since s6-overlay 3.2.3.1.
    pub(super) bundles: PathBuf,
    /// `/run`.
    pub(super) run: PathBuf,
    /// This program.
    pub(super) own: PathBuf,
    /// The main program starts after the services of `services.d`, too.
    pub(super) waits_for_legacy: bool,
    /// Milliseconds that those have for their end in a shutdown.
    pub(super) legacy_grace: Option<u64>,
}

impl Places {
    /// As the environment says (`s6.md` section 6.8).
    pub(super) fn of(environment: &Environment, etc: PathBuf) -> Self {
        let bundles = environment.get_nonempty("S6_RUNTIME_BUNDLEDIR");
        Self {
            bundles: bundles.map_or_else(|| etc.join("s6-overlay/user-bundles.d"), Into::into),
            etc,
            run: "/run".into(),
            own: std::env::current_exe().unwrap_or_else(|_| "/init".into()),
            waits_for_legacy: s6_variables::is_on(environment, "S6_CMD_WAIT_FOR_SERVICES"),
            legacy_grace: s6_variables::number(environment, "S6_SERVICES_GRACETIME"),
        }
    }

    /// Directory of the services' own directories.
    fn services(&self) -> PathBuf {
        self.run.join("s6-rc/servicedirs")
    }

    fn scan(&self) -> PathBuf {
        self.run.join("service")
    }
}

/// Why the services can't be brought up.
#[derive(Debug, thiserror::Error)]
pub(super) enum OverlayError {
    /// A source makes no sense.
    #[error("the services of /etc/s6-overlay can't be compiled: {0}")]
    Compile(#[from] CompileError),
    /// A file can't be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> OverlayError {
    let path = path.to_owned();
    move |source| OverlayError::File { path, source }
}

/// Removes what a boot before this one left, and lays out what scripts look at (`s6.md` section
/// 6.10). Before the hooks, which may publish services of their own.
pub(super) fn sweep(places: &Places) -> Result<(), OverlayError> {
    let run = &places.run;
    for stale in [
        "s6-rc",
        "s6/db",
        "s6/legacy-services",
        "s6/basedir",
        "s6-linux-init-container-results",
    ] {
        remove(&run.join(stale))?;
    }
    let scan = places.scan();
    for entry in std::fs::read_dir(&scan).into_iter().flatten().flatten() {
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            remove(&entry.path())?;
        }
    }
    let bin = run.join("s6/basedir/bin");
    let results = run.join("s6-linux-init-container-results");
    for dir in [&bin, &results, &scan] {
        std::fs::create_dir_all(dir).map_err(at(dir))?;
    }
    for name in ["halt", "poweroff", "reboot", "shutdown"] {
        let link = bin.join(name);
        symlink(&places.own, &link).map_err(at(&link))?;
    }
    let code = results.join("exitcode");
    std::fs::write(&code, "0").map_err(at(&code))
}

fn remove(path: &Path) -> Result<(), OverlayError> {
    let is_dir = path
        .symlink_metadata()
        .is_ok_and(|metadata| metadata.is_dir());
    let removed = if is_dir {
        std::fs::remove_dir_all(path)
    } else {
        std::fs::remove_file(path)
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(path)(error)),
        _ => Ok(()),
    }
}

/// What the overlay's services came to.
#[derive(Debug, Default)]
pub(super) struct Laid {
    /// Those that the main program starts after.
    pub(super) before_main: Vec<String>,
    /// Odd things, to be told.
    pub(super) warnings: Vec<String>,
}

/// Compiles the sources and lays out all services.
pub(super) fn lay_out(places: &Places) -> Result<Laid, OverlayError> {
    let definitions = sources::read(places).map_err(at(&places.etc))?;
    let compiled = compile(&definitions, OWN_BUNDLES)?;
    let database = compiled.database;
    let mut laid = Laid {
        warnings: compiled.warnings.iter().map(ToString::to_string).collect(),
        ..Laid::default()
    };
    let mut started: Vec<&str> = Vec::new();
    for bundle in STARTED {
        let members = database.atomics(bundle).unwrap_or_default();
        started.extend(members.iter().map(|service| service.name.as_str()));
    }
    let started: Vec<String> = database
        .with_dependencies(&started)
        .iter()
        .map(|service| service.name.clone())
        .collect();
    if !database.services.is_empty() {
        lay_out_compiled(places, &database, &started)?;
    }
    let legacy = lay_out_legacy(places, &started)?;
    laid.before_main = started;
    if places.waits_for_legacy {
        laid.before_main.extend(legacy);
    }
    Ok(laid)
}

fn lay_out_compiled(
    places: &Places,
    database: &Database,
    started: &[String],
) -> Result<(), OverlayError> {
    let base = places.run.join("s6-rc");
    for dir in [places.services(), base.join("fifos"), places.scan()] {
        std::fs::create_dir_all(&dir).map_err(at(&dir))?;
    }
    let text = base.join("compiled");
    std::fs::write(&text, database.to_text()).map_err(at(&text))?;
    for service in &database.services {
        let dir = places.services().join(&service.name);
        let made = match service.kind {
            Kind::Longrun => directory::longrun(places, service, &dir).and_then(|()| share(&dir)),
            Kind::Oneshot => directory::oneshot(places, service, &dir),
        };
        made.and_then(|()| directory::names(&dir.join("dependencies.d"), &service.dependencies))
            .and_then(|()| {
                if started.contains(&service.name) {
                    Ok(())
                } else {
                    std::fs::write(dir.join("down"), "")
                }
            })
            .map_err(at(&dir))?;
        publish(places, &service.name, &dir)?;
    }
    Ok(())
}

/// The services of `/etc/services.d`, which start after those of s6-rc.
fn lay_out_legacy(places: &Places, after: &[String]) -> Result<Vec<String>, OverlayError> {
    let from = places.etc.join("services.d");
    let mut names = Vec::new();
    for name in sources::names_in(&from).map_err(at(&from))? {
        let source = from.join(&name);
        if !source.is_dir() {
            continue;
        }
        let dir = places.run.join("s6/legacy-services").join(&name);
        directory::mirror(&source, &dir)
            .and_then(|()| directory::names(&dir.join("after.d"), after))
            .and_then(|()| match places.legacy_grace {
                Some(ms) => std::fs::write(dir.join("timeout-shutdown"), ms.to_string()),
                None => Ok(()),
            })
            .and_then(|()| share(&dir))
            .map_err(at(&source))?;
        publish(places, &name, &dir)?;
        names.push(name);
    }
    Ok(names)
}

/// The image's own services take orders from its service user, too.
fn share(dir: &Path) -> io::Result<()> {
    std::fs::write(dir.join(SHARED), "")
}

/// Shows a service in the scan directory. What the image has put there itself stays.
fn publish(places: &Places, name: &str, dir: &Path) -> Result<(), OverlayError> {
    let link = places.scan().join(name);
    match symlink(dir, &link) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(at(&link)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
