//! What the operations answer.

use std::sync::Arc;
use std::time::SystemTime;

use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::Event;
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use futures_util::StreamExt as _;
use futures_util::stream::once;
use herm_home::profile::ProfileInfo;
use herm_wire::{Body, Op, ServiceView};
use serde::{Deserialize, Serialize};

use crate::actions::may_change;
use crate::app::App;
use crate::auth::Standing;
use crate::history::{Moment, Reader};
use crate::logs::LogLine;
use crate::logs::read::Wanted;
use crate::orders::{Verb, ends_this, make, order, remove};
use crate::pages;
use crate::pages::error::Problem;
use crate::stream::{self, log_dir, slot};

/// Lines of a log where no number is asked for.
const LINES: usize = 200;
/// Moments of the history where no number is asked for.
const MOMENTS: usize = 100;
/// Where a page's script puts its token.
const CSRF_HEADER: &str = "x-csrf-token";

type Answer<T> = Result<Json<T>, Failed>;
type Name = Result<Path<String>, PathRejection>;

/// A problem on its way to a program.
pub(crate) struct Failed(Problem);

impl From<Problem> for Failed {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl axum::response::IntoResponse for Failed {
    fn into_response(self) -> Response {
        self.0.answer(&HeaderMap::new(), "/api/")
    }
}

/// The whole in one answer.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Status {
    /// How things stand in one sentence.
    verdict: String,
    /// This run of the supervisor, where one answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<String>,
    /// Whether services and main program have been started.
    booted: bool,
    /// Whether a keeper is attached.
    keeper: bool,
    /// Every service.
    services: Vec<ServiceView>,
}

/// A sentence on a service.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Why {
    /// The service.
    name: String,
    /// The sentence.
    why: String,
}

/// A profile of the home.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Profile {
    /// Its name.
    name: String,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// The model it talks to.
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    /// The model's provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    provider: Option<String>,
    /// What the operator wants of its gateway, if that was ever said.
    #[serde(skip_serializing_if = "Option::is_none")]
    desired: Option<String>,
    /// The ports its gateway listens on by its files.
    ports: Vec<u16>,
    /// What is wrong with its configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    /// Its gateway, where this container's supervisor runs it.
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<ServiceView>,
}

/// What names look like: programs write them as they are, and nothing is made of others.
#[cfg(feature = "schema")]
const NAME: &str = "^[a-z0-9][a-z0-9_-]*$";

/// A profile to make.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct NewProfile {
    /// Lower-case letters, digits, `-` and `_`; at most 64; not `default`.
    #[cfg_attr(
        feature = "schema",
        schemars(length(min = 1, max = 64), regex(pattern = NAME), extend("not" = {"const": "default"}))
    )]
    name: String,
    /// What it is for.
    #[serde(default)]
    description: Option<String>,
    /// The profile whose configuration it begins with.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = 243), regex(pattern = NAME)))]
    clone_from: Option<String>,
}

impl NewProfile {
    /// People's input is trimmed and lower-cased; a program that sends such names has a mistake in it.
    fn check(&self) -> Result<(), Problem> {
        let exact = |name: &str| name == name.trim().to_lowercase();
        let names = [Some(&self.name), self.clone_from.as_ref()];
        match names.into_iter().flatten().find(|name| !exact(name)) {
            Some(name) => Err(Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                format!("{name:?} is no profile's name: it has capitals or spaces around it"),
            )),
            None => Ok(()),
        }
    }
}

/// Why something was not done.
#[cfg(feature = "schema")]
#[derive(schemars::JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct ErrorAnswer {
    /// What it is.
    error: ErrorWords,
}

/// The error itself.
#[cfg(feature = "schema")]
#[derive(schemars::JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct ErrorWords {
    /// The status code.
    status: u16,
    /// What could not be done and why.
    message: String,
}

fn named(name: Name) -> Result<String, Failed> {
    name.map(|Path(name)| name)
        .map_err(|_| Problem::new(StatusCode::NOT_FOUND, "there is no such name").into())
}

fn asked<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, Failed> {
    query
        .map(|Query(query)| query)
        .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error.body_text()).into())
}

fn found(app: &App, name: &str) -> Result<ServiceView, Failed> {
    let Some(mut service) = app.live.service(name) else {
        let text = format!("there is no service or profile {name:?}");
        return Err(Problem::new(StatusCode::NOT_FOUND, text).into());
    };
    app.samples.complete(&mut service);
    Ok(service)
}

fn permit(app: &App, standing: Standing, headers: &HeaderMap) -> Result<(), Failed> {
    let csrf = headers
        .get(CSRF_HEADER)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    may_change(app, standing, headers, csrf).map_err(Failed)
}

