//! What the image brings along for its boot, in the order of s6-overlay (`s6.md` section 6.1): a hook,
//! attributes to be mended, scripts, and services.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use herm_sys::exec::take_inherited;
use herm_sys::users::Users;

use super::hooks::{self, HookError};
use super::plan::Ids;
use super::report::Reporter;
use super::safekeeping::Safekeeping;
use super::{BAD_CONFIG, HOOK_FAILED, Options, fix_attrs, overlay, roots_path, step_limit};
use crate::environment::{Environment, share};
use crate::s6_variables::{self, OnFailure};

/// Directory of the boot's scripts, below [`directory`].
const CONT_INIT: &str = "cont-init.d";
/// Directory of the attributes to be mended.
const FIX_ATTRS: &str = "fix-attrs.d";
/// A program that isn't there, as a shell returns it.
const NOT_FOUND: u8 = 127;

/// Where an image has its scripts: `/etc`, or a directory for what this container is to be
/// (`S6_RUNTIME_PROFILE`).
pub(crate) fn directory(environment: &Environment) -> PathBuf {
    let profile = environment.get_nonempty("S6_RUNTIME_PROFILE");
    profile.map_or_else(
        || "/etc".into(),
        |name| Path::new("/etc/cont-profile.d").join(name),
    )
}

/// Why the image can't be brought up.
#[derive(Debug, thiserror::Error)]
pub(super) enum ImageError {
    /// The first program of all failed, and that counts.
    #[error(
        "S6_STAGE2_HOOK ({hook}) returned {code}; set S6_BEHAVIOUR_IF_STAGE2_FAILS=0 to boot all the same"
    )]
    Hook {
        /// Its command.
        hook: String,
        /// What it returned.
        code: u8,
    },
    /// Not every attribute could be mended, and that counts.
    #[error(
        "not all of fix-attrs.d could be applied; set S6_BEHAVIOUR_IF_STAGE2_FAILS=0 to boot all the same"
    )]
    Attributes,
    /// A script failed, and that counts.
    #[error("{0}; set S6_BEHAVIOUR_IF_STAGE2_FAILS=0 to boot all the same")]
    Script(#[from] HookError),
    /// Its services can't be laid out.
    #[error(transparent)]
    Overlay(#[from] overlay::OverlayError),
}

impl ImageError {
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::Hook { code, .. } => *code,
            Self::Attributes | Self::Script(_) => HOOK_FAILED,
            Self::Overlay(_) => BAD_CONFIG,
        }
    }
}

/// An image to be brought up.
pub(super) struct Image<'a> {
    options: &'a Options,
    environment: &'a Environment,
    user: Option<&'a Ids>,
    on_failure: OnFailure,
    etc: PathBuf,
}

impl<'a> Image<'a> {
    pub(super) fn of(
        options: &'a Options,
        environment: &'a Environment,
        user: Option<&'a Ids>,
    ) -> Self {
        Self {
            options,
            environment,
            user,
            on_failure: OnFailure::of(environment),
            etc: directory(environment),
        }
    }

    /// Everything in its order; the services that are to be up before the main program.
    pub(super) fn bring_up(
        &self,
        added: &[(String, String)],
        reporter: &mut Reporter,
    ) -> Result<Vec<String>, ImageError> {
        let places = self
            .options
            .overlay
            .then(|| overlay::Places::of(self.environment, self.etc.clone()));
        if let Some(places) = &places {
            self.await_record(reporter);
            overlay::sweep(places)?;
            self.run_hook(reporter)?;
            self.fix_attributes(reporter)?;
        }
        self.run_scripts(added, reporter)?;
        match &places {
            Some(places) => lay_out_services(places, reporter),
            None => Ok(Vec::new()),
        }
    }

    /// `S6_STAGE2_HOOK`: one command, its words parted by blanks, no shell's text.
    fn run_hook(&self, reporter: &mut Reporter) -> Result<(), ImageError> {
        let words = s6_variables::words(self.environment, "S6_STAGE2_HOOK");
        let Some((program, arguments)) = words.split_first() else {
            return Ok(());
        };
        if reporter.is_dry_run() {
            reporter.did(&format!("run {}", words.join(" ")));
            return Ok(());
        }
        let start = reporter.begin_unlimited("S6_STAGE2_HOOK");
        let ended = Command::new(program).args(arguments).status();
        let code = match &ended {
            Ok(status) => status.code().unwrap_or(128 + status.signal().unwrap_or(0)),
            Err(_) => i32::from(NOT_FOUND),
        };
        let code = u8::try_from(code & 0xff).unwrap_or(HOOK_FAILED);
        let result = if code == 0 {
            Ok(())
        } else {
            let hook = words.join(" ");
            Err(ImageError::Hook { hook, code })
        };
        reporter.end("S6_STAGE2_HOOK", start, result.as_ref().err());
        self.judge(result, reporter)
    }

