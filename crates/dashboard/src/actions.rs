//! Changes: what the buttons of the pages and the verbs of the API do. Each goes to the supervisor
//! and says what came of it, or why not (L73).

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use axum::extract::{Form, Path as UrlPath, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::{Extension, Json};
use herm_home::markers::write_planned_stop;
use herm_home::profile::{self, CreateOptions, Source};
use herm_home::{HomeError, ProfileName};
use herm_wire::{Body, ErrorBody, ErrorCode, Kind, Op, ServiceView, VerbOptions};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::app::App;
use crate::auth::Standing;
use crate::auth::bearer::Scope;
use crate::pages::error::{Problem, wants_json};

/// How long a verb's result is waited for, in milliseconds. What takes longer goes on.
const PATIENCE_MS: u64 = 20_000;

/// What can be ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verb {
    /// Up from now on.
    Start,
    /// Down from now on.
    Stop,
    /// Down, then up.
    Restart,
}

impl Verb {
    /// As it stands in addresses and forms.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
        }
    }

    fn done(self) -> &'static str {
        match self {
            Self::Start => "started",
            Self::Stop => "stopped",
            Self::Restart => "restarted",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        [Self::Start, Self::Stop, Self::Restart]
            .into_iter()
            .find(|verb| verb.word() == word)
    }
}

/// The form of the verbs: one for a whole page, its buttons say `verb:name`.
#[derive(Debug, Deserialize)]
pub(crate) struct ActForm {
    #[serde(default)]
    csrf: String,
    #[serde(rename = "do")]
    what: String,
    /// The page to go back to.
    #[serde(default)]
    back: String,
}

/// The form that makes a profile.
#[derive(Debug, Deserialize)]
pub(crate) struct CreateForm {
    #[serde(default)]
    csrf: String,
    name: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    clone_from: String,
}

/// The form that deletes one: its name has to be typed.
#[derive(Debug, Deserialize)]
pub(crate) struct DeleteForm {
    #[serde(default)]
    csrf: String,
    #[serde(default)]
    confirm: String,
}

/// Fails unless the request may change something.
pub(crate) fn may_change(
    app: &App,
    standing: Standing,
    headers: &HeaderMap,
    csrf: &str,
) -> Result<(), Problem> {
    match standing {
        Standing::Program(Scope::Control) => Ok(()),
        Standing::Program(Scope::Read) => Err(Problem::new(
            StatusCode::FORBIDDEN,
            "this token may look and not change anything",
        )),
        Standing::Browser if app.auth.sessions.is_csrf(headers, csrf) => Ok(()),
        Standing::Browser => Err(Problem::new(
            StatusCode::FORBIDDEN,
            "the page is too old, or the change did not come from it; load it again and repeat the change",
        )),
        Standing::Nobody => Err(Problem::new(StatusCode::UNAUTHORIZED, "sign in first")),
    }
}

/// `POST /act`.
pub(crate) async fn act(
    State(app): State<Arc<App>>,
    Extension(standing): Extension<Standing>,
    headers: HeaderMap,
    Form(form): Form<ActForm>,
) -> Response {
    let path = "/act";
    let outcome = async {
        may_change(&app, standing, &headers, &form.csrf)?;
        let unknown = || Problem::new(StatusCode::BAD_REQUEST, "there is no such button");
        let (verb, name) = form.what.split_once(':').ok_or_else(unknown)?;
        let verb = Verb::parse(verb).ok_or_else(unknown)?;
        let service = order(&app, verb, name).await?;
        Ok(format!("{} is {}", label(&service), verb.done()))
    };
    answer(outcome.await, &headers, path, &form.back)
}

fn answer(
    outcome: Result<String, Problem>,
    headers: &HeaderMap,
    path: &str,
    back: &str,
) -> Response {
    match outcome {
        Ok(message) if wants_json(headers, path) => {
            Json(json!({ "message": message })).into_response()
        }
        Ok(_) => Redirect::to(own_path(back)).into_response(),
        Err(problem) => problem.answer(headers, path),
    }
}

/// A path of ours, or the first page: nobody is sent elsewhere.
pub(crate) fn own_path(path: &str) -> &str {
    let rest = path.strip_prefix('/');
    let is_own = rest.is_some_and(|rest| !rest.starts_with(['/', '\\']))
        && path.bytes().all(|byte| byte.is_ascii_graphic());
    if is_own { path } else { "/" }
}

/// What people call it.
pub(crate) fn label(service: &ServiceView) -> &str {
    service.profile.as_deref().unwrap_or(&service.name)
}

