//! Verbs on what another instance runs: handed to it through the home, and its answer brought back
//! (L73). An owner that doesn't answer is named.

use axum::http::StatusCode;
use herm_home::Home;
use herm_home::handover::{Answer, Request, Verb, Waiting};
use herm_wire::{ExitCode, ServiceView};
use tokio::sync::oneshot;

use crate::app::App;
use crate::orders::PATIENCE_MS;
use crate::pages::error::Problem;

/// Verbs on their way at once; more wait.
pub(crate) const AT_ONCE: usize = 16;

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
    let answer = wait(app.options.home.clone(), owner.to_owned(), request).await?;
    // What it changed is in the home.
    app.home.forget().await;
    if answer.code == ExitCode::Done as u8 {
        return Ok(answer.output);
    }
    Err(Problem::new(status(&answer), answer.refusal(owner)))
}

/// It waits in a thread of its own, for it may wait for a minute: those that read files are few.
async fn wait(home: Home, owner: String, request: Request) -> Result<Answer, Problem> {
    let (sender, ended) = oneshot::channel();
    let run = move || {
        let begun = Waiting::begin(&home, &owner, &request);
        // Whoever asked may have gone away.
        let _ = sender.send(begun.and_then(|waiting| waiting.end()));
    };
    let spawned = std::thread::Builder::new()
        .name("handover".into())
        .spawn(run);
    spawned.map_err(|error| Problem::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()))?;
    let mistake = |_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "herm made a mistake");
    ended.await.map_err(mistake)??.map_err(|silence| {
        let text = format!("{}; {}", silence.message, silence.hint);
        Problem::new(StatusCode::GATEWAY_TIMEOUT, text)
    })
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