pub(super) async fn status(State(app): State<Arc<App>>) -> Json<Status> {
    let services = app.services();
    let hello = app.live.picture().hello.clone();
    Json(Status {
        verdict: herm_wire::verdict(&services),
        booted: hello.as_ref().is_some_and(|hello| hello.booted),
        keeper: hello.as_ref().is_some_and(|hello| hello.keeper),
        instance: hello.map(|hello| hello.instance),
        services,
    })
}

pub(super) async fn services(State(app): State<Arc<App>>) -> Json<Vec<ServiceView>> {
    Json(app.services())
}

pub(super) async fn service(State(app): State<Arc<App>>, name: Name) -> Answer<ServiceView> {
    found(&app, &named(name)?).map(Json)
}

pub(super) async fn why(State(app): State<Arc<App>>, name: Name) -> Answer<Why> {
    let service = found(&app, &named(name)?)?;
    let why = (app.options.explain)(&service, SystemTime::now());
    Ok(Json(Why {
        name: service.name,
        why,
    }))
}

/// A number as the document has them.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "i64")]
struct Count(i64);

impl TryFrom<i64> for Count {
    type Error = &'static str;

    fn try_from(number: i64) -> Result<Self, Self::Error> {
        (number >= 0)
            .then_some(Self(number))
            .ok_or("it is less than 0")
    }
}

impl Count {
    fn or(count: Option<Self>, default: usize) -> usize {
        count.map_or(default, |Self(number)| {
            usize::try_from(number).unwrap_or(usize::MAX)
        })
    }
}

/// Which lines.
#[derive(Debug, Deserialize)]
pub(super) struct LogQuery {
    lines: Option<Count>,
    #[serde(default)]
    q: String,
    since: Option<String>,
}

pub(super) async fn log(
    State(app): State<Arc<App>>,
    name: Name,
    query: Result<Query<LogQuery>, QueryRejection>,
) -> Answer<Vec<LogLine>> {
    let query = asked(query)?;
    let dir = log_dir(&app, &named(name)?)?;
    let wanted = Wanted {
        lines: Count::or(query.lines, LINES),
        containing: query.q,
        since: query.since,
    };
    Ok(Json(pages::log::lines(&app, &dir, wanted).await?))
}

pub(super) async fn follow_log(
    State(app): State<Arc<App>>,
    name: Name,
) -> Result<Response, Failed> {
    let dir = log_dir(&app, &named(name)?)?;
    let slot = slot(&app)?;
    let receiver = app.feeds.watch(&dir);
    let lines = stream::events(receiver, slot, |chunk| {
        let text = serde_json::to_string(&chunk.lines).ok()?;
        Some(Event::default().event("lines").data(text))
    });
    Ok(stream::answer(opened().chain(lines)))
}

/// Says at once that the stream is there.
fn opened() -> impl futures_util::Stream<Item = Result<Event, std::convert::Infallible>> + Send {
    once(async { Ok(Event::default().comment("open")) })
}

pub(super) async fn events(State(app): State<Arc<App>>) -> Result<Response, Failed> {
    let slot = slot(&app)?;
    let events = stream::events(app.live.subscribe_raw(), slot, |line: Arc<str>| {
        Some(Event::default().data(line.trim_end()))
    });
    Ok(stream::answer(opened().chain(events)))
}

async fn ordered(
    app: &App,
    standing: Standing,
    name: Name,
    headers: &HeaderMap,
    verb: Verb,
) -> Answer<ServiceView> {
    permit(app, standing, headers)?;
    let name = named(name)?;
    if ends_this(app, verb, &name) {
        let text = format!(
            "the dashboard can't tell how its own end went: use `herm service {} {name}`",
            verb.word()
        );
        return Err(Problem::new(StatusCode::CONFLICT, text).into());
    }
    Ok(Json(order(app, verb, &name).await?))
}

macro_rules! verb {
    ($name:ident, $verb:expr) => {
        pub(super) async fn $name(
            State(app): State<Arc<App>>,
            Extension(standing): Extension<Standing>,
            name: Name,
            headers: HeaderMap,
        ) -> Answer<ServiceView> {
            ordered(&app, standing, name, &headers, $verb).await
        }
    };
}
verb!(start, Verb::Start);
verb!(stop, Verb::Stop);
verb!(restart, Verb::Restart);

fn shown(app: &App, info: &ProfileInfo) -> Profile {
    Profile {
        name: info.name.clone(),
        description: info.description.clone(),
        model: info.model.clone(),
        provider: info.provider.clone(),
        desired: info.desired.map(|desired| desired.to_string()),
        ports: info.ports.clone(),
        problem: info.problem.clone(),
        service: found(app, &format!("gateway-{}", info.name)).ok(),
    }
}