/// Carries out a verb and waits for its result.
pub(crate) async fn order(app: &App, verb: Verb, name: &str) -> Result<ServiceView, Problem> {
    let Some(service) = app.live.service(name) else {
        return Err(unknown(app, name).await);
    };
    if verb == Verb::Stop {
        plan_stop(app, &service).await;
    }
    let options = VerbOptions {
        wait: true,
        timeout_ms: Some(PATIENCE_MS),
        reconcile: false,
    };
    let name = service.name.clone();
    let op = match verb {
        Verb::Start => Op::Start { name, options },
        Verb::Stop => Op::Stop { name, options },
        Verb::Restart => Op::Restart { name, options },
    };
    match app.control.ask(op).await {
        Ok(Body::Service { service, .. }) => Ok(*service),
        Ok(_) => Err(Problem::new(
            StatusCode::BAD_GATEWAY,
            "the supervisor's answer makes no sense",
        )),
        Err(error) => {
            let what = format!("can't {} {}", verb.word(), label(&service));
            Err(Problem::from(error).about(&what))
        }
    }
}

/// A profile that this supervisor doesn't run is another's, or nobody's yet: say which.
async fn unknown(app: &App, name: &str) -> Problem {
    let (connected, keeps) = {
        let picture = app.live.picture();
        let keeper = picture.hello.as_ref().is_some_and(|hello| hello.keeper);
        (picture.hello.is_some(), keeper)
    };
    let profile = name.strip_prefix("gateway-").unwrap_or(name);
    let exists = app
        .home
        .view()
        .await
        .profiles
        .iter()
        .any(|known| known.name == profile);
    let (status, text) = match (connected, exists, keeps) {
        (false, ..) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "no supervisor answers for this home; start one with `herm up`, or look at the container's log".to_owned(),
        ),
        (true, true, false) => (
            StatusCode::CONFLICT,
            format!("{profile} is not run by this container: its supervisor keeps no profiles; use the dashboard or `herm` of the one that does"),
        ),
        (true, true, true) => (
            StatusCode::CONFLICT,
            format!("{profile} is not registered yet; `herm reconcile` says why"),
        ),
        (true, false, _) => (StatusCode::NOT_FOUND, format!("there is no service or profile {profile:?}")),
    };
    Problem::new(status, text)
}

/// Tells the agent that its stop is meant. The stop matters more than how the agent takes it.
async fn plan_stop(app: &App, service: &ServiceView) {
    let profile = service
        .profile
        .as_deref()
        .and_then(|name| ProfileName::parse(name).ok());
    let pid = service.pid.and_then(|pid| i32::try_from(pid).ok());
    let (Kind::Gateway, Some(profile), Some(pid)) = (service.kind, profile, pid) else {
        return;
    };
    let home = app.options.home.clone();
    let written = tokio::task::spawn_blocking(move || {
        write_planned_stop(
            &home.profile(&profile),
            pid,
            SystemTime::now(),
            Path::new("/proc"),
        )
    });
    if let Ok(Err(error)) = written.await {
        println!(
            "dashboard: {}: the agent isn't told that its stop is planned: {error}",
            service.name
        );
    }
}

/// `POST /profiles`.
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    Extension(standing): Extension<Standing>,
    headers: HeaderMap,
    Form(form): Form<CreateForm>,
) -> Response {
    let outcome = async {
        may_change(&app, standing, &headers, &form.csrf)?;
        let text = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        make(
            &app,
            &form.name,
            text(&form.clone_from),
            text(&form.description),
        )
        .await
    };
    match outcome.await {
        Ok(name) => {
            let back = format!("/profiles/{name}");
            answer(
                Ok(format!("profile {name} is created")),
                &headers,
                "/profiles",
                &back,
            )
        }
        Err(problem) => problem.answer(&headers, "/profiles"),
    }
}

/// Makes a profile and has the keeper register it.
pub(crate) async fn make(
    app: &App,
    name: &str,
    clone_from: Option<String>,
    description: Option<String>,
) -> Result<ProfileName, Problem> {
    let name = ProfileName::for_new(name).map_err(|error| Problem::from(HomeError::from(error)))?;
    let source = match clone_from {
        Some(from) => Source::Config(
            ProfileName::from_input(&from)
                .map_err(|error| Problem::from(HomeError::from(error)))?,
        ),
        None => Source::Empty,
    };
    let options = CreateOptions {
        source,
        no_skills: false,
        description,
        soul: app.options.soul.clone(),
    };
    let (home, new) = (app.options.home.clone(), name.clone());
    blocking(move || profile::create(&home, &new, &options, SystemTime::now()).map(drop)).await?;
    settle(app).await?;
    Ok(name)
}

