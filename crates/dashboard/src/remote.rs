//! Verbs on what another instance runs: handed to it through the home, and its answer brought back
//! (L73). An owner that doesn't answer is named.

use std::time::{Duration, Instant};

use axum::http::StatusCode;
use herm_home::handover::{Answer, Request, Standing, Verb, Waiting};
use herm_wire::{ExitCode, ServiceView};

use crate::app::App;
use crate::orders::PATIENCE_MS;
use crate::pages::error::Problem;

/// Verbs on their way at once; more wait.
pub(crate) const AT_ONCE: usize = 16;
/// Between two looks for an answer: inotify instances are few per user, and a home that several
/// machines share tells of nothing anyway.
const LOOK: Duration = Duration::from_millis(200);

/// Has the owner carry out a verb on a gateway; the gateway as the owner shows it then.
pub(crate) async fn order(
    app: &App,
    owner: &str,
    verb: Verb,
    profile: &str,
) -> Result<ServiceView, Problem> {
    let output = ask(app, owner, verb, profile).await?;
    let mut service: ServiceView = serde_json::from_str(&output).map_err(|_| {
        let text = format!("instance {owner} did it, and answered something unknown");
        Problem::new(StatusCode::BAD_GATEWAY, text)
    })?;
    service.owner = Some(owner.to_owned());
    Ok(service)
}

/// Has the owner carry out a verb; what it printed.
pub(crate) async fn ask(
    app: &App,
    owner: &str,
    verb: Verb,
    profile: &str,
) -> Result<String, Problem> {
    let _slot = app.handovers.acquire().await;
    let request = Request {
        verb,
        profile: profile.to_owned(),
        no_wait: false,
        timeout_ms: Some(PATIENCE_MS),
    };
    let home = app.options.home.clone();
    let begun = {
        let owner = owner.to_owned();
        tokio::task::spawn_blocking(move || Waiting::begin(&home, &owner, &request)).await
    };
    let waiting = begun.map_err(|_| mistake())??;
    let answer = wait(waiting).await?;
    // What it changed is in the home.
    app.home.forget().await;
    if answer.code == ExitCode::Done as u8 {
        return Ok(answer.output);
    }
    Err(Problem::new(status(&answer), answer.refusal(owner)))
}

async fn wait(mut waiting: Waiting) -> Result<Answer, Problem> {
    let began = Instant::now();
    loop {
        let looked = tokio::task::spawn_blocking(move || {
            let standing = waiting.look(began.elapsed());
            (waiting, standing)
        });
        let (back, standing) = looked.await.map_err(|_| mistake())?;
        waiting = back;
        match standing? {
            Standing::Answered(answer) => return Ok(answer),
            Standing::Silent(silence) => {
                let text = format!("{}; {}", silence.message, silence.hint);
                return Err(Problem::new(StatusCode::GATEWAY_TIMEOUT, text));
            }
            Standing::Pending(left) => tokio::time::sleep(left.min(LOOK)).await,
        }
    }
}

fn status(answer: &Answer) -> StatusCode {
    let is = |code: ExitCode| code as u8 == answer.code;
    if is(ExitCode::NotFound) {
        StatusCode::NOT_FOUND
    } else if is(ExitCode::NotPermitted) {
        StatusCode::FORBIDDEN
    } else if is(ExitCode::TimedOut) {
        StatusCode::GATEWAY_TIMEOUT
    } else {
        StatusCode::UNPROCESSABLE_ENTITY
    }
}

fn mistake() -> Problem {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "herm made a mistake")
}
