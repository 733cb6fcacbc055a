//! Verbs on what another instance runs: handed to it through the home, and its answer brought back
//! (L73). An owner that doesn't answer is named.

use std::env;

use herm_home::handover::{Answer, Request, Waiting};
use herm_home::lease::{self, Proof, Store};
use herm_home::watch::is_blind;
use herm_wire::{ExitCode, ServiceView};

use super::services_of;
use crate::cli::Patience;
use crate::client::Client;
use crate::context::{Context, home_failure};
use crate::failure::{Failure, Outcome};
use crate::keeper::HANDED_OVER;

pub(super) use herm_home::handover::Verb;

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

/// The owner's own words and code.
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
    Failure::new(code.unwrap_or(ExitCode::Failed), answer.refusal(owner))
}

fn wait_for_answer(context: &Context, owner: &str, request: &Request) -> Outcome<Answer> {
    let waiting = Waiting::begin(context.home(), owner, request).map_err(home_failure)?;
    waiting
        .end()
        .map_err(home_failure)?
        .map_err(|silence| Failure::new(ExitCode::TimedOut, silence.message).hint(silence.hint))
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
        assert!(failure.message.starts_with("instance i1, which runs"));
        let odd = Answer { code: 77, ..answer };
        assert_eq!(refused("i1", &odd).code, ExitCode::Failed);
    }
}