/// Has the keeper look, so that services are as the home says when the page is shown again. Where no
/// keeper is attached there is nothing to bring into line here.
async fn settle(app: &App) -> Result<(), Problem> {
    app.home.forget().await;
    let keeps = app
        .live
        .picture()
        .hello
        .as_ref()
        .is_some_and(|hello| hello.keeper);
    if keeps {
        app.control
            .ask(Op::Reconcile {
                timeout_ms: Some(PATIENCE_MS),
            })
            .await?;
    }
    Ok(())
}

/// `POST /profiles/{name}/delete`.
pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    Extension(standing): Extension<Standing>,
    UrlPath(name): UrlPath<String>,
    headers: HeaderMap,
    Form(form): Form<DeleteForm>,
) -> Response {
    let path = format!("/profiles/{name}/delete");
    let outcome = async {
        may_change(&app, standing, &headers, &form.csrf)?;
        if form.confirm.trim() != name {
            let text =
                format!("nothing is deleted: the name {name:?} has to be typed to confirm it");
            return Err(Problem::new(StatusCode::BAD_REQUEST, text));
        }
        remove(&app, &name).await?;
        Ok(format!("profile {name} is deleted"))
    };
    answer(outcome.await, &headers, &path, "/")
}

/// Stops a profile's gateway, unregisters it, and removes its directory. Interrupted anywhere it can
/// be repeated.
pub(crate) async fn remove(app: &App, name: &str) -> Result<(), Problem> {
    let name = ProfileName::parse(name).map_err(|error| Problem::from(HomeError::from(error)))?;
    let (home, doomed) = (app.options.home.clone(), name.clone());
    blocking(move || {
        if !profile::is_deleting(&home, &doomed)? && !doomed.is_default() {
            herm_home::discover(&home)?.find(&doomed)?;
        }
        profile::begin_delete(&home, &doomed, SystemTime::now())
    })
    .await?;
    match app
        .control
        .ask(Op::Unregister {
            name: name.service(),
        })
        .await
    {
        Ok(_) => {}
        Err(error) if error.code == ErrorCode::NotFound => {}
        Err(error) => return Err(Problem::from(error).about("repeat the deletion to finish it")),
    }
    let home = app.options.home.clone();
    blocking(move || profile::finish_delete(&home, &name, SystemTime::now())).await?;
    settle(app).await
}

async fn blocking(
    work: impl FnOnce() -> Result<(), HomeError> + Send + 'static,
) -> Result<(), Problem> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome.map_err(Problem::from),
        Err(_) => Err(Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "herm made a mistake",
        )),
    }
}

impl From<HomeError> for Problem {
    fn from(error: HomeError) -> Self {
        let status = match error.exit_code() {
            2 | 78 => StatusCode::UNPROCESSABLE_ENTITY,
            4 => StatusCode::NOT_FOUND,
            5 => StatusCode::FORBIDDEN,
            _ if matches!(error, HomeError::Exists { .. }) => StatusCode::CONFLICT,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, error.to_string())
    }
}

impl From<ErrorBody> for Problem {
    fn from(error: ErrorBody) -> Self {
        let status = match error.code {
            ErrorCode::BadRequest => StatusCode::BAD_REQUEST,
            ErrorCode::NotFound => StatusCode::NOT_FOUND,
            ErrorCode::NotPermitted => StatusCode::FORBIDDEN,
            ErrorCode::BadConfig | ErrorCode::Failed => StatusCode::UNPROCESSABLE_ENTITY,
            ErrorCode::Superseded | ErrorCode::Clash => StatusCode::CONFLICT,
            ErrorCode::TimedOut => StatusCode::GATEWAY_TIMEOUT,
            ErrorCode::NoCapacity | ErrorCode::ShuttingDown => StatusCode::SERVICE_UNAVAILABLE,
            ErrorCode::Internal => StatusCode::BAD_GATEWAY,
        };
        let text = match &error.hint {
            Some(hint) => format!("{}; {hint}", error.message),
            None => error.message.clone(),
        };
        Self::new(status, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_to_another_site() {
        for own in ["/", "/profiles/a", "/?state=failed"] {
            assert_eq!(own_path(own), own);
        }
        for foreign in [
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "",
            "/a\r\nX: y",
        ] {
            assert_eq!(own_path(foreign), "/");
        }
    }
}
