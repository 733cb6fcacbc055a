//! Server-sent events. A reader that is too slow is told to look at the whole anew; it costs no
//! memory and delays nobody.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream::{Stream, StreamExt as _, once, unfold};
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, broadcast};

use crate::app::App;
use crate::auth::Standing;
use crate::homeview::HomeView;
use crate::live::Update;
use crate::pages::error::Problem;
use crate::pages::overview;

/// Between two signs of life on a stream where nothing happens.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Room for one more stream.
pub(crate) fn slot(app: &App) -> Result<OwnedSemaphorePermit, Problem> {
    app.streams.clone().try_acquire_owned().map_err(|_| {
        let text = "too many streams are open; close some, or try again later";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, text).retry_after(5)
    })
}

/// Events of a feed, made to text by `show`, while the slot lasts.
pub(crate) fn events<T, F>(
    receiver: broadcast::Receiver<T>,
    slot: OwnedSemaphorePermit,
    show: F,
) -> impl Stream<Item = Result<Event, Infallible>> + Send + 'static
where
    T: Clone + Send + 'static,
    F: Fn(T) -> Option<Event> + Send + 'static,
{
    unfold(
        (receiver, slot, show),
        |(mut receiver, slot, show)| async move {
            loop {
                let event = match receiver.recv().await {
                    Ok(item) => show(item),
                    Err(RecvError::Lagged(_)) => Some(Event::default().event("whole").data("{}")),
                    Err(RecvError::Closed) => return None,
                };
                if let Some(event) = event {
                    return Some((Ok(event), (receiver, slot, show)));
                }
            }
        },
    )
}

/// The stream as an answer.
pub(crate) fn answer(
    stream: impl Stream<Item = Result<Event, Infallible>> + Send + 'static,
) -> Response {
    Sse::new(stream)
        .keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
        .into_response()
}

/// An event made ready for all pages at once.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    kind: &'static str,
    data: Arc<str>,
}

/// Makes events ready for ever: once for all visitors, and not at all while there are none.
pub(crate) async fn prepare(app: Arc<App>) {
    let mut updates = app.live.subscribe();
    loop {
        let update = match updates.recv().await {
            Ok(update) => update,
            Err(RecvError::Lagged(_)) => Update::Whole,
            Err(RecvError::Closed) => return,
        };
        if app.prepared.receiver_count() == 0 {
            continue;
        }
        let view = app.home.view().await;
        // Nobody looking any more is no error.
        let _ = app.prepared.send(prepared(&app, &view, update));
    }
}

fn prepared(app: &App, view: &HomeView, update: Update) -> Prepared {
    let (kind, data) = match update {
        Update::Service(service) => {
            let data = json!({
                "name": service.name,
                "verdict": overview::verdict(app).into_string(),
                "row": overview::row_of(app, view, &service),
            });
            ("service", data.to_string().into())
        }
        Update::Removed(name) => ("removed", json!({ "name": name }).to_string().into()),
        Update::Whole => ("whole", "{}".into()),
        Update::Samples(text) => ("samples", text),
    };
    Prepared { kind, data }
}

/// `GET /live`: what changes, for the pages.
pub(crate) async fn live(
    State(app): State<Arc<App>>,
    Extension(_): Extension<Standing>,
    headers: HeaderMap,
) -> Response {
    let slot = match slot(&app) {
        Ok(slot) => slot,
        Err(problem) => return problem.answer(&headers, "/live"),
    };
    let hello = Event::default()
        .event("hello")
        .data(json!({ "run": app.run }).to_string());
    let changes = events(app.prepared.subscribe(), slot, |prepared: Prepared| {
        Some(Event::default().event(prepared.kind).data(&*prepared.data))
    });
    answer(once(async { Ok(hello) }).chain(changes))
}

/// `GET /services/{name}/log/live`: new lines of a log, as HTML.
pub(crate) async fn log(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    let path = "/services/log/live";
    let outcome = log_dir(&app, &name).and_then(|dir| Ok((dir, slot(&app)?)));
    let (dir, slot) = match outcome {
        Ok(found) => found,
        Err(problem) => return problem.answer(&headers, path),
    };
    let receiver = app.feeds.watch(&dir);
    let hello = Event::default()
        .event("hello")
        .data(json!({ "run": app.run }).to_string());
    let lines = events(receiver, slot, |chunk| {
        // One JSON text: a line of a log may hold what would end an event.
        Some(
            Event::default()
                .event("lines")
                .data(json!(chunk.html).to_string()),
        )
    });
    answer(once(async { Ok(hello) }).chain(lines))
}

/// The directory of a service's kept log. Names are looked up, never made into paths.
pub(crate) fn log_dir(app: &App, name: &str) -> Result<std::path::PathBuf, Problem> {
    let service = app.live.service(name).ok_or_else(|| {
        Problem::new(
            StatusCode::NOT_FOUND,
            format!("there is no service {name:?}"),
        )
    })?;
    service
        .log_dir
        .map(std::path::PathBuf::from)
        .ok_or_else(|| {
            let text =
                format!("the output of {name} is not kept, only forwarded to the container's log");
            Problem::new(StatusCode::NOT_FOUND, text)
        })
}
