//! Nothing is left behind, however a run ends.
//!
//! Who is called is only the guard: it starts the run as another process, the first of a pid namespace,
//! and waits. When the run ends, or somebody interrupts it, the namespace goes with everything in it,
//! and the guard removes directories and containers, which all have a name of this run.

use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitCode, Stdio};

use anyhow::{Context, Result};
use herm_sys::signals::{Signal, SignalFd, SignalSet, set_blocked};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::scratch::Scratch;

/// The variable by which a run knows its name, and that it is guarded.
const NAME: &str = "HERM_BENCH_NAME";

/// What the names of this run's directories and containers begin with.
pub(crate) fn name() -> String {
    std::env::var(NAME).unwrap_or_else(|_| format!("herm-bench-{}", std::process::id()))
}

/// Whether this process is the run itself.
pub(crate) fn is_guarded() -> bool {
    std::env::var_os(NAME).is_some()
}

/// Runs this program with the same arguments, and cleans up behind it.
pub(crate) fn guard() -> Result<ExitCode> {
    let mut run = Command::new("unshare");
    run.args(["--pid", "--fork", "--kill-child", "--mount-proc"])
        .arg(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .env(NAME, name())
        // A terminal's interrupt is for the guard, which ends the run.
        .process_group(0);
    let mut run = run
        .spawn()
        .context("could not start the run in a pid namespace of its own (is this root?)")?;
    let outcome = wait(&mut run);
    clean_up();
    outcome
}

/// Until the run ends, or is to be ended.
fn wait(run: &mut Child) -> Result<ExitCode> {
    // After the start, so that the run has them as they were.
    let set = [Signal::INT, Signal::TERM, Signal::HUP]
        .into_iter()
        .fold(SignalSet::EMPTY, SignalSet::with);
    set_blocked(set);
    let signals = SignalFd::new(set)?;
    let pid = i32::try_from(run.id())
        .ok()
        .and_then(Pid::from_raw)
        .context("not a pid")?;
    let ended = pidfd_open(pid, PidfdFlags::empty())?;
    let mut ready = [
        PollFd::new(&signals, PollFlags::IN),
        PollFd::new(&ended, PollFlags::IN),
    ];
    poll(&mut ready, None)?;
    if ready[0].revents().contains(PollFlags::IN) {
        run.kill()?;
        run.wait()?;
        eprintln!("bench: interrupted");
        return Ok(ExitCode::from(130));
    }
    let status = run.wait()?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Removes what has this run's name. What can't be removed is told, and stops nothing.
fn clean_up() {
    let name = name();
    let listed = Command::new("docker")
        .args(["ps", "--all", "--quiet", "--filter"])
        .arg(format!("label={name}"))
        .stderr(Stdio::null())
        .output();
    let containers = listed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let containers = containers.unwrap_or_default();
    if !containers.trim().is_empty() {
        let removed = Command::new("docker")
            .args(["rm", "--force", "--volumes"])
            .args(containers.split_whitespace())
            .stdout(Stdio::null())
            .status();
        if !removed.is_ok_and(|status| status.success()) {
            eprintln!("bench: could not remove the containers labelled {name}");
        }
    }
    let Ok(entries) = std::fs::read_dir(Scratch::parent()) else {
        return;
    };
    let ours = format!("{name}-");
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with(&ours)
            && let Err(error) = std::fs::remove_dir_all(entry.path())
        {
            eprintln!(
                "bench: could not remove {}: {error}",
                entry.path().display()
            );
        }
    }
}
