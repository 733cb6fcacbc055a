//! The container: who supervises it, how its boot went, what it can't do, what its clock says.

use std::time::{Duration, SystemTime};

use herm_home::clock;
use herm_wire::{Body, BootReport, Op, PROTOCOL_VERSION};

use super::{Findings, Patient};
use crate::client::{Client, unexpected};
use crate::failure::Outcome;

/// No machine that runs this has an earlier time: herm is younger.
const EARLIEST: &str = "2026-01-01T00:00:00Z";
/// Files may be a little younger than now: other machines write them too.
const SKEW: Duration = Duration::from_secs(300);

pub(super) fn boot_report(client: &mut Client) -> Outcome<BootReport> {
    match client.ask(&Op::Boot)? {
        Body::Boot(report) => Ok(report),
        other => Err(unexpected(&other)),
    }
}

pub(super) fn supervisor(patient: &mut Patient<'_>, findings: &mut Findings) {
    let Some(supervised) = &patient.supervised else {
        let home = patient.context.home().root().display();
        return findings.note(format!(
            "no supervisor runs for {home}: what only it knows is not checked (`herm up` starts one)"
        ));
    };
    let hello = supervised.client.hello();
    let own = env!("CARGO_PKG_VERSION");
    if hello.version != own || hello.protocol != PROTOCOL_VERSION {
        findings.problem(
            format!(
                "the supervisor is herm {}, this command is {own}",
                hello.version
            ),
            "`herm service reexec` as root upgrades it in place",
        );
    }
    if hello.home.is_some() && !hello.keeper {
        findings.problem(
            "the keeper is not attached: profiles are not followed, orders are not recorded",
            "`herm service start keeper`; what it says is in the container's log",
        );
    }
    if !findings.any {
        let role = if hello.pid == 1 {
            "PID 1"
        } else {
            "supervisor"
        };
        findings.ok(format!(
            "herm {} as {role}, instance {}",
            hello.version, hello.instance
        ));
    }
}

/// L89: what failed at the boot is seen for as long as the container lives.
pub(super) fn setup(patient: &mut Patient<'_>, findings: &mut Findings) {
    let Some(supervised) = &patient.supervised else {
        return;
    };
    for step in &supervised.boot.steps {
        if let Some(error) = &step.error {
            findings.problem(
                format!("{}: {error}", step.name),
                "correct it, then restart the container; the container's log has the whole message",
            );
        }
    }
    for warning in &supervised.boot.warnings {
        findings.note(warning.clone());
    }
}

pub(super) fn features(patient: &mut Patient<'_>, findings: &mut Findings) {
    let Some(supervised) = &patient.supervised else {
        return;
    };
    for feature in supervised
        .boot
        .features
        .iter()
        .filter(|feature| !feature.available)
    {
        findings.note(format!("without {}: {}", feature.name, feature.detail));
    }
}

pub(super) fn clock(patient: &mut Patient<'_>, findings: &mut Findings) {
    let now = SystemTime::now();
    if clock::parse(EARLIEST).is_some_and(|earliest| now < earliest) {
        return findings.problem(
            format!(
                "the clock says {}: certificates will not be valid",
                clock::rfc3339(now)
            ),
            "set the host's clock (NTP)",
        );
    }
    let log = std::fs::metadata(patient.context.home().boot_log());
    let written = log.and_then(|log| log.modified());
    if let Ok(written) = written
        && written > now + SKEW
    {
        findings.problem(
            format!(
                "the clock says {}, and the home was written to at {}",
                clock::rfc3339(now),
                clock::rfc3339(written)
            ),
            "set the host's clock (NTP): logs, ages and restored states depend on it",
        );
    }
}
