//! `halt` and its kin of `/run/s6/basedir/bin`: stop the container.

use herm_sys::{Pid, Signal, signals};

use super::call::{Call, Outcome, Row, describe};

pub(super) const ROWS: &[Row] = &[
    ("halt", halt),
    ("poweroff", halt),
    ("reboot", halt),
    ("shutdown", halt),
];

/// What Docker does too: the supervisor, or the init above it that passes this on, stops
/// everything.
fn halt(call: &mut Call<'_>) -> Outcome {
    let told = signals::kill(Pid::INIT, Signal::TERM);
    told.map_err(|errno| call.refused(&"stop the container", &describe(errno)))?;
    Ok(0)
}