    /// A failure ends the boot, or is told.
    fn judge(
        &self,
        result: Result<(), ImageError>,
        reporter: &mut Reporter,
    ) -> Result<(), ImageError> {
        match (result, self.on_failure) {
            (Err(error), OnFailure::GoOn) => {
                let text = error.to_string();
                let text = text
                    .split_once("; set S6_")
                    .map_or(&*text, |(what, _)| what);
                reporter.warn(&format!("{text}; the boot goes on"));
                Ok(())
            }
            (result, _) => result,
        }
    }

    fn fix_attributes(&self, reporter: &mut Reporter) -> Result<(), ImageError> {
        let dir = self.etc.join(FIX_ATTRS);
        if !dir.is_dir() {
            return Ok(());
        }
        let users = Users::load().unwrap_or_default();
        let hidden = s6_variables::is_on(self.environment, "S6_FIX_ATTRS_HIDDEN");
        let done = reporter.step("fix-attrs", |reporter| {
            if fix_attrs::apply(&dir, &users, hidden, reporter) {
                Ok(())
            } else {
                Err(ImageError::Attributes)
            }
        });
        self.judge(done, reporter)
    }

    /// Runs every script, also after one that failed, as s6-overlay does; then the policy decides.
    fn run_scripts(
        &self,
        added: &[(String, String)],
        reporter: &mut Reporter,
    ) -> Result<(), ImageError> {
        let dir = self.etc.join(CONT_INIT);
        let scripts = match hooks::scripts(&dir) {
            Ok(scripts) => scripts,
            Err(error) => {
                reporter.warn(&format!("{} can't be read: {error}", dir.display()));
                return Ok(());
            }
        };
        if !scripts.is_empty() && !self.options.overlay {
            self.await_record(reporter);
        }
        if scripts.is_empty() {
            return Ok(());
        }
        let mut settings = Safekeeping::begin(self.environment, self.user);
        let mut failure = None;
        for script in scripts {
            let name = script.display().to_string();
            if reporter.is_dry_run() {
                reporter.did(&format!("run {name}"));
                continue;
            }
            // The script's own limit, at which it is killed and the boot goes on.
            let limit = step_limit(self.environment);
            let start = reporter.begin_unlimited(&name);
            let result = hooks::run(&script, self.variables(added), &self.options.cmd, limit);
            reporter.end(&name, start, result.as_ref().err());
            if let Some(settings) = &mut settings {
                settings.after(&name, reporter);
            }
            match (result, self.on_failure) {
                (Ok(()), _) => {}
                (Err(error), OnFailure::GoOn) => {
                    reporter.warn(&format!("{error}; the boot goes on"));
                }
                (Err(error), OnFailure::Stop) => {
                    reporter.warn(&error.to_string());
                    failure.get_or_insert(error);
                }
            }
        }
        failure.map_or(Ok(()), |error| Err(error.into()))
    }

    fn variables(&self, added: &[(String, String)]) -> Vec<(OsString, OsString)> {
        let path = roots_path(self.environment).map(|path| ("PATH".into(), path.into()));
        let added = added.iter().map(|(n, v)| (n.into(), v.into()));
        self.environment
            .for_root()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .chain(added)
            .chain(path)
            .collect()
    }

    /// Before programs of the image's run: they may hang, and read the recorded environment, which
    /// PID 1 is still writing when setup begins.
    fn await_record(&self, reporter: &mut Reporter) {
        reporter.watch(step_limit(self.environment), BAD_CONFIG);
        if let Some(end) = self.options.recorded_fd.and_then(take_inherited) {
            // Nothing is written to it; whatever it says, there is no more to wait for.
            let _ = File::from(end).read(&mut [0]);
        }
        if let Some(dir) = &self.options.environment {
            self.share_environment(Path::new(dir), reporter);
        }
    }

    /// Lets the service user read the recorded environment before a hook acts as that user. PID 1
    /// sees to what hooks add.
    fn share_environment(&self, dir: &Path, reporter: &mut Reporter) {
        if rustix::process::geteuid().is_root()
            && let Err(error) = share(dir, self.user.map(|ids| ids.gid))
            && error.kind() != io::ErrorKind::NotFound
        {
            reporter.warn(&format!("{} can't be shared: {error}", dir.display()));
        }
    }
}

fn lay_out_services(
    places: &overlay::Places,
    reporter: &mut Reporter,
) -> Result<Vec<String>, ImageError> {
    let laid = reporter.step("services", |_| overlay::lay_out(places))?;
    laid.warnings
        .iter()
        .for_each(|warning| reporter.warn(warning));
    Ok(laid.before_main)
}
