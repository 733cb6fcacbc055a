//! The scanner's own scripts, in `.s6-svscan`: one for a signal, in place of what it does, and one for
//! the end. Whom they run as is decided as for services.

use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd as _, OwnedFd};

use herm_sys::exec::{Image, keep_only_standard, replace};
use herm_sys::signals::{Signal, SignalSet, set_blocked};
use herm_sys::spawn::{Launch, Program};
use herm_wire::Kind;

use super::ScanDir;
use super::entry::{Entry, Refusal};
use super::launch::SCRIPT_AT;
use super::place::SCANNER;
use super::scan::ids_of;
use crate::pid1::launch::{self, Common};
use crate::pid1::logs::give_stdout;
use crate::pid1::own::{own_service, own_spec};
use crate::pid1::supervisor::{Helper, Supervisor};

/// A script that may be run, and as whom.
struct Found {
    file: OwnedFd,
    launch: Launch,
}

impl Supervisor {
    /// Runs the script for a signal; whether there is one.
    pub(crate) fn run_signal_script(&mut self, signal: Signal) -> bool {
        let overridable = !matches!(signal, Signal::CHLD | Signal::ALRM | Signal::ABRT);
        let Some(name) = signal.name().filter(|_| overridable) else {
            return false;
        };
        let name = format!("SIG{name}");
        let Some(found) = self.find_script(&name) else {
            return false;
        };
        let Found { file, mut launch } = found;
        launch.program = Program::Descriptor {
            file,
            script_at: Some(SCRIPT_AT.start),
        };
        let started =
            give_stdout(&mut launch).and_then(|()| self.spawn_helper(launch, Helper::SignalScript));
        if let Err(why) = started {
            self.output
                .warn(&format!("{SCANNER}/{name} can't be run: {why}"));
        }
        true
    }

    /// Becomes the script for the end, if there is one; everything else is over. Returns if there is
    /// none, or it can't be executed.
    pub(crate) fn become_finish_script(&mut self) {
        let Some(Found { file, launch }) = self.find_script("finish") else {
            return;
        };
        let identity = launch.identity.as_ref();
        let is_whom = identity.map_or(Ok(()), herm_sys::credentials::become_identity);
        let is_there = launch
            .cwd_at
            .as_ref()
            .map_or(Ok(()), rustix::process::fchdir);
        let errno = match is_whom.and(is_there) {
            Ok(()) => {
                keep_only_standard();
                set_blocked(SignalSet::EMPTY);
                let image = Image::File(file.as_fd());
                replace(image, &launch.argv, &launch.env, &[file.as_fd()])
            }
            Err(errno) => errno,
        };
        self.output
            .error(&format!("{SCANNER}/finish can't be executed: {errno}"));
    }

    fn find_script(&mut self, name: &str) -> Option<Found> {
        match self.try_find_script(name) {
            Ok(found) => Some(found),
            Err(Refusal::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(refusal) => {
                self.output
                    .warn(&format!("{SCANNER}/{name} is not run: {refusal}"));
                None
            }
        }
    }

    fn try_find_script(&self, name: &str) -> Result<Found, Refusal> {
        let other = |why: &str| Refusal::Io(std::io::Error::other(why.to_owned()));
        let missing = || Refusal::Io(std::io::ErrorKind::NotFound.into());
        let scan: &ScanDir = self.scan_dir.as_ref().ok_or_else(missing)?;
        let entry = Entry::open(&scan.dir, OsStr::new(SCANNER))?;
        let owner = entry.owner_with(Self::uid(), &[name])?;
        let file = entry.script(name, owner)?;
        let words = vec![name.to_owned()];
        let mut service = own_service(
            own_spec(SCANNER, Kind::Helper, words.clone()),
            ids_of(owner, &entry)?,
        );
        service.registrar.uid = owner;
        let common = Common {
            environment: &self.environment,
            roots_path: self.boot.roots_path(),
            open_files: self.open_files,
        };
        let mut launch =
            launch::of_service(&service, &words, &common, &[]).map_err(|why| other(&why))?;
        launch.argv = vec![CString::new(name).map_err(|_| other("a zero byte"))?];
        launch.cwd = None;
        launch.cwd_at = Some(scan.dir.try_clone()?.into());
        Ok(Found { file, launch })
    }
}
