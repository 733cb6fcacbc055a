//! Orders: start, stop, restart, create, delete. Each goes to the supervisor that runs the profile,
//! here or elsewhere, and says what came of it, or why not (L73).

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use axum::http::StatusCode;
use herm_home::markers::write_planned_stop;
use herm_home::profile::{self, CreateOptions, Source};
use herm_home::{HomeError, ProfileName, handover};
pub(crate) use herm_wire::verdict::label;
use herm_wire::{Body, ErrorCode, Kind, Op, ServiceView, VerbOptions};
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::pages::error::Problem;
use crate::remote;

/// How long a verb's result is waited for, in milliseconds: an agent on a busy machine takes half a
/// minute to its first answer. What takes longer goes on.
pub(crate) const PATIENCE_MS: u64 = 50_000;

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

    pub(crate) fn done(self) -> &'static str {
        match self {
            Self::Start => "started",
            Self::Stop => "stopped",
            Self::Restart => "restarted",
        }
    }

    fn for_owner(self) -> handover::Verb {
        match self {
            Self::Start => handover::Verb::Start,
            Self::Stop => handover::Verb::Stop,
            Self::Restart => handover::Verb::Restart,
        }
    }

    pub(crate) fn parse(word: &str) -> Option<Self> {
        [Self::Start, Self::Stop, Self::Restart]
            .into_iter()
            .find(|verb| verb.word() == word)
    }
}

/// Carries out a verb and waits for its result. What another instance runs, that one is asked for.
pub(crate) async fn order(app: &App, verb: Verb, name: &str) -> Result<ServiceView, Problem> {
    let Some(service) = app.live.service(name) else {
        return Err(unknown(app, name).await);
    };
    let done = match (&service.owner, &service.profile) {
        (Some(owner), Some(profile)) => {
            remote::order(app, owner, verb.for_owner(), profile.as_str()).await
        }
        _ => here(app, verb, &service).await,
    };
    let what = format!("can't {} {}", verb.word(), label(&service));
    done.map_err(|problem| problem.about(&what))
}

/// Whether a verb ends this very process.
pub(crate) fn ends_this(app: &App, verb: Verb, name: &str) -> bool {
    let is_this = |service: ServiceView| {
        service.name == "dashboard" && service.pid == Some(std::process::id())
    };
    verb != Verb::Start && app.live.service(name).is_some_and(is_this)
}

/// The end of this process. It is ordered when the answer that tells of it is out, for afterwards nobody
/// is here to give one: each connection has its own.
#[derive(Debug, Clone, Default)]
pub(crate) struct Parting(Arc<Mutex<Option<Op>>>);

impl Parting {
    /// Orders it when the connection is over; says what comes then.
    pub(crate) fn after_answer(&self, verb: Verb) -> &'static str {
        let name = "dashboard".to_owned();
        let options = VerbOptions::default();
        let (op, what) = match verb {
            Verb::Stop => (
                Op::Stop { name, options },
                "the dashboard stops; `herm service start dashboard` brings it back",
            ),
            Verb::Start | Verb::Restart => (
                Op::Restart { name, options },
                "the dashboard restarts; sign in again in a moment",
            ),
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(op);
        what
    }

    /// The connection is over.
    pub(crate) async fn carry_out(&self, app: &App) {
        let op = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(op) = op else { return };
        if let Err(error) = app.control.ask(op).await {
            println!(
                "dashboard: it can't end as it was told to: {}",
                error.message
            );
        }
    }
}

async fn here(app: &App, verb: Verb, service: &ServiceView) -> Result<ServiceView, Problem> {
    match verb {
        Verb::Stop => plan_stop(app, service).await,
        Verb::Start | Verb::Restart => make_way(app, service).await?,
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
    match app.control.ask(op).await? {
        Body::Service { service, .. } => Ok(*service),
        _ => Err(Problem::new(
            StatusCode::BAD_GATEWAY,
            "the supervisor's answer makes no sense",
        )),
    }
}

fn gateway_of(service: &ServiceView) -> Option<ProfileName> {
    let profile = service.profile.as_deref()?;
    ProfileName::parse(profile)
        .ok()
        .filter(|_| service.kind == Kind::Gateway)
}

/// What a gateway needs must be nobody else's, and no other gateway of its profile may run.
async fn make_way(app: &App, service: &ServiceView) -> Result<(), Problem> {
    let Some(profile) = gateway_of(service).filter(|_| service.pid.is_none()) else {
        return Ok(());
    };
    let (home, make_way) = (app.options.home.clone(), app.options.make_way);
    let made = tokio::task::spawn_blocking(move || make_way(&home, &profile)).await;
    let why = match made {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(why)) => why,
        Err(_) => "herm made a mistake".to_owned(),
    };
    Err(Problem::new(StatusCode::CONFLICT, why))
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
    let pid = service.pid.and_then(|pid| i32::try_from(pid).ok());
    let (Some(profile), Some(pid)) = (gateway_of(service), pid) else {
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

/// Has a profile's gateway stopped, unregistered, and its directory removed, by whoever runs it.
/// Interrupted anywhere it can be repeated.
pub(crate) async fn remove(app: &App, name: &str) -> Result<(), Problem> {
    let name = ProfileName::parse(name).map_err(|error| Problem::from(HomeError::from(error)))?;
    let service = app.live.service(&name.service());
    if let Some(owner) = service.and_then(|service| service.owner) {
        let what = format!("can't delete {name}");
        let done = remote::ask(app, &owner, handover::Verb::Delete, name.as_str()).await;
        done.map_err(|problem| problem.about(&what))?;
        return settle(app).await;
    }
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
