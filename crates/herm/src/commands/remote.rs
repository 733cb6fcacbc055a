//! Verbs on what another instance runs: handed to it through the home, and its answer brought back
//! (L73). An owner that doesn't answer is named.

use std::env;
use std::time::{Duration, Instant};

use herm_home::handover::{self, Answer, Progress, Request};
use herm_home::lease::{self, Proof, Store};
use herm_wire::{ExitCode, ServiceView};

use super::services_of;
use crate::cli::Patience;
use crate::client::Client;
use crate::context::{Context, home_failure};
use crate::failure::{Failure, Outcome};
use crate::keeper::HANDED_OVER;
use crate::watch::{Watch, is_blind};

pub(super) use herm_home::handover::Verb;

/// How long the owner has to take a request. Where nobody tells it of files it looks every 5 s.
const TAKEN_WITHIN: Duration = Duration::from_secs(15);
/// How long the verb itself may take where the caller sets no limit: longer than any start or stop
/// that is not stuck.
const ANSWERED_WITHIN: Duration = Duration::from_secs(150);
/// Between two looks for the answer where nobody tells of files: a person waits for it.
const BLIND_LOOK: Duration = Duration::from_millis(500);

/// The instance that runs a gateway, where that is another one.
pub(super) fn owner_of(client: &mut Client, name: &str) -> Outcome<Option<String>> {
    let (_, services) = services_of(client)?;
    let is_meant =
        |service: &&ServiceView| service.name == name || service.profile.as_deref() == Some(name);
    let service = services.iter().find(is_meant);
    Ok(service.and_then(|service| service.owner.clone()))
}

/// The instance that owns the gateways of a home by its files, unless it is known to be dead: for
/// those whom no supervisor tells.
pub(super) fn owner_by_files(context: &Context) -> Option<String> {
    let home = context.home();
    let owner = lease::owner(home).ok()??;
    let store = Store::new(home, "cli", is_blind(home.root()));
    let seen = store.sight(&owner.id)?;
    let is_gone = matches!(seen.proof, Proof::Dead | Proof::Released);
    (!is_gone).then_some(owner.id)
}

/// Has the owner carry out a verb on a gateway; the gateway as the owner shows it then.
pub(super) fn order(
    context: &Context,
    owner: &str,
    (verb, profile): (Verb, &str),
    patience: Patience,
) -> Outcome<ServiceView> {
    let request = Request {
        verb,
        profile: profile.to_owned(),
        no_wait: patience.no_wait,
        timeout_ms: patience
            .timeout
            .map(|limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)),
    };
    let output = hand_over(context, owner, &request)?;
    let mut service: ServiceView = serde_json::from_str(&output).map_err(|_| {
        Failure::failed(format!(
            "instance {owner} did it, and answered something unknown"
        ))
    })?;
    service.owner = Some(owner.to_owned());
    Ok(service)
}

/// Has the owner carry out a request; what it printed.
pub(super) fn hand_over(context: &Context, owner: &str, request: &Request) -> Outcome<String> {
    if env::var_os(HANDED_OVER).is_some() {
        return Err(Failure::failed(format!(
            "instance {owner} has taken over the gateways meanwhile"
        ))
        .hint("give the order again"));
    }
    let answer = wait_for_answer(context, owner, request)?;
    if answer.code == ExitCode::Done as u8 {
        return Ok(answer.output);
    }
    Err(refused(owner, &answer))
}

/// The owner's own words, which begin as ours do.
fn refused(owner: &str, answer: &Answer) -> Failure {
    let code = [
        ExitCode::Usage,
        ExitCode::NotRunning,
        ExitCode::NotFound,
        ExitCode::NotPermitted,
        ExitCode::BadConfig,
        ExitCode::TimedOut,
    ];
    let code = code.into_iter().find(|code| *code as u8 == answer.code);
    let said = answer.complaint.trim();
    let said = said.strip_prefix("herm: ").unwrap_or(said);
    Failure::new(
        code.unwrap_or(ExitCode::Failed),
        format!("instance {owner}, which runs the gateways of this home, says: {said}"),
    )
}

fn wait_for_answer(context: &Context, owner: &str, request: &Request) -> Outcome<Answer> {
    let home = context.home();
    let mut watch = Watch::new()?;
    let ticket = handover::ask(home, request).map_err(home_failure)?;
    watch.follow_dir(&handover::directory(home))?;
    let began = Instant::now();
    let limit = request
        .timeout_ms
        .map_or(ANSWERED_WITHIN, Duration::from_millis)
        + TAKEN_WITHIN;
    loop {
        let waited = began.elapsed();
        let left = match ticket.progress().map_err(home_failure)? {
            Progress::Answered(answer) => return Ok(answer),
            Progress::Waiting if waited >= TAKEN_WITHIN => {
                if ticket.withdraw().map_err(home_failure)? {
                    return Err(silent(context, owner));
                }
                limit.saturating_sub(waited)
            }
            Progress::Waiting => TAKEN_WITHIN.saturating_sub(waited),
            Progress::Taken => limit.saturating_sub(waited),
        };
        if waited >= limit {
            return Err(Failure::new(
                ExitCode::TimedOut,
                format!("instance {owner} has taken the order and not answered yet"),
            )
            .hint("the order stands; `herm status` there shows what came of it"));
        }
        let look = watch.patience().map_or(left, |_| left.min(BLIND_LOOK));
        watch.wait_at_most(look)?;
    }
}

/// Nobody took it.
fn silent(context: &Context, owner: &str) -> Failure {
    let lease = lease::owner(context.home()).ok().flatten();
    let host = lease
        .filter(|lease| lease.id == owner)
        .map(|lease| format!(" on host {}", lease.host))
        .unwrap_or_default();
    Failure::new(
        ExitCode::TimedOut,
        format!(
            "instance {owner}{host} runs the gateways of this home and has not taken the order \
             within {} s; it is withdrawn, nothing has changed",
            TAKEN_WITHIN.as_secs()
        ),
    )
    .hint(
        "look at that container: it may be frozen, or cut off from the volume. One that is gone is \
         replaced within 30 s",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l73_an_owners_refusal_keeps_its_code_and_names_who_refused() {
        let answer = Answer {
            code: 124,
            output: String::new(),
            complaint: "herm: can't stop writer: the time allowed is over\n  wait longer\n".into(),
        };
        let failure = refused("i1", &answer);
        assert_eq!(failure.code, ExitCode::TimedOut);
        assert_eq!(
            failure.message,
            "instance i1, which runs the gateways of this home, says: can't stop writer: the time \
             allowed is over\n  wait longer"
        );
        let odd = Answer { code: 77, ..answer };
        assert_eq!(refused("i1", &odd).code, ExitCode::Failed);
    }
}
