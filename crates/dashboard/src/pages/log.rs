//! Logs: the panel that pages show, and the download of all that is kept.

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Path as UrlPath, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream::unfold;
use herm_home::kept::{Held, HeldFile};
use herm_wire::ServiceView;
use maud::{Markup, html};
use tokio::sync::mpsc;

use super::error::Problem;
use crate::app::App;
use crate::logs::read::{self, Wanted};
use crate::logs::{LogLine, show};
use crate::stream::{log_dir, slot};

/// Lines that a page begins with.
const FIRST_LINES: usize = 300;
/// Bytes of a download on their way at once.
const PIECE: usize = 64 * 1024;
const PIECES: usize = 4;

/// Reads the end of a log, a few readers at a time.
pub(crate) async fn lines(app: &App, dir: &Path, wanted: Wanted) -> Result<Vec<LogLine>, Problem> {
    let unreadable = |why: String| {
        Problem::new(
            StatusCode::FORBIDDEN,
            format!("the log can't be read by the dashboard: {why}"),
        )
    };
    let _permit = app
        .readers
        .acquire()
        .await
        .map_err(|error| unreadable(error.to_string()))?;
    let dir = dir.to_path_buf();
    tokio::task::spawn_blocking(move || read::tail(&dir, &wanted))
        .await
        .map_err(|error| unreadable(error.to_string()))?
        .map_err(|error| unreadable(error.to_string()))
}

/// The panel of a service's log; a word where its output is not kept.
pub(crate) async fn of(app: &App, service: &ServiceView, q: &str) -> Markup {
    let Some(dir) = service.log_dir.as_deref() else {
        let why = match &service.owner {
            Some(owner) => format!("Instance {owner} runs it and has its log."),
            None => "Its output is not kept, only forwarded to the container's log.".to_owned(),
        };
        return html! { section.card { h2 { "Log" } p.hint { (why) } } };
    };
    let wanted = Wanted {
        lines: FIRST_LINES,
        containing: q.to_owned(),
        since: None,
    };
    panel(&service.name, q, &lines(app, Path::new(dir), wanted).await)
}

/// The panel: the last lines, which the script goes on with.
fn panel(name: &str, q: &str, lines: &Result<Vec<LogLine>, Problem>) -> Markup {
    html! {
        section.card.logcard aria-labelledby="log-title" {
            div.logbar {
                h2 #log-title { "Log" span.hint { "times are UTC" } }
                form.search role="search" {
                    input type="search" name="q" value=(q) placeholder="Search…" aria-label="Search the log" title="Enter searches everything that is kept";
                }
                fieldset.levels {
                    legend.vh { "Levels" }
                    @for (class, word) in [("le", "Errors"), ("lw", "Warnings"), ("lp", "Other"), ("ld", "Debug")] {
                        label { input type="checkbox" data-level=(class) checked; (word) }
                    }
                }
                button type="button" data-pause aria-pressed="false" hidden { "Pause" }
                a.button href={ "/services/" (name) "/log" } download { "Download" }
            }
            @match lines {
                Ok(lines) => {
                    div.log tabindex="0" role="log" aria-label={ "Log of " (name) } data-live=[q.is_empty().then(|| format!("/services/{name}/log/live"))] {
                        @for line in lines { (show(line)) }
                        @if lines.is_empty() {
                            p.hint { @if q.is_empty() { "Nothing was logged yet." } @else { "No line that is kept contains this." } }
                        }
                    }
                }
                Err(problem) => p.hint { (problem.message()) }
            }
        }
    }
}

/// `GET /services/{name}/log`: everything that is kept, oldest first, as it was written.
pub(crate) async fn download(
    State(app): State<Arc<App>>,
    UrlPath(name): UrlPath<String>,
    headers: HeaderMap,
) -> Response {
    let path = "/services/log";
    let found = log_dir(&app, &name).and_then(|dir| Ok((dir, slot(&app)?)));
    let (dir, slot) = match found {
        Ok(found) => found,
        Err(problem) => return problem.answer(&headers, path),
    };
    let files = match Held::of(&dir) {
        Ok(held) => held.into_files(),
        Err(error) => {
            let text = format!("the log can't be read by the dashboard: {error}");
            return Problem::new(StatusCode::FORBIDDEN, text).answer(&headers, path);
        }
    };
    let (sender, receiver) = mpsc::channel::<std::io::Result<Bytes>>(PIECES);
    // A reader that is slow holds a thread; so it is one of its own, and streams are counted.
    let spawned = std::thread::Builder::new()
        .name("download".into())
        .spawn(move || {
            send(&files, &sender);
            drop(slot);
        });
    if let Err(error) = spawned {
        return Problem::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
            .answer(&headers, path);
    }
    let body = Body::from_stream(unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|piece| (piece, receiver))
    }));
    let safe: String = name
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || "._-".contains(c) {
                c
            } else {
                '_'
            }
        })
        .collect();
    let disposition = format!("attachment; filename=\"{safe}.log\"");
    (
        [
            (CONTENT_TYPE, "text/plain; charset=utf-8".to_owned()),
            (CONTENT_DISPOSITION, disposition),
        ],
        body,
    )
        .into_response()
}

fn send(files: &[HeldFile], sender: &mpsc::Sender<std::io::Result<Bytes>>) {
    for file in files {
        let Ok(mut file) = file.read() else {
            continue;
        };
        let mut buffer = vec![0; PIECE];
        loop {
            match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => {
                    let piece = Bytes::copy_from_slice(buffer.get(..count).unwrap_or_default());
                    if sender.blocking_send(Ok(piece)).is_err() {
                        // The reader went away.
                        return;
                    }
                }
                Err(error) => {
                    let _ = sender.blocking_send(Err(error));
                    return;
                }
            }
        }
    }
}