pub(super) async fn profiles(State(app): State<Arc<App>>) -> Answer<Vec<Profile>> {
    let view = app.home.view().await;
    if let Some(trouble) = &view.trouble {
        return Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, trouble.clone()).into());
    }
    Ok(Json(
        view.profiles.iter().map(|info| shown(&app, info)).collect(),
    ))
}

async fn profile_of(app: &App, name: &str) -> Answer<Profile> {
    let view = app.home.view().await;
    let info = view
        .profiles
        .iter()
        .find(|info| info.name == name)
        .ok_or_else(|| {
            Problem::new(
                StatusCode::NOT_FOUND,
                format!("there is no profile {name:?}"),
            )
        })?;
    Ok(Json(shown(app, info)))
}

pub(super) async fn profile(State(app): State<Arc<App>>, name: Name) -> Answer<Profile> {
    profile_of(&app, &named(name)?).await
}

pub(super) async fn create_profile(
    State(app): State<Arc<App>>,
    Extension(standing): Extension<Standing>,
    headers: HeaderMap,
    body: Result<Json<NewProfile>, JsonRejection>,
) -> Result<Response, Failed> {
    permit(&app, standing, &headers)?;
    let Json(new) = body.map_err(|error| Problem::new(error.status(), error.body_text()))?;
    new.check()?;
    let name = make(&app, &new.name, new.clone_from, new.description).await?;
    Ok((StatusCode::CREATED, profile_of(&app, name.as_str()).await?).into_response())
}

pub(super) async fn delete_profile(
    State(app): State<Arc<App>>,
    Extension(standing): Extension<Standing>,
    name: Name,
    headers: HeaderMap,
) -> Result<StatusCode, Failed> {
    permit(&app, standing, &headers)?;
    let name = named(name)?;
    if name == "default" {
        let text = "default is the root profile of the home and can't be deleted";
        return Err(Problem::new(StatusCode::FORBIDDEN, text).into());
    }
    remove(&app, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn boot(State(app): State<Arc<App>>) -> Answer<herm_wire::BootReport> {
    match app.control.ask(Op::Boot).await.map_err(Problem::from)? {
        Body::Boot(report) => Ok(Json(report)),
        _ => Err(Problem::new(
            StatusCode::BAD_GATEWAY,
            "the supervisor's answer makes no sense",
        )
        .into()),
    }
}

/// Which moments.
#[derive(Debug, Deserialize)]
pub(super) struct HistoryQuery {
    service: Option<String>,
    before: Option<Count>,
    limit: Option<Count>,
}

pub(super) async fn history(
    State(app): State<Arc<App>>,
    query: Result<Query<HistoryQuery>, QueryRejection>,
) -> Answer<Vec<Moment>> {
    let query = asked(query)?;
    let home = app.options.home.clone();
    let read = tokio::task::spawn_blocking(move || {
        let Some(reader) = Reader::open(&home)? else {
            return Ok(Vec::new());
        };
        let before = query.before.map_or(i64::MAX, |Count(before)| before);
        reader.moments(
            query.service.as_deref(),
            before,
            Count::or(query.limit, MOMENTS),
        )
    });
    let unreadable = |why: String| {
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("the history can't be read: {why}"),
        )
    };
    let moments = read.await.map_err(|error| unreadable(error.to_string()))?;
    Ok(Json(
        moments.map_err(|error| unreadable(error.to_string()))?,
    ))
}

/// The types of bodies and answers by their names in the table.
#[cfg(feature = "schema")]
pub(super) fn schemas(
    generator: &mut schemars::SchemaGenerator,
) -> Vec<(&'static str, schemars::Schema)> {
    vec![
        ("Status", generator.subschema_for::<Status>()),
        ("Services", generator.subschema_for::<Vec<ServiceView>>()),
        ("ServiceView", generator.subschema_for::<ServiceView>()),
        ("Why", generator.subschema_for::<Why>()),
        ("LogLines", generator.subschema_for::<Vec<LogLine>>()),
        ("Profiles", generator.subschema_for::<Vec<Profile>>()),
        ("Profile", generator.subschema_for::<Profile>()),
        ("NewProfile", generator.subschema_for::<NewProfile>()),
        (
            "BootReport",
            generator.subschema_for::<herm_wire::BootReport>(),
        ),
        ("History", generator.subschema_for::<Vec<Moment>>()),
        ("Error", generator.subschema_for::<ErrorAnswer>()),
    ]
}
