//! Entry points: a fresh supervisor, and one that goes on.

use std::os::fd::AsRawFd as _;

use herm_engine::Engine;
use herm_sys::signals::Signal;

use super::boot::come_up;
use super::catch_all::CatchAll;
use super::main_process::BorrowedTerminal;
use super::output::{Level, Output};
use super::records::Records;
use super::reexec::{self, Resumption, Verdict, arm_panics};
use super::settings::{Options, Settings};
use super::supervisor::{Supervisor, engine_config, seed};
use crate::environment::Environment;

/// Bad configuration, or a machine PID 1 can't work on (contract section 4).
const BAD_CONFIG: u8 = 78;

/// A fault in herm (`EX_SOFTWARE` of sysexits.h).
const FAULT: u8 = 70;

/// Supervises until everything is over; the exit code.
pub(crate) fn main(options: Options) -> u8 {
    let environment = Environment::capture();
    let (settings, warnings, understood) = Settings::read(&environment);
    let catch_all = CatchAll::begin(&environment);
    let mut output = Output::new(settings.level);
    for warning in &warnings {
        output.warn(warning);
    }
    let _terminal = BorrowedTerminal::note();
    if let Err(why) = understood {
        output.error(&why);
        return BAD_CONFIG;
    }
    match begin(options, settings, environment, &mut output) {
        Ok(mut supervisor) => {
            supervisor.boot.report.warnings.extend(warnings);
            match catch_all {
                Ok(logger) => supervisor.catch_all = logger,
                Err(error) => supervisor
                    .output
                    .warn(&format!("there is no catch-all logger: {error}")),
            }
            supervisor.begin_boot();
            end(supervisor)
        }
        Err(why) => {
            output.error(&why);
            BAD_CONFIG
        }
    }
}

/// Runs to the end, which may be a script's. Then the kernel takes back all at once what would be given
/// back piece by piece, while whoever started the container waits.
fn end(mut supervisor: Supervisor) -> u8 {
    let code = supervisor.run();
    supervisor.become_finish_script();
    std::mem::forget(supervisor);
    code
}

fn begin(
    options: Options,
    settings: Settings,
    environment: Environment,
    output: &mut Output,
) -> Result<Supervisor, String> {
    let foundation = come_up(&options, &settings, &environment, output)?;
    let engine = Engine::new(engine_config(), seed());
    let records = Records::new();
    if let Some(journal) = records.journal() {
        arm_panics(journal.fd().as_raw_fd(), Vec::new());
    } else {
        output.warn("no memory for the state: a fault in herm would end everything");
    }
    let mut supervisor =
        Supervisor::assemble(options, settings, environment, foundation, engine, records)?;
    // For herm alone: services get what there was.
    supervisor.open_files = herm_sys::rlimit::raise_open_files().ok();
    supervisor.record_globals();
    Ok(supervisor)
}

/// Goes on where the program before this one in this process left off; the exit code.
pub(crate) fn go_on(resumption: &Resumption) -> u8 {
    let verdict = reexec::verdict(resumption);
    let resumed = match verdict {
        Verdict::GiveUp => Err("too many faults in a minute".to_owned()),
        Verdict::GoOn | Verdict::ShutDown => {
            super::resume::resume(resumption, Environment::capture())
        }
    };
    match resumed {
        Ok(mut supervisor) => {
            if verdict == Verdict::ShutDown {
                supervisor
                    .output
                    .error("three faults in a minute; everything is stopped in order");
                supervisor.begin_shutdown(Some(FAULT));
            }
            end(supervisor)
        }
        Err(why) => {
            Output::new(Level::Error).error(&format!("cannot go on: {why}; ending everyone"));
            // Only as PID 1 of a namespace of its own, where everyone is ours.
            let _ = herm_sys::signals::kill_everyone(Signal::TERM);
            FAULT
        }
    }
}
